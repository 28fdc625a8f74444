/** Runs a command and tells the CPU time of its whole process tree. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';

/** How to start an emulator once. */
export interface Invocation {
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** File of the guest's console; stdout and stderr otherwise. */
  readonly serial?: string;
  /** No device ends the emulator: it is killed as soon as this stands on the console. */
  readonly killAt?: RegExp;
}
export interface Sample {
  /** User and system time of the process and everything it waited for. */
  readonly cpuSeconds: number;
  /** The guest's console, then what the emulator itself said. */
  readonly output: string;
}

const LIMIT_MS = 900_000;

/** Runs it to its end; whether the guest did its work is for the caller to see in the output. */
export async function measure({ command, environment, serial, killAt }: Invocation): Promise<Sample> {
  if (serial !== undefined) rmSync(serial, { force: true });
  // `times` of a shell that waited for the one child: the clock of the kernel's accounting, 10 ms fine
  const script = '"$@" & echo "pid $!" >&3; wait $!; times >&3';
  const child = spawn('sh', ['-c', script, 'sh', ...command], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  let said = '';
  let report = '';
  child.stdout!.on('data', (data: Buffer) => (said += data.toString('latin1')));
  child.stderr!.on('data', (data: Buffer) => (said += data.toString('latin1')));
  child.stdio[3]!.on('data', (data: Buffer) => (report += data.toString()));
  const console_ = (): string =>
    serial === undefined ? said : existsSync(serial) ? readFileSync(serial, 'latin1') : '';
  const deadline = performance.now() + LIMIT_MS;
  const watch = setInterval(() => {
    if (performance.now() < deadline && !killAt?.test(console_())) return;
    clearInterval(watch);
    const pid = Number(/^pid (\d+)/m.exec(report)?.[1]);
    if (pid > 0) process.kill(pid, 'SIGKILL');
  }, 50);
  await new Promise((end) => child.on('close', end));
  clearInterval(watch);
  // the shell's own line, then that of its children
  const [user, system] = report.trim().split('\n').at(-1)!.split(' ').map(parseTime);
  return { cpuSeconds: user! + system!, output: serial === undefined ? said : `${console_()}\n${said}` };
}

/** Seconds of `0m1.25s`. */
function parseTime(text: string): number {
  const match = /^(\d+)m([\d.,]+)s$/.exec(text);
  if (!match) throw new Error(`not a time: ${text}`);
  return Number(match[1]) * 60 + Number(match[2]!.replace(',', '.'));
}

/** The lower median; NaN of nothing. */
export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[(values.length - 1) >> 1] ?? Number.NaN;
/** NaN of nothing. */
export const geometricMean = (values: readonly number[]): number =>
  values.length === 0 ? Number.NaN : Math.exp(values.reduce((sum, x) => sum + Math.log(x), 0) / values.length);
