/**
 * Where recordings live: in `./.hindsight`, or where `-o` puts them. A name without a slash means one in the current folder or in
 * `.hindsight`, with or without .hs behind it; anything else is a path. `.hindsight/latest` names the one made last, wherever it lies; without it the
 * newest is the latest.
 */
import { lstatSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { anchorPath, checkDirectory } from '../../store/directory.ts';
import { makeDirectories } from '../../store/new-directory.ts';
import { isFolder, readPlainFile } from '../../store/plain-file.ts';
import { recorderOf, removeRecording, sizeOnDisk } from '../../store/recording-files.ts';
import { EmulatorError } from '../core/errors.ts';

const FOLDER = '.hindsight';
const SUFFIX = '.hs';
/** A path (PATH_MAX of Linux) and a line end. */
const LATEST_BYTES_MAX = 4097;

/** What stands where recordings live. */
export interface Listed {
  readonly path: string;
  /** Why it is no recording; null where it has an anchor. */
  readonly problem: EmulatorError | null;
}

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error);

/** What is in a folder and not hidden; nothing where there is no such folder, E_HOST where the host refuses. */
function pathsIn(folder: string): string[] {
  try {
    const names = readdirSync(folder).filter((name) => !name.startsWith('.'));
    return names.map((name) => join(folder, name));
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(error))) return [];
    throw new EmulatorError('E_HOST', `${folder} cannot be read: ${codeOf(error)}`, { cause: error });
  }
}
/** A directory, or a link to one, with an anchor of some kind in it. */
function hasAnchor(path: string): boolean {
  try {
    return statSync(path).isDirectory() && lstatSync(anchorPath(path), { throwIfNoEntry: false }) !== undefined;
  } catch {
    return false;
  }
}
function isThere(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return false;
  }
}
function isEmpty(path: string): boolean {
  try {
    return lstatSync(path).isDirectory() && readdirSync(path).length === 0;
  } catch {
    return false;
  }
}
const withSuffix = (path: string): string => (path.endsWith(SUFFIX) ? path : `${path}${SUFFIX}`);

/** Name of a recording after its image and the second: what a file system and a shell take without ado. */
function named(image: string, now: Date): string {
  const stem = basename(image)
    .replace(/\.(elf|gz|bin|img)$/, '')
    .replaceAll(/[^\w.+-]/g, '_')
    .replace(/^[^\w]+/, '');
  const time = now.toISOString().slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '-');
  return `${stem || 'guest'}-${time}${SUFFIX}`;
}

export class Recordings {
  readonly #cwd: string;
  readonly #folder: string;

  constructor(cwd: string) {
    this.#cwd = cwd;
    this.#folder = join(cwd, FOLDER);
  }

