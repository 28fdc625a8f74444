/**
 * The scalar operations of SSE and SSE2 in one table with stable numbers, for callers that know an operation only by
 * its number (generated code). Each takes operand patterns in the low bits of a 64-bit value and MXCSR.
 *
 * Operands are in the instruction's order: `a` is the destination (first source), `b` the second source; operations
 * with one operand take it as `a`. Comparisons give all ones or zero; COMI and UCOMI give a {@link Relation}; integers
 * are zero-extended patterns. Faulting, and keeping the destination then, is the caller's part.
 */

import { assert } from '../../core/assert.ts';
import { reciprocal, reciprocalSqrt } from './approximate.ts';
import * as exact from './arithmetic.ts';
import { compare, compareMask, EQUAL, GREATER, LESS, maskOf, max, min, PREDICATES, type Relation } from './compare.ts';
import { type Control, NEAREST, PE, type Result } from './control.ts';
import { convert, fromInteger, roundToIntegral, toInteger, truncateToInteger } from './convert.ts';
import * as fast from './fast.ts';
import { F32, F64, type Format } from './format.ts';

/** An operation on patterns. */
interface SseOp {
  /** The manual's mnemonic of the scalar instruction (with its integer width where it has two). */
  readonly name: string;
  /** Bits of an element of the source and of the result. */
  readonly from: 32 | 64;
  readonly to: 32 | 64;
  readonly operands: 1 | 2;
  run(a: bigint, b: bigint, control: Control): Result;
}

type Binary = (format: Format, a: bigint, b: bigint, control: Control) => Result;
type Unary = (format: Format, a: bigint, control: Control) => Result;

/** How host numbers stand for the patterns of one format. */
interface Host {
  readonly format: Format;
  readonly suffix: 'SS' | 'SD';
  readonly width: 32 | 64;
  of(bits: bigint): number;
  bits(value: number): bigint;
  ordinary(x: number): boolean;
}
const SINGLE: Host = {
  format: F32,
  suffix: 'SS',
  width: 32,
  of: fast.singleOf,
  bits: fast.singleBits,
  ordinary: fast.ordinarySingle,
};
const DOUBLE: Host = {
  format: F64,
  suffix: 'SD',
  width: 64,
  of: fast.doubleOf,
  bits: fast.doubleBits,
  ordinary: fast.ordinaryDouble,
};

/** Host arithmetic always rounds to nearest; DAZ and FTZ do not matter, since only ordinary numbers are decided. */
const mayShortcut = (control: Control): boolean => control.rounding === NEAREST;

function arithmetic(name: string, host: Host, quick: (x: number, y: number) => fast.Fast, slow: Binary): SseOp {
  return {
    name: name + host.suffix,
    from: host.width,
    to: host.width,
    operands: 2,
    run(a, b, control) {
      if (mayShortcut(control)) {
        const r = quick(host.of(a), host.of(b));
        if (!Number.isNaN(r.value)) return { value: host.bits(r.value), flags: r.flags };
      }
      return slow(host.format, a, b, control);
    },
  };
}

function root(host: Host, quick: (x: number) => fast.Fast): SseOp {
  return {
    name: `SQRT${host.suffix}`,
    from: host.width,
    to: host.width,
    operands: 1,
    run(a, _, control) {
      if (mayShortcut(control)) {
        const r = quick(host.of(a));
        if (!Number.isNaN(r.value)) return { value: host.bits(r.value), flags: r.flags };
      }
      return exact.sqrt(host.format, a, control);
    },
  };
}

function selection(name: string, host: Host, slow: Binary): SseOp {
  const smaller = slow === min;
  return {
    name: name + host.suffix,
    from: host.width,
    to: host.width,
    operands: 2,
    run(a, b, control) {
      const x = host.of(a);
      const y = host.of(b);
      if (host.ordinary(x) && host.ordinary(y)) return { value: (smaller ? x < y : x > y) ? a : b, flags: 0 };
      return slow(host.format, a, b, control);
    },
  };
}

const hostRelation = (x: number, y: number): Relation => (x < y ? LESS : x > y ? GREATER : EQUAL);

function predicate(number: number, host: Host): SseOp {
  return {
    name: `CMP${PREDICATES[number]}${host.suffix}`,
    from: host.width,
    to: host.width,
    operands: 2,
    run(a, b, control) {
      const x = host.of(a);
      const y = host.of(b);
      if (host.ordinary(x) && host.ordinary(y))
        return { value: maskOf(host.format, number, hostRelation(x, y)), flags: 0 };
      return compareMask(host.format, number, a, b, control);
    },
  };
}

