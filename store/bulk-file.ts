/**
 * Where a recording keeps its large values: the file `bulk` beside the database, which knows where each of them is.
 *
 * LevelDB writes a value twice, to its log and to a table, and copies it three times on the way there; memory touched
 * for that costs more than compressing. So a value is compressed and appended here at once.
 *
 * Invariants: the file only grows; a place in it is named by the database only after {@link BulkFile.sync}; what nobody names,
 * padding and what a writer that died left, is never read.
 */
import { AppendFile } from './append-file.ts';
import { type Place, type Sealed, seal, sealPlace, total } from './sealed.ts';

/** Values of so many bytes on disk are large. */
const LARGE = 4096;

export class BulkFile {
  readonly #file: AppendFile;

  /** Makes the file (`flags` wx+) or opens it (r+); the host's error when it cannot. */
  constructor(path: string, flags: 'wx+' | 'r+') {
    this.#file = new AppendFile(path, flags);
  }

  /** Seals `data` for `key` and appends it where it is large; the result shares nothing with `data`. */
  seal(key: string, data: Uint8Array): Sealed {
    return seal(key, data, (parts) => {
      const bytes = total(parts);
      if (bytes < LARGE) return { key, value: Buffer.concat(parts), bulkBytes: 0 };
      const place: Place = { at: this.#file.append(parts), bytes };
      return { key, value: sealPlace(key, place), bulkBytes: bytes };
    });
  }
  /** What stands at `place`, as far as the file goes. */
  read(place: Place): Uint8Array {
    return this.#file.read(place.at, place.bytes);
  }
  /** Resolves once everything sealed so far is on disk. */
  sync(): Promise<void> {
    return this.#file.sync();
  }
  close(): void {
    this.#file.close();
  }
}
