// What happens to a recording from outside: kill -9, flipped bytes, a full disk, things that are no recordings.
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Level } from 'level';
import { afterAll, describe, expect, it } from 'vitest';
import type { EmulatorError } from '../../src/core/errors.ts';
import { LevelStore } from '../../store/level-store.ts';
import {
  blobs,
  contents,
  entriesOf,
  HEADER,
  pagesOf,
  reopenDatabase,
  SNAPSHOT_EVERY,
  stateHashOf,
  step,
  TICKS,
} from './torture-child.ts';

const folder = mkdtempSync(join(tmpdir(), 'hindsight-torture-'));
afterAll(() => rmSync(folder, { recursive: true }));
const CHILD = join(import.meta.dirname, 'torture-child.ts');
const store = new LevelStore(folder);

/** Runs the child until it ends or `stop` says so; returns its lines and how it ended. */
function run(
  args: string[],
  onLine: (line: string, kill: () => void) => void = () => {},
  limitKib: number | null = null,
): Promise<{ lines: string[]; status: string }> {
  return new Promise((resolve) => {
    const command = [process.execPath, CHILD, ...args];
    const limited = ['sh', '-c', `ulimit -f ${(limitKib ?? 0) * 2}; exec "$@"`, 'sh', ...command];
    const [file, ...rest] = limitKib === null ? command : limited;
    const child = spawn(file!, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
    const lines: string[] = [];
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(line);
      onLine(line, () => child.kill('SIGKILL'));
    });
    child.on('close', (code, signal) => resolve({ lines, status: signal ?? String(code) }));
  });
}

/** A finished recording of `count` blocks. */
async function finished(name: string, count: number): Promise<string> {
  const recording = await store.create(name, HEADER, blobs());
  for (let sequence = 0; sequence < count; sequence++) step(recording, sequence);
  await recording.finish({
    tick: count * TICKS,
    stateHash: stateHashOf(count - 1),
    verdict: 'panic',
    message: 'over',
    place: { tick: 0, vcpu: 0, rip: 0n },
  });
  await recording.close();
  return store.path(name);
}

/** Opens a recording whose writer died: all that was flushed is there, and all that is there is right. */
async function checkPrefix(name: string, flushed: number): Promise<void> {
  const recording = await store.open(name, 1);
  expect(recording.end).toBeNull();
  expect(recording.blocks.length).toBeGreaterThanOrEqual(flushed);
  for (const { sequence, lastTick, stateHash } of recording.blocks) {
    expect([lastTick, stateHash]).toEqual([(sequence + 1) * TICKS, stateHashOf(sequence)]);
    expect(recording.block(sequence).entries).toEqual(entriesOf(sequence));
  }
  expect(recording.snapshots.length).toBeGreaterThanOrEqual(Math.ceil(flushed / SNAPSHOT_EVERY));
  for (const [number, { tick }] of recording.snapshots.entries())
    for (const page of pagesOf(number).slice(-10))
      expect(Buffer.compare(recording.snapshot(tick).page(page.slot)!, page.bytes)).toBe(0);
  await recording.verify();
  await recording.close();
}

