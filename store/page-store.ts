/**
 * Pages of a recording by number and by content: stored once, in chunks of up to 256, compressed together.
 *
 * Invariants: a page number, once given, names the same contents and hash for ever; chunks are sealed as they fill, through one
 * buffer, since touching fresh memory costs more than compressing it; what is kept in memory is bounded, so that a page is stored again
 * where it was last stored long ago.
 */
import { PAGE_SIZE } from '../src/core/units.ts';
import { SlotRuns } from '../src/timeline/snapshot-tables.ts';
import type { SlotRun, SnapshotPage } from '../src/timeline/trace-store.ts';
import { damaged, numbered, placeOf, type Sealed } from './sealed.ts';

const CHUNK_PAGES = 256;
const HASH_BYTES = 16;
/** Chunks kept unpacked: 16 MiB. */
const CACHED_CHUNKS = 16;
/** Pages in a generation of those that are found again: 512 MiB of them, in some 6 MB. There are two. */
const GENERATION = 1 << 17;
/** Chunks whose hashes are kept: 4 MiB. */
const HASH_CHUNKS = (2 * GENERATION) / CHUNK_PAGES;

/** Reads the value of a key, unsealed; E_RECORDING when it is missing or damaged. */
export type ReadValue = (key: string) => Uint8Array;
/** Seals a value, sharing nothing with `data`. */
export type SealValue = (key: string, data: Uint8Array) => Sealed;

/** Where to look for a page with this hash: its first 48 bits. */
const keyOf = (hash: Uint8Array): number =>
  (hash[0]! | (hash[1]! << 8) | (hash[2]! << 16)) * 2 ** 24 + (hash[3]! | (hash[4]! << 8) | (hash[5]! << 16));
const isEqual = (one: Uint8Array, other: Uint8Array): boolean => one.every((byte, i) => byte === other[i]);

export class PageStore {
  readonly #read: ReadValue;
  readonly #seal: SealValue;
  readonly #cache = new Map<number, Uint8Array>();
  readonly #hashChunks = new Map<number, Uint8Array>();
  /** Chunks that exist: 0 to here. */
  #chunks: number;
  /** The last page number by key of the hash, of pages stored or found lately; null until the first page is to be stored. */
  #numbers: Map<number, number> | null = null;
  /** The generation before. */
  #older: ReadonlyMap<number, number> = new Map();
  /** The chunk being filled and how many pages it holds; null until the first page is to be stored. */
  #chunk: Uint8Array | null = null;
  #filled = 0;

  constructor(read: ReadValue, seal: SealValue, chunks: number) {
    this.#read = read;
    this.#seal = seal;
    this.#chunks = chunks;
  }

  /** The page of that number, not to be changed. */
  page(number: number): Uint8Array {
    const index = Math.floor(number / CHUNK_PAGES);
    const at = (number % CHUNK_PAGES) * PAGE_SIZE;
    let chunk = this.#cache.get(index);
    if (chunk === undefined) {
      chunk = this.#read(numbered('pages', index));
      if (this.#cache.size >= CACHED_CHUNKS) this.#cache.delete(this.#cache.keys().next().value!);
      this.#cache.set(index, chunk);
    }
    if (at + PAGE_SIZE > chunk.length) throw damaged(placeOf(numbered('pages', index)), 'is too short');
    return chunk.subarray(at, at + PAGE_SIZE);
  }

  /** The hash stored with a page. */
  hash(number: number): Uint8Array {
    const index = Math.floor(number / CHUNK_PAGES);
    const at = (number % CHUNK_PAGES) * HASH_BYTES;
    const chunk = this.#hashes(index);
    if (at + HASH_BYTES > chunk.length) throw damaged(placeOf(numbered('hashes', index)), 'is too short');
    return chunk.subarray(at, at + HASH_BYTES);
  }
  /** The hashes of a chunk; room for them where it is the one being filled. */
  #hashes(index: number): Uint8Array {
    let chunk = this.#hashChunks.get(index);
    if (chunk === undefined) {
      chunk = index < this.#chunks ? this.#read(numbered('hashes', index)) : new Uint8Array(CHUNK_PAGES * HASH_BYTES);
      this.#keepHashes(index, chunk);
    }
    return chunk;
  }
  #keepHashes(index: number, hashes: Uint8Array): void {
    this.#hashChunks.set(index, hashes);
    if (this.#hashChunks.size <= HASH_CHUNKS) return;
    for (const oldest of this.#hashChunks.keys()) {
      if (oldest === this.#chunks) continue;
      this.#hashChunks.delete(oldest);
      return;
    }
  }
  #loadNumbers(): void {
    for (let index = Math.max(0, this.#chunks - HASH_CHUNKS); index < this.#chunks; index++) {
      const hashes = this.#hashes(index);
      for (let i = 0; (i + 1) * HASH_BYTES <= hashes.length; i++)
        this.#remember(keyOf(hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES)), index * CHUNK_PAGES + i);
    }
  }
  #remember(key: number, number: number): void {
    if (this.#numbers === null || this.#numbers.size >= GENERATION) {
      this.#older = this.#numbers ?? this.#older;
      this.#numbers = new Map();
    }
    this.#numbers.set(key, number);
  }

  /** Gives each slot's page its number; `values` are what is to be stored for those that are new. */
  store(pages: Iterable<SnapshotPage>): { runs: readonly SlotRun[]; values: Sealed[] } {
    if (this.#numbers === null) this.#loadNumbers();
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
  /** The number of a page, which goes into the chunk being filled if it is new. */
  #place(hash: Uint8Array, bytes: Uint8Array): number {
    const key = keyOf(hash);
    const recent = this.#numbers?.get(key);
    const known = recent ?? this.#older.get(key);
    if (known !== undefined && isEqual(hash, this.hash(known))) {
      if (recent === undefined) this.#remember(key, known);
      return known;
    }
    this.#chunk!.set(bytes, this.#filled * PAGE_SIZE);
    this.#hashes(this.#chunks).set(hash, this.#filled * HASH_BYTES);
    const number = this.#chunks * CHUNK_PAGES + this.#filled++;
    this.#remember(key, number);
    return number;
  }
  /** Seals the chunk being filled. */
  #close(values: Sealed[]): void {
    const index = this.#chunks++;
    const hashes = this.#hashes(index).subarray(0, this.#filled * HASH_BYTES);
    this.#keepHashes(index, hashes);
    values.push(
      this.#seal(numbered('pages', index), this.#chunk!.subarray(0, this.#filled * PAGE_SIZE)),
      this.#seal(numbered('hashes', index), hashes),
    );
    this.#filled = 0;
  }
}
