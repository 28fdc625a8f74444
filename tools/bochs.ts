/**
 * Boots a PVH kernel on Bochs without disk or BIOS: a ROM of 64 KiB that enters the kernel as the PVH protocol says, and one image of
 * guest memory that Bochs loads before it starts (`optramimage1`). `npm run bochs` gets Bochs without root and says whether it runs.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileNotes, PT_LOAD, readElf, segmentBytes } from '../src/elf/elf.ts';
import { XEN_ELFNOTE } from '../src/xen/loader/notes.ts';
import { commandLine } from './command-line.ts';
import { PackageSource } from './guests/packages.ts';

/** Where fetched emulators are unpacked, a folder a package. */
export const PEER_FOLDER = join(import.meta.dirname, '../.cache/peers');

/** A Bochs that runs: the program, where it finds its parts, and what its environment needs. */
export interface BochsParts {
  readonly program: string;
  readonly vgaBios: string;
  readonly environment: Readonly<Record<string, string>>;
}

const PACKAGES = ['bochs', 'bochs-term', 'vgabios', 'libltdl7'] as const;
const LIBRARIES = 'usr/lib/x86_64-linux-gnu';

/** The Bochs of the packages unpacked at `rootOf`, or why it cannot be used. */
function partsAt(rootOf: (name: (typeof PACKAGES)[number]) => string): BochsParts | string {
  const plugins = ['bochs', 'bochs-term'] as const;
  const parts = {
    program: join(rootOf('bochs'), 'usr/bin/bochs-bin'),
    vgaBios: join(rootOf('vgabios'), 'usr/share/vgabios/vgabios.bin'),
    environment: {
      LD_LIBRARY_PATH: join(rootOf('libltdl7'), LIBRARIES),
      LTDL_LIBRARY_PATH: plugins.map((name) => join(rootOf(name), LIBRARIES, 'bochs/plugins')).join(':'),
      TERM: 'xterm',
    },
  };
  const terminal = join(rootOf('bochs-term'), LIBRARIES, 'bochs/plugins/libbx_term_gui.so');
  const absent = [parts.program, parts.vgaBios, terminal].find((path) => !existsSync(path));
  if (absent !== undefined) return `${absent} is missing`;
  // Debian's Bochs is linked with GTK, which a fetched one takes from the host
  const { status, stderr } = spawnSync(parts.program, ['--help'], { env: parts.environment, encoding: 'utf8' });
  return status === 0 ? parts : `${parts.program} does not run: ${stderr.trim()}`;
}
/** The host's Bochs (Debian: bochs, bochs-term and vgabios), else the one fetched by {@link fetchBochs}, else why there is none. */
export function findBochs(): BochsParts | string {
  const installed = partsAt(() => '/');
  if (typeof installed !== 'string') return installed;
  const fetched = partsAt((name) => join(PEER_FOLDER, name));
  return typeof fetched === 'string' ? `${fetched} (npm run bochs fetches it)` : fetched;
}
/** Downloads and unpacks Debian's Bochs without installing it; throws when that fails. */
export function fetchBochs(log: (line: string) => void): void {
  const source = new PackageSource(PEER_FOLDER, log);
  for (const name of PACKAGES) source.unpack(name);
}

const START_INFO = 0x9000;
const MODULES = START_INFO + 0x100;
const COMMAND_LINE = START_INFO + 0x200;
const MEMORY_MAP = START_INFO + 0x800;
const INITRD = 0x500_0000;
const HIGH_MEMORY = 0x10_0000;
/**
 * Bochs gives guest memory out in blocks of 128 KiB in the order of their first use, but loads an image into the place where memory
 * begins. The ROM therefore touches all blocks in ascending order; the three that lie behind VGA and ROM are never given out, so what
 * belongs above 1 MiB stands that much lower in the image.
 */
const BLOCK = 0x2_0000;
const NEVER_USED = 3 * BLOCK;

const le32 = (x: number): number[] => [x & 255, (x >> 8) & 255, (x >> 16) & 255, x >>> 24];

/** The ROM: protected mode with flat segments, every block touched, EBX at the start info. */
function rom(entry: number, memoryBytes: number): Uint8Array {
  const out = new Uint8Array(0x10000);
  const view = new DataView(out.buffer);
  // cli; A20 on by port 0x92; lgdt cs:[0x80]; mov eax, 0x11; mov cr0, eax; jmp 8:0xf0040
  out.set([0xfa, 0xe4, 0x92, 0x0c, 2, 0xe6, 0x92, 0x2e, 0x66, 0x0f, 0x01, 0x16, 0x80, 0]);
  out.set([0x66, 0xb8, ...le32(0x11), 0x0f, 0x22, 0xc0, 0x66, 0xea, ...le32(0xf0040), 8, 0], 14);
  // mov ax, 0x10; mov ds, es, ss, fs, gs
  out.set([0x66, 0xb8, 0x10, 0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0x8e, 0xe0, 0x8e, 0xe8], 0x40);
  // xor esi, esi; 1: mov al, [esi]; add esi, BLOCK; cmp esi, memory; jb 1
  out.set([0x31, 0xf6, 0x8a, 0x06, 0x81, 0xc6, ...le32(BLOCK), 0x81, 0xfe, ...le32(memoryBytes), 0x72, 0xf0], 0x4e);
  // mov ebx, start info; mov eax, entry; jmp eax
  out.set([0xbb, ...le32(START_INFO), 0xb8, ...le32(entry), 0xff, 0xe0], 0x60);
  out.set([0x17, 0, ...le32(0xf0088)], 0x80);
  view.setBigUint64(0x90, 0x00cf9b000000ffffn, true);
  view.setBigUint64(0x98, 0x00cf93000000ffffn, true);
  // the reset vector: jmp 0xf000:0
  out.set([0xea, 0, 0, 0, 0xf0], 0xfff0);
  return out;
}

