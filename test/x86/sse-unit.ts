/** SSE operations by number, and what their flags come to. */
import { controlOfMxcsr, EXCEPTIONS, type Result } from '../../src/x86/softfloat/control.ts';
import { SSE_OPS } from '../../src/x86/softfloat/sse.ts';

/** The flags of `raised` that are not masked, thus fault (SSE) or become pending (x87). */
export const unmasked = (raised: number, masks: number): number => raised & ~masks & EXCEPTIONS;

/** Runs operations by number; `flags` holds the exceptions (MXCSR bits 0..5) that the last one raised. */
export class SseUnit {
  flags = 0;

  /** The result pattern of {@link SSE_OPS}`[op]`. Operands may be signed 64-bit values, as WebAssembly passes them. */
  run(op: number, a: bigint, b: bigint, mxcsr: number): bigint {
    const { from, run } = SSE_OPS[op]!;
    const result = run(BigInt.asUintN(from, a), BigInt.asUintN(from, b), controlOfMxcsr(mxcsr));
    this.flags = result.flags & EXCEPTIONS;
    return result.value;
  }
}

/** `op` on the lowest lane; the bits of `a` above the result stay, as the scalar instructions leave them. */
export function scalar(op: number, a: bigint, b: bigint, mxcsr: number): Result {
  const { from, to, operands, run } = SSE_OPS[op]!;
  const source = operands === 1 ? b : a;
  const r = run(BigInt.asUintN(from, source), BigInt.asUintN(from, b), controlOfMxcsr(mxcsr));
  const width = BigInt(to);
  return { value: ((a >> width) << width) | r.value, flags: r.flags };
}
