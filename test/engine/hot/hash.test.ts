import { describe, expect, it } from 'vitest';
import { perfectHash } from '../../../src/engine/hot/hash.ts';

const slotOf = (key: bigint, { multiplier, bits }: { multiplier: bigint; bits: number }): number =>
  Number(BigInt.asUintN(64, key * multiplier) >> BigInt(64 - bits));

describe('a hash of known keys', () => {
  it.each([1, 2, 3, 5, 12, 31, 96])('gives each of %i page offsets a slot of its own', (count) => {
    for (let round = 0; round < 20; round++) {
      const keys = [...new Set(Array.from({ length: count }, (_, i) => BigInt((i * 947 + round * 131) % 4096)))];
      const hash = perfectHash(keys);
      expect(hash.slots.length).toBe(1 << hash.bits);
      const placed = hash.slots.flatMap((x, slot) => (x === null ? [] : [{ number: x, slot }]));
      for (const { number, slot } of placed) expect(slotOf(keys[number]!, hash)).toBe(slot);
      expect(new Set(placed.map((x) => x.number)).size).toBe(placed.length);
      if (count <= 12) expect(placed.length).toBe(keys.length);
    }
  });

  it('tells the same offset of two pages apart', () => {
    const keys = [0x10n, (1n << 48n) + 0x10n];
    const hash = perfectHash(keys);
    expect(slotOf(keys[0]!, hash)).not.toBe(slotOf(keys[1]!, hash));
  });
});
