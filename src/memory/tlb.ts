/**
 * The software TLBs in linear memory, as generated code reads them and as the MMU fills them.
 *
 * A TLB has two direct-mapped arrays, both indexed by the low bits of the linear page number:
 *   data entry, 32 bytes: u64 read tag, u64 write tag, u64 unused, i32 addend, i32 unused;
 *   code entry, 16 bytes: u64 tag, i32 address of the page's code table, i32 address of the page in linear memory.
 * A tag is the linear address of the page; {@link NO_TAG} in its low word never matches. The linear-memory address of a
 * byte is (low 32 bits of its linear address) + addend.
 *
 * Invariants: a tag exists only while the translation, checked for the privilege of its address space, is what a page
 * walk would find, with the accessed bit (write tag: and the dirty bit) already set; a write tag only for pages that are
 * dirty and neither CODE nor TABLE.
 */
import { EXEC_ENTRIES, EXEC_ENTRY_BYTES, EXEC_OFFSET, TLB_ENTRIES, TLB_ENTRY_BYTES } from './layout.ts';

/** Low word of a tag that matches no page. */
const NO_TAG = 1;

/** Offsets in a data entry. */
export const TLB_ENTRY = { read: 0, write: 8, addend: 24 } as const;
/** Offsets in a code entry. */
export const EXEC_ENTRY = { tag: 0, code: 8, page: 12 } as const;

/** One TLB: the translations of one vCPU through one page-table root with one privilege. */
export class Tlb {
  /** Address in linear memory. */
  readonly base: number;
  readonly #words: Int32Array;
  /** Data entries filled since the last flush, so that a flush touches no others. */
  readonly #filled = new Int16Array(TLB_ENTRIES);
  #count = 0;
  #codeUsed = false;
  /** Linear memory holds no entries yet, not even dropped ones. */
  #blank = true;
  /** Entries that have been looked at to be dropped, so far. */
  touched = 0;
  /** What its code translations depend on besides the page, as the engine numbers it; -1: none has been entered. */
  codeKey = -1;

  constructor(words: Int32Array, base: number) {
    this.#words = words;
    this.base = base;
  }

  #dropEntry(index: number): void {
    const at = (this.base + index * TLB_ENTRY_BYTES) >>> 2;
    this.#words[at] = NO_TAG;
    this.#words[at + 2] = NO_TAG;
  }
  #dropCodeEntry(index: number): void {
    this.#words[(this.base + EXEC_OFFSET + index * EXEC_ENTRY_BYTES) >>> 2] = NO_TAG;
  }

  /** Empties it for another root; to be called before it is used for the first time. */
  open(): void {
    if (this.#blank) {
      this.#count = TLB_ENTRIES + 1;
      this.#codeUsed = true;
      this.#blank = false;
    }
    this.flush();
  }
  flush(): void {
    this.touched += Math.min(this.#count, TLB_ENTRIES);
    if (this.#count > TLB_ENTRIES) for (let i = 0; i < TLB_ENTRIES; i++) this.#dropEntry(i);
    else for (let i = 0; i < this.#count; i++) this.#dropEntry(this.#filled[i]!);
    this.#count = 0;
    this.flushCode();
  }
  flushCode(): void {
    if (!this.#codeUsed) return;
    this.touched += EXEC_ENTRIES;
    for (let i = 0; i < EXEC_ENTRIES; i++) this.#dropCodeEntry(i);
    this.#codeUsed = false;
  }

  /** Enters a data translation; `page` is the linear-memory address of the page. */
  fill(lo: number, hi: number, page: number, writable: boolean): void {
    const index = (lo >>> 12) & (TLB_ENTRIES - 1);
    const at = (this.base + index * TLB_ENTRY_BYTES) >>> 2;
    const words = this.#words;
    const tag = lo & ~4095;
    if (words[at] === NO_TAG) {
      if (this.#count < TLB_ENTRIES) this.#filled[this.#count] = index;
      if (this.#count <= TLB_ENTRIES) this.#count++;
    }
    words[at] = tag;
    words[at + 1] = hi;
    words[at + 2] = writable ? tag : NO_TAG;
    words[at + 3] = hi;
    words[at + 6] = (page - tag) | 0;
  }
  fillCode(lo: number, hi: number, page: number, code: number): void {
    const at = (this.base + EXEC_OFFSET + ((lo >>> 12) & (EXEC_ENTRIES - 1)) * EXEC_ENTRY_BYTES) >>> 2;
    this.#codeUsed = true;
    this.#words[at] = lo & ~4095;
    this.#words[at + 1] = hi;
    this.#words[at + 2] = code;
    this.#words[at + 3] = page;
  }

  /** Linear-memory address of the byte at hi:lo when the translation is present with the wanted right, else 0. */
  find(lo: number, hi: number, write: boolean): number {
    const at = (this.base + ((lo >>> 12) & (TLB_ENTRIES - 1)) * TLB_ENTRY_BYTES) >>> 2;
    const tag = write ? at + 2 : at;
    const words = this.#words;
    return words[tag] === (lo & ~4095) && words[tag + 1] === hi ? (lo + words[at + 6]!) >>> 0 : 0;
  }
  /** Index in words of the code entry of hi:lo when it is present, else 0. */
  findCode(lo: number, hi: number): number {
    const at = (this.base + EXEC_OFFSET + ((lo >>> 12) & (EXEC_ENTRIES - 1)) * EXEC_ENTRY_BYTES) >>> 2;
    return this.#words[at] === (lo & ~4095) && this.#words[at + 1] === hi ? at : 0;
  }

  /** Drops the entries of `count` successive page numbers from `first`, repeated at every multiple of `stride` pages. */
  drop(first: number, count: number, stride: number): void {
    if (this.#count > 0) {
      this.touched += (TLB_ENTRIES / stride) * count;
      for (let group = first; group < TLB_ENTRIES; group += stride)
        for (let i = 0; i < count; i++) this.#dropEntry((group + i) & (TLB_ENTRIES - 1));
    }
    if (!this.#codeUsed) return;
    this.touched += Math.ceil(EXEC_ENTRIES / stride) * count;
    for (let group = first & (EXEC_ENTRIES - 1); group < EXEC_ENTRIES; group += stride)
      for (let i = 0; i < count; i++) this.#dropCodeEntry((group + i) & (EXEC_ENTRIES - 1));
  }

  /** Drops write tags: all, or those of the page at linear-memory address `page`. */
  dropWrites(page: number | null): void {
    const words = this.#words;
    const one = (index: number): void => {
      const at = (this.base + index * TLB_ENTRY_BYTES) >>> 2;
      const tag = words[at + 2]!;
      if (tag !== NO_TAG && (page === null || (tag + words[at + 6]!) >>> 0 === page)) words[at + 2] = NO_TAG;
    };
    this.touched += Math.min(this.#count, TLB_ENTRIES);
    if (this.#count > TLB_ENTRIES) for (let i = 0; i < TLB_ENTRIES; i++) one(i);
    else for (let i = 0; i < this.#count; i++) one(this.#filled[i]!);
  }
}
