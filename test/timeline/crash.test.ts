/**
 * A recording that was not finished in order: killed, out of disk, damaged. What a killed one must hold is what was seen of it on the
 * disk; no clock decides. HINDSIGHT_KILLS and HINDSIGHT_FLIPS make it thorough (100 and 2,000 are what a release is checked with).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { Replayer } from '../../src/timeline/replayer.ts';
import { Run, SEMANTICS_VERSION } from '../../src/timeline/run.ts';
import { LevelStore } from '../../store/level-store.ts';
import { reopenDatabase } from '../store/torture-child.ts';
import { recordGuest, timeTravelGuest } from '../support/time-travel.ts';
import { story } from './crash-child.ts';

const KILLS = Number(process.env.HINDSIGHT_KILLS ?? 4);
const FLIPS = Number(process.env.HINDSIGHT_FLIPS ?? 60);
const ROOT = resolve(import.meta.dirname, '../..');
const IMAGE = join(ROOT, 'tools/guest-kernels/time-travel/time-travel.elf');
const folder = mkdtempSync(join(tmpdir(), 'hindsight-crash-'));
afterAll(() => rmSync(folder, { recursive: true }));
const store = new LevelStore(folder);

interface Ended {
  readonly output: string;
  readonly errors: string;
  readonly status: number | null;
}
/** `hindsight record` of the guest in a process of its own. */
class Recording {
  readonly #child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves once the guest has written something. */
  readonly begun: Promise<void>;
  output = '';

  constructor(name: string, commandLine: string, limitKib: number | null = null) {
    const args = ['record', IMAGE, '--memory', '8M', '-o', store.path(name), '--', commandLine];
    const command = limitKib === null ? 'exec "$@"' : `ulimit -f ${limitKib * 2}; exec "$@"`;
    this.#child = spawn('sh', ['-c', command, 'sh', process.execPath, join(ROOT, 'src/cli/main.ts'), ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let errors = '';
    this.#child.stderr!.on('data', (data) => {
      errors += data;
    });
    this.begun = new Promise((done) => {
      this.#child.stdout!.on('data', (data) => {
        this.output += data;
        done();
      });
    });
    this.ended = new Promise((done) => {
      this.#child.on('close', (status) => done({ output: this.output, errors, status }));
    });
  }
  kill(): Promise<Ended> {
    this.#child.kill('SIGKILL');
    return this.ended;
  }
}
/** Resolves once so many blocks of a recording that is being made are on the disk. */
async function blocksOnDisk(name: string, blocks: number): Promise<void> {
  for (;;) {
    const recording = await store.open(name, SEMANTICS_VERSION);
    const { length } = recording.blocks;
    await recording.close();
    if (length >= blocks) return;
    await sleep(5);
  }
}
/** Replays what there is of a recording: verified to its end, and the console up to there. */
async function replayed(name: string): Promise<{ blocks: number; text: string }> {
  const recording = await store.open(name, SEMANTICS_VERSION);
  try {
    expect(recording.end).toBeNull();
    const run = new Run(timeTravelGuest(recording.header.commandLine));
    const outcome = await new Replayer(run, recording).replay({ breathe: async () => {}, progress: () => {} });
    expect(outcome.verified).toBe(true);
    return { blocks: recording.blocks.length, text: run.console.textAt(run.tick) };
  } finally {
    await recording.close();
  }
}

describe('a recording cut short', () => {
  const moments = Array.from({ length: KILLS }, (_, i) => ({
    i,
    blocks: i % 5,
    work: [300, 3_000, 30_000][i % 3]!,
  }));

  it.each(moments)(
    'by kill -9 replays with every block seen on the disk ($i: $blocks)',
    async ({ i, blocks, work }) => {
      const name = `killed-${i}`;
      const recording = new Recording(name, `rounds=100000000 work=${work}`);
      await recording.begun;
      await blocksOnDisk(name, blocks);
      const { output } = await recording.kill();
      const after = await replayed(name);
      expect(after.blocks).toBeGreaterThanOrEqual(blocks);
      expect(output.startsWith(after.text) || after.text.startsWith(output)).toBe(true);
      await store.remove(name);
    },
  );

  it('by kill -9 replays with what the guest had written before a block that came to the disk', async () => {
    const recording = new Recording('going', 'rounds=100000000 work=3000');
    await recording.begun;
    const told = recording.output;
    let seen = { blocks: 0, text: '' };
    // how many blocks were on their way when that was told, only the host knows
    while (!seen.text.startsWith(told)) {
      await blocksOnDisk('going', seen.blocks + 1);
      seen = await replayed('going');
    }
    await recording.kill();
    const { blocks, text } = await replayed('going');
    expect(blocks).toBeGreaterThanOrEqual(seen.blocks);
    expect(text.startsWith(seen.text)).toBe(true);
    await store.remove('going');
  });

  it('by a full disk ends with E_HOST and status 5, and replays', async () => {
    const { ended: end } = new Recording('full', 'rounds=100000000 work=30', 20);
    const ended = await end;
    expect([ended.status, ended.errors]).toEqual([5, expect.stringMatching(/E_HOST: the recording cannot be written/)]);
    expect((await replayed('full')).blocks).toBeGreaterThan(0);
  });
});

describe('a damaged recording', () => {
  it(`is refused with a place named, or the flip is without effect: ${FLIPS} flips`, async () => {
    const made = await recordGuest(timeTravelGuest('rounds=4 work=300'), {
      store,
      name: 'whole',
      strideTicks: 10_007,
      flushTicks: 20_000,
      snapshotTicks: 40_000,
    });
    await made.recording.close();
    // Once LevelDB has opened it, everything has moved from its log into a table.
    await reopenDatabase(store.path('whole'));
    const recording = await store.open('whole', SEMANTICS_VERSION);
    writeFileSync(`${store.path('whole')}.story`, await story(recording));
    await recording.close();
    const half = Math.ceil(FLIPS / 2);
    const lines = (await Promise.all([flips(0, half), flips(half, FLIPS)])).flat();
    const done = lines.filter((line) => line.startsWith('done'));
    const named = /^done \d+ refused E_RECORDING .*(journal|snapshot|page|header|kernel|end record|anchor|database)/;
    expect(done.filter((line) => !named.test(line) && !line.endsWith(' same'))).toEqual([]);
    expect(done.length).toBe(FLIPS);
    expect(done.filter((line) => named.test(line)).length).toBeGreaterThan(FLIPS / 4);
  });

  function flips(from: number, to: number): Promise<string[]> {
    const args = [join(import.meta.dirname, 'crash-child.ts'), 'flip', folder, 'whole', String(from), String(to)];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.on('data', (data) => {
      output += data;
    });
    return new Promise((done) => {
      child.on('close', () => done(output.trim().split('\n')));
    });
  }
});
