/**
 * The scratch area: where accesses that cross a page, and stores that have to be seen, work on copies. A store waits there until
 * its instruction commits.
 */
import { SCRATCH_BASE, SCRATCH_BYTES } from './layout.ts';

/** A store that waits. Addresses are those of linear memory; `secondBytes` may be 0. */
interface PendingStore {
  readonly scratch: number;
  /** The bytes as they were: only what differs from them is written back, since two accesses may overlap. */
  readonly original: Uint8Array;
  readonly first: number;
  readonly firstBytes: number;
  readonly second: number;
  readonly secondBytes: number;
}

export class Scratch {
  readonly #bytes: Uint8Array;
  #pending: PendingStore[] = [];
  #top = SCRATCH_BASE;

  /** `bytes`: linear memory. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }
  /** Copies the bytes of an access into the area; RangeError when it is full. */
  gather(first: number, firstBytes: number, second: number, secondBytes: number): number {
    if (this.#pending.length === 0) this.#top = SCRATCH_BASE;
    const at = this.#top;
    this.#top += (firstBytes + secondBytes + 15) & ~15;
    if (this.#top > SCRATCH_BASE + SCRATCH_BYTES) throw new RangeError('an instruction has too many scratch accesses');
    this.#bytes.copyWithin(at, first, first + firstBytes);
    if (secondBytes > 0) this.#bytes.copyWithin(at + firstBytes, second, second + secondBytes);
    return at;
  }
  /** Like {@link Scratch.gather} for bytes that the instruction is going to store. */
  defer(first: number, firstBytes: number, second: number, secondBytes: number): number {
    const scratch = this.gather(first, firstBytes, second, secondBytes);
    const original = this.#bytes.slice(scratch, scratch + firstBytes + secondBytes);
    this.#pending.push({ scratch, original, first, firstBytes, second, secondBytes });
    return scratch;
  }
  /** The stores that wait, in order; they wait no longer. */
  take(): readonly PendingStore[] {
    const pending = this.#pending;
    this.abandon();
    return pending;
  }
  /** Forgets the stores that wait. */
  abandon(): void {
    this.#pending = [];
    this.#top = SCRATCH_BASE;
  }
}
