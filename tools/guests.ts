/**
 * `npm run guests`: real kernels from Debian's packages into .cache/guests, without root. What is there is left alone;
 * `--force` makes everything again (downloads are kept), `--json` prints the result as one JSON value on stdout.
 */
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { unpackKernel } from '../src/xen/loader/payload.ts';
import { commandLine } from './command-line.ts';
import { GrubMaker } from './guests/grub.ts';
import { buildInitrd } from './guests/initrd.ts';
import { PackageSource } from './guests/packages.ts';

const ROOT = resolve(import.meta.dirname, '..');
const GUESTS = join(ROOT, '.cache/guests');

const log = (line: string): void => console.error(`guests: ${line}`);

let packages: PackageSource | undefined;
let grub: GrubMaker | undefined;
/** Both look at the host when made, so they are made on first need: with all files there, apt is not asked. */
const source = (): PackageSource => (packages ??= new PackageSource(join(GUESTS, 'packages'), log));
const grubMaker = (): GrubMaker => (grub ??= new GrubMaker(source(), join(GUESTS, 'packages/scratch'), log));

function findKernel(): string {
  const name = source().newestKernel();
  if (name === null) throw new Error('the package lists hold no linux-image-6.1.0-*-amd64: run apt-get update');
  const boot = join(source().unpack(name).root, 'boot');
  return join(boot, readdirSync(boot).find((file) => file.startsWith('vmlinuz-'))!);
}

/** Each file, in dependency order, and how to make it at a temporary path. */
const RECIPES: Record<string, (output: string) => Promise<void> | void> = {
  'debian/vmlinuz': (output) => copyFileSync(findKernel(), output),
  'debian/vmlinux': async (output) =>
    writeFileSync(output, unpackKernel(readFileSync(join(GUESTS, 'debian/vmlinuz'))).elf),
  'debian/initrd.gz': (output) => {
    const busybox = join(source().unpack('busybox-static').root, 'bin/busybox');
    writeFileSync(output, gzipSync(buildInitrd(readFileSync(busybox)), { level: 9 }));
  },
  'grub/grub-x86_64-xen.elf': (output) => grubMaker().makePrompt('x86_64-xen', output),
  'grub/grub-i386-xen.elf': (output) => grubMaker().makePrompt('i386-xen', output),
  'grub/grub-x86_64-xen-trace.elf': (output) => grubMaker().makeTrace('x86_64-xen', output),
  'grub/grub-i386-xen-trace.elf': (output) => grubMaker().makeTrace('i386-xen', output),
};

async function make(
  name: string,
  force: boolean,
): Promise<{ path: string; bytes: number; sha256: string; made: boolean }> {
  const path = join(GUESTS, name);
  const made = force || !existsSync(path);
  if (made) {
    log(`making ${name}`);
    mkdirSync(resolve(path, '..'), { recursive: true });
    const unfinished = `${path}.unfinished`;
    await RECIPES[name]!(unfinished);
    renameSync(unfinished, path);
  }
  const content = readFileSync(path);
  const sha256 = createHash('sha256').update(content).digest('hex');
  log(`${made ? 'made' : 'have'} ${name} (${content.length} bytes, sha256 ${sha256.slice(0, 12)})`);
  return { path: relative(ROOT, path), bytes: content.length, sha256, made };
}

async function main(): Promise<number> {
  const { values } = commandLine({ options: { force: { type: 'boolean' }, json: { type: 'boolean' } } });
  try {
    const files = [];
    for (const name of Object.keys(RECIPES)) files.push(await make(name, values.force === true));
    if (values.json) console.log(JSON.stringify({ folder: relative(ROOT, GUESTS), files }, null, 2));
    return 0;
  } catch (error) {
    console.error(`guests: ${(error as Error).message}`);
    return 5;
  }
}

process.exitCode = await main();
