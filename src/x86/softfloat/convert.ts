/**
 * Conversions between formats and integers, and rounding to an integral value (SDM vol. 2: CVT*, FLD, FST, FILD, FIST,
 * FISTTP, FRNDINT).
 */

import { type Control, IE, type Result, type Rounding, TO_ZERO } from './control.ts';
import { type Format, infinity, type Sign, unpack, zero } from './format.ts';
import { denormalFlag, nanResult } from './nan.ts';
import { round, roundingFlags, roundShift } from './round.ts';

/** `bits` of format `from` as format `to`; x87 stores (from extended80) do not raise DE. */
export function convert(from: Format, to: Format, bits: bigint, control: Control): Result {
  const x = unpack(from, bits, control);
  const nan = nanResult(to, x, x, control);
  if (nan !== undefined) return nan;
  if (x.kind === 'zero') return { value: zero(to, x.sign), flags: 0 };
  if (x.kind === 'infinity') return { value: infinity(to, x.sign), flags: 0 };
  const early = from.explicitInteger ? 0 : denormalFlag(x);
  if (early & ~control.masks) return { value: 0n, flags: early };
  const r = round(to, to.significandBits, x.sign, x.significand, x.exponent, control);
  return { value: r.value, flags: r.flags | early };
}

/**
 * `bits` as a two's complement integer of `width` bits; NaN, infinity and values out of range give the integer
 * indefinite (only the top bit set) and IE. Denormals raise PE only.
 */
export function toInteger(
  format: Format,
  bits: bigint,
  width: 16 | 32 | 64,
  control: Control,
  rounding: Rounding = control.rounding,
): Result {
  const x = unpack(format, bits, control);
  if (x.kind === 'zero') return { value: 0n, flags: 0 };
  const limit = 1n << BigInt(width - 1);
  const outside: Result = { value: limit, flags: IE };
  if (x.kind !== 'finite' || x.exponent > 64) return outside;
  const r = roundShift(x.significand, -x.exponent, x.sign, rounding);
  const value = x.sign === 1 ? -r.integer : r.integer;
  if (value >= limit || value < -limit) return outside;
  return { value: BigInt.asUintN(width, value), flags: roundingFlags(r, control) };
}

/** {@link toInteger} towards zero (CVTT*, FISTTP). */
export const truncateToInteger = (format: Format, bits: bigint, width: 16 | 32 | 64, control: Control): Result =>
  toInteger(format, bits, width, control, TO_ZERO);

/** The two's complement integer `value` of `width` bits in `format`. */
export function fromInteger(format: Format, value: bigint, width: 16 | 32 | 64, control: Control): Result {
  const signed = BigInt.asIntN(width, value);
  if (signed === 0n) return { value: 0n, flags: 0 };
  const sign = signed < 0n ? 1 : 0;
  return round(format, format.significandBits, sign, signed < 0n ? -signed : signed, 0, control);
}

/** `bits` rounded to an integral value of the same format (FRNDINT, ROUNDSS); of the two only FRNDINT raises DE. */
export function roundToIntegral(format: Format, bits: bigint, control: Control): Result {
  const x = unpack(format, bits, control);
  const nan = nanResult(format, x, x, control);
  if (nan !== undefined) return nan;
  if (x.kind === 'zero') return { value: zero(format, x.sign), flags: 0 };
  const early = control.x87 ? denormalFlag(x) : 0;
  if (x.kind === 'infinity' || x.exponent >= 0 || early & ~control.masks) return { value: bits, flags: early };
  const r = roundShift(x.significand, -x.exponent, x.sign, control.rounding);
  return { value: integral(format, x.sign, r.integer, control), flags: early | roundingFlags(r, control) };
}

/** The pattern of an integer that `format` holds exactly. */
const integral = (format: Format, sign: Sign, integer: bigint, control: Control): bigint =>
  integer === 0n ? zero(format, sign) : round(format, format.significandBits, sign, integer, 0, control).value;
