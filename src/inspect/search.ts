/**
 * Searching a recording: the first state that fulfils a predicate, the last change of a place in memory.
 *
 * What happens in a step belongs to the tick behind it: a search of ticks `from` to `to` sees the events and changes of the step that
 * leads to `from`, whatever known state it sets out from. A predicate on an event is asked of the state at that tick.
 *
 * A search runs at full speed between the moments that can matter and looks only there: at the places in code that it names and at
 * writes of the memory the predicate reads (stops), at events, at console output. Only a predicate about registers anywhere is looked
 * at after every step.
 */
import { EmulatorError } from '../core/errors.ts';
import type { Tick } from '../core/units.ts';
import { isBefore } from '../machine/machine.ts';
import { type StopCondition, StopSet } from '../machine/stops.ts';
import { BREATH_TICKS } from '../timeline/run.ts';
import type { Session } from '../timeline/session.ts';
import { firstInConsole } from './console-search.ts';
import { tapEvents } from './event-tap.ts';
import type { MachineEvent, Predicate } from './expression.ts';
import type { SessionMoment } from './session-moment.ts';

export interface SearchHooks {
  breathe(): Promise<void>;
  progress(done: Tick, of: Tick): void;
}
export const QUIET: SearchHooks = { breathe: async () => {}, progress: () => {} };

export interface Found {
  /** First tick in the range whose state fulfils the predicate, or null. */
  readonly tick: Tick | null;
  /** How often the predicate was evaluated. */
  readonly probes: number;
}

/** Stops, and units of the platform's work, between two breaths where there are many. */
const STOPS_PER_BREATH = 1024;
const WORK_PER_BREATH = 2 ** 18;
const WATCHES_AT_MOST = 512;
const CLIENT = 'search';
const written = (range: { address: number; bytes: number }): StopCondition => ({
  kind: 'access',
  access: 'write',
  ...range,
});

const happening = (event: string): StopCondition => ({ kind: 'event', event });
/** Addresses at which a predicate is to be looked at. */
function addressesOf({ dependencies }: Predicate): StopCondition[] {
  const out = new Set<bigint>();
  for (const { address, bytes } of dependencies.places) for (let at = 0n; at < bytes; at++) out.add(address + at);
  return Array.from(out, (address) => ({ kind: 'address', address, standing: true }));
}

/** When a run is looked at. */
interface Look {
  /** What it comes back for, asked before each stretch. */
  stops(): StopSet;
  /** Whether the next step is looked at by itself; told whether the last stretch came to something. */
  everyStep(stopped: boolean): boolean;
  /** Something was met while the stretch ran. */
  met(): boolean;
}

/** A predicate while a search asks it of one state after the other: what has happened in between, and when to look next. */
class Asked {
  readonly #session: Session;
  readonly #moment: SessionMoment;
  readonly #predicate: Predicate;
  /** What has happened on the way to the present tick. */
  #events: MachineEvent[] = [];
  readonly #fixed: readonly StopCondition[];
  /** Ends the listening. */
  readonly end: () => void;
  /** What may change the answer. */
  stops: StopSet;
  /** The predicate reads what no stop tells of: it is looked at after every step. */
  overflow = false;
  /** How often the predicate was evaluated. */
  probes = 0;

