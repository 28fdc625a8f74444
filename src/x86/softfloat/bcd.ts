/**
 * Packed decimal integers of 18 digits in 80 bits (SDM vol. 1, 4.7): FBLD and FBSTP.
 */

import { type Control, IE, type Result } from './control.ts';
import { F80, type Sign, unpack, zero } from './format.ts';
import { round, roundingFlags, roundShift } from './round.ts';

const DIGITS = 18n;
const LIMIT = 10n ** DIGITS;
/** "Packed BCD integer indefinite". */
const INDEFINITE = 0xffffc000000000000000n;

/** The extended80 value of packed decimal `bits`; always exact, even with digits above 9. */
export function fbld(bits: bigint, control: Control): Result {
  const sign = Number((bits >> 79n) & 1n) as Sign;
  let value = 0n;
  for (let place = DIGITS - 1n; place >= 0n; place--) value = value * 10n + ((bits >> (4n * place)) & 15n);
  if (value === 0n) return { value: zero(F80, sign), flags: 0 };
  return round(F80, F80.significandBits, sign, value, 0, control);
}

/** Extended80 `bits` rounded to packed decimal; the indefinite and IE when it needs more than 18 digits. */
export function fbstp(bits: bigint, control: Control): Result {
  const x = unpack(F80, bits, control);
  const sign = BigInt(x.sign) << 79n;
  if (x.kind === 'zero') return { value: sign, flags: 0 };
  if (x.kind !== 'finite' || x.exponent > 0) return { value: INDEFINITE, flags: IE };
  const r = roundShift(x.significand, -x.exponent, x.sign, control.rounding);
  if (r.integer >= LIMIT) return { value: INDEFINITE, flags: IE };
  let value = sign;
  let rest = r.integer;
  for (let place = 0n; rest > 0n; place += 4n) {
    value |= (rest % 10n) << place;
    rest /= 10n;
  }
  return { value, flags: roundingFlags(r, control) };
}
