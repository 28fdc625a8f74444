/**
 * Memory as a shadow sees it: the machine's, with what the shadow has written in pages kept apart. It refuses what somebody other
 * than the shadow would see: code, page tables, rings, and, but in an event handler, what Xen keeps in a page of the guest's.
 */

import { PAGE_SIZE } from '../../../core/units.ts';
import { FRAME, type GuestMemory } from '../../../memory/guest-memory.ts';
import type { Cpu, LinearMemory } from '../../../x86/cpu.ts';
import { type Fault, fault } from '../../../x86/seam.ts';
import { VECTOR } from '../../../x86/state.ts';
import { AMD64 } from '../../../xen/abi/structures.ts';
import type { XenPv } from '../../../xen/pv/pv.ts';
import type { Machine } from '../../machine.ts';
import { xenOf } from '../xen-of.ts';
import type { Piece, Taint } from './taint.ts';

/** Pages that a shadow writes at most. */
const PAGES = 16;

const overlap = (a: Piece, b: Piece): boolean => a.pa < b.pa + b.bytes && b.pa < a.pa + a.bytes;
const within = (a: Piece, b: Piece): boolean => a.pa >= b.pa && a.pa + a.bytes <= b.pa + b.bytes;
/** The low `bytes` bytes of a value, least first. */
const bytesOf = (value: bigint, bytes: number): Uint8Array =>
  Uint8Array.from({ length: bytes }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));

/** What says which events are pending and masked: bitmaps of shared_info, the beginning of each vcpu_info. */
export function eventBytes({ sharedInfo, vcpus }: XenPv): Piece[] {
  const { at } = AMD64.sharedInfo;
  return [
    { pa: sharedInfo + at.evtchn_pending, bytes: at.wc_version - at.evtchn_pending },
    ...vcpus.map((v) => ({ pa: v.infoAddress, bytes: AMD64.vcpuInfo.at.cr2 })),
  ];
}
/** Rings, which a backend reads and writes. */
const ringFrames = ({ backends }: XenPv): number[] => backends.map(({ frame }) => frame);

/** Where Xen writes while the vCPU runs, but for what says which events are pending: time, rings. */
export function writtenByXen(xen: XenPv): Piece[] {
  const { at, bytes } = AMD64.sharedInfo;
  const { time } = AMD64.vcpuInfo.at;
  return [
    { pa: xen.sharedInfo + at.wc_version, bytes: bytes - at.wc_version },
    ...xen.vcpus.map((v) => ({ pa: v.infoAddress + time, bytes: AMD64.vcpuInfo.bytes - time })),
    ...ringFrames(xen).map((frame) => ({ pa: frame * PAGE_SIZE, bytes: PAGE_SIZE })),
  ];
}

export class ShadowMemory implements LinearMemory {
  readonly #machine: Machine;
  readonly #real: Cpu;
  /** Pages written, by frame. */
  readonly written = new Map<number, Uint8Array>();
  /** What loads and probes have reached since this was emptied. */
  reached: Piece[][] = [];
  /** A handler runs: it may return, and write what says which events are pending. */
  handles = false;
  /** Page tables may be read, where which pages have been accessed shows. */
  readsTables = true;
  /** That has been read or written since this was cleared. */
  touched = false;
  /** Bytes that have not been written since this was set; null afterwards. */
  guarded: readonly Piece[] | null = null;
  readonly #events: readonly Piece[];
  readonly #kept: readonly Piece[];
  readonly #rings: readonly number[];

