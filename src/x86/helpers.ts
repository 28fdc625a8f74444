/**
 * The pure helpers that programs call by name: algorithms too long for straight-line micro-ops. A helper sees only its
 * arguments, always ends, and gives some value for every argument, also where the program has raised a fault before.
 */
import type { Type } from '../ir/program.ts';
import { compareStrings, stringLength } from './compare-strings.ts';
import { crc32c } from './crc32c.ts';
import { SSE_HELPERS } from './softfloat/helpers.ts';

/** One helper. Arguments and results are unsigned, reduced to their types. */
export interface Helper {
  readonly params: readonly Type[];
  readonly result: Type;
  evaluate(...args: bigint[]): bigint;
}

const MASK_64 = (1n << 64n) - 1n;

export const HELPERS: Readonly<Record<string, Helper>> = {
  ...SSE_HELPERS,
  /** Low 64 bits of the quotient of (high:low) / divisor, all unsigned; 0 for a divisor of 0. */
  divide128: {
    params: ['i64', 'i64', 'i64'],
    result: 'i64',
    evaluate: (high, low, divisor) => {
      if (divisor === 0n) return 0n;
      // nearly always: nothing wider than the operands comes up
      return high === 0n ? low / divisor : (((high << 64n) | low) / divisor) & MASK_64;
    },
  },
  /** (crc, data, bytes): the CRC-32C after the low `bytes` bytes of `data`. */
  crc32c: {
    params: ['i32', 'i64', 'i32'],
    result: 'i32',
    evaluate: (crc, data, bytes) => BigInt(crc32c(Number(crc), data, Number(bytes))),
  },
  /** (vector, imm): its elements before the first zero. */
  stringLength: {
    params: ['v128', 'i32'],
    result: 'i32',
    evaluate: (vector, imm) => BigInt(stringLength(vector, Number(imm))),
  },
  /** (a, b, length of a, length of b, imm): the bits of PCMPISTRM. */
  compareStrings: {
    params: ['v128', 'v128', 'i32', 'i32', 'i32'],
    result: 'i32',
    evaluate: (a, b, lengthA, lengthB, imm) =>
      BigInt(compareStrings(a, b, Number(lengthA), Number(lengthB), Number(imm))),
  },
};
