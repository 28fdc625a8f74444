/**
 * F2XM1, FYL2X, FYL2XP1, FPATAN, FSIN, FCOS, FSINCOS and FPTAN (SDM vol. 2). The architecture bounds their error by 1 ulp (1.5 in the
 * directed roundings, vol. 1, 8.3.10) and every processor differs in the last bit, so this file *defines* what the emulated processor
 * gives: the exact value rounded as RC says, precision control ignored. Angles are reduced by the architecture's pi of 66 bits (vol. 1,
 * 8.3.8), to which that bound refers. An exact result raises no PE and no UE. Where a manual leaves an operand's range undefined, the
 * result is what a Xeon gives.
 */
import { computed } from './arithmetic.ts';
import { C2, type Control, PE, type Result, ZE } from './control.ts';
import {
  angle,
  cosine,
  exponential,
  logarithm,
  logarithmOfNearly1,
  minusCotangent,
  quartersOfPi,
  type Rational,
  settled,
  sine,
  tangent,
} from './elementary.ts';
import { bitLength, F80, infinity, isNaNValue, pack, type Sign, type Unpacked, unpack, zero } from './format.ts';
import { denormalFlag, invalid, nanResult } from './nan.ts';

const one = (sign: Sign): bigint => pack(F80, sign, F80.bias, F80.integerBit);
const minusHalf = pack(F80, 1, F80.bias - 1, F80.integerBit);
const rational = (x: Unpacked): Rational => ({
  significand: x.sign === 1 ? -x.significand : x.significand,
  exponent: x.exponent,
});
/** floor(log2 |x|) of a finite x. */
const magnitude = (x: Unpacked): number => x.exponent + bitLength(x.significand) - 1;

/** `2^a - 1`, |a| <= 1. */
export function f2xm1(a: bigint, control: Control): Result {
  const x = unpack(F80, a, control);
  const nan = nanResult(F80, x, x, control);
  if (nan !== undefined) return nan;
  if (x.kind === 'zero') return { value: a, flags: 0 };
  if (x.kind === 'infinity') return { value: x.sign === 1 ? one(1) : a, flags: 0 };
  if (a === one(0)) return { value: a, flags: 0 };
  if (a === one(1)) return { value: minusHalf, flags: 0 };
  if (magnitude(x) >= 0) return { value: a, flags: PE };
  return computed(denormalFlag(x), control, () => settled(exponential(rational(x)), control));
}

/** `b * log2(a)`. */
export function fyl2x(a: bigint, b: bigint, control: Control): Result {
  const x = unpack(F80, a, control);
  const y = unpack(F80, b, control);
  const nan = nanResult(F80, x, y, control);
  if (nan !== undefined) return nan;
  if (x.sign === 1 && x.kind !== 'zero') return invalid(F80);
  if (x.kind === 'zero') {
    if (y.kind === 'zero') return invalid(F80);
    return { value: infinity(F80, (y.sign ^ 1) as Sign), flags: y.kind === 'infinity' ? 0 : ZE };
  }
  if (a === one(0) && y.kind === 'infinity') return invalid(F80);
  return scaled(x, x.kind === 'infinity' || magnitude(x) >= 0 ? 0 : 1, y, control, () =>
    logarithm(rational(x), rational(y), control),
  );
}

/** `b * log2(a + 1)`, |a| <= 1 - sqrt(1/2); of other arguments above -1 too, of those below `a`. */
export function fyl2xp1(a: bigint, b: bigint, control: Control): Result {
  const x = unpack(F80, a, control);
  const y = unpack(F80, b, control);
  const nan = nanResult(F80, x, y, control);
  if (nan !== undefined) return nan;
  if (x.kind === 'infinity' && x.sign === 1) return invalid(F80);
  if (x.kind === 'zero') {
    if (y.kind === 'infinity') return invalid(F80);
    return { value: zero(F80, (x.sign ^ y.sign) as Sign), flags: denormalFlag(y) };
  }
  return scaled(x, x.sign, y, control, () => {
    if (magnitude(x) < -2) return settled(logarithmOfNearly1(rational(x), rational(y)), control);
    if (x.sign === 1 && magnitude(x) >= 0) return { value: a, flags: PE };
    // beside 2^63 and more the 1 is lost
    const sum =
      x.exponent >= 0 ? x.significand : x.significand * (x.sign === 1 ? -1n : 1n) + (1n << BigInt(-x.exponent));
    return logarithm({ significand: sum, exponent: x.exponent }, rational(y), control);
  });
}

/** The product of y and a logarithm of `sign` that is not zero: of finite x and y what `compute` gives. */
function scaled(x: Unpacked, sign: Sign, y: Unpacked, control: Control, compute: () => Result): Result {
  const early = denormalFlag(x, y);
  const product = (sign ^ y.sign) as Sign;
  if (y.kind === 'zero') return x.kind === 'infinity' ? invalid(F80) : { value: zero(F80, product), flags: early };
  if (x.kind === 'infinity' || y.kind === 'infinity') return { value: infinity(F80, product), flags: early };
  return computed(early, control, compute);
}

