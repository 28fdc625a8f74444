/**
 * The busybox boot on Hindsight's cold tier beside its peers: `npm run bench:boot [-- --runs 3] [--json] [--fetch] [--only NAME,...]`.
 *
 * One vmlinux, one initrd, 256 MiB. Each run boots to /init, works, and powers off; what counts is CPU time, user and system, of the
 * whole process tree. Runs are interleaved; a row is the median. QEMU starts the kernel by PVH, Hindsight as a Xen PV domain, Bochs
 * by a ROM of ours. `--fetch` gets Debian's Bochs (not installed, no root). A peer that is not there is named as missing.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { fetchBochs, findBochs, prepareBochs } from './bochs.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const GUEST = join(ROOT, '.cache/guests/debian');
const KERNEL = join(GUEST, 'vmlinux');
const INITRD = join(GUEST, 'initrd.gz');
const PEERS = join(ROOT, '.cache/peers');
const MEGABYTES = 256;
/** What /init prints when its work is done (Bochs's serial line loses some of the log behind it): without it a run does not count. */
const DONE = 'round 5: ';
/** The kernel's last words where no device ends the emulator. */
const HALTED = /reboot: (Power down|System halted)/;
const RUN_LIMIT_MS = 600_000;

interface Peer {
  readonly name: string;
  readonly note: string;
  /** Why it cannot run, or null. */
  readonly missing: string | null;
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** File of the console; stdout and stderr otherwise. */
  readonly serial?: string;
  /** No device ends the emulator: it is killed when HALTED stands on the console. */
  readonly endless?: boolean;
}
interface Sample {
  readonly cpuSeconds: number;
  readonly seconds: number;
}

