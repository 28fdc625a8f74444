/**
 * Pages of a recording that is being made, by content: stored once, in chunks of up to 256, compressed together.
 *
 * Invariants: a page number, once given, names the same contents and hash for ever; chunks are sealed as they fill, through one
 * buffer, since touching fresh memory costs more than compressing it; what is kept in memory is bounded, so that a page is stored again
 * where it was last stored long ago.
 */
import { PAGE_SIZE } from '../src/core/units.ts';
import { SlotRuns } from '../src/timeline/snapshot-tables.ts';
import type { SlotRun, SnapshotPage } from '../src/timeline/trace-store.ts';
import { CHUNK_PAGES, HASH_BYTES, PageReader, type ReadValue } from './page-reader.ts';
import { numbered, type Sealed } from './sealed.ts';

/** Pages in a generation of those that are found again: 512 MiB of them, in some 6 MB. There are two. */
const GENERATION = 1 << 17;

/** Seals a value, sharing nothing with `data`. */
export type SealValue = (key: string, data: Uint8Array) => Sealed;

/** Where to look for a page with this hash: its first 48 bits. */
const keyOf = (hash: Uint8Array): number =>
  (hash[0]! | (hash[1]! << 8) | (hash[2]! << 16)) * 2 ** 24 + (hash[3]! | (hash[4]! << 8) | (hash[5]! << 16));
const isEqual = (one: Uint8Array, other: Uint8Array): boolean => one.every((byte, i) => byte === other[i]);

export class PageStore extends PageReader {
  readonly #seal: SealValue;
  /** The last page number by key of the hash, of pages stored or found lately. */
  #numbers = new Map<number, number>();
  /** The generation before. */
  #older: ReadonlyMap<number, number> = new Map();
  /** Number, pages and hashes of the chunk being filled; the pages are null until the first is to be stored. */
  #index = 0;
  #chunk: Uint8Array | null = null;
  #hashes = new Uint8Array(CHUNK_PAGES * HASH_BYTES);
  #filled = 0;

  constructor(read: ReadValue, seal: SealValue) {
    super(read);
    this.#seal = seal;
  }

  /** Gives each slot's page its number; `values` are what is to be stored for those that are new. */
  store(pages: Iterable<SnapshotPage>): { runs: readonly SlotRun[]; values: Sealed[] } {
    this.#chunk ??= new Uint8Array(CHUNK_PAGES * PAGE_SIZE);
    const runs = new SlotRuns();
    const values: Sealed[] = [];
    // V8 would compile a loop here while it runs, for longer than that takes
    Iterator.from(pages).forEach((page) => {
      runs.add(page.slot, this.#place(page.hash, page.bytes));
      if (this.#filled === CHUNK_PAGES) this.#close(values);
    });
    if (this.#filled > 0) this.#close(values);
    return { runs: runs.all, values };
  }

  protected override hashes(index: number): Uint8Array {
    return index === this.#index ? this.#hashes : super.hashes(index);
  }
  #remember(key: number, number: number): void {
    if (this.#numbers.size >= GENERATION) {
      this.#older = this.#numbers;
      this.#numbers = new Map();
    }
    this.#numbers.set(key, number);
  }
  /** The number of a page, which goes into the chunk being filled if it is new. */
  #place(hash: Uint8Array, bytes: Uint8Array): number {
    const key = keyOf(hash);
    const recent = this.#numbers.get(key);
    const known = recent ?? this.#older.get(key);
    if (known !== undefined && isEqual(hash, this.hash(known))) {
      if (recent === undefined) this.#remember(key, known);
      return known;
    }
    this.#chunk!.set(bytes, this.#filled * PAGE_SIZE);
    this.#hashes.set(hash, this.#filled * HASH_BYTES);
    const number = this.#index * CHUNK_PAGES + this.#filled++;
    this.#remember(key, number);
    return number;
  }
  /** Seals the chunk being filled. */
  #close(values: Sealed[]): void {
    const hashes = this.#hashes.slice(0, this.#filled * HASH_BYTES);
    values.push(
      this.#seal(numbered('pages', this.#index), this.#chunk!.subarray(0, this.#filled * PAGE_SIZE)),
      this.#seal(numbered('hashes', this.#index), hashes),
    );
    this.keepHashes(this.#index++, hashes);
    this.#filled = 0;
  }
}
