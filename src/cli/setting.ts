/** What every verb gets: the terminal, the recordings, the emulator behind its interface, and Ctrl-C. */
import type { Command } from 'commander';
import type { Backend, OpenRecording, WorkHooks } from './backend.ts';
import type { Interrupt } from './interrupt.ts';
import type { Recordings } from './recordings.ts';
import type { Terminal } from './terminal.ts';

export interface Setting {
  readonly terminal: Terminal;
  readonly recordings: Recordings;
  readonly interrupt: Interrupt;
  /** Loads the emulator; help and usage errors never do. */
  readonly backend: () => Promise<Backend>;
  readonly now: () => Date;
}

/** A verb's work; the result is the exit status. */
export type Action = (setting: Setting) => Promise<number>;
/** Runs an action with a fresh setting. */
export type Start = (json: boolean, action: Action) => Promise<void>;
/** Adds a verb to the program. */
export type AddVerb = (program: Command, start: Start) => void;

/** Options every verb has. */
export interface CommonOptions {
  readonly json?: true;
}

/** Opens a recording, does some work on it with a progress bar, and closes it whatever happens. */
export async function onRecording<T>(
  setting: Setting,
  name: string | undefined,
  label: string,
  work: (recording: OpenRecording, hooks: WorkHooks) => Promise<T>,
): Promise<T> {
  const { terminal, recordings, interrupt } = setting;
  const path = recordings.resolve(name);
  const backend = await setting.backend();
  const recording = await backend.open(path);
  try {
    return await terminal.working(label, (progress) => work(recording, { progress, stop: interrupt.signal }));
  } finally {
    await recording.close();
  }
}

export const JSON_OPTION = ['--json', 'print exactly one JSON value on stdout, everything else on stderr'] as const;
export const RECORDING_ARGUMENT = [
  '[recording]',
  'path or name of a recording; the latest when none is named',
] as const;
