import { expect, test } from 'vitest';
import { highWord, joinWords, lowWord } from '../../src/core/words.ts';

test.each([
  [0n, 0, 0],
  [1n, 1, 0],
  [0xffff_ffffn, -1, 0],
  [0x1_0000_0000n, 0, 1],
  [0xffff_ffff_8000_0000n, -0x8000_0000, -1],
  [0x7fff_ffff_0123_4567n, 0x0123_4567, 0x7fff_ffff],
])('%s is two words', (value, low, high) => {
  expect([lowWord(value), highWord(value)]).toEqual([low, high]);
  expect(joinWords(low, high)).toBe(value);
});

test('bits above 63 do not count', () => {
  expect([lowWord(-1n), highWord((5n << 64n) | 7n)]).toEqual([-1, 0]);
});
test('words count by their low 32 bits', () => {
  expect(joinWords(0xffff_ffff, -1)).toBe(0xffff_ffff_ffff_ffffn);
});
