/**
 * Boots a PVH kernel on Bochs without disk or BIOS: a ROM of 64 KiB that enters the kernel as the PVH protocol says, and one image of
 * guest memory that Bochs loads before it starts (`optramimage1`).
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileNotes, PT_LOAD, readElf, segmentBytes } from '../../src/xen/loader/elf.ts';
import { XEN_ELFNOTE } from '../../src/xen/loader/notes.ts';
import { PackageSource } from '../guests/packages.ts';

/** An unpacked Bochs: the program and where it finds its parts. */
export interface BochsParts {
  readonly program: string;
  readonly libraries: string;
  readonly plugins: string;
  readonly vgaBios: string;
}

const PACKAGES = ['bochs', 'bochs-term', 'vgabios', 'libltdl7'] as const;
const LIBRARIES = 'usr/lib/x86_64-linux-gnu';

/** Bochs in `folder` (see {@link fetchBochs}), or why it cannot be used. */
export function findBochs(folder: string): BochsParts | string {
  const missing = PACKAGES.filter((name) => !existsSync(join(folder, name)));
  if (missing.length > 0) return `not fetched (${missing.join(', ')}): run with --fetch`;
  const plugins = ['bochs', 'bochs-term'].map((name) => join(folder, name, LIBRARIES, 'bochs/plugins'));
  return {
    program: join(folder, 'bochs/usr/bin/bochs-bin'),
    libraries: join(folder, 'libltdl7', LIBRARIES),
    plugins: plugins.join(':'),
    vgaBios: join(folder, 'vgabios/usr/share/vgabios/vgabios.bin'),
  };
}
/** Downloads and unpacks Debian's Bochs without installing it. */
export function fetchBochs(folder: string, log: (line: string) => void): void {
  const source = new PackageSource(folder, log);
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

/** Writes everything a run needs to `folder`; returns the command, its environment and the file of the serial console. */
export function prepareBochs(
  parts: BochsParts,
  folder: string,
  guest: { kernel: string; initrd: string | null; commandLine: string; megabytes: number },
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
    'cpu: count=1, ips=100000000, reset_on_triple_fault=0, model=bx_generic',
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
  // Debian's build contains the debugger, which waits for a command
  writeFileSync(file('continue'), 'c\n');
  return {
    command: [parts.program, '-q', '-f', file('bochsrc'), '-rc', file('continue')],
    environment: { LD_LIBRARY_PATH: parts.libraries, LTDL_LIBRARY_PATH: parts.plugins, TERM: 'xterm' },
    serial: file('serial.txt'),
  };
}
