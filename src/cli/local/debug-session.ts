/** A session for the debug prompt: it moves, and stops for what its clients hold and for what predicates say. */
import { EmulatorError } from '../../core/errors.ts';
import { hex, PAGE_SIZE, type Tick, u64, type VirtAddr } from '../../core/units.ts';
import type { Symbolizer } from '../../inspect/disassembly.ts';
import { anyOf, type Predicate, parsePredicate } from '../../inspect/expression.ts';
import type { Moment } from '../../inspect/moment.ts';
import type { Search } from '../../inspect/search.ts';
import type { SessionInvestigator } from '../../inspect/session-investigator.ts';
import type { SymbolTable } from '../../inspect/symbols.ts';
import { type AccessStop, type Hit, type StopCondition, StopSet } from '../../machine/stops.ts';
import type { Session } from '../../timeline/session.ts';
import type { DebugSession, Met, WorkHooks } from '../backend.ts';
import { breather, searchHooks } from './breath.ts';

/** The client of the session's stops that the prompt is. */
const CLIENT = 'prompt';

interface Reached {
  readonly hits: readonly Hit[];
  readonly tick: Tick | null;
}

export class LocalDebugSession implements DebugSession {
  readonly #investigator: SessionInvestigator;
  readonly firstTick = 0;
  readonly symbols: SymbolTable;
  readonly names: Symbolizer;

  constructor(investigator: SessionInvestigator) {
    this.#investigator = investigator;
    this.symbols = investigator.symbols.kernel;
    this.names = investigator.symbols;
  }
  get #session(): Session {
    return this.#investigator.session;
  }

  get #search(): Search {
    return this.#investigator.search;
  }

  get lastTick(): Tick {
    return this.#session.endTick;
  }
  now(): Moment {
    return this.#investigator.moment;
  }
  stateHash(): bigint {
    return this.#session.run.stateHash();
  }
  goto(tick: Tick, work: WorkHooks): Promise<void> {
    return this.#session.goto(tick, breather(work.stop));
  }

  // ---- stops --------------------------------------------------------------------------------------------------------

  check(source: string): VirtAddr | null {
    return this.#parse(source).place;
  }
  accesses(access: AccessStop['access'], address: VirtAddr, bytes: number): StopCondition[] {
    const pieces: StopCondition[] = [];
    for (let done = 0; done < bytes; ) {
      const linear = u64(address + BigInt(done));
      const count = Math.min(bytes - done, PAGE_SIZE - Number(linear % BigInt(PAGE_SIZE)));
      const at = this.#investigator.moment.translate(linear);
      if (at === null) throw new EmulatorError('E_USAGE', `${hex(linear)} is not mapped here`);
      pieces.push({ kind: 'access', access, address: Number(at), bytes: count });
      done += count;
    }
    return pieces;
  }
  hold(conditions: readonly StopCondition[]): void {
    this.#session.stops.set(CLIENT, conditions);
  }

  // ---- moving -------------------------------------------------------------------------------------------------------

  /** A move that fails, but for one that was interrupted on its way forward, moves nothing. */
  async #move<T>(forward: boolean, work: WorkHooks, move: () => Promise<T>): Promise<T> {
    const from = this.#session.tick;
    try {
      return await move();
    } catch (error) {
      if (!forward || !work.stop.aborted) await this.#session.goto(from);
      throw error;
    }
  }
  #parse(source: string): Predicate {
    return parsePredicate(source, this.#investigator.moment);
  }
  /** The first tick behind `from`, up to `to`, at which the predicate holds; the session stands there, or at `to`. */
  async #first(predicate: Predicate | null, from: Tick, to: Tick, work: WorkHooks): Promise<Tick | null> {
    const looks = predicate !== null && from < to;
    const { tick } = looks ? await this.#search.first(predicate, from + 1, to, searchHooks(work)) : { tick: null };
    if (tick === null) await this.#session.goto(to, breather(work.stop));
    return tick;
  }
  /** The last tick before `before`, from `least` on; the session stands there, or at `least`. `fresh` makes the predicate. */
  async #last(fresh: (() => Predicate) | null, before: Tick, least: Tick, work: WorkHooks): Promise<Tick | null> {
    const tick = fresh === null ? null : await this.#search.last(fresh, before, searchHooks(work), least);
    if (tick === null) await this.#session.goto(least, breather(work.stop));
    return tick;
  }

  forward(source: string, work: WorkHooks): Promise<Tick | null> {
    return this.#move(true, work, () => this.#first(this.#parse(source), this.#session.tick, this.lastTick, work));
  }
  back(source: string, work: WorkHooks): Promise<Tick | null> {
    return this.#move(false, work, () => this.#last(() => this.#parse(source), this.#session.tick, 0, work));
  }
  run(direction: 'forward' | 'back', sources: readonly string[], work: WorkHooks): Promise<Met | null> {
    const forward = direction === 'forward';
    return this.#move(forward, work, async () => {
      let predicates: readonly number[] = [];
      const fresh = (): Predicate =>
        anyOf(
          sources.map((source) => this.#parse(source)),
          (holding) => {
            predicates = holding;
          },
        );
      const any = sources.length === 0 ? null : fresh;
      const { hits, tick } = forward ? await this.#runForward(any, work) : await this.#runBack(any, work);
      return hits.length > 0 || tick !== null ? { hits, predicates } : null;
    });
  }
  /** What is met, and the tick to which the predicate led, null where it did not. */
  async #runForward(any: (() => Predicate) | null, work: WorkHooks): Promise<Reached> {
    const session = this.#session;
    const from = session.tick;
    const { all } = session.stops;
    const hits = all === StopSet.NONE ? [] : await session.advance(this.lastTick, all, true, this.#breathe(work));
    const reached = hits.length > 0 ? session.tick : this.lastTick;
    // a predicate may hold on the way there
    const tick = await this.#first(any?.() ?? null, from, reached, work);
    return { tick, hits: tick === null || tick === reached ? hits : [] };
  }
  async #runBack(any: (() => Predicate) | null, work: WorkHooks): Promise<Reached> {
    const session = this.#session;
    const before = session.tick;
    const { all } = session.stops;
    const hits = all === StopSet.NONE ? [] : await session.back(all, this.#breathe(work));
    const least = hits.length > 0 ? session.tick : 0;
    const tick = await this.#last(any, before, least, work);
    return { tick, hits: tick === null || tick === least ? hits : [] };
  }
  #breathe(work: WorkHooks): () => Promise<void> {
    const breathe = breather(work.stop);
    return async () => {
      work.progress(this.#session.tick, this.lastTick);
      await breathe();
    };
  }
}
