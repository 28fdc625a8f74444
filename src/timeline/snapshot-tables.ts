/**
 * Page tables of a recording's snapshots: which stored page each slot holds, as differences along the chain of bases.
 *
 * Invariants: page numbers name stored contents for ever; a base is stored before what builds on it.
 */
import { assert } from '../core/assert.ts';
import type { Tick } from '../core/units.ts';
import type { SlotRun, SnapshotSummary } from './trace-store.ts';

/** In a table: the slot is as the machine was built. */
export const AS_BUILT = -1;

/** Slots and their pages as runs: pages are numbered as they are stored, so that 17,000 of them make some 300. */
export class SlotRuns {
  readonly #all: Array<{ readonly slot: number; readonly page: number; length: number }> = [];

  get all(): readonly SlotRun[] {
    return this.#all;
  }
  /** Adds a slot behind all others, to the last run where it follows it. */
  add(slot: number, page: number): void {
    const last = this.#all.at(-1);
    assert(last === undefined || slot >= last.slot + last.length, 'slots ascend');
    if (last !== undefined && slot === last.slot + last.length && page === last.page + last.length) last.length++;
    else this.#all.push({ slot, page, length: 1 });
  }
}

export class SnapshotTables<Row extends SnapshotSummary = SnapshotSummary> {
  /** By ascending tick. */
  readonly rows: Row[] = [];
  readonly #byTick = new Map<Tick, Row>();
  /** The tables used last. */
  readonly #cache = new Map<Tick, Int32Array>();

  has(tick: Tick): boolean {
    return this.#byTick.has(tick);
  }
  get(tick: Tick): Row | undefined {
    return this.#byTick.get(tick);
  }
  add(row: Row): void {
    assert(!this.has(row.tick), `a snapshot at tick ${row.tick} exists`);
    assert(row.base === null || this.has(row.base), 'the base snapshot exists');
    this.#byTick.set(row.tick, row);
    let at = this.rows.length;
    while (at > 0 && this.rows[at - 1]!.tick > row.tick) at--;
    this.rows.splice(at, 0, row);
  }
  before(tick: Tick): Row | null {
    let found: Row | null = null;
    for (const row of this.rows) {
      if (row.tick > tick) break;
      found = row;
    }
    return found;
  }

  /** Page number of each slot at the snapshot of `tick`; slots past the end are as built. */
  table(tick: Tick | null): Int32Array {
    if (tick === null) return new Int32Array(0);
    const cached = this.#cache.get(tick);
    if (cached !== undefined) return cached;
    const chain: Row[] = [];
    let from: Int32Array = new Int32Array(0);
    for (let at: Tick | null = tick; at !== null; ) {
      const known = this.#cache.get(at);
      if (known !== undefined) {
        from = known;
        break;
      }
      const row: Row = this.#byTick.get(at)!;
      chain.push(row);
      at = row.base;
    }
    const runs = chain.reverse().flatMap((row) => row.dirty);
    const last = runs.reduce((most, { slot, length }) => Math.max(most, slot + length), from.length);
    const table = new Int32Array(last).fill(AS_BUILT);
    table.set(from);
    for (const { slot, page, length } of runs) for (let i = 0; i < length; i++) table[slot + i] = page + i;
    if (this.#cache.size >= 8) this.#cache.delete(this.#cache.keys().next().value!);
    this.#cache.set(tick, table);
    return table;
  }

  /** Slots where the tables of two snapshots differ. */
  differing(one: Tick | null, other: Tick | null): number[] {
    const [a, b] = [this.table(one), this.table(other)];
    const out: number[] = [];
    for (let slot = 0; slot < Math.max(a.length, b.length); slot++)
      if ((a[slot] ?? AS_BUILT) !== (b[slot] ?? AS_BUILT)) out.push(slot);
    return out;
  }
}
