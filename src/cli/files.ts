/**
 * Files that a user names: looked at before they are opened and bounded before they are read, so that a FIFO or device is never
 * waited for and a huge file takes no memory.
 */
import { closeSync, constants, fstatSync, openSync, readSync, type Stats, statSync } from 'node:fs';
import { EmulatorError, type ErrorCode } from '../core/errors.ts';

/** What a file is for, and how large it may be. */
export interface FileUse {
  /** As messages call it: `kernel image`. */
  readonly what: string;
  readonly maxBytes: number;
  /** Code of the error of one that is larger. */
  readonly tooLarge: ErrorCode;
}

/** No kernel has more; Debian's with all its debugging information has 0.7 GB. */
const MAX_KERNEL_BYTES = 768 * 2 ** 20;
const MAX_INPUT_BYTES = 64 * 2 ** 20;
export const KERNEL_FILE: FileUse = { what: 'kernel image', maxBytes: MAX_KERNEL_BYTES, tooLarge: 'E_IMAGE' };
export const INPUT_FILE: FileUse = { what: 'file to type', maxBytes: MAX_INPUT_BYTES, tooLarge: 'E_USAGE' };
/** An initrd for a guest of `memoryBytes` bytes, which has to hold it. */
export const initrdFile = (memoryBytes: number): FileUse => ({
  what: 'initrd',
  maxBytes: memoryBytes,
  tooLarge: 'E_MEMORY',
});

/** What a path leads to where a file is wanted, in words; null when it is one. */
function oddity(stats: Stats): string | null {
  if (stats.isFile()) return null;
  if (stats.isDirectory()) return 'a directory';
  if (stats.isFIFO()) return 'a pipe';
  return stats.isSocket() ? 'a socket' : 'a device';
}

function check(path: string, stats: Stats, { what, maxBytes, tooLarge }: FileUse): void {
  const odd = oddity(stats);
  if (odd !== null) throw new EmulatorError('E_NOT_FOUND', `the ${what} ${path} is not a file: it is ${odd}`);
  if (stats.size > maxBytes)
    throw new EmulatorError(tooLarge, `the ${what} ${path} has ${stats.size} bytes; at most ${maxBytes} are possible`);
}

/** Runs `work` on a named file; the host's errors become E_NOT_FOUND where the name is wrong, else E_HOST. */
function onFile<T>(path: string, { what }: FileUse, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof EmulatorError) throw error;
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (['ENOENT', 'ENOTDIR'].includes(code)) throw new EmulatorError('E_NOT_FOUND', `there is no ${what} at ${path}`);
    const named = ['ELOOP', 'ENAMETOOLONG', 'ERR_INVALID_ARG_VALUE'].includes(code);
    throw new EmulatorError(named ? 'E_NOT_FOUND' : 'E_HOST', `the ${what} ${path} cannot be read: ${code}`, {
      cause: error,
    });
  }
}

/** Makes sure that a named file can be read as what it is for; E_NOT_FOUND, E_HOST or the error of one that is too large. */
export function mustBeFile(path: string, use: FileUse): void {
  onFile(path, use, () => check(path, statSync(path), use));
}

/** Reads a named file; errors as {@link mustBeFile}. */
export function readFile(path: string, use: FileUse): Uint8Array {
  mustBeFile(path, use);
  return onFile(path, use, () => {
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stats = fstatSync(file);
      check(path, stats, use);
      const bytes = new Uint8Array(stats.size);
      for (let done = 0; done < bytes.length; ) {
        const count = readSync(file, bytes, done, Math.min(bytes.length - done, 2 ** 30), done);
        if (count === 0) return bytes.subarray(0, done);
        done += count;
      }
      return bytes;
    } finally {
      closeSync(file);
    }
  });
}
