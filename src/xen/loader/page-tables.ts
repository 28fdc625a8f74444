/**
 * The initial page tables of an amd64 PV domain as a plan: how many tables each mapping needs, where they lie, and the
 * entries they hold.
 *
 * A mapping is a contiguous virtual area on contiguous frames. The tables of the first mapping include the top level; a later
 * mapping adds only what the earlier ones lack. Ranges are inclusive at both ends and 48 bits wide; `from === to`
 * means that a level has no tables here.
 *
 * Source: tools/libs/guest/xg_dom_x86.c (count_pgtables, setup_pgtables_pv, get_pg_prot).
 */

import { PAGE_SHIFT, type PseudoFrame } from '../../core/units.ts';

const LEVELS = 4;
const VADDR_MASK = (1n << 48n) - 1n;
const PRESENT_RW_ACCESSED = 0x23;
const RW = 2;
/** Present, writable, user, accessed, dirty. */
const UPPER_FLAGS = 0x67;

/** The tables of one level of a mapping: `count` frames from `pfn`, covering `from` .. `to`. */
interface TableRun {
  from: bigint;
  to: bigint;
  pfn: PseudoFrame;
  count: number;
}

/** One mapped area; `tables[0]` are the L1 tables. */
export interface Mapping {
  readonly from: bigint;
  readonly to: bigint;
  /** First frame the area maps. */
  pfn: PseudoFrame;
  readonly tables: readonly TableRun[];
  /** Frames of all tables together. */
  readonly tableCount: number;
}

/** One page-table entry: `index` counts from the start of the frame `table`, `flags` are the low PTE bits. */
export interface PageTableEntry {
  readonly level: 1 | 2 | 3 | 4;
  readonly table: PseudoFrame;
  readonly index: number;
  readonly target: PseudoFrame;
  readonly flags: number;
}

/**
 * Plans the tables of `virtFrom` .. `virtTo` (inclusive) on frames from `pfn`, placing them from `tablesPfn`; null when
 * the area overlaps one of `earlier` or its tables.
 */
export function planMapping(
  virtFrom: bigint,
  virtTo: bigint,
  pfn: PseudoFrame,
  tablesPfn: PseudoFrame,
  earlier: readonly Mapping[],
): Mapping | null {
  const from = virtFrom & VADDR_MASK;
  const to = virtTo & VADDR_MASK;
  if (earlier.some((other) => from < other.to && to > other.from)) return null;
  const tables: TableRun[] = [];
  let tableCount = 0;
  for (let level = LEVELS - 1; level >= 0; level--) {
    const run: TableRun = { from: 0n, to: 0n, pfn: tablesPfn + tableCount, count: 0 };
    if (level === LEVELS - 1) {
      if (earlier.length === 0) Object.assign(run, { to: VADDR_MASK, count: 1 });
    } else if (!trim(run, level, from, to, earlier)) return null;
    tableCount += run.count;
    tables[level] = run;
  }
  return { from, to, pfn, tables, tableCount };
}

/**
 * Sets `run` to the part of `from` .. `to`, rounded to whole tables of `level`, that no earlier mapping covers; false when an
 * earlier one lies inside it, on which Xen's builder aborts.
 */
function trim(run: TableRun, level: number, from: bigint, to: bigint, earlier: readonly Mapping[]): boolean {
  const bits = BigInt(PAGE_SHIFT + (level + 1) * 9);
  const mask = (1n << bits) - 1n;
  run.from = from & ~mask;
  run.to = to | mask;
  for (const mapping of earlier) {
    const other = mapping.tables[level]!;
    if (other.from === other.to) continue;
    if (run.from >= other.from && run.to <= other.to) {
      run.from = 0n;
      run.to = 0n;
      break;
    }
    if (run.from < other.from && run.to > other.to) return false;
    if (run.from >= other.from && run.from <= other.to) run.from = other.to + 1n;
    if (run.to >= other.from && run.to <= other.to) run.to = other.from - 1n;
  }
  if (run.from < run.to) run.count = Number((run.to - run.from) >> bits) + 1;
  return true;
}

/** The same mapping with its tables moved up by `frames`, when what they map is allocated in front of them. */
export const shiftTables = (mapping: Mapping, frames: number): Mapping => ({
  ...mapping,
  tables: mapping.tables.map((run) => ({ ...run, pfn: run.pfn + frames })),
});

/** Every entry of the tables of `mappings`, top level first; L1 entries of page-table frames are read-only. */
export function* pageTableEntries(mappings: readonly Mapping[]): Generator<PageTableEntry> {
  const isTable = (pfn: PseudoFrame): boolean =>
    mappings.some(({ tables, tableCount }) => {
      const first = tables[LEVELS - 1]!.pfn;
      return pfn >= first && pfn < first + tableCount;
    });
  const larger = (a: bigint, b: bigint): bigint => (a > b ? a : b);
  const smaller = (a: bigint, b: bigint): bigint => (a < b ? a : b);
  for (let level = LEVELS - 1; level >= 0; level--) {
    const shift = BigInt(PAGE_SHIFT + level * 9);
    for (const { tables } of mappings) {
      const { from, to, pfn: table } = tables[level]!;
      if (tables[level]!.count === 0) continue;
      for (const mapping of mappings) {
        const below = level > 0 ? mapping.tables[level - 1]! : mapping;
        if ('count' in below && below.count === 0) continue;
        if (below.from >= to || below.to <= from) continue;
        const start = larger(from, below.from);
        const first = Number((start - from) >> shift);
        const last = Number((smaller(to, below.to) - from) >> shift);
        let target = Number((start - below.from) >> shift) + below.pfn;
        for (let i = first; i <= last; i++, target++) {
          const flags = level > 0 ? UPPER_FLAGS : PRESENT_RW_ACCESSED & (isTable(target) ? ~RW : ~0);
          const entry = { table: table + (i >> 9), index: i & 511, target, flags };
          yield { level: (level + 1) as PageTableEntry['level'], ...entry };
        }
      }
    }
  }
}
