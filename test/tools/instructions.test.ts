import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { currentPage, definedValues, PAGE } from '../../tools/instructions.ts';

test('docs/instructions.md is up to date', () => {
  expect(readFileSync(PAGE, 'utf8')).toBe(currentPage());
});

test('the values of undefined flags are read from flags.ts', () => {
  const values = definedValues();
  expect(values.get('IMUL')).toBe('SF ZF AF PF unchanged');
  expect(values.get('SHLD')).toContain('OF = CF for SHLD counts from 16 on');
  expect(values.has('AAD')).toBe(true);
});
