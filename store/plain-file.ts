/**
 * Files of a recording as a reader opens them: plain files in the recording's own folders, never through a link, never anything
 * that could block, and of a size that is known before any of it is read.
 *
 * What the host refuses (permission, an I/O error, too many open files) is E_HOST; what is no plain file, or ends early, is
 * E_RECORDING.
 */
import { closeSync, constants, fstatSync, lstatSync, opendirSync, openSync, readSync, type Stats } from 'node:fs';
import { EmulatorError } from '../src/core/errors.ts';
import { damaged } from './sealed.ts';

const READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
/** The recording's fault, not the host's: something else stands where a plain file or a folder should. */
const FOREIGN = new Set(['ELOOP', 'ENOTDIR', 'EISDIR', 'ENXIO', 'ENODEV']);

/** What stands at a path, in words. */
function kindOf(stats: Stats): string {
  if (stats.isFile()) return 'a file';
  if (stats.isDirectory()) return 'a directory';
  if (stats.isSymbolicLink()) return 'a symbolic link';
  if (stats.isFIFO()) return 'a FIFO';
  return stats.isSocket() ? 'a socket' : 'a device';
}

/** The host's failure to read `place`. */
export function readFailure(place: string, error: unknown): EmulatorError {
  if (error instanceof EmulatorError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  if (code !== undefined && FOREIGN.has(code)) return damaged(place, `is no plain file: ${code}`, error);
  return new EmulatorError('E_HOST', `${place} cannot be read: ${message}`, { cause: error });
}

/** What stands at `path`, links not followed; null where nothing does. */
function look(path: string, place: string): Stats | null {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) ?? null;
  } catch (error) {
    throw readFailure(place, error);
  }
}

/** Whether anything stands at `path`. */
export const isThere = (path: string, place: string): boolean => look(path, place) !== null;

/** Whether there is a folder at `path`, links not followed; E_RECORDING where anything else stands there. */
export function isFolder(path: string, place: string): boolean {
  const stats = look(path, place);
  if (stats === null) return false;
  if (!stats.isDirectory()) throw damaged(place, `is ${kindOf(stats)}, not a directory`);
  return true;
}

/** Names in a folder; E_RECORDING where there are more than `namesMax`. */
export function namesIn(path: string, place: string, namesMax: number): string[] {
  const names: string[] = [];
  try {
    const folder = opendirSync(path);
    try {
      for (let entry = folder.readSync(); entry !== null; entry = folder.readSync()) {
        if (names.push(entry.name) > namesMax) throw damaged(place, `has more than ${namesMax} files`);
      }
      return names;
    } finally {
      folder.closeSync();
    }
  } catch (error) {
    throw readFailure(place, error);
  }
}

export class PlainFile {
  /** Bytes when it was opened. */
  readonly size: number;
  readonly #file: number;
  readonly #place: string;

  private constructor(file: number, size: number, place: string) {
    this.#file = file;
    this.size = size;
    this.#place = place;
  }

  /** Opens the file at `path`, which messages call `place`; null where there is none. */
  static open(path: string, place: string): PlainFile | null {
    const stats = look(path, place);
    if (stats === null) return null;
    // Opening a device may already do something, so it is looked at before; and after, since it may have been exchanged.
    if (!stats.isFile()) throw damaged(place, `is ${kindOf(stats)}, not a plain file`);
    let file: number | null = null;
    try {
      file = openSync(path, READ);
      const opened = fstatSync(file);
      if (!opened.isFile()) throw damaged(place, `is ${kindOf(opened)}, not a plain file`);
      return new PlainFile(file, opened.size, place);
    } catch (error) {
      if (file !== null) closeSync(file);
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw readFailure(place, error);
    }
  }

  /** The bytes from `at` on, fewer than `bytes` where the file ends before. */
  read(at: number, bytes: number): Buffer {
    const out = Buffer.alloc(Math.max(0, Math.min(bytes, this.size - at)));
    let done = 0;
    try {
      while (done < out.length) {
        const count = readSync(this.#file, out, done, out.length - done, at + done);
        if (count === 0) return out.subarray(0, done);
        done += count;
      }
    } catch (error) {
      throw readFailure(this.#place, error);
    }
    return out;
  }
  close(): void {
    closeSync(this.#file);
  }
}

/** All bytes of the file at `path`; null where there is none, E_RECORDING where it has more than `bytesMax`. */
export function readPlainFile(path: string, place: string, bytesMax: number): Buffer | null {
  const file = PlainFile.open(path, place);
  if (file === null) return null;
  try {
    if (file.size > bytesMax) throw damaged(place, `is too large: it has ${file.size} bytes`);
    return file.read(0, file.size);
  } finally {
    file.close();
  }
}
