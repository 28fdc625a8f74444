/**
 * The three binary formats as descriptors, and values taken apart (SDM vol. 1, 4.2.2, 4.8.3 and 8.2.2).
 */

import type { Control } from './control.ts';

/** A binary floating-point format; every field after the first three follows from them. */
export interface Format {
  readonly exponentBits: number;
  readonly fractionBits: number;
  /** The integer bit is stored (extended80) and not implied by the exponent. */
  readonly explicitInteger: boolean;
  /** Bits of a pattern. */
  readonly width: number;
  /** Significand bits, the integer bit included. */
  readonly significandBits: number;
  readonly bias: number;
  /** Exponent of the smallest and of the largest normal power of two. */
  readonly minExponent: number;
  readonly maxExponent: number;
  /** The exponent field with all bits set: infinity and NaN. */
  readonly specialExponent: number;
  readonly exponentShift: bigint;
  readonly signShift: bigint;
  readonly fractionMask: bigint;
  /** The integer bit's place in a significand. */
  readonly integerBit: bigint;
  /** The negative quiet NaN with an empty payload ("QNaN floating-point indefinite"). */
  readonly indefinite: bigint;
}

function describe(exponentBits: number, fractionBits: number, explicitInteger: boolean): Format {
  const special = 2 ** exponentBits - 1;
  const bias = special >> 1;
  const exponentShift = BigInt(fractionBits + (explicitInteger ? 1 : 0));
  const signShift = exponentShift + BigInt(exponentBits);
  const integerBit = 1n << BigInt(fractionBits);
  const top = (1n << BigInt(exponentBits + 1)) - 1n;
  return {
    exponentBits,
    fractionBits,
    explicitInteger,
    width: Number(signShift) + 1,
    significandBits: fractionBits + 1,
    bias,
    minExponent: 1 - bias,
    maxExponent: bias,
    specialExponent: special,
    exponentShift,
    signShift,
    fractionMask: integerBit - 1n,
    integerBit,
    indefinite: (top << exponentShift) | (explicitInteger ? integerBit : 0n) | (integerBit >> 1n),
  };
}

/** binary32, "single". */
export const F32: Format = describe(8, 23, false);
/** binary64, "double". */
export const F64: Format = describe(11, 52, false);
/** The x87 double extended format of 80 bits. */
export const F80: Format = describe(15, 63, true);

/** What a pattern stands for. UNSUPPORTED are extended80 patterns with a clear integer bit that no x87 accepts. */
type Kind = 'zero' | 'finite' | 'infinity' | 'quiet' | 'signalling' | 'unsupported';
/** 1 is negative. */
export type Sign = 0 | 1;

/** A value taken apart. */
export interface Unpacked {
  readonly kind: Kind;
  readonly sign: Sign;
  /** Finite: the value is `significand * 2^exponent`. NaN: 64 bits, left-aligned, integer bit set. */
  readonly significand: bigint;
  readonly exponent: number;
  /** Raises DE: a denormal (or pseudo-denormal) that was not taken as zero. */
  readonly denormal: boolean;
}

/** `bits` of `format` taken apart; with denormals-are-zero a denormal is a zero of its sign. */
export function unpack(format: Format, bits: bigint, control: Control): Unpacked {
  const sign = (Number(bits >> format.signShift) & 1) as Sign;
  const biased = Number((bits >> format.exponentShift) & BigInt(format.specialExponent));
  const fraction = bits & format.fractionMask;
  const integer = format.explicitInteger ? bits & format.integerBit : biased === 0 ? 0n : format.integerBit;
  if (biased === 0) {
    const significand = fraction | integer;
    if (significand === 0n || control.denormalsAreZero) return plain('zero', sign);
    const exponent = format.minExponent - format.fractionBits;
    return { kind: 'finite', sign, significand, exponent, denormal: true };
  }
  if (integer === 0n) return plain('unsupported', sign);
  if (biased < format.specialExponent) {
    const exponent = biased - format.bias - format.fractionBits;
    return { kind: 'finite', sign, significand: fraction | integer, exponent, denormal: false };
  }
  if (fraction === 0n) return plain('infinity', sign);
  const kind = fraction & (format.integerBit >> 1n) ? 'quiet' : 'signalling';
  const significand = (fraction | integer) << BigInt(63 - format.fractionBits);
  return { kind, sign, significand, exponent: 0, denormal: false };
}

const plain = (kind: Kind, sign: Sign): Unpacked => ({ kind, sign, significand: 0n, exponent: 0, denormal: false });

/** True for a NaN of either kind. */
export const isNaNValue = (x: Unpacked): boolean => x.kind === 'quiet' || x.kind === 'signalling';

/** The pattern with these fields; `significand` holds the integer bit, which the narrow formats drop. */
export function pack(format: Format, sign: Sign, biased: number, significand: bigint): bigint {
  const stored = format.explicitInteger ? significand : significand & format.fractionMask;
  return (BigInt((sign << format.exponentBits) | biased) << format.exponentShift) | stored;
}

/** Zero of `sign`. */
export const zero = (format: Format, sign: Sign): bigint => pack(format, sign, 0, 0n);
/** Infinity of `sign`. */
export const infinity = (format: Format, sign: Sign): bigint =>
  pack(format, sign, format.specialExponent, format.integerBit);
/** The finite value of `sign` with the largest magnitude in `precision` significand bits. */
export function largest(format: Format, sign: Sign, precision: number): bigint {
  const drop = BigInt(format.significandBits - precision);
  const ones = (format.integerBit << 1n) - 1n;
  return pack(format, sign, format.specialExponent - 1, (ones >> drop) << drop);
}
/** The NaN `x` made quiet, its payload cut to `format`. */
export function quietNaN(format: Format, x: Unpacked): bigint {
  const significand = (x.significand >> BigInt(63 - format.fractionBits)) | (format.integerBit >> 1n);
  return pack(format, x.sign, format.specialExponent, significand);
}

/** Number of bits of `n` up to its leading one; `n` must not be negative. */
export function bitLength(n: bigint): number {
  let bits = 0;
  let rest = n;
  while (rest >= 1n << 64n) {
    rest >>= 64n;
    bits += 64;
  }
  const high = Number(rest >> 32n);
  return bits + (high !== 0 ? 64 - Math.clz32(high) : 32 - Math.clz32(Number(rest)));
}
