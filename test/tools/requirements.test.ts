import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { requirementsPage, testsByRow, titlesOf } from '../../tools/requirements/report.ts';
import { currentPage, PAGE } from '../../tools/requirements.ts';

test('titles are found with the rows they name', () => {
  const text = [
    "test('[Q-1] no row', f);",
    "test('[D-77] one [A-99] two', f);",
    'test("[D-77] it\'s", f);',
    'const a = [1];',
  ].join('\n');
  const titles = titlesOf('a.test.ts', text);
  expect(titles.map((t) => t.title)).toEqual(['[D-77] one [A-99] two', "[D-77] it's"]);
  expect([...testsByRow(titles)]).toEqual([
    ['D-77', new Map([['a.test.ts', 2]])],
    ['A-99', new Map([['a.test.ts', 1]])],
  ]);
});

test('the page names rows without a test, with the reason where there is one', () => {
  const rows = [
    { id: 'D-1', what: 'one' },
    { id: 'D-2', what: 'two', reason: 'later' },
    { id: 'D-3', what: 'three' },
  ];
  const page = requirementsPage(rows, [{ file: 'x.test.ts', title: '[D-1] [E-9] a' }]);
  expect(page).toContain('1 of 3 rows have a test. Without one and without a reason: D-3.');
  expect(page).toContain('| D-1 | one | x.test.ts (1) |');
  expect(page).toContain('| D-2 | two | – later |');
  expect(page).toContain('| E-9 | x.test.ts (1) |');
});

test('docs/requirements.md is up to date (node tools/run.mjs requirements)', () => {
  expect(readFileSync(PAGE, 'utf8')).toBe(currentPage());
});
