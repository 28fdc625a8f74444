/**
 * Exponential, logarithm, sine, cosine and arctangent of rational numbers, correctly rounded: a value is approximated with integers, and
 * again to twice the width while a rounding boundary lies within the error. None of them is rational at the arguments that come here
 * (Lindemann, Gelfond and Schneider), so no boundary is ever met. What differs from a rational number by less than any width shows is
 * that number and a {@link hair}.
 */
import { assert } from '../../core/assert.ts';
import type { Control, Result } from './control.ts';
import { bitLength, F80, type Sign, zero } from './format.ts';
import { round } from './round.ts';

/** `significand * 2^exponent`. */
export interface Rational {
  /** Signed. */
  readonly significand: bigint;
  readonly exponent: number;
}
/** An irrational number: to a width in bits, with a relative error below `2^(SLACK - width)`. */
type Real = (width: number) => Rational;

const SLACK = 16;
const FIRST_WIDTH = 128;
const LAST_WIDTH = 4096;
/**
 * The next term of a series in x is a hair beside x below `2^-TINY`: below `2^-144` of it, and no quotient of two numbers of 64 bits is as
 * near to a boundary of rounding.
 */
const TINY = 72;

/** `x` in extended80; precision control does not apply. */
function rounded({ significand, exponent }: Rational, control: Control): Result {
  const sign: Sign = significand < 0n ? 1 : 0;
  return round(F80, F80.significandBits, sign, sign === 1 ? -significand : significand, exponent, control);
}

/** The irrational `x` in extended80. */
export function settled(x: Real, control: Control): Result {
  for (let width = FIRST_WIDTH; ; width *= 2) {
    assert(width <= LAST_WIDTH, 'no width tells on which side of a boundary a result lies');
    const { significand, exponent } = x(width);
    const margin = 1n + ((significand < 0n ? -significand : significand) >> BigInt(width - SLACK));
    const edge = (offset: bigint): Result =>
      rounded({ significand: ((significand + offset) << 1n) | 1n, exponent: exponent - 1 }, control);
    const low = edge(-margin);
    const high = edge(margin);
    if (low.value === high.value && low.flags === high.flags) return low;
  }
}

/** `x` and less than any width shows: away from zero when `away`, else towards it. */
function hair({ significand, exponent }: Rational, away: boolean): Rational {
  const wide = significand << 160n;
  return { significand: significand < 0n === away ? wide - 1n : wide + 1n, exponent: exponent - 160 };
}

// ---- fixed point: integers in units of 2^-width ---------------------------------------------------------------------

/** `x` in units of `2^-width`, rounded down. */
function fixed({ significand, exponent }: Rational, width: number): bigint {
  const shift = exponent + width;
  return shift >= 0 ? significand << BigInt(shift) : significand >> BigInt(-shift);
}

/** The sum of terms of which each is the one before it by `ratio / divisor(n)`, n from 1; the first is 1. */
function series(ratio: bigint, width: number, divisor: (n: number) => number): bigint {
  let term = 1n << BigInt(width);
  let sum = 0n;
  for (let n = 1; term !== 0n; n++) {
    sum += term;
    term = ((term * ratio) >> BigInt(width)) / BigInt(divisor(n));
  }
  return sum;
}

/** 1 + z/3 + z^2/5 + ...: atanh(s)/s of z = s^2, atan(s)/s of z = -s^2. */
function oddSeries(z: bigint, width: number): bigint {
  let power = 1n << BigInt(width);
  let sum = 0n;
  for (let n = 1n; power !== 0n; n += 2n) {
    sum += power / n;
    power = (power * z) >> BigInt(width);
  }
  return sum;
}

/** `compute(width)` once for each width, of more bits than asked for. */
function constant(compute: (width: number) => bigint): (width: number) => bigint {
  const known = new Map<number, bigint>();
  return (width) => {
    let value = known.get(width);
    if (value === undefined) {
      value = compute(width + 32) >> 32n;
      known.set(width, value);
    }
    return value;
  };
}

