/** A static 32-bit program as PID 1 of Debian's amd64 kernel: every way into the kernel that its CPU has. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { writeCpio } from '../../tools/guests/cpio.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const KERNEL = join(ROOT, '.cache/guests/debian/vmlinux');
const SOURCE = join(import.meta.dirname, 'user/compat.S');
const folder = mkdtempSync(join(tmpdir(), 'compat-'));
const program = join(folder, 'init');
const built =
  spawnSync('gcc', ['-m32', '-nostdlib', '-static', '-Wl,--build-id=none', '-o', program, SOURCE]).status === 0;
const missing = !existsSync(KERNEL) ? 'no guests' : built ? null : 'no gcc for 32 bits';

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What the program prints, and how the run ends, on a CPU. */
function boot(cpu: string): { lines: string[]; verdict: string } {
  const initrd = join(folder, 'initrd.gz');
  const archive = writeCpio([
    { kind: 'directory', path: 'dev', mode: 0o755 },
    { kind: 'character', path: 'dev/console', mode: 0o600, major: 5, minor: 1 },
    { kind: 'file', path: 'init', mode: 0o755, data: readFileSync(program) },
  ]);
  writeFileSync(initrd, gzipSync(archive));
  const { stdout, stderr } = spawnSync(
    'sh',
    [
      ...[join(ROOT, 'tools/hindsight.sh'), 'record', KERNEL, '--initrd', initrd, '--memory', '256M', '--cpu', cpu],
      ...['--no-store', '--json', '--', 'console=hvc0', 'quiet'],
    ],
    { encoding: 'utf8', cwd: folder },
  );
  const { verdict } = JSON.parse(stdout) as { verdict: { kind: string } };
  return {
    lines: stderr.match(/32 bits: by .+(?=\r?\n)/g)?.map((line) => line.trimEnd()) ?? [],
    verdict: verdict.kind,
  };
}

describe.skipIf(missing !== null)(
  `a 32-bit program under an amd64 kernel${missing ? ` (skipped: ${missing})` : ''}`,
  () => {
    test('[D-46] [E-01] of an AMD CPU uses the vDSO by SYSCALL, and INT 0x80', () => {
      expect(boot('x86-64-v1')).toEqual({
        lines: ['32 bits: by the vDSO', '32 bits: by INT 0x80'],
        verdict: 'poweroff',
      });
    });
    test('[D-46] [E-01] of an Intel CPU uses the vDSO by SYSENTER, INT 0x80, and SYSENTER', () => {
      expect(boot('x86-64-v1-intel')).toEqual({
        lines: ['32 bits: by the vDSO', '32 bits: by INT 0x80', '32 bits: by SYSENTER'],
        verdict: 'poweroff',
      });
    });
  },
);
