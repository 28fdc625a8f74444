/**
 * Guest pages by machine frame.
 *
 * Invariants:
 * - a machine frame is not a memory offset: the frame table gives its slot, and pages lie in slot order;
 * - every change of a page outside the engine's stores goes through the write functions here, which mark the page dirty
 *   and tell the engine when it holds decoded code;
 * - a page whose DIRTY bit is clear has not changed since `clearDirty`, and before the first of those is zero.
 */
import { assert } from '../core/assert.ts';
import { type MachineFrame, PAGE_MASK, PAGE_SIZE, type PhysAddr } from '../core/units.ts';
import { type MemoryMap, type MemoryShape, memoryMap } from './layout.ts';

/** Bits of a slot's flags. Any of CODE, TABLE or a clear DIRTY keeps the page's write tags out of the TLBs. */
export const FRAME = {
  /** Decoded records exist for this page. */
  code: 1,
  /** The page walker has used this page as a table. */
  table: 2,
  dirty: 4,
  /** Some TLB may hold a write tag for this page. */
  tagged: 8,
  /** Bytes of this page are watched: every store to it is seen. */
  watched: 16,
  /** The page has changed since it was added: without this it is zero. */
  written: 32,
  /** Reads of bytes of this page are watched too: no TLB holds it. */
  readWatched: 64,
} as const;

/** Bytes up to which a loop copies faster than a view of them is made. */
const SHORT = 64;

export class GuestMemory {
  readonly map: MemoryMap;
  readonly memory: WebAssembly.Memory;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** The whole memory as 32-bit words. */
  readonly words: Int32Array;
  /** Slot of each machine frame, or -1. */
  readonly frameSlots: Int32Array;
  readonly slotFlags: Uint8Array;
  readonly slotFrames: Int32Array;
  #used = 0;
  /** Slots whose DIRTY bit is set, in the order of their first changes. */
  #dirty: number[] = [];

  /** Called before bytes of a page with decoded code change: (slot, first offset, length). The engine sets it. */
  onCodeWrite: (slot: number, offset: number, length: number) => void = () => {};
  /** Called when a watched page is about to change outside the engine's stores. The MMU sets it. */
  onWatchedWrite: (pa: PhysAddr, length: number) => void = () => {};
  /** Called before a page changes for the first time since `clearDirty`. A recorder sets it, to keep what the page held. */
  onFirstWrite: (slot: number) => void = () => {};
  /** Called when a page that the walker used as a table changes outside {@link GuestMemory.writeEntry}. The MMU sets it. */
  onTableWrite: (address: PhysAddr, length: number) => void = () => {};

  constructor(shape: MemoryShape) {
    this.map = memoryMap(shape);
    this.memory = new WebAssembly.Memory({ initial: this.map.bytes / 65536, maximum: this.map.bytes / 65536 });
    const buffer = this.memory.buffer;
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.words = new Int32Array(buffer);
    this.frameSlots = new Int32Array(buffer, this.map.frameTable, shape.frameLimit).fill(-1);
    this.slotFlags = new Uint8Array(buffer, this.map.slotFlags, shape.slots);
    this.slotFrames = new Int32Array(buffer, this.map.slotFrames, shape.slots);
  }

