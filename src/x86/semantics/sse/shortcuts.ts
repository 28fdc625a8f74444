/**
 * Shortcuts of the SSE helpers: the same results by floating-point micro-ops, where these are proven. Micro-ops round to
 * nearest and tell no exceptions, so a shortcut holds only where
 *
 * - no operand is a NaN or a denormal (no IE of a signalling NaN, no DE; DAZ does not matter),
 * - the result is an ordinary number and not the outcome of underflow (no OE, UE, ZE, IE; FTZ does not matter),
 * - PE is settled, that is masked and already set, or the result is exact by a test that is sufficient: a sum r of a and b
 *   is exact if r - a = b and r - b = a (one of these differences is always exact: Dekker), a product if both factors
 *   have at most half of the significand's bits, quotients and roots if multiplying back is such a product.
 *
 * Then the operation raises nothing that MXCSR does not have, and the helpers for exceptions give 0.
 */
import type { BinaryOp, FloatLane, Lane, UnaryOp, Value } from '../../../ir/program.ts';
import { vectorOf } from '../../../ir/vector.ts';
import type { Context } from '../context.ts';

/** Lanes of a result, and masks of the lanes (all ones or zero) for which it stands. */
export interface Shortcut {
  readonly value: Value;
  /** The lanes where nothing but PE can arise; null: all. */
  readonly sound: Value | null;
  /** The lanes, among these, where PE does not arise either; null: all. */
  readonly exact: Value | null;
  readonly lane: Lane;
}

/** Patterns of one format, in every lane. */
interface Precision {
  readonly lane: FloatLane;
  readonly integers: 'i32x4' | 'i64x2';
  readonly bits: 32 | 64;
  /** The smallest normal number, and infinity. */
  readonly smallest: bigint;
  readonly infinity: bigint;
  /** The lower half of the significand. */
  readonly lower: bigint;
}
const SINGLE: Precision = {
  lane: 'f32x4',
  integers: 'i32x4',
  bits: 32,
  smallest: 0x0080_0000n,
  infinity: 0x7f80_0000n,
  lower: 0xfffn,
};
const DOUBLE: Precision = {
  lane: 'f64x2',
  integers: 'i64x2',
  bits: 64,
  smallest: 0x0010_0000_0000_0000n,
  infinity: 0x7ff0_0000_0000_0000n,
  lower: 0x7ff_ffffn,
};
/** binary64 patterns of the smallest normal binary32, of 2^31 - 1 and 2^31; binary32 pattern of 2^31. */
const SMALLEST_SINGLE = 0x3810_0000_0000_0000n;
const DOUBLE_BELOW_2_31 = 0x41df_ffff_ffc0_0000n;
const DOUBLE_2_31 = 0x41e0_0000_0000_0000n;
const SINGLE_2_31 = 0x4f00_0000n;
const DOUBLE_2_32 = 0x41f0_0000_0000_0000n;

/** Writes micro-ops on the lanes of one format. */
class Lanes {
  readonly #c: Context;
  readonly precision: Precision;

