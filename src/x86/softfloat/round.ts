/**
 * Rounding of an exact value into a format: overflow, underflow (tininess is detected after rounding, SDM vol. 1,
 * 4.9.1.5), flush-to-zero, and the x87's bias-adjusted results of unmasked overflow and underflow (8.5.4 and 8.5.5).
 */

import { C1, type Control, DOWN, NEAREST, OE, PE, type Result, type Rounding, UE, UP } from './control.ts';
import { bitLength, F80, type Format, infinity, largest, pack, type Sign, zero } from './format.ts';

/** Exponent adjustment of an x87 result whose overflow or underflow is unmasked. */
const BIAS_ADJUST = 24576;

/** An integer after dropping low bits. */
interface Rounded {
  readonly integer: bigint;
  readonly inexact: boolean;
  /** The magnitude grew. */
  readonly up: boolean;
}

/** `significand / 2^shift` rounded to an integer magnitude; a negative shift is exact. */
export function roundShift(significand: bigint, shift: number, sign: Sign, rounding: Rounding): Rounded {
  if (shift <= 0) return { integer: significand << BigInt(-shift), inexact: false, up: false };
  const by = BigInt(shift);
  const integer = significand >> by;
  const rest = significand - (integer << by);
  if (rest === 0n) return { integer, inexact: false, up: false };
  const half = 1n << (by - 1n);
  const up =
    rounding === NEAREST
      ? rest > half || (rest === half && (integer & 1n) === 1n)
      : rounding === (sign === 1 ? DOWN : UP);
  return { integer: up ? integer + 1n : integer, inexact: true, up };
}

/** The flags of a rounded result: PE and, on x87, C1. */
export const roundingFlags = (r: Rounded, control: Control): number =>
  (r.inexact ? PE : 0) | (r.up && control.x87 ? C1 : 0);

/**
 * The value `(-1)^sign * significand * 2^exponent`, significand > 0, in `format` with `precision` significand bits.
 * A caller with an inexact significand gives at least `precision + 2` bits and ORs the lost rest into the lowest.
 */
export function round(
  format: Format,
  precision: number,
  sign: Sign,
  significand: bigint,
  exponent: number,
  control: Control,
): Result {
  let top = exponent + bitLength(significand) - 1;
  const r = roundShift(significand, top - precision + 1 - exponent, sign, control.rounding);
  let integer = r.integer;
  if (integer >> BigInt(precision) !== 0n) {
    integer >>= 1n;
    top++;
  }
  if (top > format.maxExponent) {
    if (control.masks & OE) return overflow(format, precision, sign, control);
    return adjusted(format, precision, sign, integer, top - BIAS_ADJUST, OE | roundingFlags(r, control), control);
  }
  if (top >= format.minExponent) {
    const value = pack(format, sign, top + format.bias, integer << BigInt(format.significandBits - precision));
    return { value, flags: roundingFlags(r, control) };
  }
  if (!(control.masks & UE))
    return adjusted(format, precision, sign, integer, top + BIAS_ADJUST, UE | roundingFlags(r, control), control);
  if (control.flushToZero) return { value: zero(format, sign), flags: UE | PE };
  return denormal(format, precision, sign, significand, exponent, control);
}

function denormal(
  format: Format,
  precision: number,
  sign: Sign,
  significand: bigint,
  exponent: number,
  control: Control,
): Result {
  const r = roundShift(significand, format.minExponent - precision + 1 - exponent, sign, control.rounding);
  const stored = r.integer << BigInt(format.significandBits - precision);
  const biased = stored & format.integerBit ? 1 : 0;
  return { value: pack(format, sign, biased, stored), flags: roundingFlags(r, control) | (r.inexact ? UE : 0) };
}

function overflow(format: Format, precision: number, sign: Sign, control: Control): Result {
  const away = control.rounding === NEAREST || control.rounding === (sign === 1 ? DOWN : UP);
  const value = away ? infinity(format, sign) : largest(format, sign, precision);
  return { value, flags: OE | PE | (away && control.x87 ? C1 : 0) };
}

/**
 * The result of an unmasked overflow or underflow. Only an x87 register receives it; elsewhere nothing is written, and
 * an x87 store reports the unmasked exception alone. What even the adjusted exponent cannot hold (FSCALE) becomes
 * infinity or zero.
 */
function adjusted(
  format: Format,
  precision: number,
  sign: Sign,
  integer: bigint,
  top: number,
  flags: number,
  control: Control,
): Result {
  if (format !== F80) return { value: 0n, flags: control.x87 ? flags & (OE | UE) : flags };
  if (top > format.maxExponent) return { value: infinity(format, sign), flags: OE | PE | C1 };
  if (top < format.minExponent) return { value: zero(format, sign), flags: UE | PE };
  return { value: pack(format, sign, top + format.bias, integer << BigInt(format.significandBits - precision)), flags };
}
