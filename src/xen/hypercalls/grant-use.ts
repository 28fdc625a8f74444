/**
 * What of grant_table_op uses grants: map, unmap, copy, swap and cache_flush (xen/common/grant_table.c). The only other domain is 0, which
 * grants nothing; copies go by frames and by the domain's own entries. A domain maps nothing yet: a mapping that nothing is wrong with is a
 * general error.
 */
import { type MachineFrame, PAGE_SIZE, type VirtAddr } from '../../core/units.ts';
import { plus } from '../../core/words.ts';
import { ARGUMENTS64 as ARG } from '../abi/arguments.ts';
import { ERRNO } from '../abi/errno.ts';
import type { Layout } from '../abi/layout.ts';
import { DOMID, GNTTABOP } from '../abi/numbers.ts';
import { AMD64 } from '../abi/structures.ts';
import { arrayOk } from '../domain.ts';
import { frameNumber, OWNER } from '../mm/page-info.ts';
import { getPageFromGfn, putPage } from '../mm/refs.ts';
import type { GuestStruct } from '../pv/guest-access.ts';
import { goesOnWith } from '../work.ts';
import type { Call, CallResult } from './call.ts';

/** GNTST status codes (public/grant_table.h). */
export const STATUS = {
  okay: 0,
  generalError: -1,
  badDomain: -2,
  badGntref: -3,
  badHandle: -4,
  badVirtAddr: -5,
  permissionDenied: -8,
  badPage: -9,
  badCopyArg: -10,
} as const;
/** GTF_type_mask and GTF_permit_access; GTF_readonly. */
const GTF = { typeMask: 3, permitAccess: 1, readonly: 4 } as const;
const GNTMAP = { deviceMap: 1, hostMap: 2, readonly: 4 } as const;
const GNTCOPY = { sourceGref: 1, destGref: 2 } as const;
const CACHE = { clean: 1, invalidate: 2 } as const;
const { grantEntryV1: ENTRY } = AMD64;
const ENTRIES_PER_FRAME = PAGE_SIZE / ENTRY.bytes;
/** Entries of domain 0, whose table has one frame with nothing in it. */
const ENTRIES_OF_DOM0 = ENTRIES_PER_FRAME;

const own = (call: Call, dom: number): boolean => dom === call.pv.domainId;
const entriesOf = (call: Call): number => call.pv.domain.grantFrames * ENTRIES_PER_FRAME;
/** Machine address of an entry of the domain's own table. */
const entryAt = (call: Call, ref: number): number =>
  call.pv.places.grantFrames[Math.floor(ref / ENTRIES_PER_FRAME)]! * PAGE_SIZE +
  (ref % ENTRIES_PER_FRAME) * ENTRY.bytes;

/** The frame that domain `dom` grants to this one by `ref`, or a status. */
function grantedFrame(call: Call, dom: number, ref: number, readonly: boolean): { frame: MachineFrame } | number {
  if (!own(call, dom)) return ref >= ENTRIES_OF_DOM0 ? STATUS.badGntref : STATUS.generalError;
  if (ref >= entriesOf(call)) return STATUS.badGntref;
  const { memory, domainId } = call.pv;
  const at = entryAt(call, ref);
  const header = memory.read32(at);
  const [flags, grantee] = [header & 0xffff, header >>> 16];
  const permits = (flags & GTF.typeMask) === GTF.permitAccess && grantee === domainId;
  if (!permits || (!readonly && (flags & GTF.readonly) !== 0)) return STATUS.generalError;
  return { frame: memory.read32(at + ENTRY.at.frame) >>> 0 };
}

/** Carries an operation out for each of `count` structures; a number below 0 ends the call. */
function each<F extends string>(
  call: Call,
  layout: Layout<F>,
  one: (arg: GuestStruct<F>, at: VirtAddr) => number,
): CallResult {
  const { pv, cpu } = call;
  const count = call.u32(2);
  if (!arrayOk(call.ptr(1), count, layout.bytes)) return -ERRNO.EFAULT;
  for (let i = 0, at = call.ptr(1); i < count; i++, at = plus(at, layout.bytes)) {
    if (i > 0 && pv.work.isSpent) return goesOnWith(call.u32(0), at, count - i);
    const arg = pv.guest.struct(cpu, at, layout);
    if (arg === null) return -ERRNO.EFAULT;
    const rc = one(arg, at);
    if (rc < 0) return rc;
  }
  return 0;
}

/** The same for operations that answer with a status in their structure. */
const eachStatus = <F extends string>(
  call: Call,
  layout: Layout<F | 'status'>,
  one: (arg: GuestStruct<F | 'status'>) => number,
): CallResult =>
  each(call, layout, (arg, at) => {
    arg.setU16('status', one(arg) & 0xffff);
    return call.put(at, arg.bytes);
  });

function mapStatus(call: Call, flags: number, dom: number, ref: number): number {
  if ((flags & (GNTMAP.deviceMap | GNTMAP.hostMap)) === 0) return STATUS.badGntref;
  if (!own(call, dom) && dom !== 0) return STATUS.badDomain;
  const granted = grantedFrame(call, dom, ref, (flags & GNTMAP.readonly) !== 0);
  return typeof granted === 'number' ? granted : STATUS.generalError;
}

