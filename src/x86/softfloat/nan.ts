/**
 * NaN operands: which one becomes the result (SDM vol. 1, table 4-7) and when the operation is invalid.
 */

import { type Control, DE, IE, type Result } from './control.ts';
import { type Format, isNaNValue, quietNaN, type Unpacked } from './format.ts';

/** The masked response to an invalid operation. */
export const invalid = (format: Format): Result => ({ value: format.indefinite, flags: IE });

/** DE when one of the operands is a denormal. */
export const denormalFlag = (x: Unpacked, y: Unpacked = x): number => (x.denormal || y.denormal ? DE : 0);

/** The result of an operation with a NaN or an unsupported operand; undefined when there is none. */
export function nanResult(format: Format, x: Unpacked, y: Unpacked, control: Control): Result | undefined {
  if (x.kind === 'unsupported' || y.kind === 'unsupported') return invalid(format);
  if (!isNaNValue(x) && !isNaNValue(y)) return undefined;
  const flags = x.kind === 'signalling' || y.kind === 'signalling' ? IE : 0;
  return { value: quietNaN(format, chosen(x, y, control)), flags };
}

function chosen(x: Unpacked, y: Unpacked, control: Control): Unpacked {
  if (!isNaNValue(y)) return x;
  if (!isNaNValue(x)) return y;
  if (!control.x87) return x;
  if (x.kind !== y.kind) return x.kind === 'quiet' ? x : y;
  if (x.significand !== y.significand) return x.significand > y.significand ? x : y;
  return x.sign === 0 ? x : y;
}
