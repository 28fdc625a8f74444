/**
 * The scalar operations of the micro-op language on BigInts: what the WebAssembly instruction of the same name does.
 * Values are unsigned, reduced to their width.
 */
import { assert } from '../core/assert.ts';
import { mnemonic } from './mnemonic.ts';
import type { BinaryOp, UnaryOp } from './program.ts';

const signed = (bits: number, x: bigint): bigint => BigInt.asIntN(bits, x);
const flag = (x: boolean): bigint => (x ? 1n : 0n);
const lengthOf = (x: bigint): number => (x === 0n ? 0 : x.toString(2).length);

type Unary = (a: bigint, bits: number) => bigint;
type Binary = (a: bigint, b: bigint, bits: number) => bigint;

const UNARY: Readonly<Record<string, Unary>> = {
  eqz: (a) => flag(a === 0n),
  clz: (a, bits) => BigInt(bits - lengthOf(a)),
  ctz: (a, bits) => (a === 0n ? BigInt(bits) : BigInt(lengthOf(a & -a) - 1)),
  popcnt: (a) => BigInt(a.toString(2).replaceAll('0', '').length),
  extend8_s: (a) => signed(8, a),
  extend16_s: (a) => signed(16, a),
  extend32_s: (a) => signed(32, a),
  wrap_i64: (a) => a,
  extend_i32_u: (a) => a,
  extend_i32_s: (a) => signed(32, a),
};

/** Shift counts are taken modulo the width, as WebAssembly does. */
const shiftCount = (b: bigint, bits: number): bigint => b & BigInt(bits - 1);

const rotateLeft: Binary = (a, b, bits) => {
  const n = shiftCount(b, bits);
  return (a << n) | (a >> (BigInt(bits) - n));
};

function divide(a: bigint, b: bigint): bigint {
  assert(b !== 0n, 'division by zero is raised before the operation');
  return a / b;
}

const divideSigned: Binary = (a, b, bits) => {
  const quotient = divide(signed(bits, a), signed(bits, b));
  assert(signed(bits, quotient) === quotient, 'quotient overflow is raised before the operation');
  return quotient;
};

const BINARY: Readonly<Record<string, Binary>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shl: (a, b, bits) => a << shiftCount(b, bits),
  shr_u: (a, b, bits) => a >> shiftCount(b, bits),
  shr_s: (a, b, bits) => signed(bits, a) >> shiftCount(b, bits),
  rotl: rotateLeft,
  rotr: (a, b, bits) => rotateLeft(a, BigInt(bits) - shiftCount(b, bits), bits),
  eq: (a, b) => flag(a === b),
  ne: (a, b) => flag(a !== b),
  lt_u: (a, b) => flag(a < b),
  gt_u: (a, b) => flag(a > b),
  le_u: (a, b) => flag(a <= b),
  ge_u: (a, b) => flag(a >= b),
  lt_s: (a, b, bits) => flag(signed(bits, a) < signed(bits, b)),
  gt_s: (a, b, bits) => flag(signed(bits, a) > signed(bits, b)),
  le_s: (a, b, bits) => flag(signed(bits, a) <= signed(bits, b)),
  ge_s: (a, b, bits) => flag(signed(bits, a) >= signed(bits, b)),
  div_u: (a, b) => divide(a, b),
  div_s: divideSigned,
  rem_u: (a, b) => a - b * divide(a, b),
  rem_s: (a, b, bits) => signed(bits, a) - signed(bits, b) * divide(signed(bits, a), signed(bits, b)),
};

const bitsOf = (name: string): number => (name.startsWith('i64') ? 64 : 32);

/** The value of a scalar unary operation. */
export function evaluateUnary(name: UnaryOp, a: bigint): bigint {
  const { suffix, result } = mnemonic(name);
  const operation = UNARY[suffix];
  assert(operation, `no scalar operation ${name}`);
  return BigInt.asUintN(result === 'i64' ? 64 : 32, operation(a, bitsOf(name)));
}

/** The value of a scalar binary operation. */
export function evaluateBinary(name: BinaryOp, a: bigint, b: bigint): bigint {
  const { suffix, result } = mnemonic(name);
  const operation = BINARY[suffix];
  assert(operation, `no scalar operation ${name}`);
  return BigInt.asUintN(result === 'i64' ? 64 : 32, operation(a, b, bitsOf(name)));
}

/** Whether an operation works on scalars only (its shape is i32 or i64). */
export const isScalar = (name: string): boolean => mnemonic(name).scalar;
