import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { CAMPAIGN, type Campaign, casesOf, currentPage, definedValues, PAGE } from '../../tools/instructions.ts';
import { enumerateForms } from '../native/enumerate.ts';
import { MODE_64, MODE_COMPAT, MODE_PROT16, MODE_PROT32 } from '../native/records.ts';

const MODES: Record<string, number> = { 64: MODE_64, compat: MODE_COMPAT, prot32: MODE_PROT32, prot16: MODE_PROT16 };

test('docs/instructions.md is up to date (node tools/run.mjs instructions)', () => {
  expect(readFileSync(PAGE, 'utf8')).toBe(currentPage());
});

test('the last campaign of each mode compared every form, and nothing differed', () => {
  const campaign = JSON.parse(readFileSync(CAMPAIGN, 'utf8')) as Campaign;
  for (const [mode, ran] of Object.entries(campaign)) {
    const missing = enumerateForms(MODES[mode]!).forms.filter(({ name }) => casesOf(ran, name) === 0);
    expect(
      missing.map(({ name }) => name),
      mode,
    ).toEqual([]);
    for (const { differing } of [ran, ...(ran.later ?? [])]) expect(differing, mode).toBe(0);
  }
});

test('the values of undefined flags are read from flags.ts', () => {
  const values = definedValues();
  expect(values.get('IMUL')).toBe('SF ZF AF PF unchanged');
  expect(values.get('SHLD')).toContain('OF = CF for SHLD counts from 16 on');
  expect(values.has('AAD')).toBe(true);
});
