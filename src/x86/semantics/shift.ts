/**
 * Shifts and rotates (SDM vol. 2: SAL/SHL, SHR, SAR, ROL, ROR, RCL, RCR, SHLD, SHRD).
 *
 * Counts are masked to 5 bits, 6 for 64-bit operands. A masked count of 0 writes the destination back (a 32-bit register
 * is zero-extended) and changes no flag. For every other count OF is what flags.ts says.
 */
import type { Value } from '../../ir/program.ts';
import type { Context, SemanticsTable } from './context.ts';
import { carriesOf, carry, setRotate, setShift } from './flags.ts';

interface Count {
  /** Masked count, i64. */
  readonly value: Value;
  /** i32, not zero when the count is not; null when the form says so. */
  readonly nonZero: Value | null;
}

function countOf(c: Context, operand: number): Count {
  const { place } = c.operand(operand);
  if (typeof place === 'object' && 'constant' in place) return { value: c.read(operand), nonZero: null };
  const value = c.op('and', c.read(operand), c.size === 8 ? 63 : 31);
  return { value, nonZero: c.op('ne', value, 0) };
}

const bitsOf = (c: Context): number => c.size * 8;

/** Bits n-1 and n-2 of `result`, moved to bits 31 and 30. */
function topTwo(c: Context, result: Value): Value {
  if (c.size === 8) return c.low(c.op('shr_u', result, 32));
  return c.size === 4 ? c.low(result) : c.op('shl', c.low(result), 32 - bitsOf(c));
}
/** OF of right shifts and rotates: bits n-1 and n-2 of the result differ. */
function topBitsDiffer(c: Context, result: Value): Value {
  const top = topTwo(c, result);
  return c.op('shr_u', c.op('xor', top, c.op('shl', top, 1)), 31);
}
/** OF of left shifts and rotates: CF differs from the top bit of the result. */
function carriesOfLeft(c: Context, cf: Value, result: Value): Value {
  return c.op('or', c.op('shl', cf, 31), c.op('and', c.op('shr_u', topTwo(c, result), 1), 0x4000_0000));
}

function shl(c: Context): void {
  const { old, write } = c.modify(0);
  const { value, nonZero } = countOf(c, 1);
  const result = c.op('shl', old, value);
  // Below 64 bits the carry is the bit above the operand.
  const cf = c.size === 8 ? c.bit(c.op('shr_u', old, c.negate(value)), 0) : c.bit(result, bitsOf(c));
  write(result);
  setShift(c, result, carriesOfLeft(c, cf, result), nonZero);
}

function shiftRight(c: Context, arithmetic: boolean): void {
  const { old, write } = c.modify(0);
  const { value, nonZero } = countOf(c, 1);
  const name = arithmetic ? 'shr_s' : 'shr_u';
  const source = arithmetic ? c.signExtend(old) : old;
  const result = c.op(name, source, value);
  const cf = c.bit(c.op(name, source, c.op('sub', value, 1)), 0);
  write(result);
  setShift(c, result, carriesOf(c, cf, topBitsDiffer(c, result)), nonZero);
}

/** Multiplying by this repeats an operand until it fills 64 bits, where a 64-bit rotate is a rotate of every copy. */
const REPEAT: Record<number, bigint> = {
  1: 0x0101_0101_0101_0101n,
  2: 0x0001_0001_0001_0001n,
  4: 0x0000_0001_0000_0001n,
  8: 1n,
};

function rotate(c: Context, left: boolean): void {
  const { old, write } = c.modify(0);
  const { value, nonZero } = countOf(c, 1);
  const copies = c.size === 8 ? old : c.op('mul', old, REPEAT[c.size]!);
  const result = c.op(left ? 'rotl' : 'rotr', copies, value);
  write(result);
  // ROR: CF is the top bit and OF the top two differing, so CF ^ OF is the bit below; ROL: the same one place further.
  const carries = left ? c.op('rotr', result, 1) : result;
  setRotate(c, c.low(c.op('shr_u', carries, 32)), nonZero);
}

