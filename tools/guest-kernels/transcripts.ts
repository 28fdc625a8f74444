/**
 * Runs the IDT machine's test kernels on QEMU (TCG) and writes what they print to transcripts/: the expected values of
 * test/platform/idt-machine.test.ts. `node tools/guest-kernels/transcripts.ts [--check]`; with --check nothing is written and the
 * exit status says whether all are as committed.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const HERE = import.meta.dirname;
/** Kernels that test what QEMU does not check: their transcript is written by hand from the manual. */
export const NOT_ON_QEMU: readonly string[] = ['align', 'limits', 'strict'];

/** Names of all kernels, sorted. */
export const kernels = (): string[] =>
  readdirSync(join(HERE, 'idt'))
    .filter((name) => name.endsWith('.elf'))
    .map((name) => name.slice(0, -4))
    .sort();
/** Path of a kernel's image. */
export const kernelPath = (name: string): string => join(HERE, 'idt', `${name}.elf`);
/** Path of a kernel's transcript. */
export const transcriptPath = (name: string): string => join(HERE, 'transcripts', `${name}.txt`);

/** Whether Debian's qemu-system-x86 is installed. */
export const hasQemu = (): boolean => spawnSync('qemu-system-x86_64', ['--version']).status === 0;

/** What a kernel prints on QEMU. A triple fault ends the run too (-no-reboot). */
export function runOnQemu(name: string): string {
  const { stdout, stderr, error } = spawnSync(
    'qemu-system-x86_64',
    [
      ...['-accel', 'tcg', '-cpu', 'qemu64,vendor=GenuineIntel', '-m', '16', '-kernel', kernelPath(name)],
      ...['-debugcon', 'stdio', '-device', 'isa-debug-exit,iobase=0xf4,iosize=1', '-no-reboot'],
      ...['-nic', 'none', '-display', 'none', '-serial', 'none', '-monitor', 'none'],
    ],
    { encoding: 'latin1', timeout: 60_000 },
  );
  if (error) throw error;
  if (stdout === '') throw new Error(`QEMU printed nothing for ${name}: ${stderr}`);
  return stdout;
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
if (import.meta.main) main(process.argv.includes('--check'));
