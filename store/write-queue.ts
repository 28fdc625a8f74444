/**
 * The bounded queue between a recorder and the disk.
 *
 * Invariants: values reach the disk in the order of the calls, in atomic batches; the anchor is brought up to date only after
 * a batch is on disk; after the first failure nothing more is written, and every later call says E_HOST.
 */
import type { Level } from 'level';
import { EmulatorError } from '../src/core/errors.ts';
import type { Anchor, AnchorWriter } from './anchor.ts';
import { seal } from './sealed.ts';

export type Database = Level<string, Uint8Array>;

/** A value on its way. */
export interface QueuedValue {
  readonly key: string;
  /** The bytes, not to change until they are on disk; a function is called once all values before it are sealed. */
  readonly data: Uint8Array | (() => Uint8Array);
  /** Told the bytes the value takes on disk, key included, before it gets there. */
  readonly sealed?: (storedBytes: number) => void;
  /** Called once the value is on disk and nothing here holds its bytes any more. */
  readonly written?: () => void;
  /** What the anchor may claim once the value is on disk. */
  readonly anchor?: Partial<Omit<Anchor, 'count'>>;
}

/** Bytes, before compression, of one batch. */
const BATCH_BYTES = 8 << 20;
/** The queue counts as drained below this. */
const DRAINED_BYTES = 8 << 20;

export class WriteQueue {
  /** Bytes accepted and not yet on disk. */
  bytes = 0;
  readonly #database: Database;
  readonly #anchor: AnchorWriter;
  readonly #items: QueuedValue[] = [];
  /** Values accepted and not yet on disk, for reading. */
  readonly #pending = new Map<string, Uint8Array>();
  #running: Promise<void> | null = null;
  #failure: EmulatorError | null = null;
  #drainers: Array<() => void> = [];

  constructor(database: Database, anchor: AnchorWriter) {
    this.#database = database;
    this.#anchor = anchor;
  }

  /** Accepts values; E_HOST when writing has failed. */
  put(...values: QueuedValue[]): void {
    this.check();
    for (const value of values) {
      this.#items.push(value);
      if (typeof value.data === 'function') continue;
      this.bytes += value.data.length;
      this.#pending.set(value.key, value.data);
    }
    this.#running ??= this.#run();
  }
  /** A copy of the bytes of a value not yet on disk. */
  pending(key: string): Uint8Array | undefined {
    return this.#pending.get(key)?.slice();
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
      this.#failure = hostError(error);
      this.#items.length = 0;
      this.#pending.clear();
      this.bytes = 0;
    }
    this.#running = null;
    this.#wake();
  }

  async #writeBatch(): Promise<void> {
    const items: QueuedValue[] = [];
    for (let size = 0; size < BATCH_BYTES && this.#items.length > 0; ) {
      const item = this.#items.shift()!;
      items.push(item);
      size += item.data.length;
    }
    const sealing: Array<Promise<Uint8Array>> = [];
    for (const item of items) {
      if (typeof item.data === 'function') await Promise.all(sealing);
      sealing.push(this.#seal(item));
    }
    const values = await Promise.all(sealing);
    const batch = items.map((item, i) => ({ type: 'put' as const, key: item.key, value: values[i]! }));
    await this.#database.batch(batch, { sync: true } as object);
    const claims = items.flatMap((item) => item.anchor ?? []);
    if (claims.length > 0) this.#anchor.update(Object.assign({}, ...claims));
    for (const item of items) {
      if (typeof item.data === 'function') continue;
      this.bytes -= item.data.length;
      if (this.#pending.get(item.key) === item.data) this.#pending.delete(item.key);
      item.written?.();
    }
    if (this.bytes <= DRAINED_BYTES) this.#wake();
  }

  async #seal(item: QueuedValue): Promise<Uint8Array> {
    const value = await seal(item.key, typeof item.data === 'function' ? item.data() : item.data);
    item.sealed?.(value.length + item.key.length);
    return value;
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
