/**
 * What is kept in memory of a database's tables: the blocks of entries read last, and how much their indexes take.
 */
import { need } from './cursor.ts';
import type { Entry } from './entry.ts';

/** Bytes of blocks, as they are on disk. */
const BLOCK_BYTES = 2 << 20;
/** Bytes of indexes, as they are on disk: those of some 3 GB of entries. */
const INDEX_BYTES = 32 << 20;

export class BlockCache {
  readonly #blocks = new Map<string, { readonly entries: readonly Entry[]; readonly bytes: number }>();
  #blockBytes = 0;
  #indexBytes = 0;

  /** Counts an index that is kept; Malformed where that makes too much. */
  indexed(bytes: number): void {
    this.#indexBytes += bytes;
    need(this.#indexBytes <= INDEX_BYTES, 'its index is too large');
  }
  /** The entries of the block `name`, which has `bytes` bytes, as it was read before or as `read` reads it. */
  entries(name: string, bytes: number, read: () => readonly Entry[]): readonly Entry[] {
    const known = this.#blocks.get(name);
    if (known !== undefined) return known.entries;
    const entries = read();
    this.#blocks.set(name, { entries, bytes });
    this.#blockBytes += bytes;
    for (const [oldest, block] of this.#blocks) {
      if (this.#blockBytes <= BLOCK_BYTES) break;
      this.#blocks.delete(oldest);
      this.#blockBytes -= block.bytes;
    }
    return entries;
  }
}
