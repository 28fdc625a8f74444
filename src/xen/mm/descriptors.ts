/**
 * GDT and LDT of a PV guest: pages of checked descriptors.
 *
 * Source: xen/arch/x86/pv/descriptor-tables.c, xen/arch/x86/pv/mm.c (pv_map_ldt_shadow_page).
 */
import { type MachineFrame, PAGE_MASK, PAGE_SIZE } from '../../core/units.ts';
import { lowWord } from '../../core/words.ts';
import { ERRNO } from '../abi/errno.ts';
import { FIRST_RESERVED_GDT_ENTRY } from '../abi/numbers.ts';
import type { Domain } from '../domain.ts';
import { frameNumber, PGT } from './page-info.ts';
import { PTE, pteFrame } from './pte.ts';
import { getPageFromGfn, putPage } from './refs.ts';
import { checkDescriptor } from './segdesc.ts';
import { getPageType, putPageAndType, putPageType } from './types.ts';
import { guestL1e } from './walk.ts';

/** pv_destroy_gdt: gives the GDT's pages back. */
function destroyGdt(d: Domain): void {
  const v = d.host.tables;
  for (const mfn of v.gdtFrames) putPageAndType(d, mfn);
  v.gdtFrames = [];
  v.gdtEntries = 0;
}

/** pv_set_gdt: makes `frames` the current vCPU's GDT; 0 or -EINVAL, then nothing changed. */
export function setGdt(d: Domain, frames: readonly MachineFrame[], entries: number): number {
  const v = d.host.tables;
  if (entries > FIRST_RESERVED_GDT_ENTRY) return -ERRNO.EINVAL;
  const count = Math.ceil(entries / 512);
  for (let i = 0; i < count; i++) {
    const mfn = frames[i]!;
    if (getPageFromGfn(d, mfn)) {
      if (getPageType(d, mfn, PGT.segDesc) === 0) continue;
      putPage(d, mfn);
    }
    while (i-- > 0) putPageAndType(d, frames[i]!);
    return -ERRNO.EINVAL;
  }
  destroyGdt(d);
  v.gdtEntries = entries;
  v.gdtFrames = frames.slice(0, count);
  return 0;
}

/** Hypercall update_descriptor: `address` is a machine address. */
export function doUpdateDescriptor(d: Domain, address: bigint, descriptor: bigint): number {
  const checked = checkDescriptor(descriptor);
  if ((address & 7n) !== 0n || checked === null) return -ERRNO.EINVAL;
  const mfn = frameNumber(address >> 12n);
  if (!getPageFromGfn(d, mfn)) return -ERRNO.EINVAL;
  const type = d.frames.type(mfn) & PGT.typeMask;
  const rc = getPageType(d, mfn, type === PGT.segDesc ? PGT.segDesc : PGT.writable);
  if (rc === 0) {
    d.memory.write64(mfn * PAGE_SIZE + (lowWord(address) & PAGE_MASK), checked);
    putPageType(d, mfn);
  }
  putPage(d, mfn);
  return rc === 0 ? 0 : -ERRNO.EINVAL;
}

/** pv_destroy_ldt: gives the LDT's pages back. An LDT without entries has none. */
export function destroyLdt(d: Domain): void {
  if (d.host.tables.ldtEntries === 0) return;
  const pages = d.state.ldtPages[d.host.vcpu]!;
  for (const [i, mfn] of pages.entries()) {
    if (mfn === 0) continue;
    pages[i] = 0;
    putPageAndType(d, mfn);
  }
}

/**
 * pv_map_ldt_shadow_page: takes the page of the LDT that holds the byte at `offset`, on first use of a selector in it. The
 * frame, or null when the guest's mapping or its contents do not allow it (the access then faults).
 */
export function mapLdtPage(d: Domain, offset: number): MachineFrame | null {
  const v = d.host.tables;
  const pages = d.state.ldtPages[d.host.vcpu]!;
  const index = offset >>> 12;
  if (offset >>> 3 >= v.ldtEntries) return null;
  if (pages[index] !== 0) return pages[index]!;
  const entry = guestL1e(d, v.ldtBase + BigInt(offset));
  if (entry === null || (entry.lo & PTE.present) === 0) return null;
  const mfn = pteFrame(entry.lo, entry.hi);
  if (!getPageFromGfn(d, mfn)) return null;
  if (getPageType(d, mfn, PGT.segDesc) !== 0) {
    putPage(d, mfn);
    return null;
  }
  pages[index] = mfn;
  return mfn;
}
