/**
 * Hypercall mmuext_op: pins, page-table roots, flushes, the LDT, and whole pages.
 *
 * Source: xen/arch/x86/mm.c (do_mmuext_op, new_guest_cr3), Xen 4.17.
 */
import { type MachineFrame, PAGE_MASK, PAGE_SIZE, type VirtAddr } from '../../core/units.ts';
import { lowWord, plus } from '../../core/words.ts';
import { unitsOf } from '../../core/work.ts';
import { ERRNO } from '../abi/errno.ts';
import { MMU_UPDATE_PREEMPTED, MMUEXT } from '../abi/numbers.ts';
import { AMD64 } from '../abi/structures.ts';
import { addressOk, arrayOk, type Domain } from '../domain.ts';
import type { Continuation } from '../work.ts';
import { destroyLdt } from './descriptors.ts';
import { fillRoMpt, zapRoMpt } from './m2p.ts';
import { frameText, gdprintk } from './messages.ts';
import { frameNumber, OWNER, PGT } from './page-info.ts';
import { getPageFromGfn, putPage } from './refs.ts';
import { getPageAndType, getPageType, putPageAndType, putPageType } from './types.ts';
import { foreignOwner, requestCount, requestsLeft, vcpuMaskReadable, writeDone } from './update.ts';

/** One operation: the meaning of the arguments depends on the command. */
interface Operation {
  readonly cmd: number;
  readonly arg1: bigint;
  readonly arg2: bigint;
}

/** The request being carried out. */
const REQUEST = (() => {
  const bytes = new Uint8Array(AMD64.mmuextOp.bytes);
  return { bytes, view: new DataView(bytes.buffer) };
})();

/** Hypercall mmuext_op: `uops` is an array of `count` mmuext_op structures; 0, a negated error, or what is left. */
export function doMmuextOp(
  d: Domain,
  uops: VirtAddr,
  rawCount: number,
  pdone: VirtAddr,
  foreigndom: number,
): number | Continuation {
  if (rawCount === MMU_UPDATE_PREEMPTED && uops === 0n) return foreigndom | 0;
  const { count, done } = requestCount(d, rawCount, pdone);
  const { bytes, at } = AMD64.mmuextOp;
  if (!arrayOk(uops, count, bytes)) return -ERRNO.EFAULT;
  const owner = foreignOwner(d, foreigndom & 0xffff);
  if (owner === null) return -ERRNO.ESRCH;
  // The XSM default: a domain may act on its own tables only.
  if (owner !== OWNER.domain) return -ERRNO.EPERM;
  let rc: number | Continuation = 0;
  let i = 0;
  for (; i < count; i++) {
    if (i > 0 && d.work.isSpent) {
      rc = requestsLeft(plus(uops, i * bytes), count - i, pdone, foreigndom);
      break;
    }
    if (!d.host.fill(plus(uops, i * bytes), REQUEST.bytes)) {
      rc = -ERRNO.EFAULT;
      break;
    }
    const { view } = REQUEST;
    rc = runOne(d, {
      cmd: view.getUint32(at.cmd, true),
      arg1: view.getBigUint64(at.arg1, true),
      arg2: view.getBigUint64(at.arg2, true),
    });
    if (rc !== 0) break;
  }
  writeDone(d, pdone, done + i);
  return rc;
}

function runOne(d: Domain, { cmd, arg1, arg2 }: Operation): number {
  switch (cmd) {
    case MMUEXT.PIN_L1_TABLE:
    case MMUEXT.PIN_L2_TABLE:
    case MMUEXT.PIN_L3_TABLE:
    case MMUEXT.PIN_L4_TABLE:
      return pin(d, frameNumber(arg1), (cmd + 1) << 29);
    case MMUEXT.UNPIN_TABLE:
      return unpin(d, frameNumber(arg1));
    case MMUEXT.NEW_BASEPTR:
      return newBaseptr(d, frameNumber(arg1));
    case MMUEXT.NEW_USER_BASEPTR:
      return newUserBaseptr(d, frameNumber(arg1));
    case MMUEXT.TLB_FLUSH_MULTI:
    case MMUEXT.INVLPG_MULTI:
      return vcpuMaskReadable(d, arg2) ? 0 : -ERRNO.EINVAL;
    case MMUEXT.TLB_FLUSH_LOCAL:
    case MMUEXT.TLB_FLUSH_ALL:
    case MMUEXT.INVLPG_LOCAL:
    case MMUEXT.INVLPG_ALL:
      return 0;
    case MMUEXT.FLUSH_CACHE:
      // Only a domain with devices of its own may.
      return -ERRNO.EACCES;
    case MMUEXT.FLUSH_CACHE_GLOBAL:
      return -ERRNO.EINVAL;
    case MMUEXT.SET_LDT:
      return setLdt(d, arg1, lowWord(arg2) >>> 0);
    case MMUEXT.CLEAR_PAGE:
      return clearPage(d, frameNumber(arg1));
    case MMUEXT.COPY_PAGE:
      return copyPage(d, frameNumber(arg1), frameNumber(arg2));
    case MMUEXT.MARK_SUPER:
    case MMUEXT.UNMARK_SUPER:
      return -ERRNO.EOPNOTSUPP;
    default:
      return -ERRNO.ENOSYS;
  }
}

