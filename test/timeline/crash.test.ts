/**
 * A recording that was not finished in order: killed, out of disk, damaged. HINDSIGHT_KILLS and HINDSIGHT_FLIPS make it thorough
 * (100 and 2,000 are what a release is checked with).
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Replayer } from '../../src/timeline/replayer.ts';
import { Run, SEMANTICS_VERSION } from '../../src/timeline/run.ts';
import { LevelStore } from '../../store/level-store.ts';
import { reopenDatabase } from '../store/torture-child.ts';
import { pseudoRandom, recordGuest, timeTravelGuest } from '../support/time-travel.ts';
import { story } from './crash-child.ts';

const KILLS = Number(process.env.HINDSIGHT_KILLS ?? 4);
const FLIPS = Number(process.env.HINDSIGHT_FLIPS ?? 60);
/** What a killed recorder loses at most, in CPU ms of its own: a block is closed every 0.8 s. */
const LOSS_MS = 2_000;
const ROOT = resolve(import.meta.dirname, '../..');
const IMAGE = join(ROOT, 'tools/guest-kernels/time-travel/time-travel.elf');
const folder = mkdtempSync(join(tmpdir(), 'hindsight-crash-'));
afterAll(() => rmSync(folder, { recursive: true }));
const store = new LevelStore(folder);

interface Ended {
  /** What came on standard output, with the CPU ms that the process had taken by then. */
  readonly output: ReadonlyArray<{ readonly at: number; readonly text: string }>;
  readonly errors: string;
  readonly status: number | null;
  /** The CPU ms that it had taken when it was killed. */
  readonly killedAt: number;
}

/** CPU ms that the main thread of a process has taken, in steps of 10 (proc(5): utime and stime, in 1/100 s); null when it is gone. */
function cpuMs(pid: number): number | null {
  try {
    const fields = readFileSync(`/proc/${pid}/task/${pid}/stat`, 'latin1').split(') ')[1]!.split(' ');
    return 10 * (Number(fields[11]) + Number(fields[12]));
  } catch {
    return null;
  }
}

/** `hindsight record` of the guest in a process of its own, killed when it has taken `killMs` of CPU since its first output. */
function record(
  name: string,
  commandLine: string,
  killMs: number | null,
  limitKib: number | null = null,
): Promise<Ended> {
  const args = [
    join(ROOT, 'src/cli/main.ts'),
    'record',
    IMAGE,
    '--memory',
    '8M',
    '-o',
    store.path(name),
    '--',
    commandLine,
  ];
  const command = limitKib === null ? 'exec "$@"' : `ulimit -f ${limitKib * 2}; exec "$@"`;
  const child = spawn('sh', ['-c', command, 'sh', process.execPath, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const output: Array<{ at: number; text: string }> = [];
  let errors = '';
  let killedAt = 0;
  const watch = setInterval(() => {
    const now = cpuMs(child.pid!);
    if (killMs === null || output.length === 0 || now === null || now - output[0]!.at < killMs) return;
    killedAt = now;
    child.kill('SIGKILL');
  }, 5);
  child.stderr.on('data', (data) => {
    errors += data;
  });
  child.stdout.on('data', (data) => {
    output.push({ at: cpuMs(child.pid!) ?? Number.POSITIVE_INFINITY, text: String(data) });
  });
  return new Promise((done) => {
    child.on('close', (status) => {
      clearInterval(watch);
      done({ output, errors, status, killedAt });
    });
  });
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
  const random = pseudoRandom(7);
  const moments = Array.from({ length: KILLS }, (_, i) => ({
    i,
    killMs: i % 2 === 0 ? random(1_500) : LOSS_MS + random(1_500),
    work: [300, 3_000, 30_000][i % 3]!,
  }));

  it.each(moments)('by kill -9 replays up to shortly before it ($i: $killMs ms)', async ({ i, killMs, work }) => {
    const name = `killed-${i}`;
    const ended = await record(name, `rounds=100000000 work=${work}`, killMs);
    const { text } = await replayed(name);
    const told = ended.output.filter(({ at }) => at < ended.killedAt - LOSS_MS).map((piece) => piece.text);
    expect(text.startsWith(told.join(''))).toBe(true);
    const all = ended.output.map((piece) => piece.text).join('');
    expect(all.startsWith(text) || text.startsWith(all)).toBe(true);
    await store.remove(name);
  });

  it('by a full disk ends with E_HOST and status 5, and replays', async () => {
    const ended = await record('full', 'rounds=100000000 work=30', null, 20);
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