/** Runs a command in a shell that tells the CPU time of everything it waited for; throws when the guest did not come to its end. */
async function measure(peer: Peer): Promise<Sample> {
  if (peer.serial !== undefined) rmSync(peer.serial, { force: true });
  const script = '"$@" & echo "pid $!" >&3; wait $!; times >&3';
  const start = performance.now();
  const child = spawn('sh', ['-c', script, 'sh', ...peer.command], {
    cwd: ROOT,
    env: { ...process.env, ...peer.environment },
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  let console_ = '';
  let report = '';
  child.stdout!.on('data', (data: Buffer) => (console_ += data.toString('latin1')));
  child.stderr!.on('data', (data: Buffer) => (console_ += data.toString('latin1')));
  child.stdio[3]!.on('data', (data: Buffer) => (report += data.toString()));
  const read = (): string =>
    peer.serial === undefined ? console_ : existsSync(peer.serial) ? readFileSync(peer.serial, 'latin1') : '';
  const kill = (): void => {
    const pid = Number(/^pid (\d+)/m.exec(report)?.[1]);
    if (pid > 0) process.kill(pid, 'SIGKILL');
  };
  const watch = setInterval(() => {
    const late = performance.now() - start > RUN_LIMIT_MS;
    if (late || (peer.endless && HALTED.test(read()))) {
      clearInterval(watch);
      kill();
    }
  }, 100);
  await new Promise((end) => child.on('close', end));
  clearInterval(watch);
  const seconds = (performance.now() - start) / 1000;
  if (!read().includes(DONE))
    throw new Error(`the guest did not reach its end: ${read().slice(-300)} ${console_.slice(-300)}`);
  // `times`: the shell's own line, then that of its children
  const [user, system] = report.trim().split('\n').at(-1)!.split(' ').map(parseTime);
  return { cpuSeconds: user! + system!, seconds };
}
/** Seconds of `0m1.25s`. */
function parseTime(text: string): number {
  const match = /^(\d+)m([\d.,]+)s$/.exec(text);
  if (!match) throw new Error(`not a time: ${text}`);
  return Number(match[1]) * 60 + Number(match[2]!.replace(',', '.'));
}

function peers(folder: string): Peer[] {
  const guests = existsSync(KERNEL) && existsSync(INITRD) ? null : 'no guest: run npm run guests';
  const version = spawnSync('qemu-system-x86_64', ['--version'], { encoding: 'utf8' });
  const noQemu =
    guests ?? (version.status === 0 ? null : 'qemu-system-x86_64 is not installed (Debian: qemu-system-x86)');
  const qemuVersion = /version ([\d.]+)/.exec(version.stdout ?? '')?.[1] ?? '';
  const qemu = (name: string, note: string, extra: string[]): Peer => ({
    name,
    note: `${qemuVersion}${note}`,
    missing: noQemu,
    command: [
      ...[
        'qemu-system-x86_64',
        '-accel',
        'tcg',
        '-smp',
        '1',
        '-m',
        String(MEGABYTES),
        '-kernel',
        KERNEL,
        '-initrd',
        INITRD,
      ],
      ...['-append', 'console=ttyS0', '-display', 'none', '-monitor', 'none', '-no-reboot'],
      ...['-nic', 'none', '-serial', `file:${join(folder, 'qemu.txt')}`, ...extra],
    ],
    serial: join(folder, 'qemu.txt'),
  });
  const rr = (mode: string): string[] => ['-icount', `shift=auto,rr=${mode},rrfile=${join(folder, 'rr.bin')}`];
  return [
    {
      name: 'hindsight',
      note: 'cold tier, record --no-store',
      missing: guests,
      command: [
        ...[process.execPath, join(ROOT, 'src/cli/main.ts'), 'record', KERNEL, '--initrd', INITRD],
        ...['--memory', `${MEGABYTES}M`, '--no-store', '--json', '--', 'console=hvc0'],
      ],
    },
    qemu('qemu', ', TCG', []),
    qemu('qemu-record', ', TCG, icount shift=auto, rr=record', rr('record')),
    qemu('qemu-replay', ', TCG, icount shift=auto, rr=replay', rr('replay')),
    bochs(folder, guests),
  ];
}
function bochs(folder: string, guests: string | null): Peer {
  const parts = findBochs(PEERS);
  const note = "Debian's build, with its debugger";
  if (guests !== null || typeof parts === 'string')
    return { name: 'bochs', note, missing: guests ?? (parts as string), command: [] };
  const guest = { kernel: KERNEL, initrd: INITRD, commandLine: 'console=ttyS0', megabytes: MEGABYTES };
  return { name: 'bochs', note, missing: null, endless: true, ...prepareBochs(parts, folder, guest) };
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[(values.length - 1) >> 1]!;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: '1' },
      json: { type: 'boolean', default: false },
      fetch: { type: 'boolean', default: false },
      only: { type: 'string' },
    },
  });
  const runs = Number(values.runs);
  if (!Number.isInteger(runs) || runs < 1) throw new Error(`--runs ${values.runs} is not a count`);
  if (values.fetch) fetchBochs(PEERS, (line) => console.error(line));
  const folder = mkdtempSync(join(tmpdir(), 'peers-'));
  try {
    const all = peers(folder).filter(({ name }) => values.only?.split(',').includes(name) ?? true);
    if (all.length === 0) throw new Error(`--only ${values.only} names no peer`);
    const samples = new Map<string, Sample[]>(all.map(({ name }) => [name, []]));
    const failures = new Map<string, string>();
    for (let run = 0; run < runs; run++)
      for (const peer of all) {
        if (peer.missing !== null || failures.has(peer.name)) continue;
        try {
          const sample = await measure(peer);
          samples.get(peer.name)!.push(sample);
          console.error(`run ${run + 1}/${runs} ${peer.name}: ${sample.cpuSeconds.toFixed(2)} CPU s`);
        } catch (error) {
          failures.set(peer.name, (error as Error).message);
        }
      }
    const rows = all.map(({ name, note, missing }) => {
      const taken = samples.get(name)!;
      return {
        name,
        note,
        missing: missing ?? failures.get(name) ?? null,
        runs: taken.length,
        cpuSeconds: taken.length > 0 ? median(taken.map((x) => x.cpuSeconds)) : null,
        seconds: taken.length > 0 ? median(taken.map((x) => x.seconds)) : null,
      };
    });
    if (values.json) console.log(JSON.stringify({ memory: `${MEGABYTES}M`, rows }, null, 2));
    else {
      console.log(
        `${'busybox boot, 256 MiB'.padEnd(24)}${'CPU s'.padStart(8)}${'wall s'.padStart(8)}  (median of ${runs})`,
      );
      for (const { name, note, missing, cpuSeconds, seconds } of rows) {
        const figure = (x: number | null): string => (x === null ? '-' : x.toFixed(2)).padStart(8);
        console.log(
          `${name.padEnd(24)}${figure(cpuSeconds)}${figure(seconds)}  ${missing === null ? note : `missing: ${missing}`}`,
        );
      }
    }
    if (failures.size > 0) process.exitCode = 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
await main();
