/**
 * The domain as the memory half of Xen sees it: guest memory, the frame table, and the doors to the vCPUs, the MMU and the
 * console log.
 *
 * Invariant: `state` and `frames` are the whole of the state kept here; both are in snapshot and hash.
 */
import { type Infer, integer, list, struct, u32 } from '../core/schema.ts';
import type { MachineFrame, PhysAddr, VirtAddr } from '../core/units.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { HYPERVISOR_VIRT_END } from './abi/numbers.ts';
import type { MachineLayout } from './mm/machine-layout.ts';
import { FrameTable } from './mm/page-info.ts';
import { WorkMeter } from './work.ts';

/** Page-table roots and descriptor tables of one vCPU; frame 0 means none. */
export interface VcpuTables {
  /** L4 of kernel mode. */
  kernelTable: MachineFrame;
  /** L4 of user mode. */
  userTable: MachineFrame;
  gdtFrames: MachineFrame[];
  gdtEntries: number;
  ldtBase: VirtAddr;
  ldtEntries: number;
}

/** The rest of the hypervisor, as seen during one hypercall or fault of one vCPU. */
export interface DomainHost {
  /**
   * The page-table entry at `address` had its accessed bit set and now holds something else. Translations follow at once
   * (src/memory/mmu.ts), so that the flushes a guest asks for, and Xen's own, have nothing left to do.
   */
  entryChanged(address: PhysAddr): void;
  /** The vCPU whose call or fault is being handled. */
  readonly vcpu: number;
  readonly tables: VcpuTables;
  readonly vcpuCount: number;
  /** Whether the guest asked for the M2P to be hidden from user mode (VMASST_TYPE_m2p_strict). */
  readonly m2pStrict: boolean;
  /** Copies `length` bytes in with the guest's rights; null when any of them faults. */
  copyIn(address: VirtAddr, length: number): Uint8Array | null;
  /** Fills `into` as {@link DomainHost.copyIn} does; false where that gives null. */
  fill(address: VirtAddr, into: Uint8Array): boolean;
  /** Copies `data` out with the guest's rights; false when a byte faults. */
  copyOut(address: VirtAddr, data: Uint8Array): boolean;
  /** kernelTable or userTable of the vCPU changed. */
  rootChanged(): void;
}

/** Memory state of the domain beside the frame table. */
export const domainMmSchema = struct({
  /** Pages the domain owns now, and may own. */
  totPages: u32,
  maxPages: u32,
  /** Validated L4 tables. */
  l4Pages: u32,
  /** For each vCPU the 16 frames of its LDT that Xen has taken as descriptor pages so far; 0 = not taken. */
  ldtPages: list(list(integer)),
});
export type DomainMm = Infer<typeof domainMmSchema>;

export interface DomainOptions {
  /** Domain id as messages print it. */
  readonly id: number;
  readonly layout: MachineLayout;
  readonly memory: GuestMemory;
  /** Receives Xen's console lines, without line end. */
  readonly log: (line: string) => void;
}

export class Domain {
  readonly id: number;
  readonly layout: MachineLayout;
  readonly memory: GuestMemory;
  readonly frames: FrameTable;
  readonly work = new WorkMeter();
  log: (line: string) => void;
  state: DomainMm;
  /** Set by the caller before anything here is asked. */
  host: DomainHost;
  /** No frame below this is free; speeds up allocation and follows from `frames`. */
  freeHint: MachineFrame;

  constructor(options: DomainOptions, host: DomainHost) {
    this.id = options.id;
    this.layout = options.layout;
    this.memory = options.memory;
    this.log = options.log;
    this.host = host;
    this.frames = new FrameTable(options.layout.frameLimit);
    this.freeHint = options.layout.domainBase;
    this.state = {
      totPages: 0,
      maxPages: options.layout.maxPages,
      l4Pages: 0,
      ldtPages: Array.from({ length: host.vcpuCount }, () => new Array<number>(16).fill(0)),
    };
  }
  /** Puts a snapshot's state in place. */
  restore(state: DomainMm, frames: Uint8Array): void {
    this.state = state;
    this.frames.load(frames);
    this.freeHint = this.layout.domainBase;
  }
}

/** Whether an address is the guest's to name: canonical and outside Xen's area (arch/x86 uaccess.h `__addr_ok`). */
export const addressOk = (address: VirtAddr): boolean => address < 1n << 47n || address >= HYPERVISOR_VIRT_END;
/** Whether an array argument can be the guest's: only its start and its size in bytes are checked (`array_access_ok`). */
export const arrayOk = (address: VirtAddr, count: number | bigint, bytes: number): boolean =>
  BigInt(count) * BigInt(bytes) < 1n << 64n && addressOk(address);
