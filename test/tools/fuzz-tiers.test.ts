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

test('the command that is printed shows what is left of a program again', () => {
  const { stdout } = run('--programs', '1', '--mutation', MUTATION);
  const [, command = '', wrong = ''] =
    /^again: node tools\/run\.mjs fuzz-tiers (.*--stops \S+(.*))$/m.exec(stdout) ?? [];
  expect(wrong).toBe(` --mutation '${MUTATION}'`);
  const left = command.slice(0, -wrong.length).replaceAll("''", '').split(' ');
  const step = /first (wrong step \d+\n.*)/.exec(stdout)?.[1];
  expect(run(...left, '--mutation', MUTATION)).toMatchObject({ status: 1, stdout: expect.stringMatching(`^${step}`) });
  expect(run(...left)).toMatchObject({ status: 0, stdout: 'the tiers agree\n' });
});
