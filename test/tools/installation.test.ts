/** What an installation leaves, and what an older Node runs of it. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, expect, it, vi } from 'vitest';

vi.setConfig({ testTimeout: 600_000 });
const ROOT = resolve(import.meta.dirname, '../..');
/** The path without this project's commands: the system's node and npm, where there are any. */
const PATH = (process.env.PATH ?? '')
  .split(':')
  .filter((folder) => !folder.includes('node_modules'))
  .join(':');
const env = { ...process.env, PATH };
const hasNpm = spawnSync('npm', ['--version'], { env }).status === 0;
const isOwn = !lstatSync(join(ROOT, 'node_modules')).isSymbolicLink();

describe.runIf(isOwn)('an installation', () => {
  it('has the command where npx finds it, and no bin that sends npx to its cache', () => {
    expect(readlinkSync(join(ROOT, 'node_modules/.bin/hindsight'))).toBe('../../tools/hindsight.sh');
    for (const file of ['package.json', 'package-lock.json']) {
      const manifest = JSON.parse(readFileSync(join(ROOT, file), 'utf8'));
      expect((manifest.packages?.[''] ?? manifest).bin).toBeUndefined();
    }
  });

  it.runIf(hasNpm)('answers npx whatever npm has in its cache', () => {
    const home = mkdtempSync(join(tmpdir(), 'hindsight-home-'));
    mkdirSync(join(home, '.npm'));
    writeFileSync(join(home, '.npm/_npx'), 'no folder');
    const offline = { ...env, HOME: home, npm_config_cache: join(home, '.npm'), npm_config_offline: 'true' };
    const { status, stdout } = spawnSync('npx', ['hindsight', '--version'], {
      cwd: ROOT,
      env: offline,
      encoding: 'utf8',
    });
    expect([status, stdout]).toEqual([0, '0.1.0\n']);
    expect(readFileSync(join(home, '.npm/_npx'), 'utf8')).toBe('no folder');
    rmSync(home, { recursive: true });
  });

  it('runs tools in the Node of the system', () => {
    const run = (...args: string[]): string =>
      execFileSync('node', [join(ROOT, 'tools/run.mjs'), ...args], { env, encoding: 'utf8' });
    expect(existsSync(join(ROOT, 'tools/ir.ts'))).toBe(true);
    expect(run('ir', '90')).toContain('nop');
    for (const name of ['nosuch', '../src/cli/main', ''])
      expect(spawnSync('node', [join(ROOT, 'tools/run.mjs'), name], { env }).status).toBe(2);
  });
});
