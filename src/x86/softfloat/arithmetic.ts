/**
 * Add, subtract, multiply, divide and square root for every format, exact before one rounding.
 *
 * The second operand may have another format (the x87 instructions with a memory operand); the result has the first's.
 */

import { type Control, DOWN, type Result, ZE } from './control.ts';
import { bitLength, type Format, infinity, type Sign, type Unpacked, unpack, zero } from './format.ts';
import { denormalFlag, invalid, nanResult } from './nan.ts';
import { round } from './round.ts';

/** Distance beyond which the smaller addend only decides the direction of rounding. */
const FAR = 140;

const precisionOf = (format: Format, control: Control): number =>
  control.x87 ? Math.min(control.precision, format.significandBits) : format.significandBits;

/** `value` with the flags of its operands; an unmasked DE stops before the computation. */
export function computed(early: number, control: Control, compute: () => Result): Result {
  if (early & ~control.masks) return { value: 0n, flags: early };
  const result = compute();
  return early === 0 ? result : { value: result.value, flags: result.flags | early };
}

const zeroSum = (control: Control): Sign => (control.rounding === DOWN ? 1 : 0);

function sum(format: Format, x: Unpacked, y: Unpacked, control: Control): Result {
  const nan = nanResult(format, x, y, control);
  if (nan !== undefined) return nan;
  if (x.kind === 'infinity' && y.kind === 'infinity' && x.sign !== y.sign) return invalid(format);
  return computed(denormalFlag(x, y), control, () => {
    if (x.kind === 'infinity') return { value: infinity(format, x.sign), flags: 0 };
    if (y.kind === 'infinity') return { value: infinity(format, y.sign), flags: 0 };
    if (x.kind === 'zero' && y.kind === 'zero')
      return { value: zero(format, x.sign === y.sign ? x.sign : zeroSum(control)), flags: 0 };
    const precision = precisionOf(format, control);
    if (x.kind === 'zero') return round(format, precision, y.sign, y.significand, y.exponent, control);
    if (y.kind === 'zero') return round(format, precision, x.sign, x.significand, x.exponent, control);
    const [high, low] = x.exponent >= y.exponent ? [x, y] : [y, x];
    const distance = high.exponent - low.exponent;
    const far = distance > FAR;
    const shift = far ? FAR : distance;
    const addend = far ? 1n : low.significand;
    const total = (high.significand << BigInt(shift)) + (high.sign === low.sign ? addend : -addend);
    if (total === 0n) return { value: zero(format, zeroSum(control)), flags: 0 };
    const sign = total < 0n ? low.sign : high.sign;
    return round(format, precision, sign, total < 0n ? -total : total, high.exponent - shift, control);
  });
}

/** `a + b`. */
export function add(format: Format, a: bigint, b: bigint, control: Control, source: Format = format): Result {
  return sum(format, unpack(format, a, control), unpack(source, b, control), control);
}

/** `a - b`. A NaN operand keeps its sign. */
export function sub(format: Format, a: bigint, b: bigint, control: Control, source: Format = format): Result {
  return difference(format, unpack(format, a, control), unpack(source, b, control), control);
}

/** `b - a` (FSUBR): the same difference with the roles of the operands exchanged. */
export function subReversed(format: Format, a: bigint, b: bigint, control: Control, source: Format = format): Result {
  return difference(format, unpack(source, b, control), unpack(format, a, control), control);
}

function difference(format: Format, x: Unpacked, y: Unpacked, control: Control): Result {
  const isNumber = y.kind === 'zero' || y.kind === 'finite' || y.kind === 'infinity';
  return sum(format, x, isNumber ? { ...y, sign: (y.sign ^ 1) as Sign } : y, control);
}

/** `a * b`. */
export function mul(format: Format, a: bigint, b: bigint, control: Control, source: Format = format): Result {
  const x = unpack(format, a, control);
  const y = unpack(source, b, control);
  const nan = nanResult(format, x, y, control);
  if (nan !== undefined) return nan;
  const sign = (x.sign ^ y.sign) as Sign;
  if (x.kind === 'infinity' || y.kind === 'infinity') {
    if (x.kind === 'zero' || y.kind === 'zero') return invalid(format);
    return { value: infinity(format, sign), flags: denormalFlag(x, y) };
  }
  if (x.kind === 'zero' || y.kind === 'zero') return { value: zero(format, sign), flags: denormalFlag(x, y) };
  return computed(denormalFlag(x, y), control, () =>
    round(format, precisionOf(format, control), sign, x.significand * y.significand, x.exponent + y.exponent, control),
  );
}

/** `a / b`. */
export function div(format: Format, a: bigint, b: bigint, control: Control, source: Format = format): Result {
  return quotient(format, unpack(format, a, control), unpack(source, b, control), control);
}

/** `b / a` (FDIVR). */
export function divReversed(format: Format, a: bigint, b: bigint, control: Control, source: Format = format): Result {
  return quotient(format, unpack(source, b, control), unpack(format, a, control), control);
}

function quotient(format: Format, x: Unpacked, y: Unpacked, control: Control): Result {
  const nan = nanResult(format, x, y, control);
  if (nan !== undefined) return nan;
  const sign = (x.sign ^ y.sign) as Sign;
  if (x.kind === y.kind && x.kind !== 'finite') return invalid(format);
  if (x.kind === 'infinity') return { value: infinity(format, sign), flags: denormalFlag(y) };
  if (y.kind === 'zero') return { value: infinity(format, sign), flags: ZE };
  if (x.kind === 'zero' || y.kind === 'infinity') return { value: zero(format, sign), flags: denormalFlag(x, y) };
  return computed(denormalFlag(x, y), control, () => {
    const shift = 132;
    const numerator = x.significand << BigInt(shift);
    const whole = numerator / y.significand;
    const sticky = whole * y.significand === numerator ? 0n : 1n;
    const exponent = x.exponent - y.exponent - shift;
    return round(format, precisionOf(format, control), sign, whole | sticky, exponent, control);
  });
}

/** The square root of `a`; of -0 it is -0. */
export function sqrt(format: Format, a: bigint, control: Control): Result {
  const x = unpack(format, a, control);
  const nan = nanResult(format, x, x, control);
  if (nan !== undefined) return nan;
  if (x.kind === 'zero') return { value: zero(format, x.sign), flags: 0 };
  if (x.sign === 1) return invalid(format);
  if (x.kind === 'infinity') return { value: infinity(format, 0), flags: 0 };
  return computed(denormalFlag(x), control, () => {
    const shift = 136 + (x.exponent & 1);
    const radicand = x.significand << BigInt(shift);
    const root = integerSqrt(radicand);
    const sticky = root * root === radicand ? 0n : 1n;
    return round(format, precisionOf(format, control), 0, root | sticky, (x.exponent - shift) / 2, control);
  });
}

/** The largest integer whose square is not above `n`. */
export function integerSqrt(n: bigint): bigint {
  if (n < 2n) return n;
  // Newton's iteration falls monotonically to the root from any start that is not below it.
  let root = 1n << BigInt((bitLength(n) + 1) >> 1);
  for (;;) {
    const next = (root + n / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}
