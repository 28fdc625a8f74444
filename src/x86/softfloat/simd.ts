/**
 * Packed operations on 128-bit registers, lane by lane with the flags of all lanes together.
 */

import { controlOfMxcsr, prioritized, type Result } from './control.ts';
import { SSE_OPS } from './sse.ts';

/** The number of lanes that `op` handles in a 128-bit register: as many as the wider of source and result allows. */
function lanesOf(op: number): number {
  const { from, to } = SSE_OPS[op]!;
  return 128 / Math.max(from, to);
}

/**
 * `op` of {@link SSE_OPS} on the lowest `lanes` lanes of `a` and `b`; result bits above the last lane are zero (as CVTPD2PS
 * wants them). An unmasked exception of any lane found before computing hides the later ones of every lane.
 */
export function packed(op: number, a: bigint, b: bigint, mxcsr: number, lanes: number = lanesOf(op)): Result {
  const { from, to, run } = SSE_OPS[op]!;
  const control = controlOfMxcsr(mxcsr);
  let value = 0n;
  let flags = 0;
  for (let lane = 0; lane < lanes; lane++) {
    const at = BigInt(lane * from);
    const r = run(BigInt.asUintN(from, a >> at), BigInt.asUintN(from, b >> at), control);
    value |= r.value << BigInt(lane * to);
    flags |= r.flags;
  }
  return { value, flags: prioritized(flags, control.masks) };
}
