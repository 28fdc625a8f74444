/**
 * Where recordings live: the interface between time travel and whatever keeps the bytes.
 *
 * Invariants every implementation keeps (test/contract/trace-store.ts):
 * - the journal is append-only and closed in blocks; what can be read is always a whole number of blocks from the start;
 * - writing looks synchronous and never blocks: values are taken over before the call returns and reach the disk in the
 *   order of the calls; a failure of the host shows as E_HOST at the next call that writes, and the prefix stays readable;
 * - reading is synchronous, sees what was written through the same handle, and never returns damaged bytes: a value that is
 *   not what was stored is E_RECORDING with the place named;
 * - only the handle that made a recording writes it, snapshots in any order of ticks; any number of others read it at any time,
 *   also meanwhile, and change nothing.
 */
import type { Tick } from '../core/units.ts';
import type { Decision, Payload } from '../machine/inputs.ts';

/** Version of what a recording's directory looks like. */
export const FORMAT_VERSION = 5;
/** The oldest that can be read. */
export const OLDEST_FORMAT_VERSION = 3;
export const isReadableFormat = (version: number): boolean =>
  version >= OLDEST_FORMAT_VERSION && version <= FORMAT_VERSION;

/** What a run was made from; everything that decides it beside the journal. */
export interface RecordingHeader {
  /** Recordings of another semantics version are refused (E_SEMANTICS). */
  readonly semanticsVersion: number;
  readonly toolVersion: string;
  /** When recording began: milliseconds since 1970 of the host; orders recordings, decides nothing. */
  readonly createdMs: number;
  readonly memoryBytes: number;
  readonly vcpus: number;
  readonly cpuPolicy: string;
  readonly nsPerTick: number;
  readonly tscKhz: number;
  readonly commandLine: string;
  readonly seed: bigint;
  /** The guest's wall clock at tick 0, seconds since 1970. */
  readonly epochSeconds: number;
  /** Anything else that decides the run, by name. */
  readonly settings: Readonly<Record<string, string>>;
}

/** How a run ended. */
export interface RecordingEnd {
  readonly tick: Tick;
  readonly stateHash: bigint;
  readonly verdict: string;
  readonly message: string;
  /** Where the verdict stands: a panic's entry, else where the run ended. */
  readonly place: { readonly tick: Tick; readonly vcpu: number; readonly rip: bigint };
}

/** One entry of the journal: a payload cannot be recomputed, a decision is recomputed and compared. */
export type JournalEntry = Payload | Decision;

/** A 64-bit digest of the registers at `tick`. */
export interface RegisterDigest {
  readonly tick: Tick;
  readonly value: bigint;
}

/** What is known of a block without decoding it. */
export interface BlockSummary {
  readonly sequence: number;
  /** End of the block before; entries have ticks from here to `lastTick`. */
  readonly firstTick: Tick;
  readonly lastTick: Tick;
  /** 128-bit hash of the machine's state at `lastTick`. */
  readonly stateHash: bigint;
  readonly storedBytes: number;
}

export interface JournalBlock extends BlockSummary {
  readonly entries: readonly JournalEntry[];
  readonly digests: readonly RegisterDigest[];
}

/** One page of a snapshot to be stored. `bytes` (4096) may be a live view: it is copied before `putSnapshot` returns. */
export interface SnapshotPage {
  readonly slot: number;
  /** 16 bytes; equal hashes mean equal contents within one recording. May depend on the slot. */
  readonly hash: Uint8Array;
  readonly bytes: Uint8Array;
}

export interface NewSnapshot {
  readonly tick: Tick;
  readonly stateHash: bigint;
  readonly sections: ReadonlyMap<string, Uint8Array>;
  /** Tick of the snapshot to which `pages` are the difference; null: to the machine as built. */
  readonly base: Tick | null;
  /** By ascending slots. */
  readonly pages: Iterable<SnapshotPage>;
}

/** Neighbouring slots from `slot` on, whose pages have been given successive numbers from `page` on. */
export interface SlotRun {
  readonly slot: number;
  readonly page: number;
  readonly length: number;
}

export interface SnapshotSummary {
  readonly tick: Tick;
  readonly base: Tick | null;
  readonly stateHash: bigint;
  /** Slots stored with it, ascending: what may have changed since `base`. */
  readonly dirty: readonly SlotRun[];
  /** Bytes on disk it added: sections, page table, pages not stored before. */
  readonly storedBytes: number;
}

