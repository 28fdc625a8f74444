/**
 * LevelDB's tables (leveldb/doc/table_format.md): sorted entries in blocks, an index of blocks, a footer. Read block by block, each
 * against its checksum; compression is off here.
 */
import type { PlainFile } from '../plain-file.ts';
import type { BlockCache } from './block-cache.ts';
import { maskedCrc32c } from './crc32c.ts';
import { Cursor, need } from './cursor.ts';
import type { Entry } from './entry.ts';
import { KEY_TAIL, type TableInfo } from './version.ts';

const FOOTER = 48;
/** Kind of compression, checksum. */
const TRAILER = 5;
const MAGIC = 0xdb4775248b80fb57n;
/** LevelDB ends a block of entries at 4 KiB, and no value that the recorder leaves in it has more. */
const BLOCK_MAX = 64 << 10;
/** An index has some 40 bytes for 4 KiB of entries. */
const INDEX_MAX = 1 << 20;
/** Keys are written as differences over at most so many entries. */
const RESTART_ENTRIES = 16;

interface Handle {
  readonly offset: number;
  readonly size: number;
}
function handleAt(cursor: Cursor): Handle {
  const offset = cursor.varint();
  return { offset, size: cursor.varint() };
}

/** The entries of a block: internal keys, a character a byte, and values. */
function readEntries(block: Buffer): Array<{ key: string; value: Buffer }> {
  need(block.length >= 4, 'a block is too short');
  const restarts = block.readUInt32LE(block.length - 4);
  const end = block.length - 4 - 4 * restarts;
  need(end >= 0, 'a block is too short');
  const entries: Array<{ key: string; value: Buffer }> = [];
  let key = '';
  let keyBytes = 0;
  for (const cursor = new Cursor(block, 0, end); !cursor.done; ) {
    const shared = cursor.varint();
    const own = cursor.varint();
    const valueBytes = cursor.varint();
    need(shared <= key.length, 'a key shares more than there is');
    key = key.slice(0, shared) + cursor.take(own).toString('latin1');
    keyBytes += key.length;
    need(keyBytes <= RESTART_ENTRIES * block.length, 'its keys are too long');
    entries.push({ key, value: cursor.take(valueBytes) });
  }
  return entries;
}

/** The first of `items` for which `isThere` holds, where it holds for all behind it; their number where it holds for none. */
export function firstWhere<T>(items: readonly T[], isThere: (item: T) => boolean): number {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isThere(items[middle]!)) high = middle;
    else low = middle + 1;
  }
  return low;
}

export class Table {
  readonly #file: PlainFile;
  readonly #info: TableInfo;
  readonly #cache: BlockCache;
  /** Blocks with a key that no key in them exceeds; read when first needed. */
  #index: ReadonlyArray<Handle & { readonly last: string }> | null = null;

  constructor(file: PlainFile, info: TableInfo, cache: BlockCache) {
    this.#file = file;
    this.#info = info;
    this.#cache = cache;
  }

  /** What the table has of `key`, the newest; undefined for nothing. Throws Malformed where a block is. */
  get(key: string): Entry | undefined {
    const index = this.#blocks();
    for (let i = firstWhere(index, ({ last }) => last >= key); i < index.length; i++) {
      const entries = this.#entries(index[i]!);
      const found = entries[firstWhere(entries, (entry) => entry.key >= key)];
      if (found !== undefined) return found.key === key ? found : undefined;
    }
    return undefined;
  }
  /** Reads every block. */
  verify(): void {
    const { metaIndex } = this.#footer();
    for (const { value } of readEntries(this.#block(metaIndex, BLOCK_MAX)))
      this.#block(handleAt(new Cursor(value)), BLOCK_MAX);
    for (const handle of this.#blocks()) this.#entries(handle);
  }
  close(): void {
    this.#file.close();
  }

  #footer(): { metaIndex: Handle; index: Handle } {
    need(this.#file.size >= FOOTER, 'it is cut short');
    const footer = this.#file.read(this.#file.size - FOOTER, FOOTER);
    need(footer.length === FOOTER, 'it is cut short');
    need(footer.readBigUInt64LE(FOOTER - 8) === MAGIC, 'it does not end like one');
    const cursor = new Cursor(footer);
    const metaIndex = handleAt(cursor);
    return { metaIndex, index: handleAt(cursor) };
  }
  #blocks(): ReadonlyArray<Handle & { readonly last: string }> {
    if (this.#index === null) {
      const bytes = this.#block(this.#footer().index, INDEX_MAX);
      this.#cache.indexed(bytes.length);
      this.#index = readEntries(bytes).map(({ key, value }) => ({
        ...handleAt(new Cursor(value)),
        last: key.slice(0, -KEY_TAIL),
      }));
    }
    return this.#index;
  }
  /** A block's bytes, whole and checked. */
  #block({ offset, size }: Handle, bytesMax: number): Buffer {
    need(offset + size + TRAILER <= this.#file.size - FOOTER, `a block lies outside of it`);
    need(size <= bytesMax, `its block at ${offset} is too large`);
    const bytes = this.#file.read(offset, size + TRAILER);
    need(bytes.length === size + TRAILER, 'it is cut short');
    const sound = bytes[size] === 0 && maskedCrc32c(bytes.subarray(0, size + 1)) === bytes.readUInt32LE(size + 1);
    need(sound, `the checksum of its block at ${offset} is wrong`);
    return bytes.subarray(0, size);
  }
  #entries(handle: Handle): readonly Entry[] {
    return this.#cache.entries(`${this.#info.number} ${handle.offset}`, handle.size, () =>
      readEntries(this.#block(handle, BLOCK_MAX)).map(entryOf),
    );
  }
}

function entryOf({ key, value }: { key: string; value: Buffer }): Entry {
  need(key.length >= KEY_TAIL, 'a key is too short');
  const tail = Buffer.from(key.slice(-KEY_TAIL), 'latin1').readBigUInt64LE();
  const type = Number(tail & 255n);
  need(type <= 1, `an entry has the unknown type ${type}`);
  return { key: key.slice(0, -KEY_TAIL), sequence: Number(tail >> 8n), value: type === 1 ? value : null };
}
