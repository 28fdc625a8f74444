/**
 * How long the installed executable takes to start: `node tools/run.mjs bench/startup [--runs 20]`. Exit 1 when a target is missed.
 *
 * Measured is the command itself (package.json's `bin`), from spawn to exit, with its cache warm: `--version`, and a recording that ends
 * after its first guest instruction (`record --no-store --limit-ticks 1` of the built-in kernel, with the default 256 MiB), which is the
 * time to the first instruction and the way out. CPU time stands beside it, because wall time is that of a host with other work as well.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import '../prepare-handlers.ts'; // as an installation does
import manifest from '../../package.json' with { type: 'json' };
import { commandLine, countOf } from '../command-line.ts';
import { measure, median } from './measure.ts';
import { ROOT } from './workloads.ts';

const PROGRAM = join(ROOT, 'tools/hindsight.sh');
const KERNEL = join(ROOT, 'tools/guest-kernels/failing-boot/failing-boot.elf');
const CASES = [
  { name: '--version', limitMs: 100, args: ['--version'], says: manifest.version },
  {
    name: 'first guest instruction',
    limitMs: 400,
    args: ['record', KERNEL, '--no-store', '--limit-ticks', '1'],
    says: 'limit at tick 1 ',
  },
] as const;

const { values } = commandLine({ options: { runs: { type: 'string', default: '20' } } });
const runs = countOf(values.runs, '--runs', 1);
for (const { name, limitMs, args, says } of CASES) {
  const command = [PROGRAM, ...args];
  // twice: the first start after a change fills the cache
  for (let i = 0; i < 2; i++) {
    const { stdout, error } = spawnSync(PROGRAM, args, { encoding: 'utf8' });
    if (error !== undefined || !stdout.includes(says)) throw error ?? new Error(`${name}: ${stdout}`);
  }
  const wall: number[] = [];
  const cpu: number[] = [];
  for (let run = 0; run < runs; run++) {
    const start = performance.now();
    spawnSync(PROGRAM, args, { stdio: 'ignore' });
    wall.push(performance.now() - start);
    cpu.push((await measure({ command })).cpuSeconds * 1000);
  }
  const took = median(wall);
  const verdict = took < limitMs ? 'reached' : 'missed';
  if (took >= limitMs) process.exitCode = 1;
  const rest = `least ${Math.min(...wall).toFixed(0)}, CPU ${median(cpu).toFixed(0)} ms`;
  console.log(`${name}: median ${took.toFixed(0)} ms of ${runs} (${rest}); under ${limitMs} ms: ${verdict}`);
}