/** The angle of the point (`a`, `b`), from -pi to pi. */
export function fpatan(a: bigint, b: bigint, control: Control): Result {
  const x = unpack(F80, a, control);
  const y = unpack(F80, b, control);
  const nan = nanResult(F80, x, y, control);
  if (nan !== undefined) return nan;
  return computed(denormalFlag(x, y), control, () => {
    if (x.kind === 'finite' && y.kind === 'finite') return angle(rational(y), rational(x), control);
    const quarters = axisQuarters(x, y);
    if (quarters === 0) return { value: zero(F80, y.sign), flags: 0 };
    return quartersOfPi(y.sign === 1 ? -quarters : quarters, control);
  });
}

/** |angle| of a point on an axis or at infinity, in units of pi/4. */
function axisQuarters(x: Unpacked, y: Unpacked): number {
  if (x.kind === 'infinity' && y.kind === 'infinity') return x.sign === 1 ? 3 : 1;
  if (x.kind === 'infinity' || y.kind === 'zero') return x.sign === 1 ? 4 : 0;
  return 2;
}

// ---- trigonometric functions ----------------------------------------------------------------------------------------

/** Pi to 66 bits in units of `2^-64`, so pi/2 in units of `2^-65` (SDM vol. 1, 8.3.8). */
const PI = 0x3243f6a8885a308d3n;
const HALF_PI_EXPONENT = -65;
/** Arguments from 2^63 on are out of range. */
const RANGE = 63;

/** An angle less its nearest multiple of pi/2, never zero; and the quadrant that it came from, 0 to 3. */
interface Reduced {
  readonly rest: Rational;
  readonly quadrant: number;
}

function reduce(x: Rational): Reduced {
  const exponent = Math.min(x.exponent, HALF_PI_EXPONENT);
  const angleUnits = x.significand << BigInt(x.exponent - exponent);
  const quarter = PI << BigInt(HALF_PI_EXPONENT - exponent);
  // the division cuts towards zero
  const turns = (2n * angleUnits + (angleUnits < 0n ? -quarter : quarter)) / (2n * quarter);
  return {
    rest: { significand: angleUnits - turns * quarter, exponent },
    quadrant: Number(BigInt.asUintN(2, turns)),
  };
}

/** A function of the angle `a`, and what it gives for zero of a sign. */
function trigonometric(
  a: bigint,
  control: Control,
  ofZero: (sign: Sign) => bigint,
  compute: (reduced: Reduced) => Result,
): Result {
  const x = unpack(F80, a, control);
  const nan = nanResult(F80, x, x, control);
  if (nan !== undefined) return nan;
  if (x.kind === 'infinity') return invalid(F80);
  if (x.kind === 'zero') return { value: ofZero(x.sign), flags: 0 };
  if (magnitude(x) >= RANGE) return { value: a, flags: C2 };
  return computed(denormalFlag(x), control, () => compute(reduce(rational(x))));
}

/** `sin(a)`; C2 with `a` itself when that is out of range. */
export const fsin = (a: bigint, control: Control): Result =>
  trigonometric(
    a,
    control,
    (sign) => zero(F80, sign),
    (reduced) => sineOf(reduced, control),
  );

/** `cos(a)`; C2 as {@link fsin}. */
export const fcos = (a: bigint, control: Control): Result =>
  trigonometric(
    a,
    control,
    () => one(0),
    ({ rest, quadrant }) => sineOf({ rest, quadrant: (quadrant + 1) & 3 }, control),
  );

const tangentOf = (a: bigint, control: Control): Result =>
  trigonometric(
    a,
    control,
    (sign) => zero(F80, sign),
    ({ rest, quadrant }) => (quadrant & 1 ? minusCotangent(rest, control) : tangent(rest, control)),
  );

/** The results of FSINCOS and FPTAN: what replaces ST(0), and what is pushed. */
export interface Pair {
  readonly below: bigint;
  readonly top: bigint;
  readonly flags: number;
}

/** Sine and cosine of `a`; C2 as {@link fsin}. */
export function fsincos(a: bigint, control: Control): Pair {
  const below = fsin(a, control);
  const top = fcos(a, control);
  return { below: below.value, top: top.value, flags: below.flags | top.flags };
}

/** The tangent of `a` and 1, or a NaN twice; C2 as {@link fsin}. */
export function fptan(a: bigint, control: Control): Pair {
  const { value, flags } = tangentOf(a, control);
  return { below: value, top: isNaNValue(unpack(F80, value, control)) ? value : one(0), flags };
}

function sineOf({ rest, quadrant }: Reduced, control: Control): Result {
  const sign = quadrant & 2 ? -1n : 1n;
  return quadrant & 1 ? cosine(rest, sign, control) : sine(rest, sign, control);
}
