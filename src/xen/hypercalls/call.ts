/**
 * What a hypercall handler gets and gives back.
 */
import type { VirtAddr } from '../../core/units.ts';
import { lowWord } from '../../core/words.ts';
import type { Cpu } from '../../x86/cpu.ts';
import type { Stop } from '../../x86/seam.ts';
import { GPR } from '../../x86/state.ts';
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

/** Registers of a hypercall's arguments. */
export const ARGUMENTS = [GPR.rdi, GPR.rsi, GPR.rdx, GPR.r10, GPR.r8, GPR.r9] as const;

/** One call: arguments as the guest passed them, in registers or in a multicall's entry. No handler writes these registers before it has read them. */
export class Call {
  readonly pv: XenPv;
  readonly cpu: Cpu;
  /** Null: in registers, which are read when they are asked for. */
  readonly #entry: readonly bigint[] | null;
  constructor(pv: XenPv, cpu: Cpu, entry: readonly bigint[] | null) {
    this.pv = pv;
    this.cpu = cpu;
    this.#entry = entry;
  }

  /** All arguments as they are now. */
  get args(): readonly bigint[] {
    return this.#entry ?? ARGUMENTS.map((register) => this.cpu.gpr(register));
  }

  /** The vCPU that calls. */
  get vcpu(): VcpuState {
    return this.pv.vcpus[this.cpu.id]!;
  }
  /** Argument `i` as C's unsigned int. */
  u32(i: number): number {
    return this.#entry === null ? this.cpu.gpr32(ARGUMENTS[i]!) : lowWord(this.#entry[i]!) >>> 0;
  }
  /** Argument `i` as C's unsigned long, or an address. */
  ptr(i: number): VirtAddr {
    return this.#entry === null ? this.cpu.gpr(ARGUMENTS[i]!) : this.#entry[i]!;
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