  constructor(c: Context, precision: Precision) {
    this.#c = c;
    this.precision = precision;
  }
  all(pattern: bigint): Value {
    const { bits } = this.precision;
    return this.#c.b.const('v128', vectorOf(Array<bigint>(128 / bits).fill(pattern), bits));
  }
  one(op: 'abs' | 'sqrt' | 'nearest', a: Value): Value {
    return this.#c.b.unary(`${this.precision.lane}.${op}`, a);
  }
  two(op: 'add' | 'sub' | 'mul' | 'div' | 'pmin' | 'pmax' | 'eq' | 'lt' | 'le', a: Value, b: Value): Value {
    return this.#c.b.binary(`${this.precision.lane}.${op}`, a, b);
  }
  convert(op: UnaryOp, a: Value): Value {
    return this.#c.b.unary(op, a);
  }
  binary(op: BinaryOp, a: Value, b: Value): Value {
    return this.#c.b.binary(op, a, b);
  }
  and(...masks: Value[]): Value {
    return masks.reduce((a, b) => this.#c.b.binary('v128.and', a, b));
  }
  or(...masks: Value[]): Value {
    return masks.reduce((a, b) => this.#c.b.binary('v128.or', a, b));
  }

  isZero(a: Value): Value {
    return this.two('eq', a, this.all(0n));
  }
  /** Neither a denormal nor a NaN. */
  isOrdinary(a: Value): Value {
    return this.or(this.two('le', this.all(this.precision.smallest), this.one('abs', a)), this.isZero(a));
  }
  isFinite(a: Value): Value {
    return this.isBelow(a, this.precision.infinity);
  }
  /** Its magnitude is below that of the pattern. */
  isBelow(a: Value, pattern: bigint): Value {
    return this.two('lt', this.one('abs', a), this.all(pattern));
  }
  /** Its magnitude is above the smallest normal number's: no rounding has brought it there from below. */
  isLarge(a: Value): Value {
    return this.two('lt', this.all(this.precision.smallest), this.one('abs', a));
  }
  /** The products of such numbers are exact. */
  areShort(a: Value, b: Value): Value {
    const { integers, lower } = this.precision;
    return this.binary(`${integers}.eq`, this.and(this.or(a, b), this.all(lower)), this.all(0n));
  }
}

type Rule = (f: Lanes, a: Value, b: Value) => Omit<Shortcut, 'lane'>;

const sum: Rule = (f, a, b) => {
  const value = f.two('add', a, b);
  return {
    value,
    sound: f.and(f.isOrdinary(a), f.isOrdinary(b), f.isOrdinary(value), f.isFinite(value)),
    exact: f.and(f.two('eq', f.two('sub', value, a), b), f.two('eq', f.two('sub', value, b), a)),
  };
};
const difference: Rule = (f, a, b) => {
  const value = f.two('sub', a, b);
  return {
    value,
    sound: f.and(f.isOrdinary(a), f.isOrdinary(b), f.isOrdinary(value), f.isFinite(value)),
    exact: f.and(f.two('eq', f.two('sub', a, value), b), f.two('eq', f.two('add', value, b), a)),
  };
};
const product: Rule = (f, a, b) => {
  const value = f.two('mul', a, b);
  const large = f.or(f.isLarge(value), f.isZero(a), f.isZero(b));
  return {
    value,
    sound: f.and(f.isOrdinary(a), f.isOrdinary(b), f.isFinite(value), large),
    exact: f.areShort(a, b),
  };
};
const quotient: Rule = (f, a, b) => {
  const value = f.two('div', a, b);
  const large = f.or(f.isLarge(value), f.isZero(a));
  return {
    value,
    sound: f.and(f.isOrdinary(a), f.isOrdinary(b), f.isFinite(value), large),
    exact: f.and(f.areShort(value, b), f.two('eq', f.two('mul', value, b), a)),
  };
};
const root: Rule = (f, a) => {
  const value = f.one('sqrt', a);
  // the root of a negative number or a NaN is a NaN
  return {
    value,
    sound: f.and(f.isOrdinary(a), f.isFinite(value)),
    exact: f.and(f.areShort(value, value), f.two('eq', f.two('mul', value, value), a)),
  };
};
const bothOrdinary = (f: Lanes, a: Value, b: Value): Value => f.and(f.isOrdinary(a), f.isOrdinary(b));
/** The second operand where both are equal, as pmin and pmax give their first. */
const selection =
  (op: 'pmin' | 'pmax'): Rule =>
  (f, a, b) => ({ value: f.two(op, b, a), sound: bothOrdinary(f, a, b), exact: null });

/** To an i32 by truncation, or by rounding where the largest magnitude still fits after it. */
const doubleToInteger =
  (truncate: boolean, wide: boolean): Rule =>
  (f, a) => {
    const whole = truncate ? a : f.one('nearest', a);
    const value = f.convert('i32x4.trunc_sat_f64x2_s_zero', whole);
    return {
      value: wide ? f.convert('i64x2.extend_low_i32x4_s', value) : value,
      sound: f.isBelow(a, truncate ? DOUBLE_2_31 : DOUBLE_BELOW_2_31),
      exact: f.two('eq', truncate ? f.convert('f64x2.convert_low_i32x4_s', value) : whole, a),
    };
  };
const singleToInteger =
  (truncate: boolean, wide: boolean): Rule =>
  (f, a) => {
    const whole = truncate ? a : f.one('nearest', a);
    const value = f.convert('i32x4.trunc_sat_f32x4_s', whole);
    return {
      value: wide ? f.convert('i64x2.extend_low_i32x4_s', value) : value,
      sound: f.isBelow(a, SINGLE_2_31),
      exact: f.two('eq', truncate ? f.convert('f32x4.convert_i32x4_s', value) : whole, a),
    };
  };
const widen: Rule = (f, a) => ({ value: f.convert('f64x2.promote_low_f32x4', a), sound: f.isOrdinary(a), exact: null });
const narrow: Rule = (f, a) => {
  const value = f.convert('f32x4.demote_f64x2_zero', a);
  const back = f.convert('f64x2.promote_low_f32x4', value);
  const large = f.two('lt', f.all(SMALLEST_SINGLE), f.one('abs', back));
  return { value, sound: f.and(f.isFinite(back), f.or(large, f.isZero(a))), exact: f.two('eq', back, a) };
};
const doubleOfInteger: Rule = (f, a) => ({
  value: f.convert('f64x2.convert_low_i32x4_s', a),
  sound: null,
  exact: null,
});

/** The rules that take the operation's lanes as they are, by the names of ../../softfloat/sse.ts. */
const RULES: Readonly<Record<string, readonly [Precision, Rule]>> = {
  ADDSS: [SINGLE, sum],
  ADDSD: [DOUBLE, sum],
  SUBSS: [SINGLE, difference],
  SUBSD: [DOUBLE, difference],
  MULSS: [SINGLE, product],
  MULSD: [DOUBLE, product],
  DIVSS: [SINGLE, quotient],
  DIVSD: [DOUBLE, quotient],
  SQRTSS: [SINGLE, root],
  SQRTSD: [DOUBLE, root],
  MINSS: [SINGLE, selection('pmin')],
  MINSD: [DOUBLE, selection('pmin')],
  MAXSS: [SINGLE, selection('pmax')],
  MAXSD: [DOUBLE, selection('pmax')],
  CVTSS2SI32: [SINGLE, singleToInteger(false, false)],
  CVTSS2SI64: [SINGLE, singleToInteger(false, true)],
  CVTTSS2SI32: [SINGLE, singleToInteger(true, false)],
  CVTTSS2SI64: [SINGLE, singleToInteger(true, true)],
  CVTSD2SI32: [DOUBLE, doubleToInteger(false, false)],
  CVTSD2SI64: [DOUBLE, doubleToInteger(false, true)],
  CVTTSD2SI32: [DOUBLE, doubleToInteger(true, false)],
  CVTTSD2SI64: [DOUBLE, doubleToInteger(true, true)],
  CVTSS2SD: [SINGLE, widen],
  CVTSD2SS: [DOUBLE, narrow],
  CVTSI2SD32: [DOUBLE, doubleOfInteger],
};
/** Integers as sources, whose lanes are not those of the format. */
const singleOfInteger = (c: Context, a: Value): Shortcut => {
  const shifted = c.b.binary('i32x4.shr_s', c.b.binary('i32x4.shl', a, c.b.i32(7)), c.b.i32(7));
  return {
    value: c.b.unary('f32x4.convert_i32x4_s', a),
    sound: null,
    exact: c.b.binary('i32x4.eq', shifted, a),
    lane: 'i32x4',
  };
};
/** The high word times 2^32 and the low word are both exact; their sum rounds once. */
const doubleOfLong = (c: Context, a: Value): Shortcut => {
  const f = new Lanes(c, DOUBLE);
  const high = f.convert('f64x2.convert_low_i32x4_s', c.b.binary('i64x2.shr_u', a, c.b.i32(32)));
  const low = f.convert('f64x2.convert_low_i32x4_u', a);
  const { value, exact } = sum(f, f.two('mul', high, f.all(DOUBLE_2_32)), low);
  return { value, sound: null, exact, lane: 'i64x2' };
};

/** What stands for operation `name` of ../../softfloat/sse.ts on the lanes of `a` and `b` (v128); null: nothing. */
export function shortcutOf(c: Context, name: string, a: Value, b: Value): Shortcut | null {
  if (name === 'CVTSI2SS32') return singleOfInteger(c, a);
  if (name === 'CVTSI2SD64') return doubleOfLong(c, a);
  const found = RULES[name];
  if (found === undefined) return null;
  const [precision, rule] = found;
  return { ...rule(new Lanes(c, precision), a, b), lane: precision.integers };
}

/** Masks of "less" and "equal" between lanes of single or double precision, and where they are right. */
export function relationOf(
  c: Context,
  type: 'SS' | 'SD',
  a: Value,
  b: Value,
): { less: Value; equal: Value; sound: Value; lane: Lane } {
  const precision = type === 'SS' ? SINGLE : DOUBLE;
  const f = new Lanes(c, precision);
  const [less, equal] = [f.two('lt', a, b), f.two('eq', a, b)];
  return { less, equal, sound: bothOrdinary(f, a, b), lane: precision.integers };
}

/** MXCSR: RC, the mask of PE, PE. */
const RC = 0x6000;
const PM = 0x1000;
const PE = 0x20;

/** (i32) Whether the shortcut stands under `mxcsr`; null: always. */
export function holds(c: Context, { sound, exact, lane }: Omit<Shortcut, 'value'>, mxcsr: Value): Value | null {
  const everywhere = (mask: Value): Value =>
    c.op('eq', c.b.unary(`${lane}.bitmask` as UnaryOp, mask), lane === 'i32x4' ? 15 : 3);
  if (exact === null) return sound && everywhere(sound);
  const settled = c.op('eq', c.op('and', mxcsr, RC | PM | PE), PM | PE);
  const isExact = c.op('and', c.b.unary('i32.eqz', c.op('and', mxcsr, RC)), everywhere(exact));
  const precise = c.op('or', settled, isExact);
  return sound === null ? precise : c.op('and', everywhere(sound), precise);
}
