/**
 * A store that keeps recordings in memory: for tests and for runs that need no disk.
 */
import { assert } from '../core/assert.ts';
import { EmulatorError } from '../core/errors.ts';
import type { Tick } from '../core/units.ts';
import { AS_BUILT, SlotRuns, SnapshotTables } from './snapshot-tables.ts';
import type {
  JournalBlock,
  JournalEntry,
  NewRecording,
  NewSnapshot,
  Recording,
  RecordingEnd,
  RecordingHeader,
  RecordingSizes,
  RecordingSummary,
  RegisterDigest,
  SnapshotSummary,
  StoredSnapshot,
  TraceStore,
} from './trace-store.ts';

interface MemorySnapshot extends SnapshotSummary {
  readonly sections: ReadonlyMap<string, Uint8Array>;
}

const copy = (entry: JournalEntry): JournalEntry =>
  entry.kind === 'input' ? { ...entry, data: entry.data.slice() } : { ...entry };

class MemoryRecording implements NewRecording {
  readonly name: string;
  readonly header: RecordingHeader;
  end: RecordingEnd | null = null;
  readonly blocks: JournalBlock[] = [];
  readonly queuedBytes = 0;
  readonly #blobs: ReadonlyMap<string, Uint8Array>;
  readonly #tables = new SnapshotTables<MemorySnapshot>();
  readonly #pages: Uint8Array[] = [];
  readonly #hashes: Uint8Array[] = [];
  readonly #numbers = new Map<string, number>();
  #entries: JournalEntry[] = [];
  #digests: RegisterDigest[] = [];

  constructor(name: string, header: RecordingHeader, blobs: ReadonlyMap<string, Uint8Array>) {
    this.name = name;
    this.header = header;
    this.#blobs = new Map([...blobs].map(([key, bytes]) => [key, bytes.slice()]));
  }
  get snapshots(): readonly SnapshotSummary[] {
    return this.#tables.rows;
  }
  get lastTick(): Tick {
    return this.blocks.at(-1)?.lastTick ?? 0;
  }
  get sizes(): RecordingSizes {
    const sum = (values: Iterable<Uint8Array>): number => [...values].reduce((total, v) => total + v.length, 0);
    return { journalBytes: 0, snapshotBytes: sum(this.#pages), blobBytes: sum(this.#blobs.values()) };
  }

  blob(name: string): Uint8Array | null {
    return this.#blobs.get(name) ?? null;
  }
  blobBytes(name: string): number | null {
    return this.#blobs.get(name)?.length ?? null;
  }
  block(sequence: number): JournalBlock {
    return this.blocks[sequence]!;
  }
  snapshotBefore(tick: Tick): SnapshotSummary | null {
    return this.#tables.before(tick);
  }
  snapshot(tick: Tick): StoredSnapshot {
    const row = this.#tables.get(tick);
    assert(row !== undefined, `no snapshot at tick ${tick}`);
    const table = this.#tables.table(tick);
    const number = (slot: number): number => table[slot] ?? AS_BUILT;
    return {
      ...row,
      page: (slot) => (number(slot) === AS_BUILT ? null : this.#pages[number(slot)]!),
      pageHash: (slot) => (number(slot) === AS_BUILT ? null : this.#hashes[number(slot)]!),
      slots: () => this.#tables.differing(tick, null),
      differing: (other) => this.#tables.differing(tick, other),
    };
  }
  async verify(): Promise<void> {}

  append(entry: JournalEntry): void {
    assert(this.end === null, 'the journal is closed');
    this.#entries.push(copy(entry));
  }
  digest(tick: Tick, value: bigint): void {
    this.#digests.push({ tick, value });
  }
  endBlock(tick: Tick, stateHash: bigint): void {
    assert(this.end === null, 'the journal is closed');
    const firstTick = this.lastTick;
    const [entries, digests] = [this.#entries, this.#digests];
    this.#entries = [];
    this.#digests = [];
    const sequence = this.blocks.length;
    this.blocks.push({ sequence, firstTick, lastTick: tick, stateHash, storedBytes: 0, entries, digests });
  }
  putSnapshot(snapshot: NewSnapshot): void {
    const runs = new SlotRuns();
    for (const { slot, hash, bytes } of snapshot.pages) runs.add(slot, this.#store(hash, bytes));
    this.#tables.add({
      tick: snapshot.tick,
      base: snapshot.base,
      stateHash: snapshot.stateHash,
      sections: new Map([...snapshot.sections].map(([name, bytes]) => [name, bytes.slice()])),
      dirty: runs.all,
      storedBytes: 0,
    });
  }
  #store(hash: Uint8Array, bytes: Uint8Array): number {
    const key = hash.join();
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.#pages.push(bytes.slice()) - 1;
      this.#hashes[number] = hash.slice();
      this.#numbers.set(key, number);
    }
    return number;
  }

  async drained(): Promise<void> {}
  async flush(): Promise<void> {}
  async finish(end: RecordingEnd): Promise<void> {
    this.end = end;
  }
  async close(): Promise<void> {
    this.#entries = [];
    this.#digests = [];
  }
}

export class MemoryStore implements TraceStore {
  readonly #recordings = new Map<string, MemoryRecording>();

  async create(
    names: string | readonly string[],
    header: RecordingHeader,
    blobs: ReadonlyMap<string, Uint8Array>,
  ): Promise<NewRecording> {
    const name = [names].flat().find((x) => !this.#recordings.has(x));
    if (name === undefined) throw new EmulatorError('E_USAGE', `a recording named ${names} exists`);
    const recording = new MemoryRecording(name, header, blobs);
    this.#recordings.set(name, recording);
    return recording;
  }
  async open(name: string, semanticsVersion: number): Promise<Recording> {
    const found = this.#find(name);
    if (found.header.semanticsVersion !== semanticsVersion)
      throw new EmulatorError('E_SEMANTICS', `${name} was made with semantics ${found.header.semanticsVersion}`);
    return found;
  }
  async list(): Promise<RecordingSummary[]> {
    return [...this.#recordings.values()]
      .map((recording) => ({
        name: recording.name,
        createdMs: recording.header.createdMs,
        header: recording.header,
        end: recording.end,
        lastTick: recording.lastTick,
        snapshots: recording.snapshots.length,
        bytes: 0,
        problem: null,
      }))
      .sort((a, b) => a.createdMs - b.createdMs);
  }
  async latest(): Promise<string | null> {
    return (await this.list()).at(-1)?.name ?? null;
  }
  async remove(name: string): Promise<void> {
    this.#find(name);
    this.#recordings.delete(name);
  }
  #find(name: string): MemoryRecording {
    const found = this.#recordings.get(name);
    if (found === undefined) throw new EmulatorError('E_NOT_FOUND', `there is no recording ${name}`);
    return found;
  }
}
