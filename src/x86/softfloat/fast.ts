/**
 * Shortcuts with host numbers for round-to-nearest binary32 and binary64. JavaScript's + - * / are exactly IEEE
 * binary64 to nearest, so a result is taken only where that proves it and its PE flag:
 *
 * - operands and result are zero or comfortably inside the normal range, so only PE can be raised, and no step of an
 *   error-free transformation overflows or underflows;
 * - binary64: the rounding error of a sum is found by Knuth's TwoSum and of a product by Dekker's product; a quotient q
 *   of a by b is exact when the product q*b is a without error;
 * - binary32: rounding the binary64 result again is correct since 53 >= 2*24 + 2 (Figueroa's theorem), and a product
 *   of two binary32 is exact in binary64;
 * - a square root is not trusted (ECMAScript lets it be approximate) but checked through its residual.
 *
 * Everything else gives NaN for "not decided" and the caller computes with integers.
 */

import { PE } from './control.ts';

const buffer = new ArrayBuffer(8);
const asBits = new BigUint64Array(buffer);
const asDouble = new Float64Array(buffer);
const asWord = new Uint32Array(buffer);
const asSingle = new Float32Array(buffer);

/** The host number of a binary64 pattern. A NaN's payload may be lost. */
export function doubleOf(bits: bigint): number {
  asBits[0] = bits;
  return asDouble[0]!;
}
/** The pattern of a number that is not NaN. */
export function doubleBits(value: number): bigint {
  asDouble[0] = value;
  return asBits[0]!;
}
/** The host number of a binary32 pattern in the low 32 bits. A NaN's payload may be lost. */
export function singleOf(bits: bigint): number {
  asWord[0] = Number(bits & 0xffffffffn);
  return asSingle[0]!;
}
/** The pattern of a binary32 number that is not NaN. */
export function singleBits(value: number): bigint {
  asSingle[0] = value;
  return BigInt(asWord[0]!);
}

/** Bounds within which no error-free transformation of binary64 overflows or loses its error term. */
const LARGE = 2 ** 900;
const SMALL = 2 ** -900;
const inRange = (x: number): boolean => {
  const m = Math.abs(x);
  return m < LARGE && m > SMALL;
};
/** A result that is surely a normal binary32, before and after rounding. */
const normalSingle = (x: number): boolean => {
  const m = Math.abs(x);
  return m > 2 ** -126 && m < 2 ** 127;
};
/** A binary32 operand without special rules. */
const plainSingle = (x: number): boolean =>
  x === 0 || (Math.abs(x) >= 2 ** -126 && Math.abs(x) < Number.POSITIVE_INFINITY);

/** A decided value, or NaN, and its flags; one object reused, valid until the next call. */
export interface Fast {
  value: number;
  flags: number;
}
const out: Fast = { value: Number.NaN, flags: 0 };
const decided = (value: number, exact: boolean): Fast => {
  out.value = value;
  out.flags = exact ? 0 : PE;
  return out;
};
const undecided = (): Fast => {
  out.value = Number.NaN;
  out.flags = 0;
  return out;
};

/** The rounding error of `s = a + b` (TwoSum). */
function sumError(a: number, b: number, s: number): number {
  const part = s - a;
  return a - (s - part) + (b - part);
}

const SPLITTER = 2 ** 27 + 1;
/** The rounding error of `p = a * b` (Dekker with Veltkamp splitting). */
function productError(a: number, b: number, p: number): number {
  const ca = SPLITTER * a;
  const ah = ca - (ca - a);
  const al = a - ah;
  const cb = SPLITTER * b;
  const bh = cb - (cb - b);
  const bl = b - bh;
  return ah * bh - p + ah * bl + al * bh + al * bl;
}

/** `a + b` in binary64. */
export function addDouble(a: number, b: number): Fast {
  const s = a + b;
  if ((a !== 0 && !inRange(a)) || (b !== 0 && !inRange(b)) || (s !== 0 && !inRange(s))) return undecided();
  return decided(s, sumError(a, b, s) === 0);
}
/** `a * b` in binary64. */
export function mulDouble(a: number, b: number): Fast {
  const p = a * b;
  if (!inRange(a) || !inRange(b) || !inRange(p)) return undecided();
  return decided(p, productError(a, b, p) === 0);
}
/** `a / b` in binary64. */
export function divDouble(a: number, b: number): Fast {
  const q = a / b;
  if (!inRange(a) || !inRange(b) || !inRange(q)) return undecided();
  const p = q * b;
  return decided(q, p === a && productError(q, b, p) === 0);
}
/** The square root of `a` in binary64. */
export function sqrtDouble(a: number): Fast {
  if (!(a > SMALL && a < LARGE)) return undecided();
  const root = Math.sqrt(a);
  const square = root * root;
  return checkedRoot(root, a - square - productError(root, root, square), 2 ** -52);
}

/** `a + b` in binary32. */
export function addSingle(a: number, b: number): Fast {
  const s = a + b;
  const r = Math.fround(s);
  if (!plainSingle(a) || !plainSingle(b) || (s !== 0 && !normalSingle(r))) return undecided();
  return decided(r, r === s && sumError(a, b, s) === 0);
}
/** `a * b` in binary32. */
export function mulSingle(a: number, b: number): Fast {
  const p = a * b;
  const r = Math.fround(p);
  if (!plainSingle(a) || !plainSingle(b) || (p !== 0 && !normalSingle(r))) return undecided();
  return decided(r, r === p);
}
/** `a / b` in binary32. */
export function divSingle(a: number, b: number): Fast {
  const r = Math.fround(a / b);
  if (!plainSingle(a) || !plainSingle(b) || !normalSingle(r)) return undecided();
  return decided(r, r * b === a);
}
/** The square root of `a` in binary32. */
export function sqrtSingle(a: number): Fast {
  if (!(a >= 2 ** -126 && a < Number.POSITIVE_INFINITY)) return undecided();
  const root = Math.fround(Math.sqrt(a));
  return checkedRoot(root, a - root * root, 2 ** -23);
}

/**
 * `root` if it is the correctly rounded root of what lies `residual` above its square. With a unit u in the last place,
 * root -+ u/2 are the limits, whose squares differ from root^2 by root*u within u^2/4; `residual` is a multiple of u^2.
 * Below a power of two the unit is smaller, so a negative residual there is left undecided.
 */
function checkedRoot(root: number, residual: number, epsilon: number): Fast {
  if (residual === 0) return decided(root, true);
  asDouble[0] = root;
  const powerOfTwo = asWord[0] === 0 && (asWord[1]! & 0xfffff) === 0;
  asWord[0] = 0;
  asWord[1]! &= 0x7ff00000;
  const unit = asDouble[0]! * epsilon;
  if (Math.abs(residual) < root * unit && !(powerOfTwo && residual < 0)) return decided(root, false);
  return undecided();
}

/** True when both patterns' host numbers are ordinary: zero or normal, thus no DE, no DAZ and no NaN. */
export const ordinaryDouble = (x: number): boolean =>
  x === 0 || (Math.abs(x) >= 2 ** -1022 && Math.abs(x) < Number.POSITIVE_INFINITY);
/** {@link ordinaryDouble} for binary32. */
export const ordinarySingle = plainSingle;
