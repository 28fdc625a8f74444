/**
 * Runs the IDT machine's test kernels on QEMU (TCG) and writes what they print to transcripts/: the expected values of
 * test/platform/idt-machine.test.ts. `node tools/run.mjs guest-kernels/transcripts [--check]`; with --check nothing is written and the
 * exit status says whether all are as committed. `--bochs` runs them on Bochs instead and prints the lines that are neither the
 * manual's nor named in deviations.ts.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PT_LOAD, readElf, segmentBytes } from '../../src/elf/elf.ts';
import { VENDOR_NAMES, type Vendor } from '../../src/x86/features.ts';
import { type BochsParts, findBochs, prepareBochs } from '../bochs.ts';
import { commandLine, refuse } from '../command-line.ts';
import { AS_QEMU, BY_VENDOR, DEVIATIONS, type Deviation, type VendorLine } from './deviations.ts';

const HERE = import.meta.dirname;
/** Kernels that test what QEMU does not check: their transcript is written by hand from the manual. */
export const NOT_ON_QEMU: readonly string[] = ['align', 'limits', 'strict'];

/** Names of all kernels, sorted. */
export const kernels = (): string[] =>
  readdirSync(join(HERE, 'idt'))
    .filter((name) => name.endsWith('.elf'))
    .map((name) => name.slice(0, -4))
    .sort();
/** A kernel that takes longer hangs: on an idle host it takes a second. */
const HANG_MS = 20 * 60_000;

/** Path of a kernel's image. */
export const kernelPath = (name: string): string => join(HERE, 'idt', `${name}.elf`);
/** Path of a kernel's transcript. */
export const transcriptPath = (name: string): string => join(HERE, 'transcripts', `${name}.txt`);

/** Whether Debian's qemu-system-x86 is installed. */
export const hasQemu = (): boolean => spawnSync('qemu-system-x86_64', ['--version']).status === 0;

/** What a kernel prints on QEMU as a processor of a vendor. A triple fault ends the run too (-no-reboot). */
export function runOnQemu(name: string, vendor: Vendor = 'intel'): string {
  const { stdout, stderr, error } = spawnSync(
    'qemu-system-x86_64',
    [
      ...['-accel', 'tcg', '-cpu', `qemu64,vendor=${VENDOR_NAMES[vendor]}`, '-m', '16', '-kernel', kernelPath(name)],
      ...['-debugcon', 'stdio', '-device', 'isa-debug-exit,iobase=0xf4,iosize=1', '-no-reboot'],
      ...['-nic', 'none', '-display', 'none', '-serial', 'none', '-monitor', 'none'],
    ],
    { encoding: 'latin1', timeout: HANG_MS },
  );
  if (error) throw error;
  if (stdout === '') throw new Error(`QEMU printed nothing for ${name}: ${stderr}`);
  return stdout;
}

/** The last instructions of FINISH in prelude.h: out %al, $0xf4; hlt; jmp to the hlt. */
const FINISH = Buffer.from([0xe6, 0xf4, 0xf4, 0xeb, 0xfd]);

/** Physical address of a kernel's last HLT, where a PC that does not know port 0xF4 would wait for ever. */
function lastHalt(name: string): number {
  const elf = readElf(new Uint8Array(readFileSync(kernelPath(name))));
  for (const segment of elf.segments) {
    const at = segment.type === PT_LOAD ? Buffer.from(segmentBytes(elf, segment)).indexOf(FINISH) : -1;
    if (at >= 0) return Number(segment.paddr) + at + 2;
  }
  throw new Error(`${name} does not end by FINISH`);
}

