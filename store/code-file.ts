/**
 * Machine code of modules, by key, in one file of a folder with a file a kernel. It can be made again at any time: what is
 * missing or damaged is not there, and what cannot be written is lost without an error.
 *
 * The file: MAGIC, then entries of a key (32 bytes), a rank, the CRC-32 of the code, its length (4 bytes each, little-endian), and the
 * code. It is replaced as a whole, so that a process finds the old one or the new one.
 */
import { readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { makeDirectories } from './new-directory.ts';

const MAGIC = 'HSCODE01';
/** Names of the folder's files, those on their way there included; whatever else is in it stays. */
const FILE = /\.code(\.\d+)?$/;
const KEY_BYTES = 32;
const HEAD_BYTES = KEY_BYTES + 12;

/** What a file and a folder may hold. */
export interface CodeLimits {
  readonly fileBytes: number;
  readonly files: number;
}
const CODE_LIMITS: CodeLimits = { fileBytes: 32 << 20, files: 16 };

interface Entry {
  readonly rank: number;
  readonly crc: number;
  readonly code: Uint8Array;
}

/** The entries of a file; none where it is missing, those before the end where it was cut short. */
function readEntries(path: string): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch {
    return entries;
  }
  if (bytes.toString('latin1', 0, MAGIC.length) !== MAGIC) return entries;
  let at = MAGIC.length;
  while (at + HEAD_BYTES <= bytes.length) {
    const key = bytes.toString('latin1', at, at + KEY_BYTES);
    const [rank, crc, length] = [0, 4, 8].map((offset) => bytes.readUInt32LE(at + KEY_BYTES + offset));
    at += HEAD_BYTES + length!;
    if (at > bytes.length) break;
    const code = new Uint8Array(bytes.buffer, bytes.byteOffset + at - length!, length);
    entries.set(key, { rank: rank!, crc: crc!, code });
  }
  return entries;
}
function headOf(key: string, { rank, crc, code }: Entry): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.write(key, 'latin1');
  head.writeUInt32LE(rank, KEY_BYTES);
  head.writeUInt32LE(crc, KEY_BYTES + 4);
  head.writeUInt32LE(code.length, KEY_BYTES + 8);
  return head;
}

/** Code by key, a key being 32 bytes as a Latin-1 string. */
export class CodeFile {
  readonly #folder: string;
  readonly #path: string;
  readonly #limits: CodeLimits;
  readonly #entries: Map<string, Entry>;
  readonly #used = new Set<string>();
  #changed = false;

  constructor(folder: string, name: string, limits = CODE_LIMITS) {
    this.#folder = folder;
    this.#path = join(folder, name);
    this.#limits = limits;
    this.#entries = readEntries(this.#path);
  }

  /** How much has been made of the code under a key, as {@link put} was told; 0 where there is none. */
  rank(key: string): number {
    return this.#entries.get(key)?.rank ?? 0;
  }
  /** The code under a key; null where there is none, or it is damaged. */
  take(key: string): Uint8Array | null {
    const entry = this.#entries.get(key);
    if (entry === undefined) return null;
    if (crc32(entry.code) !== entry.crc) {
      this.drop(key);
      return null;
    }
    this.#used.add(key);
    return entry.code;
  }
  drop(key: string): void {
    this.#entries.delete(key);
  }
  put(key: string, rank: number, code: Uint8Array): void {
    this.#entries.set(key, { rank, crc: crc32(code), code });
    this.#used.add(key);
    this.#changed = true;
  }

  /** Writes what was put; what was not used goes first where it is too much, and so do files not used for long. */
  save(): void {
    try {
      if (this.#changed) this.#write();
      else utimesSync(this.#path, new Date(), new Date());
    } catch {
      // the next process compiles anew
    }
  }
  #write(): void {
    const parts: Uint8Array[] = [Buffer.from(MAGIC, 'latin1')];
    let total = MAGIC.length;
    const inOrder = [...this.#entries].sort(([a], [b]) => Number(this.#used.has(b)) - Number(this.#used.has(a)));
    for (const [key, entry] of inOrder) {
      total += HEAD_BYTES + entry.code.length;
      if (total > this.#limits.fileBytes) break;
      parts.push(headOf(key, entry), entry.code);
    }
    makeDirectories(this.#folder);
    const temporary = `${this.#path}.${process.pid}`;
    writeFileSync(temporary, Buffer.concat(parts));
    renameSync(temporary, this.#path);
    this.#changed = false;
    const files = readdirSync(this.#folder).filter((name) => FILE.test(name));
    const paths = files.map((name) => join(this.#folder, name));
    const newest = paths.map((path) => ({ path, used: statSync(path).mtimeMs })).sort((a, b) => b.used - a.used);
    for (const { path } of newest.slice(this.#limits.files)) rmSync(path);
  }
}
