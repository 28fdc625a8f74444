/** A recording opened in a session, as `why` investigates it. */
import type { Tick, VirtAddr } from '../core/units.ts';
import type { Explanation, Place } from '../machine/explanation.ts';
import type { MachineEvent } from '../machine/platform.ts';
import { StackWatch } from '../machine/step-trace.ts';
import { StopSet, type Watchpoint } from '../machine/stops.ts';
import { BREATH_TICKS, type Run } from '../timeline/run.ts';
import type { Session } from '../timeline/session.ts';
import { type Aftermath, whatIf } from '../timeline/what-if.ts';
import type { Asked } from './causes/decision.ts';
import { Disassembler } from './disassembly.ts';
import { EVENTS_AT_ONCE, journalEvents, Merge } from './event-order.ts';
import { tapEvents } from './event-tap.ts';
import { AGAIN, type Investigator, OTHERWISE, type RunEvent, type Undo, type Write } from './investigate.ts';
import { GuestSymbols } from './modules.ts';
import type { Moment } from './moment.ts';
import { type Origin, OriginSearch } from './origin/origin.ts';
import type { Bytes } from './origin/past.ts';
import { registerBytes } from './origin/place.ts';
import type { VerdictReport } from './report.ts';
import { QUIET, Search, type SearchHooks } from './search.ts';
import { SessionMoment } from './session-moment.ts';
import { symbolText } from './symbol-text.ts';
import type { SymbolTable } from './symbols.ts';

/** Ticks from a store to the end at most where it is tried without, and ticks that the run may take behind the end. */
const TRIED_TICKS = 2 ** 32;
const AFTER_TICKS = 2 ** 24;

export class SessionInvestigator implements Investigator {
  readonly session: Session;
  readonly symbols: GuestSymbols;
  readonly explanation: Explanation;
  readonly moment: SessionMoment;
  readonly search: Search;
  readonly verdict: VerdictReport;
  readonly firstTick = 0;
  readonly lastTick: Tick;
  readonly #hooks: SearchHooks;
  readonly #origins: OriginSearch;

  /** Makes another machine of the recording, for what is tried; null where none is to be. */
  readonly #another: (() => Run) | null;

  constructor(
    session: Session,
    symbols: SymbolTable,
    verdict: VerdictReport,
    hooks: SearchHooks = QUIET,
    another: (() => Run) | null = null,
  ) {
    this.#another = another;
    this.session = session;
    this.explanation = session.run.explanation;
    this.moment = new SessionMoment(session, symbols);
    this.symbols = new GuestSymbols(symbols, session.run.elf, this.moment);
    this.search = new Search(session, this.moment);
    this.verdict = verdict;
    this.lastTick = session.endTick;
    this.#hooks = hooks;
    const disassembler = new Disassembler(this.symbols);
    this.#origins = new OriginSearch(session, { moment: this.moment, symbols: this.symbols, disassembler }, hooks);
  }

