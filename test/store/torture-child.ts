/**
 * Children of the torture test, which may be killed or crash: `write FOLDER NAME` records without end and prints what is on
 * disk, or why it cannot go on; `flip FOLDER NAME FROM TO` flips one byte after another in copies of a recording and prints what came of each;
 * `read FOLDER NAME SEMANTICS` reads all of a recording and prints `whole`, or why it cannot.
 */
import { createHash } from 'node:crypto';
import { cpSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Level } from 'level';
import { EmulatorError } from '../../src/core/errors.ts';
import type {
  JournalEntry,
  NewRecording,
  Recording,
  RecordingHeader,
  SnapshotPage,
} from '../../src/timeline/trace-store.ts';
import { LevelStore } from '../../store/level-store.ts';

export const HEADER: RecordingHeader = {
  semanticsVersion: 1,
  toolVersion: 'test',
  createdMs: 5,
  memoryBytes: 8 << 20,
  vcpus: 1,
  cpuPolicy: 'x86-64-v1',
  nsPerTick: 1,
  tscKhz: 1_000_000,
  commandLine: 'quiet',
  seed: 0n,
  epochSeconds: 0,
  settings: {},
};
export const TICKS = 1_000_000;
export const SNAPSHOT_EVERY = 4;

/** Entries of block `sequence`: a function of it alone. */
export function entriesOf(sequence: number): JournalEntry[] {
  return Array.from({ length: 50 }, (_, i): JournalEntry => {
    const tick = sequence * TICKS + i * 1000 + ((sequence * 7919 + i * 104729) % 997);
    if (i % 10 === 3) return { tick, kind: 'input', device: 'console', data: Uint8Array.of(sequence & 255, i) };
    return i % 2 === 0
      ? { tick, kind: 'timer', detail: 'singleshot:0' }
      : { tick, kind: 'idle', detail: String(tick * 3) };
  });
}
export const stateHashOf = (sequence: number): bigint => BigInt(sequence) * 0x1234_5678_9abc_def0_1234_5678n;

/** Pages that change in the stretch before snapshot `number`. */
export function pagesOf(number: number): SnapshotPage[] {
  return Array.from({ length: 40 }, (_, i) => {
    const bytes = new Uint8Array(4096);
    const stem = createHash('sha512').update(`${number} ${i}`).digest();
    for (let at = 0; at < 4096; at += 256) bytes.set(stem, at);
    return { slot: (number * 13 + i * 5) % 256, hash: createHash('md5').update(bytes).digest(), bytes };
  }).sort((a, b) => a.slot - b.slot);
}
export const blobs = (): Map<string, Uint8Array> =>
  new Map([['kernel', Uint8Array.from({ length: 50_000 }, (_, i) => (i * i) >>> 5)]]);

/** Adds block `sequence`, and a snapshot where one is due. */
export function step(recording: NewRecording, sequence: number): void {
  for (const entry of entriesOf(sequence)) recording.append(entry);
  recording.digest(sequence * TICKS + 5, BigInt(sequence));
  recording.endBlock((sequence + 1) * TICKS, stateHashOf(sequence));
  if (sequence % SNAPSHOT_EVERY !== 0) return;
  const number = sequence / SNAPSHOT_EVERY;
  recording.putSnapshot({
    tick: (sequence + 1) * TICKS,
    base: number === 0 ? null : (sequence + 1 - SNAPSHOT_EVERY) * TICKS,
    stateHash: stateHashOf(sequence),
    sections: new Map([['loop', new Uint8Array(300).fill(number)]]),
    pages: pagesOf(number),
  });
}

/** Has LevelDB open a recording's database: what was in its log is in a table then. */
export async function reopenDatabase(path: string): Promise<void> {
  const database = new Level(join(path, 'db'), { compression: false } as object);
  await database.open();
  await database.close();
}

