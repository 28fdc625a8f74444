/**
 * Hypercall memory_op: what the domain may have, gives back, takes, and exchanges.
 *
 * Source: xen/common/memory.c, xen/arch/x86/mm.c (arch_memory_op), Xen 4.17.
 */
import type { MachineFrame, VirtAddr } from '../core/units.ts';
import { ERRNO } from './abi/errno.ts';
import { DOMID, MACH2PHYS_VIRT_END, MACH2PHYS_VIRT_START, MEMOP_EXTENT_SHIFT, XENMEM, XENMEMF } from './abi/numbers.ts';
import { AMD64, E820_ENTRY } from './abi/structures.ts';
import { arrayOk, type Domain } from './domain.ts';
import { setM2p } from './mm/m2p.ts';
import { frameText, gdprintk, gprintk } from './mm/messages.ts';
import { countInfoText, frameNumber, OWNER, PGC, PGT, typeInfoText } from './mm/page-info.ts';
import { assignPage, dropOwnership, findFree, getOwnerAndReference, getPage, putAllocRef, putPage } from './mm/refs.ts';
import { type Continuation, goesOnWith } from './work.ts';

/** Largest extent order of a domU (PAGETABLE_ORDER). */
const MAX_ORDER = 9;
/** Extents a continuation could count: more are refused. */
const MAX_EXTENTS = BigInt(0xffffffff >>> MEMOP_EXTENT_SHIFT);
const E820_RAM = 1;

