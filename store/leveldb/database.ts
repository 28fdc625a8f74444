/**
 * A LevelDB opened for reading, and nothing else: it takes no lock, writes nothing, and may belong to a process that is writing it.
 *
 * A writer moves entries from logs to tables and from tables to others, and deletes what it has moved them from only after the
 * manifest names where they are. So the logs are opened first, then the manifest is read, then the tables are opened: what was in the
 * database before is in one of them. Where a file has gone in between, the manifest tells that it has been moved, and all starts over.
 *
 * Invariants: what was written before opening is seen, whole batches only; files deleted later stay open; what is kept in memory is
 * bounded, and nothing is read before its size is.
 */
import { join } from 'node:path';
import { EmulatorError } from '../../src/core/errors.ts';
import { isFolder, namesIn, PlainFile, readPlainFile } from '../plain-file.ts';
import { damaged } from '../sealed.ts';
import { BlockCache } from './block-cache.ts';
import { Malformed, need } from './cursor.ts';
import type { Entry } from './entry.ts';
import { batchEntries, logRecords } from './log.ts';
import { firstWhere, Table } from './table.ts';
import { readVersion, type TableInfo } from './version.ts';

const CURRENT_BYTES_MAX = 64;
const MANIFEST_BYTES_MAX = 16 << 20;
/** LevelDB begins another log at 4 MiB and has no more than two; the recorder's batches have less than 9. */
const LOG_BYTES_MAX = 32 << 20;
const LOGGED_ENTRIES_MAX = 1 << 20;
/** Those among them that are not deleted yet. */
const LOGS_MAX = 256;
/** Files in the folder. */
const NAMES_MAX = 16_384;
/** How often the manifest may have changed while the database was being opened. */
const ATTEMPTS = 100;
const NONE = Buffer.alloc(0);

interface OpenTable {
  readonly info: TableInfo;
  readonly table: Table;
}
/** The manifest that CURRENT names, and its bytes; null where it has gone. */
interface Manifest {
  readonly name: string;
  readonly bytes: Buffer | null;
}
/** A file that should be there is not; the message is what it is called. */
class Missing extends Error {}

const fileName = (number: number, kind: string): string => `${String(number).padStart(6, '0')}.${kind}`;
const placeOf = (number: number, kind: 'ldb' | 'log'): string =>
  `the database ${kind === 'ldb' ? 'table' : 'log'} ${fileName(number, kind)}`;

/** What `read` makes of a file that messages call `place`. */
function wellFormed<T>(place: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof Malformed) throw damaged(place, `is damaged: ${error.message}`, error);
    throw error;
  }
}
function closeAll(files: Iterable<{ close(): void } | null>): void {
  for (const file of files) file?.close();
}

/** The logs there are; null for one that is gone already. */
function openLogs(folder: string): Map<number, PlainFile | null> {
  const logs = new Map<number, PlainFile | null>();
  try {
    const numbers = namesIn(folder, 'the database', NAMES_MAX).flatMap(
      (name) => /^(\d{6,15})\.log$/.exec(name)?.[1] ?? [],
    );
    if (numbers.length > LOGS_MAX) throw damaged('the database', `has ${numbers.length} logs`);
    for (const number of numbers.map(Number).sort((a, b) => a - b))
      logs.set(number, PlainFile.open(join(folder, fileName(number, 'log')), placeOf(number, 'log')));
    return logs;
  } catch (error) {
    closeAll(logs.values());
    throw error;
  }
}

function readManifest(folder: string): Manifest {
  const place = 'the database file CURRENT';
  const current = readPlainFile(join(folder, 'CURRENT'), place, CURRENT_BYTES_MAX);
  if (current === null) throw damaged(place, 'is missing');
  const name = /^(MANIFEST-\d+)\n$/.exec(current.toString('latin1'))?.[1];
  if (name === undefined) throw damaged(place, 'is damaged: it names no manifest');
  return { name, bytes: readPlainFile(join(folder, name), `the database file ${name}`, MANIFEST_BYTES_MAX) };
}

const isSame = (one: Manifest, other: Manifest): boolean =>
  one.name === other.name && Buffer.compare(one.bytes ?? NONE, other.bytes ?? NONE) === 0;

