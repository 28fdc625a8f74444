/**
 * A recording on disk opened for reading (proto/recording.proto): the anchor first, then the database, then the file of large values.
 *
 * Invariants: nothing is written, made or locked, and no link is followed inside the directory; opening checks the whole journal chain
 * and every snapshot's table, everything else is checked when read; no damaged value is ever returned; what is unpacked or kept
 * is bounded before it is.
 */
import { EmulatorError } from '../src/core/errors.ts';
import type { Tick } from '../src/core/units.ts';
import { checkEnd, checkHeader } from '../src/timeline/check-recording.ts';
import type { JournalBlock, RecordingHeader } from '../src/timeline/trace-store.ts';
import type { Anchor } from './anchor.ts';
import { bulkPath, checkDirectory, databasePath } from './directory.ts';
import { type BlobInfo, decodeHeader } from './header.ts';
import { chainHash, decodeBlockHead } from './journal-codec.ts';
import { Database } from './leveldb/database.ts';
import { bigOfBytes, endCodec } from './messages.ts';
import { PageReader } from './page-reader.ts';
import { PlainFile } from './plain-file.ts';
import { damaged, decoded, numbered, placeOf, unseal } from './sealed.ts';
import { decodeSnapshot } from './snapshot-codec.ts';
import { StoredRecording } from './stored-recording.ts';

/** Journal and snapshots unpack to no more than this: a day of a guest that ticks 250 times a second is a third of it. */
const UNPACKED_BYTES_MAX = 1 << 30;
/** Journal entries and digests that are counted at opening, and those that are held in memory at once, in some 100 bytes each. */
const COUNTED_MAX = 1 << 26;
const ENTRIES_MAX = 1 << 23;
const SNAPSHOTS_MAX = 1 << 16;
/** Runs of slots that all snapshots have, in some 60 bytes each, and the slots in them. */
const RUNS_MAX = 1 << 22;
const SLOTS_MAX = 1 << 28;

export class RecordingReader extends StoredRecording {
  readonly #database: Database;
  readonly #bulk: PlainFile;
  readonly #anchorIsWhole: boolean;
  protected readonly pages = new PageReader((key) => this.read(key));
  #unpackedBytes = 0;
  #entries = 0;

  private constructor(
    name: string,
    database: Database,
    bulk: PlainFile,
    { header, blobs }: { header: RecordingHeader; blobs: readonly BlobInfo[] },
    anchorIsWhole: boolean,
  ) {
    super(name, header, blobs);
    this.#anchorIsWhole = anchorIsWhole;
    this.#database = database;
    this.#bulk = bulk;
    for (const blob of blobs) this.blobBytesStored += blob.bytes;
  }

  /** Opens the directory `path`; `semanticsVersion` null takes any. */
  static async open(path: string, name: string, semanticsVersion: number | null): Promise<RecordingReader> {
    const { anchor, isWhole } = checkDirectory(path, name);
    const database = Database.open(databasePath(path));
    let bulk: PlainFile | null = null;
    try {
      // After the database, which names no place that is not on disk.
      bulk = PlainFile.open(bulkPath(path), 'the bulk file');
      if (bulk === null) throw damaged(`the bulk file of ${name}`, 'is missing');
      const header = decoded('header', readValue(database, bulk, 'header'), decodeHeader);
      if (semanticsVersion !== null) checkSemantics(name, header.header, semanticsVersion);
      checkHeader(header.header);
      const recording = new RecordingReader(name, database, bulk, header, isWhole);
      recording.#load(anchor);
      return recording;
    } catch (error) {
      bulk?.close();
      database.close();
      throw error;
    }
  }