/** Everything a recording says, as one digest. */
export async function contents(recording: Recording): Promise<string> {
  const all = createHash('sha256');
  const add = (value: unknown): void => {
    all.update(JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? `${v}n` : v)));
  };
  add([recording.header, recording.end, recording.blocks, recording.snapshots]);
  all.update(recording.blob('kernel')!);
  for (const { sequence } of recording.blocks) {
    const block = recording.block(sequence);
    add(block.digests);
    for (const entry of block.entries) add(entry.kind === 'input' ? [entry.tick, ...entry.data] : entry);
  }
  for (const { tick } of recording.snapshots) {
    const snapshot = recording.snapshot(tick);
    for (const bytes of snapshot.sections.values()) all.update(bytes);
    for (const slot of snapshot.slots()) {
      all.update(snapshot.page(slot)!);
      all.update(snapshot.pageHash(slot)!);
    }
  }
  await recording.verify();
  return all.digest('hex');
}

async function write(folder: string, name: string): Promise<void> {
  const recording = await new LevelStore(folder).create(name, HEADER, blobs());
  try {
    for (let sequence = 0; ; sequence++) {
      step(recording, sequence);
      if (sequence % 3 === 0) {
        await recording.flush();
        process.stdout.write(`${sequence + 1}\n`);
      } else await recording.drained();
    }
  } catch (error) {
    process.stdout.write(error instanceof EmulatorError ? `${error.code} ${error.message}\n` : `CRASHED ${error}\n`);
  }
}

/** All files of a recording but LevelDB's LOG and LOCK, with their sizes. */
export function files(path: string, below = ''): Array<{ file: string; size: number }> {
  return readdirSync(join(path, below), { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const file = join(below, entry.name);
      if (entry.isDirectory()) return files(path, file);
      return /^LO(G|CK)/.test(entry.name) ? [] : [{ file, size: statSync(join(path, file)).size }];
    });
}

async function flip(folder: string, name: string, from: number, to: number): Promise<void> {
  const store = new LevelStore(folder);
  const original = store.path(name);
  const copyName = `copy-${from}`;
  const list = files(original);
  const total = list.reduce((sum, entry) => sum + entry.size, 0);
  const expected = readFileSync(`${original}.contents`, 'utf8');
  for (let n = from; n < to; n++) {
    const random = createHash('sha256').update(`flip ${n}`).digest();
    // Every third flip goes into the small files, which a byte drawn from all would hardly ever hit.
    const small = list.filter((entry) => entry.size < 10_000);
    const pool = n % 3 === 0 && small.length > 0 ? small : list;
    const bytes = n % 3 === 0 ? pool.reduce((sum, entry) => sum + entry.size, 0) : total;
    let at = random.readUInt32LE(0) % bytes;
    let which = 0;
    for (; at >= pool[which]!.size; which++) at -= pool[which]!.size;
    const { file } = pool[which]!;
    rmSync(store.path(copyName), { recursive: true, force: true });
    cpSync(original, store.path(copyName), { recursive: true });
    const target = join(store.path(copyName), file);
    const data = readFileSync(target);
    data[at]! ^= 1 << (random[4]! % 8);
    if (random[5]! % 2 === 0) data[at] = random[6]!;
    writeFileSync(target, data);
    process.stdout.write(`start ${n} ${file} ${at}\n`);
    process.stdout.write(`done ${n} ${await judge(store, copyName, expected)}\n`);
  }
  rmSync(store.path(copyName), { recursive: true, force: true });
}

/** `same`, or the refusal; `DIFFERENT` must never come. */
async function judge(store: LevelStore, name: string, expected: string): Promise<string> {
  let recording: Recording | null = null;
  try {
    recording = await store.open(name, 1);
    return (await contents(recording)) === expected ? 'same' : 'DIFFERENT';
  } catch (error) {
    return error instanceof EmulatorError ? `refused ${error.code} ${error.message}` : `CRASHED ${error}`;
  } finally {
    await recording?.close();
  }
}

async function read(folder: string, name: string, semanticsVersion: number): Promise<void> {
  try {
    const recording = await new LevelStore(folder).open(name, semanticsVersion);
    await recording.verify();
    process.stdout.write('whole\n');
  } catch (error) {
    process.stdout.write(error instanceof EmulatorError ? `${error.code}: ${error.message}\n` : `CRASHED ${error}\n`);
  }
}

const [command, folder, name, from, to] = process.argv.slice(2);
if (import.meta.filename === process.argv[1]) {
  if (command === 'write') await write(folder!, name!);
  else if (command === 'read') await read(folder!, name!, Number(from));
  else await flip(folder!, name!, Number(from), Number(to));
}
