/** The committed guest kernels that are written in C are what their sources build, with the compiler that built them. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const KERNELS = resolve(import.meta.dirname, '../../tools/guest-kernels');
/** Major version of the gcc that built them (Debian 12's); another one writes other code. */
const GCC = '12';
const gcc = spawnSync('gcc', ['-dumpversion'], { encoding: 'utf8' });
const sameCompiler = gcc.status === 0 && gcc.stdout.trim().split('.')[0] === GCC;

test.skipIf(!sameCompiler).each(['bench', 'endings', 'failing-boot', 'time-travel'])('%s, by gcc 12', (name) => {
  const folder = mkdtempSync(join(tmpdir(), 'kernel-'));
  try {
    const { status, stderr } = spawnSync('sh', [join(KERNELS, name, 'build.sh'), folder], { encoding: 'utf8' });
    expect(status, stderr).toBe(0);
    const [built, committed] = [folder, join(KERNELS, name)].map((at) => readFileSync(join(at, `${name}.elf`)));
    expect(built!.equals(committed!)).toBe(true);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
