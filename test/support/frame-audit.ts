/**
 * Counts every reference to a frame anew, from the page tables, pins, allocations and what the hypervisor says it holds, and
 * compares with the frame table; owners and the domain's own counts with it.
 */
import type { Domain } from '../../src/xen/domain.ts';
import { levelOf, OWNER, PGC, PGT, TYPE_NAMES, typeInfoText } from '../../src/xen/mm/page-info.ts';
import { PTE, pteFrame, tableWords } from '../../src/xen/mm/pte.ts';
import { isGuestL4Slot } from '../../src/xen/mm/types.ts';
import type { HeldReference } from './held-references.ts';

/** One count of a domain's references. */
class Audit {
  readonly wrong: string[] = [];
  readonly #d: Domain;
  readonly #types: Int32Array;
  readonly #refs: Int32Array;
  /** Same-level entries: above 0 those that a table holds, below 0 those it is used in. */
  readonly #linear: Int32Array;

  constructor(d: Domain) {
    this.#d = d;
    [this.#types, this.#refs, this.#linear] = [0, 1, 2].map(() => new Int32Array(d.layout.frameLimit)) as [
      Int32Array,
      Int32Array,
      Int32Array,
    ];
  }

  #expectType(mfn: number, type: number, who: string): void {
    const info = this.#d.frames.type(mfn);
    if ((info & PGT.typeMask) !== type)
      this.wrong.push(`${mfn}: ${who} needs ${TYPE_NAMES[type >>> 29]}, the type is ${typeInfoText(info)}`);
  }

  held({ frame, type, general }: Pick<HeldReference, 'frame' | 'type' | 'general'>): void {
    if (general) this.#refs[frame]!++;
    this.#types[frame]!++;
    this.#expectType(frame, type, 'a holder');
  }

  /** The references of one table's entries. */
  table(table: number, level: number): void {
    const { frames, memory, layout } = this.#d;
    const base = tableWords(this.#d, table);
    for (let i = 0; i < 512; i++) {
      const lo = memory.words[base + 2 * i]!;
      if ((lo & PTE.present) === 0 || (level === 4 && !isGuestL4Slot(i))) continue;
      const target = pteFrame(lo, memory.words[base + 2 * i + 1]!);
      if ((lo & PTE.user) === 0) this.wrong.push(`${table}[${i}]: the user bit is clear`);
      if (target < layout.heapBase || target >= layout.frameLimit) {
        this.wrong.push(`${table}[${i}]: names frame ${target}`);
        continue;
      }
      const writable = (lo & PTE.rw) !== 0;
      if (level > 1 && target === table) {
        if (writable) this.wrong.push(`${table}[${i}]: maps itself writable`);
        continue;
      }
      this.#refs[target]!++;
      if (level > 1 || writable) this.#types[target]!++;
      if (level === 1) {
        if (writable) this.#expectType(target, PGT.writable, `${table}[${i}]`);
        continue;
      }
      const named = levelOf(frames.type(target));
      if (named === level) {
        this.#linear[table]!++;
        this.#linear[target]!--;
        if (writable) this.wrong.push(`${table}[${i}]: names a table of its own level writable`);
      } else if (named !== level - 1)
        this.wrong.push(`${table}[${i}]: level ${level} names a frame of type ${typeInfoText(frames.type(target))}`);
    }
  }

  /** What a frame itself says of references: its pin, its allocation, its entries. */
  frame(mfn: number): void {
    const { frames } = this.#d;
    const info = frames.type(mfn);
    const level = levelOf(info);
    if (info & PGT.pinned) {
      this.#types[mfn]!++;
      this.#refs[mfn]!++;
      if (level === 0) this.wrong.push(`${mfn}: pinned as ${typeInfoText(info)}`);
    }
    if (frames.count(mfn) & PGC.allocated && frames.owner(mfn) === OWNER.domain) this.#refs[mfn]!++;
    if (level === 0 || (info & PGT.countMask) === 0) return;
    if ((info & PGT.validated) === 0) this.wrong.push(`${mfn}: in use before it is validated`);
    this.table(mfn, level);
  }

  /** Compares a frame's counts and owner with what has been counted. */
  compare(mfn: number): void {
    const { frames } = this.#d;
    const owner = frames.owner(mfn);
    const info = frames.type(mfn);
    const type = info & PGT.countMask;
    const count = frames.count(mfn) & PGC.countMask;
    if (owner === OWNER.xen || owner === OWNER.io) {
      if (type !== 1 || count !== 1) this.wrong.push(`${mfn}: not the domain's, type count ${type}, count ${count}`);
      return;
    }
    if (type !== this.#types[mfn]) this.wrong.push(`${mfn}: type count ${type}, references ${this.#types[mfn]}`);
    if (count !== this.#refs[mfn]) this.wrong.push(`${mfn}: count ${count}, references ${this.#refs[mfn]}`);
    const isFree = count === 0 && (frames.count(mfn) & PGC.xenHeap) === 0;
    if (isFree !== (owner === OWNER.none)) this.wrong.push(`${mfn}: count ${count} and owner ${owner}`);
    if (isFree && (info & PGT.typeMask) !== 0) this.wrong.push(`${mfn}: free and of type ${typeInfoText(info)}`);
    if (levelOf(info) > 1 && type > 0 && frames.linear(mfn) !== this.#linear[mfn])
      this.wrong.push(`${mfn}: linear count ${frames.linear(mfn)}, entries ${this.#linear[mfn]}`);
  }
}

/** What is out of order, one line each; empty when every count is the references that exist. */
export function auditFrames(d: Domain, held: Iterable<Pick<HeldReference, 'frame' | 'type' | 'general'>>): string[] {
  const { frames, layout, state } = d;
  const audit = new Audit(d);
  for (const reference of held) audit.held(reference);
  for (let mfn = layout.heapBase; mfn < layout.frameLimit; mfn++) audit.frame(mfn);
  let [pages, l4Tables] = [0, 0];
  for (let mfn = 0; mfn < layout.frameLimit; mfn++) {
    audit.compare(mfn);
    if (mfn >= layout.domainBase && frames.owner(mfn) === OWNER.domain) pages++;
    if (levelOf(frames.type(mfn)) === 4 && frames.type(mfn) & PGT.validated) l4Tables++;
  }
  if (pages !== state.totPages) audit.wrong.push(`the domain owns ${pages} pages, its count is ${state.totPages}`);
  if (l4Tables !== state.l4Pages) audit.wrong.push(`${l4Tables} L4 tables, the domain's count is ${state.l4Pages}`);
  return audit.wrong;
}
