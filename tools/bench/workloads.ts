/** What is measured: benchmark kernels of our own and a boot of Debian's kernel. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

export const ROOT = resolve(import.meta.dirname, '../..');
const BENCH = join(ROOT, 'tools/guest-kernels/bench/bench.elf');
const DEBIAN = join(ROOT, '.cache/guests/debian');

export interface Workload {
  readonly name: string;
  /** What it does, for the table. */
  readonly title: string;
  readonly kernel: string;
  readonly initrd: string | null;
  readonly megabytes: number;
  /** Rounds that take QEMU's TCG two to three CPU seconds; null for work that has no rounds. */
  readonly rounds: number | null;
  /** The command line of this many rounds, on Xen or on a PC. */
  readonly commandLine: (platform: 'xen' | 'pc', rounds: number) => string;
  /** Matches the console of a guest that did its work; the first group, if any, is the result that all peers must agree on. */
  readonly done: RegExp;
  /** The guest's last words where no device ends the emulator. */
  readonly halted: RegExp | null;
  /** Why it cannot be run here, or null. */
  readonly missing: string | null;
}

const micro = (name: string, rounds: number, title: string): Workload => ({
  name,
  title,
  kernel: BENCH,
  initrd: null,
  megabytes: 64,
  rounds,
  commandLine: (_platform, count) => `${name} ${count}`,
  done: new RegExp(`bench ${name} \\d+ ([0-9a-f]{16})`),
  halted: null,
  missing: null,
});

/** The prototype's five. */
export const FIVE = ['sieve', 'hash', 'chase', 'calls', 'bytecode'] as const;

export const WORKLOADS: readonly Workload[] = [
  micro('sieve', 320, 'byte stores with a stride'),
  micro('hash', 1800, 'CRC-32 by table, SHA-256-like rounds'),
  micro('chase', 120, 'dependent loads over 4 MiB'),
  micro('calls', 180, 'recursion, indirect calls'),
  micro('bytecode', 140, 'an interpreter: one switch in a loop'),
  micro('scattered200', 32, 'scattered code over 200 pages'),
  micro('scattered2000', 4, 'scattered code over 2,000 pages'),
  micro('sse2', 320, 'SSE2: scalar and packed doubles, singles'),
  micro('copy', 380, 'REP MOVS, STOS, CMPS; a copy loop'),
  {
    name: 'boot',
    title: "Debian's kernel and busybox to poweroff",
    kernel: join(DEBIAN, 'vmlinux'),
    initrd: join(DEBIAN, 'initrd.gz'),
    megabytes: 256,
    rounds: null,
    commandLine: (platform) => (platform === 'xen' ? 'console=hvc0' : 'console=ttyS0'),
    // Bochs's serial line loses some of the log behind this
    done: /round 5: /,
    halted: /reboot: (Power down|System halted)/,
    missing:
      existsSync(join(DEBIAN, 'vmlinux')) && existsSync(join(DEBIAN, 'initrd.gz'))
        ? null
        : 'no guest: run npm run guests',
  },
];
