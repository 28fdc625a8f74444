/**
 * Decoded records by page of code.
 *
 * For each (slot, code key) a table of 4096 i32 gives the record of each page offset, or 0. Tables and records are handed
 * out from one area that is emptied as a whole when it is full or much of it is garbage. Decoding runs ahead in a straight line, so that the
 * instruction behind a record is the next record; link, end and page-end records close a run.
 *
 * Invariants:
 * - a record in a table holds what its bytes decode to now: {@link CodeCache.invalidate} turns the records of changed
 *   bytes into STALE ones and takes them out of the table;
 * - a page with a table has its CODE flag set while any record of it is in the table;
 * - nothing is emptied while generated code runs.
 */
import { assert } from '../../core/assert.ts';
import { FRAME, type GuestMemory } from '../../memory/guest-memory.ts';
import type { Mmu } from '../../memory/mmu.ts';
import { type CodeKey, KEYS, modeOf, stackSizeOf } from '../../x86/code-key.ts';
import { decode } from '../../x86/decode/decode.ts';
import { writeRecord } from '../../x86/decode/record-io.ts';
import type { CpuPolicy, DecodeFailure, Insn } from '../../x86/form.ts';
import { RECORD, RECORD_BYTES } from '../../x86/record.ts';
import { HANDLER } from './exits.ts';
import type { Handlers } from './handlers.ts';

const TABLE_BYTES = 4096 * 4;
/** Instructions decoded ahead at most. */
const RUN = 48;
/** Room for the tables of two pages and a run with a PAUSE in front of each instruction. */
const RESERVE_BYTES = 2 * TABLE_BYTES + (2 * RUN + 8) * RECORD_BYTES;
const MAX_LENGTH = 15;
/** Bytes of records that are not in a table any more after which all are dropped: nothing else gives their space back. */
const MAX_GARBAGE = 32 << 20;
/** Writes to a page of code after which its records are dropped altogether; doubles each time. */
const CODE_WRITES = 64;
/** Byte of a record: 1 when nothing follows it in its run. */
const ENDS = RECORD.place + 3;

/** An instruction that crosses into a page. */
interface Crossing {
  readonly record: number;
  /** Bytes of it in the second page. */
  readonly bytes: number;
}

export class CodeCache {
  readonly #memory: GuestMemory;
  readonly #mmu: Mmu;
  readonly #handlers: Handlers;
  readonly #policy: CpuPolicy;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #start: number;
  readonly #end: number;
  #top: number;
  #garbage = 0;
  /** Table address by key and slot; 0 where there is none. */
  readonly #tables: Array<Int32Array | undefined> = new Array<undefined>(KEYS).fill(undefined);
  readonly #tabled: Array<{ slot: number; key: CodeKey }> = [];
  readonly #crossings = new Map<number, Crossing[]>();
  /** Instructions of system records; `link` of a record is the index. */
  readonly #insns: Insn[] = [];
  readonly #writes = new Map<number, { count: number; limit: number }>();
  readonly #buffer = new Uint8Array(2 * MAX_LENGTH);
  /** Page offsets in front of whose instructions a PAUSE record stands, by slot. */
  readonly #pauses = new Map<number, ReadonlySet<number>>();
  /** Told before the records of changed bytes go, and when all go (slot -1). The hot tier sets it. */
  onInvalidate: (slot: number, offset: number, length: number) => void = () => {};
  /** Told where instructions of a page have been decoded. The hot tier sets it. */
  onDecoded: (slot: number, key: CodeKey, first: number, end: number) => void = () => {};
  /** Changes whenever all records are dropped. */
  generation = 0;
  /** Instructions decoded so far. */
  decoded = 0;

