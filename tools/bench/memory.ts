/**
 * Resident memory: `node tools/run.mjs bench/memory [--minutes 30] [--tier hot] [--only boot|newcode]`. Exit 1 when a target is missed.
 *
 * boot: the peak (VmHWM) of `record` over the boot of the 256 MiB Debian guest, under 1 GB. newcode: a kernel of ours that writes fresh
 * functions into 2,000 pages in turn and runs each hot, for so many minutes; what is resident then is at most 1.1 times what was resident
 * after five minutes (after a sixth of the time in shorter runs).
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import '../prepare-handlers.ts'; // as an installation does
import { amountOf, commandLine, oneOf } from '../command-line.ts';
import { median } from './measure.ts';
import { ROOT } from './workloads.ts';

const BENCH = join(ROOT, 'tools/guest-kernels/bench/bench.elf');
const DEBIAN = join(ROOT, '.cache/guests/debian');
const FOR_EVER = '1000000000000';
const SAMPLE_MS = 500;
/** Samples in a minute. */
const MINUTE = 60_000 / SAMPLE_MS;
/** Samples that a figure is the median of: half a minute, so that a garbage collection does not decide. */
const WINDOW = 60;

const { values } = commandLine({
  options: {
    minutes: { type: 'string', default: '30' },
    tier: { type: 'string', default: 'hot' },
    only: { type: 'string' },
  },
});
const minutes = amountOf(values.minutes, '--minutes');
oneOf(values.tier, '--tier', ['hot', 'cold']);
if (values.only !== undefined) oneOf(values.only, '--only', ['boot', 'newcode']);

/** A process and its descendants: what starts Hindsight may stay (proc_pid_children(5)). */
function tree(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean);
    return [pid, ...children.flatMap((child) => tree(Number(child)))];
  } catch {
    return [];
  }
}
/** The sum of a field of /proc/PID/status in MB over a process and its descendants (proc_pid_status(5)); null when it is gone. */
function status(pid: number, field: 'VmRSS' | 'VmHWM'): number | null {
  const pattern = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm');
  let sum: number | null = null;
  for (const process of tree(pid))
    try {
      const kib = pattern.exec(readFileSync(`/proc/${process}/status`, 'utf8'))?.[1];
      if (kib !== undefined) sum = (sum ?? 0) + (Number(kib) * 1024) / 1e6;
    } catch {
      // it has ended meanwhile
    }
  return sum;
}

/** Records a guest and samples its memory until it ends or `milliseconds` have passed. */
async function sample(
  args: readonly string[],
  milliseconds: number,
): Promise<{ rss: number[]; peak: number; exit: number | NodeJS.Signals | null; output: string }> {
  const child = spawn(join(ROOT, 'tools/hindsight.sh'), ['record', ...args], {
    env: { ...process.env, HINDSIGHT_TIER: values.tier },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data: Buffer) => (output = (output + data.toString()).slice(-2000)));
  const ended = new Promise<number | NodeJS.Signals>((end) =>
    child.on('exit', (code, signal) => end(code ?? signal ?? 'SIGKILL')),
  );
  const rss: number[] = [];
  let peak = 0;
  const deadline = performance.now() + milliseconds;
  while (child.exitCode === null && child.signalCode === null && performance.now() < deadline) {
    const now = status(child.pid!, 'VmRSS');
    if (now !== null) rss.push(now);
    peak = Math.max(peak, status(child.pid!, 'VmHWM') ?? 0);
    if (rss.length % MINUTE === 0) console.error(`memory: ${rss.length / MINUTE} min, ${rss.at(-1)?.toFixed(0)} MB`);
    await Promise.race([sleep(SAMPLE_MS), ended]);
  }
  const exit = child.exitCode ?? child.signalCode;
  if (exit === null) child.kill('SIGINT');
  await ended;
  return { rss, peak, exit, output };
}

function report(text: string, reached: boolean): void {
  console.log(`${text}: ${reached ? 'reached' : 'missed'}`);
  if (!reached) process.exitCode = 1;
}

const folder = mkdtempSync(join(tmpdir(), 'memory-'));
try {
  if (values.only !== 'newcode') {
    const files = [join(DEBIAN, 'vmlinux'), '--initrd', join(DEBIAN, 'initrd.gz')];
    if (!existsSync(files[0]!)) console.log('boot is missing: no guest, run npm run guests');
    else {
      const target = ['--memory', '256M', '-o', join(folder, 'boot.hs'), '--json', '--', 'console=hvc0'];
      const { peak, exit, output } = await sample([...files, ...target], 3_600_000);
      if (exit !== 0) throw new Error(`the boot ended with ${exit}: ${output}`);
      report(`boot of 256 MiB, ${values.tier} tier: peak ${peak.toFixed(0)} MB resident (under 1000)`, peak < 1000);
    }
  }
  if (values.only !== 'boot') {
    const target = ['--memory', '64M', '-o', join(folder, 'newcode.hs'), '--idle-limit', '100000s', '--json', '--'];
    const milliseconds = minutes * 60_000;
    const { rss, exit, output } = await sample([BENCH, ...target, 'newcode', FOR_EVER], milliseconds);
    if (exit !== null) throw new Error(`the workload ended with ${exit} after ${rss.length / 2} s: ${output}`);
    const early = Math.floor(rss.length * Math.min(5 / minutes, 1 / 6) || 1);
    const window = Math.max(1, Math.min(WINDOW, Math.floor(early / 2)));
    const [before, after] = [median(rss.slice(early - window, early)), median(rss.slice(-window))];
    const ratio = after / before;
    report(
      `new code for ${minutes} minutes, ${values.tier} tier: ${before.toFixed(0)} MB after ${((early * minutes) / rss.length).toFixed(1)} minutes, ${after.toFixed(0)} MB at the end, ${ratio.toFixed(2)} times (at most 1.1)`,
      ratio <= 1.1,
    );
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
