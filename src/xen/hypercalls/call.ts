/**
 * What a hypercall handler gets and gives back.
 */
import type { Cpu } from '../../x86/cpu.ts';
import type { Stop } from '../../x86/seam.ts';
import type { XenPv } from '../pv/pv.ts';

/** One call: arguments as the guest passed them (RDI RSI RDX R10 R8 R9, or the entry of a multicall). */
export interface Call {
  readonly pv: XenPv;
  readonly cpu: Cpu;
  readonly args: readonly bigint[];
  /** Argument `i` as an unsigned 32-bit number. */
  u32(i: number): number;
  /** Argument `i` as an address. */
  ptr(i: number): bigint;
}

/** The value for RAX (0, a count or a negative errno), or the end of the run; null when the call set the registers itself. */
export type CallResult = number | bigint | Stop | null;
export type Hypercall = (call: Call) => CallResult;

export function makeCall(pv: XenPv, cpu: Cpu, args: readonly bigint[]): Call {
  return {
    pv,
    cpu,
    args,
    u32: (i) => Number(BigInt.asUintN(32, args[i]!)),
    ptr: (i) => args[i]!,
  };
}
