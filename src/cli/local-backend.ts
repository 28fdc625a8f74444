/**
 * The backend of the verbs: recordings on disk, machines in this process. Everything that the other layers only describe
 * meets here. What a verb does not need is not loaded for it: recording takes no disassembler, and no store without one.
 */
import { basename, resolve } from 'node:path';
import { EmulatorError } from '../core/errors.ts';
import { SEMANTICS_VERSION } from '../timeline/run.ts';
import type { Recording } from '../timeline/trace-store.ts';
import type { Backend, VerifyResult, WorkHooks } from './backend.ts';

/** The recording in a directory, whatever that is called, of any version where it is not run; E_RECORDING, E_SEMANTICS, E_HOST. */
async function openRecording(path: string, semantics: number | null = SEMANTICS_VERSION): Promise<Recording> {
  const { RecordingReader } = await import('../../store/recording-reader.ts');
  return RecordingReader.open(resolve(path), basename(path), semantics);
}

async function verify(path: string, hooks: WorkHooks): Promise<VerifyResult> {
  const findings: Array<{ place: string; problem: string }> = [];
  let recording: Recording | null = null;
  try {
    recording = await openRecording(path, null);
    await recording.verify((done, total) => hooks.progress(done, total));
  } catch (error) {
    // What the host refuses may be whole.
    if (!(error instanceof EmulatorError) || error.code !== 'E_RECORDING') throw error;
    findings.push({ place: error.code, problem: error.message });
  }
  const result: VerifyResult = {
    recording: path,
    ok: findings.length === 0,
    ticks: recording?.blocks.at(-1)?.lastTick ?? 0,
    journalBlocks: recording?.blocks.length ?? 0,
    snapshots: recording?.snapshots.length ?? 0,
    pages: recording?.snapshots.flatMap((x) => x.dirty).reduce((sum, { length }) => sum + length, 0) ?? 0,
    findings,
  };
  await recording?.close();
  return result;
}

/** The backend that does the work. */
export const LOCAL_BACKEND: Backend = {
  record: async (config, hooks) => (await import('./local/record.ts')).record(config, hooks),
  async open(path) {
    const { Opened } = await import('./local/opened.ts');
    return new Opened(path, await openRecording(path));
  },
  async info(path) {
    const recording = await openRecording(path, null);
    const { infoOf } = await import('./local/opened.ts');
    const info = infoOf(path, recording);
    await recording.close();
    return info;
  },
  verify,
};
