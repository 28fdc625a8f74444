/** The bytes in which kallsyms are sought: reads that check their bounds, and a count of the search's steps. */

/**
 * Steps of a search: tokens, markers, names and places looked at. Debian's kernel takes 134,824; an image can be made so that
 * every place leads on to thousands of others.
 */
const MOST_STEPS = 20_000_000;

/** Thrown where a search has taken too many steps. */
export const TOO_LONG = new Error('the search for kallsyms takes too long');

/** `at`, or the next multiple of `align` above it. */
export const alignUp = (at: number, align: number): number => Math.ceil(at / align) * align;

/** Bounds-checked little-endian reads; past the end they give -1 or 0n, which no table contains. */
export class SearchedImage {
  readonly bytes: Uint8Array;
  #steps = 0;
  readonly #view: DataView;
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  /** Counts `steps`; throws {@link TOO_LONG}. */
  spend(steps: number): void {
    this.#steps += steps;
    if (this.#steps > MOST_STEPS) throw TOO_LONG;
  }
  /** Whether `length` bytes at `at` are inside. */
  has = (at: number, length: number): boolean => at >= 0 && at + length <= this.bytes.length;
  u16 = (at: number): number => (this.has(at, 2) ? this.#view.getUint16(at, true) : -1);
  u32 = (at: number): number => (this.has(at, 4) ? this.#view.getUint32(at, true) : -1);
  /** Of a place that was seen to be inside. */
  s32 = (at: number): number => this.#view.getInt32(at, true);
  u64 = (at: number): bigint => (this.has(at, 8) ? this.#view.getBigUint64(at, true) : 0n);
  /** A number of 4 or 8 bytes; one beyond 32 bits is -1 too. */
  word = (at: number, bytes: 4 | 8): number => (bytes === 8 && this.u32(at + 4) !== 0 ? -1 : this.u32(at));
}
