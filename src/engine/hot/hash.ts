/** Perfect hashing of a few known keys: (key * multiplier mod 2^64) >> (64 - bits) is another slot for each. */

/** How to find the slot of a key. */
interface PerfectHash {
  readonly multiplier: bigint;
  /** At least 1. */
  readonly bits: number;
  /** Number of the key in each slot. A key that found no slot of its own is in none. */
  readonly slots: ReadonlyArray<number | null>;
}

/** Multipliers to try for a table of one size. */
const TRIES = 64;
/** Binary logarithm of the slots there may be for each key before keys are left out. */
const MAX_SPARE_BITS = 2;
const GOLDEN = 0x9e37_79b9_7f4a_7c15n;

/** A hash for keys that all differ; the same for the same keys. */
export function perfectHash(keys: readonly bigint[]): PerfectHash {
  const least = Math.max(1, Math.ceil(Math.log2(keys.length)));
  let best: PerfectHash | null = null;
  let most = -1;
  for (let bits = least; bits <= least + MAX_SPARE_BITS; bits++)
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const multiplier = BigInt.asUintN(64, GOLDEN * BigInt(2 * attempt + 1));
      const slots = new Array<number | null>(1 << bits).fill(null);
      let placed = 0;
      for (const [number, key] of keys.entries()) {
        const slot = Number(BigInt.asUintN(64, key * multiplier) >> BigInt(64 - bits));
        if (slots[slot] !== null) continue;
        slots[slot] = number;
        placed++;
      }
      if (placed === keys.length) return { multiplier, bits, slots };
      if (placed > most) {
        most = placed;
        best = { multiplier, bits, slots };
      }
    }
  return best!;
}
