import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { formsPage, undefinedFlags } from '../../tools/forms/page.ts';
import { currentPage, PAGE } from '../../tools/forms-page.ts';

const FLAGS =
  '/**\n * Text.\n *\n *   MUL IMUL            SF unchanged\n *   SHL                 AF 1; OF:\n *                       CF ^ SF\n */';

test('undefined flags are read from the comment that defines them', () => {
  expect([...undefinedFlags(FLAGS)]).toEqual([
    ['mul', 'SF unchanged'],
    ['imul', 'SF unchanged'],
    ['shl', 'AF 1; OF: CF ^ SF'],
  ]);
});

test('a form without a case stands out', () => {
  const page = formsPage({ silicon: 'none', seed: '1', modes: {} }, FLAGS);
  expect(page).toContain('**none**');
  expect(page).toMatch(/^\| imul \| .* \| SF unchanged \|$/m);
});

test('docs/forms.md is up to date (node tools/forms-page.ts), and every form was compared', () => {
  const page = readFileSync(PAGE, 'utf8');
  expect(page).toBe(currentPage());
  expect(page).not.toContain('**none**');
});