function ordering(name: string, host: Host, signalling: boolean): SseOp {
  return {
    name: name + host.suffix,
    from: host.width,
    to: host.width,
    operands: 2,
    run(a, b, control) {
      const x = host.of(a);
      const y = host.of(b);
      if (host.ordinary(x) && host.ordinary(y)) return { value: BigInt(hostRelation(x, y)), flags: 0 };
      const { relation, flags } = compare(host.format, a, b, control, signalling);
      return { value: BigInt(relation), flags };
    },
  };
}

function toWhole(host: Host, width: 32 | 64, truncate: boolean): SseOp {
  const slow = truncate ? truncateToInteger : toInteger;
  return {
    name: `CVT${truncate ? 'T' : ''}${host.suffix}2SI${width}`,
    from: host.width,
    to: width,
    operands: 1,
    run(a, _, control) {
      const x = host.of(a);
      if (truncate && Math.abs(x) < 2 ** 31 && host.ordinary(x)) {
        const whole = Math.trunc(x);
        return { value: BigInt.asUintN(width, BigInt(whole)), flags: whole === x ? 0 : PE };
      }
      return slow(host.format, a, width, control);
    },
  };
}

function fromWhole(host: Host, width: 32 | 64): SseOp {
  return {
    name: `CVTSI2${host.suffix}${width}`,
    from: width,
    to: host.width,
    operands: 1,
    run(a, _, control) {
      if (width === 32 && host.width === 64) return { value: host.bits(Number(BigInt.asIntN(32, a))), flags: 0 };
      return fromInteger(host.format, a, width, control);
    },
  };
}

function unary(name: string, from: 32 | 64, to: 32 | 64, format: Format, slow: Unary): SseOp {
  return { name, from, to, operands: 1, run: (a, _, control) => slow(format, a, control) };
}

const narrow: Unary = (format, a, control) => convert(format, F32, a, control);
const widen: Unary = (format, a, control) => convert(format, F64, a, control);

/** Every operation; the index is its number. Appending is the only change that keeps recordings valid. */
export const SSE_OPS: readonly SseOp[] = [
  arithmetic('ADD', SINGLE, fast.addSingle, exact.add),
  arithmetic('ADD', DOUBLE, fast.addDouble, exact.add),
  arithmetic('SUB', SINGLE, (x, y) => fast.addSingle(x, -y), exact.sub),
  arithmetic('SUB', DOUBLE, (x, y) => fast.addDouble(x, -y), exact.sub),
  arithmetic('MUL', SINGLE, fast.mulSingle, exact.mul),
  arithmetic('MUL', DOUBLE, fast.mulDouble, exact.mul),
  arithmetic('DIV', SINGLE, fast.divSingle, exact.div),
  arithmetic('DIV', DOUBLE, fast.divDouble, exact.div),
  selection('MIN', SINGLE, min),
  selection('MIN', DOUBLE, min),
  selection('MAX', SINGLE, max),
  selection('MAX', DOUBLE, max),
  root(SINGLE, fast.sqrtSingle),
  root(DOUBLE, fast.sqrtDouble),
  ...PREDICATES.map((_, number) => predicate(number, SINGLE)),
  ...PREDICATES.map((_, number) => predicate(number, DOUBLE)),
  ordering('COMI', SINGLE, true),
  ordering('COMI', DOUBLE, true),
  ordering('UCOMI', SINGLE, false),
  ordering('UCOMI', DOUBLE, false),
  unary('CVTSS2SD', 32, 64, F32, widen),
  unary('CVTSD2SS', 64, 32, F64, narrow),
  toWhole(SINGLE, 32, false),
  toWhole(SINGLE, 64, false),
  toWhole(DOUBLE, 32, false),
  toWhole(DOUBLE, 64, false),
  toWhole(SINGLE, 32, true),
  toWhole(SINGLE, 64, true),
  toWhole(DOUBLE, 32, true),
  toWhole(DOUBLE, 64, true),
  fromWhole(SINGLE, 32),
  fromWhole(SINGLE, 64),
  fromWhole(DOUBLE, 32),
  fromWhole(DOUBLE, 64),
  unary('RCPSS', 32, 32, F32, (_, a) => ({ value: reciprocal(a), flags: 0 })),
  unary('RSQRTSS', 32, 32, F32, (_, a) => ({ value: reciprocalSqrt(a), flags: 0 })),
  unary('ROUNDSS', 32, 32, F32, roundToIntegral),
  unary('ROUNDSD', 64, 64, F64, roundToIntegral),
];

const NUMBERS = new Map(SSE_OPS.map((op, number) => [op.name, number]));

/** The number of the operation named `name` in {@link SSE_OPS}. */
export function sseOp(name: string): number {
  const number = NUMBERS.get(name);
  assert(number !== undefined, `no SSE operation ${name}`);
  return number;
}
