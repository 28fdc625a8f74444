/** Operands of SSE and MMX instructions as vectors. MMX registers travel in both halves of a vector. */
import { assert } from '../../../core/assert.ts';
import type { StateRef, Value } from '../../../ir/program.ts';
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
