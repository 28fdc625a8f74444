/**
 * Where a recording keeps its large values: the file `bulk` beside the database, which knows where each of them is.
 *
 * LevelDB writes a value twice, to its log and to a table, and copies it three times on the way there; memory touched
 * for that costs more than compressing. So a value is compressed and written here at once.
 *
 * Invariants: the file only grows; a place in it is named by the database only after {@link BulkFile.sync}; what nobody names,
 * left by a writer that died, is never read.
 */
import { closeSync, fdatasync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import { type Place, type Sealed, seal, sealPlace, total } from './sealed.ts';

const syncData = promisify(fdatasync);
/** Values of so many bytes on disk are large. */
const LARGE = 4096;

export class BulkFile {
  readonly #file: number;
  #end: number;
  #unsynced = false;

  /** Makes the file (`flags` wx+) or opens it (r+); the host's error when it cannot. */
  constructor(path: string, flags: 'wx+' | 'r+') {
    this.#file = openSync(path, flags);
    this.#end = fstatSync(this.#file).size;
  }

  /** Seals `data` for `key` and writes it to the file where it is large; the result shares nothing with `data`. */
  seal(key: string, data: Uint8Array): Sealed {
    return seal(key, data, (parts) => {
      const bytes = total(parts);
      if (bytes < LARGE) return { key, value: Buffer.concat(parts), bulkBytes: 0 };
      const place: Place = { at: this.#end, bytes };
      for (const part of parts) this.#write(part);
      return { key, value: sealPlace(key, place), bulkBytes: bytes };
    });
  }
  #write(data: Uint8Array): void {
    this.#unsynced = true;
    for (let done = 0; done < data.length; ) {
      const count = writeSync(this.#file, data, done, data.length - done, this.#end);
      done += count;
      this.#end += count;
    }
  }
  /** What stands at `place`, as far as the file goes. */
  read(place: Place): Uint8Array {
    const out = new Uint8Array(Math.max(0, Math.min(place.bytes, this.#end - place.at)));
    let done = 0;
    while (done < out.length) {
      const count = readSync(this.#file, out, done, out.length - done, place.at + done);
      if (count === 0) break;
      done += count;
    }
    return out.subarray(0, done);
  }
  /** Resolves once everything written so far is on disk. */
  async sync(): Promise<void> {
    if (!this.#unsynced) return;
    this.#unsynced = false;
    await syncData(this.#file);
  }
  close(): void {
    closeSync(this.#file);
  }
}
