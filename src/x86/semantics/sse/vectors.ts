/** Operands of SSE and MMX instructions as vectors. MMX registers travel in both halves of a vector. */
import { assert } from '../../../core/assert.ts';
import type { Lane, StateRef, Value } from '../../../ir/program.ts';
import { vectorOf } from '../../../ir/vector.ts';
import type { Context } from '../context.ts';
import { writeMmx } from './gate.ts';

/** Bytes of a vector of which the low 8 hold `value` (i64) and the others are zero. */
export const zeroExtended = (c: Context, value: Value): Value => c.b.replace('i64x2', 0, c.b.const('v128', 0), value);

/** The vector with these halves (i64). */
export const joined = (c: Context, low: Value, high: Value): Value =>
  c.b.replace('i64x2', 1, c.b.unary('i64x2.splat', low), high);

/** The low or high 64 bits. */
export const lowHalf = (c: Context, vector: Value): Value => c.b.extract('i64x2', 0, vector);
export const highHalf = (c: Context, vector: Value): Value => c.b.extract('i64x2', 1, vector);

/** Operand `i`, aligned when it is 16 bytes of memory; 8-byte operands fill both halves. */
export function readVector(c: Context, i: number): Value {
  const value = c.read(i, c.operand(i).width === 16);
  return value.type === 'v128' ? value : c.b.unary('i64x2.splat', value);
}

/** Queues the write of a result: all of an XMM register, or the low half to an MMX register. */
export function writeVector(c: Context, i: number, value: Value): void {
  if (c.size === 16) c.write(i, value);
  else writeMmx(c, i, lowHalf(c, value));
}

/** The high 64 bits of the XMM register of operand `i`. */
export function highOf(c: Context, i: number): StateRef {
  const { place } = c.operand(i);
  assert(place === 'r' || place === 'm', 'an XMM register');
  return { kind: 'field', field: place, delta: 8 };
}

/** Lane shapes by bytes an element. */
export const SHAPE = { 1: 'i8x16', 2: 'i16x8', 4: 'i32x4', 8: 'i64x2' } as const satisfies Record<number, Lane>;
export type ElementBytes = keyof typeof SHAPE;

/** The constant with these lanes, lowest first. */
export const lanesConst = (c: Context, bytes: ElementBytes, lanes: readonly number[]): Value =>
  c.b.const('v128', vectorOf(lanes.map(BigInt), bytes * 8));

/** Every lane holds the low bits of `value` (i64). */
export const splat = (c: Context, bytes: ElementBytes, value: Value): Value =>
  c.b.unary(`${SHAPE[bytes]}.splat`, bytes === 8 ? value : c.low(value));

/** 0 to 15 by byte: what a swizzle takes to change nothing. */
export const PLACES = Array.from({ length: 16 }, (_, i) => i);

/** `a` where `mask` has ones, else `b`. */
export const blend = (c: Context, mask: Value, a: Value, b: Value): Value =>
  c.b.binary('v128.or', c.b.binary('v128.and', a, mask), c.b.binary('v128.andnot', b, mask));

/** Ones in each lane whose bit of `bits` is set in `word` (i64). */
export function lanesOfBits(c: Context, bytes: 2 | 4, word: Value, bits: readonly number[]): Value {
  const wanted = lanesConst(c, bytes, bits);
  return c.b.binary(`${SHAPE[bytes]}.eq`, c.b.binary('v128.and', splat(c, bytes, word), wanted), wanted);
}

/** Byte numbers of the even or odd elements of two operands of `size` bytes, first those of the first. */
export function everyOther(bytes: number, size: number, odd: boolean): number[] {
  const out: number[] = [];
  for (const operand of [0, 16])
    for (let at = odd ? bytes : 0; at < size; at += 2 * bytes)
      for (let i = 0; i < bytes; i++) out.push(operand + at + i);
  return size === 16 ? out : [...out, ...out];
}
