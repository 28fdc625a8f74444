/**
 * What a hypercall handler gets and gives back.
 */
import type { VirtAddr } from '../../core/units.ts';
import { lowWord } from '../../core/words.ts';
import type { Cpu } from '../../x86/cpu.ts';
import type { Stop } from '../../x86/seam.ts';
import { ERRNO } from '../abi/errno.ts';
import type { Layout } from '../abi/layout.ts';
import type { GuestStruct } from '../pv/guest-access.ts';
import type { XenPv } from '../pv/pv.ts';
import type { VcpuState } from '../pv/vcpu.ts';
import type { Continuation } from '../work.ts';

/**
 * The value for RAX (0, a count or a negative errno), what is left for another step, or the end of the run; null when the call set
 * the registers itself.
 */
export type CallResult = number | bigint | Continuation | Stop | null;
export type Hypercall = (call: Call) => CallResult;

/** One call: arguments as the guest passed them (RDI RSI RDX R10 R8 R9, or those of a multicall's entry). */
export class Call {
  readonly pv: XenPv;
  readonly cpu: Cpu;
  readonly args: readonly bigint[];
  constructor(pv: XenPv, cpu: Cpu, args: readonly bigint[]) {
    this.pv = pv;
    this.cpu = cpu;
    this.args = args;
  }

  /** The vCPU that calls. */
  get vcpu(): VcpuState {
    return this.pv.vcpus[this.cpu.id]!;
  }
  /** Argument `i` as C's unsigned int. */
  u32(i: number): number {
    return lowWord(this.args[i]!) >>> 0;
  }
  /** Argument `i` as an address. */
  ptr(i: number): VirtAddr {
    return this.args[i]!;
  }
  /** Copies the structure at `address` in and hands it to `use`; -EFAULT when it cannot be read. */
  with<F extends string>(address: VirtAddr, layout: Layout<F>, use: (arg: GuestStruct<F>) => CallResult): CallResult {
    const arg = this.pv.guest.struct(this.cpu, address, layout);
    return arg === null ? -ERRNO.EFAULT : use(arg);
  }
  /** Copies a structure or bytes out: 0 or -EFAULT. */
  put(address: VirtAddr, bytes: Uint8Array): number {
    return this.pv.guest.write(this.cpu, address, bytes) ? 0 : -ERRNO.EFAULT;
  }
}
