/**
 * What recording costs: CPU seconds (user and system, of the whole process tree) of `hindsight record` against `record
 * --no-store`, in pairs. Needs `npm run guests`. Without machine code of earlier runs, so that all runs do the same work.
 *
 *   node tools/run.mjs bench/overhead [PAIRS] [--together]        9 by default, one run after the other
 *
 * `--together` runs both of a pair at once. They share the host's ups and downs, so that pairs differ by 2 % instead of 10, but
 * also its caches and cores: a figure to compare states of the code by, not the one that a user sees.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import '../prepare-handlers.ts'; // as an installation does
import { commandLine, countOf } from '../command-line.ts';

const ROOT = resolve(import.meta.dirname, '../..');
/** The command as npm installs it. */
const HINDSIGHT = join(ROOT, 'tools/hindsight.sh');
const GUEST = join(ROOT, '.cache/guests/debian');
const { values, positionals } = commandLine({ options: { together: { type: 'boolean' } }, allowPositionals: true });
const PAIRS = countOf(positionals[0] ?? '9', 'PAIRS', 1);
/** The shell tells the CPU time of its children when they have ended. */
const TIMED = '"$@" > /dev/null && times';

/** CPU seconds of one recording. */
async function record(...options: string[]): Promise<number> {
  const image = [join(GUEST, 'vmlinux'), '--initrd', join(GUEST, 'initrd.gz'), '--memory', '256M', '--json'];
  const run = ['record', ...image, ...options, '--', 'console=hvc0'];
  const child = spawn('sh', ['-c', TIMED, 'sh', HINDSIGHT, ...run], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, HINDSIGHT_CODE_CACHE: '' },
  });
  let [told, errors] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (told += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const status = await new Promise((done) => child.on('close', done));
  if (status !== 0) throw new Error(`record ended with ${status}: ${errors}`);
  const children = told.trim().split('\n').at(-1)!;
  return [...children.matchAll(/(\d+)m([\d.]+)s/g)].reduce((sum, [, m, s]) => sum + Number(m) * 60 + Number(s), 0);
}
const median = (of: readonly number[]): number => of.toSorted((a, b) => a - b)[Math.floor(of.length / 2)] ?? Number.NaN;

const folder = mkdtempSync(join(tmpdir(), 'overhead-'));
const ratios: number[] = [];
try {
  for (let i = 0; i < PAIRS; i++) {
    const target = join(folder, `${i}.hs`);
    const runs = [(): Promise<number> => record('-o', target), (): Promise<number> => record('--no-store')];
    const storedFirst = i % 2 === 0;
    const seconds: Array<Promise<number>> = [];
    for (const run of storedFirst ? runs : runs.toReversed()) {
      seconds.push(run());
      if (!values.together) await seconds.at(-1);
    }
    const [first, second] = await Promise.all(seconds);
    const [stored, bare] = storedFirst ? [first!, second!] : [second!, first!];
    ratios.push(stored / bare);
    rmSync(target, { recursive: true });
    console.log(
      `pair ${i + 1}: ${stored.toFixed(2)} s stored, ${bare.toFixed(2)} s bare, ${(stored / bare).toFixed(4)}`,
    );
  }
} finally {
  rmSync(folder, { recursive: true });
}
const overhead = ((median(ratios) - 1) * 100).toFixed(1);
console.log(
  `median overhead ${overhead} % of ${PAIRS} pairs${values.together ? ' run together' : ''} (target: at most 5 %)`,
);
