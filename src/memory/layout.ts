/**
 * The map of a machine's linear memory (one WebAssembly.Memory): where vCPU state, TLBs, frame tables, decoded records
 * and guest pages lie. Every offset is computed here and nowhere else.
 */
import { assert } from '../core/assert.ts';
import { PAGE_SIZE } from '../core/units.ts';
import { STATE_BYTES } from '../x86/state.ts';

/** Size of a machine; all of it is fixed when the machine is made. */
export interface MemoryShape {
  readonly vcpus: number;
  /** Guest pages that can exist: domain memory plus hypervisor-owned pages. */
  readonly slots: number;
  /** Machine frames are below this number. */
  readonly frameLimit: number;
  /** Bytes for decoded records and their page tables. */
  readonly recordBytes: number;
}

/** Data translations a TLB; see src/memory/tlb.ts for the entry. */
export const TLB_ENTRIES = 4096;
export const TLB_ENTRY_BYTES = 32;
/** Code translations a TLB, in an array of their own so that code and data of one index do not evict each other. */
export const EXEC_ENTRIES = 2048;
export const EXEC_ENTRY_BYTES = 16;
/** Offset of the code translations from the base of a TLB. */
export const EXEC_OFFSET = TLB_ENTRIES * TLB_ENTRY_BYTES;
export const TLB_BYTES = EXEC_OFFSET + EXEC_ENTRIES * EXEC_ENTRY_BYTES;
/** Kinds of address spaces of a vCPU: 0 kernel, 1 user. */
const TLB_SPACES = 2;
/** Page-table roots of a kind that have a TLB of their own at a time. */
export const TLB_WAYS = 4;
/** TLBs of a vCPU. */
export const TLBS = TLB_SPACES * TLB_WAYS;

/** Accesses that cross a page work on copies in the first page of linear memory; guest pages all lie above. */
export const SCRATCH_BASE = 0x400;
export const SCRATCH_BYTES = 0xc00;

export interface MemoryMap {
  readonly shape: MemoryShape;
  /** First vCPU's state; the next follow at `vcpuStride`. */
  readonly vcpuBase: number;
  readonly vcpuStride: number;
  /** Offset of the first TLB from a vCPU's state base. */
  readonly tlbOffset: number;
  /** i32 a frame: slot, or -1 where there is none. */
  readonly frameTable: number;
  /** u8 a slot: FRAME bits. */
  readonly slotFlags: number;
  /** 16 bytes a slot: hash of the page as last taken. */
  readonly slotHashes: number;
  /** i32 a slot: its machine frame. */
  readonly slotFrames: number;
  readonly records: number;
  /** Address of slot 0, page aligned. */
  readonly ram: number;
  readonly bytes: number;
}

const align = (value: number, to: number): number => Math.ceil(value / to) * to;

/** Computes the map of a machine of the given shape. */
export function memoryMap(shape: MemoryShape): MemoryMap {
  const tlbOffset = align(STATE_BYTES, 64);
  const vcpuBase = PAGE_SIZE;
  const vcpuStride = align(tlbOffset + TLBS * TLB_BYTES, PAGE_SIZE);
  const frameTable = vcpuBase + shape.vcpus * vcpuStride;
  const slotFlags = align(frameTable + shape.frameLimit * 4, PAGE_SIZE);
  const slotHashes = align(slotFlags + shape.slots, PAGE_SIZE);
  const slotFrames = align(slotHashes + shape.slots * 16, PAGE_SIZE);
  const records = align(slotFrames + shape.slots * 4, PAGE_SIZE);
  const ram = align(records + shape.recordBytes, 65536);
  const bytes = align(ram + shape.slots * PAGE_SIZE, 65536);
  assert(bytes <= 4 * 1024 ** 3, 'the machine does not fit into 4 GiB of linear memory');
  return { shape, vcpuBase, vcpuStride, tlbOffset, frameTable, slotFlags, slotHashes, slotFrames, records, ram, bytes };
}
