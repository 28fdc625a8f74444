/** What is watched is met by exactly the accesses that there are, and pauses come before exactly the steps that begin there, in every tier. */
import { describe, expect, it } from 'vitest';
import type { WatchRange } from '../../src/memory/watches.ts';
import { A, CODE, DATA, TestMachine } from './machine.ts';
import { EAGER } from './pair.ts';

const TIERS = ['oracle', 'cold', 'hot'] as const;
type Access = NonNullable<WatchRange['access']>;
const ACCESSES: readonly Access[] = ['read', 'write', 'any'];

/** Runs code with rdi at a page of data until so many steps are taken or something is met: steps, and what was met. */
function firstMet(
  tier: (typeof TIERS)[number],
  code: string,
  ranges: readonly { readonly at: bigint; readonly bytes?: number; readonly access: Access }[],
  { steps = 40, setUp = () => {} }: { steps?: number; setUp?: (m: TestMachine) => void } = {},
): { steps: number; met: number[] } | null {
  const m = new TestMachine({ tier, promotion: EAGER });
  m.code(code);
  m.mapNew(DATA, 3);
  m.set('rdi', DATA);
  m.set('rsi', DATA + 0x100n);
  m.platform.resume = (cpu) => {
    cpu.rip = CODE + 0x800n;
    return null;
  };
  setUp(m);
  m.engine.watch(ranges.map(({ at, bytes = 1, access }) => ({ address: m.pa(DATA + at), bytes, access })));
  for (let left = steps; left > 0; ) {
    const exit = m.run(left);
    left -= exit.steps;
    if (exit.kind === 'watch') return { steps: steps - left, met: [...m.engine.takeMet()] };
    expect(m.engine.takeMet()).toEqual([]);
  }
  return null;
}

/** Code, distance of the byte it accesses from DATA, and how. */
const CASES: ReadonlyArray<readonly [string, string, bigint, readonly Access[]]> = [
  ['a load', '48 8b 47 08', 0xfn, ['read']],
  ['a store', '48 89 47 08', 8n, ['write']],
  ['a read-modify-write', '48 01 47 08', 8n, ['read', 'write']],
  ['XCHG', '48 87 47 08', 8n, ['read', 'write']],
  ['CMPXCHG that fails', '48 c7 c0 05 00 00 00  48 0f b1 4f 08', 8n, ['read', 'write']],
  ['a comparison', '48 39 47 08', 8n, ['read']],
  ['a load across pages, its last byte', '48 8b 87 fc 0f 00 00', 0x1003n, ['read']],
  ['a store across pages, its last byte', '48 89 87 fc 0f 00 00', 0x1003n, ['write']],
  ['a vector load', '0f 10 07', 15n, ['read']],
  ['FLD, in TypeScript', 'd9 07', 3n, ['read']],
  ['FSTP', 'd9 e8 d9 1f', 3n, ['write']],
  ['FXSAVE', '0f ae 07', 0x20n, ['write']],
  ['POP of a stack there', '48 89 fc 58', 7n, ['read']],
  ['PUSH', '48 8d 67 10 50', 8n, ['write']],
  ['REP MOVSB, the source', '48 c7 c1 03 00 00 00  f3 a4', 0x102n, ['read']],
  ['REP MOVSB, the destination', '48 c7 c1 03 00 00 00  f3 a4', 2n, ['write']],
];

