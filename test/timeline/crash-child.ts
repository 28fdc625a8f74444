/**
 * Child of the crash test, which LevelDB may take down: `flip FOLDER NAME FROM TO` flips one byte after another in copies of a
 * recording, opens, replays and visits what is left of them, and prints what came of each.
 */
import { createHash } from 'node:crypto';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EmulatorError } from '../../src/core/errors.ts';
import { Replayer } from '../../src/timeline/replayer.ts';
import { Run, SEMANTICS_VERSION } from '../../src/timeline/run.ts';
import { Session } from '../../src/timeline/session.ts';
import type { Recording } from '../../src/timeline/trace-store.ts';
import { LevelStore } from '../../store/level-store.ts';
import { files } from '../store/torture-child.ts';
import { timeTravelGuest } from '../support/time-travel.ts';

/** Replays a recording and visits its snapshots; the final hash, with what else there is to tell. */
export async function story(recording: Recording): Promise<string> {
  const config = { ...timeTravelGuest(recording.header.commandLine), images: { kernel: recording.blob('kernel')! } };
  const replay = new Replayer(new Run(config), recording).replay({ breathe: async () => {}, progress: () => {} });
  const { verified, stateHash, tick } = await replay;
  const session = new Session(new Run(config), recording);
  const visits: boolean[] = [];
  for (const snapshot of recording.snapshots) {
    await session.goto(snapshot.tick);
    visits.push(session.run.stateHash() === snapshot.stateHash);
  }
  await recording.verify();
  return JSON.stringify({ verified, hash: stateHash.toString(16), tick, visits, end: recording.end?.verdict });
}

async function outcome(store: LevelStore, name: string, expected: string): Promise<string> {
  let recording: Recording | null = null;
  try {
    recording = await store.open(name, SEMANTICS_VERSION);
    const told = await story(recording);
    return told === expected ? 'same' : `DIFFERENT ${told}`;
  } catch (error) {
    return error instanceof EmulatorError ? `refused ${error.code} ${error.message}` : `CRASHED ${error}`;
  } finally {
    await recording?.close();
  }
}

async function flip(folder: string, name: string, from: number, to: number): Promise<void> {
  const store = new LevelStore(folder);
  const original = store.path(name);
  const copy = `copy-${from}`;
  const list = files(original).filter((entry) => entry.size > 0);
  const expected = readFileSync(`${original}.story`, 'utf8');
  for (let n = from; n < to; n++) {
    const random = createHash('sha256').update(`flip ${n}`).digest();
    const { file, size } = list[n % list.length]!;
    rmSync(store.path(copy), { recursive: true, force: true });
    cpSync(original, store.path(copy), { recursive: true });
    const target = join(store.path(copy), file);
    const data = readFileSync(target);
    const at = random.readUInt32LE(0) % size;
    data[at]! ^= 1 << (random[4]! % 8);
    writeFileSync(target, data);
    process.stdout.write(`start ${n} ${file} ${at}\n`);
    process.stdout.write(`done ${n} ${await outcome(store, copy, expected)}\n`);
  }
  rmSync(store.path(copy), { recursive: true, force: true });
}

const [command, folder, name, from, to] = process.argv.slice(2);
if (import.meta.filename === process.argv[1] && command === 'flip')
  await flip(folder!, name!, Number(from), Number(to));
