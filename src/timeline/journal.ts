/**
 * The journal in memory: what crossed the input door, in order of ticks, and the two doors of a run: one that writes a
 * journal, one that follows it.
 *
 * Invariants: entries are ordered by tick; payloads are followed, decisions are compared; following an edited journal makes a
 * counterfactual run, which says so and is never called verified.
 */
import type { Tick } from '../core/units.ts';
import { type Decision, Divergence, type InputDoor, type Payload } from '../machine/inputs.ts';

export type JournalEntry = Payload | Decision;
export const isPayload = (entry: JournalEntry): entry is Payload => entry.kind === 'console';

/** The door of a recording: payloads come from the host, everything is written down. */
export class RecordingDoor implements InputDoor {
  readonly #waiting: Uint8Array[] = [];
  #sealed: Tick = -1;
  readonly #write: (entry: JournalEntry) => void;

  constructor(write: (entry: JournalEntry) => void) {
    this.#write = write;
  }
  /** Bytes from the host; they enter at the first tick that is not sealed. */
  push(data: Uint8Array): void {
    if (data.length > 0) this.#waiting.push(data);
  }
  get waiting(): boolean {
    return this.#waiting.length > 0;
  }
  /** The state at `tick` has been looked at (hashed, stored, shown): nothing enters it any more. */
  seal(tick: Tick): void {
    this.#sealed = tick;
  }
  take(tick: Tick): readonly Payload[] {
    if (this.#waiting.length === 0 || tick <= this.#sealed) return [];
    const payloads = this.#waiting.splice(0).map((data): Payload => ({ tick, kind: 'console', data }));
    for (const payload of payloads) this.#write(payload);
    return payloads;
  }
  nextPayload(): Tick {
    return this.waiting ? this.#sealed + 1 : Number.POSITIVE_INFINITY;
  }
  decided(decision: Decision): void {
    this.#write(decision);
  }
}

/** The door of a replay. */
export class ReplayDoor implements InputDoor {
  readonly #payloads: readonly Payload[];
  readonly #decisions: readonly Decision[];
  /** From here on a counterfactual run follows payloads only: its decisions may differ. */
  readonly #compareBefore: Tick;
  #nextPayload = 0;
  #nextDecision = 0;

  constructor(entries: readonly JournalEntry[], compareBefore: Tick = Number.POSITIVE_INFINITY) {
    this.#payloads = entries.filter(isPayload);
    this.#decisions = entries.filter((e): e is Decision => !isPayload(e));
    this.#compareBefore = compareBefore;
  }
  /** Positions the door for a machine whose state is the one after the zero-width actions at `tick`. */
  seek(tick: Tick): void {
    this.#nextPayload = firstAfter(this.#payloads, tick);
    this.#nextDecision = firstAfter(this.#decisions, tick);
    // An idle jump at `tick` is a step from it: it has not happened yet.
    while (this.#nextDecision > 0) {
      const before = this.#decisions[this.#nextDecision - 1]!;
      if (before.tick !== tick || before.kind !== 'idle') break;
      this.#nextDecision--;
    }
  }
  take(tick: Tick): readonly Payload[] {
    const from = this.#nextPayload;
    while (this.nextPayload() <= tick) this.#nextPayload++;
    return this.#payloads.slice(from, this.#nextPayload);
  }
  nextPayload(): Tick {
    return this.#payloads[this.#nextPayload]?.tick ?? Number.POSITIVE_INFINITY;
  }
  decided(decision: Decision): void {
    if (decision.tick >= this.#compareBefore) return;
    const expected = this.#decisions[this.#nextDecision++];
    // Past the end of what was recorded there is nothing to compare with.
    if (expected === undefined) return;
    if (expected.tick !== decision.tick || expected.kind !== decision.kind || expected.detail !== decision.detail)
      throw new Divergence(
        Math.min(expected.tick, decision.tick),
        `the recording has ${describe(expected)}, the replay ${describe(decision)}`,
      );
  }
}

const describe = (d: Decision): string => `${d.kind} at tick ${d.tick} (${d.detail})`;

/** Index of the first entry with a tick above `tick`. */
function firstAfter(entries: ReadonlyArray<{ tick: Tick }>, tick: Tick): number {
  let [low, high] = [0, entries.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (entries[middle]!.tick <= tick) low = middle + 1;
    else high = middle;
  }
  return low;
}
