/** A stop client for tests: it holds conditions beside whoever else does, and lists what is met of them on the way through a session. */
import type { Tick } from '../../src/core/units.ts';
import { type Hit, isAddress, type StopCondition } from '../../src/machine/stops.ts';
import type { Session } from '../../src/timeline/session.ts';

/** Something met: at a tick, of a condition's kind. */
type Mark = readonly [tick: Tick, kind: StopCondition['kind']];

export class Tracer {
  readonly #session: Session;
  readonly #client: string;

  constructor(session: Session, client: string, conditions: readonly StopCondition[]) {
    this.#session = session;
    this.#client = client;
    session.stops.set(client, conditions);
  }
  /** Runs to the end. */
  async forward(): Promise<Mark[]> {
    const session = this.#session;
    const marks: Mark[] = [];
    for (let resume = false; ; ) {
      const hits = await session.advance(session.endTick, session.stops.all, resume);
      if (hits.length === 0) return marks;
      marks.push(...this.#own(hits));
      resume = isAddress(hits);
    }
  }
  /** Runs to the start; in the order of ticks. */
  async back(): Promise<Mark[]> {
    const marks: Mark[] = [];
    for (;;) {
      const hits = await this.#session.back(this.#session.stops.all);
      if (hits.length === 0) return marks;
      marks.unshift(...this.#own(hits));
    }
  }
  end(): void {
    this.#session.stops.set(this.#client, []);
  }
  #own(hits: readonly Hit[]): Mark[] {
    return hits
      .filter(({ client }) => client === this.#client)
      .map(({ condition }) => [this.#session.tick, condition.kind]);
  }
}