/** A snapshot opened for reading; pages are read when asked for. */
export interface StoredSnapshot extends SnapshotSummary {
  readonly sections: ReadonlyMap<string, Uint8Array>;
  /** The page in `slot`, not to be changed; null: as the machine was built. */
  page(slot: number): Uint8Array | null;
  /** Its hash as stored, 16 bytes; null: as the machine was built. */
  pageHash(slot: number): Uint8Array | null;
  /** Slots with stored contents, ascending. */
  slots(): number[];
  /** Slots whose contents differ from those in the snapshot at tick `other` (null: the machine as built), ascending. */
  differing(other: Tick | null): number[];
}

/** Bytes on disk by kind. */
export interface RecordingSizes {
  readonly journalBytes: number;
  readonly snapshotBytes: number;
  readonly blobBytes: number;
}

/** A recording opened for reading: the journal's blocks as of then. */
export interface Recording {
  readonly name: string;
  readonly header: RecordingHeader;
  /** Null while recording, and for ever when the recorder was killed. */
  readonly end: RecordingEnd | null;
  /** Blocks in order; the last one's end is where the recording ends. */
  readonly blocks: readonly BlockSummary[];
  /** Snapshots by ascending tick. */
  readonly snapshots: readonly SnapshotSummary[];
  readonly sizes: RecordingSizes;

  /** The bytes given at creation under `name` (kernel, ramdisk, symbols), or null. */
  blob(name: string): Uint8Array | null;
  /** Its length in bytes, or null. */
  blobBytes(name: string): number | null;
  block(sequence: number): JournalBlock;
  /** The snapshot at exactly `tick`. */
  snapshot(tick: Tick): StoredSnapshot;
  /** The last snapshot at or before `tick`, or null. */
  snapshotBefore(tick: Tick): SnapshotSummary | null;
  /** Reads everything there is; E_RECORDING names the first place that is not as written. */
  verify(progress?: (done: number, total: number) => void): Promise<void>;
  /** Lets go of the files. */
  close(): Promise<void>;
}

/** The images of a recording that have the names given, those that it lacks left out. */
export const imagesOf = (recording: Pick<Recording, 'blob'>, names: readonly string[]): Record<string, Uint8Array> =>
  Object.fromEntries(
    names.flatMap((name) => {
      const image = recording.blob(name);
      return image === null ? [] : [[name, image] as const];
    }),
  );

/** A recording being made. */
export interface NewRecording extends Recording {
  /** Adds an entry to the open block; ticks never decrease. */
  append(entry: JournalEntry): void;
  /** Adds a register digest to the open block. */
  digest(tick: Tick, value: bigint): void;
  /** Closes the block at `tick`, where the state has the hash `stateHash`, and sends it off. */
  endBlock(tick: Tick, stateHash: bigint): void;
  putSnapshot(snapshot: NewSnapshot): void;
  /** Bytes accepted and not yet on disk. */
  readonly queuedBytes: number;
  /** Resolves once little is queued; to be awaited by a recorder when `queuedBytes` exceeds {@link QUEUE_BYTES}. */
  drained(): Promise<void>;
  /** Resolves once everything accepted is on disk; E_HOST when it cannot be. */
  flush(): Promise<void>;
  /** Writes the end record and flushes; the journal is closed from then on. */
  finish(end: RecordingEnd): Promise<void>;
  /** Flushes and lets go of the files. The open block is dropped. */
  close(): Promise<void>;
}

/** Bound of the write queue. */
export const QUEUE_BYTES = 64 << 20;

/** One line of a listing. */
export interface RecordingSummary {
  readonly name: string;
  readonly createdMs: number;
  readonly header: RecordingHeader | null;
  readonly end: RecordingEnd | null;
  readonly lastTick: Tick;
  readonly snapshots: number;
  readonly bytes: number;
  /** Why it cannot be read, as `code: message`; null when it can. */
  readonly problem: string | null;
}

export interface TraceStore {
  /**
   * Starts a recording, which exists with its blobs or not at all, under the first of `names` that is free. E_USAGE when all are taken,
   * E_HOST when the host refuses; an abort of `stop` on the way is thrown.
   */
  create(
    names: string | readonly string[],
    header: RecordingHeader,
    blobs: ReadonlyMap<string, Uint8Array>,
    stop?: AbortSignal,
  ): Promise<NewRecording>;
  /** Opens a recording for reading; E_NOT_FOUND, E_RECORDING, E_SEMANTICS, E_HOST. */
  open(name: string, semanticsVersion: number): Promise<Recording>;
  /** All recordings, oldest first. */
  list(): Promise<RecordingSummary[]>;
  /** Name of the recording begun last, or null. */
  latest(): Promise<string | null>;
  /** Deletes a recording; E_NOT_FOUND. */
  remove(name: string): Promise<void>;
}