/** 2 atanh(1/3). */
const ln2 = constant((width) => (2n * oddSeries((1n << BigInt(width)) / 9n, width)) / 3n);
/** Machin: 16 atan(1/5) - 4 atan(1/239). */
const pi = constant((width) => {
  const one = 1n << BigInt(width);
  const atan = (n: bigint): bigint => oddSeries(-one / (n * n), width) / n;
  return 16n * atan(5n) - 4n * atan(239n);
});

// ---- functions ------------------------------------------------------------------------------------------------------

/** `2^x - 1` of a nonzero |x| < 1. */
export const exponential =
  (x: Rational): Real =>
  (width) => {
    const t = (fixed(x, width) * ln2(width)) >> BigInt(width);
    const slope = series(t, width, (n) => n + 1);
    return { significand: x.significand * ln2(width) * slope, exponent: x.exponent - 2 * width };
  };

/** `log2(1 + u) / u`, |u| < 1/2, in units of `2^-width`. */
function logarithmicSlope(u: Rational, width: number): bigint {
  const shift = BigInt(width);
  const t = fixed(u, width);
  const divisor = (2n << shift) + t;
  const s = (t << shift) / divisor;
  const atanh = oddSeries((s * s) >> shift, width);
  return (atanh << (shift + shift + 1n)) / (divisor * ln2(width));
}

/** `factor * log2(1 + u)` of a nonzero |u| < 1/2. */
export const logarithmOfNearly1 =
  (u: Rational, factor: Rational): Real =>
  (width) => ({
    significand: factor.significand * u.significand * logarithmicSlope(u, width),
    exponent: factor.exponent + u.exponent - width,
  });

/** `factor * log2(x)` of x > 0 in extended80, which is exact for a power of two. */
export function logarithm(x: Rational, factor: Rational, control: Control): Result {
  const length = bitLength(x.significand);
  // 2^k is the power of two that x lies nearest to
  const below = x.significand * x.significand < 1n << BigInt(2 * length - 1);
  const bits = below ? length - 1 : length;
  const k = x.exponent + bits;
  const u = { significand: x.significand - (1n << BigInt(bits)), exponent: -bits };
  if (u.significand === 0n && k === 0) return { value: zero(F80, factor.significand < 0n ? 1 : 0), flags: 0 };
  if (u.significand === 0n)
    return rounded({ significand: factor.significand * BigInt(k), exponent: factor.exponent }, control);
  if (k === 0) return settled(logarithmOfNearly1(u, factor), control);
  const sum: Real = (width) => {
    const fraction = (u.significand * logarithmicSlope(u, width)) >> BigInt(bits);
    const total = (BigInt(k) << BigInt(width)) + fraction;
    return { significand: factor.significand * total, exponent: factor.exponent - width };
  };
  return settled(sum, control);
}

/** True for a nonzero |x| below `2^-TINY`. */
const isTiny = ({ significand, exponent }: Rational): boolean =>
  bitLength(significand < 0n ? -significand : significand) + exponent <= -TINY;

/** -r^2 in units of `2^-width`. */
function minusSquare(r: Rational, width: number): bigint {
  const t = fixed(r, width);
  return -((t * t) >> BigInt(width));
}
const sineSlope = (r: Rational, width: number): bigint =>
  series(minusSquare(r, width), width, (n) => 2 * n * (2 * n + 1));
const cosineOf = (r: Rational, width: number): bigint =>
  series(minusSquare(r, width), width, (n) => 2 * n * (2 * n - 1));

/** `sign * sin(r)` of a nonzero |r| < 1 in extended80. */
export function sine(r: Rational, sign: bigint, control: Control): Result {
  const x = { significand: r.significand * sign, exponent: r.exponent };
  if (isTiny(r)) return rounded(hair(x, false), control);
  const real: Real = (width) => ({ significand: x.significand * sineSlope(r, width), exponent: r.exponent - width });
  return settled(real, control);
}

/** `sign * cos(r)` of a nonzero |r| < 1 in extended80. */
export function cosine(r: Rational, sign: bigint, control: Control): Result {
  if (isTiny(r)) return rounded(hair({ significand: sign, exponent: 0 }, false), control);
  return settled((width) => ({ significand: sign * cosineOf(r, width), exponent: -width }), control);
}

