/**
 * What recording costs: CPU seconds (user and system, of the whole process tree) of `hindsight record` against `record
 * --no-store`, in interleaved pairs. Needs `npm run guests`. Without machine code of earlier runs, so that all runs do the same work.
 *
 *   node tools/bench/overhead.ts [PAIRS]        9 by default
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../..');
/** The command as npm installs it. */
const HINDSIGHT = join(ROOT, 'tools/hindsight.sh');
const GUEST = join(ROOT, '.cache/guests/debian');
const PAIRS = Number(process.argv[2] ?? 9);
const TICKS_PER_SECOND = 100;
const ENVIRONMENT = { ...process.env, HINDSIGHT_CODE_CACHE: '' };

/** CPU seconds of all children that have ended (proc_pid_stat(5): cutime and cstime). */
function childSeconds(): number {
  const fields = readFileSync('/proc/self/stat', 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[13]) + Number(fields[14])) / TICKS_PER_SECOND;
}
function record(...options: string[]): number {
  const before = childSeconds();
  const image = [join(GUEST, 'vmlinux'), '--initrd', join(GUEST, 'initrd.gz'), '--memory', '256M', '--json'];
  const run = ['record', ...image, ...options, '--', 'console=hvc0'];
  const { status, stdout, stderr } = spawnSync(HINDSIGHT, run, {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
    env: ENVIRONMENT,
  });
  if (status !== 0) throw new Error(`record ended with ${status}: ${stdout}${stderr}`);
  return childSeconds() - before;
}
const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

const folder = mkdtempSync(join(tmpdir(), 'overhead-'));
const pairs: Array<{ stored: number; bare: number }> = [];
try {
  for (let i = 0; i < PAIRS; i++) {
    const target = join(folder, `${i}.hs`);
    const storedFirst = i % 2 === 0;
    const first = storedFirst ? record('-o', target) : record('--no-store');
    const second = storedFirst ? record('--no-store') : record('-o', target);
    const [stored, bare] = storedFirst ? [first, second] : [second, first];
    pairs.push({ stored, bare });
    rmSync(target, { recursive: true });
    console.log(
      `pair ${i + 1}: ${stored.toFixed(2)} s stored, ${bare.toFixed(2)} s bare, ${(stored / bare).toFixed(4)}`,
    );
  }
} finally {
  rmSync(folder, { recursive: true });
}
const ratio = median(pairs.map(({ stored, bare }) => stored / bare));
console.log(`median overhead ${((ratio - 1) * 100).toFixed(1)} % of ${pairs.length} pairs (target: at most 5 %)`);
