/**
 * One recording on disk (proto/recording.proto): a LevelDB, the file of its large values, its anchor and a write queue.
 *
 * Invariants: opening checks the whole journal chain and every snapshot's table; everything else is checked when read; no
 * damaged value is ever returned; nothing that was written before is written again.
 */
import { existsSync, lstatSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Level } from 'level';
import { assert } from '../src/core/assert.ts';
import { EmulatorError } from '../src/core/errors.ts';
import type { Tick } from '../src/core/units.ts';
import { AS_BUILT, SnapshotTables } from '../src/timeline/snapshot-tables.ts';
import type {
  BlockSummary,
  JournalBlock,
  JournalEntry,
  NewSnapshot,
  Recording,
  RecordingEnd,
  RecordingHeader,
  RecordingSizes,
  RegisterDigest,
  SnapshotSummary,
  StoredSnapshot,
} from '../src/timeline/trace-store.ts';
import { type Anchor, AnchorWriter, createAnchor, newAnchor, readAnchor } from './anchor.ts';
import { BulkFile } from './bulk-file.ts';
import { type BlobInfo, decodeHeader, encodeHeader, joinBlob, splitBlob } from './header.ts';
import { chainHash, decodeBlock, decodeBlockMessage, encodeBlock } from './journal-codec.ts';
import { bigOfBytes, bytesOfBig, endCodec, sectionsCodec } from './messages.ts';
import { NewDirectory, nameTaken } from './new-directory.ts';
import { PageStore } from './page-store.ts';
import { damaged, numbered, placeOf, plain, unseal } from './sealed.ts';
import { decodeSnapshot, encodeSnapshot } from './snapshot-codec.ts';
import { checkTables } from './table-check.ts';
import { type Database, hostError, storedBytes, WriteQueue } from './write-queue.ts';

interface LevelSnapshot extends SnapshotSummary {
  readonly sequence: number;
}

/** Values are compressed before they come. */
const LEVEL_OPTIONS = { keyEncoding: 'utf8', valueEncoding: 'view', compression: false } as const;

/** Pieces of images that are written before a signal is looked for. */
const PIECES_AT_ONCE = 16;
const NO_HASH = new Uint8Array(16);
const databasePath = (path: string): string => join(path, 'db');
const bulkPath = (path: string): string => join(path, 'bulk');
const anchorPath = (path: string): string => join(path, 'anchor');
const range = (kind: string): { gte: string; lt: string } => ({ gte: `${kind}/`, lt: `${kind}0` });

/** There is something at `path` other than an empty directory. */
function isTaken(path: string): boolean {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  return stats !== undefined && (!stats.isDirectory() || readdirSync(path).length > 0);
}

/** LevelDB's complaint while reading `place`, in our words. */
function readError(place: string, error: unknown): EmulatorError {
  if (error instanceof EmulatorError) return error;
  const { cause, code, message } = error as Error & { code?: string };
  const why = cause instanceof Error ? cause.message : message;
  const inner = (cause as { code?: string } | undefined)?.code ?? code;
  if (inner === 'LEVEL_LOCKED')
    return new EmulatorError('E_HOST', `${place} is in use by another process`, { cause: error });
  return damaged(place, `cannot be read: ${why}`, error);
}

export class LevelRecording implements Recording {
  readonly name: string;
  readonly header: RecordingHeader;
  readonly blocks: BlockSummary[] = [];
  end: RecordingEnd | null = null;
  readonly #database: Database;
  readonly #anchor: AnchorWriter;
  readonly #bulk: BulkFile;
  readonly #queue: WriteQueue;
  readonly #blobs: readonly BlobInfo[];
  readonly #tables = new SnapshotTables<LevelSnapshot>();
  #pages: PageStore;
  #lastHash: Uint8Array = NO_HASH;
  #blobBytes = 0;
  #entries: JournalEntry[] = [];
  #digests: RegisterDigest[] = [];

  private constructor(
    name: string,
    database: Database,
    bulk: BulkFile,
    anchor: AnchorWriter,
    header: RecordingHeader,
    blobs: readonly BlobInfo[],
  ) {
    this.name = name;
    this.header = header;
    this.#database = database;
    this.#anchor = anchor;
    this.#bulk = bulk;
    this.#queue = new WriteQueue(database, anchor, bulk);
    this.#blobs = blobs;
    this.#pages = this.#pageStore(0);
  }