/** What logs hold, the newest of each key. */
function readLogs(logs: ReadonlyArray<readonly [number, PlainFile | null]>): Map<string, Entry> {
  const bytes = logs.reduce((sum, [, log]) => sum + (log?.size ?? 0), 0);
  if (bytes > LOG_BYTES_MAX) throw damaged('the database', `has ${bytes} bytes of logs, which is too much`);
  const newest = new Map<string, Entry>();
  for (const [number, file] of logs) {
    if (file === null) throw new Missing(placeOf(number, 'log'));
    wellFormed(placeOf(number, 'log'), () => {
      for (const record of logRecords(file.read(0, file.size)))
        for (const entry of batchEntries(record))
          if (entry.sequence >= (newest.get(entry.key)?.sequence ?? 0)) newest.set(entry.key, entry);
      need(newest.size <= LOGGED_ENTRIES_MAX, 'it has too many entries');
    });
  }
  return newest;
}

function openTable(folder: string, info: TableInfo, cache: BlockCache): Table {
  const place = placeOf(info.number, 'ldb');
  const file = PlainFile.open(join(folder, fileName(info.number, 'ldb')), place);
  if (file === null) throw new Missing(place);
  if (file.size === info.bytes) return new Table(file, info, cache);
  file.close();
  throw damaged(place, `is damaged: it has ${file.size} bytes, not ${info.bytes}`);
}

export class Database {
  readonly #logged: ReadonlyMap<string, Entry>;
  readonly #levels: ReadonlyArray<readonly OpenTable[]>;

  private constructor(logged: ReadonlyMap<string, Entry>, levels: ReadonlyArray<readonly OpenTable[]>) {
    this.#logged = logged;
    this.#levels = levels;
  }

  /** Opens the database in `folder`; E_RECORDING where it is damaged or none, E_HOST where the host refuses. */
  static open(folder: string): Database {
    if (!isFolder(folder, 'the database')) throw damaged('the database', 'is missing');
    let before: Manifest | null = null;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const logs = openLogs(folder);
      try {
        const manifest = readManifest(folder);
        try {
          return Database.#of(folder, manifest, logs);
        } catch (error) {
          if (!(error instanceof Missing)) throw error;
          // Files go only when the manifest no longer names them: what the same one misses again is missing for good.
          if (before !== null && isSame(manifest, before)) throw damaged(error.message, 'is missing');
          before = manifest;
        }
      } finally {
        closeAll(logs.values());
      }
    }
    throw new EmulatorError('E_HOST', 'the database changes faster than it can be read');
  }

  static #of(folder: string, { name, bytes }: Manifest, logs: ReadonlyMap<number, PlainFile | null>): Database {
    const place = `the database file ${name}`;
    if (bytes === null) throw new Missing(place);
    const version = wellFormed(place, () => readVersion(bytes));
    const live = [...logs].filter(([number]) => number >= version.logNumber || number === version.previousLogNumber);
    const logged = readLogs(live);
    const cache = new BlockCache();
    const opened: OpenTable[] = [];
    try {
      for (const info of version.levels.flat()) opened.push({ info, table: openTable(folder, info, cache) });
    } catch (error) {
      closeAll(opened.map(({ table }) => table));
      throw error;
    }
    const byLevel = version.levels.map((_, level) => opened.filter(({ info }) => info.level === level));
    return new Database(logged, byLevel);
  }

  /** The value of `key` (a character a byte); undefined where there is none. */
  get(key: string): Buffer | undefined {
    const entry = this.#logged.get(key) ?? this.#stored(key);
    return entry?.value ?? undefined;
  }
  #stored(key: string): Entry | undefined {
    const [overlapping, ...others] = this.#levels;
    let newest: Entry | undefined;
    for (const { info, table } of overlapping!) {
      if (key < info.smallest || key > info.largest) continue;
      const entry = wellFormed(placeOf(info.number, 'ldb'), () => table.get(key));
      if (entry !== undefined && entry.sequence >= (newest?.sequence ?? 0)) newest = entry;
    }
    if (newest !== undefined) return newest;
    for (const level of others) {
      const at = level[firstWhere(level, ({ info }) => info.largest >= key)];
      if (at === undefined || key < at.info.smallest) continue;
      const entry = wellFormed(placeOf(at.info.number, 'ldb'), () => at.table.get(key));
      if (entry !== undefined) return entry;
    }
    return undefined;
  }

  /** Reads every block of every table; E_RECORDING names the first that is not as written. */
  verify(): void {
    for (const { info, table } of this.#levels.flat()) wellFormed(placeOf(info.number, 'ldb'), () => table.verify());
  }
  close(): void {
    closeAll(this.#levels.flat().map(({ table }) => table));
  }
}
