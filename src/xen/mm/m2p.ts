/**
 * The machine-to-physical table: read-only to the guest at MACH2PHYS_VIRT_START, one 64-bit word a machine frame.
 *
 * Invariant: an entry that no domain page has set is all ones, within the table and in the rest of the last 2 MiB mapped.
 * Real Xen maps it with 2 MiB pages; here it is 4 KiB pages, which a guest cannot tell.
 * Source: xen/arch/x86/x86_64/mm.c, xen/arch/x86/mm.c (init_xen_l4_slots).
 */
import { type MachineFrame, PAGE_SIZE } from '../../core/units.ts';
import { FIRST_XEN_SLOT } from '../abi/numbers.ts';
import type { Domain } from '../domain.ts';
import { PTE, PTE_HI, pteHigh, pteLow, tableWords, writePte } from './pte.ts';

/** INVALID_M2P_ENTRY. */
export const INVALID_M2P = (1n << 64n) - 1n;
/** Everything a walk needs is set beforehand, so that the walker never writes to these tables. */
const READ_ONLY = PTE.present | PTE.user | PTE.accessed;
/** L4 slot of the table. */
const M2P_SLOT = FIRST_XEN_SLOT;

const entryAddress = (d: Domain, mfn: MachineFrame): number => d.layout.m2p * PAGE_SIZE + mfn * 8;

/** get_gpfn_from_mfn; the frame must be valid. */
export const getM2p = (d: Domain, mfn: MachineFrame): bigint => d.memory.read64(entryAddress(d, mfn));
/** set_gpfn_from_mfn. */
export const setM2p = (d: Domain, mfn: MachineFrame, pfn: bigint): void => d.memory.write64(entryAddress(d, mfn), pfn);

/** The frames from `first` on get the pseudo-frames 0 to `count` - 1. */
export function fillM2p(d: Domain, first: MachineFrame, count: number): void {
  const list = new Uint32Array(count * 2);
  for (let pfn = 0; pfn < count; pfn++) list[pfn * 2] = pfn;
  d.memory.writeBytes(entryAddress(d, first), new Uint8Array(list.buffer));
}

/** Fills the table with unused entries and builds the tables that map it. */
export function buildM2p(d: Domain): void {
  const { layout, memory } = d;
  memory.fillPage(layout.m2pUnused, 0xff);
  for (let i = 0; i < layout.m2pPages; i++) memory.fillPage(layout.m2p + i, 0xff);
  const link = (table: MachineFrame, index: number, target: MachineFrame): void =>
    writePte(d, table, index, pteLow(target, READ_ONLY), pteHigh(target, PTE_HI.nx));
  link(layout.m2pL3, 0, layout.m2pL2);
  for (let i = 0; i < layout.m2pL1Count; i++) {
    link(layout.m2pL2, i, layout.m2pL1 + i);
    for (let j = 0; j < 512; j++) {
      const page = i * 512 + j;
      link(layout.m2pL1 + i, j, page < layout.m2pPages ? layout.m2p + page : layout.m2pUnused);
    }
  }
}

/** Puts the table into an L4 (fill_ro_mpt); an entry already there stays. */
export function fillRoMpt(d: Domain, l4: MachineFrame): void {
  const at = tableWords(d, l4) + M2P_SLOT * 2;
  if (d.memory.words[at] !== 0 || d.memory.words[at + 1] !== 0) return;
  writePte(d, l4, M2P_SLOT, pteLow(d.layout.m2pL3, READ_ONLY), pteHigh(d.layout.m2pL3, PTE_HI.nx));
}
/** Takes the table out of an L4 (zap_ro_mpt). */
export const zapRoMpt = (d: Domain, l4: MachineFrame): void => writePte(d, l4, M2P_SLOT, 0, 0);
