/**
 * x87-only operations on extended80: FSCALE, FPREM, FPREM1, FXTRACT, FXAM (SDM vol. 2).
 */

import { C0, C1, C2, C3, type Control, type Result, ZE } from './control.ts';
import { bitLength, F80, infinity, isNaNValue, type Sign, type Unpacked, unpack, zero } from './format.ts';
import { denormalFlag, invalid, nanResult } from './nan.ts';
import { round } from './round.ts';

const BITS = F80.significandBits;
/** Beyond this any scale overflows or underflows, bias-adjusted or not. */
const SCALE_LIMIT = 0x10000n;

/** `a * 2^trunc(b)`. Precision control does not apply. */
export function fscale(a: bigint, b: bigint, control: Control): Result {
  const x = unpack(F80, a, control);
  const y = unpack(F80, b, control);
  const nan = nanResult(F80, x, y, control);
  if (nan !== undefined) return nan;
  if (y.kind === 'infinity') {
    if (x.kind === (y.sign === 0 ? 'zero' : 'infinity')) return invalid(F80);
    return { value: y.sign === 0 ? infinity(F80, x.sign) : zero(F80, x.sign), flags: denormalFlag(x) };
  }
  const early = denormalFlag(x, y);
  if (x.kind !== 'finite' || early & ~control.masks) return { value: a, flags: early };
  const r = round(F80, BITS, x.sign, x.significand, x.exponent + scaleOf(y), control);
  return { value: r.value, flags: r.flags | early };
}

/** `trunc(y)`, limited to what still makes a difference. */
function scaleOf(y: Unpacked): number {
  if (y.kind !== 'finite') return 0;
  const whole = y.exponent >= 0 ? SCALE_LIMIT : y.significand >> BigInt(Math.min(-y.exponent, BITS));
  const magnitude = Number(whole < SCALE_LIMIT ? whole : SCALE_LIMIT);
  return y.sign === 1 ? -magnitude : magnitude;
}

/** Exponent distance from which FPREM only reduces partially. */
const COMPLETE = 64;

/** Partial remainder, quotient truncated. C2 says it is incomplete, else C0, C3, C1 are quotient bits 2, 1, 0. */
export const fprem = (a: bigint, b: bigint, control: Control): Result => remainder(a, b, control, false);

/** Partial remainder, quotient rounded to nearest (IEEE). Condition codes as {@link fprem}. */
export const fprem1 = (a: bigint, b: bigint, control: Control): Result => remainder(a, b, control, true);

function remainder(a: bigint, b: bigint, control: Control, nearest: boolean): Result {
  const x = unpack(F80, a, control);
  const y = unpack(F80, b, control);
  const nan = nanResult(F80, x, y, control);
  if (nan !== undefined) return nan;
  if (x.kind === 'infinity' || y.kind === 'zero') return invalid(F80);
  const early = denormalFlag(x, y);
  if (x.kind === 'zero' || y.kind === 'infinity' || early & ~control.masks) {
    if (x.kind !== 'finite' || early & ~control.masks) return { value: a, flags: early };
    const same = round(F80, BITS, x.sign, x.significand, x.exponent, control);
    return { value: same.value, flags: same.flags | early };
  }
  const distance = x.exponent + bitLength(x.significand) - (y.exponent + bitLength(y.significand));
  if (distance >= COMPLETE) {
    const steps = partialSteps(distance);
    const rest = modulo(x, y, distance - steps);
    return signed(rest.rest, rest.exponent, x.sign, early | C2, control);
  }
  const { quotient, rest, exponent, divisor } = modulo(x, y, 0);
  const above = nearest && (2n * rest > divisor || (2n * rest === divisor && (quotient & 1n) === 1n));
  const q = above ? quotient + 1n : quotient;
  const codes = (q & 4n ? C0 : 0) | (q & 2n ? C3 : 0) | (q & 1n ? C1 : 0);
  const sign = (above ? x.sign ^ 1 : x.sign) as Sign;
  if (above) return signed(divisor - rest, exponent, sign, early | codes, control, x.sign);
  return signed(rest, exponent, sign, early | codes, control, x.sign);
}

/** How many quotient bits one incomplete reduction takes (32 to 63, chosen by the implementation). */
const partialSteps = (distance: number): number => 32 + (distance & 31);

interface Division {
  readonly quotient: bigint;
  readonly rest: bigint;
  readonly divisor: bigint;
  readonly exponent: number;
}

/** `|x|` divided by `|y| * 2^up`, with rest and divisor in units of `2^exponent`. */
function modulo(x: Unpacked, y: Unpacked, up: number): Division {
  const exponent = Math.min(x.exponent, y.exponent + up);
  const far = x.exponent - exponent > 200 || y.exponent + up - exponent > 200;
  if (far) return { quotient: 0n, rest: x.significand, divisor: 1n << 200n, exponent: x.exponent };
  const dividend = x.significand << BigInt(x.exponent - exponent);
  const divisor = y.significand << BigInt(y.exponent + up - exponent);
  const quotient = dividend / divisor;
  return { quotient, rest: dividend - quotient * divisor, divisor, exponent };
}

function signed(
  rest: bigint,
  exponent: number,
  sign: Sign,
  flags: number,
  control: Control,
  zeroSign: Sign = sign,
): Result {
  if (rest === 0n) return { value: zero(F80, zeroSign), flags };
  const r = round(F80, BITS, sign, rest, exponent, control);
  return { value: r.value, flags: r.flags | flags };
}

/** The two results of FXTRACT. */
interface Extracted {
  /** The unbiased exponent as a value; replaces ST(0). */
  readonly exponent: bigint;
  /** The significand in [1, 2) with the operand's sign; pushed on top. */
  readonly significand: bigint;
  readonly flags: number;
}

/** Separates `a` into exponent and significand; of zero the exponent is -infinity with ZE. */
export function fxtract(a: bigint, control: Control): Extracted {
  const x = unpack(F80, a, control);
  if (x.kind === 'unsupported' || isNaNValue(x)) {
    const nan = nanResult(F80, x, x, control)!;
    return { exponent: nan.value, significand: nan.value, flags: nan.flags };
  }
  if (x.kind === 'zero') return { exponent: infinity(F80, 1), significand: a, flags: ZE };
  if (x.kind === 'infinity') return { exponent: infinity(F80, 0), significand: a, flags: 0 };
  const length = bitLength(x.significand);
  const scale = x.exponent + length - 1;
  const magnitude = BigInt(Math.abs(scale));
  return {
    exponent: scale === 0 ? 0n : round(F80, BITS, scale < 0 ? 1 : 0, magnitude, 0, control).value,
    significand: round(F80, BITS, x.sign, x.significand, 1 - length, control).value,
    flags: denormalFlag(x),
  };
}

/** The class that FXAM reports in C3, C2 and C0, with the sign in C1; an empty register is the caller's case. */
export function fxam(a: bigint, control: Control): number {
  const x = unpack(F80, a, control);
  const sign = x.sign === 1 ? C1 : 0;
  switch (x.kind) {
    case 'unsupported':
      return sign;
    case 'quiet':
    case 'signalling':
      return sign | C0;
    case 'infinity':
      return sign | C2 | C0;
    case 'zero':
      return sign | C3;
    case 'finite':
      return sign | C2 | (x.denormal ? C3 : 0);
  }
}
