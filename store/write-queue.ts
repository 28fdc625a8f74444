/**
 * The bounded queue between a recorder and the disk.
 *
 * Invariants: values reach the disk in the order of the calls, in atomic batches, what is in the bulk file before the batch that
 * names it; the anchor is brought up to date only after a batch is on disk; after the first failure nothing more is written, and every later call says E_HOST.
 */
import type { Level } from 'level';
import { EmulatorError } from '../src/core/errors.ts';
import type { Anchor, AnchorWriter } from './anchor.ts';
import type { BulkFile } from './bulk-file.ts';
import type { Sealed } from './sealed.ts';

export type Database = Level<string, Uint8Array>;

/** A value ready for the disk. */
export interface SealedValue extends Sealed {
  /** What the anchor may claim once the value is on disk. */
  readonly anchor?: Partial<Omit<Anchor, 'count'>>;
}
/** A value that is sealed when its turn comes. */
export interface RawValue {
  readonly key: string;
  /** The bytes, not to change until they are on disk. */
  readonly data: Uint8Array;
  /** Told the bytes the value takes on disk, key included, before it gets there. */
  readonly sealed?: (storedBytes: number) => void;
}
export type QueuedValue = SealedValue | RawValue;

/** Bytes a value takes on disk, key included. */
export const storedBytes = ({ key, value, bulkBytes }: Sealed): number => key.length + value.length + bulkBytes;
/** Bytes that the queue itself keeps in memory for a value. */
const heldBytes = (item: QueuedValue): number => ('value' in item ? item.value.length : 0);

/** Bytes of one batch, so that the guest goes on in between; waking the disk costs more than what it is told. */
const BATCH_BYTES = 8 << 20;
/** The queue counts as drained below this. */
const DRAINED_BYTES = 8 << 20;

export class WriteQueue {
  /** Bytes kept in memory that are not yet on disk. */
  bytes = 0;
  readonly #database: Database;
  readonly #anchor: AnchorWriter;
  readonly #bulk: BulkFile;
  readonly #items: QueuedValue[] = [];
  /** Values accepted and not yet on disk, for reading. */
  readonly #pending = new Map<string, QueuedValue>();
  #running: Promise<void> | null = null;
  #failure: EmulatorError | null = null;
  #drainers: Array<() => void> = [];

  constructor(database: Database, anchor: AnchorWriter, bulk: BulkFile) {
    this.#database = database;
    this.#anchor = anchor;
    this.#bulk = bulk;
  }

  /** Accepts values; E_HOST when writing has failed. */
  put(...values: QueuedValue[]): void {
    this.check();
    for (const value of values) {
      this.#items.push(value);
      this.bytes += heldBytes(value);
      this.#pending.set(value.key, value);
    }
    this.#running ??= this.#run();
  }
  /** A value not yet on disk. */
  pending(key: string): QueuedValue | undefined {
    return this.#pending.get(key);
  }
  /** Seals a value to be put; E_HOST when that cannot be written, or writing has failed before. */
  seal(key: string, data: Uint8Array): Sealed {
    this.check();
    try {
      return this.#bulk.seal(key, data);
    } catch (error) {
      throw this.#fail(error);
    }
  }
  /** Throws what has gone wrong. */
  check(): void {
    if (this.#failure !== null) throw this.#failure;
  }
  async flush(): Promise<void> {
    while (this.#running !== null) await this.#running;
    this.check();
  }
  async drained(): Promise<void> {
    if (this.bytes > DRAINED_BYTES && this.#running !== null)
      await new Promise<void>((resolve) => this.#drainers.push(resolve));
    this.check();
  }

  async #run(): Promise<void> {
    // What is put in one go makes one batch.
    await null;
    try {
      while (this.#items.length > 0) await this.#writeBatch();
    } catch (error) {
      this.#fail(error);
    }
    this.#running = null;
    this.#wake();
  }
  /** Drops everything that waits. */
  #fail(error: unknown): EmulatorError {
    this.#failure ??= hostError(error);
    this.#items.length = 0;
    this.#pending.clear();
    this.bytes = 0;
    return this.#failure;
  }

  async #writeBatch(): Promise<void> {
    const items: QueuedValue[] = [];
    const batch: Array<{ type: 'put'; key: string; value: Uint8Array }> = [];
    for (let size = 0; size < BATCH_BYTES && this.#items.length > 0; ) {
      const item = this.#items.shift()!;
      const sealed = 'value' in item ? item : this.#bulk.seal(item.key, item.data);
      if ('data' in item) item.sealed?.(storedBytes(sealed));
      items.push(item);
      batch.push({ type: 'put', key: item.key, value: sealed.value });
      size += storedBytes(sealed);
    }
    await this.#bulk.sync();
    await this.#database.batch(batch, { sync: true } as object);
    const claims = items.flatMap((item) => ('anchor' in item ? (item.anchor ?? []) : []));
    if (claims.length > 0) this.#anchor.update(Object.assign({}, ...claims));
    for (const item of items) {
      this.bytes -= heldBytes(item);
      if (this.#pending.get(item.key) === item) this.#pending.delete(item.key);
    }
    if (this.bytes <= DRAINED_BYTES) this.#wake();
  }

  #wake(): void {
    const waiting = this.#drainers;
    this.#drainers = [];
    for (const resolve of waiting) resolve();
  }
}

/** The host's failure to write, in words. */
export function hostError(error: unknown): EmulatorError {
  if (error instanceof EmulatorError) return error;
  const { cause, message } = error as Error;
  const why = cause instanceof Error ? cause.message : message;
  return new EmulatorError('E_HOST', `the recording cannot be written: ${why}`, { cause: error });
}
