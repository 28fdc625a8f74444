/**
 * The backend of the verbs: recordings on disk, machines in this process. Everything that the other layers only describe
 * meets here. What a verb does not need is not loaded for it: recording takes no disassembler, and no store without one.
 */
import { EmulatorError } from '../core/errors.ts';
import { SEMANTICS_VERSION } from '../timeline/run.ts';
import type { Recording } from '../timeline/trace-store.ts';
import type { Backend, VerifyResult, WorkHooks } from './backend.ts';
import { storeOf } from './local/common.ts';

async function verify(path: string, hooks: WorkHooks): Promise<VerifyResult> {
  const { store, name } = await storeOf(path);
  const findings: Array<{ place: string; problem: string }> = [];
  let recording: Recording | null = null;
  try {
    recording = await store.open(name, SEMANTICS_VERSION);
    await recording.verify((done, total) => hooks.progress(done, total));
  } catch (error) {
    // What the host refuses, or another version recorded, may be whole.
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
    const { store, name } = await storeOf(path);
    return new Opened(path, await store.open(name, SEMANTICS_VERSION));
  },
  async info(path) {
    const { store, name } = await storeOf(path);
    const recording = await store.open(name, SEMANTICS_VERSION);
    const { infoOf } = await import('./local/opened.ts');
    const info = infoOf(path, recording, 0);
    await recording.close();
    return info;
  },
  verify,
};
