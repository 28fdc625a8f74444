/**
 * What is read of a recording, while it is made as well as afterwards: journal, snapshots and images out of sealed values.
 */
import { assert } from '../src/core/assert.ts';
import type { Tick } from '../src/core/units.ts';
import { AS_BUILT, SnapshotTables } from '../src/timeline/snapshot-tables.ts';
import type {
  BlockSummary,
  JournalBlock,
  Recording,
  RecordingEnd,
  RecordingHeader,
  RecordingSizes,
  SlotRun,
  SnapshotSummary,
  StoredSnapshot,
} from '../src/timeline/trace-store.ts';
import { type BlobInfo, joinBlob } from './header.ts';
import { decodeBlock } from './journal-codec.ts';
import { sectionsCodec } from './messages.ts';
import { CHUNK_PAGES, type PageReader } from './page-reader.ts';
import { decoded, numbered, plain } from './sealed.ts';

/** A snapshot with the number under which it is stored. */
export interface NumberedSnapshot extends SnapshotSummary {
  readonly sequence: number;
}

/** Before the first block. */
const NO_HASH = new Uint8Array(16);

export abstract class StoredRecording implements Recording {
  readonly name: string;
  readonly header: RecordingHeader;
  readonly blocks: BlockSummary[] = [];
  end: RecordingEnd | null = null;
  protected readonly blobs: readonly BlobInfo[];
  protected readonly tables = new SnapshotTables<NumberedSnapshot>();
  protected abstract readonly pages: PageReader;
  /** Chain hash of the last block. */
  protected lastHash: Uint8Array = NO_HASH;
  protected blobBytesStored = 0;

  constructor(name: string, header: RecordingHeader, blobs: readonly BlobInfo[]) {
    this.name = name;
    this.header = header;
    this.blobs = blobs;
  }

  /** The value of a key, unsealed; E_RECORDING when it is missing or damaged. */
  protected abstract read(key: string): Uint8Array;
  abstract close(): Promise<void>;

  protected get lastTick(): Tick {
    return this.blocks.at(-1)?.lastTick ?? 0;
  }
  get snapshots(): readonly SnapshotSummary[] {
    return this.tables.rows;
  }
  get sizes(): RecordingSizes {
    const total = (rows: ReadonlyArray<{ storedBytes: number }>): number =>
      rows.reduce((sum, row) => sum + row.storedBytes, 0);
    return {
      journalBytes: total(this.blocks),
      snapshotBytes: total(this.tables.rows),
      blobBytes: this.blobBytesStored,
    };
  }

  blob(name: string): Uint8Array | null {
    const info = this.blobs.find((blob) => blob.name === name);
    return info === undefined ? null : joinBlob(info, (key) => this.read(key));
  }
  blobBytes(name: string): number | null {
    return this.blobs.find((blob) => blob.name === name)?.bytes ?? null;
  }
  block(sequence: number): JournalBlock {
    const summary = this.blocks[sequence];
    assert(summary !== undefined, `no block ${sequence}`);
    const key = numbered('journal', sequence);
    return decoded(key, this.read(key), (bytes) => decodeBlock(bytes, summary.storedBytes));
  }
  snapshotBefore(tick: Tick): SnapshotSummary | null {
    return this.tables.before(tick);
  }
  snapshot(tick: Tick): StoredSnapshot {
    const row = this.tables.get(tick);
    assert(row !== undefined, `no snapshot at tick ${tick}`);
    const table = this.tables.table(tick);
    const number = (slot: number): number => table[slot] ?? AS_BUILT;
    return {
      tick,
      base: row.base,
      stateHash: row.stateHash,
      dirty: row.dirty,
      storedBytes: row.storedBytes,
      sections: this.#sections(row.sequence),
      page: (slot) => (number(slot) === AS_BUILT ? null : this.pages.page(number(slot))),
      pageHash: (slot) => (number(slot) === AS_BUILT ? null : this.pages.hash(number(slot))),
      slots: () => this.tables.differing(tick, null),
      differing: (other) => this.tables.differing(tick, other),
    };
  }
  #sections(sequence: number): ReadonlyMap<string, Uint8Array> {
    const key = numbered('sections', sequence);
    const { sections } = decoded(key, this.read(key), (bytes) => sectionsCodec.decode(bytes));
    return new Map(sections.map((section) => [section.name, plain(section.bytes)]));
  }

  async verify(progress: (done: number, total: number) => void = () => {}): Promise<void> {
    const total = this.blobs.length + this.blocks.length + this.tables.rows.length;
    let done = 0;
    const step = async (work: () => void): Promise<void> => {
      work();
      progress(++done, total);
      if (done % 16 === 0) await new Promise((resolve) => setImmediate(resolve));
    };
    for (const blob of this.blobs) await step(() => this.blob(blob.name));
    for (const { sequence } of this.blocks) await step(() => this.block(sequence));
    const checked = new Map<number, number>();
    for (const row of this.tables.rows)
      await step(() => {
        this.#sections(row.sequence);
        for (const run of row.dirty) this.#verifyPages(run, checked);
      });
  }
  /** Reads the chunks that a run's pages are in; `checked` has the last page of each that was looked at. */
  #verifyPages({ page, length }: SlotRun, checked: Map<number, number>): void {
    for (let next = page; next < page + length; ) {
      const chunk = Math.floor(next / CHUNK_PAGES);
      const last = Math.min((chunk + 1) * CHUNK_PAGES, page + length) - 1;
      next = last + 1;
      if ((checked.get(chunk) ?? -1) >= last) continue;
      this.pages.page(last);
      this.pages.hash(last);
      checked.set(chunk, last);
    }
  }
}
