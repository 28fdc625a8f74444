/**
 * Where recordings live: `./.hindsight/NAME.hs` unless `-o` says otherwise. `.hindsight/latest` names the one made last,
 * wherever it lies; without it the newest in the folder is the latest.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join, relative, resolve } from 'node:path';
import { EmulatorError } from '../core/errors.ts';

const FOLDER = '.hindsight';
const SUFFIX = '.hs';

export class Recordings {
  readonly #cwd: string;
  readonly #folder: string;

  constructor(cwd: string) {
    this.#cwd = cwd;
    this.#folder = join(cwd, FOLDER);
  }

  /** Paths of the recordings in the folder, oldest first. */
  list(): string[] {
    if (!existsSync(this.#folder)) return [];
    return readdirSync(this.#folder)
      .filter((name) => name.endsWith(SUFFIX))
      .map((name) => ({ path: join(this.#folder, name), time: statSync(join(this.#folder, name)).mtimeMs }))
      .toSorted((a, b) => a.time - b.time || (a.path < b.path ? -1 : 1))
      .map(({ path }) => this.show(path));
  }

  /** A path as messages show it: relative where that is shorter. */
  show(path: string): string {
    const short = relative(this.#cwd, path);
    return short !== '' && short.length < path.length ? short : path;
  }

  /** The recording a user named by path, or by its name in the folder; the latest when none is named. */
  resolve(name: string | undefined): string {
    if (name === undefined) return this.#latest();
    const places = [this.#cwd, this.#folder].flatMap((from) => [
      resolve(from, name),
      resolve(from, `${name}${SUFFIX}`),
    ]);
    const found = places.find((path) => existsSync(path));
    if (found === undefined)
      throw new EmulatorError('E_NOT_FOUND', `there is no recording ${name}; hindsight ls shows those there are`);
    return this.show(found);
  }

  #latest(): string {
    const pointer = join(this.#folder, 'latest');
    const named = existsSync(pointer) ? resolve(this.#cwd, readFileSync(pointer, 'utf8').trim()) : null;
    if (named !== null && existsSync(named)) return this.show(named);
    const newest = this.list().at(-1);
    if (newest === undefined)
      throw new EmulatorError('E_NOT_FOUND', 'there is no recording yet; make one with hindsight record IMAGE');
    return newest;
  }

  /**
   * The directory for a new recording: `chosen`, with .hs behind it where that is missing, which must be empty or not exist, or one named
   * after image and time.
   */
  create(image: string, chosen: string | undefined, now: Date): string {
    if (chosen === undefined) return this.#unused(image, now);
    const named = resolve(this.#cwd, chosen);
    const path = named.endsWith(SUFFIX) ? named : `${named}${SUFFIX}`;
    if (existsSync(path) && (!statSync(path).isDirectory() || readdirSync(path).length > 0))
      throw new EmulatorError('E_USAGE', `-o ${chosen}: exists already; hindsight rm deletes a recording`);
    return this.show(path);
  }

  #unused(image: string, now: Date): string {
    const stem = basename(image).replace(/\.(elf|gz|bin|img)$/, '') || 'guest';
    const time = now.toISOString().slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '-');
    const paths = [`${stem}-${time}`, ...Array.from({ length: 1000 }, (_, i) => `${stem}-${time}-${i + 2}`)];
    const free = paths.map((name) => join(this.#folder, `${name}${SUFFIX}`)).find((path) => !existsSync(path));
    return this.show(free!);
  }

  /** Remembers a recording as the latest, as soon as there is something of it; E_HOST when the host refuses. */
  made(path: string): void {
    try {
      mkdirSync(this.#folder, { recursive: true });
      writeFileSync(join(this.#folder, 'latest'), `${resolve(this.#cwd, path)}\n`);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      throw new EmulatorError('E_HOST', `${FOLDER}/latest cannot be written: ${code}`, { cause: error });
    }
  }

  /** Deletes a recording's directory. The caller has made sure that it is one. */
  remove(path: string): void {
    rmSync(resolve(this.#cwd, path), { recursive: true });
  }
}