  async at(tick: Tick): Promise<Moment> {
    await this.session.goto(tick, this.#hooks.breathe);
    return this.moment;
  }

  async *events(from: Tick, to: Tick): AsyncGenerator<readonly RunEvent[]> {
    const { session } = this;
    await session.goto(from, this.#hooks.breathe);
    const journal = journalEvents(session.recording, from, to);
    let batch: RunEvent[] = [];
    const undo = tapEvents(session, this.moment, (event) => {
      batch.push(event);
      if (batch.length >= EVENTS_AT_ONCE) session.run.machine.leave();
    });
    const merge = new Merge(journal);
    try {
      const end = Math.min(to + 1, this.lastTick);
      for (let running = true; running && session.tick < end; ) {
        const { kind } = session.forward(Math.min(end, session.tick + BREATH_TICKS));
        running = kind !== 'stop' && kind !== 'blocked';
        yield* merge.upTo(session.tick, batch);
        batch = [];
        this.#hooks.progress(session.tick, end);
        await this.#hooks.breathe();
      }
    } finally {
      undo();
    }
    yield* merge.upTo(Number.POSITIVE_INFINITY, []);
  }

  async lastWrite(place: Place, bytes: number, before: Tick): Promise<Write | null> {
    await this.session.goto(before, this.#hooks.breathe);
    const address = this.#machine(place);
    if (address === null) return null;
    const tick = await this.search.lastChange(address, bytes, before, this.#hooks);
    if (tick === null) return null;
    const value = (): bigint => this.moment.read('ma', BigInt(address), bytes) ?? 0n;
    await this.session.goto(tick + 1, this.#hooks.breathe);
    const after = value();
    await this.session.goto(tick, this.#hooks.breathe);
    return { tick, vcpu: this.moment.vcpu, rip: this.session.run.machine.cpu.rip, before: value(), after };
  }
  #machine(place: Place): number | null {
    if (place.space === 'va') {
      const at = this.moment.translate(place.address as VirtAddr);
      return at === null ? null : Number(at);
    }
    const at = place.space === 'pa' ? this.explanation.machineAddress(place.address) : place.address;
    return at === null ? null : Number(at);
  }

  async lastRead(
    place: Place,
    bytes: number,
    before: Tick,
    least: Tick,
  ): Promise<{ tick: Tick; rip: VirtAddr } | null> {
    const address = this.#machine(place);
    if (address === null) return null;
    const tick = await this.#origins.past.lastRead({ space: 'memory', address, bytes }, before, least);
    if (tick === null) return null;
    await this.session.goto(tick, this.#hooks.breathe);
    return { tick, rip: this.moment.rip };
  }
  async origin(place: Asked, tick: Tick, values: number): Promise<Origin | null> {
    await this.session.goto(tick, this.#hooks.breathe);
    const found = this.#bytesOf(place);
    return found === null ? null : this.#origins.of(found.bytes, tick, { address: found.address, values });
  }
  branchBefore(tick: Tick, vcpu: number): Promise<Tick | null> {
    return this.#origins.branchBefore(tick, vcpu);
  }
  #bytesOf(place: Asked): { bytes: Bytes; address: VirtAddr | null } | null {
    if (place.space === 'register') {
      const register = registerBytes(place.name);
      return register === null ? null : { bytes: { space: 'state', vcpu: place.vcpu, ...register }, address: null };
    }
    const machine = this.#machine(place as Place);
    if (machine === null) return null;
    const address = place.space === 'va' ? place.address : null;
    return { bytes: { space: 'memory', address: machine, bytes: place.bytes }, address };
  }
  async undo({ tick, from, address, bytes }: Undo, fatal: RunEvent | null): Promise<Aftermath | null> {
    const { session } = this;
    const { verdict, lastTick } = this;
    if (this.#another === null || lastTick - tick > TRIED_TICKS) return null;
    await session.goto(tick, this.#hooks.breathe);
    if (!this.explanation.isPlain(address)) return null;
    await session.goto(from, this.#hooks.breathe);
    const before = this.#origins.past.read({ space: 'memory', address, bytes });
    const points: Watchpoint[] = [];
    if (fatal !== null && this.explanation.heard.includes('trap')) {
      const here = (event: MachineEvent): boolean => 'rip' in event && event.rip === fatal.rip;
      const { vector, address: at } = fatal.fields;
      const same = (event: MachineEvent): boolean =>
        'address' in event && event.address === at && 'vector' in event && BigInt(event.vector as number) === vector;
      const stop = (client: string, matches: (event: MachineEvent) => boolean): void =>
        void points.push({ client, condition: { kind: 'event', event: 'trap', matches } });
      stop(AGAIN, (event) => here(event) && same(event));
      stop(OTHERWISE, (event) => here(event) && !same(event));
    }
    if (verdict.kind === 'panic' && verdict.rip !== null)
      points.push({ client: 'panic', condition: { kind: 'address', address: verdict.rip } });
    const until = lastTick + AFTER_TICKS;
    const change = { tick, address, bytes: before };
    return whatIf(this.#another(), session.recording, change, until, new StopSet(points), this.#hooks.breathe);
  }
  async rises(vcpu: number, above: VirtAddr, from: Tick, to: Tick): Promise<boolean> {
    const { session } = this;
    await session.goto(from, this.#hooks.breathe);
    const watch = new StackWatch(vcpu, above);
    const { engine } = session.run.machine;
    engine.trace(watch);
    try {
      while (session.tick < to && !watch.rose) {
        const { kind } = session.forward(Math.min(to, session.tick + BREATH_TICKS));
        if (kind === 'stop' || kind === 'blocked') break;
        await this.#hooks.breathe();
      }
    } finally {
      engine.trace(null);
    }
    return watch.rose;
  }

  async walk(from: Tick, to: Tick, visit: (moment: Moment) => void): Promise<void> {
    await this.session.goto(from, this.#hooks.breathe);
    for (;;) {
      visit(this.moment);
      if (this.session.tick >= Math.min(to, this.session.endTick)) return;
      this.session.forward(this.session.tick + 1);
      await this.#hooks.breathe();
    }
  }

  /** Name and offset of an address, for reports. */
  nameOf(address: bigint): string | null {
    return symbolText(this.symbols, address);
  }
}
