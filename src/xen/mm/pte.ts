/**
 * Page-table entries as two 32-bit halves, and the one function that changes them.
 *
 * Invariant: nobody else writes an entry of a validated page table (the page walker's accessed and dirty bits aside).
 * Source: SDM vol. 3A 4.5; xen/arch/x86/include/asm/x86_64/page.h for the bits Xen adds.
 */
import { type MachineFrame, PAGE_SIZE } from '../../core/units.ts';
import { FRAME } from '../../memory/guest-memory.ts';
import type { Domain } from '../domain.ts';

/** Bits of the low half. */
export const PTE = {
  present: 1,
  rw: 2,
  user: 4,
  pwt: 8,
  pcd: 0x10,
  accessed: 0x20,
  dirty: 0x40,
  /** PSE in an upper level, PAT in an L1. */
  pse: 0x80,
  global: 0x100,
} as const;
/** Bits of the high half: 52 (Xen's mark of a kernel mapping), 62 (a grant mapping), 63. */
export const PTE_HI = { guestKernel: 1 << 20, gnttab: 1 << 30, nx: 1 << 31 } as const;

/** Frame that an entry names: bits 12 to 51. */
export const pteFrame = (lo: number, hi: number): MachineFrame => (lo >>> 12) + (hi & 0xfffff) * 0x100000;
/** Xen's 24-bit flags of an entry: bits 0-11 and, above them, 52-63. */
export const pteFlags = (lo: number, hi: number): number => (lo & 0xfff) | ((hi >>> 20) << 12);
/** An entry as Xen prints it (PRIpte): 16 hex digits. */
export const pteText = (lo: number, hi: number): string =>
  (hi >>> 0).toString(16).padStart(8, '0') + (lo >>> 0).toString(16).padStart(8, '0');
/** Low half of an entry for `mfn`. */
export const pteLow = (mfn: MachineFrame, flags: number): number => (mfn * PAGE_SIZE) | 0 | flags;
/** High half of an entry for `mfn`. */
export const pteHigh = (mfn: MachineFrame, flags: number): number => Math.floor(mfn / 0x100000) | flags;

/** Index into `memory.words` of entry 0 of a table; entry i is the two words from + 2 i. */
export const tableWords = (d: Domain, mfn: MachineFrame): number => d.memory.frameAddress(mfn) / 4;

/** Writes entry `index` of the table `mfn`; tells the MMU when a translation may have been derived from what it replaces. */
export function writePte(d: Domain, mfn: MachineFrame, index: number, lo: number, hi: number): void {
  const { memory } = d;
  const slot = memory.frameSlots[mfn]!;
  const at = (memory.map.ram + slot * PAGE_SIZE) / 4 + index * 2;
  const oldLo = memory.words[at]!;
  if (oldLo === lo && memory.words[at + 1] === hi) return;
  const flags = memory.slotFlags[slot]!;
  if (flags & FRAME.code) memory.onCodeWrite(slot, index * 8, 8);
  if (flags & FRAME.watched) memory.onWatchedWrite(mfn * PAGE_SIZE + index * 8, 8);
  memory.markDirty(slot);
  memory.words[at] = lo;
  memory.words[at + 1] = hi;
  if ((oldLo & (PTE.present | PTE.accessed)) === (PTE.present | PTE.accessed))
    d.host.entryChanged(mfn * PAGE_SIZE + index * 8);
}
