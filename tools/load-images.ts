/**
 * Records every file of a folder as a kernel image for a moment, each in a process of its own, and prints how that ended: exit
 * status, CPU seconds, peak of resident memory, last line.
 *
 *   node tools/run.mjs load-images FOLDER [--memory 64M] [--only REGEXP] [--cpu 5] [--mib 1024] [--kernel FILE]
 *
 * Exit 1 when an image takes more CPU seconds than `--cpu`, more than `--mib` beyond the guest's memory, or shows a mistake of
 * ours. With `--kernel` the files are ramdisks of that kernel. A process ends at ten times either bound.
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { EXIT } from '../src/cli/exit.ts';
import { parseSize } from '../src/cli/parsers.ts';
import { amountOf, checked, commandLine, patternOf } from './command-line.ts';

const { values, positionals } = commandLine({
  allowPositionals: true,
  options: {
    memory: { type: 'string', default: '64M' },
    only: { type: 'string', default: '' },
    cpu: { type: 'string', default: '5' },
    mib: { type: 'string', default: '1024' },
    kernel: { type: 'string' },
    program: { type: 'string', default: resolve(import.meta.dirname, '../src/cli/main.ts') },
  },
});
const folder = resolve(positionals[0] ?? '.');
const MIB = 2 ** 20;
const only = patternOf(values.only, '--only');
const allowed = {
  cpu: amountOf(values.cpu, '--cpu'),
  mib: amountOf(values.mib, '--mib') + checked(() => parseSize(values.memory, '--memory')) / MIB,
};
const STOP_FACTOR = 10;
/** Tells what the process used on descriptor 3 when it ends. */
const METER = `data:text/javascript,import { writeSync } from 'node:fs';
process.on('exit', () => writeSync(3, JSON.stringify(process.resourceUsage())));`;

interface Outcome {
  readonly status: number | string;
  readonly cpu: number;
  readonly mib: number;
  readonly line: string;
}

/** Resident MiB of a process at its peak so far, and its CPU seconds; null once it has ended. */
function usageOf(pid: number): { mib: number; cpu: number } | null {
  try {
    const peak = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' ');
    return peak === null ? null : { mib: Number(peak[1]) / 1024, cpu: (Number(fields[11]) + Number(fields[12])) / 100 };
  } catch {
    return null;
  }
}

/** Records one image. */
function load(file: string): Promise<Outcome> {
  const image = values.kernel === undefined ? [file] : [resolve(values.kernel), '--initrd', file];
  const options = ['--no-store', '--limit-ticks', '1000', '--memory', values.memory];
  const child = spawn(process.execPath, ['--import', METER, values.program, 'record', ...image, ...options], {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  let [text, meter] = ['', ''];
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (data) => (text += String(data)));
  child.stdio[3]!.on('data', (data) => (meter += String(data)));
  let last = { mib: 0, cpu: 0 };
  const watch = setInterval(() => {
    last = usageOf(child.pid!) ?? last;
    if (last.mib > STOP_FACTOR * allowed.mib || last.cpu > STOP_FACTOR * allowed.cpu) child.kill('SIGKILL');
  }, 100);
  return new Promise((done) => {
    child.on('close', (code, signal) => {
      clearInterval(watch);
      if (meter !== '') {
        const { userCPUTime, systemCPUTime, maxRSS } = JSON.parse(meter) as NodeJS.ResourceUsage;
        last = { mib: maxRSS / 1024, cpu: (userCPUTime + systemCPUTime) / 1e6 };
      }
      const line = text.split('\n').find((each) => /^(E_\w+:|[a-z]+ at tick)/.test(each)) ?? text.trim();
      done({ status: code ?? signal!, ...last, line: line.slice(0, 200) });
    });
  });
}

let tooMuch = 0;
const worst = { cpu: 0, mib: 0 };
const names = checked(() => readdirSync(folder)).filter((name) => name !== 'list' && only.test(name));
for (const name of names) {
  const { status, cpu, mib, line } = await load(join(folder, name));
  const isBad = cpu > allowed.cpu || mib > allowed.mib || status === EXIT.bug || typeof status === 'string';
  tooMuch += Number(isBad);
  worst.cpu = Math.max(worst.cpu, cpu);
  worst.mib = Math.max(worst.mib, mib);
  console.log(
    `${isBad ? '!' : ' '} ${name.padEnd(26)} exit ${status}  ${cpu.toFixed(2).padStart(6)} s ${mib.toFixed(0).padStart(6)} MiB  ${line}`,
  );
}
console.log(
  `${names.length} images, ${tooMuch} beyond ${allowed.cpu} s or ${allowed.mib} MiB or with a mistake of ours; ` +
    `at most ${worst.cpu.toFixed(2)} s, ${worst.mib.toFixed(0)} MiB`,
);
process.exitCode = tooMuch === 0 ? 0 : 1;
