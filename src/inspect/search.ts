/**
 * Searching a recording: the first state that fulfils a predicate, the last change of a place in memory.
 *
 * A search runs at full speed between the moments that can matter and looks only there: at the places in code that it names and at
 * writes of the memory the predicate reads (stops), at events, at console output. Only a predicate about registers anywhere is looked
 * at after every step.
 */
import type { Tick } from '../core/units.ts';
import { isBefore } from '../machine/machine.ts';
import { type StopCondition, StopSet } from '../machine/stops.ts';
import { BREATH_TICKS } from '../timeline/run.ts';
import type { Session } from '../timeline/session.ts';
import { firstInConsole } from './console-search.ts';
import { tapEvents } from './event-tap.ts';
import type { Predicate } from './expression.ts';
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
/** What changes how memory is read without a write to what was read: other page tables, types of frames. */
const TRANSLATIONS: readonly StopCondition[] = [
  { kind: 'event', event: 'tables' },
  { kind: 'event', event: 'type' },
];
const written = (range: { address: number; bytes: number }): StopCondition => ({
  kind: 'access',
  access: 'write',
  ...range,
});

/** When a run is looked at. */
interface Look {
  /** What it comes back for, asked before each stretch. */
  stops(): StopSet;
  /** Whether the next step is looked at by itself; told whether the last stretch came to a stop. */
  everyStep(stopped: boolean): boolean;
  /** Something was met while the stretch ran. */
  met(): boolean;
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
    const plain = !d.everyStep && !d.events && !d.memory && d.places.length === 0;
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
    const moment = this.#moment;
    const { dependencies: d } = predicate;
    let probes = 0;
    let eventTick: Tick | null = null;
    /** The predicate reads more places than can be watched. */
    let overflow = false;
    const addresses = this.#addresses(predicate);
    const fixed: StopCondition[] = d.memory ? [...addresses, ...TRANSLATIONS] : addresses;
    let stops = StopSet.of(CLIENT, fixed);
    const look = (): boolean => {
      if (eventTick !== null) return true;
      probes++;
      moment.reads = d.memory ? [] : null;
      const holds = predicate.holds(moment);
      if (moment.reads !== null) {
        const ranges = merge(moment.reads);
        overflow = ranges.length > WATCHES_AT_MOST;
        stops = StopSet.of(CLIENT, overflow ? fixed : [...fixed, ...ranges.map(written)]);
      }
      moment.reads = null;
      return holds;
    };
    const untap = d.events
      ? tapEvents(session, moment, (event) => {
          if (eventTick !== null || event.tick < from) return;
          moment.event = event;
          probes++;
          if (predicate.holds(moment)) {
            eventTick = event.tick + 1;
            session.run.machine.leave();
          }
          moment.event = null;
        })
      : () => {};
    try {
      await session.goto(from, hooks.breathe);
      const options: Look = {
        stops: () => stops,
        everyStep: (stopped) => d.everyStep || overflow || (d.remembers && stopped),
        met: () => eventTick !== null,
      };
      const found = look() || (await this.#run(to, hooks, look, options));
      return { tick: found ? (eventTick ?? session.tick) : null, probes };
    } finally {
      untap();
    }
  }

  /** Addresses at which a predicate is to be looked at. */
  #addresses(predicate: Predicate): StopCondition[] {
    const out = new Set<bigint>();
    for (const { address, bytes } of predicate.dependencies.places)
      for (let at = 0n; at < bytes; at++) out.add(address + at);
    return Array.from(out, (address) => ({ kind: 'address', address }));
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
    let resume = false;
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
      if ((stepping || stopped || met()) && look()) return true;
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
    let end = before;
    for (const start of this.#session.startsBefore(before)) {
      let hit: Tick | null = null;
      for (let from = Math.max(start, least); from < end; ) {
        const found = await this.first(fresh(), from, end - 1, hooks);
        if (found.tick === null) break;
        hit = found.tick;
        from = found.tick + 1;
      }
      if (hit !== null) {
        await this.#session.goto(hit, hooks.breathe);
        return hit;
      }
      if (start <= least) break;
      end = start;
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
      if (!this.#mayHaveChanged(address, start, end)) {
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
  /** The coarse index: a page that no snapshot in between names has not changed. */
  #mayHaveChanged(address: number, start: Tick, end: Tick): boolean {
    const { recording, run } = this.#session;
    const slot = run.machine.engine.memory.frameSlots[Math.floor(address / 4096)]!;
    const inside = recording.snapshots.filter((s) => s.tick > start && (s.base ?? 0) < end);
    const covered = inside.some((s) => (s.base ?? 0) <= start) && inside.some((s) => s.tick >= end);
    return !covered || inside.some((s) => s.dirty.some((run) => slot >= run.slot && slot < run.slot + run.length));
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
