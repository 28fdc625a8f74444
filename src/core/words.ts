/**
 * 64-bit values as two 32-bit words. Splitting and joining a BigInt by arithmetic makes BigInts on the way and takes ten times
 * as long as through memory.
 */
const value = new BigUint64Array(1);
const words = new Int32Array(value.buffer);

/** Bits 31 to 0 of `x`, as a signed number. */
export function lowWord(x: bigint): number {
  value[0] = x;
  return words[0]!;
}
/** Bits 63 to 32 of `x`, as a signed number. */
export function highWord(x: bigint): number {
  value[0] = x;
  return words[1]!;
}
/** `x` plus an integer between -2^32 and 2^32, modulo 2^64. */
export function plus(x: bigint, n: number): bigint {
  value[0] = x;
  const low = (words[0]! >>> 0) + n;
  words[0] = low;
  if (low > 0xffffffff) words[1]!++;
  else if (low < 0) words[1]!--;
  return value[0]!;
}
/** The unsigned 64-bit value of two words, of which the low 32 bits count. */
export function joinWords(low: number, high: number): bigint {
  words[0] = low;
  words[1] = high;
  return value[0]!;
}