  /** A path as messages show it: relative where that is shorter. */
  show(path: string): string {
    const short = relative(this.#cwd, path);
    return short !== '' && short.length < path.length ? short : path;
  }

  // ---- which there are ----------------------------------------------------------------------------------------------

  /**
   * What a name can mean, oldest first: the recordings in the folder and in the current one; what else is called NAME.hs in the folder,
   * however odd, but for empty directories; and the latest recording, wherever it lies.
   */
  list(): Listed[] {
    const inside = pathsIn(this.#folder);
    const latest = this.#remembered();
    const paths = [
      ...[...inside, ...pathsIn(this.#cwd)].filter(hasAnchor),
      ...inside.filter((path) => path.endsWith(SUFFIX) && !isEmpty(path)),
      ...(latest === null ? [] : [latest]),
    ];
    return [...new Set(paths)]
      .map((path) => ({ ...this.#look(path), path }))
      .toSorted((a, b) => a.createdMs - b.createdMs || (a.path < b.path ? -1 : 1))
      .map(({ path, problem }) => ({ path: this.show(path), problem }));
  }
  /** When a recording was begun, and what is wrong with it. */
  #look(path: string): { createdMs: number; problem: EmulatorError | null } {
    const name = this.show(path);
    let createdMs = 0;
    try {
      createdMs = lstatSync(path).mtimeMs;
      if (!isFolder(path, name)) throw new EmulatorError('E_NOT_FOUND', `there is no recording ${name}`);
      const begun = checkDirectory(path, name).createdMs;
      return { createdMs: Number.isFinite(begun) ? begun : createdMs, problem: null };
    } catch (error) {
      const problem = error instanceof EmulatorError ? error : new EmulatorError('E_HOST', `${name}: ${codeOf(error)}`);
      return { createdMs, problem };
    }
  }

  // ---- which one is meant -------------------------------------------------------------------------------------------

  /** The recording a user named; the latest when none is named. E_NOT_FOUND where there is nothing of the name. */
  resolve(name: string | undefined): string {
    if (name === undefined) return this.#latest();
    const places = this.#places(name);
    const found = places.find(hasAnchor) ?? places.find(isThere);
    if (found === undefined)
      throw new EmulatorError('E_NOT_FOUND', `there is no recording ${name}; hindsight ls shows those there are`);
    return this.show(found);
  }
  /** Where a recording of a name may be, in order. */
  #places(name: string): string[] {
    if (name === '') throw new EmulatorError('E_USAGE', 'the name of a recording is empty');
    const isPath = name.includes(sep) || name === '.' || name === '..';
    return (isPath ? [this.#cwd] : [this.#cwd, this.#folder])
      .map((from) => resolve(from, name))
      .flatMap((path) => [...new Set([path, withSuffix(path)])]);
  }

  #latest(): string {
    const remembered = this.#remembered();
    if (remembered !== null) return this.show(remembered);
    const all = this.list();
    const newest = all.findLast(({ problem }) => problem === null) ?? all.at(-1);
    if (newest === undefined)
      throw new EmulatorError('E_NOT_FOUND', 'there is no recording yet; make one with hindsight record IMAGE');
    return newest.path;
  }
  /** What `.hindsight/latest` names where that is a recording; it may be anybody's file. */
  #remembered(): string | null {
    try {
      const bytes = readPlainFile(join(this.#folder, 'latest'), `${FOLDER}/latest`, LATEST_BYTES_MAX);
      const [, line] = /^([^\n\0]+)\n?$/.exec(bytes?.toString('utf8') ?? '') ?? [];
      if (line === undefined) return null;
      const path = resolve(this.#cwd, line);
      return this.#look(path).problem === null ? path : null;
    } catch (error) {
      if (!(error instanceof EmulatorError)) throw error;
      return null;
    }
  }

  // ---- making -------------------------------------------------------------------------------------------------------

  /**
   * The directory for a new recording: `chosen`, a path, with .hs behind it where that is missing, which must be empty or not exist; or
   * one in the folder named after image and time, where another recorder may be quicker.
   */
  create(image: string, chosen: string | undefined, now: Date): string {
    if (chosen === undefined) return this.show(join(this.#folder, named(image, now)));
    if (['', '.', '..'].includes(basename(chosen)))
      throw new EmulatorError('E_USAGE', `-o ${chosen}: not a name for a recording`);
    const path = withSuffix(resolve(this.#cwd, chosen));
    if (isThere(path) && !isEmpty(path))
      throw new EmulatorError('E_USAGE', `-o ${chosen}: exists already; hindsight rm deletes a recording`);
    return this.show(path);
  }

  /** Remembers a recording as the latest, as soon as there is something of it; E_HOST when the host refuses. */
  made(path: string): void {
    const latest = join(this.#folder, 'latest');
    const temporary = `${latest}.${process.pid}`;
    try {
      makeDirectories(this.#folder);
      // Renamed there: a link in its place is replaced, not followed, and a FIFO not waited for.
      rmSync(temporary, { force: true });
      writeFileSync(temporary, `${resolve(this.#cwd, path)}\n`, { flag: 'wx' });
      renameSync(temporary, latest);
    } catch (error) {
      throw new EmulatorError('E_HOST', `${FOLDER}/latest cannot be written: ${codeOf(error)}`, { cause: error });
    }
  }

  /** Whether anything stands at a path. */
  isThere(path: string): boolean {
    return isThere(resolve(this.#cwd, path));
  }
  /** Bytes that a recording takes on the disk, as far as it can be looked at. */
  bytes(path: string): number {
    return sizeOnDisk(resolve(this.#cwd, path));
  }
  /** Somebody is recording there right now, as far as the host tells. */
  isRecording(path: string): boolean {
    return recorderOf(resolve(this.#cwd, path)) !== null;
  }

  // ---- deleting -----------------------------------------------------------------------------------------------------

  /** Deletes the recording at a path that {@link resolve} gave; its bytes, or the errors of `removeRecording`. */
  remove(path: string): number {
    this.#mustBeWithoutLinks(path);
    return removeRecording(resolve(this.#cwd, path), path);
  }
  /** E_USAGE where the way from the current folder leads through a link: then something else would be deleted than was named. */
  #mustBeWithoutLinks(path: string): void {
    const inside = relative(this.#cwd, resolve(this.#cwd, path));
    const steps = inside.split(sep)[0] === '..' || isAbsolute(inside) ? [] : inside.split(sep);
    for (let i = 1; i <= steps.length; i++) {
      const step = steps.slice(0, i).join(sep);
      if (lstatSync(join(this.#cwd, step)).isSymbolicLink())
        throw new EmulatorError('E_USAGE', `${step} is a symbolic link: nothing is deleted through links`);
    }
  }
}