describe.each(TIERS)('what is watched, %s tier', (tier) => {
  it.each(CASES)('is met by %s', (_, code, at, kinds) => {
    for (const access of ACCESSES) {
      const wanted = access === 'any' || kinds.includes(access);
      const found = firstMet(tier, code, [
        { at: 0x2000n, access: 'any' },
        { at, access },
      ]);
      expect([access, found?.met ?? null]).toEqual([access, wanted ? [1] : null]);
      // the byte behind, on the same page
      if (at !== 2n && at !== 0x102n && code !== '0f ae 07')
        expect(firstMet(tier, code, [{ at: at === 8n ? 0x10n : at + 1n, access }])).toBeNull();
    }
  });
  it('is met by one iteration of a REP', () => {
    const code = '48 c7 c1 09 00 00 00  f3 a4';
    expect(firstMet(tier, code, [{ at: 0x104n, bytes: 3, access: 'read' }])).toEqual({ steps: 6, met: [0] });
    expect(firstMet(tier, code, [{ at: 6n, access: 'any' }])).toEqual({ steps: 8, met: [0] });
  });
  it('names all that one step has met', () => {
    const ranges: { at: bigint; bytes?: number; access: Access }[] = [
      { at: 0n, access: 'write' },
      { at: 0x100n, access: 'read' },
      { at: 0x100n, access: 'write' },
      { at: 0x100n, bytes: 64, access: 'any' },
    ];
    expect(firstMet(tier, '90 a4', ranges)).toEqual({ steps: 2, met: [0, 1, 3] });
  });
  it('is not met by what an instruction read that faults', () => {
    // add rax, [rdi]; push [rdi] on a stack that is not mapped
    const code = '48 31 e4  ff 37';
    expect(firstMet(tier, code, [{ at: 0n, access: 'any' }])).toBeNull();
  });
  it('is not met by fetches and page walks', () => {
    const m = new TestMachine({ tier });
    m.code('48 8b 07 eb fb');
    m.mapNew(DATA, 1);
    m.set('rdi', DATA);
    const watched = [m.pa(CODE), m.entry(DATA), m.entry(CODE)];
    m.engine.watch(watched.map((address) => ({ address, bytes: 8, access: 'read' as const })));
    expect(m.run(100)).toEqual({ kind: 'budget', steps: 100 });
  });
  it('is met by writes of whoever writes through guest memory, not by their reads', () => {
    const m = new TestMachine({ tier });
    m.mapNew(DATA, 1);
    m.engine.watch([{ address: m.pa(DATA), bytes: 8, access: 'any' }]);
    m.memory.read64(m.pa(DATA));
    expect(m.engine.takeMet()).toEqual([]);
    m.memory.write8(m.pa(DATA) + 7, 1);
    expect(m.engine.takeMet()).toEqual([0]);
  });
  it('is met in each round of a loop, as far as it goes, and nothing is once nothing is watched', () => {
    // inc [rdi+8]; mov rax, [rdi+16]; jmp
    const m = new TestMachine({ tier, promotion: EAGER });
    m.code('48 ff 47 08  48 8b 47 10  eb f6');
    m.mapNew(DATA, 1);
    m.set('rdi', DATA);
    m.run(999);
    const met: number[][] = [];
    m.engine.watch([
      { address: m.pa(DATA) + 8, bytes: 8, access: 'read' },
      { address: m.pa(DATA) + 16, bytes: 8, access: 'write' },
      { address: m.pa(DATA) + 16, bytes: 8, access: 'read' },
    ]);
    let steps = 0;
    while (steps < 300) {
      const exit = m.run(300 - steps);
      steps += exit.steps;
      if (exit.kind === 'watch') met.push([...m.engine.takeMet()]);
    }
    expect(met).toEqual(Array.from({ length: 200 }, (_, i) => (i % 2 === 0 ? [0] : [2])).slice(0, met.length));
    expect(met.length).toBeGreaterThan(198);
    m.engine.watch([]);
    expect(m.run(1000)).toEqual({ kind: 'budget', steps: 1000 });
  });
});

describe.each(TIERS)('pauses, %s tier', (tier) => {
  /** Steps from pause to pause until so many are taken. */
  const pauses = (m: TestMachine, steps: number): number[] => {
    const found: number[] = [];
    let resume = false;
    for (let taken = 0; taken < steps; ) {
      const exit = m.engine.run(m.cpu, steps - taken, m.platform, resume);
      taken += exit.steps;
      resume = exit.kind === 'pause';
      if (resume) found.push(taken);
    }
    return found;
  };
  it('come before each iteration of a REP, however the run is cut', () => {
    const m = new TestMachine({ tier, promotion: EAGER });
    m.code('48 c7 c1 04 00 00 00  f3 aa  eb f5');
    m.mapNew(DATA, 1);
    m.set('rdi', DATA);
    m.engine.pauseAt(new Set([CODE + 7n]));
    expect(pauses(m, 6)).toEqual([1, 2, 3, 4]);
    expect(pauses(m, 6)).toEqual([1, 2, 3, 4]);
  });
  it('come before an instruction that crosses a page, in a loop as well', () => {
    const m = new TestMachine({ tier, promotion: EAGER });
    m.code('eb 00', CODE + 0xff8n);
    // jmp to the next; mov eax, imm32 across the page's end; jmp back
    m.write(CODE + 0xff8n, new Uint8Array([0xeb, 2, 0x90, 0x90, 0xb8, 1, 2, 3, 4, 0xeb, 0xf5]));
    m.engine.pauseAt(new Set([CODE + 0xffcn]));
    expect(pauses(m, 9)).toEqual([1, 4, 7]);
  });
  it('come before what is no instruction or cannot be fetched, and leave the accessed bit of its page', () => {
    const m = new TestMachine({ tier });
    m.code('0f ff', CODE, 2);
    const away = CODE + 0x10_0000n;
    m.write(CODE + 0x10n, new Uint8Array([0xe9, 0xeb, 0x0f, 0, 0]));
    let next = 0;
    const places = [CODE + 0x10n, away];
    m.platform.resume = (cpu) => {
      cpu.rip = places[next++]!;
      return null;
    };
    m.engine.pauseAt(new Set([CODE, CODE + 0x1000n, away]));
    expect(m.run(9)).toEqual({ kind: 'pause', steps: 0, event: false });
    expect(m.engine.run(m.cpu, 1, m.platform, true)).toEqual({ kind: 'event', steps: 1 });
    expect(m.cpu.rip).toBe(CODE + 0x10n);
    expect(m.run(9)).toEqual({ kind: 'pause', steps: 1, event: false });
    expect([m.cpu.rip, m.pte(CODE + 0x1000n) & A]).toEqual([CODE + 0x1000n, 0n]);
    m.cpu.rip = away;
    expect([m.run(9), m.engine.isBeforePause(m.cpu)]).toEqual([{ kind: 'pause', steps: 0, event: false }, true]);
  });
});