type CopyArgument = GuestStruct<keyof typeof ARG.grantCopy.at & string>;

/** One side of a copy: the frame it names, or a status. */
function copySide(call: Call, arg: CopyArgument, side: 'source' | 'dest'): { frame: MachineFrame } | number {
  const byGref = (arg.u16('flags') & (side === 'source' ? GNTCOPY.sourceGref : GNTCOPY.destGref)) !== 0;
  const frame = arg.u64(`${side}_frame`);
  const named = byGref
    ? grantedFrame(call, domainOf(call, arg.u16(`${side}_domid`)), Number(frame & 0xffffffffn), side === 'source')
    : { frame: frameNumber(frame) };
  if (typeof named === 'number') return named;
  const { domain } = call.pv.mm;
  if (!getPageFromGfn(domain, named.frame)) return STATUS.badPage;
  putPage(domain, named.frame);
  return named;
}
const domainOf = (call: Call, dom: number): number => (dom === DOMID.SELF ? call.pv.domainId : dom);

/** What is wrong with the domain of one side (gnttab_copy_lock_domain). */
function copyDomain(call: Call, arg: CopyArgument, side: 'source' | 'dest'): number {
  const dom = arg.u16(`${side}_domid`);
  const byGref = (arg.u16('flags') & (side === 'source' ? GNTCOPY.sourceGref : GNTCOPY.destGref)) !== 0;
  if (dom !== DOMID.SELF && !byGref) return STATUS.permissionDenied;
  return dom === DOMID.SELF || own(call, dom) || dom === 0 ? STATUS.okay : STATUS.badDomain;
}

function copyStatus(call: Call, arg: CopyArgument): number {
  const { pv } = call;
  const refused = copyDomain(call, arg, 'source') || copyDomain(call, arg, 'dest');
  if (refused !== STATUS.okay) return refused;
  const source = copySide(call, arg, 'source');
  if (typeof source === 'number') return source;
  const dest = copySide(call, arg, 'dest');
  if (typeof dest === 'number') return dest;
  if (!pv.mm.takeWritable(dest.frame)) return STATUS.generalError;
  pv.mm.giveWritable(dest.frame);
  const [from, to, length] = [arg.u16('source_offset'), arg.u16('dest_offset'), arg.u16('len')];
  if (from + length > PAGE_SIZE || to + length > PAGE_SIZE) return STATUS.badCopyArg;
  const bytes = new Uint8Array(length);
  pv.memory.copyOut(source.frame * PAGE_SIZE + from, length, bytes, 0);
  pv.memory.writeBytes(dest.frame * PAGE_SIZE + to, bytes);
  return STATUS.okay;
}

function swapStatus(call: Call, a: number, b: number): number {
  const entries = entriesOf(call);
  if (a >= entries || b >= entries) return STATUS.badGntref;
  const { memory } = call.pv;
  const [atA, atB] = [entryAt(call, a), entryAt(call, b)];
  const kept = memory.read64(atA);
  memory.write64(atA, memory.read64(atB));
  memory.write64(atB, kept);
  return STATUS.okay;
}

/** Caches are coherent: only what Xen refuses is to be seen (_cache_flush; invalidating alone is none of x86). */
function cacheFlush(call: Call, arg: GuestStruct<keyof typeof ARG.grantCacheFlush.at & string>): number {
  const [offset, length, op] = [arg.u16('offset'), arg.u16('length'), arg.u32('op')];
  if (offset >= PAGE_SIZE || offset + length > PAGE_SIZE || (op & ~(CACHE.clean | CACHE.invalidate)) !== 0)
    return -ERRNO.EINVAL;
  if (length === 0 || op === 0) return call.u32(0) === GNTTABOP.cache_flush ? 0 : -ERRNO.EILSEQ;
  const { frames } = call.pv.mm.domain;
  const frame = frameNumber(arg.u64('address') >> 12n);
  if (!frames.valid(frame)) return -ERRNO.EINVAL;
  if (frames.owner(frame) !== OWNER.domain) return -ERRNO.EPERM;
  return op === CACHE.invalidate ? -ERRNO.EOPNOTSUPP : 0;
}

/** The operation `cmd` of those above; -ENOSYS for another one. */
export function useGrants(call: Call, cmd: number): CallResult {
  switch (cmd) {
    case GNTTABOP.map_grant_ref:
      return eachStatus(call, ARG.grantMap, (arg) => mapStatus(call, arg.u32('flags'), arg.u16('dom'), arg.u32('ref')));
    // nothing is mapped: every handle is a bad one
    case GNTTABOP.unmap_grant_ref:
    case GNTTABOP.unmap_and_replace:
      return eachStatus(call, ARG.grantUnmap, () => STATUS.badHandle);
    case GNTTABOP.copy:
      return eachStatus(call, ARG.grantCopy, (arg) => copyStatus(call, arg));
    case GNTTABOP.swap_grant_ref:
      return eachStatus(call, ARG.grantSwap, (arg) => swapStatus(call, arg.u32('ref_a'), arg.u32('ref_b')));
    case GNTTABOP.cache_flush:
      return each(call, ARG.grantCacheFlush, (arg) => cacheFlush(call, arg));
    default:
      return -ERRNO.ENOSYS;
  }
}
