/** A program of our own as PID 1 of Debian's kernel: built on the spot, booted by the command line. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { writeCpio } from '../../tools/guests/cpio.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const KERNEL = join(ROOT, '.cache/guests/debian/vmlinux');

/** What the program printed in lines that begin with the prefix, and how the run ended. */
export interface Boot {
  readonly lines: string[];
  readonly verdict: string;
}

export class GuestProgram {
  readonly #folder = mkdtempSync(join(tmpdir(), 'program-'));
  /** Why it cannot be booted here, or null. */
  readonly missing: string | null;
  readonly #program = join(this.#folder, 'init');

  /** `source` lies in user/; `flags` are gcc's. */
  constructor(source: string, flags: readonly string[]) {
    const path = join(import.meta.dirname, 'user', source);
    const built = spawnSync('gcc', [...flags, '-static', '-Wl,--build-id=none', '-o', this.#program, path]);
    this.missing = !existsSync(KERNEL) ? 'no guests' : built.status === 0 ? null : `gcc ${flags.join(' ')} fails`;
  }

  #archive(): string {
    const path = join(this.#folder, 'initrd.gz');
    const archive = writeCpio([
      { kind: 'directory', path: 'dev', mode: 0o755 },
      { kind: 'character', path: 'dev/console', mode: 0o600, major: 5, minor: 1 },
      { kind: 'file', path: 'init', mode: 0o755, data: readFileSync(this.#program) },
    ]);
    writeFileSync(path, gzipSync(archive));
    return path;
  }
  #hindsight(verb: string, argument: string, ...options: readonly string[]): { stdout: string; stderr: string } {
    const script = join(ROOT, 'tools/hindsight.sh');
    return spawnSync('sh', [script, verb, argument, '--json', ...options], { encoding: 'utf8', cwd: this.#folder });
  }

  /** Boots it on a CPU. */
  boot(prefix: string, cpu = 'x86-64-v1'): Boot {
    const { stdout, stderr } = this.#hindsight(
      ...(['record', KERNEL, '--initrd', this.#archive(), '--memory', '256M', '--cpu', cpu] as const),
      ...['-o', cpu, '--', 'console=hvc0', 'quiet'],
    );
    const { verdict } = JSON.parse(stdout) as { verdict: { kind: string } };
    const lines = stderr.split(/\r?\n/).map((line) => line.trim());
    return { lines: lines.filter((line) => line.startsWith(prefix)), verdict: verdict.kind };
  }
  /** Whether the boot on a CPU replays. */
  replays(cpu = 'x86-64-v1'): boolean {
    const { stdout } = this.#hindsight('replay', cpu);
    return (JSON.parse(stdout) as { verified: boolean }).verified;
  }
  close(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
