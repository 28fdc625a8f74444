/**
 * What reports may ask of a machine that stands at a tick. Reading never changes the machine: no accessed bit is set.
 *
 * The methods shared with the `Scope` of predicates mean the same, so that one object serves both.
 */
import type { Tick, VirtAddr } from '../core/units.ts';

/** `va` is linear, `ma` a machine byte address, `pa` a pseudo-physical one. */
export type AddressSpace = 'va' | 'pa' | 'ma';

/** An event channel as the guest and Xen see it. */
export interface EventPort {
  readonly port: number;
  /** `virq timer`, `ipi`, `interdomain` ... */
  readonly kind: string;
  readonly pending: boolean;
  readonly masked: boolean;
}

export interface Moment {
  readonly tick: Tick;
  /** The vCPU that takes the next step. */
  readonly vcpu: number;
  /** Width of the code it runs. */
  readonly codeBits: 64 | 32 | 16;
  /** A register (`rax` ... `rip`, `rflags`, `cr2`, `cr3`, `fs_base`, `gs_base`); null when there is none of that name. */
  register(name: string, vcpu: number | null): bigint | null;
  /** Reads 1 to 8 bytes, little-endian; null when any of them is not mapped. */
  read(space: AddressSpace, address: bigint, bytes: number): bigint | null;
  /** Up to `bytes` bytes from a linear address on, fewer where the mapping ends. */
  bytes(address: VirtAddr, bytes: number): Uint8Array;
  /** Machine byte address that a linear address maps to, or null. */
  translate(address: VirtAddr): bigint | null;
  /** The type Xen holds for a machine frame: `l1`, `l2`, `l3`, `l4`, `segdesc`, `writable`, `none`; null without Xen. */
  frameType(frame: bigint): string | null;
  pending(port: number): boolean;
  masked(port: number): boolean;
  /** The event channels in use, by port. */
  ports(): readonly EventPort[];
  /** The vCPU's `evtchn_upcall_pending` and `evtchn_upcall_mask`. */
  upcall(vcpu: number): { readonly pending: boolean; readonly masked: boolean };
  /** True when no vCPU can run: each waits for an event. */
  readonly blocked: boolean;
  /** Everything written to the console so far. */
  readonly consoleText: string;
}
