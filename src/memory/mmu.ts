/**
 * The memory management unit: linear memory for TypeScript and the slow paths of generated code, over one walker and the
 * software TLBs.
 *
 * Invariants:
 * - TLB contents are unobservable: whatever changes a page-table entry goes through {@link Mmu.entryChanged}, which drops
 *   what was derived from it, and a page that the walker used loses its write tags, so that no store goes unseen;
 * - all pages of an access are checked before the first accessed or dirty bit is set;
 * - no access changes guest memory when it faults.
 */
import type { MachineFrame, PhysAddr } from '../core/units.ts';
import { highWord, joinWords, lowWord } from '../core/words.ts';
import type { AccessOptions, Cpu, LinearMemory } from '../x86/cpu.ts';
import { type Fault, fault } from '../x86/seam.ts';
import { SEG, STATE, VECTOR } from '../x86/state.ts';
import { FRAME, type GuestMemory } from './guest-memory.ts';
import { Scratch } from './scratch.ts';
import { RETRY_VECTOR, WATCH_VECTOR } from './sent-back.ts';
import type { Tlb } from './tlb.ts';
import { Tlbs, type VcpuTlbs } from './tlbs.ts';
import { ACCESS, type Access, type WalkedEntry, Walker } from './walk.ts';
import { Watches, type WatchRange } from './watches.ts';

/**
 * An access's `spec`, as generated code passes it: its bytes; number of the segment in bits 10:8 (as ATTR has it); for checks
 * before paging, that it writes; from a region, so that it may be sent back.
 */
export const ACCESS_SPEC = { bytes: 127, segmentShift: 8, write: 1 << 11, region: 1 << 12 } as const;

/** A span's `spec`: its bytes; some of them are written. */
export const SPAN_SPEC = { bytes: 4095, write: 4096 } as const;

/** Code that has been translated into regions. */
export interface TranslatedCode {
  /** Regions dropped so far. */
  readonly evictions: number;
  /** True when a region was made from some of these bytes of a page. */
  covers(slot: number, offset: number, bytes: number): boolean;
}

/** How a machine chooses the address space of a vCPU; the default is 1 at CPL 3, else 0. */
export interface MmuOptions {
  readonly spaceOf?: (cpu: Cpu) => 0 | 1;
}

/** After this many writes to one page of tables everything is flushed and the page is forgotten as a table. */
const TABLE_WRITES = 64;
const CR0_BITS = (1 << 31) | (1 << 16);
const CR4_BITS = (1 << 5) | (1 << 4);
const EFER_BITS = (1 << 11) | (1 << 10);

export class Mmu implements LinearMemory {
  readonly memory: GuestMemory;
  readonly #walker: Walker;
  readonly #tlbs: Tlbs;
  /** The TLB that was asked for last, of the vCPU that runs. */
  #last: Tlb;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #ram: number;
  readonly #spaceOf: (cpu: Cpu) => 0 | 1;
  /** Levels (bit per level) at which a slot's page is in use as a table, and the writes seen since. */
  readonly #levels: Uint8Array;
  readonly #tableWrites: Uint8Array;
  #tables: number[] = [];
  /** How often write tags were taken away from a page. */
  #protections = 0;
  readonly #isMarked = (slot: number, level: number): boolean => (this.#levels[slot]! & (1 << level)) !== 0;
  readonly #mark = (slot: number, level: number): void => {
    const bit = 1 << level;
    if (this.#levels[slot]! & bit) return;
    if (this.#levels[slot] === 0) {
      this.#tables.push(slot);
      this.#protect(slot, FRAME.table);
    }
    this.#levels[slot]! |= bit;
  };

  // the spans of the last access that was resolved, and its fault when it was not
  #first = 0;
  #firstBytes = 0;
  #second = 0;
  #vector = 0;
  #error = 0;
  #faultLo = 0;
  #faultHi = 0;
  readonly #scratch: Scratch;

  /** Set when a page-table entry changed: generated code must leave and look its next instruction up again. */
  entriesChanged = false;
  /** Set by the hot tier. */
  translated: TranslatedCode | null = null;
  /** Bytes of a span of accesses that was refused, 0: none was; whoever asks takes it back. */
  refusedSpan = 0;
  /** What is watched, and what of it has been met. */
  watches: Watches;
  /** Bytes are watched. */
  #watching = false;

