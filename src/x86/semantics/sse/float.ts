/** SSE and SSE2 floating point: arithmetic, comparisons and conversions through the helpers of ../../softfloat/helpers.ts. */
import type { Value } from '../../../ir/program.ts';
import { sseOp } from '../../softfloat/sse.ts';
import { VECTOR } from '../../state.ts';
import { type Context, type Semantics, type SemanticsTable, slotOf } from '../context.ts';
import { setComparison } from '../flags.ts';
import { guardBoth, guardSse, writeMmx } from './gate.ts';
import { lowHalf, readVector, zeroExtended } from './vectors.ts';

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

/** The result of scalar operation `op` on i64 patterns; its exceptions are raised. */
function scalar(c: Context, op: Value, a: Value, b: Value = c.b.i64(0)): Value {
  const mxcsr = c.b.get32(MXCSR);
  const value = c.b.call('sseValue', 'i64', op, a, b, mxcsr);
  raise(c, c.b.call('sseFlags', 'i32', op, a, b, mxcsr));
  return value;
}
/** A result (v128) and the exceptions (i32) to be raised for it. */
export interface Computed {
  readonly value: Value;
  readonly flags: Value;
}
/** `op` on every lane. */
export function compute(c: Context, op: Value, a: Value, b: Value, mxcsr: Value = c.b.get32(MXCSR)): Computed {
  const args = [op, a, b, mxcsr];
  const value = c.b.call('ssePackedValue', 'v128', ...args);
  return { value, flags: c.b.call('ssePackedFlags', 'i32', ...args) };
}
/** The result of `op` on every lane; its exceptions are raised. */
export function packed(c: Context, op: Value, a: Value, b: Value = c.b.const('v128', 0)): Value {
  const { value, flags } = compute(c, op, a, b);
  raise(c, flags);
  return value;
}
/** The number (i32) of the operation `name` of ../../softfloat/sse.ts. */
export const number = (c: Context, name: string): Value => c.b.i32(sseOp(name));

/** Two-operand arithmetic in its four shapes. */
function arithmetic(name: string): SemanticsTable {
  const upper = name.toUpperCase();
  const one = (type: string): Semantics => {
    return (c) => c.write(0, scalar(c, number(c, upper + type), c.read(0), c.read(1)));
  };
  const all = (type: string): Semantics => {
    return (c) => c.write(0, packed(c, number(c, upper + type), readVector(c, 0), readVector(c, 1)));
  };
  return { [`${name}ss`]: one('SS'), [`${name}sd`]: one('SD'), [`${name}ps`]: all('SS'), [`${name}pd`]: all('SD') };
}
const root = (type: string): SemanticsTable => ({
  [`sqrts${type}`]: (c) => c.write(0, scalar(c, number(c, `SQRTS${type.toUpperCase()}`), c.read(1))),
  [`sqrtp${type}`]: (c) => c.write(0, packed(c, number(c, `SQRTS${type.toUpperCase()}`), readVector(c, 1))),
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

/** The comparison whose predicate is the low three bits of the immediate. */
const predicate = (c: Context, type: 'SS' | 'SD'): Value =>
  c.op('add', c.op('and', c.low(c.read(2)), 7), sseOp(`CMPEQ${type}`));
const COMPARE: SemanticsTable = {
  cmpss: (c) => c.write(0, scalar(c, predicate(c, 'SS'), c.read(0), c.read(1))),
  cmpsd: (c) => c.write(0, scalar(c, predicate(c, 'SD'), c.read(0), c.read(1))),
  cmpps: (c) => c.write(0, packed(c, predicate(c, 'SS'), readVector(c, 0), readVector(c, 1))),
  cmppd: (c) => c.write(0, packed(c, predicate(c, 'SD'), readVector(c, 0), readVector(c, 1))),
};
const ordering = (name: string): Semantics => {
  return (c) => setComparison(c, c.low(scalar(c, number(c, name), c.read(0), c.read(1))));
};

/** Scalar conversions; the integer width of the general register is part of the operation. */
const toInteger = (name: string): Semantics => {
  return (c) => c.write(0, scalar(c, number(c, name + c.operand(0).width * 8), c.read(1)));
};
const fromInteger = (name: string): Semantics => {
  return (c) => c.write(0, scalar(c, number(c, name + c.operand(1).width * 8), c.read(1)));
};
const between = (name: string): Semantics => {
  return (c) => c.write(0, scalar(c, number(c, name), c.read(1)));
};
/** A source of 8 bytes, the other lanes zero so that they raise nothing. */
function half(c: Context, i: number): Value {
  const value = c.read(i);
  return zeroExtended(c, value.type === 'v128' ? lowHalf(c, value) : value);
}
const lanes = (name: string): Semantics => {
  return (c) => c.write(0, packed(c, number(c, name), readVector(c, 1)));
};
const widened = (name: string): Semantics => {
  return (c) => c.write(0, packed(c, number(c, name), half(c, 1)));
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
    const result = packed(c, number(c, name), source);
    writeMmx(c, 0, lowHalf(c, result));
  };
};
const CONVERT_MMX: SemanticsTable = {
  cvtpi2ps: (c) => c.write(0, lowHalf(c, packed(c, number(c, 'CVTSI2SS32'), half(c, 1)))),
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
    comiss: ordering('COMISS'),
    comisd: ordering('COMISD'),
    ucomiss: ordering('UCOMISS'),
    ucomisd: ordering('UCOMISD'),
    ...CONVERT,
    ldmxcsr,
    stmxcsr: (c) => c.write(0, c.b.get(MXCSR, 4)),
  }),
  ...guardBoth(CONVERT_MMX),
};