  /** Slots in use: 0 to `slotCount` - 1. */
  get slotCount(): number {
    return this.#used;
  }
  /** Gives `frame` a zeroed page; slots are handed out in order of the calls. */
  addFrame(frame: MachineFrame): void {
    this.addFrames(frame, frame + 1);
  }
  /** The same for the frames from `first` to before `end`. */
  addFrames(first: MachineFrame, end: MachineFrame): void {
    assert(first >= 0 && end <= this.map.shape.frameLimit, 'the frame is out of range');
    assert(this.#used + end - first <= this.map.shape.slots, 'no free slot');
    for (let frame = first; frame < end; frame++) {
      assert(this.frameSlots[frame] === -1, 'the frame exists already');
      this.frameSlots[frame] = this.#used;
      this.slotFrames[this.#used++] = frame;
    }
  }
  hasFrame(frame: MachineFrame): boolean {
    return frame >= 0 && frame < this.map.shape.frameLimit && this.frameSlots[frame]! >= 0;
  }
  /** Address in linear memory of a frame's first byte; the frame must exist. */
  frameAddress(frame: MachineFrame): number {
    const slot = frame < this.map.shape.frameLimit ? this.frameSlots[frame]! : -1;
    assert(slot >= 0, 'the frame does not exist');
    return this.map.ram + slot * PAGE_SIZE;
  }
  slotAddress(slot: number): number {
    return this.map.ram + slot * PAGE_SIZE;
  }
  /** Address in linear memory of a machine address. */
  address(pa: PhysAddr): number {
    return this.frameAddress(Math.floor(pa / PAGE_SIZE)) + (pa % PAGE_SIZE);
  }
  /** A live view of a page; for reading only. */
  page(frame: MachineFrame): Uint8Array {
    const at = this.frameAddress(frame);
    return this.bytes.subarray(at, at + PAGE_SIZE);
  }

  // ---- reads (no accessed bits: hypervisor, devices, debugger) ------------------------------------------------------

  read8(pa: PhysAddr): number {
    return this.bytes[this.address(pa)]!;
  }
  read32(pa: PhysAddr): number {
    return this.view.getUint32(this.address(pa), true);
  }
  read64(pa: PhysAddr): bigint {
    return this.view.getBigUint64(this.address(pa), true);
  }
  /** Copies `length` bytes out; may cross pages. */
  readBytes(pa: PhysAddr, length: number): Uint8Array {
    const out = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const at = pa + done;
      const count = Math.min(length - done, PAGE_SIZE - (at % PAGE_SIZE));
      this.copyOut(at, count, out, done);
      done += count;
    }
    return out;
  }
  /** Copies `length` bytes inside one page to `out[at]`. */
  copyOut(pa: PhysAddr, length: number, out: Uint8Array, at: number): void {
    const from = this.address(pa);
    if (length > SHORT) out.set(this.bytes.subarray(from, from + length), at);
    else for (let i = 0; i < length; i++) out[at + i] = this.bytes[from + i]!;
  }

  // ---- writes -------------------------------------------------------------------------------------------------------

  /** To be called before any direct change of `length` bytes inside one page; returns their linear-memory address. */
  willWrite(pa: PhysAddr, length: number): number {
    const slot = this.frameSlots[Math.floor(pa / PAGE_SIZE)]!;
    const offset = pa % PAGE_SIZE;
    assert(slot >= 0 && offset + length <= PAGE_SIZE, 'write outside a page');
    const flags = this.slotFlags[slot]!;
    if (flags & FRAME.code) this.onCodeWrite(slot, offset, length);
    if (flags & FRAME.table) this.onTableWrite(pa, length);
    if (flags & FRAME.watched) this.onWatchedWrite(pa, length);
    this.markDirty(slot);
    return this.map.ram + slot * PAGE_SIZE + offset;
  }
  write8(pa: PhysAddr, value: number): void {
    this.bytes[this.willWrite(pa, 1)] = value;
  }
  write32(pa: PhysAddr, value: number): void {
    this.view.setUint32(this.willWrite(pa, 4), value, true);
  }
  write64(pa: PhysAddr, value: bigint): void {
    this.view.setBigUint64(this.willWrite(pa, 8), BigInt.asUintN(64, value), true);
  }
  /** Copies bytes in; may cross pages. A page that is zero and stays so is not touched: that would cost the host memory. */
  writeBytes(pa: PhysAddr, data: Uint8Array): void {
    for (let done = 0; done < data.length; ) {
      const at = pa + done;
      const count = Math.min(data.length - done, PAGE_SIZE - (at & PAGE_MASK));
      const part = data.subarray(done, done + count);
      if (count < PAGE_SIZE || this.#isWritten(at) || !isZero(part)) this.bytes.set(part, this.willWrite(at, count));
      done += count;
    }
  }
  #isWritten(pa: PhysAddr): boolean {
    const slot = this.frameSlots[Math.floor(pa / PAGE_SIZE)]!;
    return slot < 0 || (this.slotFlags[slot]! & FRAME.written) !== 0;
  }
  fillPage(frame: MachineFrame, byte: number): void {
    const at = this.willWrite(frame * PAGE_SIZE, PAGE_SIZE);
    this.bytes.fill(byte, at, at + PAGE_SIZE);
  }

  // ---- dirty pages --------------------------------------------------------------------------------------------------

  /** To be called before the page in `slot` changes. */
  markDirty(slot: number): void {
    const flags = this.slotFlags[slot]!;
    if (flags & FRAME.dirty) return;
    this.onFirstWrite(slot);
    this.slotFlags[slot] = flags | FRAME.dirty | FRAME.written;
    this.#dirty.push(slot);
  }
  /** Slots whose page may have changed since the last `clearDirty` or since it was added, ascending. */
  dirtySlots(): Int32Array {
    return Int32Array.from(this.#dirty).sort();
  }
  /** Marks every page clean. The caller must drop all TLB write tags with it (src/memory/mmu.ts does both). */
  clearDirty(): void {
    // Only dirty pages are TAGGED.
    for (const slot of this.#dirty) this.slotFlags[slot]! &= ~(FRAME.dirty | FRAME.tagged);
    this.#dirty = [];
  }
}

function isZero(bytes: Uint8Array): boolean {
  if (bytes.byteOffset % 4 !== 0 || bytes.length % 4 !== 0) return bytes.every((x) => x === 0);
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  for (let i = 0; i < words.length; i++) if (words[i] !== 0) return false;
  return true;
}
