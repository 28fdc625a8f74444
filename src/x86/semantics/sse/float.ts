/** SSE and SSE2 floating point: arithmetic, comparisons and conversions through the helpers of ../../softfloat/helpers.ts. */
import type { Value } from '../../../ir/program.ts';
import { GREATER } from '../../softfloat/compare.ts';
import { SSE_OPS, sseOp } from '../../softfloat/sse.ts';
import { VECTOR } from '../../state.ts';
import { type Context, type Semantics, type SemanticsTable, slotOf } from '../context.ts';
import { setComparison } from '../flags.ts';
import { guardBoth, guardSse, writeMmx } from './gate.ts';
import { holds, relationOf, shortcutOf } from './shortcuts.ts';
import { lowHalf, readVector, splat, zeroExtended } from './vectors.ts';

export const MXCSR = slotOf('mxcsr');
/** The masks of the exceptions start at this bit of MXCSR. */
export const MASKS_SHIFT = 7;
const EXCEPTIONS = 0x3f;
const CR4_OSXMMEXCPT = 1 << 10;

/**
 * Accumulates `flags` (i32) in MXCSR and raises #XM, or #UD without CR4.OSXMMEXCPT, when one of them is unmasked; what is
 * written before stays, what is written later does not happen then.
 */
export function raise(c: Context, flags: Value): void {
  const mxcsr = c.b.get32(MXCSR);
  c.b.set(MXCSR, 4, c.op('or', mxcsr, flags));
  const masked = c.op('and', c.op('shr_u', mxcsr, MASKS_SHIFT), EXCEPTIONS);
  const unmasked = c.op('and', flags, c.not(masked));
  const handled = c.op('and', c.b.get32(slotOf('cr4')), CR4_OSXMMEXCPT);
  c.b.raiseAfterIf(c.b.select(handled, unmasked, c.b.i32(0)), VECTOR.xm);
  c.b.raiseAfterIf(unmasked, VECTOR.ud);
}

/** The number (i32) of the operation `name` of ../../softfloat/sse.ts. */
export const number = (c: Context, name: string): Value => c.b.i32(sseOp(name));

/** An operation on i64 patterns as the helpers take it. */
interface ScalarCall {
  /** Its number (i32). */
  readonly op: Value;
  readonly a: Value;
  readonly b: Value;
}
/** The value of `call` where `when` is not zero; null: always. */
interface KnownResult {
  readonly when: Value | null;
  readonly value: Value;
}
/** The result of a scalar operation (i64); its exceptions are raised. */
function called(c: Context, { op, a, b }: ScalarCall, shortcut: KnownResult | null, mxcsr: Value): Value {
  const args = [op, a, b, mxcsr];
  if (shortcut === null) {
    const value = c.b.call('sseValue', 'i64', ...args);
    raise(c, c.b.call('sseFlags', 'i32', ...args));
    return value;
  }
  if (shortcut.when === null) return shortcut.value;
  const value = c.b.callUnless(shortcut.when, shortcut.value, 'sseValue', ...args);
  raise(c, c.b.callUnless(shortcut.when, c.b.i32(0), 'sseFlags', ...args));
  return value;
}

/** The lowest lane as an i64 pattern, and a pattern in every lane. */
const lowest = (c: Context, bits: 32 | 64, vector: Value): Value =>
  bits === 64 ? lowHalf(c, vector) : c.widen(c.b.extract('i32x4', 0, vector));
const spread = (c: Context, bits: 32 | 64, pattern: Value): Value => splat(c, bits === 64 ? 8 : 4, pattern);

/** The result of scalar operation `name` on i64 patterns; its exceptions are raised. */
function scalar(c: Context, name: string, a: Value, b: Value = c.b.i64(0)): Value {
  const mxcsr = c.b.get32(MXCSR);
  const { from, to, operands } = SSE_OPS[sseOp(name)]!;
  const first = spread(c, from, a);
  const shortcut = shortcutOf(c, name, first, operands === 1 ? first : spread(c, from, b));
  const known = shortcut && { when: holds(c, shortcut, mxcsr), value: lowest(c, to, shortcut.value) };
  return called(c, { op: number(c, name), a, b }, known, mxcsr);
}
/** A result (v128) and the exceptions (i32) to be raised for it. */
interface Computed {
  readonly value: Value;
  readonly flags: Value;
}
/** Operation `name` on every lane. */
export function compute(c: Context, name: string, a: Value, b: Value, mxcsr: Value = c.b.get32(MXCSR)): Computed {
  const args = [number(c, name), a, b, mxcsr];
  const shortcut = shortcutOf(c, name, a, b);
  return computed(c, args, shortcut && { when: holds(c, shortcut, mxcsr), value: shortcut.value });
}
function computed(c: Context, args: Value[], shortcut: KnownResult | null): Computed {
  if (shortcut === null) {
    const value = c.b.call('ssePackedValue', 'v128', ...args);
    return { value, flags: c.b.call('ssePackedFlags', 'i32', ...args) };
  }
  const { when, value } = shortcut;
  const none = c.b.i32(0);
  if (when === null) return { value, flags: none };
  return {
    value: c.b.callUnless(when, value, 'ssePackedValue', ...args),
    flags: c.b.callUnless(when, none, 'ssePackedFlags', ...args),
  };
}
/** The result of operation `name` on every lane; its exceptions are raised. */
export function packed(c: Context, name: string, a: Value, b: Value = c.b.const('v128', 0)): Value {
  const { value, flags } = compute(c, name, a, b);
  raise(c, flags);
  return value;
}

