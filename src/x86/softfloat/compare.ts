/**
 * Comparisons, minimum and maximum (SDM vol. 2: CMPSS, COMISS, UCOMISS, MINSS, MAXSS, FCOM, FUCOM, FTST).
 */

import { type Control, IE, type Result } from './control.ts';
import { type Format, isNaNValue, type Unpacked, unpack } from './format.ts';
import { denormalFlag } from './nan.ts';

export const UNORDERED = 0;
export const LESS = 1;
export const EQUAL = 2;
export const GREATER = 3;
/** How the first operand relates to the second. */
export type Relation = typeof UNORDERED | typeof LESS | typeof EQUAL | typeof GREATER;

/** A relation with the exceptions that finding it raised. */
export interface Comparison {
  readonly relation: Relation;
  readonly flags: number;
}

/** Compares `a` with `b`; a quiet NaN is invalid only when `signalling`. */
export function compare(
  format: Format,
  a: bigint,
  b: bigint,
  control: Control,
  signalling: boolean,
  source: Format = format,
): Comparison {
  return compareUnpacked(unpack(format, a, control), unpack(source, b, control), signalling);
}

function compareUnpacked(x: Unpacked, y: Unpacked, signalling: boolean): Comparison {
  if (x.kind === 'unsupported' || y.kind === 'unsupported') return { relation: UNORDERED, flags: IE };
  if (isNaNValue(x) || isNaNValue(y)) {
    const loud = signalling || x.kind === 'signalling' || y.kind === 'signalling';
    return { relation: UNORDERED, flags: loud ? IE : 0 };
  }
  return { relation: relationOf(x, y), flags: denormalFlag(x, y) };
}

function relationOf(x: Unpacked, y: Unpacked): Relation {
  if (x.kind === 'zero' && y.kind === 'zero') return EQUAL;
  if (x.kind === 'zero') return y.sign === 1 ? GREATER : LESS;
  if (y.kind === 'zero' || x.sign !== y.sign) return x.sign === 1 ? LESS : GREATER;
  const order = magnitudeOrder(x, y) * (x.sign === 1 ? -1 : 1);
  return order < 0 ? LESS : order > 0 ? GREATER : EQUAL;
}

function magnitudeOrder(x: Unpacked, y: Unpacked): number {
  if (x.kind === 'infinity' || y.kind === 'infinity')
    return (x.kind === 'infinity' ? 1 : 0) - (y.kind === 'infinity' ? 1 : 0);
  const distance = x.exponent - y.exponent;
  if (Math.abs(distance) > 128) return distance;
  const left = distance > 0 ? x.significand << BigInt(distance) : x.significand;
  const right = distance < 0 ? y.significand << BigInt(-distance) : y.significand;
  return left < right ? -1 : left > right ? 1 : 0;
}

/** The predicates of CMPPS by their immediate, in the manual's names. */
export const PREDICATES = ['EQ', 'LT', 'LE', 'UNORD', 'NEQ', 'NLT', 'NLE', 'ORD'] as const;

const HOLDS: ReadonlyArray<(r: Relation) => boolean> = [
  (r) => r === EQUAL,
  (r) => r === LESS,
  (r) => r === LESS || r === EQUAL,
  (r) => r === UNORDERED,
  (r) => r !== EQUAL,
  (r) => r !== LESS,
  (r) => r !== LESS && r !== EQUAL,
  (r) => r !== UNORDERED,
];

/** True for the predicates that raise IE for a quiet NaN: LT, LE, NLT and NLE. */
const isSignallingPredicate = (predicate: number): boolean => (predicate & 3) === 1 || (predicate & 3) === 2;

/** All ones when `predicate` (0..7) holds between `a` and `b`, else zero. */
export function compareMask(format: Format, predicate: number, a: bigint, b: bigint, control: Control): Result {
  const { relation, flags } = compare(format, a, b, control, isSignallingPredicate(predicate));
  return { value: maskOf(format, predicate, relation), flags };
}

/** The mask that CMPPS stores for `relation` under `predicate`. */
export const maskOf = (format: Format, predicate: number, relation: Relation): bigint =>
  HOLDS[predicate]!(relation) ? (1n << BigInt(format.width)) - 1n : 0n;

/** `a < b ? a : b`; with a NaN or two zeros the second operand, unchanged. */
export function min(format: Format, a: bigint, b: bigint, control: Control): Result {
  return select(format, a, b, control, LESS);
}

/** `a > b ? a : b`; with a NaN or two zeros the second operand, unchanged. */
export function max(format: Format, a: bigint, b: bigint, control: Control): Result {
  return select(format, a, b, control, GREATER);
}

function select(format: Format, a: bigint, b: bigint, control: Control, wanted: Relation): Result {
  const x = unpack(format, a, control);
  const y = unpack(format, b, control);
  const { relation, flags } = compareUnpacked(x, y, true);
  const [bits, taken] = relation === wanted ? [a, x] : [b, y];
  const signBit = 1n << format.signShift;
  return { value: taken.kind === 'zero' ? bits & signBit : bits, flags };
}
