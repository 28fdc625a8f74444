/**
 * LevelDB's log files, which the manifest is one of (leveldb/doc/log_format.md), and the batches of writes in them
 * (db/write_batch.cc).
 *
 * A writer that died may have left the last record torn: a record behind which there is nothing whole is dropped, as LevelDB does.
 * Damage with something whole behind it is malformed.
 */
import { maskedCrc32c } from './crc32c.ts';
import { Cursor, Malformed, need } from './cursor.ts';
import type { Entry } from './entry.ts';

const BLOCK = 32768;
const HEADER = 7;
const TYPE = { whole: 1, first: 2, middle: 3, last: 4 } as const;

/** The piece of a record at `at`, or null where there is none that is whole. */
function pieceAt(log: Buffer, at: number): { type: number; data: Buffer } | null {
  if (at + HEADER > log.length) return null;
  const end = at + HEADER + log.readUInt16LE(at + 4);
  const type = log[at + 6]!;
  if (type < TYPE.whole || type > TYPE.last || end > log.length || end > at - (at % BLOCK) + BLOCK) return null;
  if (maskedCrc32c(log.subarray(at + 6, end)) !== log.readUInt32LE(at)) return null;
  return { type, data: log.subarray(at + HEADER, end) };
}

/** Something whole stands behind the damage at `at`: where its piece would end, or where a later block begins. */
function goesOnBehind(log: Buffer, at: number): boolean {
  if (at + HEADER <= log.length && pieceAt(log, at + HEADER + log.readUInt16LE(at + 4)) !== null) return true;
  for (let block = at - (at % BLOCK) + BLOCK; block < log.length; block += BLOCK)
    if (pieceAt(log, block) !== null) return true;
  return false;
}

/** The records of a log, in order. */
export function* logRecords(log: Buffer): Generator<Buffer> {
  let parts: Buffer[] = [];
  for (let at = 0; at < log.length; ) {
    const left = BLOCK - (at % BLOCK);
    if (left < HEADER) {
      at += left;
      continue;
    }
    const piece = pieceAt(log, at);
    if (piece === null) {
      need(!goesOnBehind(log, at), `there is damage at ${at}`);
      return;
    }
    const { type, data } = piece;
    need((type === TYPE.whole || type === TYPE.first) === (parts.length === 0), `a record lacks a piece at ${at}`);
    parts.push(data);
    at += HEADER + data.length;
    if (type === TYPE.first || type === TYPE.middle) continue;
    yield Buffer.concat(parts);
    parts = [];
  }
}

/** What a batch of writes, the record of a log, sets and deletes. */
export function* batchEntries(record: Buffer): Generator<Entry> {
  const cursor = new Cursor(record);
  const low = cursor.u32();
  const sequence = cursor.u32() * 2 ** 32 + low;
  const count = cursor.u32();
  need(Number.isSafeInteger(sequence + count), 'a sequence number is too large');
  let found = 0;
  for (; !cursor.done; found++) {
    const type = cursor.u8();
    if (type > 1) throw new Malformed(`a write has the unknown type ${type}`);
    const key = cursor.string().toString('latin1');
    yield { key, sequence: sequence + found, value: type === 1 ? cursor.string() : null };
  }
  need(found === count, `a batch has ${found} writes instead of ${count}`);
}
