/**
 * Recordings in a folder of the file system, one directory NAME.hs each.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { EmulatorError } from '../src/core/errors.ts';
import type {
  NewRecording,
  Recording,
  RecordingHeader,
  RecordingSummary,
  TraceStore,
} from '../src/timeline/trace-store.ts';
import { checkDirectory } from './directory.ts';
import { removeRecording, sizeOnDisk } from './recording-files.ts';
import { RecordingReader } from './recording-reader.ts';

const SUFFIX = '.hs';

export class LevelStore implements TraceStore {
  readonly folder: string;
  constructor(folder: string) {
    this.folder = folder;
  }

  /** Directory of a recording; the suffix may be given or left out. */
  path(name: string): string {
    const base = name.endsWith(SUFFIX) ? name.slice(0, -SUFFIX.length) : name;
    if (!/^[\w][\w.+-]*$/.test(base)) throw new EmulatorError('E_USAGE', `not a name for a recording: ${name}`);
    return join(this.folder, `${base}${SUFFIX}`);
  }
  #names(): string[] {
    try {
      return readdirSync(this.folder, { withFileTypes: true })
        .filter((entry) => entry.isDirectory() && entry.name.endsWith(SUFFIX))
        .map((entry) => entry.name.slice(0, -SUFFIX.length))
        .sort();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw new EmulatorError('E_HOST', `${this.folder} cannot be read: ${(error as Error).message}`);
    }
  }

  async create(
    names: string | readonly string[],
    header: RecordingHeader,
    blobs: ReadonlyMap<string, Uint8Array>,
    stop?: AbortSignal,
  ): Promise<NewRecording> {
    const paths = [names].flat().map((name) => this.path(name));
    // Reading does without LevelDB.
    const { RecordingWriter } = await import('./recording-writer.ts');
    return RecordingWriter.create(paths, header, blobs, stop);
  }
  open(name: string, semanticsVersion: number): Promise<Recording> {
    return RecordingReader.open(this.path(name), name, semanticsVersion);
  }

  async list(): Promise<RecordingSummary[]> {
    const out: RecordingSummary[] = [];
    for (const name of this.#names()) out.push(await this.#summary(name));
    return out.sort((a, b) => a.createdMs - b.createdMs || (a.name < b.name ? -1 : 1));
  }
  async #summary(name: string): Promise<RecordingSummary> {
    const path = this.path(name);
    const nothing = { name, createdMs: 0, header: null, end: null, lastTick: 0, snapshots: 0, bytes: sizeOnDisk(path) };
    let createdMs = 0;
    try {
      createdMs = checkDirectory(path, name).createdMs;
      const recording = await RecordingReader.open(path, name, null);
      const { header, end, blocks, snapshots } = recording;
      await recording.close();
      const lastTick = blocks.at(-1)?.lastTick ?? 0;
      return { ...nothing, createdMs, header, end, lastTick, snapshots: snapshots.length, problem: null };
    } catch (error) {
      if (!(error instanceof EmulatorError)) throw error;
      return { ...nothing, createdMs, problem: `${error.code}: ${error.message}` };
    }
  }
  async latest(): Promise<string | null> {
    let best: { name: string; createdMs: number } | null = null;
    for (const name of this.#names()) {
      try {
        const { createdMs } = checkDirectory(this.path(name), name);
        if (best === null || createdMs >= best.createdMs) best = { name, createdMs };
      } catch (error) {
        // What cannot be read is not the latest recording; `list` says why.
        if (!(error instanceof EmulatorError)) throw error;
      }
    }
    return best?.name ?? null;
  }
  async remove(name: string): Promise<void> {
    removeRecording(this.path(name), name);
  }
}
