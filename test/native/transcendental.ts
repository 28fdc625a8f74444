/**
 * Two results of a transcendental x87 instruction beside each other. SDM vol. 1, 8.3.10 bounds the error by 1 ulp in rounding to nearest
 * and by 1.5 in the other modes; ours is off by half a ulp and by one. Processors reduce angles by a pi of 66 bits (8.3.8) or of more:
 * what that makes of a result is within the architecture's bound too.
 */
import { FX } from './records.ts';

/** The mnemonics. */
export const TRANSCENDENTAL = /^(fsin|fcos|fsincos|fptan|fpatan|f2xm1|fyl2x|fyl2xp1)$/;
const OF_ANGLE = /^(fsin|fcos|fsincos|fptan)$/;

const SIGN = 1n << 79n;
const INTEGER = 1n << 63n;
const SIGNIFICAND = (1n << 64n) - 1n;
const BIAS = 16383;
const exponentOf = (pattern: bigint): number => Number((pattern >> 64n) & 0x7fffn);
const isNumber = (pattern: bigint): boolean => exponentOf(pattern) < 0x7fff;

/** Where a pattern stands among all finite ones: neighbours differ by 1. */
function rank(pattern: bigint): bigint {
  const exponent = BigInt(Math.max(exponentOf(pattern), 1)) - 1n;
  const magnitude = exponent * INTEGER + (pattern & SIGNIFICAND);
  return pattern & SIGN ? -magnitude : magnitude;
}
/** Ulps between two patterns, at most 2^53. */
export const ulpsBetween = (a: bigint, b: bigint): number => Math.abs(Number(rank(a) - rank(b)));

const UNITS = 300;
/** A pattern in units of `2^-UNITS`; below, it is 0. */
function inUnits(pattern: bigint): bigint {
  const shift = Math.max(exponentOf(pattern), 1) - BIAS - 63 + UNITS;
  const magnitude = shift < 0 ? (pattern & SIGNIFICAND) >> BigInt(-shift) : (pattern & SIGNIFICAND) << BigInt(shift);
  return pattern & SIGN ? -magnitude : magnitude;
}
const toNumber = (pattern: bigint): number => Number(inUnits(pattern)) / 2 ** UNITS;

/** The difference of pi and its first 66 bits for each unit of the angle, rounded up. */
const PI_ERROR = 2 ** -69;
/** Smaller angles are not reduced. */
const REDUCED = 0.78;

/** RC in a control word says nearest. */
export const isNearest = (fcw: number): boolean => (fcw & 0xc00) === 0;

/** True when both may be what the instruction gives; `st0` is its operand, and `nearest` its rounding mode. */
export function agree(mnemonic: string, st0: bigint, nearest: boolean, a: bigint, b: bigint): boolean {
  if (a === b) return true;
  if (!isNumber(a) || !isNumber(b)) return false;
  if (ulpsBetween(a, b) <= (nearest ? 1 : 2)) return true;
  const angle = OF_ANGLE.test(mnemonic) ? Math.abs(toNumber(st0)) : 0;
  if (angle < REDUCED) return false;
  const slope = mnemonic === 'fptan' ? 1 + toNumber(b) ** 2 : 1;
  const difference = Math.abs(Number(inUnits(a) - inUnits(b))) / 2 ** UNITS;
  return difference <= angle * PI_ERROR * slope;
}

/** The pattern of ST(`i`) in an FXSAVE image. */
export function registerPattern(image: Uint8Array, i: number): bigint {
  const view = new DataView(image.buffer, image.byteOffset + FX.st + 16 * i, 10);
  return view.getBigUint64(0, true) | (BigInt(view.getUint16(8, true)) << 64n);
}

/** Why the architecture says nothing of the operand `st0`, or leaves open whether PE or UE is raised; null when it does. */
export function openOperand(mnemonic: string, st0: bigint, nearest: boolean): string | null {
  const exponent = exponentOf(st0) - BIAS;
  const significand = st0 & SIGNIFICAND;
  if (mnemonic === 'f2xm1' && exponent >= 0) return 'F2XM1 beyond 1';
  if (mnemonic === 'fyl2xp1' && exponent >= -2 && toNumber(st0 & ~SIGN) > 1 - Math.SQRT1_2)
    return 'FYL2XP1 beyond 1 - sqrt(1/2)';
  // in a directed rounding the last bit of its sine decides
  if (!nearest && /^fsin/.test(mnemonic) && rank(st0 & ~SIGN) === INTEGER) return 'the smallest normal number or less';
  // Intel's raise PE, and UE with it, for the logarithm of a power of two too
  return mnemonic === 'fyl2x' && (significand & (significand - 1n)) === 0n ? 'an exact logarithm' : null;
}