/** struct xen_memory_reservation. */
interface Reservation {
  readonly list: VirtAddr;
  readonly extents: bigint;
  readonly order: number;
  readonly flags: number;
  readonly domid: number;
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

function reservationAt(view: DataView, offset: number): Reservation {
  const { at } = AMD64.memoryReservation;
  return {
    list: view.getBigUint64(offset + at.extent_start, true),
    extents: view.getBigUint64(offset + at.nr_extents, true),
    order: view.getUint32(offset + at.extent_order, true),
    flags: view.getUint32(offset + at.mem_flags, true),
    domid: view.getUint16(offset + at.domid, true),
  };
}
/** Whether a domid argument of memory_op names the caller (rcu_lock_domain_by_any_id). */
const isSelf = (d: Domain, domid: number): boolean => domid === DOMID.SELF || domid === d.id;

/** Reads word `index` of a guest's list of frames; null when it faults. */
function readFrame(d: Domain, list: VirtAddr, index: bigint): bigint | null {
  const bytes = d.host.copyIn(list + index * 8n, 8);
  return bytes === null ? null : viewOf(bytes).getBigUint64(0, true);
}
function writeFrame(d: Domain, list: VirtAddr, index: bigint, mfn: MachineFrame): boolean {
  const bytes = new Uint8Array(8);
  viewOf(bytes).setBigUint64(0, BigInt(mfn), true);
  return d.host.copyOut(list + index * 8n, bytes);
}

/** Hypercall memory_op; a count of extents, a number of pages, 0, a negated error, or what is left. */
export function doMemoryOp(d: Domain, cmd: number, arg: VirtAddr): number | bigint | Continuation {
  const op = cmd & ((1 << MEMOP_EXTENT_SHIFT) - 1);
  const start = cmd >>> MEMOP_EXTENT_SHIFT;
  switch (op) {
    case XENMEM.increase_reservation:
    case XENMEM.decrease_reservation:
    case XENMEM.populate_physmap:
      return adjustReservation(d, op, start, arg);
    case XENMEM.exchange:
      return start !== 0 ? -ERRNO.EINVAL : exchange(d, arg);
    case XENMEM.maximum_ram_page:
      return start !== 0 ? -ERRNO.EINVAL : d.layout.frameLimit;
    case XENMEM.current_reservation:
    case XENMEM.maximum_reservation:
    case XENMEM.maximum_gpfn:
      return start !== 0 ? -ERRNO.EINVAL : reservationSize(d, op, arg);
    case XENMEM.memory_map:
      return memoryMap(d, arg);
    case XENMEM.machphys_mapping:
      return machphysMapping(d, arg);
    case XENMEM.add_to_physmap:
    case XENMEM.add_to_physmap_batch:
    case XENMEM.remove_from_physmap:
      // A PV domain's physical map is its own affair.
      return -ERRNO.EACCES;
    case XENMEM.machine_memory_map:
    case XENMEM.set_memory_map:
    case XENMEM.claim_pages:
    case XENMEM.acquire_resource:
      return -ERRNO.EPERM;
    case XENMEM.get_vnumainfo:
      return -ERRNO.EOPNOTSUPP;
    default:
      return -ERRNO.ENOSYS;
  }
}

function reservationSize(d: Domain, op: number, arg: VirtAddr): number | bigint {
  const bytes = d.host.copyIn(arg, 2);
  if (bytes === null) return -ERRNO.EFAULT;
  const domid = viewOf(bytes).getUint16(0, true);
  if (!isSelf(d, domid)) return domid === 0 ? -ERRNO.EPERM : -ERRNO.ESRCH;
  if (op === XENMEM.current_reservation) return d.state.totPages;
  if (op === XENMEM.maximum_reservation) return d.state.maxPages;
  // What the guest last reported in shared_info.
  const highest = d.memory.read64(d.layout.heapBase * 4096 + AMD64.sharedInfo.at.max_pfn);
  return highest === 0n ? 0n : highest - 1n;
}

/** One RAM entry from 0 to the most the domain may own, as the toolstack sets it for a PV domain. */
function memoryMap(d: Domain, arg: VirtAddr): number {
  const { at, bytes: size } = AMD64.memoryMap;
  const map = d.host.copyIn(arg, size);
  if (map === null) return -ERRNO.EFAULT;
  const view = viewOf(map);
  const count = Math.min(view.getUint32(at.nr_entries, true), 1);
  const entry = new Uint8Array(E820_ENTRY.bytes);
  viewOf(entry).setBigUint64(E820_ENTRY.at.size, BigInt(d.layout.pages) * 4096n, true);
  viewOf(entry).setUint32(E820_ENTRY.at.type, E820_RAM, true);
  if (count > 0 && !d.host.copyOut(view.getBigUint64(at.buffer, true), entry)) return -ERRNO.EFAULT;
  view.setUint32(at.nr_entries, count, true);
  return d.host.copyOut(arg, map) ? 0 : -ERRNO.EFAULT;
}

function machphysMapping(d: Domain, arg: VirtAddr): number {
  const { at, bytes: size } = AMD64.machphysMapping;
  const bytes = new Uint8Array(size);
  const view = viewOf(bytes);
  view.setBigUint64(at.v_start, MACH2PHYS_VIRT_START, true);
  view.setBigUint64(at.v_end, MACH2PHYS_VIRT_END, true);
  view.setBigUint64(at.max_mfn, (MACH2PHYS_VIRT_END - MACH2PHYS_VIRT_START) / 8n - 1n, true);
  return d.host.copyOut(arg, bytes) ? 0 : -ERRNO.EFAULT;
}

/** Address bits an allocation is limited to, 0 = any; null when the limit is not one a frame can meet. */
function addressBits(d: Domain, flags: number): number | null {
  const bits = flags & XENMEMF.addressBitsMask;
  if (bits === 0 || bits >= Math.ceil(Math.log2(d.layout.frameLimit)) + 12) return 0;
  return bits <= 12 ? null : bits;
}

/** increase_reservation, decrease_reservation, populate_physmap: the number of extents done, whatever stopped it, or what is left. */
function adjustReservation(d: Domain, op: number, start: number, arg: VirtAddr): number | Continuation {
  const bytes = d.host.copyIn(arg, AMD64.memoryReservation.bytes);
  if (bytes === null) return start;
  const r = reservationAt(viewOf(bytes), 0);
  if (r.extents > MAX_EXTENTS || BigInt(start) >= r.extents || !isSelf(d, r.domid)) return start;
  const bits = addressBits(d, r.flags);
  if (bits === null || (r.flags & XENMEMF.exactNodeRequest) !== 0) return start;
  const optional = op === XENMEM.increase_reservation && r.list === 0n;
  if (!optional && !arrayOk(r.list, r.extents, 8)) return start;
  if (r.order > MAX_ORDER) return start;
  if (op === XENMEM.populate_physmap && (r.flags & XENMEMF.populateOnDemand) !== 0) return start;
  const extents = Number(r.extents);
  for (let i = start; i < extents; i++) {
    if (i > start && d.work.isSpent) return goesOnWith(op + i * 2 ** MEMOP_EXTENT_SHIFT, arg);
    d.work.charge(2 ** r.order);
    const done =
      op === XENMEM.decrease_reservation
        ? removeExtent(d, r, i)
        : op === XENMEM.populate_physmap
          ? populateExtent(d, r, i, bits)
          : increaseExtent(d, r, i, bits);
    if (!done) return i;
  }
  return extents;
}

/** Allocates 2^order frames to the domain (alloc_domheap_pages); -1 when it may not have them or there are none. */
function allocate(d: Domain, r: Reservation, bits: number): MachineFrame {
  const size = 2 ** r.order;
  if (d.state.totPages + size > d.state.maxPages) {
    gprintk(d, `Over-allocation for d${d.id}: ${d.state.totPages + size} > ${d.state.maxPages}`);
    return -1;
  }
  const mfn = findFree(d, r.order, bits);
  if (mfn >= 0) for (let i = 0; i < size; i++) assignPage(d, mfn + i);
  return mfn;
}

function increaseExtent(d: Domain, r: Reservation, i: number, bits: number): boolean {
  const mfn = allocate(d, r, bits);
  if (mfn < 0) {
    const what = `order=${r.order} extent: id=${d.id} memflags=${(bits << 24).toString(16)}`;
    gdprintk(d, 'memory.c:135', `Could not allocate ${what} (${i} of ${r.extents})`);
    return false;
  }
  return r.list === 0n || writeFrame(d, r.list, BigInt(i), mfn);
}

function populateExtent(d: Domain, r: Reservation, i: number, bits: number): boolean {
  const pfn = readFrame(d, r.list, BigInt(i));
  if (pfn === null) return false;
  const mfn = allocate(d, r, bits);
  if (mfn < 0) {
    const memflags = bits === 0 ? '0x0' : `0x${(bits << 24).toString(16)}`;
    const what = `order=${r.order} extent: id=${d.id} memflags=${memflags}`;
    gdprintk(d, 'memory.c:277', `Could not allocate ${what} (${i} of ${r.extents})`);
    return false;
  }
  addToPhysmap(d, pfn, mfn, r.order);
  return writeFrame(d, r.list, BigInt(i), mfn);
}

/** guest_physmap_add_page of a PV domain: the M2P entries. */
function addToPhysmap(d: Domain, pfn: bigint, mfn: MachineFrame, order: number): void {
  for (let i = 0; i < 2 ** order; i++) setM2p(d, mfn + i, pfn + BigInt(i));
}

function removeExtent(d: Domain, r: Reservation, i: number): boolean {
  const first = readFrame(d, r.list, BigInt(i));
  if (first === null) return false;
  for (let j = 0; j < 2 ** r.order; j++) if (!removePage(d, frameNumber(first) + j)) return false;
  return true;
}

/** guest_remove_page: the frame is free once nothing refers to it any more. */
function removePage(d: Domain, mfn: MachineFrame): boolean {
  if (!d.frames.valid(mfn)) {
    gdprintk(d, 'memory.c:370', `Domain ${d.id} page number ${mfn.toString(16)} invalid`);
    return false;
  }
  if (!getPage(d, mfn)) {
    gdprintk(d, 'memory.c:404', `Bad page free for Dom${d.id} GFN ${mfn.toString(16)}`);
    return false;
  }
  putAllocRef(d, mfn);
  putPage(d, mfn);
  return true;
}

/** memory_exchange: gives frames and gets others of another size or below an address limit, chunk by chunk. */
function exchange(d: Domain, arg: VirtAddr): number | Continuation {
  const { at, bytes: size } = AMD64.memoryExchange;
  const bytes = d.host.copyIn(arg, size);
  if (bytes === null) return -ERRNO.EFAULT;
  const view = viewOf(bytes);
  const input = reservationAt(view, at.in);
  const output = reservationAt(view, at.out);
  const before = view.getBigUint64(at.nr_exchanged, true);
  const finish = (rc: number, exchanged: bigint): number => {
    const word = new Uint8Array(8);
    viewOf(word).setBigUint64(0, exchanged, true);
    return d.host.copyOut(arg + BigInt(at.nr_exchanged), word) ? rc : -ERRNO.EFAULT;
  };
  const refused = checkExchange(d, input, output, before);
  if (refused !== 0) return finish(refused, before);
  if (before === input.extents) return 0;
  const bits = output.flags & XENMEMF.addressBitsMask;
  const inChunk = 2 ** Math.max(0, output.order - input.order);
  const outChunk = 2 ** Math.max(0, input.order - output.order);
  const first = before / BigInt(inChunk);
  const chunks = input.extents / BigInt(inChunk);
  for (let i = first; i < chunks; i++) {
    const exchanged = i * BigInt(inChunk);
    if (i > first && d.work.isSpent) return finish(0, exchanged) || goesOnWith(XENMEM.exchange, arg);
    d.work.charge(2 ** Math.max(input.order, output.order));
    const rc = exchangeChunk(d, input, output, { index: i, inChunk, outChunk, bits });
    if (rc !== 0) return finish(rc, exchanged);
  }
  return finish(0, input.extents);
}

function checkExchange(d: Domain, input: Reservation, output: Reservation, before: bigint): number {
  if (Math.max(input.order, output.order) > MAX_ORDER) return -ERRNO.EPERM;
  const top = (1n << 64n) - 1n;
  if (
    before > input.extents ||
    input.domid !== output.domid ||
    top >> BigInt(input.order) < input.extents ||
    top >> BigInt(output.order) < output.extents ||
    input.extents << BigInt(input.order) !== output.extents << BigInt(output.order)
  )
    return -ERRNO.EINVAL;
  if (before === input.extents) return 0;
  if (!arrayOk(input.list, input.extents, 8) || !arrayOk(output.list, output.extents, 8)) return -ERRNO.EFAULT;
  if ((output.flags & XENMEMF.exactNodeRequest) !== 0) return -ERRNO.EINVAL;
  if (!isSelf(d, input.domid)) return input.domid === 0 ? -ERRNO.EPERM : -ERRNO.ESRCH;
  return 0;
}

interface Chunk {
  readonly index: bigint;
  readonly inChunk: number;
  readonly outChunk: number;
  readonly bits: number;
}

function exchangeChunk(d: Domain, input: Reservation, output: Reservation, chunk: Chunk): number {
  const stolen: MachineFrame[] = [];
  const giveBack = (rc: number): number => {
    for (const mfn of stolen) assignPage(d, mfn);
    return rc;
  };
  for (let j = 0; j < chunk.inChunk; j++) {
    const first = readFrame(d, input.list, chunk.index * BigInt(chunk.inChunk) + BigInt(j));
    if (first === null) return giveBack(-ERRNO.EFAULT);
    for (let k = 0; k < 2 ** input.order; k++) {
      const mfn = frameNumber(first) + k;
      if (!d.frames.valid(mfn) || !stealPage(d, mfn)) return giveBack(-ERRNO.EINVAL);
      stolen.push(mfn);
    }
  }
  // The stolen frames are free only once the new ones are found; until then they must not be found themselves.
  for (const mfn of stolen) d.frames.setCount(mfn, 1);
  const fresh: MachineFrame[] = [];
  for (let j = 0; j < chunk.outChunk; j++) {
    const mfn = findFree(d, output.order, chunk.bits);
    if (mfn < 0) {
      for (const first of fresh) for (let k = 0; k < 2 ** output.order; k++) d.frames.setCount(first + k, 0);
      for (const frame of stolen) d.frames.setCount(frame, 0);
      return giveBack(-ERRNO.ENOMEM);
    }
    for (let k = 0; k < 2 ** output.order; k++) d.frames.setCount(mfn + k, 1);
    fresh.push(mfn);
  }
  for (const mfn of stolen) dropOwnership(d, mfn);
  let rc = 0;
  fresh.forEach((mfn, j) => {
    for (let k = 0; k < 2 ** output.order; k++) assignPage(d, mfn + k);
    const slot = chunk.index * BigInt(chunk.outChunk) + BigInt(j);
    const pfn = readFrame(d, output.list, slot);
    if (pfn === null) {
      rc = -ERRNO.EFAULT;
      return;
    }
    addToPhysmap(d, pfn, mfn, output.order);
    if (!writeFrame(d, output.list, slot, mfn)) rc = -ERRNO.EFAULT;
  });
  return rc;
}

/** steal_page: takes a frame from the domain that nothing but its allocation refers to. The M2P entry stays for now. */
function stealPage(d: Domain, mfn: MachineFrame): boolean {
  const { frames } = d;
  const owner = getOwnerAndReference(d, mfn);
  const count = frames.count(mfn);
  const ours = owner === OWNER.domain && (count & PGC.xenHeap) === 0;
  if (ours && (count & (PGC.countMask | PGC.allocated)) === (PGC.allocated | 2)) {
    frames.setCount(mfn, 0);
    frames.setType(mfn, PGT.none);
    frames.setOwner(mfn, OWNER.none);
    d.state.totPages--;
    if (mfn < d.freeHint) d.freeHint = mfn;
    return true;
  }
  if (owner !== OWNER.none) putPage(d, mfn);
  const whose =
    owner === OWNER.domain ? d.id : owner === OWNER.xen ? DOMID.XEN : owner === OWNER.io ? DOMID.IO : DOMID.INVALID;
  const caf = countInfoText(frames.count(mfn));
  const taf = typeInfoText(frames.type(mfn));
  gdprintk(d, 'mm.c:4454', `Bad steal mfn ${frameText(mfn)} from d${d.id} (owner d${whose}) caf=${caf} taf=${taf}`);
  return false;
}