/** Takes a type reference that lasts until the guest unpins the table. */
export function pin(d: Domain, mfn: MachineFrame, type: number): number {
  if (!getPageFromGfn(d, mfn)) return -ERRNO.EINVAL;
  const rc = getPageType(d, mfn, type);
  if (rc !== 0) {
    gdprintk(d, 'mm.c:3576', `Error ${rc} while pinning mfn ${frameText(mfn)}`);
    putPage(d, mfn);
    return rc;
  }
  const info = d.frames.type(mfn);
  if (info & PGT.pinned) {
    gdprintk(d, 'mm.c:3588', `mfn ${frameText(mfn)} already pinned`);
    putPageAndType(d, mfn);
    return -ERRNO.EINVAL;
  }
  d.frames.setType(mfn, info | PGT.pinned);
  return 0;
}

function unpin(d: Domain, mfn: MachineFrame): number {
  if (!getPageFromGfn(d, mfn)) {
    gdprintk(d, 'mm.c:3632', `mfn ${frameText(mfn)} bad, or bad owner d${d.id}`);
    return -ERRNO.EINVAL;
  }
  const info = d.frames.type(mfn);
  if ((info & PGT.pinned) === 0) {
    putPage(d, mfn);
    gdprintk(d, 'mm.c:3642', `mfn ${frameText(mfn)} not pinned`);
    return -ERRNO.EINVAL;
  }
  d.frames.setType(mfn, info & ~PGT.pinned);
  putPageAndType(d, mfn);
  putPage(d, mfn);
  return 0;
}

/** new_guest_cr3: makes `mfn` the kernel's root and drops the old one; 0 or a negated error. */
export function newBaseptr(d: Domain, mfn: MachineFrame): number {
  const v = d.host.tables;
  const old = v.kernelTable;
  if (old === mfn) return 0;
  const rc = getPageAndType(d, mfn, PGT.l4);
  if (rc !== 0) {
    gdprintk(d, 'mm.c:3346', `Error while installing new baseptr ${frameText(mfn)}`);
    return rc;
  }
  destroyLdt(d);
  if (!d.host.m2pStrict) fillRoMpt(d, mfn);
  v.kernelTable = mfn;
  d.host.rootChanged();
  if (old !== 0) putPageAndType(d, old);
  return 0;
}

function newUserBaseptr(d: Domain, mfn: MachineFrame): number {
  const v = d.host.tables;
  const old = v.userTable;
  if (old === mfn) return 0;
  if (mfn !== 0) {
    const rc = getPageAndType(d, mfn, PGT.l4);
    if (rc !== 0) {
      gdprintk(d, 'mm.c:3708', `Error ${rc} installing new mfn ${frameText(mfn)}`);
      return rc;
    }
    if (d.host.m2pStrict) zapRoMpt(d, mfn);
  }
  v.userTable = mfn;
  d.host.rootChanged();
  if (old !== 0) putPageAndType(d, old);
  return 0;
}

function setLdt(d: Domain, base: VirtAddr, entries: number): number {
  const v = d.host.tables;
  const bad = entries > 8192 || (entries !== 0 && ((base & BigInt(PAGE_MASK)) !== 0n || !addressOk(base)));
  if (bad) {
    gdprintk(d, 'mm.c:3837', `Bad args to SET_LDT: ptr=${base.toString(16)}, ents=${entries.toString(16)}`);
    return -ERRNO.EINVAL;
  }
  const start = entries === 0 ? 0n : base;
  if (v.ldtEntries === entries && v.ldtBase === start) return 0;
  destroyLdt(d);
  v.ldtBase = start;
  v.ldtEntries = entries;
  return 0;
}

/** Takes a page for one write by Xen on the guest's behalf; false when its type forbids that. */
function getForWriting(d: Domain, mfn: MachineFrame): boolean {
  if (!getPageFromGfn(d, mfn)) return false;
  if (getPageType(d, mfn, PGT.writable) === 0) return true;
  putPage(d, mfn);
  return false;
}

function clearPage(d: Domain, mfn: MachineFrame): number {
  if (!getForWriting(d, mfn)) {
    gdprintk(d, 'mm.c:3865', `Error clearing mfn ${frameText(mfn)}`);
    return -ERRNO.EINVAL;
  }
  d.work.charge(unitsOf(PAGE_SIZE));
  d.memory.fillPage(mfn, 0);
  putPageAndType(d, mfn);
  return 0;
}

function copyPage(d: Domain, to: MachineFrame, from: MachineFrame): number {
  if (!getPageFromGfn(d, from)) {
    gdprintk(d, 'mm.c:3892', `Error copying from mfn ${frameText(from)}`);
    return -ERRNO.EINVAL;
  }
  if (!getForWriting(d, to)) {
    putPage(d, from);
    gdprintk(d, 'mm.c:3913', `Error copying to mfn ${frameText(to)}`);
    return -ERRNO.EINVAL;
  }
  d.work.charge(unitsOf(PAGE_SIZE));
  d.memory.writeBytes(to * PAGE_SIZE, d.memory.page(from));
  putPageType(d, to);
  putPage(d, to);
  putPage(d, from);
  return 0;
}
