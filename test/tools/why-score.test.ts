/** `why` on some of the failing kernels of our own, and what its score counts as wrong. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { explain } from '../../tools/why-score/explain.ts';
import { type Answer, answers, build, canBuild, VARIANTS } from '../../tools/why-score/kernels.ts';
import { score, summary, type Told } from '../../tools/why-score/score.ts';

const FUNCTIONS = [
  { name: 'fill', start: 0x1000n, end: 0x1010n },
  { name: 'use', start: 0x1010n, end: 0x1020n },
];
const ANSWER: Answer = {
  ...{ verdict: 'crash', decides: ['base'], store: ['fill'], source: ['constant in use', 'initrd byte 3'], undo: true },
};
const SOURCE = { kind: 'constant', text: 'a constant', rip: '0x1018', what: null, offset: null };
const TOLD: Told = {
  ...{ verdict: { kind: 'crash' }, decides: { role: 'base' }, root: { store: { rip: '0x1008' }, source: SOURCE } },
  ...{ loop: null, wait: null, confirmed: true, chain: [] },
};
const marked = (told: Partial<Told>, answer: Partial<Answer> = {}): string =>
  score({ ...TOLD, ...told }, { ...ANSWER, ...answer }, FUNCTIONS).mark;

describe('the score of an answer', () => {
  it('is full where every part is right, whatever functions are called', () => {
    expect(marked({})).toBe('named');
    const built = { kind: 'built', text: '', rip: null, what: 'initrd', offset: 3 };
    expect(marked({ root: { store: { rip: '0x1000' }, source: built } })).toBe('named');
  });
  it('is worse for a wrong store or source than for none', () => {
    expect(marked({ root: null })).toBe('partly');
    expect(marked({ root: null, decides: null })).toBe('unnamed');
    expect(marked({ root: { store: { rip: '0x1018' }, source: SOURCE } })).toBe('misnamed');
    expect(marked({ root: { store: { rip: '0x1008' }, source: { ...SOURCE, rip: '0x1000' } } })).toBe('misnamed');
    expect(marked({}, { store: null })).toBe('misnamed');
    expect(marked({ root: { store: { rip: '0x1008' }, source: { ...SOURCE, kind: 'limit' } } })).toBe('partly');
  });
  it('asks of a hang who wrote the word, and what a vCPU waits for', () => {
    const hang = { ...{ verdict: 'hang', decides: null, store: null, source: null }, loopWriter: ['fill'] };
    const word = (rip: string): Told['loop'] => ({ word: { lastWriter: { rip } } });
    expect(marked({ verdict: { kind: 'hang' }, root: null, loop: word('0x1004') }, hang)).toBe('named');
    expect(marked({ verdict: { kind: 'hang' }, root: null, loop: word('0x1014') }, hang)).toBe('unnamed');
  });
  it('counts the stores that can be confirmed', () => {
    const one = score(TOLD, ANSWER, FUNCTIONS);
    const other = { answer: { ...ANSWER, undo: false }, score: { ...one, confirmed: null } };
    expect(summary([{ answer: ANSWER, score: one }, other])).toBe(
      '2 of 2 named (100.0 %), 0 partly, 0 unnamed, 0 misnamed; 1 of 1 stores confirmed (100.0 %)',
    );
  });
});

describe.skipIf(!canBuild())(
  'why of failing kernels, with their symbols, without, and with wrong ones (needs gcc)',
  () => {
    let folder = '';
    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), 'why-score-'));
    });
    afterAll(() => rmSync(folder, { recursive: true }));

    test.each(['wrong-level', 'return-context', 'initrd-record', 'wrong-call-number'])(
      '%s',
      { timeout: 120_000 },
      (name) => {
        const answer = answers()[name]!;
        const { paths, functions } = build(name, folder);
        for (const variant of VARIANTS) {
          const { mark, faults } = score(explain(paths[variant], answer, folder), answer, functions);
          expect({ variant, mark, faults }).toEqual({ variant, mark: 'named', faults: [] });
        }
      },
    );
  },
);
