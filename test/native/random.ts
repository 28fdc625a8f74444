/** The seeded generator of all random cases: splitmix64 (Steele, Lea, Flood 2014) in 32-bit halves, so that it needs no BigInt. */

/** High 32 bits of the product of two unsigned 32-bit numbers. */
function mulHigh(a: number, b: number): number {
  const al = a & 0xffff;
  const ah = a >>> 16;
  const bl = b & 0xffff;
  const bh = b >>> 16;
  const low = al * bl;
  const mid1 = ah * bl + (low >>> 16);
  const mid2 = al * bh + (mid1 & 0xffff);
  return (ah * bh + Math.floor(mid1 / 65536) + Math.floor(mid2 / 65536)) >>> 0;
}

/** A splitmix64 stream. */
export class SplitMix64 {
  #hi: number;
  #lo: number;
  /** The two halves of the last number drawn. */
  hi = 0;
  lo = 0;
  constructor(seed: bigint) {
    this.#hi = Number((seed >> 32n) & 0xffffffffn);
    this.#lo = Number(seed & 0xffffffffn);
  }
  /** Draws 64 bits into {@link hi} and {@link lo}; returns the low half, unsigned. */
  next(): number {
    const sum = this.#lo + 0x7f4a7c15;
    this.#lo = sum >>> 0;
    this.#hi = (this.#hi + 0x9e3779b9 + (sum > 0xffffffff ? 1 : 0)) >>> 0;
    this.#mix(30, 0xbf58476d, 0x1ce4e5b9, this.#hi, this.#lo);
    this.#mix(27, 0x94d049bb, 0x133111eb, this.hi, this.lo);
    const { hi, lo } = this;
    this.lo = (lo ^ ((lo >>> 31) | (hi << 1))) >>> 0;
    this.hi = (hi ^ (hi >>> 31)) >>> 0;
    return this.lo;
  }
  /** `z = (z ^ z >> shift) * multiplier`. */
  #mix(shift: number, mulHi: number, mulLo: number, zHi: number, zLo: number): void {
    const lo = (zLo ^ ((zLo >>> shift) | (zHi << (32 - shift)))) >>> 0;
    const hi = (zHi ^ (zHi >>> shift)) >>> 0;
    this.lo = Math.imul(lo, mulLo) >>> 0;
    this.hi = (mulHigh(lo, mulLo) + Math.imul(lo, mulHi) + Math.imul(hi, mulLo)) >>> 0;
  }
  /** A number in 0..count-1; count up to 2^32. */
  below(count: number): number {
    return this.next() % count;
  }
  /** True with probability `percent` / 100. */
  chance(percent: number): boolean {
    return this.next() % 100 < percent;
  }
  /** One of the items. */
  pick<T>(items: ArrayLike<T>): T {
    return items[this.next() % items.length]!;
  }
  /** 64 random bits. */
  bits64(): bigint {
    this.next();
    return (BigInt(this.hi) << 32n) | BigInt(this.lo);
  }
}

/** Fills `words` (32 bits each, low half first) with the stream of `seed`, as oracle.h defines a page's contents. */
export function fillPage(words: Uint32Array, seed: bigint): void {
  const random = new SplitMix64(seed);
  for (let i = 0; i < words.length; i += 2) {
    words[i] = random.next();
    words[i + 1] = random.hi;
  }
}
