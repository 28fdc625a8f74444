/**
 * Hypercalls mmu_update and update_va_mapping.
 *
 * Invariant: the number of requests done is written even when one fails, and when the call goes on as another step.
 * Source: xen/arch/x86/mm.c (do_mmu_update, __do_update_va_mapping), xen/common/page_alloc.c (get_pg_owner), Xen 4.17.
 */
import { type MachineFrame, PAGE_SIZE, type VirtAddr } from '../../core/units.ts';
import { highWord, joinWords, lowWord, plus } from '../../core/words.ts';
import { ERRNO } from '../abi/errno.ts';
import { DOMID, MMU, MMU_UPDATE_PREEMPTED, UVMF } from '../abi/numbers.ts';
import { AMD64 } from '../abi/structures.ts';
import { arrayOk, type Domain } from '../domain.ts';
import { type Continuation, goesOnWith } from '../work.ts';
import { modL1Entry, modUpperEntry, NORMAL_CHANGE } from './entries.ts';
import { setM2p } from './m2p.ts';
import { gdprintk } from './messages.ts';
import { levelOf, OWNER, PGT } from './page-info.ts';
import { getPageFromGfn, getPageFromMfn, putPage } from './refs.ts';
import { getPageType, putPageType } from './types.ts';
import { findL1e } from './walk.ts';

/** Dom0 exists beside the domain, as the place its devices would come from. */
const DOM0 = 0;
/** A foreign domain that exists but is not the guest's to act on. */
const OTHER = -1;

/** get_pg_owner: OWNER of the domain an argument names, OTHER, or null where there is none. */
export function foreignOwner(d: Domain, domid: number): number | null {
  if (domid === d.id) {
    gdprintk(d, 'page_alloc.c:2671', 'Cannot specify itself as foreign domain');
    return null;
  }
  if (domid === DOMID.SELF) return OWNER.domain;
  if (domid === DOMID.IO) return OWNER.io;
  if (domid === DOMID.XEN || domid === DOM0) return OTHER;
  gdprintk(d, 'page_alloc.c:2687', `Unknown domain d${domid}`);
  return null;
}

/** The count of requests, and the number done before where the call continues one. */
export function requestCount(d: Domain, count: number, pdone: VirtAddr): { count: number; done: number } {
  if (count < MMU_UPDATE_PREEMPTED) return { count, done: 0 };
  const before = pdone === 0n ? null : d.host.copyIn(pdone, 4);
  const done = before === null ? 0 : new DataView(before.buffer, before.byteOffset).getUint32(0, true);
  return { count: count - MMU_UPDATE_PREEMPTED, done };
}
/** Writes the number of requests done, if the guest asked for it; a fault there is ignored. */
export function writeDone(d: Domain, pdone: VirtAddr, done: number): void {
  if (pdone === 0n) return;
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, done, true);
  d.host.copyOut(pdone, bytes);
}

/** The arguments of a call of which `left` requests from `list` on are not done yet. */
export const requestsLeft = (list: VirtAddr, left: number, pdone: VirtAddr, foreigndom: number): Continuation =>
  goesOnWith(list, left + MMU_UPDATE_PREEMPTED, pdone, foreigndom);

/** Hypercall mmu_update: `ureqs` is an array of `count` mmu_update structures; 0, a negated error, or what is left. */
export function doMmuUpdate(
  d: Domain,
  ureqs: VirtAddr,
  rawCount: number,
  pdone: VirtAddr,
  foreigndom: number,
): number | Continuation {
  if (rawCount === MMU_UPDATE_PREEMPTED && ureqs === 0n) return foreigndom | 0;
  const { count, done } = requestCount(d, rawCount, pdone);
  const size = AMD64.mmuUpdate.bytes;
  if (!arrayOk(ureqs, count, size)) return -ERRNO.EFAULT;
  const ptDomain = foreigndom >>> 16;
  if (ptDomain !== 0 && ptDomain - 1 !== d.id && ptDomain - 1 !== DOM0) return -ERRNO.ESRCH;
  const ptOwner = ptDomain === 0 || ptDomain - 1 === d.id ? OWNER.domain : OTHER;
  const pgOwner = foreignOwner(d, foreigndom & 0xffff);
  let rc: number | Continuation = 0;
  let i = 0;
  if (pgOwner === null) rc = -ERRNO.ESRCH;
  else {
    for (; i < count; i++) {
      if (i > 0 && d.work.isSpent) {
        rc = requestsLeft(plus(ureqs, i * size), count - i, pdone, foreigndom);
        break;
      }
      if (!d.host.fill(plus(ureqs, i * size), REQUEST.bytes)) {
        rc = -ERRNO.EFAULT;
        break;
      }
      rc = updateOne(d, REQUEST.words, ptOwner, pgOwner);
      if (rc !== 0) break;
    }
  }
  writeDone(d, pdone, done + i);
  return rc;
}

