/**
 * A recording being made (proto/recording.proto): a LevelDB, the file of its large values, its anchor and a write queue.
 *
 * Invariants: everything is made anew in a directory of its own; nothing that was written before is written again; what was accepted can
 * be read at once.
 */
import { existsSync, lstatSync, readdirSync } from 'node:fs';
import { basename } from 'node:path';
import { Level } from 'level';
import { assert } from '../src/core/assert.ts';
import { EmulatorError } from '../src/core/errors.ts';
import type { Tick } from '../src/core/units.ts';
import type {
  JournalEntry,
  NewRecording,
  NewSnapshot,
  RecordingEnd,
  RecordingHeader,
  RegisterDigest,
} from '../src/timeline/trace-store.ts';
import { AnchorWriter, createAnchor, newAnchor } from './anchor.ts';
import { BulkFile } from './bulk-file.ts';
import { anchorPath, bulkPath, databasePath } from './directory.ts';
import { BLOB_BYTES_MAX, type BlobInfo, encodeHeader, splitBlob } from './header.ts';
import { chainHash, encodeBlock } from './journal-codec.ts';
import { bytesOfBig, endCodec, sectionsCodec } from './messages.ts';
import { NewDirectory, nameTaken } from './new-directory.ts';
import { PageStore } from './page-store.ts';
import { damaged, numbered, placeOf, unseal } from './sealed.ts';
import { encodeSnapshot } from './snapshot-codec.ts';
import { StoredRecording } from './stored-recording.ts';
import { type Database, hostError, storedBytes, WriteQueue } from './write-queue.ts';

/** Values are compressed before they come. */
const LEVEL_OPTIONS = { keyEncoding: 'utf8', valueEncoding: 'view', compression: false } as const;

/** Pieces of images that are written before a signal is looked for. */
const PIECES_AT_ONCE = 8;

/** There is something at `path` other than an empty directory. */
function isTaken(path: string): boolean {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  return stats !== undefined && (!stats.isDirectory() || readdirSync(path).length > 0);
}