  /** What system instructions and the platform have read for a guest: at most so many bytes from there on; null: not noted. */
  readLog: Array<{ readonly address: PhysAddr; readonly bytes: number }> | null = null;

  constructor(memory: GuestMemory, options: MmuOptions = {}) {
    this.memory = memory;
    this.watches = new Watches(memory, []);
    this.#scratch = new Scratch(memory.bytes);
    this.#walker = new Walker(memory);
    this.#tlbs = new Tlbs(memory.words, memory.map);
    this.#last = this.#tlbs.of(memory.map.vcpuBase).present;
    this.#words = memory.words;
    this.#bytes = memory.bytes;
    this.#ram = memory.map.ram;
    this.#spaceOf = options.spaceOf ?? ((cpu) => (cpu.cpl === 3 ? 1 : 0));
    this.#levels = new Uint8Array(memory.map.shape.slots);
    this.#tableWrites = new Uint8Array(memory.map.shape.slots);
    memory.onTableWrite = (address, length) => this.#entriesIn(address, length);
    memory.onWatchedWrite = (address, length) => this.watches.note(address, length, true);
  }

  // ---- address spaces and translations ------------------------------------------------------------------------------

  /** The TLBs of a vCPU, which runs from now on. */
  #tlbsOf(base: number): VcpuTlbs {
    const tlbs = this.#tlbs.of(base);
    this.#last = tlbs.present;
    return tlbs;
  }
  #tlb(base: number): Tlb {
    const at = this.#words[(base + STATE.tlbBase.offset) >>> 2]!;
    if (this.#last.base !== at) this.#last = this.#tlbsOf(base).at(at);
    return this.#last;
  }

  /** Makes `space` with the present CR3 the vCPU's address space until the next {@link Mmu.sync}. */
  selectSpace(cpu: Cpu, space: 0 | 1): void {
    const { base } = cpu;
    const words = this.#words;
    const at = (base + STATE.cr3.offset) >>> 2;
    const root = (words[at]! >>> 0) + (words[at + 1]! >>> 0) * 0x100000000;
    const tlbBase = (base + STATE.tlbBase.offset) >>> 2;
    const tlbs = this.#tlbsOf(base);
    // most often it is already
    if (words[tlbBase] === tlbs.present.base && space === tlbs.space && root === tlbs.root) return;
    this.#last = tlbs.choose(space, root);
    words[tlbBase] = this.#last.base;
  }

  /** Re-reads privilege, CR0, CR3, CR4 and EFER; to be called before generated code runs after any of them may have changed. */
  sync(cpu: Cpu): void {
    const { base } = cpu;
    const words = this.#words;
    const control =
      (words[(base + STATE.cr0.offset) >>> 2]! & CR0_BITS) |
      (words[(base + STATE.cr4.offset) >>> 2]! & CR4_BITS) |
      (words[(base + STATE.efer.offset) >>> 2]! & EFER_BITS);
    const tlbs = this.#tlbsOf(base);
    if (tlbs.control !== control) {
      tlbs.control = control;
      tlbs.flush();
    }
    this.selectSpace(cpu, this.#spaceOf(cpu));
  }

  /** Drops every translation of the vCPU. */
  flushAll(cpu: Cpu): void {
    this.#tlbsOf(cpu.base).flush();
  }
  /** Drops the vCPU's translations of the page at `va`. */
  flushPage(cpu: Cpu, va: bigint): void {
    this.#tlbsOf(cpu.base).flushPage((lowWord(va) >>> 12) & 4095);
  }
  flush(cpu: Cpu, address?: bigint): void {
    if (address === undefined) this.flushAll(cpu);
    else this.flushPage(cpu, address);
  }
  /** Forgets everything derived from memory, and stores that wait; after a snapshot has been restored. */
  reset(): void {
    this.forgetTables();
    this.#scratch.abandon();
  }
  /** Drops every translation of every vCPU and forgets which pages are tables. */
  forgetTables(): void {
    this.#tlbs.flush();
    for (const slot of this.#tables) {
      this.#levels[slot] = 0;
      this.#tableWrites[slot] = 0;
      this.memory.slotFlags[slot]! &= ~FRAME.table;
    }
    this.#tables = [];
  }
  /** Entries of TLBs that have been looked at to be dropped so far: what changes cost. */
  get touched(): number {
    return this.#tlbs.touched;
  }
  /** Drops every code translation: the decoded records behind them are gone. */
  flushCode(): void {
    this.#tlbs.flushCode();
  }

  /** Takes the write tags of a page away and sets `flag` (CODE or TABLE) on it. */
  #protect(slot: number, flag: number): void {
    const flags = this.memory.slotFlags[slot]!;
    if (flags & FRAME.tagged) {
      this.#tlbs.dropWrites(this.memory.slotAddress(slot));
      this.#protections++;
    }
    this.memory.slotFlags[slot] = (flags & ~FRAME.tagged) | flag;
  }
  /** Marks a page as holding decoded code: stores to it are seen from now on. */
  markCode(slot: number): void {
    this.#protect(slot, FRAME.code);
  }
  /** Marks every page clean and drops the write tags, so that the first store to each page is seen again. */
  clearDirty(): void {
    this.#tlbs.dropWrites(null);
    this.memory.clearDirty();
  }

  /** The page-table entry at machine address `pa` is changing: drops exactly what may have been derived from it. */
  entryChanged(pa: PhysAddr): void {
    const slot = this.memory.frameSlots[Math.floor(pa / 4096)]!;
    const levels = slot >= 0 ? this.#levels[slot]! : 0;
    if (levels === 0) return;
    this.entriesChanged = true;
    this.#tlbs.dropEntry((pa & 4095) >>> 3, levels);
    if (++this.#tableWrites[slot]! >= TABLE_WRITES) this.forgetTables();
  }
  #entriesIn(pa: PhysAddr, length: number): void {
    for (let at = pa - (pa % 8); at < pa + length; at += 8) this.entryChanged(at);
  }

  /** The machine address behind `va` in the vCPU's present address space, or null; no side effects. */
  translate(cpu: Cpu, va: bigint): PhysAddr | null {
    return this.#find(cpu, va, ACCESS.read, false);
  }
  /** The page-table entries that lead from the vCPU's root towards `va`, up to a leaf or what is missing; no side effects. */
  entries(cpu: Cpu, va: bigint): readonly WalkedEntry[] {
    const hi = highWord(va);
    if (!canonical(hi)) return [];
    this.#walker.walk(cpu.base, lowWord(va), hi, ACCESS.read, false);
    return this.#walker.entries();
  }
  /** The same where the vCPU may read or write there at its privilege. */
  reach(cpu: Cpu, va: bigint, write: boolean): PhysAddr | null {
    return this.#find(cpu, va, write ? ACCESS.write : ACCESS.read, cpu.cpl === 3);
  }
  #find(cpu: Cpu, va: bigint, access: Access, user: boolean): PhysAddr | null {
    const lo = lowWord(va);
    const hi = highWord(va);
    if (!canonical(hi) || !this.#walker.walk(cpu.base, lo, hi, access, user)) return null;
    return this.#walker.frame * 4096 + (lo & 4095);
  }
  /** The machine address behind `va` after an access to the byte there, with all effects of one; null where it faults. */
  resolve(cpu: Cpu, va: bigint, write: boolean): PhysAddr | null {
    if (!this.#access(cpu, va, 1, write, undefined)) return null;
    if (!write && this.readLog !== null) this.#logRead([this.#first, 4096 - (this.#first & 4095)]);
    return this.frameAt(this.#first) * 4096 + (this.#first & 4095);
  }
  /** Notes a read of bytes at linear-memory addresses. */
  #logRead(...parts: ReadonlyArray<readonly [number, number]>): void {
    for (const [host, bytes] of parts)
      if (bytes > 0) this.readLog!.push({ address: this.frameAt(host) * 4096 + (host & 4095), bytes });
  }
  /** The frame of a linear-memory address inside guest pages. */
  frameAt(host: number): MachineFrame {
    return this.memory.slotFrames[(host - this.#ram) >>> 12]!;
  }

  // ---- one page -----------------------------------------------------------------------------------------------------

  #refuse(vector: number, error: number, lo: number, hi: number): 0 {
    this.#vector = vector;
    this.#error = error;
    this.#faultLo = lo;
    this.#faultHi = hi;
    return 0;
  }

  /**
   * Linear-memory address of the byte at hi:lo, or 0 with the fault noted. `commit`: sets accessed and dirty bits and fills
   * the TLB; else nothing changes. `supervisor`: neither looks at the TLB nor fills it.
   */
  #page(base: number, lo: number, hi: number, access: Access, supervisor: boolean, commit: boolean): number {
    const walker = this.#walker;
    const user = !supervisor && this.#bytes[base + STATE.cpl.offset] === 3;
    if (!walker.walk(base, lo, hi, access, user)) return this.#refuse(VECTOR.pf, walker.error, lo, hi);
    const { slot } = walker;
    const page = this.#ram + slot * 4096;
    if (commit) {
      walker.commit(access, this.#mark);
      if (access === ACCESS.write && this.#isPlain(slot)) this.memory.markDirty(slot);
      if (access !== ACCESS.exec && !supervisor) this.#fill(base, lo, hi);
    }
    return page + (lo & 4095);
  }
  /** Nobody has to see each store to the page. */
  #isPlain(slot: number): boolean {
    return (this.memory.slotFlags[slot]! & (FRAME.code | FRAME.table | FRAME.watched)) === 0;
  }
  /** Fills the TLB with what the walker found. */
  #fill(base: number, lo: number, hi: number): void {
    const { slot, writable } = this.#walker;
    const flags = this.memory.slotFlags[slot]!;
    if (flags & FRAME.readWatched) return;
    const tagged = writable && this.#isPlain(slot) && (flags & FRAME.dirty) !== 0;
    if (tagged) this.memory.slotFlags[slot] = flags | FRAME.tagged;
    this.#tlb(base).fill(lo, hi, this.#ram + slot * 4096, tagged);
  }

  /** Resolves an access of `bytes` (1 to 64) bytes into #first, #firstBytes and #second; false with the fault noted. */
  #resolve(
    base: number,
    lo: number,
    hi: number,
    bytes: number,
    write: boolean,
    stack: boolean,
    supervisor: boolean,
  ): boolean {
    const inside = 4096 - (lo & 4095);
    if (!supervisor && inside >= bytes) {
      const known = this.#tlb(base).find(lo, hi, write);
      if (known !== 0) {
        this.#first = known;
        this.#firstBytes = bytes;
        return true;
      }
    }
    const access = write ? ACCESS.write : ACCESS.read;
    if (!canonical(hi)) {
      this.#refuse(stack ? VECTOR.ss : VECTOR.gp, 0, lo, hi);
      return false;
    }
    if (inside >= bytes) {
      this.#first = this.#page(base, lo, hi, access, supervisor, true);
      this.#firstBytes = bytes;
      return this.#first !== 0;
    }
    const nextLo = (lo + inside) | 0;
    let nextHi = nextLo === 0 ? (hi + 1) | 0 : hi;
    if (nextLo === 0 && this.#words[(base + STATE.codeMode.offset) >>> 2] !== 2) nextHi = 0;
    if (!canonical(nextHi)) {
      this.#refuse(stack ? VECTOR.ss : VECTOR.gp, 0, nextLo, nextHi);
      return false;
    }
    this.#firstBytes = inside;
    if (this.#page(base, lo, hi, access, supervisor, false) === 0) return false;
    if (this.#page(base, nextLo, nextHi, access, supervisor, false) === 0) return false;
    this.#first = this.#page(base, lo, hi, access, supervisor, true);
    this.#second = this.#page(base, nextLo, nextHi, access, supervisor, true);
    return true;
  }

  /** Tells the owners of decoded code that `bytes` bytes at a linear-memory address are about to change. */
  #willChange(host: number, bytes: number): void {
    const slot = (host - this.#ram) >>> 12;
    const flags = this.memory.slotFlags[slot]!;
    if (flags & FRAME.code) this.memory.onCodeWrite(slot, (host - this.#ram) & 4095, bytes);
    this.memory.markDirty(slot);
  }
  #isTable(host: number): boolean {
    return (this.memory.slotFlags[(host - this.#ram) >>> 12]! & FRAME.table) !== 0;
  }
  /** Drops what was derived from entries that have just changed. */
  #hasChanged(host: number, bytes: number): void {
    if (!this.#isTable(host)) return;
    this.#entriesIn(this.frameAt(host) * 4096 + ((host - this.#ram) & 4095), bytes);
  }

  // ---- slow paths of generated code ---------------------------------------------------------------------------------

  #enterFault(base: number): 0 {
    const words = this.#words;
    words[(base + STATE.faultVector.offset) >>> 2] = this.#vector;
    words[(base + STATE.faultError.offset) >>> 2] = this.#error;
    words[(base + STATE.faultAddress.offset) >>> 2] = this.#faultLo;
    words[(base + STATE.faultAddress.offset + 4) >>> 2] = this.#faultHi;
    this.#scratch.abandon();
    return 0;
  }
  #sendBack(base: number, lo: number, hi: number): 0 {
    this.#refuse(RETRY_VECTOR, 0, lo, hi);
    return this.#enterFault(base);
  }
  /** True when the resolved bytes hold translated code. */
  #changesTranslated(bytes: number): boolean {
    const covers = (host: number, count: number): boolean => {
      const slot = (host - this.#ram) >>> 12;
      if ((this.memory.slotFlags[slot]! & FRAME.code) === 0) return false;
      return this.translated!.covers(slot, (host - this.#ram) & 4095, count);
    };
    if (covers(this.#first, this.#firstBytes)) return true;
    return bytes > this.#firstBytes && covers(this.#second, bytes - this.#firstBytes);
  }
  /** Copies the resolved bytes to the scratch area. */
  #gather(bytes: number): number {
    return this.#scratch.gather(this.#first, this.#firstBytes, this.#second, bytes - this.#firstBytes);
  }

  /**
   * {@link Mmu.#resolve} by `spec`. Outside 64-bit mode no access may run over the end of a segment of 4 GiB, behind which its
   * first byte lies again. Code without checks relies on this for all segments that begin where a page does (code-key.ts).
   */
  #resolveSpec(base: number, lo: number, hi: number, spec: number, write: boolean): boolean {
    const bytes = spec & ACCESS_SPEC.bytes;
    const segment = (spec >> ACCESS_SPEC.segmentShift) & 7;
    const stack = segment === SEG.ss;
    if ((lo & 4095) + bytes > 4096 && this.#words[(base + STATE.codeMode.offset) >>> 2] !== 2) {
      const start = this.#words[(base + STATE.segmentBase.offset + segment * 8) >>> 2]!;
      if (start === (((lo & ~4095) + 4096) | 0)) {
        this.#refuse(stack ? VECTOR.ss : VECTOR.gp, 0, lo, hi);
        return false;
      }
    }
    return this.#resolve(base, lo, hi, bytes, write, stack, false);
  }

  /**
   * Makes the bytes that `spec` ({@link ACCESS_SPEC}) asks for at hi:lo readable. Returns their linear-memory address, in
   * the scratch area when they cross a page, or 0 with the fault in the vCPU state.
   */
  readonly slowLoad = (base: number, lo: number, hi: number, spec: number): number => {
    const bytes = spec & ACCESS_SPEC.bytes;
    const evictions = this.translated?.evictions;
    const protections = this.#protections;
    if (!this.#resolveSpec(base, lo, hi, spec, false)) return this.#enterFault(base);
    if (spec & ACCESS_SPEC.region && (this.translated?.evictions !== evictions || this.#protections !== protections))
      return this.#sendBack(base, lo, hi);
    if (this.#watching && this.#isWatched(bytes)) return this.#refuseWatched(base, lo, hi);
    return this.#firstBytes === bytes ? this.#first : this.#gather(bytes);
  };

  /**
   * Makes bytes writable, otherwise like {@link Mmu.slowLoad}. Bytes that cross a page or lie in a page of tables are
   * written in the scratch area: the instruction calls {@link Mmu.commitScratch} after its last store. A region's
   * instruction is sent back instead.
   */
  readonly slowProbe = (base: number, lo: number, hi: number, spec: number): number => {
    const bytes = spec & ACCESS_SPEC.bytes;
    const evictions = this.translated?.evictions;
    const protections = this.#protections;
    if (!this.#resolveSpec(base, lo, hi, spec, true)) return this.#enterFault(base);
    if (spec & ACCESS_SPEC.region) {
      const undone = this.translated?.evictions !== evictions || this.#protections !== protections;
      if (undone || this.#changesTranslated(bytes)) return this.#sendBack(base, lo, hi);
    }
    if (this.#watching && this.#isWatched(bytes)) return this.#refuseWatched(base, lo, hi);
    if (this.#firstBytes === bytes && !this.#isTable(this.#first)) {
      this.#willChange(this.#first, bytes);
      // the page may have been given up as code
      if (spec & ACCESS_SPEC.region && this.translated?.evictions !== evictions) return this.#sendBack(base, lo, hi);
      return this.#first;
    }
    if (spec & ACCESS_SPEC.region) return this.#sendBack(base, lo, hi);
    return this.#scratch.defer(this.#first, this.#firstBytes, this.#second, bytes - this.#firstBytes);
  };

  /**
   * Finds the bytes that `spec` ({@link SPAN_SPEC}) asks for at hi:lo, for accesses that a region is going to make there.
   * Returns their linear-memory address where all of them are in one page and may be accessed without any effect but on that
   * page's bytes; else sends the instruction back, to be executed access by access.
   */
  readonly slowSpan = (base: number, lo: number, hi: number, spec: number): number => {
    const access = spec & SPAN_SPEC.write ? ACCESS.write : ACCESS.read;
    const walker = this.#walker;
    const user = this.#bytes[base + STATE.cpl.offset] === 3;
    const inside = (lo & 4095) + (spec & SPAN_SPEC.bytes) <= 4096 && canonical(hi);
    if (inside && walker.walk(base, lo, hi, access, user) && walker.isSettled(access, this.#isMarked)) {
      if (access === ACCESS.write && this.#isPlain(walker.slot)) this.memory.markDirty(walker.slot);
      this.#fill(base, lo, hi);
      const found = this.#tlb(base).find(lo, hi, access === ACCESS.write);
      if (found !== 0) return found;
    }
    this.refusedSpan = spec & SPAN_SPEC.bytes;
    return this.#sendBack(base, lo, hi);
  };

  /** Writes the scratch stores back. Returns 1 when a page-table entry or translated code has changed. */
  readonly commitScratch = (_base: number): number => {
    this.entriesChanged = false;
    const evictions = this.translated?.evictions;
    for (const { scratch, original, first, firstBytes, second, secondBytes } of this.#scratch.take()) {
      this.#writeBack(first, scratch, original, 0, firstBytes);
      if (secondBytes > 0) this.#writeBack(second, scratch + firstBytes, original, firstBytes, secondBytes);
    }
    return this.entriesChanged || this.translated?.evictions !== evictions ? 1 : 0;
  };
  #writeBack(host: number, scratch: number, original: Uint8Array, from: number, bytes: number): void {
    this.#willChange(host, bytes);
    for (let i = 0; i < bytes; i++)
      if (this.#bytes[scratch + i] !== original[from + i]) this.#bytes[host + i] = this.#bytes[scratch + i]!;
    this.#hasChanged(host, bytes);
  }
  /** Forgets scratch stores of an instruction that faulted without coming through here. */
  abandonScratch(): void {
    this.#scratch.abandon();
  }

  // ---- watched bytes ------------------------------------------------------------------------------------------------

  /**
   * Has accesses to these machine addresses seen: {@link Mmu.slowLoad} and {@link Mmu.slowProbe} refuse what may be one with
   * {@link WATCH_VECTOR}, everybody else's are noted in {@link Mmu.watches}. Fetches and page walks are none.
   */
  watch(ranges: readonly WatchRange[]): void {
    for (const slot of this.watches.slots) this.memory.slotFlags[slot]! &= ~(FRAME.watched | FRAME.readWatched);
    this.watches = new Watches(this.memory, ranges);
    const { slots, readSlots } = this.watches;
    this.#watching = slots.size > 0;
    for (const slot of slots) this.#protect(slot, FRAME.watched);
    for (const slot of readSlots) this.memory.slotFlags[slot]! |= FRAME.readWatched;
    if (readSlots.size > 0) this.#tlbs.flush();
  }
  #addressOf(host: number): PhysAddr {
    return this.frameAt(host) * 4096 + ((host - this.#ram) & 4095);
  }
  /** True when some of the resolved bytes are watched. */
  #isWatched(bytes: number): boolean {
    if (this.watches.overlap(this.#addressOf(this.#first), this.#firstBytes)) return true;
    return bytes > this.#firstBytes && this.watches.overlap(this.#addressOf(this.#second), bytes - this.#firstBytes);
  }
  /** The resolved bytes are accessed. */
  #note(bytes: number, write: boolean): void {
    this.watches.note(this.#addressOf(this.#first), this.#firstBytes, write);
    if (bytes > this.#firstBytes) this.watches.note(this.#addressOf(this.#second), bytes - this.#firstBytes, write);
  }
  #refuseWatched(base: number, lo: number, hi: number): 0 {
    this.#refuse(WATCH_VECTOR, 0, lo, hi);
    return this.#enterFault(base);
  }

  // ---- code ---------------------------------------------------------------------------------------------------------

  /** Linear-memory address of the page of code at hi:lo after the checks of a fetch, or 0 with the fault noted. */
  fetch(cpu: Cpu, lo: number, hi: number): number {
    if (!canonical(hi)) return this.#refuse(VECTOR.gp, 0, lo, hi);
    const host = this.#page(cpu.base, lo, hi, ACCESS.exec, false, true);
    return host === 0 ? 0 : host - (lo & 4095);
  }
  /** The present TLB of a vCPU, for code translations. */
  tlb(cpu: Cpu): Tlb {
    return this.#tlb(cpu.base);
  }
  /** The fault that the last refused access raises. */
  get lastFault(): Fault {
    if (this.#vector !== VECTOR.pf) return fault(this.#vector, this.#error);
    return fault(this.#vector, this.#error, joinWords(this.#faultLo, this.#faultHi));
  }

  // ---- LinearMemory -------------------------------------------------------------------------------------------------

  #access(cpu: Cpu, address: bigint, bytes: number, write: boolean, options: AccessOptions | undefined): boolean {
    const lo = lowWord(address);
    return this.#resolve(
      cpu.base,
      lo,
      highWord(address),
      bytes,
      write,
      options?.stack ?? false,
      options?.supervisor ?? false,
    );
  }
  load(cpu: Cpu, address: bigint, width: number, options?: AccessOptions): bigint | Fault {
    if (!this.#access(cpu, address, width, false, options)) return this.lastFault;
    if (this.#watching) this.#note(width, false);
    if (this.readLog !== null) this.#logRead([this.#first, this.#firstBytes], [this.#second, width - this.#firstBytes]);
    if (this.#firstBytes === width) {
      const { view } = this.memory;
      if (width === 8) return view.getBigUint64(this.#first, true);
      if (width === 4) return BigInt(view.getUint32(this.#first, true));
    }
    let value = 0n;
    for (let i = width - 1; i >= 0; i--) {
      const at = i < this.#firstBytes ? this.#first + i : this.#second + i - this.#firstBytes;
      value = (value << 8n) | BigInt(this.#bytes[at]!);
    }
    return value;
  }
  store(cpu: Cpu, address: bigint, width: number, value: bigint, options?: AccessOptions): null | Fault {
    if (!this.#access(cpu, address, width, true, options)) return this.lastFault;
    if (this.#watching) this.#note(width, true);
    const first = this.#first;
    const firstBytes = this.#firstBytes;
    const second = this.#second;
    this.#willChange(first, firstBytes);
    if (firstBytes < width) this.#willChange(second, width - firstBytes);
    if (firstBytes === width && width === 8) this.memory.view.setBigUint64(first, value, true);
    else
      for (let i = 0; i < width; i++) {
        const at = i < firstBytes ? first + i : second + i - firstBytes;
        this.#bytes[at] = Number((value >> BigInt(8 * i)) & 0xffn);
      }
    this.#hasChanged(first, firstBytes);
    if (firstBytes < width) this.#hasChanged(second, width - firstBytes);
    return null;
  }
  probe(cpu: Cpu, address: bigint, bytes: number, options?: AccessOptions): null | Fault {
    return this.#access(cpu, address, bytes, true, options) ? null : this.lastFault;
  }
}

/** True when bits 63 to 47 are equal, by the high word. */
const canonical = (hi: number): boolean => (hi << 16) >> 16 === hi;
