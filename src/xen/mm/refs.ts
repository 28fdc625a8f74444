/**
 * General references to frames, and the allocation of frames to the domain.
 *
 * Invariant: a frame with a count of 0 is free or a hole and has no owner, no type and no M2P entry (a page of the Xen heap
 * that the domain gave away aside).
 * Source: xen/arch/x86/mm.c (get_page, put_page, share_xen_page_with_guest), xen/common/page_alloc.c.
 */
import { assert } from '../../core/assert.ts';
import type { MachineFrame } from '../../core/units.ts';
import type { Domain } from '../domain.ts';
import { INVALID_M2P, setM2p } from './m2p.ts';
import { frameText, gdprintk, gprintk, ownerText } from './messages.ts';
import { countInfoText, OWNER, PGC, PGT, typeInfoText } from './page-info.ts';

/** Frames that a search for free ones passes for a unit of work. */
const FRAMES_PER_UNIT = 256;

/** Takes a reference to a valid frame whoever owns it: its owner, or OWNER.none and no reference. */
export function getOwnerAndReference(d: Domain, mfn: MachineFrame): number {
  const count = d.frames.count(mfn);
  // 0: not allocated; the two highest counts are kept back.
  if (((count + 2) & PGC.countMask) <= 2) return OWNER.none;
  d.frames.setCount(mfn, count + 1);
  return d.frames.owner(mfn);
}

/** get_page: takes a reference to a valid frame that the domain owns, or says in the log why not. */
export function getPage(d: Domain, mfn: MachineFrame): boolean {
  const owner = getOwnerAndReference(d, mfn);
  if (owner === OWNER.domain) return true;
  const held = owner === OWNER.none ? 0 : 1;
  const caf = countInfoText(d.frames.count(mfn) - held);
  const taf = typeInfoText(d.frames.type(mfn));
  gprintk(d, `Error mfn ${frameText(mfn)}: rd=d${d.id} od=${ownerText(d, owner)} caf=${caf} taf=${taf}`);
  if (held) putPage(d, mfn);
  return false;
}

/** get_page_from_mfn: `getPage` of a frame that may not exist, with Xen's second line. */
export function getPageFromMfn(d: Domain, mfn: MachineFrame): boolean {
  if (d.frames.valid(mfn) && getPage(d, mfn)) return true;
  gdprintk(d, 'mm.h:416', `Could not get page ref for mfn ${frameText(mfn)}`);
  return false;
}

/** get_page_from_gfn of a PV domain: `getPage` of a frame that may not exist. */
export const getPageFromGfn = (d: Domain, mfn: MachineFrame): boolean => d.frames.valid(mfn) && getPage(d, mfn);

/** put_page: drops a reference; the last one frees the frame. */
export function putPage(d: Domain, mfn: MachineFrame): void {
  const count = d.frames.count(mfn);
  assert((count & PGC.countMask) !== 0, 'put of a free frame');
  d.frames.setCount(mfn, count - 1);
  if (((count - 1) & PGC.countMask) === 0) freePage(d, mfn);
}

/**
 * free_domheap_page: the frame's contents stay as they are, as Xen scrubs only what a dying domain leaves. A page of the
 * Xen heap that a domain gave away goes on in Xen's use; the domain just cannot refer to it any more.
 */
function freePage(d: Domain, mfn: MachineFrame): void {
  const { frames } = d;
  if (frames.count(mfn) & PGC.xenHeap) return;
  assert((frames.count(mfn) & PGC.allocated) === 0, 'free of an allocated frame');
  assert((frames.type(mfn) & (PGT.countMask | PGT.pinned)) === 0, 'free of a typed frame');
  dropOwnership(d, mfn);
  d.state.totPages--;
}

/** Leaves a frame without owner, type and M2P entry. */
export function dropOwnership(d: Domain, mfn: MachineFrame): void {
  d.frames.setCount(mfn, 0);
  d.frames.setType(mfn, PGT.none);
  d.frames.setLinear(mfn, 0);
  d.frames.setOwner(mfn, OWNER.none);
  setM2p(d, mfn, INVALID_M2P);
  if (mfn < d.freeHint) d.freeHint = mfn;
}

/** Drops the reference that stands for "the domain has allocated this frame", once (put_page_alloc_ref). */
export function putAllocRef(d: Domain, mfn: MachineFrame): void {
  const count = d.frames.count(mfn);
  if ((count & PGC.allocated) === 0) return;
  d.frames.setCount(mfn, count & ~PGC.allocated);
  putPage(d, mfn);
}

/** Makes a free frame the domain's, with its allocation reference. */
export function assignPage(d: Domain, mfn: MachineFrame): void {
  d.frames.setOwner(mfn, OWNER.domain);
  d.frames.setCount(mfn, PGC.allocated | 1);
  d.state.totPages++;
}

/** The same for the frames from `first` to before `end`, of a machine that is being made. */
export function assignPages(d: Domain, first: MachineFrame, end: MachineFrame): void {
  d.frames.fill(first, end, { type: PGT.none, count: PGC.allocated | 1, owner: OWNER.domain });
  d.state.totPages += end - first;
}

/**
 * Finds the lowest run of 2^order free frames aligned to its size, below the address of `addressBits` bits (0 = any); -1
 * when there is none. Real Xen prefers high frames; which one a guest gets is ours to fix.
 */
export function findFree(d: Domain, order: number, addressBits: number): MachineFrame {
  const { layout, frames } = d;
  const size = 2 ** order;
  const end = addressBits === 0 ? layout.frameLimit : Math.min(layout.frameLimit, 2 ** (addressBits - 12));
  const free = (mfn: MachineFrame): boolean => (frames.count(mfn) & PGC.countMask) === 0;
  while (d.freeHint < layout.frameLimit && !free(d.freeHint)) d.freeHint++;
  let first = Math.ceil(d.freeHint / size) * size;
  for (; first + size <= end; first += size) {
    let taken = 0;
    while (taken < size && free(first + taken)) taken++;
    if (taken === size) break;
  }
  // What the hint has spared is no part of the state: all frames below count as looked at.
  d.work.charge(Math.ceil((first - layout.domainBase) / FRAMES_PER_UNIT));
  return first + size <= end ? first : -1;
}

/**
 * Takes the lowest Xen-heap page that no one shares yet and gives it to the domain for good (share_xen_page_with_guest);
 * with `writable` the guest may map it so. The page is zeroed; null when the heap is used up.
 */
export function shareXenPage(d: Domain, writable: boolean): MachineFrame | null {
  const { frames, layout } = d;
  for (let mfn = layout.heapBase; mfn < layout.heapBase + layout.heapPages; mfn++) {
    if (frames.owner(mfn) !== OWNER.xen) continue;
    // The extra type count pins the page as what it is.
    frames.setType(mfn, (writable ? PGT.writable : PGT.none) | PGT.validated | 1);
    frames.setOwner(mfn, OWNER.domain);
    frames.setCount(mfn, PGC.xenHeap | PGC.allocated | 1);
    d.memory.fillPage(mfn, 0);
    return mfn;
  }
  return null;
}