/** Guest memory as the kernel finds it, in the order that Bochs wants. */
function memoryImage(
  kernel: Uint8Array,
  initrd: Uint8Array | null,
  commandLine: string,
  memoryBytes: number,
): Uint8Array {
  const elf = readElf(kernel);
  const loaded = elf.segments.filter((segment) => segment.type === PT_LOAD);
  const kernelEnd = Math.max(...loaded.map(({ paddr, filesz }) => Number(paddr) + filesz));
  const out = new Uint8Array(initrd === null ? kernelEnd : INITRD + initrd.length);
  const view = new DataView(out.buffer);
  for (const segment of loaded) out.set(segmentBytes(elf, segment), Number(segment.paddr) - NEVER_USED);
  if (initrd !== null) out.set(initrd, INITRD - NEVER_USED);
  out.set(new TextEncoder().encode(commandLine), COMMAND_LINE);
  const put = (at: number, value: number): void => view.setBigUint64(at, BigInt(value), true);
  // struct hvm_start_info, version 1 (Xen's public/arch-x86/hvm/start_info.h)
  view.setUint32(START_INFO, 0x336ec578, true);
  view.setUint32(START_INFO + 4, 1, true);
  view.setUint32(START_INFO + 12, initrd === null ? 0 : 1, true);
  put(START_INFO + 16, MODULES);
  put(START_INFO + 24, COMMAND_LINE);
  put(START_INFO + 40, MEMORY_MAP);
  view.setUint32(START_INFO + 48, 2, true);
  put(MODULES, INITRD);
  put(MODULES + 8, initrd?.length ?? 0);
  for (const [i, [start, end]] of [
    [0, 0x9f000],
    [HIGH_MEMORY, memoryBytes],
  ].entries()) {
    put(MEMORY_MAP + i * 24, start!);
    put(MEMORY_MAP + i * 24 + 8, end! - start!);
    view.setUint32(MEMORY_MAP + i * 24 + 16, 1, true);
  }
  return out;
}

/** What to boot, by path. */
export interface BochsGuest {
  readonly kernel: string;
  readonly initrd: string | null;
  readonly commandLine: string;
  readonly megabytes: number;
  /** Physical address of the instruction before which the run ends; null to run until the guest shuts down. */
  readonly endAt: number | null;
  /** Whether RDMSR and WRMSR of an MSR that Bochs does not have raise #GP, as the manual says; Bochs ignores them otherwise. */
  readonly strictMsrs: boolean;
}

/**
 * Writes everything a run needs to `folder`; returns the command, its environment and the file of the serial console. What the guest
 * writes to port 0xE9 comes out on stdout, amid the words of Bochs's debugger.
 */
export function prepareBochs(
  parts: BochsParts,
  folder: string,
  guest: BochsGuest,
): { command: string[]; environment: Record<string, string>; serial: string } {
  const kernel = new Uint8Array(readFileSync(guest.kernel));
  const note = fileNotes(readElf(kernel)).find((x) => x.owner === 'Xen' && x.type === XEN_ELFNOTE.PHYS32_ENTRY);
  if (note === undefined) throw new Error(`${guest.kernel} has no PVH entry`);
  const entry = new DataView(note.desc.buffer, note.desc.byteOffset).getUint32(0, true);
  const bytes = guest.megabytes << 20;
  const file = (name: string): string => join(folder, name);
  const initrd = guest.initrd === null ? null : new Uint8Array(readFileSync(guest.initrd));
  writeFileSync(file('rom.bin'), rom(entry, bytes));
  writeFileSync(file('memory.bin'), memoryImage(kernel, initrd, guest.commandLine, bytes));
  const settings = [
    'plugin_ctrl: unmapped=1, biosdev=1, speaker=0, extfpuirq=1, parallel=0, serial=1',
    'config_interface: textconfig',
    'display_library: term',
    `megs: ${guest.megabytes}`,
    `cpu: count=1, ips=100000000, reset_on_triple_fault=0, model=bx_generic, ignore_bad_msrs=${guest.strictMsrs ? 0 : 1}`,
    `romimage: file=${file('rom.bin')}`,
    `vgaromimage: file=${parts.vgaBios}`,
    `optramimage1: file=${file('memory.bin')}, address=0x0`,
    `com1: enabled=1, mode=file, dev=${file('serial.txt')}`,
    'port_e9_hack: enabled=1',
    'clock: sync=none, time0=1767225600',
    `log: ${file('log.txt')}`,
    'panic: action=fatal',
    'error: action=report',
  ];
  writeFileSync(file('bochsrc'), `${settings.join('\n')}\n`);
  // Debian's build contains the debugger, which waits for commands
  const { endAt } = guest;
  writeFileSync(file('commands'), endAt === null ? 'c\n' : `pb 0x${endAt.toString(16)}\nc\nq\n`);
  return {
    command: [parts.program, '-q', '-f', file('bochsrc'), '-rc', file('commands')],
    environment: { ...parts.environment },
    serial: file('serial.txt'),
  };
}

function main(): void {
  const log = (line: string): void => console.error(`bochs: ${line}`);
  if (typeof findBochs() === 'string') fetchBochs(log);
  const found = findBochs();
  log(typeof found === 'string' ? found : `${found.program} runs`);
  if (typeof found === 'string') process.exitCode = 1;
}
if (import.meta.main) {
  commandLine({});
  main();
}
