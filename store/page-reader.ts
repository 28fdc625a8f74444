/**
 * Pages of a recording by number, and their hashes: they are in chunks of up to 256, of which the last used are kept unpacked.
 */
import { PAGE_SIZE } from '../src/core/units.ts';
import { damaged, numbered, placeOf } from './sealed.ts';

export const CHUNK_PAGES = 256;
export const HASH_BYTES = 16;
/** Chunks kept unpacked: 16 MiB. */
const CACHED_CHUNKS = 16;
/** Chunks whose hashes are kept: 4 MiB. */
const HASH_CHUNKS = 1024;

/** Reads the value of a key, unsealed; E_RECORDING when it is missing or damaged. */
export type ReadValue = (key: string) => Uint8Array;

/** Item `number % CHUNK_PAGES`, of `bytes` bytes, of the chunk under `key`. */
function itemOf(chunk: Uint8Array, key: string, number: number, bytes: number): Uint8Array {
  const at = (number % CHUNK_PAGES) * bytes;
  if (at + bytes > chunk.length) throw damaged(placeOf(key), 'is too short');
  return chunk.subarray(at, at + bytes);
}

/** What is read of each index, the `most` used last. */
class Kept {
  readonly #chunks = new Map<number, Uint8Array>();
  readonly #most: number;
  constructor(most: number) {
    this.#most = most;
  }
  get(index: number): Uint8Array | undefined {
    return this.#chunks.get(index);
  }
  set(index: number, chunk: Uint8Array): Uint8Array {
    if (this.#chunks.size >= this.#most) this.#chunks.delete(this.#chunks.keys().next().value!);
    this.#chunks.set(index, chunk);
    return chunk;
  }
}

export class PageReader {
  readonly #read: ReadValue;
  readonly #chunks = new Kept(CACHED_CHUNKS);
  readonly #hashes = new Kept(HASH_CHUNKS);

  constructor(read: ReadValue) {
    this.#read = read;
  }

  /** The page of that number, not to be changed. */
  page(number: number): Uint8Array {
    const index = Math.floor(number / CHUNK_PAGES);
    const key = numbered('pages', index);
    return itemOf(this.#chunks.get(index) ?? this.#chunks.set(index, this.#read(key)), key, number, PAGE_SIZE);
  }
  /** The hash stored with a page. */
  hash(number: number): Uint8Array {
    const index = Math.floor(number / CHUNK_PAGES);
    return itemOf(this.hashes(index), numbered('hashes', index), number, HASH_BYTES);
  }

  /** The hashes of a chunk. */
  protected hashes(index: number): Uint8Array {
    return this.#hashes.get(index) ?? this.keepHashes(index, this.#read(numbered('hashes', index)));
  }
  protected keepHashes(index: number, hashes: Uint8Array): Uint8Array {
    return this.#hashes.set(index, hashes);
  }
}
