/** Seeded choices (xorshift32 with a multiplicative finish): the same for a seed on every host. */
export class Dice {
  #state: number;
  constructor(seed: number) {
    this.#state = (Math.imul(seed, 2654435761) + 1) >>> 0 || 1;
  }
  /** An integer of 32 bits. */
  next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return Math.imul(x, 0x9e3779b1) >>> 0;
  }
  below(limit: number): number {
    return this.next() % limit;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
  /** True in `percent` of a hundred. */
  chance(percent: number): boolean {
    return this.next() % 10_000 < percent * 100;
  }
  /** A 64-bit value: any, small, or with few bits. */
  wide(): bigint {
    const any = (BigInt(this.next()) << 32n) | BigInt(this.next());
    return this.pick([any, any >> BigInt(this.below(64)), 1n << BigInt(this.below(64)), (1n << 64n) - 1n, 0n]);
  }
}
