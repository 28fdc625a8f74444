/**
 * SSE arithmetic as the pure helpers of programs (see ../helpers.ts): an operation's value and its exceptions are separate
 * helpers, called one after the other with the same arguments. The last computation is kept, so that it runs once; what
 * is kept is never more than a cache of a pure function.
 */
import type { Helper } from '../helpers.ts';
import { controlOfMxcsr, EXCEPTIONS, type Result } from './control.ts';
import { packed } from './simd.ts';
import { SSE_OPS } from './sse.ts';

type Compute = (args: readonly bigint[]) => Result;

/** `compute` that remembers its last arguments and result. */
function remembering(compute: Compute): Compute {
  let lastArgs: readonly bigint[] = [];
  let last: Result | null = null;
  return (args) => {
    if (last === null || args.some((x, i) => x !== lastArgs[i])) {
      last = compute(args);
      lastArgs = args;
    }
    return last;
  };
}

/** (op, a, b, mxcsr): {@link SSE_OPS}`[op]` on patterns in the low bits of `a` and `b`. */
const scalar = remembering(([op, a, b, mxcsr]) => {
  const { from, run } = SSE_OPS[Number(op)]!;
  return run(BigInt.asUintN(from, a!), BigInt.asUintN(from, b!), controlOfMxcsr(Number(mxcsr)));
});
/** (op, a, b, mxcsr): the same on every lane. */
const lanes = remembering(([op, a, b, mxcsr]) => packed(Number(op), a!, b!, Number(mxcsr)));

const SCALAR = ['i32', 'i64', 'i64', 'i32'] as const;
const PACKED = ['i32', 'v128', 'v128', 'i32'] as const;
/** Those that change nothing are left out: they are set in MXCSR and masked. */
const flagsOf = (result: Result, mxcsr: bigint): bigint => BigInt(result.flags & EXCEPTIONS) & ~(mxcsr & (mxcsr >> 7n));

/** The helpers by name. */
export const SSE_HELPERS: Readonly<Record<string, Helper>> = {
  /** The result pattern of a scalar operation. */
  sseValue: { params: SCALAR, result: 'i64', evaluate: (...args) => scalar(args).value },
  /** The exceptions (MXCSR bits 0 to 5) that it raises and MXCSR does not hold masked already. */
  sseFlags: { params: SCALAR, result: 'i32', evaluate: (...args) => flagsOf(scalar(args), args[3]!) },
  /** The result of a packed operation, and the exceptions of all lanes. */
  ssePackedValue: { params: PACKED, result: 'v128', evaluate: (...args) => lanes(args).value },
  ssePackedFlags: { params: PACKED, result: 'i32', evaluate: (...args) => flagsOf(lanes(args), args[3]!) },
};
