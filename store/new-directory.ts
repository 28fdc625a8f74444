/**
 * A directory that appears under its name whole or not at all: it is made beside it under a hidden name, and renamed once what it
 * holds is on disk. What processes that died left behind is cleared away by the next that makes one there.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
import { EmulatorError } from '../src/core/errors.ts';

/** `.NAME.PID-PLACE-RANDOM.unfinished`. */
const UNFINISHED = /^\..+\.(\d{1,10})-([0-9a-f]{8})-[0-9a-f]{8}\.unfinished$/;
/** One of another host or container, whose processes cannot be asked for, is taken for left behind after this. */
const FOREIGN_AGE_MS = 24 * 3600 * 1000;

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

/** What /proc says, empty where it does not. */
function told(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}
/** Where a process number means one process: this boot of the host and this container, as 8 hexadecimal digits. */
function place(): string {
  const boot = told(() => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1'));
  const container = told(() => readlinkSync('/proc/self/ns/pid'));
  return crc32(`${boot} ${container}`).toString(16).padStart(8, '0');
}
function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return codeOf(error) !== 'ESRCH';
  }
}

/**
 * Makes a directory and those above it that are missing, with a mode; the host's error when it cannot. Node's own `recursive` never comes back
 * from a file system that answers ENOENT to every name, as /proc does.
 */
export function makeDirectories(path: string, mode?: number): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return;
  const above = dirname(path);
  if (above !== path) makeDirectories(above, mode);
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    // somebody else has made it meanwhile
    if (codeOf(error) !== 'EEXIST' || !statSync(path).isDirectory()) throw error;
  }
}

/** Has the names in a directory on disk, where its file system can. */
function syncDirectory(path: string): void {
  const file = openSync(path, 'r');
  try {
    fsyncSync(file);
  } catch (error) {
    if (codeOf(error) !== 'EINVAL') throw error;
  } finally {
    closeSync(file);
  }
}

/** Removes what dead processes left in a folder; what the host keeps from being removed stays. */
function sweep(folder: string): void {
  const here = place();
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const [, pid, where] = UNFINISHED.exec(entry.name) ?? [];
    if (pid === undefined || !entry.isDirectory()) continue;
    const path = join(folder, entry.name);
    try {
      if (where === here ? isAlive(Number(pid)) : Date.now() - statSync(path).mtimeMs < FOREIGN_AGE_MS) continue;
      rmSync(path, { recursive: true });
    } catch {
      // another process was quicker, or it is not ours to remove
    }
  }
}

export class NewDirectory {
  /** Where it is made. */
  readonly path: string;
  /** Where it is to appear: the first of them that is free. */
  readonly #targets: readonly string[];

  /**
   * Begins one that is to appear at the first of `targets`, all of one folder, where nothing or an empty directory is; the host's error
   * when it cannot.
   */
  constructor(targets: readonly string[]) {
    const folder = dirname(targets[0]!);
    makeDirectories(folder);
    sweep(folder);
    const own = `${process.pid}-${place()}-${randomBytes(4).toString('hex')}`;
    this.path = join(folder, `.${basename(targets[0]!).slice(0, 100)}.${own}.unfinished`);
    this.#targets = targets;
    mkdirSync(this.path);
  }
  /** Lets it appear, its files being on disk, and says where. E_USAGE where all its names are taken, the host's error when it cannot. */
  publish(): string {
    syncDirectory(this.path);
    const target = this.#targets.find((path) => this.#appears(path));
    if (target === undefined) throw nameTaken(this.#targets[0]!);
    syncDirectory(dirname(target));
    return target;
  }
  /** Takes a name, unless it is taken: of several processes at once, one gets it. */
  #appears(target: string): boolean {
    try {
      renameSync(this.path, target);
      return true;
    } catch (error) {
      if (['EEXIST', 'ENOTEMPTY', 'ENOTDIR'].includes(codeOf(error) ?? '')) return false;
      throw error;
    }
  }
  /** Removes it, as far as the host lets it be removed. */
  discard(): void {
    try {
      rmSync(this.path, { recursive: true, force: true });
    } catch {
      // the next that makes one here tries again
    }
  }
}

/** E_USAGE: there is something at the place of a new recording. */
export const nameTaken = (path: string): EmulatorError =>
  new EmulatorError('E_USAGE', `${path}: exists already; hindsight rm deletes a recording`);