describe('a recording under torture', () => {
  it('[X-02] kill -9 at random moments leaves a prefix with everything that was flushed', async () => {
    for (let round = 0; round < 20; round++) {
      const name = `killed-${round}`;
      let flushed = 0;
      let flushes = 0;
      const { status } = await run(['write', folder, name], (line, kill) => {
        flushed = Number(line);
        if (++flushes === 1 + ((round * 37) % 20)) kill();
      });
      expect(status).toBe('SIGKILL');
      await checkPrefix(name, flushed);
      await store.remove(name);
    }
  });

  it('[X-02] 2,000 flipped bytes: each is refused with a place named, or changes nothing', async () => {
    // Fresh from the recorder everything is in LevelDB's log; once LevelDB has opened it, in its tables.
    const logged = await finished('logged', 41);
    const tables = store.path('tables');
    cpSync(logged, tables, { recursive: true });
    await reopenDatabase(tables);
    const recording = await store.open('tables', 1);
    for (const path of [logged, tables]) writeFileSync(`${path}.contents`, await contents(recording));
    await recording.close();
    const results = new Map<string, number>();
    const bad: string[] = [];
    const flips = async (name: string, from: number, to: number): Promise<void> => {
      const { lines, status } = await run(['flip', folder, name, String(from), String(to)]);
      if (status !== '0') bad.push(`${status} after ${lines.at(-1)}`);
      for (const line of lines) {
        const outcome = /^done \d+ (.*)$/.exec(line)?.[1];
        if (outcome === undefined) continue;
        const kind = outcome.split(' ').slice(0, 2).join(' ');
        results.set(kind, (results.get(kind) ?? 0) + 1);
        const named =
          /^refused E_RECORDING .*(journal block|snapshot|page|header|kernel|end record|anchor|database)/.test(outcome);
        if (outcome !== 'same' && !named) bad.push(`${lines[lines.indexOf(line) - 1]}: ${outcome}`);
      }
    };
    await Promise.all([flips('logged', 0, 1000), flips('tables', 1000, 2000)]);
    expect(bad).toEqual([]);
    expect([...results.values()].reduce((a, b) => a + b)).toBe(2000);
    expect(results.get('refused E_RECORDING')).toBeGreaterThan(1000);
  });

  it('[X-02] a full disk is E_HOST while recording, and what reached it opens', async () => {
    const { lines } = await run(['write', folder, 'full'], () => {}, 300);
    expect(lines.at(-1)).toMatch(/^E_HOST the recording cannot be written: .*(file too large|no space left)/i);
    await checkPrefix('full', Number(lines.at(-2)));
  });

  it('[X-02] values that were exchanged, cut short or taken out are named', async () => {
    await finished('base', 12);
    const tamper = async (
      name: string,
      change: (db: Level<string, Uint8Array>) => Promise<unknown>,
    ): Promise<unknown> => {
      cpSync(store.path('base'), store.path(name), { recursive: true });
      const db = new Level<string, Uint8Array>(join(store.path(name), 'db'), {
        valueEncoding: 'view',
        compression: false,
      } as object);
      await change(db);
      await db.close();
      return store
        .open(name, 1)
        .then(async (recording) => {
          try {
            await recording.verify();
          } finally {
            await recording.close();
          }
        })
        .catch((error) => `${error.code}: ${error.message}`);
    };
    const key = (kind: string, n: number): string => `${kind}/${String(n).padStart(8, '0')}`;
    expect(await tamper('t1', (db) => db.del(key('journal', 7)))).toBe(
      'E_RECORDING: journal block 7 is missing: the anchor counts 12',
    );
    expect(await tamper('t2', (db) => db.del(key('journal', 11)))).toMatch(
      /^E_RECORDING: journal block 11 is missing: the anchor counts 12/,
    );
    expect(await tamper('t3', async (db) => db.put(key('journal', 3), (await db.get(key('journal', 4)))!))).toBe(
      'E_RECORDING: journal block 3 is damaged: its checksum is wrong',
    );
    expect(await tamper('t4', async (db) => db.put(key('pages', 0), (await db.get(key('pages', 0)))!.slice(9)))).toBe(
      'E_RECORDING: page chunk 0 is damaged: its checksum is wrong',
    );
    expect(await tamper('t5', (db) => db.del(key('snapshot', 2)))).toMatch(/^E_RECORDING: snapshot 2 is missing/);
    expect(await tamper('t6', (db) => db.del(key('sections', 1)))).toBe(
      'E_RECORDING: state sections of snapshot 1 is missing',
    );
    expect(await tamper('t7', (db) => db.del('end'))).toBe('E_RECORDING: the end record is missing');
    expect(await tamper('t8', (db) => db.del('blob/kernel/00000000'))).toBe('E_RECORDING: kernel, piece 0 is missing');
    expect(await tamper('t9', (db) => db.put('header', new Uint8Array(3)))).toMatch(
      /^E_RECORDING: the header is damaged/,
    );
  });

  it('[X-02] large values that are gone are named, and what a killed writer left behind them is passed over', async () => {
    const path = await finished('bulk', 12);
    const bulk = readFileSync(join(path, 'bulk'));
    const verified = (): Promise<string> =>
      store.open('bulk', 1).then(
        async (recording) => {
          try {
            await recording.verify();
            return 'whole';
          } catch (error) {
            return `${(error as EmulatorError).code}: ${(error as Error).message}`;
          } finally {
            await recording.close();
          }
        },
        (error) => `${error.code}: ${error.message}`,
      );
    writeFileSync(join(path, 'bulk'), bulk.subarray(0, -1));
    expect(await verified()).toMatch(/^E_RECORDING: .+ is damaged: its checksum is wrong$/);
    writeFileSync(join(path, 'bulk'), '');
    expect(await verified()).toBe('E_RECORDING: kernel, piece 0 is damaged: it is cut short');
    rmSync(join(path, 'bulk'));
    expect(await verified()).toBe('E_RECORDING: the bulk file of bulk is missing');
    writeFileSync(join(path, 'bulk'), Buffer.concat([bulk, Buffer.from('left behind')]));
    expect(await verified()).toBe('whole');
  });

  it('[X-02] a slot of the anchor that changed is named by verify; every reader goes by the other', async () => {
    const path = await finished('slots', 3);
    const anchor = readFileSync(join(path, 'anchor'));
    for (const at of [70, 130, 160]) {
      const changed = Buffer.from(anchor);
      changed[at]! ^= 0x10;
      writeFileSync(join(path, 'anchor'), changed);
      const recording = await store.open('slots', 1);
      expect(recording.blocks.length).toBeGreaterThan(0);
      await expect(recording.verify()).rejects.toMatchObject({
        code: 'E_RECORDING',
        message: 'the anchor is damaged: one of its slots cannot be read',
      });
      await recording.close();
    }
    writeFileSync(join(path, 'anchor'), anchor);
    const recording = await store.open('slots', 1);
    await recording.verify();
    await recording.close();
  });

  it('[X-02] what is no recording is refused in words', async () => {
    const why = (name: string): Promise<string> =>
      store.open(name, 1).then(
        () => 'opened',
        (error) => `${error.code}: ${error.message.replaceAll(folder, '')}`,
      );
    expect(await why('nothing')).toBe('E_NOT_FOUND: there is no recording nothing: /nothing.hs');
    writeFileSync(join(folder, 'file.hs'), 'x');
    expect(await why('file')).toBe('E_RECORDING: file is not a recording: /file.hs is no directory');
    mkdirSync(join(folder, 'empty.hs'));
    expect(await why('empty')).toBe(
      'E_RECORDING: empty is not a recording: /empty.hs is a directory without an anchor',
    );
    const foreign = new Level(join(folder, 'foreign.hs'));
    await foreign.put('a', 'b');
    await foreign.close();
    expect(await why('foreign')).toBe(
      'E_RECORDING: foreign is not a recording: /foreign.hs is a LevelDB that hindsight did not write',
    );
    await expect(store.remove('foreign')).rejects.toMatchObject({ code: 'E_RECORDING' });
    const path = await finished('other', 2);
    const anchor = readFileSync(join(path, 'anchor'), 'latin1');
    writeFileSync(join(path, 'anchor'), anchor.replace('RECORDING 5', 'RECORDING 7'), 'latin1');
    expect(await why('other')).toBe(
      'E_RECORDING: the anchor of other says format version 7; this version of hindsight reads 3 to 5',
    );
    writeFileSync(join(path, 'anchor'), anchor, 'latin1');
    expect(await why('other')).toBe('opened');
  });
});