  constructor(machine: Machine) {
    this.#machine = machine;
    this.#real = machine.cpu;
    const xen = xenOf(machine)!;
    this.#events = eventBytes(xen);
    this.#kept = [
      { pa: xen.sharedInfo, bytes: PAGE_SIZE },
      ...xen.vcpus.map((v) => ({ pa: v.infoAddress, bytes: AMD64.vcpuInfo.bytes })),
    ];
    this.#rings = ringFrames(xen);
  }
  /** Another one that has written the same. */
  fork(): ShadowMemory {
    const copy = new ShadowMemory(this.#machine);
    for (const [frame, page] of this.written) copy.written.set(frame, page.slice());
    copy.handles = this.handles;
    copy.readsTables = this.readsTables;
    copy.guarded = this.guarded;
    return copy;
  }

  /** The pieces of an access; null where it would fault, or where something other than the shadow sees it. */
  reach(address: bigint, width: number, write: boolean): Piece[] | null {
    const { mmu } = this.#machine.engine;
    const pieces: Piece[] = [];
    for (let done = 0; done < width; ) {
      const at = BigInt.asUintN(64, address + BigInt(done));
      const bytes = Math.min(width - done, PAGE_SIZE - Number(at & 4095n));
      const pa = mmu.reach(this.#real, at, write);
      if (pa === null) return null;
      const piece = { pa, bytes };
      if (write ? !this.#isWritable(piece) : !this.readsTables && this.#isTable(piece)) return null;
      if (this.#events.some((events) => overlap(events, piece))) this.touched = true;
      pieces.push(piece);
      done += bytes;
    }
    return pieces;
  }
  #isTable({ pa }: Piece): boolean {
    const { memory } = this.#machine.engine;
    return (memory.slotFlags[memory.frameSlots[Math.floor(pa / PAGE_SIZE)]!]! & FRAME.table) !== 0;
  }
  #isWritable(piece: Piece): boolean {
    const { memory } = this.#machine.engine;
    const frame = Math.floor(piece.pa / PAGE_SIZE);
    const flags = memory.slotFlags[memory.frameSlots[frame]!]!;
    if ((flags & (FRAME.code | FRAME.table)) !== 0 || this.#rings.includes(frame)) return false;
    if (!this.written.has(frame) && this.written.size >= PAGES) return false;
    if (!this.#kept.some((kept) => overlap(kept, piece))) return true;
    return this.handles && this.#events.some((events) => within(piece, events));
  }

  /** The bytes are those that `guarded` was set to. */
  isGuarded(pieces: readonly Piece[]): boolean {
    return this.guarded?.every(({ pa }, i) => pa === pieces[i]?.pa) ?? false;
  }
  /** The page of code at `rip` has been written. */
  hasWritten(rip: bigint): boolean {
    if (this.written.size === 0) return false;
    const pa = this.#machine.engine.mmu.translate(this.#real, rip);
    return pa !== null && this.written.has(Math.floor(pa / PAGE_SIZE));
  }

  /** The byte at `address` can be accessed by the vCPU. */
  isMapped(address: bigint, write: boolean): boolean {
    return this.#machine.engine.mmu.reach(this.#real, address, write) !== null;
  }

  // ---- by machine address -------------------------------------------------------------------------------------------

  /** A page as the shadow sees it. */
  #pageAt(frame: number): Uint8Array {
    return this.written.get(frame) ?? this.#machine.engine.memory.page(frame);
  }
  /** The byte at a machine address as the shadow sees it. */
  byteAt(pa: number): number {
    return this.#pageAt(Math.floor(pa / PAGE_SIZE))[pa % PAGE_SIZE]!;
  }
  bytesAt({ pa, bytes }: Piece): Uint8Array {
    const out = new Uint8Array(bytes);
    for (let done = 0; done < bytes; ) {
      const at = (pa + done) % PAGE_SIZE;
      const part = this.#pageAt(Math.floor((pa + done) / PAGE_SIZE)).subarray(at, at + bytes - done);
      out.set(part, done);
      done += part.length;
    }
    return out;
  }
  setBytes(pa: number, data: Uint8Array): void {
    if (this.guarded?.some((piece) => overlap(piece, { pa, bytes: data.length }))) this.guarded = null;
    for (const [i, byte] of data.entries()) this.#page(Math.floor((pa + i) / PAGE_SIZE))[(pa + i) % PAGE_SIZE] = byte;
  }
  /** Keeps a page apart, as if it had been written. */
  keep(frame: number): void {
    this.#page(frame);
  }
  #page(frame: number): Uint8Array {
    let page = this.written.get(frame);
    if (page === undefined) {
      page = this.#machine.engine.memory.page(frame).slice();
      this.written.set(frame, page);
    }
    return page;
  }
  /** What says which events are pending and masked, in one piece. */
  get events(): Uint8Array {
    const parts = this.#events.map((piece) => this.bytesAt(piece));
    const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }
  set events(value: Uint8Array) {
    let at = 0;
    for (const { pa, bytes } of this.#events) {
      this.setBytes(pa, value.subarray(at, at + bytes));
      at += bytes;
    }
  }
  isEvents(pa: number): boolean {
    return this.#events.some((events) => within({ pa, bytes: 1 }, events));
  }
  eventsTaintedBy({ memory }: Taint): boolean {
    return this.#events.some(({ pa, bytes }) => memory.has(pa, bytes));
  }
  /** Machine addresses of the bytes written that differ from the machine's, or from another shadow's. */
  *changed(from: ShadowMemory | null = null): Generator<number> {
    for (const [frame, page] of this.written) {
      const before = from === null ? this.#machine.engine.memory.page(frame) : from.#pageAt(frame);
      for (let i = 0; i < PAGE_SIZE; i++) if (page[i] !== before[i]) yield frame * PAGE_SIZE + i;
    }
  }

  /** The same as the hypervisor's code knows it; what would reach past the shadow fails. */
  asGuestMemory(): GuestMemory {
    const refuse = (): never => {
      throw new RangeError('a shadow does not touch the machine');
    };
    const functions: Partial<GuestMemory> = {
      read8: (pa) => this.byteAt(pa),
      read32: (pa) => Number(this.valueOf([{ pa, bytes: 4 }])),
      read64: (pa) => this.valueOf([{ pa, bytes: 8 }]),
      readBytes: (pa, bytes) => this.bytesAt({ pa, bytes }),
      copyOut: (pa, bytes, out, at) => {
        this.reached.push([{ pa, bytes }]);
        out.set(this.bytesAt({ pa, bytes }), at);
      },
      write8: (pa, value) => this.setBytes(pa, bytesOf(BigInt(value), 1)),
      write32: (pa, value) => this.setBytes(pa, bytesOf(BigInt(value), 4)),
      write64: (pa, value) => this.setBytes(pa, bytesOf(value, 8)),
      writeBytes: (pa, data) => this.setBytes(pa, data),
      page: refuse,
      address: refuse,
      willWrite: refuse,
    };
    return Object.assign(Object.create(this.#machine.engine.memory), functions) as GuestMemory;
  }

  // ---- by linear address --------------------------------------------------------------------------------------------

  load(_cpu: Cpu, address: bigint, width: number): bigint | Fault {
    const pieces = this.reach(address, width, false);
    if (pieces === null) return fault(VECTOR.pf, 0, address);
    this.reached.push(pieces);
    return this.valueOf(pieces);
  }
  /** The bytes of a probed access. */
  peek(address: bigint, width: number): bigint {
    return this.valueOf(this.reach(address, width, true)!);
  }
  valueOf(pieces: readonly Piece[]): bigint {
    let value = 0n;
    let shift = 0n;
    for (const { pa, bytes } of pieces)
      for (let i = 0; i < bytes; i++, shift += 8n) value |= BigInt(this.byteAt(pa + i)) << shift;
    return value;
  }
  probe(_cpu: Cpu, address: bigint, bytes: number): null | Fault {
    const pieces = this.reach(address, bytes, true);
    if (pieces === null) return fault(VECTOR.pf, 0, address);
    this.reached.push(pieces);
    return null;
  }
  store(_cpu: Cpu, address: bigint, width: number, value: bigint): null | Fault {
    const pieces = this.reach(address, width, true);
    if (pieces === null) return fault(VECTOR.pf, 0, address);
    let rest = value;
    for (const { pa, bytes } of pieces) {
      this.setBytes(pa, bytesOf(rest, bytes));
      rest >>= BigInt(8 * bytes);
    }
    return null;
  }
  flush(): void {}
}
