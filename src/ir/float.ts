/**
 * The floating-point vector operations of the micro-op language on 128-bit BigInts. Like the WebAssembly instructions of
 * the same names they round to nearest; a NaN they give has no defined payload.
 */
import { assert } from '../core/assert.ts';
import type { BinaryOp, UnaryOp } from './program.ts';

const scratch = new DataView(new ArrayBuffer(16));
const put = (vector: bigint): void => {
  scratch.setBigUint64(0, BigInt.asUintN(64, vector), true);
  scratch.setBigUint64(8, BigInt.asUintN(64, vector >> 64n), true);
};
const taken = (): bigint => scratch.getBigUint64(0, true) | (scratch.getBigUint64(8, true) << 64n);

type Shape = 'f32x4' | 'f64x2' | 'i32x4';
const READ: Record<Shape, (at: number) => number> = {
  f32x4: (at) => scratch.getFloat32(at * 4, true),
  f64x2: (at) => scratch.getFloat64(at * 8, true),
  i32x4: (at) => scratch.getInt32(at * 4, true),
};
const WRITE: Record<Shape, (at: number, value: number) => void> = {
  f32x4: (at, value) => scratch.setFloat32(at * 4, value, true),
  f64x2: (at, value) => scratch.setFloat64(at * 8, value, true),
  i32x4: (at, value) => scratch.setInt32(at * 4, value, true),
};
const COUNT: Record<Shape, number> = { f32x4: 4, f64x2: 2, i32x4: 4 };

/** The numbers in the lowest `count` lanes. */
function numbersOf(vector: bigint, shape: Shape, count: number = COUNT[shape]): number[] {
  put(vector);
  return Array.from({ length: count }, (_, at) => READ[shape](at));
}
/** The vector of these numbers, each rounded to the lane; lanes above the last are zero. */
function vectorOfNumbers(numbers: readonly number[], shape: Shape): bigint {
  put(0n);
  for (const [at, value] of numbers.entries()) WRITE[shape](at, value);
  return taken();
}

/** The integer nearest to `x`, the even one of two. */
function nearest(x: number): number {
  const down = Math.floor(x);
  const rest = x - down;
  const odd = Math.abs(down % 2) === 1;
  const whole = rest > 0.5 || (rest === 0.5 && odd) ? down + 1 : down;
  return whole === 0 && (x < 0 || Object.is(x, -0)) ? -0 : whole;
}
const truncated = (x: number): number =>
  Number.isNaN(x) ? 0 : Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, Math.trunc(x)));

/** Rounding the binary64 result again is right for binary32, as 53 >= 2 * 24 + 2 (Figueroa's theorem). */
const ARITHMETIC: Readonly<Record<string, (a: number, b: number) => number>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  pmin: (a, b) => (b < a ? b : a),
  pmax: (a, b) => (a < b ? b : a),
};
const COMPARISON: Readonly<Record<string, (a: number, b: number) => boolean>> = {
  eq: (a, b) => a === b,
  lt: (a, b) => a < b,
  le: (a, b) => a <= b,
};
const LANEWISE: Readonly<Record<string, (a: number) => number>> = { abs: Math.abs, sqrt: Math.sqrt, nearest };
const CONVERSIONS: Readonly<Record<string, (a: bigint) => bigint>> = {
  'f32x4.convert_i32x4_s': (a) => vectorOfNumbers(numbersOf(a, 'i32x4'), 'f32x4'),
  'f32x4.demote_f64x2_zero': (a) => vectorOfNumbers(numbersOf(a, 'f64x2'), 'f32x4'),
  'f64x2.convert_low_i32x4_s': (a) => vectorOfNumbers(numbersOf(a, 'i32x4', 2), 'f64x2'),
  'f64x2.convert_low_i32x4_u': (a) =>
    vectorOfNumbers(
      numbersOf(a, 'i32x4', 2).map((x) => x >>> 0),
      'f64x2',
    ),
  'f64x2.promote_low_f32x4': (a) => vectorOfNumbers(numbersOf(a, 'f32x4', 2), 'f64x2'),
  'i32x4.trunc_sat_f32x4_s': (a) => vectorOfNumbers(numbersOf(a, 'f32x4').map(truncated), 'i32x4'),
  'i32x4.trunc_sat_f64x2_s_zero': (a) => vectorOfNumbers(numbersOf(a, 'f64x2').map(truncated), 'i32x4'),
};

/** True for the names that this module evaluates. */
export const isFloat = (name: UnaryOp | BinaryOp): boolean => name.startsWith('f') || name.includes('.trunc_sat_');

const split = (name: string): [shape: 'f32x4' | 'f64x2', operation: string] => [
  name.slice(0, 5) as 'f32x4',
  name.slice(6),
];

/** The value of a floating-point vector operation with one operand. */
export function evaluateFloatUnary(name: UnaryOp, a: bigint): bigint {
  const conversion = CONVERSIONS[name];
  if (conversion) return conversion(a);
  const [shape, operation] = split(name);
  const lanewise = LANEWISE[operation];
  assert(lanewise, `no vector operation ${name}`);
  return vectorOfNumbers(numbersOf(a, shape).map(lanewise), shape);
}

/** The value of a floating-point vector operation with two operands. */
export function evaluateFloatBinary(name: BinaryOp, a: bigint, b: bigint): bigint {
  const [shape, operation] = split(name);
  const x = numbersOf(a, shape);
  const y = numbersOf(b, shape);
  const compare = COMPARISON[operation];
  if (compare) {
    const ones = (1n << (128n / BigInt(x.length))) - 1n;
    return x.reduce(
      (mask, value, i) => (compare(value, y[i]!) ? mask | (ones << BigInt((i * 128) / x.length)) : mask),
      0n,
    );
  }
  const arithmetic = ARITHMETIC[operation];
  assert(arithmetic, `no vector operation ${name}`);
  return vectorOfNumbers(
    x.map((value, i) => arithmetic(value, y[i]!)),
    shape,
  );
}
