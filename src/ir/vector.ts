/**
 * The vector operations of the micro-op language on 128-bit BigInts: what the WebAssembly SIMD instruction of the same
 * name does. Lane 0 is the least significant.
 */
import { assert } from '../core/assert.ts';
import { evaluateFloatBinary, evaluateFloatUnary, isFloat } from './float.ts';
import type { BinaryOp, Lane, UnaryOp } from './program.ts';

/** Bits of a lane. */
export const LANE_BITS: Readonly<Record<Lane, number>> = { i8x16: 8, i16x8: 16, i32x4: 32, i64x2: 64 };

/** The lanes of a vector, unsigned. */
export function lanesOf(value: bigint, bits: number): bigint[] {
  return Array.from({ length: 128 / bits }, (_, i) => BigInt.asUintN(bits, value >> BigInt(i * bits)));
}

/** The vector of these lanes, each cut to `bits`. */
export function vectorOf(lanes: readonly bigint[], bits: number): bigint {
  return lanes.reduce((vector, lane, i) => vector | (BigInt.asUintN(bits, lane) << BigInt(i * bits)), 0n);
}

const ALL = (1n << 128n) - 1n;
const signed = (bits: number, x: bigint): bigint => BigInt.asIntN(bits, x);
const clamp = (x: bigint, low: bigint, high: bigint): bigint => (x < low ? low : x > high ? high : x);
const saturateSigned = (x: bigint, bits: number): bigint =>
  clamp(x, -(1n << BigInt(bits - 1)), (1n << BigInt(bits - 1)) - 1n);
const saturateUnsigned = (x: bigint, bits: number): bigint => clamp(x, 0n, (1n << BigInt(bits)) - 1n);
const mask = (x: boolean): bigint => (x ? -1n : 0n);

/** Lane by lane; arguments are unsigned lanes. */
const LANEWISE: Readonly<Record<string, (a: bigint, b: bigint, bits: number) => bigint>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  add_sat_s: (a, b, n) => saturateSigned(signed(n, a) + signed(n, b), n),
  add_sat_u: (a, b, n) => saturateUnsigned(a + b, n),
  sub_sat_s: (a, b, n) => saturateSigned(signed(n, a) - signed(n, b), n),
  sub_sat_u: (a, b, n) => saturateUnsigned(a - b, n),
  avgr_u: (a, b) => (a + b + 1n) >> 1n,
  min_u: (a, b) => (a < b ? a : b),
  max_u: (a, b) => (a > b ? a : b),
  min_s: (a, b, n) => (signed(n, a) < signed(n, b) ? a : b),
  max_s: (a, b, n) => (signed(n, a) > signed(n, b) ? a : b),
  eq: (a, b) => mask(a === b),
  gt_s: (a, b, n) => mask(signed(n, a) > signed(n, b)),
};

/** Every lane by one count. */
const SHIFT: Readonly<Record<string, (a: bigint, count: bigint, bits: number) => bigint>> = {
  shl: (a, count) => a << count,
  shr_u: (a, count) => a >> count,
  shr_s: (a, count, n) => signed(n, a) >> count,
};

const WHOLE: Readonly<Record<string, (a: bigint, b: bigint) => bigint>> = {
  'v128.and': (a, b) => a & b,
  'v128.or': (a, b) => a | b,
  'v128.xor': (a, b) => a ^ b,
  'v128.andnot': (a, b) => a & (ALL ^ b),
};

const split = (name: string): [bits: number, operation: string] => [
  LANE_BITS[name.slice(0, name.indexOf('.')) as Lane],
  name.slice(name.indexOf('.') + 1),
];

/** The low or high half of the lanes, each widened to twice its bits. */
function extendHalf(value: bigint, bits: number, high: boolean, withSign: boolean): bigint[] {
  const lanes = lanesOf(value, bits);
  const half = high ? lanes.slice(lanes.length / 2) : lanes.slice(0, lanes.length / 2);
  return withSign ? half.map((x) => signed(bits, x)) : half;
}

/** The value of a vector unary operation. */
export function evaluateVectorUnary(name: UnaryOp, a: bigint): bigint {
  if (name === 'v128.not') return ALL ^ a;
  if (name === 'v128.any_true') return a === 0n ? 0n : 1n;
  if (isFloat(name)) return evaluateFloatUnary(name, a);
  const [bits, operation] = split(name);
  if (operation === 'splat') return vectorOf(Array<bigint>(128 / bits).fill(a), bits);
  if (operation === 'bitmask')
    return lanesOf(a, bits).reduce((out, lane, i) => out | ((lane >> BigInt(bits - 1)) << BigInt(i)), 0n);
  if (operation === 'abs')
    return vectorOf(
      lanesOf(a, bits).map((x) => (signed(bits, x) < 0n ? -x : x)),
      bits,
    );
  const extend = /^extend_(low|high)_\w+_([su])$/.exec(operation);
  assert(extend, `no vector operation ${name}`);
  return vectorOf(extendHalf(a, bits / 2, extend[1] === 'high', extend[2] === 's'), bits);
}

/** The value of a vector binary operation; the second operand of a shift is an i32 count below the lane width. */
export function evaluateVectorBinary(name: BinaryOp, a: bigint, b: bigint): bigint {
  const whole = WHOLE[name];
  if (whole) return whole(a, b);
  if (isFloat(name)) return evaluateFloatBinary(name, a, b);
  const [bits, operation] = split(name);
  const shift = SHIFT[operation];
  if (shift) {
    const count = b & BigInt(bits - 1);
    return vectorOf(
      lanesOf(a, bits).map((x) => shift(x, count, bits)),
      bits,
    );
  }
  const lanewise = LANEWISE[operation];
  if (lanewise) {
    const right = lanesOf(b, bits);
    return vectorOf(
      lanesOf(a, bits).map((x, i) => lanewise(x, right[i]!, bits)),
      bits,
    );
  }
  if (operation === 'swizzle') {
    const bytes = lanesOf(a, 8);
    return vectorOf(
      lanesOf(b, 8).map((at) => bytes[Number(at)] ?? 0n),
      8,
    );
  }
  if (operation === 'dot_i16x8_s') {
    const x = lanesOf(a, 16).map((lane) => signed(16, lane));
    const y = lanesOf(b, 16).map((lane) => signed(16, lane));
    const dot = (i: number): bigint => x[2 * i]! * y[2 * i]! + x[2 * i + 1]! * y[2 * i + 1]!;
    return vectorOf([dot(0), dot(1), dot(2), dot(3)], 32);
  }
  const narrow = /^narrow_\w+_([su])$/.exec(operation);
  if (narrow) {
    const saturate = narrow[1] === 's' ? saturateSigned : saturateUnsigned;
    const wide = [...lanesOf(a, bits * 2), ...lanesOf(b, bits * 2)];
    return vectorOf(
      wide.map((x) => saturate(signed(bits * 2, x), bits)),
      bits,
    );
  }
  const product = /^extmul_(low|high)_\w+_([su])$/.exec(operation);
  assert(product, `no vector operation ${name}`);
  const half = (value: bigint): bigint[] => extendHalf(value, bits / 2, product[1] === 'high', product[2] === 's');
  const right = half(b);
  return vectorOf(
    half(a).map((x, i) => x * right[i]!),
    bits,
  );
}
