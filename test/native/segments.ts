/**
 * The segments of 32-bit cases: a fixed table of LDT descriptors around the pages of a case, of every type, direction and
 * granularity that a limit check tells apart. The oracle installs the same table with modify_ldt.
 */
import { SplitMix64 } from './random.ts';
import { type CaseRecord, CODE_BASE, DATA_BASE, isSegmented, PAGE } from './records.ts';

/** One descriptor of the table. */
export interface SegmentEntry {
  readonly base: number;
  /** The 20 bits of the descriptor. */
  readonly rawLimit: number;
  readonly expandDown: boolean;
  readonly code: boolean;
  /** Data: writable; code: readable. */
  readonly access: boolean;
  readonly big: boolean;
  readonly pages: boolean;
}

/** Bytes of an entry in the oracle's file: base, limit, flags as 32-bit words. */
const ENTRY_BYTES = 12;
/** The index in a case that means a null selector, and the one that means the flat segments of the GDT. */
export const NULL_SEGMENT = 0;
export const FLAT_SEGMENT = 255;
const DATA_ENTRIES = 150;
const CODE_ENTRIES = 60;
const CODE16_ENTRIES = 40;
const SEED = 0x5e9n;
/** Numbers of segment registers. */
const [CS, FS, GS] = [1, 4, 5];

function dataEntry(random: SplitMix64): SegmentEntry {
  const open = random.chance(25);
  const expandDown = !open && random.chance(40);
  const big = expandDown ? random.chance(70) : random.chance(80);
  const common = { expandDown, big, code: !expandDown && random.chance(12), access: random.chance(75) };
  const near = DATA_BASE + random.below(2 * PAGE);
  if (open) {
    const base = random.pick([0, 0, DATA_BASE, DATA_BASE - random.below(0x8000), random.below(DATA_BASE)]);
    return { ...common, base, rawLimit: 0xfffff, pages: true };
  }
  if (expandDown && !big) {
    // offsets up to 0xffff: the segment ends in the data page or behind it
    const base = near - 0xffff;
    return {
      ...common,
      base,
      rawLimit: Math.max(0, Math.min(0xffff, DATA_BASE + random.below(PAGE) - base)),
      pages: false,
    };
  }
  const pages = random.chance(30);
  const base = DATA_BASE - random.pick([0, 1, 16, random.below(PAGE), random.below(0x10000), random.below(0x80000)]);
  const limit = near - base;
  return { ...common, base, rawLimit: pages ? limit >>> 12 : limit, pages };
}

function codeEntry(random: SplitMix64, big: boolean): SegmentEntry {
  const common = { expandDown: false, code: true, access: random.chance(60), big };
  if (random.chance(25) && big)
    return {
      ...common,
      base: random.chance(50) ? 0 : CODE_BASE - random.below(0x8000),
      rawLimit: 0xfffff,
      pages: true,
    };
  const pages = random.chance(15);
  const base = CODE_BASE - random.pick([0, 1, 16, random.below(0xf000), big ? random.below(0x80000) : 0]);
  const limit = CODE_BASE + random.below(PAGE + 64) - base;
  return { ...common, base, rawLimit: pages ? limit >>> 12 : limit, pages };
}

const random = new SplitMix64(SEED);
/** The table; index i of a case is entry i - 1. Data segments come first. */
const SEGMENTS: readonly SegmentEntry[] = [
  ...Array.from({ length: DATA_ENTRIES }, () => dataEntry(random)),
  ...Array.from({ length: CODE_ENTRIES }, () => codeEntry(random, true)),
  ...Array.from({ length: CODE16_ENTRIES }, () => codeEntry(random, false)),
];
const indices = (from: number, count: number, wanted: (entry: SegmentEntry) => boolean): number[] =>
  Array.from({ length: count }, (_, i) => from + i + 1).filter((index) => wanted(SEGMENTS[index - 1]!));
/** Indices that DS, ES, FS and GS may hold, those for SS, those for CS of 32 and of 16 bits. */
export const DATA_INDICES: readonly number[] = indices(0, DATA_ENTRIES, (entry) => !entry.code || entry.access);
/** Of the former, those that offsets of 16 bits reach the data page in. */
export const DATA16_INDICES: readonly number[] = DATA_INDICES.filter(
  (index) => SEGMENTS[index - 1]!.base > DATA_BASE - 0xf000,
);
export const STACK_INDICES: readonly number[] = indices(0, DATA_ENTRIES, (entry) => !entry.code && entry.access);
export const CODE_INDICES: readonly number[] = indices(DATA_ENTRIES, CODE_ENTRIES, () => true);

export const CODE16_INDICES: readonly number[] = indices(DATA_ENTRIES + CODE_ENTRIES, CODE16_ENTRIES, () => true);

/** A descriptor as the vCPU holds it. */
export interface LoadedSegment {
  readonly selector: number;
  readonly base: number;
  readonly limit: number;
  readonly attributes: number;
}

/** What a segment register holds after loading the index of a case; `code`: it is CS. */
export function loadedSegment(index: number, code: boolean): LoadedSegment {
  if (index === NULL_SEGMENT) return { selector: 0, base: 0, limit: 0, attributes: 0 };
  if (index === FLAT_SEGMENT)
    return { selector: code ? 0x23 : 0x2b, base: 0, limit: 0xffffffff, attributes: code ? 0xc0fb : 0xc0f3 };
  const entry = SEGMENTS[index - 1]!;
  const type = 1 | (entry.access ? 2 : 0) | (entry.expandDown ? 4 : 0) | (entry.code ? 8 : 0);
  return {
    selector: ((index - 1) << 3) | 7,
    base: entry.base,
    limit: entry.pages ? ((entry.rawLimit << 12) | 0xfff) >>> 0 : entry.rawLimit,
    attributes: 0xf0 | type | (entry.big ? 1 << 14 : 0) | (entry.pages ? 1 << 15 : 0),
  };
}

/** Base of CS in a case. */
export const codeBase = (record: CaseRecord): number =>
  isSegmented(record.mode) ? loadedSegment(record.segmentIndex(CS), true).base : 0;
/** Base of segment register `n` in a case outside 64-bit mode, where FS and GS may have one in every mode. */
export function segmentBase(record: CaseRecord, n: number): bigint {
  if (isSegmented(record.mode)) return BigInt(loadedSegment(record.segmentIndex(n), n === CS).base);
  return n === FS ? record.fsBase : n === GS ? record.gsBase : 0n;
}

/** The table as the oracle reads it. */
export function segmentFile(): Uint8Array {
  const view = new DataView(new ArrayBuffer(SEGMENTS.length * ENTRY_BYTES));
  SEGMENTS.forEach((entry, i) => {
    view.setUint32(i * ENTRY_BYTES, entry.base, true);
    view.setUint32(i * ENTRY_BYTES + 4, entry.rawLimit, true);
    const flags = [entry.big, entry.expandDown, entry.code, !entry.access, entry.pages];
    const word = flags.reduce((sum, flag, bit) => sum | (flag ? 1 << bit : 0), 0);
    view.setUint32(i * ENTRY_BYTES + 8, word, true);
  });
  return new Uint8Array(view.buffer);
}
