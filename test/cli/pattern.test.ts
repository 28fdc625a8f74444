/** Patterns of users are matched in time that grows with the text, whatever they and the guest say. */
import { beforeAll, expect, test } from 'vitest';
import { parseTypeRule } from '../../src/cli/parsers.ts';
import { allowLinearPatterns } from '../../src/cli/v8-flags.ts';
import { beforePatterns, patternOf } from '../../src/core/pattern.ts';
import { errorOf } from '../support/error.ts';

beforeAll(() => beforePatterns(allowLinearPatterns));

test.each(['(a+)+c', '(a|a)*c', '(a*)*c', '^(([a-z])+.)+[A-Z]$'])('%s over text that it almost matches', (source) => {
  // by backtracking alone: longer than the world is old
  expect(patternOf(source).test(`${'a'.repeat(5000)}b`)).toBe(false);
});
test.each(['(?=a+)b', '(a+)\\1+c', '(?!x)y'])('%s has no such matching and is refused', (source) => {
  expect(() => patternOf(source)).toThrow(/bounded time/);
  expect(errorOf(() => parseTypeRule(`${source}=>x`))).toMatch(/^E_USAGE: --type .*bounded time/);
});
test('the usual ones are taken', () => {
  for (const source of ['login: $', '^# ', 'a{3}', '\\bpanic\\b', '[a-z]+', 'x|y', '(?<=\\d)s', '\\$ $'])
    expect(patternOf(source)).toBeInstanceOf(RegExp);
  expect(patternOf('^b$').test('a\nb\nc')).toBe(true);
});
