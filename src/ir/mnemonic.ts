/** What the name of an operation says of it, taken apart once a name. */
import type { BinaryOp, Type, UnaryOp } from './program.ts';

/** The parts of a mnemonic like `i64.lt_u` or `i8x16.add`. */
export interface Mnemonic {
  /** Dense numbers from 1 in the order of first use; never stored. */
  readonly number: number;
  /** What stands behind the point. */
  readonly suffix: string;
  readonly result: Type;
  /** It works on scalars only (its shape is i32 or i64). */
  readonly scalar: boolean;
  /** Its result is a truth. */
  readonly compares: boolean;
}

const COMPARISON = /^(eqz|eq|ne|[lg][te]_[us])$/;
const I32_RESULT = /^(wrap_i64|any_true|bitmask)$/;
const known = new Map<string, Mnemonic>();

function takeApart(name: string): Mnemonic {
  const [shape, suffix] = name.split('.') as [string, string];
  const scalar = shape === 'i32' || shape === 'i64';
  const compares = COMPARISON.test(suffix);
  const narrow = (scalar && compares) || I32_RESULT.test(suffix);
  return { number: known.size + 1, suffix, result: narrow ? 'i32' : scalar ? shape : 'v128', scalar, compares };
}

/** The parts of a mnemonic. */
export function mnemonic(name: string): Mnemonic {
  let found = known.get(name);
  if (found === undefined) {
    found = takeApart(name);
    known.set(name, found);
  }
  return found;
}

/** The result type of a numeric operation. */
export const resultType = (name: UnaryOp | BinaryOp): Type => mnemonic(name).result;
