/** GRUB images for Xen PV, made by Debian's grub-mkimage run from the unpacked package. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CpioEntry, writeCpio } from './cpio.ts';
import type { PackageSource } from './packages.ts';

/** Target names of grub-mkimage. */
export type GrubTarget = 'x86_64-xen' | 'i386-xen';

/** Libraries that grub-mkimage wants and a lean host may lack. */
const LIBRARY_PACKAGES = ['libdevmapper1.02.1', 'libselinux1', 'libudev1', 'liblzma5', 'libpcre2-8-0'];

const PROMPT_MODULES = [
  ...[
    'normal',
    'ls',
    'echo',
    'cat',
    'date',
    'datetime',
    'sleep',
    'halt',
    'reboot',
    'help',
    'terminal',
    'test',
    'true',
    'eval',
  ],
  ...[
    'minicmd',
    'configfile',
    'read',
    'regexp',
    'hexdump',
    'hashsum',
    'gcry_sha256',
    'gcry_md5',
    'lsxen',
    'memdisk',
    'newc',
  ],
];
const TRACE_MODULES = ['normal', 'ls', 'echo', 'date', 'sleep', 'halt'];

/** What the reference trace ran (the order of its console flushes): echoes, date, ls, an echo, a sleep, the end. */
const TRACE_CONFIG = `echo "GRUB for Xen: a run for the trace."
echo "Second line, before the date and the list of disks."
date
ls
echo "Halting."
sleep 2
halt
`;

const MEMDISK: CpioEntry[] = [
  { kind: 'directory', path: 'boot', mode: 0o755 },
  {
    kind: 'file',
    path: 'hello.txt',
    mode: 0o644,
    data: new TextEncoder().encode('Hello from the memory disk.\nTry: ls, date, echo, help, sleep, reboot, halt.\n'),
  },
];

/** grub-mkimage with what it takes to run it here. */
export class GrubMaker {
  readonly #modules: string;
  readonly #command: string;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #scratch: string;

  constructor(packages: PackageSource, scratch: string, log: (line: string) => void) {
    this.#modules = join(packages.unpack('grub-xen-bin').root, 'usr/lib/grub');
    this.#command = join(packages.unpack('grub-common').root, 'usr/bin/grub-mkimage');
    this.#scratch = scratch;
    this.#environment = { ...process.env };
    mkdirSync(scratch, { recursive: true });
    if (this.#runs()) return;
    log('grub-mkimage lacks libraries on this host: getting them too');
    const roots = LIBRARY_PACKAGES.map((name) => packages.unpack(name).root);
    const folders = roots.flatMap((root) => ['lib', 'usr/lib'].map((lib) => join(root, lib, 'x86_64-linux-gnu')));
    this.#environment.LD_LIBRARY_PATH = folders.filter((folder) => existsSync(folder)).join(':');
    if (!this.#runs())
      throw new Error(`${this.#command} does not run on this host (it is a program for amd64 Linux with glibc)`);
  }

  /** An image that ends in the `grub>` prompt, with a memory disk to look at. */
  makePrompt(target: GrubTarget, output: string): void {
    const memdisk = join(this.#scratch, 'memdisk.cpio');
    writeFileSync(memdisk, writeCpio(MEMDISK));
    this.#make(target, output, ['-p', '(memdisk)/boot', '-m', memdisk], PROMPT_MODULES);
  }

  /** The image of the reference trace: runs its embedded configuration and halts. */
  makeTrace(target: GrubTarget, output: string): void {
    const config = join(this.#scratch, 'trace.cfg');
    writeFileSync(config, TRACE_CONFIG);
    this.#make(target, output, ['-p', '/boot/grub', '-c', config], TRACE_MODULES);
  }

  #make(target: GrubTarget, output: string, options: string[], modules: string[]): void {
    const folder = join(this.#modules, target);
    const there = new Set(readdirSync(folder));
    const missing = modules.filter((module) => !there.has(`${module}.mod`));
    if (missing.length > 0) throw new Error(`grub-xen-bin has no module ${missing.join(', ')} for ${target}`);
    execFileSync(this.#command, ['-d', folder, '-O', target, '-o', output, ...options, ...modules], {
      env: this.#environment,
      stdio: ['ignore', 2, 2],
    });
  }

  #runs(): boolean {
    try {
      execFileSync(this.#command, ['--version'], { env: this.#environment, stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  }
}
