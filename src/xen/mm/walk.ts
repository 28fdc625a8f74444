/**
 * Xen's own walks of the current vCPU's kernel page tables. Real Xen looks through its linear mapping, so that the processor
 * sets the accessed bits of the entries above the one it reads; so does this.
 *
 * Source: xen/arch/x86/pv/mm.c (map_guest_l1e), xen/arch/x86/pv/mm.h (guest_get_eff_kern_l1e).
 */
import type { MachineFrame, VirtAddr } from '../../core/units.ts';
import { addressOk, type Domain } from '../domain.ts';
import { PTE, pteFrame, tableWords, writePte } from './pte.ts';

/** The place of an entry. */
export interface EntryPlace {
  readonly table: MachineFrame;
  readonly index: number;
}

/** Reads entry `index` of a table on the way down: its frame, or -1 when it is not present. */
function follow(d: Domain, table: MachineFrame, index: number): MachineFrame {
  const at = tableWords(d, table) + index * 2;
  const lo = d.memory.words[at]!;
  const hi = d.memory.words[at + 1]!;
  if ((lo & PTE.present) === 0) return -1;
  if ((lo & PTE.accessed) === 0) writePte(d, table, index, lo | PTE.accessed, hi);
  return pteFrame(lo, hi);
}
const indexAt = (address: VirtAddr, level: number): number => Number((address >> BigInt(3 + level * 9)) & 511n);

/** The L1 entry that maps `address`, without touching its L2 entry; null when there is no L1 table. */
export function findL1e(d: Domain, address: VirtAddr): EntryPlace | null {
  if (!addressOk(address)) return null;
  const l3 = follow(d, d.host.tables.kernelTable, indexAt(address, 4));
  if (l3 < 0) return null;
  const l2 = follow(d, l3, indexAt(address, 3));
  if (l2 < 0) return null;
  const at = tableWords(d, l2) + indexAt(address, 2) * 2;
  const lo = d.memory.words[at]!;
  if ((lo & (PTE.present | PTE.pse)) !== PTE.present) return null;
  return { table: pteFrame(lo, d.memory.words[at + 1]!), index: indexAt(address, 1) };
}

/** The L1 entry that maps `address` as the walk reads it; null when a level above is not present. */
export function guestL1e(d: Domain, address: VirtAddr): { readonly lo: number; readonly hi: number } | null {
  if (!addressOk(address)) return null;
  let table = d.host.tables.kernelTable;
  for (let level = 4; level > 1; level--) {
    table = follow(d, table, indexAt(address, level));
    if (table < 0) return null;
  }
  const at = tableWords(d, table) + indexAt(address, 1) * 2;
  return { lo: d.memory.words[at]!, hi: d.memory.words[at + 1]! };
}