/** `tan(r)` of a nonzero |r| < 1 in extended80. */
export function tangent(r: Rational, control: Control): Result {
  if (isTiny(r)) return rounded(hair(r, true), control);
  const real: Real = (width) => ({
    significand: ((r.significand * sineSlope(r, width)) << BigInt(width)) / cosineOf(r, width),
    exponent: r.exponent - width,
  });
  return settled(real, control);
}

/** `-1 / tan(r)` of a nonzero |r| < 1 in extended80. */
export function minusCotangent(r: Rational, control: Control): Result {
  if (isTiny(r)) return rounded(hair(quotient(-1n, r.significand, -r.exponent, TINY * 3), false), control);
  const real: Real = (width) => quotient(-cosineOf(r, width), r.significand * sineSlope(r, width), -r.exponent, width);
  return settled(real, control);
}

/** `a / b * 2^exponent` cut to more than `width` bits; the lowest tells whether something was cut. */
function quotient(a: bigint, b: bigint, exponent: number, width: number): Rational {
  const length = (n: bigint): number => bitLength(n < 0n ? -n : n);
  const shift = Math.max(0, width + length(b) - length(a) + 1);
  const dividend = a << BigInt(shift);
  const whole = dividend / b;
  const sign = a < 0n === b < 0n ? 1n : -1n;
  const cut = whole * b === dividend ? 0n : sign;
  return { significand: whole * 2n + cut, exponent: exponent - shift - 1 };
}

/** `n * pi / 4` of a nonzero n in extended80. */
export const quartersOfPi = (n: number, control: Control): Result =>
  settled((width) => ({ significand: BigInt(n) * pi(width), exponent: -width - 2 }), control);

/** atan(a / b), 0 <= a/b <= 1, in units of `2^-width`. */
function arctangentOf(a: bigint, b: bigint, width: number): bigint {
  const shift = BigInt(width);
  // above tan(pi/8) or a little more: atan(q) = pi/4 - atan((1 - q)/(1 + q))
  if (7n * a > 3n * b) return (pi(width) >> 2n) - arctangentOf(b - a, b + a, width);
  const q = (a << shift) / b;
  return (q * oddSeries(-((q * q) >> shift), width)) >> shift;
}

/** The angle of the point (x, y), neither of them zero, in extended80. */
export function angle(y: Rational, x: Rational, control: Control): Result {
  const shift = y.exponent - x.exponent;
  const abs = (n: bigint): bigint => (n < 0n ? -n : n);
  const height = abs(y.significand) << BigInt(Math.max(0, shift));
  const length = abs(x.significand) << BigInt(Math.max(0, -shift));
  const sign = y.significand < 0n ? -1n : 1n;
  const steep = height > length;
  if (!steep && x.significand > 0n) return flatAngle(sign * height, length, control);
  const smaller = steep ? length : height;
  const larger = steep ? height : length;
  // pi/2 - atan, pi/2 + atan, pi - atan
  const real: Real = (width) => {
    const part = arctangentOf(smaller, larger, width);
    const from = steep ? pi(width) >> 1n : pi(width);
    return { significand: sign * (steep && x.significand < 0n ? from + part : from - part), exponent: -width };
  };
  return settled(real, control);
}

/** atan(a / b), 0 < |a|/b <= 1, in extended80. */
function flatAngle(a: bigint, b: bigint, control: Control): Result {
  const magnitude = a < 0n ? -a : a;
  const ratio = quotient(a, b, 0, 3 * TINY);
  if (isTiny(ratio)) return rounded(hair(ratio, false), control);
  const real: Real = (width) => {
    // the sum loses nothing of a small angle with so many bits more
    const wide = width + bitLength(b) - bitLength(magnitude) + 1;
    return { significand: (a < 0n ? -1n : 1n) * arctangentOf(magnitude, b, wide), exponent: -wide };
  };
  return settled(real, control);
}
