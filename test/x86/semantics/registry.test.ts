/** Every form that the decoder reaches and that belongs here has a well-formed program. */
import { describe, expect, test } from 'vitest';
import { enumerateForms } from '../../../src/x86/decode/enumerate.ts';
import type { CodeMode } from '../../../src/x86/form.ts';
import { programOf, SEMANTICS } from '../../../src/x86/semantics/registry.ts';

describe('programs', () => {
  test.each([0, 1, 2] satisfies CodeMode[])('mode %i: every form that is not system has one', (mode) => {
    let count = 0;
    for (const form of enumerateForms(mode, 'x86-64-v2').keys()) {
      if (form.system) continue;
      expect(programOf(form), form.key).not.toBeNull();
      count++;
    }
    expect(count).toBeGreaterThan(300);
  });
  test('system forms have none', () => {
    const forms = [...enumerateForms(2, 'x86-64-v2').keys()].filter((form) => form.system);
    expect(forms.length).toBeGreaterThan(20);
    for (const form of forms) expect(programOf(form)).toBeNull();
  });
  test('no semantics lack an opcode', () => {
    const modes = [0, 1, 2] satisfies CodeMode[];
    const named = new Set(modes.flatMap((mode) => [...enumerateForms(mode, 'x86-64-v2').keys()].map((x) => x.name)));
    const unused = Object.keys(SEMANTICS).filter((name) => !named.has(name));
    expect(unused).toEqual([]);
  });
  test('a comparison of 32 bits stays within 12 micro-ops, JE within 3', () => {
    const size = (key: string): number => {
      const form = [...enumerateForms(2, 'x86-64-v1').keys()].find((x) => x.key === key)!;
      const program = programOf(form)!;
      return program.body.filter((node) => node.op !== 'const').length + program.commits.length;
    };
    expect(size('cmp.4.m,r')).toBeLessThanOrEqual(12);
    expect(size('jcc#4.8.imm')).toBeLessThanOrEqual(3);
  });
});