  protected read(key: string): Uint8Array {
    return readValue(this.#database, this.#bulk, key);
  }
  override block(sequence: number): JournalBlock {
    if (this.#entries > ENTRIES_MAX)
      throw new EmulatorError(
        'E_RECORDING',
        `the journal has ${this.#entries} entries: more than can be held in memory`,
      );
    return super.block(sequence);
  }
  override async verify(progress?: (done: number, total: number) => void): Promise<void> {
    // of a recorder that was killed it may be the slot that it was writing
    if (this.end !== null && !this.#anchorIsWhole)
      throw damaged('the anchor', 'is damaged: one of its slots cannot be read');
    this.#database.verify();
    await super.verify(progress);
  }
  async close(): Promise<void> {
    this.#bulk.close();
    this.#database.close();
  }

  // ---- opening ------------------------------------------------------------------------------------------------------

  #load(anchor: Anchor): void {
    this.#loadJournal(anchor);
    this.#loadSnapshots(anchor);
    const end = this.#stored('end');
    if (end === null && anchor.ended) throw damaged('the end record', 'is missing');
    if (end === null) return;
    const { tick, stateHash, verdict, message, placeTick, placeVcpu, placeRip } = decoded('end', end.bytes, (bytes) => {
      const record = endCodec.decode(bytes);
      return { ...record, stateHash: bigOfBytes(record.stateHash, 16), placeRip: bigOfBytes(record.placeRip, 8) };
    });
    this.end = { tick, stateHash, verdict, message, place: { tick: placeTick, vcpu: placeVcpu, rip: placeRip } };
    checkEnd(this.end, this.header, this.lastTick);
  }

  /** A value that is read at opening, with the bytes it takes in the database; null where there is none. */
  #stored(key: string): { bytes: Uint8Array; storedBytes: number } | null {
    const value = this.#database.get(key);
    if (value === undefined) return null;
    const bytes = unsealFrom(this.#bulk, key, value);
    this.#unpackedBytes += bytes.length;
    if (this.#unpackedBytes > UNPACKED_BYTES_MAX)
      throw damaged(placeOf(key), 'is too much: journal and snapshots unpack to more than a gigabyte');
    return { bytes, storedBytes: key.length + value.length };
  }
  /** Values of a kind in order, from number 0 to the first that there is not. */
  *#numbered(kind: string): Generator<{ key: string; bytes: Uint8Array; storedBytes: number; sequence: number }> {
    for (let sequence = 0; ; sequence++) {
      const key = numbered(kind, sequence);
      const stored = this.#stored(key);
      if (stored === null) return;
      yield { key, sequence, ...stored };
    }
  }

  #loadJournal(anchor: Anchor): void {
    for (const { key, bytes, storedBytes, sequence } of this.#numbered('journal')) {
      const block = decoded(key, bytes, decodeBlockHead);
      const follows = Buffer.compare(block.previous, this.lastHash) === 0;
      if (block.sequence !== sequence || !follows || block.firstTick !== this.lastTick)
        throw damaged(placeOf(key), 'does not follow the block before it');
      this.lastHash = chainHash(bytes);
      if (sequence === anchor.blocks - 1 && Buffer.compare(this.lastHash, anchor.lastHash) !== 0)
        throw damaged(placeOf(key), 'is not the one the anchor names');
      const { firstTick, lastTick, stateHash, kinds, digests } = block;
      this.#entries += kinds.length + digests.length / 8;
      if (this.#entries > COUNTED_MAX) throw damaged(placeOf(key), 'is too much: the journal has too many entries');
      this.blocks.push({ sequence, firstTick, lastTick, stateHash, storedBytes });
    }
    if (this.blocks.length < anchor.blocks)
      throw damaged(placeOf(numbered('journal', this.blocks.length)), `is missing: the anchor counts ${anchor.blocks}`);
  }

  #loadSnapshots(anchor: Anchor): void {
    const ticks: Tick[] = [];
    let [runs, slots] = [0, 0];
    for (const { key, bytes, storedBytes, sequence } of this.#numbered('snapshot')) {
      const snapshot = decoded(key, bytes, decodeSnapshot);
      const base = snapshot.base === 0 ? null : ticks[snapshot.base - 1];
      if (base === undefined || snapshot.sequence !== sequence || this.tables.has(snapshot.tick))
        throw damaged(placeOf(key), 'does not follow from those before it');
      runs += snapshot.dirty.length;
      slots += snapshot.dirty.reduce((sum, { length }) => sum + length, 0);
      if (sequence >= SNAPSHOTS_MAX || runs > RUNS_MAX || slots > SLOTS_MAX)
        throw damaged(placeOf(key), 'is too much to be held in memory');
      ticks.push(snapshot.tick);
      this.tables.add({ ...snapshot, base, storedBytes: snapshot.storedBytes + storedBytes });
    }
    if (ticks.length < anchor.snapshots)
      throw damaged(placeOf(numbered('snapshot', ticks.length)), `is missing: the anchor counts ${anchor.snapshots}`);
  }
}

const unsealFrom = (bulk: PlainFile, key: string, value: Uint8Array): Uint8Array =>
  unseal(key, value, ({ at, bytes }) => bulk.read(at, bytes));

function readValue(database: Database, bulk: PlainFile, key: string): Uint8Array {
  const value = database.get(Buffer.from(key, 'utf8').toString('latin1'));
  if (value === undefined) throw damaged(placeOf(key), 'is missing');
  return unsealFrom(bulk, key, value);
}

function checkSemantics(name: string, header: RecordingHeader, semanticsVersion: number): void {
  if (header.semanticsVersion === semanticsVersion) return;
  throw new EmulatorError(
    'E_SEMANTICS',
    `${name} was recorded with semantics version ${header.semanticsVersion} (hindsight ${header.toolVersion}); ` +
      `this version of hindsight has ${semanticsVersion} and would run it differently`,
  );
}