  constructor(session: Session, moment: SessionMoment, predicate: Predicate) {
    this.#session = session;
    this.#moment = moment;
    this.#predicate = predicate;
    const { dependencies: d } = predicate;
    this.#fixed = [...addressesOf(predicate), ...d.changes.map(happening)];
    this.stops = StopSet.of(CLIENT, this.#fixed);
    this.end =
      d.events.length === 0
        ? () => {}
        : tapEvents(session, moment, (event) => {
            if (!d.events.includes(event.name)) return;
            this.#events.push(event);
            session.run.machine.leave();
          });
  }
  /** Something that the predicate names has happened since the last look. */
  get happened(): boolean {
    return this.#events.length > 0;
  }
  /** The state before the first one that is asked about. */
  begin(): void {
    this.#predicate.begin(this.#moment);
  }
  /** Whether it holds at the present tick: with what has happened on the way there, one event after the other, or by its state. */
  holds(): boolean {
    const events = this.#events;
    this.#events = [];
    for (const event of events) if (this.#evaluate(event) || this.#evaluate(null)) return true;
    return events.length === 0 && this.#evaluate(null);
  }
  #evaluate(event: MachineEvent | null): boolean {
    const moment = this.#moment;
    const { memory } = this.#predicate.dependencies;
    this.probes++;
    moment.event = event;
    moment.reads = memory && event === null ? [] : null;
    try {
      return this.#predicate.holds(moment);
    } finally {
      if (moment.reads !== null) this.#lookOut(merge(moment.reads), moment.walked);
      moment.event = null;
      moment.reads = null;
    }
  }
  /** Sees to it that a change of what has been read is noticed; `walked`: by way of page tables. */
  #lookOut(ranges: ReadonlyArray<{ address: number; bytes: number }>, walked: boolean): void {
    const { translations } = this.#session.run.explanation;
    this.overflow = ranges.length > WATCHES_AT_MOST || (walked && translations === null);
    const tables = walked ? (translations ?? []).map(happening) : [];
    this.stops = StopSet.of(CLIENT, this.overflow ? this.#fixed : [...this.#fixed, ...tables, ...ranges.map(written)]);
  }
}

export class Search {
  readonly #session: Session;
  readonly #moment: SessionMoment;

  constructor(session: Session, moment: SessionMoment) {
    this.#session = session;
    this.#moment = moment;
  }

  /** The first tick in `from` to `to` whose state fulfils the predicate. The session then stands there. */
  async first(predicate: Predicate, from: Tick, to: Tick, hooks: SearchHooks = QUIET): Promise<Found> {
    const { dependencies: d } = predicate;
    const plain = !d.everyStep && d.events.length === 0 && !d.memory && d.places.length === 0;
    if (plain && d.console) return this.#inConsole(predicate, from, to, hooks);
    return this.#scan(predicate, from, to, hooks);
  }

  /** Predicates on the console alone: from its index. */
  async #inConsole(predicate: Predicate, from: Tick, to: Tick, hooks: SearchHooks): Promise<Found> {
    const { console } = this.#session.run;
    if (console.knownTo < to) {
      const known = console.knownTo;
      await this.#session.goto(Math.min(known, to), hooks.breathe);
      await this.#run(to, hooks, () => false);
    }
    const found = await firstInConsole(predicate, console, { from, to }, hooks.breathe);
    if (found.tick !== null) await this.#session.goto(found.tick, hooks.breathe);
    return found;
  }