/** RCL and RCR of up to 32 bits: a rotate of the n+1 bits CF:operand within 64. */
function rotateThroughCarry(c: Context, left: boolean): void {
  const { old, write } = c.modify(0);
  const { value, nonZero } = countOf(c, 1);
  const cf = c.widen(carry(c));
  const n = bitsOf(c);
  let result: Value;
  let newCarry: Value;
  if (n < 64) {
    const wide = c.op('or', old, c.op('shl', cf, n));
    const count = n === 32 ? value : c.op('rem_u', value, n + 1);
    const rest = c.op('sub', c.b.i64(n + 1), count);
    const back = left ? rest : count;
    result = c.op('or', c.op('shl', wide, left ? count : rest), c.op('shr_u', wide, back));
    newCarry = c.bit(result, n);
  } else {
    const rest = c.negate(value); // 64 - count, as shift counts are taken modulo 64
    const before = c.op('sub', value, 1);
    const shifted = left
      ? [c.op('shl', old, value), c.op('shl', cf, before), c.op('shr_u', c.op('shr_u', old, 1), rest)]
      : [c.op('shr_u', old, value), c.op('shl', cf, rest), c.op('shl', c.op('shl', old, 1), rest)];
    const rotated = c.op('or', c.op('or', shifted[0]!, shifted[1]!), shifted[2]!);
    result = nonZero === null ? rotated : c.b.select(nonZero, rotated, old);
    newCarry = c.bit(c.op('shr_u', old, left ? rest : before), 0);
  }
  write(result);
  const carries = left ? carriesOfLeft(c, newCarry, result) : carriesOf(c, newCarry, topBitsDiffer(c, result));
  setRotate(c, carries, nonZero);
}

/** SHLD and SHRD. A 16-bit operand is continued by the source twice, which also answers counts above 16. */
function doubleShift(c: Context, left: boolean): void {
  const { old, write } = c.modify(0);
  const source = c.read(1);
  const { value, nonZero } = countOf(c, 2);
  let result: Value;
  let cf: Value;
  let of: Value | null = null;
  if (c.size === 8) {
    const rest = c.op('sub', c.b.i64(63), value);
    const outward = left
      ? [c.op('shl', old, value), c.op('shr_u', c.op('shr_u', source, 1), rest)]
      : [c.op('shr_u', old, value), c.op('shl', c.op('shl', source, 1), rest)];
    result = c.op('or', outward[0]!, outward[1]!);
    cf = c.bit(c.op('shr_u', old, left ? c.negate(value) : c.op('sub', value, 1)), 0);
  } else {
    const twice = c.size === 2 ? c.op('or', source, c.op('shl', source, 16)) : source;
    const wide = left ? c.op('or', c.op('shl', old, 32), twice) : c.op('or', c.op('shl', twice, bitsOf(c)), old);
    if (left) {
      result = c.op('shr_u', c.op('shl', wide, value), 32);
      cf = c.bit(c.op('shr_u', wide, c.op('sub', c.b.i64(32 + bitsOf(c)), value)), 0);
    } else {
      result = c.op('shr_u', wide, value);
      cf = c.bit(c.op('shr_u', wide, c.op('sub', value, 1)), 0);
    }
    if (c.size === 2) {
      cf = c.op('and', cf, c.op('le_u', value, 16));
      if (left) of = c.op('xor', cf, c.op('and', c.bit(result, 15), c.op('lt_u', value, 16)));
    }
  }
  write(result);
  of ??= left ? c.op('xor', cf, c.bit(result, bitsOf(c) - 1)) : topBitsDiffer(c, result);
  setShift(c, result, carriesOf(c, cf, of), nonZero);
}

export const SHIFT: SemanticsTable = {
  shl,
  shr: (c) => shiftRight(c, false),
  sar: (c) => shiftRight(c, true),
  rol: (c) => rotate(c, true),
  ror: (c) => rotate(c, false),
  rcl: (c) => rotateThroughCarry(c, true),
  rcr: (c) => rotateThroughCarry(c, false),
  shld: (c) => doubleShift(c, true),
  shrd: (c) => doubleShift(c, false),
};
