/**
 * What Xen knows of every machine frame: owner, type with its count, general count, linear-table count.
 *
 * Invariants:
 * - the flag bits of Xen's 64-bit type_info and count_info stand in the same place counted from the top of a 32-bit word;
 *   the counts are what is left of the word, 23 and 25 bits;
 * - a record is 16 bytes, so that a 4 KiB chunk holds 256 frames and every change marks exactly one chunk dirty;
 * - every change goes through the setters here.
 * Source: xen/arch/x86/include/asm/mm.h.
 */
import type { MachineFrame } from '../../core/units.ts';

/** Bits of type_info. The values of `typeMask` are exclusive uses of a frame. */
export const PGT = {
  none: 0,
  l1: 1 << 29,
  l2: 2 << 29,
  l3: 3 << 29,
  l4: 4 << 29,
  segDesc: 5 << 29,
  shared: 6 << 29,
  writable: 7 << 29,
  typeMask: 7 << 29,
  pinned: 1 << 27,
  validated: 1 << 26,
  countMask: (1 << 23) - 1,
} as const;
/** Bits of count_info. */
export const PGC = { allocated: 1 << 31, xenHeap: 1 << 30, countMask: (1 << 25) - 1 } as const;
/** Owners of a frame; `none` is a free frame or a hole. */
export const OWNER = { none: 0, domain: 1, xen: 2, io: 3 } as const;

/** The names of the eight types, by type number. */
export const TYPE_NAMES = ['none', 'l1', 'l2', 'l3', 'l4', 'segdesc', 'shared', 'writable'] as const;
/** No machine has a frame of this number: entries of page tables have no room for it. */
const NO_FRAME = 2 ** 52;
/** A frame number that a guest names; one that no machine has is cut to such a one. */
export const frameNumber = (word: bigint): MachineFrame => (word < NO_FRAME ? Number(word) : NO_FRAME);

/** Level of a page-table type, 0 for the other types. */
export const levelOf = (typeInfo: number): number => {
  const type = typeInfo >>> 29;
  return type <= 4 ? type : 0;
};

const FRAMES_PER_CHUNK = 256;
export const CHUNK_BYTES = 4096;

export class FrameTable {
  /** Frames are below this number (Xen's max_page). */
  readonly limit: number;
  /** The records, little-endian: type_info, count_info, owner, linear count. For reading; restore with `load`. */
  readonly bytes: Uint8Array;
  /** 1 for every chunk of 4 KiB of `bytes` that changed since the holder last cleared it. */
  readonly dirtyChunks: Uint8Array;
  readonly #words: Int32Array;
  /** Told of every change of a frame's type, validation or pin. */
  onTypeChange: (mfn: MachineFrame) => void = () => {};

  constructor(limit: number) {
    const chunks = Math.ceil(limit / FRAMES_PER_CHUNK);
    this.limit = limit;
    this.#words = new Int32Array((chunks * CHUNK_BYTES) / 4);
    this.bytes = new Uint8Array(this.#words.buffer);
    this.dirtyChunks = new Uint8Array(chunks).fill(1);
  }

  /** Replaces all records by those of a snapshot; RangeError where it is not one of as many frames. */
  load(bytes: Uint8Array): void {
    if (bytes.length !== this.bytes.length) throw new RangeError('the frame table is one of another machine');
    this.bytes.set(bytes);
    this.dirtyChunks.fill(1);
  }

  /** mfn_valid: whether the machine has such a frame number. */
  valid(mfn: MachineFrame): boolean {
    return mfn < this.limit;
  }
  type(mfn: MachineFrame): number {
    return this.#words[mfn * 4]!;
  }
  setType(mfn: MachineFrame, info: number): void {
    const before = this.#words[mfn * 4]!;
    this.#words[mfn * 4] = info;
    this.dirtyChunks[mfn >> 8] = 1;
    if (((before ^ info) & (PGT.typeMask | PGT.validated | PGT.pinned)) !== 0) this.onTypeChange(mfn);
  }
  /**
   * The references of an L1 entry for a page of the domain, where nothing but counts changes; false, and nothing done, where
   * the full rules must decide. Most entries of most tables are such.
   */
  takeMapping(mfn: MachineFrame, writable: boolean): boolean {
    const at = mfn * 4;
    const words = this.#words;
    if (mfn >= this.limit || words[at + 2] !== OWNER.domain) return false;
    const count = words[at + 1]!;
    if (((count + 2) & PGC.countMask) <= 2) return false;
    if (writable) {
      const type = words[at]!;
      if ((type & (PGT.typeMask | PGT.validated)) !== (PGT.writable | PGT.validated)) return false;
      if ((type & PGT.countMask) === PGT.countMask) return false;
      words[at] = type + 1;
    }
    words[at + 1] = count + 1;
    this.dirtyChunks[mfn >> 8] = 1;
    return true;
  }
  /** The reverse: drops the references of an L1 entry unless the frame becomes free by it. */
  dropMapping(mfn: MachineFrame, writable: boolean): boolean {
    const at = mfn * 4;
    const words = this.#words;
    const count = words[at + 1]!;
    const type = words[at]!;
    if ((count & PGC.countMask) < 2 || (writable && (type & PGT.countMask) === 0)) return false;
    if (writable) words[at] = type - 1;
    words[at + 1] = count - 1;
    this.dirtyChunks[mfn >> 8] = 1;
    return true;
  }
  count(mfn: MachineFrame): number {
    return this.#words[mfn * 4 + 1]!;
  }
  setCount(mfn: MachineFrame, info: number): void {
    this.#words[mfn * 4 + 1] = info;
    this.dirtyChunks[mfn >> 8] = 1;
  }
  owner(mfn: MachineFrame): number {
    return this.#words[mfn * 4 + 2]!;
  }
  setOwner(mfn: MachineFrame, owner: number): void {
    this.#words[mfn * 4 + 2] = owner;
    this.dirtyChunks[mfn >> 8] = 1;
  }
  /** Says the same of the frames from `first` to before `end`, of which nothing is known yet. */
  fill(first: MachineFrame, end: MachineFrame, info: { type: number; count: number; owner: number }): void {
    const { type, count, owner } = info;
    const words = this.#words;
    for (let at = first * 4; at < end * 4; at += 4) {
      words[at] = type;
      words[at + 1] = count;
      words[at + 2] = owner;
    }
    this.dirtyChunks.fill(1, first >> 8, Math.ceil(end / FRAMES_PER_CHUNK));
  }
  /** linear_pt_count: above 0 the same-level entries a table holds, below 0 the same-level tables it is used in. */
  linear(mfn: MachineFrame): number {
    return this.#words[mfn * 4 + 3]!;
  }
  setLinear(mfn: MachineFrame, count: number): void {
    this.#words[mfn * 4 + 3] = count;
    this.dirtyChunks[mfn >> 8] = 1;
  }
}

/** type_info as Xen prints it (PRtype_info): 16 hex digits. */
export const typeInfoText = (info: number): string => wide(info, PGT.countMask);
/** count_info as Xen prints it: hex, at least 8 digits. */
export const countInfoText = (info: number): string => wide(info, PGC.countMask).replace(/^0{1,8}/, '');
/** Spreads flags and count to a 64-bit word's two ends. */
const wide = (info: number, countMask: number): string => {
  const hex = (value: number): string => (value >>> 0).toString(16).padStart(8, '0');
  return hex(info & ~countMask) + hex(info & countMask);
};
