/**
 * What takes long to derive from a recording and follows from it alone, kept from one process to the next in a folder of the user's:
 * a file a value, found by a key and a name. Whoever asks gets what was put or null, and derives anew; nothing here is ever an error.
 *
 * Invariants: a value given back is what was put under this key and name (SHA-256 over all three); nothing of another user is read; a
 * file appears whole; those not used for longest go first where it is too much; only files with names of this form are removed. Where
 * the folder cannot be written, values are kept in memory, within a bound as well.
 *
 * A file: MAGIC, the SHA-256 of key, name and the rest, the value's length (8 bytes, little-endian), and its pieces, each as the length
 * of its frame (4 bytes) and a Zstandard frame.
 */
import { createHash, randomBytes } from 'node:crypto';
import {
  accessSync,
  constants,
  lstatSync,
  readdirSync,
  renameSync,
  rmSync,
  type Stats,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { assert } from '../src/core/assert.ts';
import { makeDirectories } from './new-directory.ts';
import { readPlainFile } from './plain-file.ts';
import { zstd } from './zstd.ts';

const MAGIC = Buffer.from('HSDERIV1', 'latin1');
const SUM_BYTES = 32;
const HEAD_BYTES = MAGIC.length + SUM_BYTES + 8;
/** Bytes of a value in one frame. */
const PIECE_BYTES = 1 << 20;
const KEY = /^[0-9a-f]{32,64}$/;
const NAME = /^[a-z0-9-]{1,40}$/;
/** Names of files of the cache, those on their way there included. */
const FILE = /^[0-9a-f]{32,64}\.[a-z0-9-]{1,40}(\.[0-9a-f]{16})?$/;

/** What the folder, and the memory in its place, may hold. */
export interface CacheLimits {
  readonly folderBytes: number;
  readonly memoryBytes: number;
}
export const CACHE_LIMITS: CacheLimits = { folderBytes: 512 << 20, memoryBytes: 256 << 20 };

/** A key for what follows from `parts`: 64 hexadecimal digits. */
export function derivedKey(...parts: readonly Uint8Array[]): string {
  const sum = createHash('sha256');
  for (const part of parts) sum.update(`${part.length} `).update(part);
  return sum.digest('hex');
}

/** It belongs to this user, and nobody else may write to it. */
const isOurs = (stats: Stats): boolean => stats.uid === process.geteuid?.() && (stats.mode & 0o022) === 0;

function checksum(key: string, name: string, rest: Uint8Array): Uint8Array {
  return createHash('sha256').update(`${key} ${name} `).update(rest).digest();
}

function encode(key: string, name: string, value: Uint8Array): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(value.length));
  const parts: Uint8Array[] = [length];
  for (let at = 0; at < value.length; at += PIECE_BYTES)
    parts.push(
      zstd.compress(value.subarray(at, at + PIECE_BYTES), (frame) => {
        const piece = Buffer.alloc(4 + frame.length);
        piece.writeUInt32LE(frame.length);
        piece.set(frame, 4);
        return piece;
      }),
    );
  const rest = Buffer.concat(parts);
  return Buffer.concat([MAGIC, checksum(key, name, rest), rest]);
}

/** The value in a file; null where it is not one of this key and name, or damaged. */
function decode(key: string, name: string, file: Buffer): Uint8Array | null {
  if (file.length < HEAD_BYTES || !file.subarray(0, MAGIC.length).equals(MAGIC)) return null;
  const rest = file.subarray(MAGIC.length + SUM_BYTES);
  if (!file.subarray(MAGIC.length, MAGIC.length + SUM_BYTES).equals(checksum(key, name, rest))) return null;
  const value = new Uint8Array(Number(rest.readBigUInt64LE(0)));
  let [from, to] = [8, 0];
  while (from < rest.length) {
    const length = rest.readUInt32LE(from);
    const piece = zstd.decompress(rest.subarray(from + 4, from + 4 + length), PIECE_BYTES);
    value.set(piece, to);
    from += 4 + length;
    to += piece.length;
  }
  return to === value.length ? value : null;
}

