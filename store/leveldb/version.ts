/**
 * What a LevelDB consists of, from its manifest: a log of edits (db/version_edit.cc) that add tables to levels and take them away.
 *
 * Invariant, LevelDB's own: tables of one level above 0 overlap in no more than the key where one ends and the next begins, so a
 * key is looked for in few tables.
 */
import { Cursor, Malformed, need } from './cursor.ts';
import { logRecords } from './log.ts';

const COMPARATOR = 'leveldb.BytewiseComparator';
const LEVELS = 7;
/** LevelDB waits for its compaction at twelve. */
const OVERLAPPING_MAX = 32;
/** Some 8 GB of small values. */
const TABLES_MAX = 4096;
/** Internal keys end in eight bytes of sequence number and type. */
export const KEY_TAIL = 8;

/** A table as the manifest names it. */
export interface TableInfo {
  readonly number: number;
  readonly level: number;
  readonly bytes: number;
  readonly smallest: string;
  readonly largest: string;
}
export interface Version {
  /** Logs of this number and above hold what the tables do not. */
  readonly logNumber: number;
  /** One more log, of a compaction that was under way; 0 where there was none. */
  readonly previousLogNumber: number;
  /** Level by level; those of level 0 the newest first, others by key. */
  readonly levels: ReadonlyArray<readonly TableInfo[]>;
}

const userKey = (internal: Buffer): string => {
  need(internal.length >= KEY_TAIL, 'a key is too short');
  return internal.toString('latin1', 0, internal.length - KEY_TAIL);
};

/** Reads a manifest; throws {@link Malformed}. */
export function readVersion(manifest: Buffer): Version {
  const numbers = new Map<number, number>();
  const tables = new Map<number, TableInfo>();
  for (const record of logRecords(manifest)) {
    const edit = new Cursor(record);
    while (!edit.done) readField(edit, numbers, tables);
  }
  const logNumber = numbers.get(FIELD.logNumber);
  need(logNumber !== undefined, 'it names no log');
  need(tables.size <= TABLES_MAX, `it names ${tables.size} tables`);
  return {
    logNumber,
    previousLogNumber: numbers.get(FIELD.previousLogNumber) ?? 0,
    levels: levelsOf([...tables.values()]),
  };
}

const FIELD = {
  comparator: 1,
  logNumber: 2,
  nextFile: 3,
  lastSequence: 4,
  compactPointer: 5,
  deletedTable: 6,
  newTable: 7,
  previousLogNumber: 9,
} as const;

function readField(edit: Cursor, numbers: Map<number, number>, tables: Map<number, TableInfo>): void {
  const field = edit.varint();
  switch (field) {
    case FIELD.comparator:
      need(edit.string().toString('latin1') === COMPARATOR, 'its keys are in a foreign order');
      break;
    case FIELD.logNumber:
    case FIELD.nextFile:
    case FIELD.lastSequence:
    case FIELD.previousLogNumber:
      numbers.set(field, edit.varint());
      break;
    case FIELD.compactPointer:
      edit.varint();
      edit.string();
      break;
    case FIELD.deletedTable:
      edit.varint();
      tables.delete(edit.varint());
      break;
    case FIELD.newTable: {
      const level = edit.varint();
      const number = edit.varint();
      const bytes = edit.varint();
      const smallest = userKey(edit.string());
      tables.set(number, { number, level, bytes, smallest, largest: userKey(edit.string()) });
      break;
    }
    default:
      throw new Malformed(`it has the unknown field ${field}`);
  }
}

function levelsOf(tables: readonly TableInfo[]): TableInfo[][] {
  const levels = Array.from({ length: LEVELS }, (): TableInfo[] => []);
  for (const table of tables) {
    need(table.level < LEVELS, `table ${table.number} is in level ${table.level}`);
    levels[table.level]!.push(table);
  }
  const [overlapping, ...others] = levels;
  need(overlapping!.length <= OVERLAPPING_MAX, `it has ${overlapping!.length} tables in level 0`);
  overlapping!.sort((a, b) => b.number - a.number);
  for (const level of others) {
    level.sort((a, b) => (a.smallest < b.smallest ? -1 : 1));
    for (const [i, table] of level.entries())
      need(i === 0 || level[i - 1]!.largest <= table.smallest, `table ${table.number} overlaps another of its level`);
  }
  return levels;
}