/** The suffixes of the operations on single and double precision. */
type Precision = 'SS' | 'SD';
const bitsOf = (type: Precision): 32 | 64 => (type === 'SS' ? 32 : 64);

/** Two-operand arithmetic in its four shapes. */
function arithmetic(name: string): SemanticsTable {
  const upper = name.toUpperCase();
  const one = (type: string): Semantics => {
    return (c) => c.write(0, scalar(c, upper + type, c.read(0), c.read(1)));
  };
  const all = (type: string): Semantics => {
    return (c) => c.write(0, packed(c, upper + type, readVector(c, 0), readVector(c, 1)));
  };
  return { [`${name}ss`]: one('SS'), [`${name}sd`]: one('SD'), [`${name}ps`]: all('SS'), [`${name}pd`]: all('SD') };
}
const root = (type: string): SemanticsTable => ({
  [`sqrts${type}`]: (c) => c.write(0, scalar(c, `SQRTS${type.toUpperCase()}`, c.read(1))),
  [`sqrtp${type}`]: (c) => c.write(0, packed(c, `SQRTS${type.toUpperCase()}`, readVector(c, 1))),
});

/** RCPSS, RSQRTSS and the packed ones raise nothing. */
function approximation(name: string): SemanticsTable {
  const upper = `${name.toUpperCase()}SS`;
  return {
    [`${name}ss`]: (c) =>
      c.write(0, c.b.call('sseValue', 'i64', number(c, upper), c.read(1), c.b.i64(0), c.b.get32(MXCSR))),
    [`${name}ps`](c) {
      const none = c.b.const('v128', 0);
      c.write(0, c.b.call('ssePackedValue', 'v128', number(c, upper), readVector(c, 1), none, c.b.get32(MXCSR)));
    },
  };
}

/** The number of the comparison whose predicate is the low three bits of the immediate. */
const predicate = (c: Context, type: Precision): Value =>
  c.op('add', c.op('and', c.low(c.read(2)), 7), sseOp(`CMPEQ${type}`));
/**
 * The mask of the comparison by its predicate: LT and LE ask for "less", EQ and LE for "equal", bit 2 inverts; UNORD is never
 * true where this holds.
 */
function compared(c: Context, type: Precision, a: Value, b: Value): KnownResult {
  const relation = relationOf(c, type, a, b);
  const imm = c.low(c.read(2));
  const where = (bit: Value): Value => c.b.unary('i32x4.splat', c.negate(bit));
  const less = c.b.binary('v128.and', relation.less, where(c.op('xor', c.bit(imm, 0), c.bit(imm, 1))));
  const equal = c.b.binary('v128.and', relation.equal, where(c.op('xor', c.bit(imm, 0), 1)));
  const holding = c.b.binary('v128.xor', c.b.binary('v128.or', less, equal), where(c.bit(imm, 2)));
  return { when: holds(c, { ...relation, exact: null }, c.b.get32(MXCSR)), value: holding };
}
const compareScalar =
  (type: Precision): Semantics =>
  (c) => {
    const [a, b] = [c.read(0), c.read(1)];
    const bits = bitsOf(type);
    const { when, value } = compared(c, type, spread(c, bits, a), spread(c, bits, b));
    const shortcut = { when, value: lowest(c, bits, value) };
    c.write(0, called(c, { op: predicate(c, type), a, b }, shortcut, c.b.get32(MXCSR)));
  };
const comparePacked =
  (type: Precision): Semantics =>
  (c) => {
    const [a, b] = [readVector(c, 0), readVector(c, 1)];
    const { value, flags } = computed(c, [predicate(c, type), a, b, c.b.get32(MXCSR)], compared(c, type, a, b));
    raise(c, flags);
    c.write(0, value);
  };