  constructor(memory: GuestMemory, mmu: Mmu, handlers: Handlers, policy: CpuPolicy) {
    this.#memory = memory;
    this.#mmu = mmu;
    this.#handlers = handlers;
    this.#policy = policy;
    this.#words = memory.words;
    this.#bytes = memory.bytes;
    this.#view = memory.view;
    const { map } = memory;
    this.#start = map.records;
    this.#end = map.records + map.shape.recordBytes;
    this.#top = this.#start;
    assert(map.shape.recordBytes >= 1 << 18, 'the area for records is too small');
    memory.onCodeWrite = (slot, offset, length) => this.invalidate(slot, offset, length);
  }

  /** Pages that hold decoded code, by key. */
  get pages(): number {
    return this.#tabled.length;
  }

  /** Bytes of the area handed out. */
  get used(): number {
    return this.#top - this.#start;
  }

  // ---- space --------------------------------------------------------------------------------------------------------

  /** Makes room for a table and a run; true when that dropped all records. */
  reserve(): boolean {
    if (this.hasRoomFor(0) && this.#garbage < MAX_GARBAGE) return false;
    this.flush();
    return true;
  }
  /** Drops every record. */
  flush(): void {
    this.onInvalidate(-1, 0, 0);
    for (const { slot, key } of this.#tabled) {
      this.#tables[key]![slot] = 0;
      this.#memory.slotFlags[slot]! &= ~FRAME.code;
    }
    for (const slot of this.#crossings.keys()) this.#memory.slotFlags[slot]! &= ~FRAME.code;
    this.#tabled.length = 0;
    this.#crossings.clear();
    this.#insns.length = 0;
    this.#writes.clear();
    this.#top = this.#start;
    this.#garbage = 0;
    this.generation++;
    this.#mmu.flushCode();
  }
  #allocate(): number {
    const record = this.#top;
    this.#top += RECORD_BYTES;
    assert(this.#top <= this.#end, 'the record area is full');
    return record;
  }

  /** Address of the table of a page's records; the page is marked as code. */
  tableOf(slot: number, key: CodeKey): number {
    this.#tables[key] ??= new Int32Array(this.#memory.map.shape.slots);
    const tables = this.#tables[key];
    let table = tables[slot]!;
    if (table === 0) {
      table = this.#top;
      this.#top += TABLE_BYTES;
      assert(this.#top <= this.#end, 'the record area is full');
      this.#words.fill(0, table >>> 2, (table + TABLE_BYTES) >>> 2);
      tables[slot] = table;
      this.#tabled.push({ slot, key });
    }
    if ((this.#memory.slotFlags[slot]! & FRAME.code) === 0) this.#mmu.markCode(slot);
    return table;
  }
  hasTable(slot: number, key: CodeKey): boolean {
    return (this.#tables[key]?.[slot] ?? 0) !== 0;
  }
  /** Whether so many tables leave room for what {@link CodeCache.reserve} keeps. */
  hasRoomFor(tables: number): boolean {
    return this.#end - this.#top >= tables * TABLE_BYTES + RESERVE_BYTES;
  }
  /** The record at a page offset, or 0. */
  recordAt(table: number, offset: number): number {
    return this.#words[(table >>> 2) + offset]!;
  }

  /** True for the record of an instruction that its own handler executes. */
  isPlain(record: number): boolean {
    return record !== 0 && this.#words[record >>> 2]! >= HANDLER.firstForm;
  }

  // ---- pauses -------------------------------------------------------------------------------------------------------

  /** Has a PAUSE record stand in front of the instructions at these offsets of a page. */
  pauseAt(slot: number, offsets: ReadonlySet<number>): void {
    const known = this.#pauses.get(slot) ?? new Set();
    const fresh = offsets.difference(known);
    if (fresh.size === 0) return;
    this.#pauses.set(slot, known.union(fresh));
    for (const offset of fresh) this.#invalidate(slot, offset, 1);
  }
  /** True when a PAUSE record stands, or would stand, in front of the instruction at an offset of a page. */
  pausesAt(slot: number, offset: number): boolean {
    return this.#pauses.get(slot)?.has(offset) ?? false;
  }
  /** A PAUSE record for the instruction at an offset of a page where one is due, else 0. */
  #pauseBefore(slot: number, offset: number): number {
    return this.pausesAt(slot, offset) ? this.#special(this.#allocate(), HANDLER.pause, offset) : 0;
  }
  /** Ends all pauses; records that have been decoded keep theirs. */
  forgetPauses(): void {
    this.#pauses.clear();
  }

  // ---- decoding -----------------------------------------------------------------------------------------------------

  #special(record: number, handler: number, offset: number, link = 0): number {
    const words = this.#words;
    words.fill(0, record >>> 2, (record + RECORD_BYTES) >>> 2);
    words[(record + RECORD.handler) >>> 2] = handler;
    words[(record + RECORD.place) >>> 2] = offset;
    words[(record + RECORD.next) >>> 2] = offset;
    words[(record + RECORD.link) >>> 2] = link;
    return record;
  }
  /** Writes a record; `place` is where its instruction is kept if it is one of the system. */
  #write(record: number, insn: Insn, handler: number, place = this.#insns.length): boolean {
    writeRecord(this.#view, record, insn, handler);
    this.decoded++;
    const { ends } = this.#handlers.info(insn.form);
    this.#bytes[record + ENDS] = ends ? 1 : 0;
    if (handler === HANDLER.system) {
      this.#words[(record + RECORD.link) >>> 2] = place;
      this.#insns[place] = insn;
    }
    return ends;
  }

  /**
   * Decodes from a page offset on and returns the first record, or why there is none; `outside` also where a form has no
   * semantics. Room must have been reserved.
   */
  decodeRun(slot: number, key: CodeKey, offset: number): number | DecodeFailure {
    const table = this.tableOf(slot, key);
    const tableWord = table >>> 2;
    const page = this.#memory.slotAddress(slot);
    let first = 0;
    let at = offset;
    for (let count = 0; ; count++) {
      if (at === 4096) {
        this.#special(this.#allocate(), HANDLER.pageEnd, at);
        break;
      }
      const known = this.#words[tableWord + at]!;
      if (known !== 0) {
        this.#special(this.#allocate(), HANDLER.link, at, known);
        break;
      }
      if (count === RUN) {
        this.#special(this.#allocate(), HANDLER.end, at);
        break;
      }
      const insn = this.#decode(this.#bytes, page + at, 4096 - at, at, key);
      const handler = typeof insn === 'string' ? -1 : this.#handlers.indexOf(insn, key);
      if (insn === 'short') {
        const pause = this.#pauseBefore(slot, at);
        const record = this.#special(this.#allocate(), HANDLER.cross, at);
        this.#words[(record + RECORD.imm2) >>> 2] = -1;
        this.#words[tableWord + at] = pause || record;
        first ||= pause || record;
        break;
      }
      if (handler < 0) {
        if (first === 0) return typeof insn === 'string' ? insn : 'outside';
        this.#special(this.#allocate(), HANDLER.end, at);
        break;
      }
      assert(typeof insn !== 'string', 'a handler comes from an instruction');
      const pause = this.#pauseBefore(slot, at);
      const record = this.#allocate();
      this.#words[tableWord + at] = pause || record;
      first ||= pause || record;
      const ends = this.#write(record, insn, handler);
      const target = this.#targetOf(record, handler);
      if (target >= 0) this.#words[(record + RECORD.link) >>> 2] = this.#words[tableWord + target]!;
      at += insn.length;
      if (ends) break;
    }
    this.#handlers.compile();
    this.onDecoded(slot, key, offset, at);
    return first;
  }

  /** Decodes a STALE record again in its place; false when what it is now does not fit there. */
  redecode(record: number, slot: number, key: CodeKey): boolean {
    const offset = this.#view.getUint16(record + RECORD.place, true);
    const length = this.#bytes[record + RECORD.place + 2]!;
    const table = this.tableOf(slot, key);
    if (length === 0 || this.recordAt(table, offset) !== 0 || this.pausesAt(slot, offset)) return false;
    const at = this.#memory.slotAddress(slot) + offset;
    const insn = this.#decode(this.#bytes, at, 4096 - offset, offset, key);
    if (typeof insn === 'string' || insn.length !== length) return false;
    const handler = this.#handlers.indexOf(insn, key);
    // the instructions of system records are given up with all records only, so that each must be accounted for as garbage
    if (handler < 0 || handler === HANDLER.system) return false;
    if (this.#bytes[record + ENDS] && !this.#handlers.info(insn.form).ends) return false;
    this.#write(record, insn, handler);
    this.#words[(table >>> 2) + offset] = record;
    this.#garbage -= RECORD_BYTES;
    this.#handlers.compile();
    this.onDecoded(slot, key, offset, offset + length);
    return true;
  }

  /** Makes `record`, which stands for a page offset, a link to the record decoded there since. */
  linkTo(record: number, target: number): void {
    this.#words[(record + RECORD.handler) >>> 2] = HANDLER.link;
    this.#words[(record + RECORD.link) >>> 2] = target;
  }
  /** Offset of a relative branch's target in the branch's page; -1 outside of it, and for others. */
  #targetOf(record: number, handler: number): number {
    const at = (record + RECORD.imm) >>> 2;
    const offset = this.#words[at]!;
    return this.#handlers.branches[handler] && this.#words[at + 1] === 0 && offset >>> 12 === 0 ? offset : -1;
  }
  /** Notes the record of a relative branch's target, when it lies in the branch's page. */
  linkBranch(record: number, offset: number, target: number): void {
    if (this.#targetOf(record, this.#words[record >>> 2]!) === offset)
      this.#words[(record + RECORD.link) >>> 2] = target;
  }
  /** The instruction of a system record. */
  systemInsn(record: number): Insn {
    const insn = this.#insns[this.#words[(record + RECORD.link) >>> 2]!];
    assert(insn, 'not the record of a system instruction');
    return insn;
  }

  /**
   * Resolves a CROSS record against its two pages: decodes the instruction and puts its record behind the link. Null, or
   * why there is no instruction.
   */
  resolveCrossing(record: number, slot: number, second: number, key: CodeKey): null | DecodeFailure {
    const offset = this.#view.getUint16(record + RECORD.place, true);
    const insn = this.decodeAcross(slot, second, offset, key);
    const handler = typeof insn === 'string' ? -1 : this.#handlers.indexOf(insn, key);
    if (handler < 0) return typeof insn === 'string' ? insn : 'outside';
    assert(typeof insn !== 'string', 'a handler comes from an instruction');
    let real = this.#words[(record + RECORD.link) >>> 2]!;
    const again = real !== 0 && this.#words[real >>> 2] === HANDLER.system;
    if (real === 0) {
      real = this.#allocate();
      this.#allocate();
    }
    this.#write(real, insn, handler, again ? this.#words[(real + RECORD.link) >>> 2]! : this.#insns.length);
    this.#special(real + RECORD_BYTES, HANDLER.pageEnd, offset + insn.length);
    this.#words[(record + RECORD.link) >>> 2] = real;
    this.#words[(record + RECORD.imm2) >>> 2] = this.#memory.slotAddress(second);
    this.tableOf(second, key);
    const list = this.#crossings.get(second) ?? [];
    if (!list.some((x) => x.record === record)) list.push({ record, bytes: MAX_LENGTH });
    this.#crossings.set(second, list);
    this.#handlers.compile();
    return null;
  }
  /** Decodes the instruction at `offset` of one page that continues at the start of another. */
  decodeAcross(slot: number, second: number, offset: number, key: CodeKey): Insn | DecodeFailure {
    const inside = Math.min(MAX_LENGTH, 4096 - offset);
    const from = this.#memory.slotAddress(slot) + offset;
    const next = this.#memory.slotAddress(second);
    this.#buffer.set(this.#bytes.subarray(from, from + inside));
    this.#buffer.set(this.#bytes.subarray(next, next + MAX_LENGTH), inside);
    return this.#decode(this.#buffer, 0, MAX_LENGTH, offset, key);
  }
  /** Decodes the instruction at `offset` of a page without keeping it. */
  decodeAt(slot: number, offset: number, key: CodeKey): Insn | DecodeFailure {
    return this.#decode(this.#bytes, this.#memory.slotAddress(slot) + offset, 4096 - offset, offset, key);
  }
  #decode(bytes: Uint8Array, at: number, available: number, offset: number, key: CodeKey): Insn | DecodeFailure {
    return decode(bytes, at, available, offset, modeOf(key), this.#policy, stackSizeOf(key));
  }

  /** Makes `record` enter a region by `tag`; returns what {@link CodeCache.restore} needs. */
  enterRegion(record: number, tag: number): number {
    const words = this.#words;
    const handler = words[record >>> 2]!;
    words[record >>> 2] = HANDLER.hot;
    words[(record + RECORD.imm2) >>> 2] = tag;
    return handler;
  }
  /** Undoes {@link CodeCache.enterRegion} unless the record has become something else since. */
  restore(record: number, tag: number, handler: number): void {
    const words = this.#words;
    if (words[record >>> 2] !== HANDLER.hot || words[(record + RECORD.imm2) >>> 2] !== tag) return;
    words[record >>> 2] = handler;
    words[(record + RECORD.imm2) >>> 2] = 0;
  }

  // ---- changes of code ----------------------------------------------------------------------------------------------

  /** Bytes of a page with code are about to change. */
  invalidate(slot: number, offset: number, length: number): void {
    const writes = this.#writes.get(slot) ?? { count: 0, limit: CODE_WRITES };
    this.#writes.set(slot, writes);
    if (++writes.count > writes.limit) {
      writes.count = 0;
      writes.limit *= 2;
      this.#dropPage(slot);
      return;
    }
    this.#invalidate(slot, offset, length);
  }
  #invalidate(slot: number, offset: number, length: number): void {
    this.onInvalidate(slot, offset, length);
    for (const tables of this.#tables) {
      const table = tables === undefined ? 0 : tables[slot]!;
      if (table !== 0) this.#makeStale(table, offset, length);
    }
    for (const { record, bytes } of this.#crossings.get(slot) ?? [])
      if (offset < bytes) this.#words[(record + RECORD.imm2) >>> 2] = -1;
  }
  /** Turns the records of some bytes of a page into STALE ones and takes them out of the page's table. */
  #makeStale(table: number, offset: number, length: number): void {
    const words = this.#words;
    for (let at = Math.max(0, offset - MAX_LENGTH + 1); at < offset + length; at++) {
      const place = (table >>> 2) + at;
      const record = words[place]!;
      if (record === 0) continue;
      // an instruction that is repeated goes back to its own record, not to the PAUSE in front of it
      const insn = words[record >>> 2] === HANDLER.pause ? record + RECORD_BYTES : record;
      // a CROSS record has length 0 and reaches to the end of its page
      const bytes = this.#bytes[insn + RECORD.place + 2]!;
      if (bytes !== 0 && at + bytes <= offset) continue;
      words[record >>> 2] = HANDLER.stale;
      words[insn >>> 2] = HANDLER.stale;
      words[place] = 0;
      this.#garbage += RECORD_BYTES;
    }
  }
  /** Drops all records of a page that is written again and again, and its CODE flag. */
  #dropPage(slot: number): void {
    this.#invalidate(slot, 0, 4096);
    this.#crossings.delete(slot);
    this.#memory.slotFlags[slot]! &= ~FRAME.code;
    this.#mmu.flushCode();
  }
}
