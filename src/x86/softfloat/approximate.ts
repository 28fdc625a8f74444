/**
 * RCPSS and RSQRTSS. The architecture only bounds their error (relative 1.5 * 2^-12) and every processor differs, so
 * this file *defines* what the emulated processor gives: the exact value rounded to nearest-even at 12 significant
 * bits, relative error at most 2^-12. Special values follow SDM vol. 2: denormal operands are zeros, tiny results are
 * zeros, nothing raises a flag, and neither MXCSR.RC nor DAZ nor FTZ has an effect.
 */

import { integerSqrt } from './arithmetic.ts';
import { controlOfMxcsr, UE } from './control.ts';
import { F32, infinity, isNaNValue, quietNaN, type Sign, unpack, zero } from './format.ts';
import { round } from './round.ts';

const SIGNIFICANT = 12;
/** Round to nearest, everything masked, DAZ and FTZ. */
const FIXED = controlOfMxcsr(0x9fc0);

/** RCPSS: about `1 / a`. */
export function reciprocal(a: bigint): bigint {
  const x = unpack(F32, a, FIXED);
  if (isNaNValue(x)) return quietNaN(F32, x);
  if (x.kind === 'zero') return infinity(F32, x.sign);
  if (x.kind === 'infinity') return zero(F32, x.sign);
  const whole = (1n << 64n) / x.significand;
  const sticky = whole * x.significand === 1n << 64n ? 0n : 1n;
  return rounded(x.sign, whole | sticky, -64 - x.exponent);
}

/** RSQRTSS: about `1 / sqrt(a)`; the square root of a negative number is the indefinite. */
export function reciprocalSqrt(a: bigint): bigint {
  const x = unpack(F32, a, FIXED);
  if (isNaNValue(x)) return quietNaN(F32, x);
  if (x.kind === 'zero') return infinity(F32, x.sign);
  if (x.sign === 1) return F32.indefinite;
  if (x.kind === 'infinity') return zero(F32, 0);
  const even = x.exponent & 1 ? x.significand << 1n : x.significand;
  const exponent = (x.exponent - (x.exponent & 1)) / 2;
  const radicand = (1n << 128n) / even;
  const whole = integerSqrt(radicand);
  const sticky = whole * whole * even === 1n << 128n ? 0n : 1n;
  return rounded(0, whole | sticky, -64 - exponent);
}

function rounded(sign: Sign, significand: bigint, exponent: number): bigint {
  const r = round(F32, SIGNIFICANT, sign, significand, exponent, FIXED);
  return r.flags & UE ? zero(F32, sign) : r.value;
}