/** The request being carried out: low and high word of `ptr`, then of `val`. */
const REQUEST = (() => {
  const words = new Int32Array(AMD64.mmuUpdate.bytes / 4);
  return { words, bytes: new Uint8Array(words.buffer) };
})();

/** Carries out one request, given as words. */
function updateOne(d: Domain, request: Int32Array, ptOwner: number, pgOwner: number): number {
  const ptrLo = request[0]!;
  const lo = request[2]!;
  const hi = request[3]!;
  const cmd = ptrLo & 7;
  const mfn = (ptrLo >>> 12) + (request[1]! >>> 0) * 0x100000;
  if (cmd === MMU.machphysUpdate) return updateM2p(d, mfn, joinWords(lo, hi), ptOwner, pgOwner);
  if (cmd > MMU.ptUpdateNoTranslate) return -ERRNO.ENOSYS;
  // The XSM default: a domain may act on itself; that entries name I/O pages is checked with the entry.
  if (ptOwner === OTHER || pgOwner === OTHER) return -ERRNO.EPERM;
  if (!getPageFromGfn(d, mfn)) {
    gdprintk(d, 'mm.c:4114', 'Could not get page for normal update');
    return -ERRNO.EINVAL;
  }
  const rc = updateWord(d, mfn, ptrLo & 0xff8, lo, hi, cmd === MMU.ptUpdatePreserveAd, pgOwner);
  putPage(d, mfn);
  return rc;
}

function updateWord(
  d: Domain,
  mfn: MachineFrame,
  offset: number,
  lo: number,
  hi: number,
  preserveAd: boolean,
  pgOwner: number,
): number {
  const type = d.frames.type(mfn);
  const inUse = (type & PGT.countMask) !== 0;
  const level = inUse ? levelOf(type) : 0;
  if (level === 1) return modL1Entry(d, mfn, offset / 8, lo, hi, { preserveAd, pgOwner });
  if (level > 1) {
    if (pgOwner !== OWNER.domain) return -ERRNO.EINVAL;
    return modUpperEntry(d, mfn, offset / 8, lo, hi, level, preserveAd);
  }
  // A page in use for something else than a page table or for writing is not the guest's to change.
  if (inUse && (type & PGT.typeMask) !== PGT.writable) return -ERRNO.EINVAL;
  if (getPageType(d, mfn, PGT.writable) !== 0) return -ERRNO.EINVAL;
  d.memory.write64(mfn * PAGE_SIZE + offset, joinWords(lo, hi));
  putPageType(d, mfn);
  return 0;
}

function updateM2p(d: Domain, mfn: MachineFrame, pfn: bigint, ptOwner: number, pgOwner: number): number {
  if (ptOwner !== OWNER.domain || pgOwner === OTHER) return -ERRNO.EPERM;
  if (pgOwner === OWNER.domain ? !getPageFromMfn(d, mfn) : !d.frames.valid(mfn) || d.frames.owner(mfn) !== pgOwner) {
    gdprintk(d, 'mm.c:4238', 'Could not get page for mach->phys update');
    return -ERRNO.EINVAL;
  }
  setM2p(d, mfn, pfn);
  if (pgOwner === OWNER.domain) putPage(d, mfn);
  return 0;
}

/** Reads a guest's vCPU bitmap (`unsigned long` words); false when it cannot be read. */
export function vcpuMaskReadable(d: Domain, pointer: VirtAddr): boolean {
  return d.host.copyIn(pointer, Math.ceil(d.host.vcpuCount / 64) * 8) !== null;
}

/** Hypercall update_va_mapping: 0 or a negated error. */
export function doUpdateVaMapping(d: Domain, address: VirtAddr, value: bigint, flags: bigint): number {
  const place = findL1e(d, address);
  if (place === null || !getPageFromMfn(d, place.table)) return -ERRNO.EINVAL;
  const { table, index } = place;
  const type = d.frames.type(table);
  const usable = (type & PGT.countMask) !== 0 && levelOf(type) === 1;
  const rc = usable ? modL1Entry(d, table, index, lowWord(value), highWord(value), NORMAL_CHANGE) : -ERRNO.EINVAL;
  putPage(d, table);
  if (rc !== 0) return rc;
  const what = flags & UVMF.flushtypeMask;
  const who = flags & ~UVMF.flushtypeMask;
  if (what !== UVMF.tlbFlush && what !== UVMF.invlpg) return 0;
  return who === UVMF.local || who === UVMF.all || vcpuMaskReadable(d, who) ? 0 : -ERRNO.EFAULT;
}
