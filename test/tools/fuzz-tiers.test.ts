import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const TOOL = join(resolve(import.meta.dirname, '../..'), 'tools/fuzz-tiers.ts');
/** Finds its mismatch in the program of seed 0. */
const MUTATION = 'hot: return address of the call itself';

const run = (...args: string[]): { status: number | null; stdout: string } =>
  spawnSync(process.execPath, [TOOL, '--seed', '0', ...args], { encoding: 'utf8' });

test('a mismatch ends with status 1, that of seed 0 too', () => {
  const { status, stdout } = run('--programs', '1', '--brief', '--mutation', MUTATION);
  expect([status, stdout]).toEqual([1, expect.stringMatching(/^MISMATCH seed 0, tick \d+: /)]);
  expect(run('--programs', '1').status).toBe(0);
});

test('what is left of a program can be run again', () => {
  expect(run('--stops', '3,100', '--units', '0,1')).toMatchObject({ status: 0, stdout: 'the tiers agree\n' });
});