export class DerivedCache {
  readonly #folder: string | null;
  readonly #limits: CacheLimits;
  /** What could not be written, the last put last. */
  readonly #memory = new Map<string, Uint8Array>();

  /** A cache in `folder`, which is made when there is something to keep; null for one in memory alone. */
  constructor(folder: string | null, limits = CACHE_LIMITS) {
    this.#folder = folder;
    this.#limits = limits;
  }

  /** What was put under `key` (32 to 64 hexadecimal digits) and `name`, not to be changed; null where it is not there any more. */
  get(key: string, name: string): Uint8Array | null {
    const entry = entryOf(key, name);
    const kept = this.#memory.get(entry);
    if (kept !== undefined) return kept;
    if (this.#folder === null) return null;
    const path = join(this.#folder, entry);
    try {
      if (!this.#isFolderOurs() || !isOurs(lstatSync(path))) return null;
      const file = readPlainFile(path, entry, this.#limits.folderBytes);
      const value = file === null ? null : decode(key, name, file);
      if (value === null) rmSync(path, { force: true });
      else utimesSync(path, new Date(), new Date());
      return value;
    } catch {
      return null;
    }
  }

  /** Keeps `value`, which does not change any more, as far as there is room for it. */
  put(key: string, name: string, value: Uint8Array): void {
    const entry = entryOf(key, name);
    if (this.#folder === null || !this.#write(this.#folder, entry, () => encode(key, name, value)))
      this.#remember(entry, value);
  }

  #isFolderOurs(): boolean {
    const stats = lstatSync(this.#folder!);
    return stats.isDirectory() && isOurs(stats);
  }
  /** Whether it is in the folder now. */
  #write(folder: string, entry: string, encoded: () => Buffer): boolean {
    const path = join(folder, entry);
    const temporary = `${path}.${randomBytes(8).toString('hex')}`;
    try {
      makeDirectories(folder, 0o700);
      if (!this.#isFolderOurs()) return false;
      accessSync(folder, constants.W_OK | constants.X_OK);
      const file = encoded();
      if (file.length > this.#limits.folderBytes) return false;
      writeWhole(path, temporary, file);
      evict(folder, this.#limits.folderBytes);
      return true;
    } catch {
      return false;
    }
  }
  #remember(entry: string, value: Uint8Array): void {
    this.#memory.delete(entry);
    this.#memory.set(entry, value);
    let bytes = [...this.#memory.values()].reduce((sum, { length }) => sum + length, 0);
    for (const [oldest, { length }] of this.#memory) {
      if (bytes <= this.#limits.memoryBytes) break;
      this.#memory.delete(oldest);
      bytes -= length;
    }
  }
}

function entryOf(key: string, name: string): string {
  assert(KEY.test(key) && NAME.test(name), `${key} ${name}: no key and name of a derived value`);
  return `${key}.${name}`;
}

/** Has `bytes` in the file `path` by way of the file `temporary`, of which nothing is left. */
function writeWhole(path: string, temporary: string, bytes: Uint8Array): void {
  try {
    writeFileSync(temporary, bytes, { flag: 'wx', mode: 0o600 });
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** Removes the files used longest ago until the rest has at most `bytesMax` bytes. */
function evict(folder: string, bytesMax: number): void {
  const files = readdirSync(folder)
    .filter((name) => FILE.test(name))
    .map((name) => join(folder, name))
    .map((path) => ({ path, stats: lstatSync(path, { throwIfNoEntry: false }) }))
    .filter(({ stats }) => stats?.isFile())
    .map(({ path, stats }) => ({ path, bytes: stats!.size, used: stats!.mtimeMs }))
    .sort((a, b) => a.used - b.used);
  let bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  for (const file of files) {
    if (bytes <= bytesMax) break;
    rmSync(file.path, { force: true });
    bytes -= file.bytes;
  }
}
