import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readPlainFile } from '../../store/plain-file.ts';
import { errorOf } from '../support/error.ts';

let folder: string;
const at = (name: string): string => join(folder, name);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hindsight-plain-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('a plain file', () => {
  it('is read whole', () => {
    writeFileSync(at('file'), 'contents');
    expect(readPlainFile(at('file'), 'it', 8)?.toString()).toBe('contents');
  });
  it('is null where there is none', () => {
    expect(readPlainFile(at('missing'), 'it', 8)).toBeNull();
  });
  it('is refused before it is read where it is larger than makes sense', () => {
    writeFileSync(at('sparse'), '');
    truncateSync(at('sparse'), 2 ** 40);
    expect(errorOf(() => readPlainFile(at('sparse'), 'it', 4096))).toMatch(
      /^E_RECORDING: it .* has 1099511627776 bytes/,
    );
  });
});

describe('what is no plain file is refused, and never waited for', () => {
  it.each([
    ['a symbolic link', () => symlinkSync('/dev/null', at('odd'))],
    ['a symbolic link', () => symlinkSync('nowhere', at('odd'))],
    ['a directory', () => mkdirSync(at('odd'))],
    ['a FIFO', () => execFileSync('mkfifo', [at('odd')])],
  ])('%s', (kind, make) => {
    make();
    const text = errorOf(() => readPlainFile(at('odd'), 'it', 4096));
    expect(text).toBe(`E_RECORDING: it is ${kind}, not a plain file`);
  });
  it('a socket', async () => {
    const server = createServer().listen(at('odd'));
    await new Promise((resolve) => server.once('listening', resolve));
    expect(errorOf(() => readPlainFile(at('odd'), 'it', 4096))).toContain('is a socket');
    await new Promise((resolve) => server.close(resolve));
  });
  it('a device', () => {
    for (const path of ['/dev/zero', '/dev/tty'])
      expect(errorOf(() => readPlainFile(path, 'it', 4096))).toContain('is a device');
  });
});