  #pageStore(chunks: number): PageStore {
    return new PageStore(
      (key) => this.#read(key),
      (key, data) => this.#queue.seal(key, data),
      chunks,
    );
  }

  // ---- making and opening -------------------------------------------------------------------------------------------

  /**
   * Makes the recording `path`, where nothing or an empty directory may be: with header and blobs on disk it appears, before that
   * there is nothing under its name. An abort of `stop` is thrown, and nothing is left.
   */
  static async create(
    path: string,
    name: string,
    header: RecordingHeader,
    blobs: ReadonlyMap<string, Uint8Array>,
    stop?: AbortSignal,
  ): Promise<LevelRecording> {
    const infos = [...blobs].map(([blob, bytes]) => ({ name: blob, bytes: bytes.length }));
    let directory: NewDirectory | null = null;
    try {
      if (isTaken(path)) throw nameTaken(path);
      directory = new NewDirectory(path);
      createAnchor(anchorPath(directory.path), header.createdMs);
      const first = await LevelRecording.#writer(directory.path, name, header, infos);
      try {
        await first.#writeImages(blobs, stop);
      } finally {
        await first.close();
      }
      directory.publish();
      // LevelDB goes by its path: it is opened anew under the one that stays.
      const recording = await LevelRecording.#writer(path, name, header, infos);
      recording.#blobBytes = first.#blobBytes;
      return recording;
    } catch (error) {
      directory?.discard();
      if (stop?.aborted) throw stop.reason;
      throw hostError(error);
    }
  }
  /** The recording in a directory with the anchor of a new one, for writing; what is missing beside the anchor is made. */
  static async #writer(
    path: string,
    name: string,
    header: RecordingHeader,
    infos: readonly BlobInfo[],
  ): Promise<LevelRecording> {
    const database: Database = new Level(databasePath(path), LEVEL_OPTIONS);
    await database.open();
    const anchor = new AnchorWriter(anchorPath(path), { ...newAnchor(), count: 1 });
    const bulk = new BulkFile(bulkPath(path), existsSync(bulkPath(path)) ? 'r+' : 'wx+');
    return new LevelRecording(name, database, bulk, anchor, header, infos);
  }
  /** Has header and blobs on disk. */
  async #writeImages(blobs: ReadonlyMap<string, Uint8Array>, stop?: AbortSignal): Promise<void> {
    this.#queue.put({ key: 'header', data: encodeHeader(this.header, this.#blobs) });
    const sealed = (stored: number): void => {
      this.#blobBytes += stored;
    };
    const pieces = [...blobs].flatMap(([blob, bytes]) => splitBlob(blob, bytes));
    for (let i = 0; i < pieces.length; i += PIECES_AT_ONCE) {
      this.#queue.put(...pieces.slice(i, i + PIECES_AT_ONCE).map((piece) => ({ ...piece, sealed })));
      await this.flush();
      stop?.throwIfAborted();
    }
    await this.flush();
  }

  /** Opens the directory `path`; `semanticsVersion` null takes any. */
  static async open(path: string, name: string, semanticsVersion: number | null): Promise<LevelRecording> {
    const { anchor } = checkDirectory(path, name);
    if (!existsSync(bulkPath(path))) throw damaged(`the bulk file of ${name}`, 'is missing');
    checkTables(databasePath(path));
    const database: Database = new Level(databasePath(path), { ...LEVEL_OPTIONS, createIfMissing: false } as object);
    try {
      await database.open();
    } catch (error) {
      throw readError(`the database of ${name}`, error);
    }
    let bulk: BulkFile | null = null;
    try {
      bulk = new BulkFile(bulkPath(path), 'r+');
      const stored = database.getSync('header');
      if (stored === undefined) throw damaged('the header', 'is missing');
      const { header, blobs } = decodeHeader(unseal('header', stored));
      if (semanticsVersion !== null && header.semanticsVersion !== semanticsVersion)
        throw new EmulatorError(
          'E_SEMANTICS',
          `${name} was recorded with semantics version ${header.semanticsVersion} (hindsight ${header.toolVersion}); ` +
            `this version of hindsight has ${semanticsVersion} and would run it differently`,
        );
      const writer = new AnchorWriter(anchorPath(path), anchor);
      const recording = new LevelRecording(name, database, bulk, writer, header, blobs);
      await recording.#load(anchor);
      return recording;
    } catch (error) {
      bulk?.close();
      await database.close();
      throw readError(`the database of ${name}`, error);
    }
  }

  async #load(anchor: Anchor): Promise<void> {
    await this.#loadJournal(anchor);
    await this.#loadSnapshots(anchor);
    const chunks = await this.#database.keys({ ...range('pages'), reverse: true, limit: 1 }).all();
    const last = chunks[0] === undefined ? -1 : Number(chunks[0].split('/')[1]);
    this.#pages = this.#pageStore(last + 1);
    const end = this.#database.getSync('end');
    if (end === undefined && anchor.ended) throw damaged('the end record', 'is missing');
    if (end !== undefined) {
      const { tick, stateHash, verdict, message, placeTick, placeVcpu, placeRip } = endCodec.decode(
        this.#unseal('end', end),
      );
      const place = { tick: placeTick, vcpu: placeVcpu, rip: bigOfBytes(placeRip) };
      this.end = { tick, stateHash: bigOfBytes(stateHash), verdict, message, place };
    }
    for (const blob of this.#blobs) this.#blobBytes += blob.bytes;
  }

  /** Values of a kind in order; a gap is E_RECORDING. */
  async *#numbered(kind: string): AsyncGenerator<{ key: string; value: Uint8Array; sequence: number }> {
    let sequence = 0;
    try {
      for await (const [key, value] of this.#database.iterator(range(kind))) {
        const expected = numbered(kind, sequence);
        if (key !== expected) throw damaged(placeOf(expected), 'is missing');
        yield { key, value, sequence: sequence++ };
      }
    } catch (error) {
      throw readError(placeOf(numbered(kind, sequence)), error);
    }
  }

  async #loadJournal(anchor: Anchor): Promise<void> {
    for await (const { key, value, sequence } of this.#numbered('journal')) {
      const bytes = this.#unseal(key, value);
      const block = decodeBlockMessage(bytes);
      const follows = Buffer.compare(block.previous, this.#lastHash) === 0;
      if (block.sequence !== sequence || !follows || block.firstTick !== this.#lastTick)
        throw damaged(placeOf(key), 'does not follow the block before it');
      this.#lastHash = chainHash(bytes);
      if (sequence === anchor.blocks - 1 && Buffer.compare(this.#lastHash, anchor.lastHash) !== 0)
        throw damaged(placeOf(key), 'is not the one the anchor names');
      this.blocks.push({
        sequence,
        firstTick: block.firstTick,
        lastTick: block.lastTick,
        stateHash: bigOfBytes(block.stateHash),
        storedBytes: key.length + value.length,
      });
    }
    if (this.blocks.length < anchor.blocks)
      throw damaged(placeOf(numbered('journal', this.blocks.length)), 'is missing: the journal has lost its tail');
  }

  async #loadSnapshots(anchor: Anchor): Promise<void> {
    const ticks: Tick[] = [];
    for await (const { key, value, sequence } of this.#numbered('snapshot')) {
      const snapshot = decodeSnapshot(this.#unseal(key, value));
      const base = snapshot.base === 0 ? null : ticks[snapshot.base - 1];
      if (base === undefined || snapshot.sequence !== sequence || this.#tables.has(snapshot.tick))
        throw damaged(placeOf(key), 'does not follow from those before it');
      ticks.push(snapshot.tick);
      this.#tables.add({ ...snapshot, base, storedBytes: snapshot.storedBytes + key.length + value.length });
    }
    if (ticks.length < anchor.snapshots)
      throw damaged(placeOf(numbered('snapshot', ticks.length)), 'is missing: snapshots have been lost');
  }

  // ---- reading ------------------------------------------------------------------------------------------------------

  get #lastTick(): Tick {
    return this.blocks.at(-1)?.lastTick ?? 0;
  }
  get snapshots(): readonly SnapshotSummary[] {
    return this.#tables.rows;
  }
  get sizes(): RecordingSizes {
    const total = (rows: ReadonlyArray<{ storedBytes: number }>): number =>
      rows.reduce((sum, row) => sum + row.storedBytes, 0);
    return {
      journalBytes: total(this.blocks),
      snapshotBytes: total(this.#tables.rows),
      blobBytes: this.#blobBytes,
    };
  }

  #read(key: string): Uint8Array {
    const pending = this.#queue.pending(key);
    if (pending !== undefined)
      return 'value' in pending ? this.#unseal(key, pending.value).slice() : pending.data.slice();
    let value: Uint8Array | undefined;
    try {
      value = this.#database.getSync(key);
    } catch (error) {
      throw readError(placeOf(key), error);
    }
    if (value === undefined) throw damaged(placeOf(key), 'is missing');
    return this.#unseal(key, value);
  }
  #unseal(key: string, value: Uint8Array): Uint8Array {
    return unseal(key, value, (place) => this.#bulk.read(place));
  }

  blob(name: string): Uint8Array | null {
    const info = this.#blobs.find((blob) => blob.name === name);
    return info === undefined ? null : joinBlob(info, (key) => this.#read(key));
  }
  blobBytes(name: string): number | null {
    return this.#blobs.find((blob) => blob.name === name)?.bytes ?? null;
  }
  block(sequence: number): JournalBlock {
    const summary = this.blocks[sequence];
    assert(summary !== undefined, `no block ${sequence}`);
    return decodeBlock(this.#read(numbered('journal', sequence)), summary.storedBytes);
  }
  snapshotBefore(tick: Tick): SnapshotSummary | null {
    return this.#tables.before(tick);
  }
  snapshot(tick: Tick): StoredSnapshot {
    const row = this.#tables.get(tick);
    assert(row !== undefined, `no snapshot at tick ${tick}`);
    const { sections } = sectionsCodec.decode(this.#read(numbered('sections', row.sequence)));
    const table = this.#tables.table(tick);
    const number = (slot: number): number => table[slot] ?? AS_BUILT;
    return {
      tick,
      base: row.base,
      stateHash: row.stateHash,
      dirty: row.dirty,
      storedBytes: row.storedBytes,
      sections: new Map(sections.map((section) => [section.name, plain(section.bytes)])),
      page: (slot) => (number(slot) === AS_BUILT ? null : this.#pages.page(number(slot))),
      pageHash: (slot) => (number(slot) === AS_BUILT ? null : this.#pages.hash(number(slot))),
      slots: () => this.#tables.differing(tick, null),
      differing: (other) => this.#tables.differing(tick, other),
    };
  }

  async verify(progress: (done: number, total: number) => void = () => {}): Promise<void> {
    await this.flush();
    const total = this.#blobs.length + this.blocks.length + this.#tables.rows.length;
    let done = 0;
    const step = async (work: () => void): Promise<void> => {
      work();
      progress(++done, total);
      if (done % 16 === 0) await new Promise((resolve) => setImmediate(resolve));
    };
    for (const blob of this.#blobs) await step(() => this.blob(blob.name));
    for (const { sequence } of this.blocks) await step(() => this.block(sequence));
    const seen = new Set<number>();
    for (const row of this.#tables.rows)
      await step(() => {
        sectionsCodec.decode(this.#read(numbered('sections', row.sequence)));
        for (const { page, length } of row.dirty)
          for (let number = page; number < page + length; number++) {
            if (seen.has(number)) continue;
            seen.add(number);
            this.#pages.page(number);
            this.#pages.hash(number);
          }
      });
  }

  // ---- writing ------------------------------------------------------------------------------------------------------

  append(entry: JournalEntry): void {
    assert(this.end === null, 'the journal is closed');
    this.#queue.check();
    const last = this.#entries.at(-1)?.tick ?? this.#lastTick;
    assert(entry.tick >= last, 'ticks do not decrease');
    this.#entries.push(entry.kind === 'console' ? { ...entry, data: entry.data.slice() } : { ...entry });
  }
  digest(tick: Tick, value: bigint): void {
    this.#digests.push({ tick, value });
  }
  endBlock(tick: Tick, stateHash: bigint): void {
    assert(this.end === null, 'the journal is closed');
    const sequence = this.blocks.length;
    const firstTick = this.#lastTick;
    assert(tick >= (this.#entries.at(-1)?.tick ?? firstTick), 'a block ends after its entries');
    const bytes = encodeBlock({
      sequence,
      firstTick,
      lastTick: tick,
      entries: this.#entries,
      digests: this.#digests,
      stateHash,
      previous: this.#lastHash,
    });
    this.#entries = [];
    this.#digests = [];
    this.#lastHash = chainHash(bytes);
    const value = this.#queue.seal(numbered('journal', sequence), bytes);
    this.blocks.push({ sequence, firstTick, lastTick: tick, stateHash, storedBytes: storedBytes(value) });
    this.#queue.put({ ...value, anchor: { blocks: sequence + 1, lastHash: this.#lastHash } });
  }

  putSnapshot(snapshot: NewSnapshot): void {
    this.#queue.check();
    const { runs, values } = this.#pages.store(snapshot.pages);
    const sequence = this.#tables.rows.length;
    const sections = [...snapshot.sections].map(([name, bytes]) => ({ name, bytes }));
    values.push(this.#queue.seal(numbered('sections', sequence), sectionsCodec.encode({ sections })));
    const row = {
      sequence,
      tick: snapshot.tick,
      base: snapshot.base,
      stateHash: snapshot.stateHash,
      dirty: runs,
      storedBytes: values.reduce((sum, value) => sum + storedBytes(value), 0),
    };
    const base = row.base === null ? 0 : this.#tables.get(row.base)!.sequence + 1;
    const meta = this.#queue.seal(numbered('snapshot', sequence), encodeSnapshot({ ...row, base }));
    this.#tables.add({ ...row, storedBytes: row.storedBytes + storedBytes(meta) });
    this.#queue.put(...values, { ...meta, anchor: { snapshots: sequence + 1 } });
  }

  get queuedBytes(): number {
    return this.#queue.bytes;
  }
  drained(): Promise<void> {
    return this.#queue.drained();
  }
  flush(): Promise<void> {
    return this.#queue.flush();
  }
  async finish(end: RecordingEnd): Promise<void> {
    assert(this.end === null, 'the journal is closed');
    this.end = end;
    const { tick, stateHash, verdict, message, place } = end;
    const data = endCodec.encode({
      tick,
      stateHash: bytesOfBig(stateHash, 16),
      verdict,
      message,
      placeTick: place.tick,
      placeVcpu: place.vcpu,
      placeRip: bytesOfBig(place.rip, 8),
    });
    this.#queue.put({ ...this.#queue.seal('end', data), anchor: { ended: true } });
    await this.flush();
  }
  async close(): Promise<void> {
    try {
      await this.flush();
    } finally {
      await this.#database.close();
      this.#bulk.close();
      this.#anchor.close();
    }
  }
}

/** Tells a recording's directory from anything else, in words; returns its anchor. */
export function checkDirectory(path: string, name: string): { createdMs: number; anchor: Anchor } {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) throw new EmulatorError('E_NOT_FOUND', `there is no recording ${name}: ${path}`);
  if (!stats.isDirectory())
    throw new EmulatorError('E_RECORDING', `${name} is not a recording: ${path} is no directory`);
  if (!existsSync(anchorPath(path))) {
    const what = existsSync(join(path, 'CURRENT'))
      ? 'a LevelDB that hindsight did not write'
      : 'a directory without an anchor';
    throw new EmulatorError('E_RECORDING', `${name} is not a recording: ${path} is ${what}`);
  }
  if (!existsSync(databasePath(path))) throw damaged(`the database of ${name}`, 'is missing');
  try {
    return readAnchor(anchorPath(path), name);
  } catch (error) {
    if (error instanceof EmulatorError) throw error;
    throw new EmulatorError('E_HOST', `${name} cannot be read: ${(error as Error).message}`, { cause: error });
  }
}