  async #scan(predicate: Predicate, from: Tick, to: Tick, hooks: SearchHooks): Promise<Found> {
    const session = this.#session;
    const { dependencies: d } = predicate;
    await session.goto(Math.max(0, from - 1), hooks.breathe);
    const asked = new Asked(session, this.#moment, predicate);
    try {
      if (from > 0) {
        asked.begin();
        session.step();
      }
      const found =
        asked.holds() ||
        (await this.#run(to, hooks, () => asked.holds(), {
          stops: () => asked.stops,
          everyStep: (stopped) => d.everyStep || asked.overflow || (d.remembers && stopped),
          met: () => asked.happened,
        }));
      return { tick: found ? session.tick : null, probes: asked.probes };
    } finally {
      asked.end();
    }
  }
  /**
   * Runs forward to `to`, asking `look` where {@link Look} says so; true when it did.
   */
  async #run(
    to: Tick,
    hooks: SearchHooks,
    look: () => boolean,
    { stops = () => StopSet.NONE, everyStep = () => false, met = () => false }: Partial<Look> = {},
  ): Promise<boolean> {
    const session = this.#session;
    // the state that it begins at has been looked at
    let resume = true;
    let stopped = true;
    let looks = 0;
    const { work } = session.run.machine.platform;
    let rested = work.total;
    while (session.tick < to) {
      const stepping = everyStep(stopped);
      const until = stepping ? session.tick + 1 : Math.min(session.tick + BREATH_TICKS, to);
      const end = session.forward(until, { resume, stops: stops() });
      resume = isBefore(end);
      stopped = end.kind === 'hit';
      stopped ||= met();
      if ((stepping || stopped) && look()) return true;
      if (end.kind === 'stop' || end.kind === 'blocked') break;
      if (end.kind === 'limit' && !stepping) looks = STOPS_PER_BREATH;
      if (++looks < STOPS_PER_BREATH && work.total - rested < WORK_PER_BREATH) continue;
      looks = 0;
      rested = work.total;
      hooks.progress(session.tick, to);
      await hooks.breathe();
    }
    return look();
  }

  /** The first such tick by bisection: right only for a predicate that never turns false again. */
  async monotone(predicate: Predicate, from: Tick, to: Tick, hooks: SearchHooks = QUIET): Promise<Found> {
    if (predicate.dependencies.events)
      throw new EmulatorError('E_EXPRESSION', 'an event holds at its tick alone: --monotone finds what stays true');
    let probes = 0;
    const holdsAt = async (tick: Tick): Promise<boolean> => {
      probes++;
      await this.#session.goto(tick, hooks.breathe);
      await hooks.breathe();
      return predicate.holds(this.#moment);
    };
    if (!(await holdsAt(to))) return { tick: null, probes };
    let [low, high] = [from - 1, to];
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (await holdsAt(middle)) high = middle;
      else low = middle;
      hooks.progress(to - from - (high - low), to - from);
    }
    await this.#session.goto(high, hooks.breathe);
    return { tick: high, probes };
  }

  /**
   * The last tick before `before`, from `least` on, whose state fulfils the predicate, or null; looks at one segment after the other,
   * backwards.
   */
  async last(fresh: () => Predicate, before: Tick, hooks: SearchHooks = QUIET, least: Tick = 0): Promise<Tick | null> {
    if (fresh().dependencies.counts)
      throw new EmulatorError(
        'E_EXPRESSION',
        'count() counts from where a search begins, and going back begins nowhere',
      );
    let end = before;
    for (const start of this.#session.startsBefore(before)) {
      // what happens in the step to a segment's first tick is seen by whoever sets out from the tick before
      const first = start === 0 ? least : Math.max(start + 1, least);
      let hit: Tick | null = null;
      for (let from = first; from < end; ) {
        const found = await this.first(fresh(), from, end - 1, hooks);
        if (found.tick === null) break;
        hit = found.tick;
        from = found.tick + 1;
      }
      if (hit !== null) {
        await this.#session.goto(hit, hooks.breathe);
        return hit;
      }
      if (first <= least) break;
      end = first;
    }
    return null;
  }

  /**
   * The last step before the state at `before` that changed any of `bytes` bytes at machine address `address`: the tick that the
   * step started from, or null. Looks at one segment between known states after the other, backwards.
   */
  async lastChange(address: number, bytes: number, before: Tick, hooks: SearchHooks = QUIET): Promise<Tick | null> {
    const session = this.#session;
    const { engine } = session.run.machine;
    let end = before;
    for (const start of session.startsBefore(before)) {
      if (start >= end) continue;
      if (!session.mayHaveWritten(address, start, end)) {
        end = start;
        continue;
      }
      await session.goto(start, hooks.breathe);
      const value = (): string => {
        const at = engine.memory.address(address);
        return engine.memory.bytes.subarray(at, at + bytes).join();
      };
      let last: Tick | null = null;
      let held = value();
      const stops = StopSet.of(CLIENT, [written({ address, bytes })]);
      while (session.tick < end) {
        const stopped = session.forward(Math.min(end, session.tick + BREATH_TICKS), { stops });
        if (stopped.kind === 'hit') {
          const now = value();
          if (now !== held) last = session.tick - 1;
          held = now;
        }
        hooks.progress(before - session.tick, before);
        await hooks.breathe();
        if (stopped.kind === 'stop' || stopped.kind === 'blocked') break;
      }
      if (last !== null) return last;
      end = start;
    }
    return null;
  }
}

/** Joins byte ranges that touch. */
function merge(reads: ReadonlyArray<{ address: number; bytes: number }>): Array<{ address: number; bytes: number }> {
  const out: Array<{ address: number; bytes: number }> = [];
  for (const { address, bytes } of reads.toSorted((a, b) => a.address - b.address)) {
    const last = out.at(-1);
    if (last !== undefined && address <= last.address + last.bytes)
      last.bytes = Math.max(last.bytes, address + bytes - last.address);
    else out.push({ address, bytes });
  }
  return out;
}
