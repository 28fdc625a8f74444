/**
 * The journal in memory: what crossed the input door, in order of ticks, and the two doors of a run: one that writes a
 * journal, one that follows it.
 *
 * Invariants: entries are ordered by tick; payloads are followed, decisions are compared; following an edited journal makes a
 * counterfactual run, which says so and is never called verified.
 */
import type { Tick } from '../core/units.ts';
import { type Decision, Divergence, type InputDoor, type Payload } from '../machine/inputs.ts';
import type { JournalEntry, Recording } from './trace-store.ts';

export const isPayload = (entry: JournalEntry): entry is Payload => entry.kind === 'input';

/** The door of a recording: payloads come from the host, everything is written down. */
export class RecordingDoor implements InputDoor {
  readonly #waiting: Omit<Payload, 'tick'>[] = [];
  #sealed: Tick = -1;
  readonly #terminal: string;
  readonly #write: (entry: JournalEntry) => void;

  /** `terminal`: the device that is meant where none is named. */
  constructor(terminal: string, write: (entry: JournalEntry) => void) {
    this.#terminal = terminal;
    this.#write = write;
  }
  /** Bytes from the host for a device; they enter at the first tick that is not sealed. */
  push(data: Uint8Array, device = this.#terminal): void {
    if (data.length > 0) this.#waiting.push({ kind: 'input', device, data });
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
    const payloads = this.#waiting.splice(0).map((payload): Payload => ({ tick, ...payload }));
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

/** A journal by its blocks, of which one at a time is read: what a guest decides has no bound. */
export type JournalSource = Pick<Recording, 'blocks' | 'block'>;

/** The door of a replay. */
export class ReplayDoor implements InputDoor {
  readonly #source: JournalSource;
  /** All of them: they are what somebody typed. */
  readonly #payloads: Payload[] = [];
  /** From here on a counterfactual run follows payloads only: its decisions may differ. */
  readonly #compareBefore: Tick;
  #nextPayload = 0;
  /** The decisions of one block, by its place among the blocks. */
  #decisions: readonly Decision[] = [];
  #block = -1;
  #nextDecision = 0;

  constructor(source: JournalSource, compareBefore: Tick = Number.POSITIVE_INFINITY) {
    this.#source = source;
    this.#compareBefore = compareBefore;
    for (const { sequence } of source.blocks)
      for (const entry of source.block(sequence).entries) if (isPayload(entry)) this.#payloads.push(entry);
  }
  /** Reads the decisions of the block at `place`; false where there is none. */
  #open(place: number): boolean {
    const block = this.#source.blocks[place];
    if (block === undefined) return false;
    if (place !== this.#block)
      this.#decisions = this.#source.block(block.sequence).entries.filter((e): e is Decision => !isPayload(e));
    this.#block = place;
    this.#nextDecision = 0;
    return true;
  }
  /** Positions the door for a machine whose state is the one after the zero-width actions at `tick`. */
  seek(tick: Tick): void {
    this.#nextPayload = firstAfter(this.#payloads, tick);
    const { blocks } = this.#source;
    const later = blocks.findIndex((block) => block.lastTick >= tick);
    for (let place = later < 0 ? blocks.length : later; this.#open(place); place++) {
      this.#nextDecision = firstAfter(this.#decisions, tick);
      // An idle jump at `tick` is a step from it: it has not happened yet.
      while (this.#nextDecision > 0) {
        const before = this.#decisions[this.#nextDecision - 1]!;
        if (before.tick !== tick || before.kind !== 'idle') break;
        this.#nextDecision--;
      }
      if (this.#nextDecision < this.#decisions.length) return;
    }
    this.#decisions = [];
    this.#block = blocks.length;
    this.#nextDecision = 0;
  }
  /** The next decision of the journal, undefined behind its end. */
  #expected(): Decision | undefined {
    while (this.#nextDecision >= this.#decisions.length) if (!this.#open(this.#block + 1)) return undefined;
    return this.#decisions[this.#nextDecision++];
  }
  take(tick: Tick): readonly Payload[] {
    const from = this.#nextPayload;
    while (this.nextPayload() <= tick) this.#nextPayload++;
    return this.#payloads.slice(from, this.#nextPayload);
  }
  /** Those of one tick. */
  payloadsAt(tick: Tick): readonly Payload[] {
    return this.#payloads.filter((payload) => payload.tick === tick);
  }
  nextPayload(): Tick {
    return this.#payloads[this.#nextPayload]?.tick ?? Number.POSITIVE_INFINITY;
  }
  decided(decision: Decision): void {
    if (decision.tick >= this.#compareBefore) return;
    const expected = this.#expected();
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
