/**
 * A recording as files: how much they take, who writes them, and how they are removed.
 *
 * Invariants: no link is followed; what is removed are the parts of a recording, one by one, and nothing where there is more than that;
 * the anchor goes last, so that what an interruption leaves is still known for a recording.
 */
import { accessSync, constants, lstatSync, readdirSync, readFileSync, rmdirSync, statSync, unlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { EmulatorError } from '../src/core/errors.ts';
import { readAnchor } from './anchor.ts';
import { anchorPath, bulkPath, databasePath } from './directory.ts';
import { isFolder, namesIn } from './plain-file.ts';

/** Files that LevelDB makes (filename.cc). */
const DATABASE_FILE = /^(CURRENT|LOCK|LOG|LOG\.old|MANIFEST-\d+|\d+\.(log|ldb|sst|dbtmp))$/;
/** No recording has more files than that. */
const FILES_MAX = 1 << 20;

/** Bytes of the files in a recording's directory, or of the plain file in its place; 0 for what cannot be looked at. */
export function sizeOnDisk(path: string): number {
  return bytesAt(path, 2);
}
/** A recording has folders two deep; whatever lies deeper is none of it. */
function bytesAt(path: string, depth: number): number {
  try {
    const stats = lstatSync(path);
    if (stats.isFile()) return stats.size;
    if (!stats.isDirectory() || depth === 0) return 0;
    return readdirSync(path).reduce((sum, name) => sum + bytesAt(join(path, name), depth - 1), 0);
  } catch {
    return 0;
  }
}

/** The process that records into the directory `path`, as far as the host tells of it; null where there is none. */
export function recorderOf(path: string): number | null {
  let lock: { dev: number; ino: number };
  let locks: string;
  try {
    lock = lstatSync(join(databasePath(path), 'LOCK'));
    locks = readFileSync('/proc/locks', 'latin1');
  } catch {
    return null;
  }
  // Source: locks_show of Linux. "1: POSIX  ADVISORY  WRITE 4711 fe:00:2154977 0 EOF"
  const holders = locks.matchAll(/^\d+: POSIX +\S+ +WRITE (\d+) [0-9a-f]+:[0-9a-f]+:(\d+) /gm);
  for (const [, pid, inode] of holders)
    if (Number(inode) === lock.ino && hasOpen(Number(pid), lock)) return Number(pid);
  return null;
}
/** The process has the file open, or does not let us look: inodes are numbered anew in each file system. */
function hasOpen(pid: number, file: { dev: number; ino: number }): boolean {
  const folder = `/proc/${pid}/fd`;
  try {
    return readdirSync(folder).some((name) => {
      const stats = statSync(join(folder, name), { throwIfNoEntry: false });
      return stats !== undefined && stats.dev === file.dev && stats.ino === file.ino;
    });
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES';
  }
}

/** What stands in a folder, as paths. */
const pathsIn = (folder: string, place: string): string[] =>
  namesIn(folder, place, FILES_MAX).map((name) => join(folder, name));

/** One thing to be removed. */
interface Part {
  readonly path: string;
  readonly isFolder: boolean;
  readonly bytes: number;
}
/** E_RECORDING where it is a folder, and a file should be there. */
function filePart(path: string, name: string): Part {
  const stats = lstatSync(path);
  if (stats.isDirectory()) throw holdsMore(name, path);
  return { path, isFolder: false, bytes: stats.isFile() ? stats.size : 0 };
}
const folderPart = (path: string): Part => ({ path, isFolder: true, bytes: 0 });
const holdsMore = (name: string, path: string): EmulatorError =>
  new EmulatorError('E_RECORDING', `${name} holds ${path}, which is no part of a recording: nothing was deleted`);

/** All there is of a recording, in the order in which it is removed; E_RECORDING where there is anything else. */
function partsOf(path: string, name: string): Part[] {
  const [database, bulk, anchor] = [databasePath(path), bulkPath(path), anchorPath(path)];
  const parts: Part[] = [];
  for (const found of pathsIn(path, name)) {
    if (found === anchor) continue;
    if (found !== database && found !== bulk) throw holdsMore(name, found);
    if (found === bulk || !lstatSync(found).isDirectory()) {
      parts.push(filePart(found, name));
      continue;
    }
    for (const file of pathsIn(database, `the database of ${name}`)) {
      if (!DATABASE_FILE.test(basename(file))) throw holdsMore(name, file);
      parts.push(filePart(file, name));
    }
    parts.push(folderPart(database));
  }
  return [...parts, filePart(anchor, name), folderPart(path)];
}

/**
 * Removes the recording in the directory `path`, which messages call `name`; the bytes that its files had. E_NOT_FOUND where there is
 * nothing, E_RECORDING where it is no recording or holds anything else, E_USAGE while it is being recorded, E_HOST where the host refuses.
 */
export function removeRecording(path: string, name: string): number {
  if (!isFolder(path, name)) throw new EmulatorError('E_NOT_FOUND', `there is no recording ${name}`);
  const { anchor } = readAnchor(anchorPath(path), name);
  const recorder = anchor.ended ? null : recorderOf(path);
  if (recorder !== null)
    throw new EmulatorError('E_USAGE', `${name} is being recorded by process ${recorder}: end that first`);
  try {
    const parts = partsOf(path, name);
    const folders = parts.filter((part) => part.isFolder).map((part) => part.path);
    // Asked for before the first file goes: what cannot be removed whole stays whole.
    for (const folder of [dirname(path), ...folders]) accessSync(folder, constants.W_OK | constants.X_OK);
    for (const part of parts) (part.isFolder ? rmdirSync : unlinkSync)(part.path);
    return parts.reduce((sum, { bytes }) => sum + bytes, 0);
  } catch (error) {
    if (error instanceof EmulatorError) throw error;
    throw new EmulatorError('E_HOST', `${name} cannot be deleted: ${(error as Error).message}`, { cause: error });
  }
}