const COMPARE: SemanticsTable = {
  cmpss: compareScalar('SS'),
  cmpsd: compareScalar('SD'),
  cmpps: comparePacked('SS'),
  cmppd: comparePacked('SD'),
};
/** A relation of ../../softfloat/compare.ts as EFLAGS; in the shortcut LESS, EQUAL or GREATER by subtraction. */
const ordering = (name: string, type: Precision): Semantics => {
  return (c) => {
    const [a, b] = [c.read(0), c.read(1)];
    const bits = bitsOf(type);
    const relation = relationOf(c, type, spread(c, bits, a), spread(c, bits, b));
    const bit = (mask: Value): Value => c.op('and', lowHalf(c, mask), 1);
    const below = c.op('add', c.op('shl', bit(relation.less), 1), bit(relation.equal));
    const mxcsr = c.b.get32(MXCSR);
    const shortcut = {
      when: holds(c, { ...relation, exact: null }, mxcsr),
      value: c.op('sub', c.b.i64(GREATER), below),
    };
    setComparison(c, c.low(called(c, { op: number(c, name + type), a, b }, shortcut, mxcsr)));
  };
};

/** Scalar conversions; the integer width of the general register is part of the operation. */
const toInteger = (name: string): Semantics => {
  return (c) => c.write(0, scalar(c, name + c.operand(0).width * 8, c.read(1)));
};
const fromInteger = (name: string): Semantics => {
  return (c) => c.write(0, scalar(c, name + c.operand(1).width * 8, c.read(1)));
};
const between = (name: string): Semantics => {
  return (c) => c.write(0, scalar(c, name, c.read(1)));
};
/** A source of 8 bytes, the other lanes zero so that they raise nothing. */
function half(c: Context, i: number): Value {
  const value = c.read(i);
  return zeroExtended(c, value.type === 'v128' ? lowHalf(c, value) : value);
}
const lanes = (name: string): Semantics => {
  return (c) => c.write(0, packed(c, name, readVector(c, 1)));
};
const widened = (name: string): Semantics => {
  return (c) => c.write(0, packed(c, name, half(c, 1)));
};
const CONVERT: SemanticsTable = {
  cvtsi2ss: fromInteger('CVTSI2SS'),
  cvtsi2sd: fromInteger('CVTSI2SD'),
  cvtss2si: toInteger('CVTSS2SI'),
  cvtsd2si: toInteger('CVTSD2SI'),
  cvttss2si: toInteger('CVTTSS2SI'),
  cvttsd2si: toInteger('CVTTSD2SI'),
  cvtss2sd: between('CVTSS2SD'),
  cvtsd2ss: between('CVTSD2SS'),
  cvtps2pd: widened('CVTSS2SD'),
  cvtdq2pd: widened('CVTSI2SD32'),
  cvtpd2ps: lanes('CVTSD2SS'),
  cvtdq2ps: lanes('CVTSI2SS32'),
  cvtps2dq: lanes('CVTSS2SI32'),
  cvttps2dq: lanes('CVTTSS2SI32'),
  cvtpd2dq: lanes('CVTSD2SI32'),
  cvttpd2dq: lanes('CVTTSD2SI32'),
};

/** Conversions between XMM and MMX registers. */
const toMmx = (name: string): Semantics => {
  return (c) => {
    const source = c.operand(1).width === 16 ? readVector(c, 1) : half(c, 1);
    const result = packed(c, name, source);
    writeMmx(c, 0, lowHalf(c, result));
  };
};
const CONVERT_MMX: SemanticsTable = {
  cvtpi2ps: (c) => c.write(0, lowHalf(c, packed(c, 'CVTSI2SS32', half(c, 1)))),
  cvtpi2pd: widened('CVTSI2SD32'),
  cvtps2pi: toMmx('CVTSS2SI32'),
  cvtpd2pi: toMmx('CVTSD2SI32'),
  cvttps2pi: toMmx('CVTTSS2SI32'),
  cvttpd2pi: toMmx('CVTTSD2SI32'),
};

/** Bits of MXCSR that are reserved: all above 15. */
const RESERVED = 0xffff_0000;
function ldmxcsr(c: Context): void {
  const value = c.read(0);
  c.b.raiseIf(c.op('and', c.low(value), RESERVED), VECTOR.gp);
  c.b.set(MXCSR, 4, value);
}

export const SSE_FLOAT: SemanticsTable = {
  ...guardSse({
    ...arithmetic('add'),
    ...arithmetic('sub'),
    ...arithmetic('mul'),
    ...arithmetic('div'),
    ...arithmetic('min'),
    ...arithmetic('max'),
    ...root('s'),
    ...root('d'),
    ...approximation('rcp'),
    ...approximation('rsqrt'),
    ...COMPARE,
    comiss: ordering('COMI', 'SS'),
    comisd: ordering('COMI', 'SD'),
    ucomiss: ordering('UCOMI', 'SS'),
    ucomisd: ordering('UCOMI', 'SD'),
    ...CONVERT,
    ldmxcsr,
    stmxcsr: (c) => c.write(0, c.b.get(MXCSR, 4)),
  }),
  ...guardBoth(CONVERT_MMX),
};
