/**
 * Segment descriptor pages, GDT and LDT of a PV guest: Xen checks and corrects every descriptor before a page may hold any.
 *
 * Source: xen/arch/x86/pv/descriptor-tables.c, xen/arch/x86/pv/mm.c (pv_map_ldt_shadow_page).
 */
import { type MachineFrame, PAGE_MASK, PAGE_SIZE } from '../../core/units.ts';
import { highWord, joinWords, lowWord } from '../../core/words.ts';
import { ERRNO } from '../abi/errno.ts';
import { FIRST_RESERVED_GDT_ENTRY, FLAT } from '../abi/numbers.ts';
import type { Domain } from '../domain.ts';
import { frameNumber, PGT } from './page-info.ts';
import { PTE, pteFrame, tableWords } from './pte.ts';
import { getPageFromGfn, putPage } from './refs.ts';
import { getPageType, putPageAndType, putPageType } from './types.ts';
import { guestL1e } from './walk.ts';

/** Bits of a descriptor's high word (arch/x86 desc.h). */
const SEGMENT = { type: 0xf << 8, system: 1 << 12, dpl: 3 << 13, present: 1 << 15 } as const;
const CALL_GATE = 0xc00;
const KERNEL_RPL = 3;

/**
 * check_descriptor: the descriptor as Xen stores it (privilege level raised to 3, call gates closed), or null when a guest
 * may not have it.
 */
export function checkDescriptor(descriptor: bigint): bigint | null {
  let a = lowWord(descriptor);
  let b = highWord(descriptor);
  // What is not present always faults.
  if ((b & SEGMENT.present) === 0) return descriptor;
  const dpl = Math.max((b >>> 13) & 3, KERNEL_RPL);
  b = (b & ~SEGMENT.dpl) | (dpl << 13);
  if (b & SEGMENT.system) return joinWords(a, b);
  // Type 0 is the second half of a call gate and does nothing by itself.
  if ((b & SEGMENT.type) === 0) return descriptor;
  if ((b & SEGMENT.type) !== CALL_GATE) return null;
  const selector = a >>> 16;
  const guest = selector >>> 3 < FIRST_RESERVED_GDT_ENTRY || selector === FLAT.ring3Cs64 || (selector & 4) !== 0;
  if (!guest) return null;
  // Privilege level 0, so that every use faults and can be emulated; the guest's level goes into the selector.
  b &= ~SEGMENT.dpl;
  a = (a & 0xffff) | (((selector & ~3) | dpl) << 16);
  return b & 0xff ? null : joinWords(a, b);
}

/** validate_segdesc_page: checks and corrects 512 descriptors; 0 or -EINVAL. */
export function validateSegdescPage(d: Domain, mfn: MachineFrame): number {
  const { words } = d.memory;
  const base = tableWords(d, mfn);
  for (let i = 0; i < 512; i++) {
    const lo = words[base + i * 2]!;
    const hi = words[base + i * 2 + 1]!;
    if ((hi & SEGMENT.present) === 0) continue;
    const before = joinWords(lo, hi);
    const after = checkDescriptor(before);
    if (after === null) return -ERRNO.EINVAL;
    if (after !== before) d.memory.write64(mfn * PAGE_SIZE + i * 8, after);
  }
  return 0;
}

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
  d.host.tlb.flushAll();
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

/** pv_destroy_ldt: gives the LDT's pages back; true when there were any. An LDT without entries has none. */
export function destroyLdt(d: Domain): boolean {
  if (d.host.tables.ldtEntries === 0) return false;
  const pages = d.state.ldtPages[d.host.vcpu]!;
  let dropped = false;
  for (const [i, mfn] of pages.entries()) {
    if (mfn === 0) continue;
    pages[i] = 0;
    putPageAndType(d, mfn);
    dropped = true;
  }
  return dropped;
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
