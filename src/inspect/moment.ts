/**
 * What reports may ask of a machine that stands at a tick. Reading never changes the machine: no accessed bit is set.
 *
 * The methods shared with the `Scope` of predicates mean the same, so that one object serves both.
 */
import type { PhysAddr, VirtAddr } from '../core/units.ts';
import type { Look } from '../machine/explanation.ts';

export interface Moment extends Look {
  /** Width of the code it runs. */
  readonly codeBits: 64 | 32 | 16;
  /** A register (`rax` ... `rip`, `rflags`, `cr2`, `cr3`, `fs_base`, `gs_base`); null when there is none of that name. */
  register(name: string, vcpu: number | null): bigint | null;
  /** Up to `bytes` bytes from a linear address on, fewer where the mapping ends. */
  bytes(address: VirtAddr, bytes: number): Uint8Array;
  /** The page-table entries that lead towards a linear address, from the root on, up to a leaf or to one that is not present. */
  entries(
    address: VirtAddr,
  ): ReadonlyArray<{ readonly address: PhysAddr; readonly level: number; readonly value: bigint }>;
  /** True when no vCPU can run: each waits for an event. */
  readonly blocked: boolean;
  /** Everything written to the console so far. */
  readonly consoleText: string;
}
