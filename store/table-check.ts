/**
 * A look at LevelDB's tables before LevelDB sees them: it trusts their structure and aborts the process on some damage.
 *
 * Checked is what it relies on without checksums: footers, block handles, entry lengths, restart points, key lengths, and
 * that no block claims compression, which is off here. Contents are covered by the seals of the values. Tables that the
 * manifest does not name are leftovers of a killed writer: LevelDB deletes them unread.
 * Formats: leveldb/doc/table_format.md, log_format.md, db/version_edit.cc.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { damaged } from './sealed.ts';

const FOOTER_BYTES = 48;
const TRAILER_BYTES = 5;
const MAGIC = 0xdb4775248b80fb57n;
/** Internal keys end in eight bytes of sequence number and type. */
const KEY_TAIL = 8;
const LOG_BLOCK = 32768;
const LOG_HEADER = 7;

class Malformed extends Error {}
function need(condition: boolean): asserts condition {
  if (!condition) throw new Malformed();
}

/** Reads varints and strings from part of a buffer; anything out of bounds is malformed. */
class Cursor {
  readonly #bytes: Buffer;
  at: number;
  readonly end: number;
  constructor(bytes: Buffer, at: number, end: number) {
    need(at >= 0 && at <= end && end <= bytes.length);
    this.#bytes = bytes;
    this.at = at;
    this.end = end;
  }
  get done(): boolean {
    return this.at >= this.end;
  }
  varint(): number {
    let value = 0;
    for (let scale = 1; scale < 2 ** 63; scale *= 128) {
      need(this.at < this.end);
      const byte = this.#bytes[this.at++]!;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    throw new Malformed();
  }
  skip(count: number): void {
    need(this.at + count <= this.end);
    this.at += count;
  }
  skipString(): void {
    this.skip(this.varint());
  }
}

/** Numbers and sizes of the tables that the manifest at `path` names, or null when it cannot be read: LevelDB will say why. */
function liveTables(path: string): Map<number, number> | null {
  const tables = new Map<number, number>();
  try {
    for (const record of logRecords(readFileSync(path))) {
      const edit = new Cursor(record, 0, record.length);
      while (!edit.done) readEdit(edit, tables);
    }
    return tables;
  } catch (error) {
    if (error instanceof Malformed) return null;
    throw error;
  }
}

function* logRecords(log: Buffer): Generator<Buffer> {
  let parts: Buffer[] = [];
  for (let at = 0; at + LOG_HEADER <= log.length; ) {
    const left = LOG_BLOCK - (at % LOG_BLOCK);
    if (left < LOG_HEADER) {
      at += left;
      continue;
    }
    const length = log.readUInt16LE(at + 4);
    const type = log[at + 6]!;
    // A record that the file's end cuts short was being written when the writer died.
    if (at + LOG_HEADER + length > log.length) return;
    need(type >= 1 && type <= 4 && LOG_HEADER + length <= left);
    parts.push(log.subarray(at + LOG_HEADER, at + LOG_HEADER + length));
    at += LOG_HEADER + length;
    // Types: 1 whole, 2 first, 3 middle, 4 last.
    if (type === 2 || type === 3) continue;
    yield Buffer.concat(parts);
    parts = [];
  }
}

/** One field of a version edit. */
function readEdit(edit: Cursor, tables: Map<number, number>): void {
  switch (edit.varint()) {
    case 1: // comparator's name
      edit.skipString();
      break;
    case 2: // log number
    case 3: // next file number
    case 4: // last sequence
    case 9: // previous log number
      edit.varint();
      break;
    case 5: // compaction pointer: level, key
      edit.varint();
      edit.skipString();
      break;
    case 6: // table deleted: level, number
      edit.varint();
      tables.delete(edit.varint());
      break;
    case 7: {
      // table added: level, number, size, smallest and largest key
      edit.varint();
      const number = edit.varint();
      tables.set(number, edit.varint());
      edit.skipString();
      edit.skipString();
      break;
    }
    default:
      throw new Malformed();
  }
}

interface Handle {
  readonly offset: number;
  readonly size: number;
}
function handle(cursor: Cursor): Handle {
  const offset = cursor.varint();
  return { offset, size: cursor.varint() };
}

/** Checks a block and shows each entry's value. */
function checkBlock(
  table: Buffer,
  { offset, size }: Handle,
  keyMin: number,
  entry: (value: Cursor) => void = () => {},
): void {
  need(offset + size + TRAILER_BYTES <= table.length - FOOTER_BYTES && size >= 4);
  const end = offset + size;
  need(table[end] === 0);
  const restarts = table.readUInt32LE(end - 4);
  const entriesEnd = end - 4 - 4 * restarts;
  need(restarts > 0 && entriesEnd >= offset);
  for (let i = 0; i < restarts; i++) {
    const start = offset + table.readUInt32LE(entriesEnd + 4 * i);
    need(start < entriesEnd || (start === entriesEnd && i === 0));
  }
  let keyBytes = 0;
  for (const cursor = new Cursor(table, offset, entriesEnd); !cursor.done; ) {
    const shared = cursor.varint();
    const own = cursor.varint();
    const valueBytes = cursor.varint();
    need(shared <= keyBytes);
    keyBytes = shared + own;
    need(keyBytes >= keyMin);
    cursor.skip(own);
    const from = cursor.at;
    cursor.skip(valueBytes);
    entry(new Cursor(table, from, from + valueBytes));
  }
}

function checkTable(table: Buffer): void {
  need(table.length >= FOOTER_BYTES);
  const footer = table.length - FOOTER_BYTES;
  need(table.readBigUInt64LE(table.length - 8) === MAGIC);
  const cursor = new Cursor(table, footer, table.length - 8);
  const metaIndex = handle(cursor);
  const index = handle(cursor);
  checkBlock(table, metaIndex, 0, (value) => {
    const { offset, size } = handle(value);
    need(offset + size + TRAILER_BYTES <= footer && table[offset + size] === 0);
  });
  checkBlock(table, index, KEY_TAIL, (value) => checkBlock(table, handle(value), KEY_TAIL));
}

/** Throws E_RECORDING when a table of the LevelDB in `folder` is not one; leaves to LevelDB what it checks itself. */
export function checkTables(folder: string): void {
  const current = join(folder, 'CURRENT');
  if (!existsSync(current)) return;
  const manifest = /^(MANIFEST-\d+)\n$/.exec(readFileSync(current, 'latin1'))?.[1];
  if (manifest === undefined || !existsSync(join(folder, manifest))) return;
  for (const [number, size] of liveTables(join(folder, manifest)) ?? []) {
    const name = `${String(number).padStart(6, '0')}.ldb`;
    const path = join(folder, name);
    // LevelDB itself says when a table is missing.
    if (!existsSync(path)) continue;
    const table = readFileSync(path);
    if (table.length !== size) throw damaged(`the database table ${name}`, 'is cut short');
    try {
      checkTable(table);
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      throw damaged(`the database table ${name}`, 'is damaged');
    }
  }
}
