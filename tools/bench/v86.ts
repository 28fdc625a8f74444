/**
 * v86, an emulator in JavaScript and WebAssembly for 32-bit guests: it boots Debian's 686 kernel with a 32-bit busybox and the same /init.
 * That is another guest, so only ticks per CPU second can be compared. Fetched beside Bochs, never installed.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { buildInitrd } from '../guests/initrd.ts';
import { PackageSource } from '../guests/packages.ts';
import type { Peer } from './peers.ts';
import { ROOT } from './workloads.ts';

const VERSION = '0.5.462';
const PARTS = ['node_modules/v86/build/v86.wasm', 'seabios.bin', 'vgabios.bin', 'vmlinuz', 'initrd.gz'] as const;

/** Downloads v86 from npm, SeaBIOS and the 686 kernel from Debian; what is there is left alone. */
export function fetchV86(peers: string, log: (line: string) => void): void {
  const folder = join(peers, 'v86');
  if (PARTS.every((part) => existsSync(join(folder, part)))) return;
  mkdirSync(folder, { recursive: true });
  log(`fetching v86 ${VERSION} from npm`);
  const flags = ['--no-audit', '--no-fund', '--no-save', '--ignore-scripts'];
  execFileSync('npm', ['install', '--prefix', folder, ...flags, `v86@${VERSION}`], { stdio: ['ignore', 2, 2] });
  const firmware = new PackageSource(peers, log).unpack('seabios').root;
  copyFileSync(join(firmware, 'usr/share/seabios/bios.bin'), join(folder, 'seabios.bin'));
  copyFileSync(join(firmware, 'usr/share/seabios/vgabios-stdvga.bin'), join(folder, 'vgabios.bin'));
  const source = new PackageSource(join(peers, 'i386'), log, 'i386');
  const boot = join(source.unpack(source.newestKernel()!).root, 'boot');
  copyFileSync(join(boot, readdirSync(boot).find((name) => name.startsWith('vmlinuz-'))!), join(folder, 'vmlinuz'));
  const busybox = readFileSync(join(source.unpack('busybox-static').root, 'bin/busybox'));
  writeFileSync(join(folder, 'initrd.gz'), gzipSync(buildInitrd(busybox), { level: 9 }));
}

/** The peer; it runs nothing but the boot. */
export function v86(peers: string): Peer {
  const folder = join(peers, 'v86');
  const absent = PARTS.filter((part) => !existsSync(join(folder, part)));
  return {
    name: 'v86',
    note: `v86 ${VERSION}, Debian's 686 kernel: another guest`,
    missing: absent.length === 0 ? null : `not fetched (${absent.join(', ')}): run with --fetch`,
    replays: null,
    workloads: ['boot'],
    sameGuest: false,
    start: ({ megabytes }) => ({
      command: [process.execPath, join(ROOT, 'tools/bench/v86-run.ts'), folder, String(megabytes)],
    }),
  };
}
