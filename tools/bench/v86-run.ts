/** Boots the 686 guest of a folder on v86 until it halts: `v86-run.ts FOLDER MEGABYTES`; the console, then `{"ticks":N}`. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

interface Emulator {
  add_listener(event: 'serial0-output-byte', listener: (byte: number) => void): void;
  /** 32 bits; it wraps. */
  get_instruction_counter(): number;
}
interface Library {
  readonly V86: new (options: object) => Emulator;
}

const folder = resolve(process.argv[2]!);
const file = (name: string): string => join(folder, name);
const { V86 } = (await import(pathToFileURL(file('node_modules/v86/build/libv86.mjs')).href)) as Library;
const image = (name: string): { buffer: ArrayBuffer } => ({ buffer: new Uint8Array(readFileSync(file(name))).buffer });
const emulator = new V86({
  wasm_path: file('node_modules/v86/build/v86.wasm'),
  memory_size: Number(process.argv[3]) << 20,
  vga_memory_size: 2 << 20,
  bios: image('seabios.bin'),
  vga_bios: image('vgabios.bin'),
  bzimage: image('vmlinuz'),
  initrd: image('initrd.gz'),
  cmdline: 'console=ttyS0',
  autostart: true,
  disable_speaker: true,
});

let [ticks, last] = [0, 0];
function count(): void {
  const now = emulator.get_instruction_counter() >>> 0;
  ticks += (now - last) >>> 0;
  last = now;
}
setInterval(count, 500);
let console_ = '';
emulator.add_listener('serial0-output-byte', (byte) => {
  const character = String.fromCharCode(byte);
  process.stdout.write(character);
  console_ = (console_ + character).slice(-100);
  if (!/reboot: (Power down|System halted)/.test(console_)) return;
  count();
  process.stdout.write(`\n{"ticks":${ticks}}\n`, () => process.exit(0));
});
