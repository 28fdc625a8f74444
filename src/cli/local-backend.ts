/**
 * The backend of the verbs: recordings on disk, machines in this process. Everything that the other layers only describe
 * meets here.
 */
import { EmulatorError } from '../core/errors.ts';
import { SEMANTICS_VERSION } from '../timeline/run.ts';
import type { Recording } from '../timeline/trace-store.ts';
import type { Backend, VerifyResult, WorkHooks } from './backend.ts';
import { storeOf } from './local/common.ts';
import { infoOf, Opened } from './local/opened.ts';
import { record } from './local/record.ts';

async function verify(path: string, hooks: WorkHooks): Promise<VerifyResult> {
  const { store, name } = storeOf(path);
  const findings: Array<{ place: string; problem: string }> = [];
  let recording: Recording | null = null;
  try {
    recording = await store.open(name, SEMANTICS_VERSION);
    await recording.verify((done, total) => hooks.progress(done, total));
  } catch (error) {
    if (!(error instanceof EmulatorError) || error.code === 'E_NOT_FOUND') throw error;
    findings.push({ place: error.code, problem: error.message });
  }
  const result: VerifyResult = {
    recording: path,
    ok: findings.length === 0,
    ticks: recording?.blocks.at(-1)?.lastTick ?? 0,
    journalBlocks: recording?.blocks.length ?? 0,
    snapshots: recording?.snapshots.length ?? 0,
    pages: recording?.snapshots.reduce((sum, s) => sum + s.dirtySlots.length, 0) ?? 0,
    findings,
  };
  await recording?.close();
  return result;
}

/** The backend that does the work. */
export const LOCAL_BACKEND: Backend = {
  record,
  async open(path) {
    const { store, name } = storeOf(path);
    return new Opened(path, await store.open(name, SEMANTICS_VERSION));
  },
  async info(path) {
    const { store, name } = storeOf(path);
    const recording = await store.open(name, SEMANTICS_VERSION);
    const info = infoOf(path, recording, 0);
    await recording.close();
    return info;
  },
  verify,
};
