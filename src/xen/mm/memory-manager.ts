/**
 * Memory management as the PV core calls it: every entry point with the vCPU that calls.
 */

import type { MachineFrame } from '../../core/units.ts';
import { PAGE_MASK, PAGE_SIZE, type PhysAddr, type VirtAddr } from '../../core/units.ts';
import type { Domain, DomainHost, VcpuTables } from '../domain.ts';
import { doMemoryOp } from '../memory-op.ts';
import type { Continuation } from '../work.ts';
import { doUpdateDescriptor, mapLdtPage, setGdt } from './descriptors.ts';
import { doMmuextOp, newBaseptr } from './mmuext.ts';
import { PGT } from './page-info.ts';
import { PTE, pteFrame } from './pte.ts';
import { isWritableTable, type PtwrResult, ptwrWrite } from './ptwr.ts';
import { getPageFromGfn, putPage } from './refs.ts';
import { getPageType, putPageAndType } from './types.ts';
import { doMmuUpdate, doUpdateVaMapping } from './update.ts';
import { guestL1e } from './walk.ts';

/** What is asked of the PV core; `C` is its vCPU (src/x86/cpu.ts). */
export interface PvSurroundings<C extends { readonly id: number }> {
  readonly vcpus: readonly VcpuTables[];
  readonly guest: {
    read(cpu: C, address: VirtAddr, length: number): Uint8Array | null;
    readInto(cpu: C, address: VirtAddr, out: Uint8Array): boolean;
    write(cpu: C, address: VirtAddr, data: Uint8Array): boolean;
  };
  readonly mmu: {
    entryChanged(address: PhysAddr): void;
  };
  hasAssist(type: number): boolean;
  /** Points the MMU at the tables of the vCPU's current mode. */
  loadTables(cpu: C): void;
}
const M2P_STRICT = 32;

export class MemoryManager<C extends { readonly id: number }> {
  readonly domain: Domain;
  readonly #pv: PvSurroundings<C>;
  readonly #hosts = new Map<C, DomainHost>();

  constructor(pv: PvSurroundings<C>, domain: Domain) {
    this.#pv = pv;
    this.domain = domain;
  }

  mmuUpdate(cpu: C, list: VirtAddr, count: number, done: VirtAddr, foreign: number): number | Continuation {
    return doMmuUpdate(this.#enter(cpu), list, count, done, foreign);
  }
  updateVaMapping(cpu: C, address: VirtAddr, value: bigint, flags: bigint): number {
    return doUpdateVaMapping(this.#enter(cpu), address, value, flags);
  }
  mmuextOp(cpu: C, list: VirtAddr, count: number, done: VirtAddr, foreign: number): number | Continuation {
    return doMmuextOp(this.#enter(cpu), list, count, done, foreign);
  }
  memoryOp(cpu: C, cmd: number, arg: VirtAddr): number | bigint | Continuation {
    return doMemoryOp(this.#enter(cpu), cmd, arg);
  }
  setGdt(cpu: C, frames: readonly MachineFrame[], entries: number): number {
    return setGdt(this.#enter(cpu), frames, entries);
  }
  updateDescriptor(cpu: C, address: bigint, descriptor: bigint): number {
    return doUpdateDescriptor(this.#enter(cpu), address, descriptor);
  }
  /** Installs a kernel page-table root as MOV CR3 does. */
  newBasePointer(cpu: C, frame: MachineFrame): number {
    return newBaseptr(this.#enter(cpu), frame);
  }
  /** Frame of the LDT page that holds byte `offset` of the LDT, or null when it is no fit descriptor page. */
  ldtFrame(cpu: C, offset: number): MachineFrame | null {
    return mapLdtPage(this.#enter(cpu), offset);
  }

  /**
   * The machine address of the page-table entry that a faulting kernel store at `address` hits, when the store is Xen's to
   * emulate: a present read-only mapping of an L1 table in use. Else null: the fault is the guest's.
   */
  tableStore(cpu: C, address: VirtAddr): PhysAddr | null {
    const d = this.#enter(cpu);
    const entry = guestL1e(d, address);
    if (entry === null || (entry.lo & (PTE.present | PTE.rw)) !== PTE.present) return null;
    const mfn = pteFrame(entry.lo, entry.hi);
    return isWritableTable(d, mfn) ? mfn * PAGE_SIZE + (Number(address & 0xfffn) & PAGE_MASK) : null;
  }
  /** Carries out such a store; see `ptwrWrite`. */
  storeToTable(cpu: C, address: PhysAddr, bytes: number, value: bigint, expected: bigint | null): PtwrResult {
    return ptwrWrite(this.#enter(cpu), address, bytes, value, expected);
  }

  /** Takes a general and a writable type reference on a domain page; false when its type forbids that. */
  takeWritable(frame: MachineFrame): boolean {
    const d = this.domain;
    if (!getPageFromGfn(d, frame)) return false;
    if (getPageType(d, frame, PGT.writable) === 0) return true;
    putPage(d, frame);
    return false;
  }

  /** Drops the references that {@link takeWritable} took. */
  giveWritable(frame: MachineFrame): void {
    putPageAndType(this.domain, frame);
  }

  /** Makes `cpu` the caller of what follows. */
  #enter(cpu: C): Domain {
    let host = this.#hosts.get(cpu);
    if (host === undefined) {
      host = hostOf(this.#pv, cpu);
      this.#hosts.set(cpu, host);
    }
    this.domain.host = host;
    return this.domain;
  }
}

/** The surroundings as one vCPU's calls see them. */
function hostOf<C extends { readonly id: number }>(pv: PvSurroundings<C>, cpu: C): DomainHost {
  return {
    entryChanged: (address) => pv.mmu.entryChanged(address),
    vcpu: cpu.id,
    vcpuCount: pv.vcpus.length,
    get tables() {
      return pv.vcpus[cpu.id]!;
    },
    get m2pStrict() {
      return pv.hasAssist(M2P_STRICT);
    },
    copyIn: (address, length) => pv.guest.read(cpu, address, length),
    fill: (address, into) => pv.guest.readInto(cpu, address, into),
    copyOut: (address, data) => pv.guest.write(cpu, address, data),
    rootChanged: () => pv.loadTables(cpu),
  };
}
