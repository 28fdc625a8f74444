/** What has been translated once comes back where the same code stands in the same pages, and nowhere else. */
import { deserialize, serialize } from 'node:v8';
import { describe, expect, it } from 'vitest';
import {
  ENTRY,
  type TranslatedModule,
  Translations,
  type TranslationsData,
} from '../../../src/engine/hot/translations.ts';
import { CODE, DATA, parseHex, TestMachine } from '../machine.ts';
import { EAGER } from '../pair.ts';

/**
 * Two loops, the second in the next page: 1: add rax, rcx; inc ecx; test ecx, 63; jnz 1; jmp far; far: sub rbx, rax; inc edx;
 * and edx, 31; jnz far; jmp 1.
 */
const FIRST = '48 01 c8  ff c1  f7 c1 3f 00 00 00  75 f3  e9 ee 0f 00 00';
const SECOND = '48 29 c3  ff c2  83 e2 1f  75 f6  e9 f1 ef ff ff';

function machine(translations: Translations | null, tier: 'hot' | 'cold' = 'hot'): TestMachine {
  const host = translations === null ? {} : { translations: () => translations };
  const m = new TestMachine({ tier, promotion: EAGER, host });
  m.code(FIRST);
  m.write(CODE + 0x1000n, parseHex(SECOND));
  m.mapNew(DATA, 1);
  return m;
}
const countsOf = (m: TestMachine): { compiled: number; returned: number } => {
  const { compiled, returned } = m.engine.hot!;
  return { compiled, returned };
};
/** Runs in pieces of many lengths. */
function run(m: TestMachine, from = 0): string {
  for (let i = from; i < from + 40; i++) m.run(50 + i);
  return m.digest();
}
/** What one machine has translated, as another process gets it. */
function handedOn(): { translations: Translations; digest: string } {
  const translations = new Translations();
  const m = machine(translations);
  const digest = run(m);
  expect(countsOf(m).compiled).toBeGreaterThan(1);
  return { translations: new Translations(deserialize(serialize(translations.data)) as TranslationsData), digest };
}

describe('what has been translated', () => {
  it('comes back in another engine, which translates nothing and does the same', () => {
    const { translations, digest } = handedOn();
    const m = machine(translations);
    expect(run(m)).toBe(digest);
    expect(countsOf(m)).toEqual({ compiled: 0, returned: expect.toSatisfy((x: number) => x > 0) });
    expect(run(machine(null, 'cold'))).toBe(digest);
    expect(translations.changes).toBe(0);
  });

  it('comes back behind a reset, and when the bytes that changed are as they were', () => {
    const machines = [machine(null), machine(null, 'cold')];
    for (const m of machines) run(m);
    const before = countsOf(machines[0]!);
    for (const m of machines) m.engine.reset();
    expect(run(machines[0]!)).toBe(run(machines[1]!));
    expect(countsOf(machines[0]!).compiled).toBe(before.compiled);
    expect(countsOf(machines[0]!).returned).toBeGreaterThan(before.returned);
    const { returned } = countsOf(machines[0]!);
    for (const m of machines) {
      m.write(CODE, parseHex('48 01 d0'));
      run(m, 3);
      m.write(CODE, parseHex('48 01 c8'));
      m.cpu.rip = CODE;
    }
    expect(run(machines[0]!)).toBe(run(machines[1]!));
    expect(countsOf(machines[0]!).returned).toBeGreaterThan(returned);
  });

  it('does not come back as other code than it was made of', () => {
    const { translations } = handedOn();
    const machines = [machine(translations), machine(null, 'cold')];
    // add rax, rdx; and the second page as it was
    for (const m of machines) m.write(CODE, parseHex('48 01 d0'));
    const [hot, cold] = machines.map((m) => run(m));
    expect(hot).toBe(cold);
    expect(countsOf(machines[0]!).compiled).toBeGreaterThan(0);
  });

  it('does not come back over a pause', () => {
    const { translations } = handedOn();
    const m = machine(translations);
    m.engine.pauseAt(new Set([CODE + 3n]));
    const resume = (pass: boolean) => m.engine.run(m.cpu, 5000, m.platform, pass);
    for (let i = 0; i < 50; i++) {
      expect(resume(i > 0).kind).toBe('pause');
      expect(m.cpu.rip).toBe(CODE + 3n);
    }
    m.engine.pauseAt(new Set());
    const { returned } = countsOf(m);
    run(m);
    expect(countsOf(m).returned).toBeGreaterThan(returned);
  });

  it('does not come back for code that keeps changing', () => {
    const m = machine(null);
    run(m);
    const returns: number[] = [];
    for (let i = 0; i < 40; i++) {
      m.write(CODE, parseHex('48 01 d0'));
      m.write(CODE, parseHex('48 01 c8'));
      run(m);
      returns.push(countsOf(m).returned);
    }
    expect(returns[10]).toBeGreaterThan(returns[5]!);
    expect(returns.at(-1)).toBe(returns.at(-10));
  });

  describe('is bounded', () => {
    const moduleAt = (slot: number, bytes: number): TranslatedModule => ({
      bytes: new Uint8Array(bytes),
      helpers: [],
      regions: [
        {
          code: 2,
          pages: [{ number: 7, slot }],
          seeds: [{ page: 0, offset: 16 }],
          spanBytes: 0,
          blocks: Uint16Array.of(16 | ENTRY, 32),
          places: Uint16Array.of(16, 32),
          ranges: Uint16Array.of(0, 16, 40),
          text: new Uint8Array(24),
        },
      ],
    });
    const modulesAt = (t: Translations, slot: number): TranslatedModule[] =>
      (t.entriesIn(slot, 2)?.get(16) ?? []).map((x) => x.module);

    it('by four for a place, the newest', () => {
      const translations = new Translations();
      const modules = Array.from({ length: 6 }, () => moduleAt(3, 10));
      for (const module of modules) translations.add(module);
      expect(modulesAt(translations, 3)).toEqual(modules.slice(2));
      expect(translations.data.modules).toEqual(modules.slice(2));
      expect(translations.entriesIn(3, 2)?.has(32)).toBe(false);
      expect(translations.entriesIn(3, 1)).toBeUndefined();
    });
    it('by 16 MiB of modules, the newest', () => {
      const translations = new Translations();
      const modules = Array.from({ length: 5 }, (_, slot) => moduleAt(slot, 4 << 20));
      for (const module of modules) translations.add(module);
      expect(modulesAt(translations, 0)).toEqual([]);
      expect(translations.data.modules).toEqual(modules.slice(1));
    });
    it('and holds nothing of what something better was made of', () => {
      const translations = new Translations();
      const module = moduleAt(3, 10);
      translations.add(module);
      translations.forget(module, 0);
      translations.forget(module, 0);
      expect(translations.entriesIn(3, 2)).toBeUndefined();
      expect(translations.data.modules).toEqual([]);
      expect(translations.changes).toBe(2);
    });
  });
});