/** What a kernel prints on Bochs. A triple fault ends the run too. */
export function runOnBochs(parts: BochsParts, name: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'bochs-'));
  try {
    const guest = { kernel: kernelPath(name), initrd: null, commandLine: '', megabytes: 16 };
    const { command, environment } = prepareBochs(parts, folder, { ...guest, endAt: lastHalt(name), strictMsrs: true });
    // Bochs catches SIGTERM
    const { stdout, stderr, error } = spawnSync(command[0]!, command.slice(1), {
      ...{ env: environment, encoding: 'latin1', timeout: HANG_MS, killSignal: 'SIGKILL' },
    });
    if (error) throw error;
    // between the debugger's first prompt, which shows the reset vector, and the one it stops at
    const printed = /^\(0\) \[0x0000fffffff0\].*\n([\s\S]*?)(?:(?<=\nend\n)|\(0\))/m.exec(stdout)?.[1];
    if (printed === undefined || printed === '')
      throw new Error(`Bochs printed nothing for ${name}: ${stdout}${stderr}`);
    return printed;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The lines of a kernel's committed transcript; `pick` gives another text for a line that deviates, or null to leave it. */
function expected(name: string, pick: (deviation: Deviation) => string | null): string[] {
  const deviations = Object.entries(DEVIATIONS[name] ?? {});
  return readFileSync(transcriptPath(name), 'latin1')
    .split('\n')
    .map((line) => {
      const [test, deviation] = deviations.find(([test]) => line.startsWith(`${test}:`)) ?? [];
      const text = deviation === undefined ? null : pick(deviation);
      return text === null ? line : `${test}: ${text}`;
    });
}
/** The lines with those of AMD's processors in the place of Intel's. */
const asAmd = (name: string, lines: readonly string[], pick: (line: VendorLine) => boolean): string[] =>
  lines.map((line) => {
    const [test, other] = Object.entries(BY_VENDOR[name] ?? {}).find(([test]) => line.startsWith(`${test}:`)) ?? [];
    if (other === undefined || !pick(other)) return line;
    return `${test}:${/^(CSTAR|#|cs=)/.test(other.amd) ? ' ' : ''}${other.amd}`;
  });
/** What a kernel prints by the manual of a vendor, by line. */
export const expectedByManual = (name: string, vendor: Vendor = 'intel'): string[] => {
  const lines = expected(name, ({ manual }) => manual);
  return vendor === 'intel' ? lines : asAmd(name, lines, () => true);
};
/** What a kernel prints on QEMU as a processor of a vendor, by line. */
export const expectedOnQemu = (name: string, vendor: Vendor): string[] => {
  const lines = expected(name, () => null);
  return vendor === 'intel' ? lines : asAmd(name, lines, ({ onQemu }) => onQemu);
};
/** What a kernel prints on Bochs, by line. */
export const expectedOnBochs = (name: string): string[] =>
  expected(name, ({ manual, bochs }) => (bochs === null ? manual : bochs.prints === AS_QEMU ? null : bochs.prints));

function compareBochs(): void {
  const parts = findBochs();
  if (typeof parts === 'string') refuse(parts);
  for (const name of kernels()) {
    const printed = runOnBochs(parts, name).split('\n');
    const lines = expectedOnBochs(name);
    const differing = lines.flatMap((line, i) => (line === printed[i] ? [] : [`  ${line}\n  Bochs: ${printed[i]}`]));
    if (differing.length > 0 || printed.length !== lines.length) process.exitCode = 1;
    console.log(
      [`${name}: ${printed.length} of ${lines.length} lines, ${differing.length} differ`, ...differing].join('\n'),
    );
  }
}

function main(check: boolean): void {
  let differing = 0;
  for (const name of kernels()) {
    if (NOT_ON_QEMU.includes(name)) continue;
    const printed = runOnQemu(name);
    const path = transcriptPath(name);
    const same = existsSync(path) && readFileSync(path, 'latin1') === printed;
    if (!same) differing++;
    if (!check) writeFileSync(path, printed, 'latin1');
    console.log(
      `${name}: ${printed.split('\n').length} lines, ${same ? 'as committed' : check ? 'differs' : 'written'}`,
    );
  }
  if (check && differing > 0) process.exitCode = 1;
}
if (import.meta.main) {
  const { values } = commandLine({ options: { bochs: { type: 'boolean' }, check: { type: 'boolean' } } });
  if (values.bochs) compareBochs();
  else main(values.check === true);
}