export class RecordingWriter extends StoredRecording implements NewRecording {
  readonly #database: Database;
  readonly #anchor: AnchorWriter;
  readonly #bulk: BulkFile;
  readonly #queue: WriteQueue;
  protected readonly pages = new PageStore(
    (key) => this.read(key),
    (key, data) => this.#queue.seal(key, data),
  );
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
    super(name, header, blobs);
    this.#database = database;
    this.#anchor = anchor;
    this.#bulk = bulk;
    this.#queue = new WriteQueue(database, anchor, bulk);
  }

  /**
   * Makes a recording at the first of `paths`, all of one folder, where nothing or an empty directory is: with header and blobs on disk
   * it appears, before that there is nothing under its name. An abort of `stop` is thrown, and nothing is left.
   */
  static async create(
    paths: readonly string[],
    header: RecordingHeader,
    blobs: ReadonlyMap<string, Uint8Array>,
    stop?: AbortSignal,
  ): Promise<RecordingWriter> {
    const infos = [...blobs].map(([blob, bytes]) => ({ name: blob, bytes: bytes.length }));
    const large = infos.find(({ bytes }) => bytes > BLOB_BYTES_MAX);
    if (large !== undefined)
      throw new EmulatorError(
        'E_USAGE',
        `the ${large.name} has ${large.bytes} bytes: a recording holds images of up to 768 MiB`,
      );
    let directory: NewDirectory | null = null;
    try {
      if (paths.every(isTaken)) throw nameTaken(paths[0]!);
      directory = new NewDirectory(paths);
      createAnchor(anchorPath(directory.path), header.createdMs);
      const first = await RecordingWriter.#writer(directory.path, header, infos);
      try {
        await first.#writeImages(blobs, stop);
      } finally {
        await first.close();
      }
      // LevelDB goes by its path: it is opened anew under the one that stays.
      const recording = await RecordingWriter.#writer(directory.publish(), header, infos);
      recording.blobBytesStored = first.blobBytesStored;
      return recording;
    } catch (error) {
      directory?.discard();
      if (stop?.aborted) throw stop.reason;
      throw hostError(error);
    }
  }
  /** The recording in a directory with the anchor of a new one, for writing; what is missing beside the anchor is made. */
  static async #writer(path: string, header: RecordingHeader, infos: readonly BlobInfo[]): Promise<RecordingWriter> {
    const database: Database = new Level(databasePath(path), LEVEL_OPTIONS);
    await database.open();
    const anchor = new AnchorWriter(anchorPath(path), { ...newAnchor(), count: 1 });
    const bulk = new BulkFile(bulkPath(path), existsSync(bulkPath(path)) ? 'r+' : 'wx+');
    return new RecordingWriter(basename(path, '.hs'), database, bulk, anchor, header, infos);
  }
  /** Has header and blobs on disk. */
  async #writeImages(blobs: ReadonlyMap<string, Uint8Array>, stop?: AbortSignal): Promise<void> {
    this.#queue.put({ key: 'header', data: encodeHeader(this.header, this.blobs) });
    const sealed = (stored: number): void => {
      this.blobBytesStored += stored;
    };
    const pieces = [...blobs].flatMap(([blob, bytes]) => splitBlob(blob, bytes));
    for (let i = 0; i < pieces.length; i += PIECES_AT_ONCE) {
      this.#queue.put(...pieces.slice(i, i + PIECES_AT_ONCE).map((piece) => ({ ...piece, sealed })));
      await this.flush();
      stop?.throwIfAborted();
    }
    await this.flush();
  }

  protected read(key: string): Uint8Array {
    const pending = this.#queue.pending(key);
    if (pending !== undefined && 'data' in pending) return pending.data.slice();
    const value = pending?.value ?? this.#database.getSync(key);
    if (value === undefined) throw damaged(placeOf(key), 'is missing');
    const bytes = unseal(key, value, (place) => this.#bulk.read(place));
    return pending === undefined ? bytes : bytes.slice();
  }
  override async verify(progress?: (done: number, total: number) => void): Promise<void> {
    await this.flush();
    await super.verify(progress);
  }

  append(entry: JournalEntry): void {
    assert(this.end === null, 'the journal is closed');
    this.#queue.check();
    const last = this.#entries.at(-1)?.tick ?? this.lastTick;
    assert(entry.tick >= last, 'ticks do not decrease');
    this.#entries.push(entry.kind === 'input' ? { ...entry, data: entry.data.slice() } : { ...entry });
  }
  digest(tick: Tick, value: bigint): void {
    this.#digests.push({ tick, value });
  }
  endBlock(tick: Tick, stateHash: bigint): void {
    assert(this.end === null, 'the journal is closed');
    const sequence = this.blocks.length;
    const firstTick = this.lastTick;
    assert(tick >= (this.#entries.at(-1)?.tick ?? firstTick), 'a block ends after its entries');
    const bytes = encodeBlock({
      sequence,
      firstTick,
      lastTick: tick,
      entries: this.#entries,
      digests: this.#digests,
      stateHash,
      previous: this.lastHash,
    });
    this.#entries = [];
    this.#digests = [];
    this.lastHash = chainHash(bytes);
    const value = this.#queue.seal(numbered('journal', sequence), bytes);
    this.blocks.push({ sequence, firstTick, lastTick: tick, stateHash, storedBytes: storedBytes(value) });
    this.#queue.put({ ...value, anchor: { blocks: sequence + 1, lastHash: this.lastHash } });
  }

  putSnapshot(snapshot: NewSnapshot): void {
    this.#queue.check();
    const { runs, values } = this.pages.store(snapshot.pages);
    const sequence = this.tables.rows.length;
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
    const base = row.base === null ? 0 : this.tables.get(row.base)!.sequence + 1;
    const meta = this.#queue.seal(numbered('snapshot', sequence), encodeSnapshot({ ...row, base }));
    this.tables.add({ ...row, storedBytes: row.storedBytes + storedBytes(meta) });
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
