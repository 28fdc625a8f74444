import { describe, expect, it } from 'vitest';
import { codeKey, KEY } from '../../src/x86/code-key.ts';
import { FLAG, SEG, VECTOR } from '../../src/x86/state.ts';
import { setFlatSegment, setNullSegment } from '../../src/x86/system/descriptors.ts';
import { CODE, DATA, STACK_TOP, TestMachine, type TestOptions } from './machine.ts';
import { advance, type Random, randomMachine, randomOf, scramble } from './random.ts';

const SEEDS = Number(process.env.SEEDS ?? 6);
const FIRST = Number(process.env.FIRST ?? 1);
const DATA_SEGMENTS = [SEG.es, SEG.ss, SEG.ds, SEG.fs, SEG.gs];
const DR7_FIXED = 0x400;
const CR0_NE = 0x20n;

/** Puts a segment into `m` that ends among the data, or a flat or a null one. */
function randomSegment(m: TestMachine, random: Random, segment: number): void {
  const way = random() % 8;
  if (way < 3) {
    setFlatSegment(m.cpu, segment, 0, 0xc0f3);
    return;
  }
  if (way === 3 && segment !== SEG.ss) {
    setNullSegment(m.cpu, segment, 0);
    return;
  }
  const down = random() % 3 === 0;
  const readOnly = segment !== SEG.ss && random() % 4 === 0;
  const area = segment === SEG.ss ? STACK_TOP - 0x1000n : DATA;
  m.cpu.set('segmentBase', random() % 2 ? 0n : BigInt(random() % 64), segment);
  m.cpu.set('segmentLimit', area + BigInt(random() % 0x3000), segment);
  const big = random() % 4 === 0 ? 0 : 0x4000;
  m.cpu.set('segmentAttributes', 0xf1 | (readOnly ? 0 : 2) | (down ? 4 : 0) | big, segment);
}
/** Random segments, alignment checks and breakpoints; the same for the same numbers. */
function disturb(m: TestMachine, random: Random, legacy: boolean): void {
  const { cpu } = m;
  cpu.set('dr', DR7_FIXED, 7);
  if (legacy) {
    for (const segment of DATA_SEGMENTS) setFlatSegment(cpu, segment, 0, 0xc0f3);
    setFlatSegment(cpu, SEG.cs, 0, 0xc0fb);
    cpu.set('codeMode', 1);
    // user code has FS or GS of its own, and the rest flat
    const others = random() % 3 !== 0;
    for (const segment of others ? DATA_SEGMENTS : [SEG.fs, SEG.gs]) randomSegment(m, random, segment);
    if (!others) return;
    if (random() % 2) cpu.set('segmentLimit', cpu.rip + BigInt(random() % (random() % 2 ? 32 : 0x4000)), SEG.cs);
    cpu.set('codeMode', random() % 4 === 0 ? 0 : 1);
  }
  if (random() % 3 === 0) cpu.rflags |= 0x40000;
  const breakpoints = random() % 3 === 0;
  for (let i = 0; i < 4; i++) cpu.set('dr', (random() % 2 ? DATA : CODE) + BigInt(random() % 0x2000), i);
  cpu.set('dr', breakpoints ? DR7_FIXED | (random() & 0xff) | ((random() & 0xffff) << 16) : DR7_FIXED, 7);
}
/** A machine of random code that is in ring 3 with CR0.AM. */
function machine(seed: number, options: TestOptions, legacy: boolean): TestMachine {
  const m = randomMachine(seed, { ...options, cpl: 3 }, legacy ? 1 : 2);
  m.cpu.set('cr0', 0x80050011);
  return m;
}

describe('checked accesses', () => {
  const vectors = new Set<number>();
  for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
    const legacy = seed % 3 !== 0;
    const bits = legacy ? 'segmented' : '64-bit';
    it(`agree in every tier on random ${bits} code with breakpoints and alignment checks (seed ${seed})`, () => {
      const promotion = { sampleSteps: 5, samples: 1, misses: 1, batch: 1, patience: 1, sampleHops: 3, hops: 2 };
      const machines = [
        machine(seed, { tier: 'cold' }, legacy),
        machine(seed, { tier: 'oracle' }, legacy),
        machine(seed, { tier: 'hot', promotion }, legacy),
      ];
      const [cold] = machines as [TestMachine];
      const random = randomOf(seed + 77);
      for (let round = 0; round < 120; round++) {
        const budget = 1 + (random() % 40);
        const place = CODE + BigInt(random() % 0x3ff0);
        for (const m of machines) {
          scramble(m, randomOf(seed * 1000 + round));
          m.cpu.rip = place;
          disturb(m, randomOf(seed * 2000 + round), legacy);
          advance(m, budget);
        }
        for (const m of machines) {
          expect(m.platform.deliveries.at(-1)?.event).toEqual(cold.platform.deliveries.at(-1)?.event);
          expect(m.digest()).toBe(cold.digest());
        }
        for (const { event } of cold.platform.deliveries) vectors.add(event.vector);
      }
    });
  }
  it('are refused by every check there is', () => {
    for (const vector of [VECTOR.db, VECTOR.ac, VECTOR.ss, VECTOR.gp]) expect(vectors).toContain(vector);
  });
});

describe('the code key', () => {
  const compatible = (): TestMachine => {
    const m = new TestMachine();
    m.cpu.set('codeMode', 1);
    return m;
  };

  it('asks for no checks where segments are flat and begin where a page does; for FS and GS wherever they begin', () => {
    const m = compatible();
    expect(codeKey(m.cpu)).toBe(1);
    m.cpu.set('segmentBase', 0x1000n, SEG.ds);
    m.cpu.set('segmentBase', 0x1234n, SEG.fs);
    m.cpu.set('segmentBase', 0x1234n, SEG.gs);
    expect(codeKey(m.cpu)).toBe(1);
    m.cpu.set('segmentBase', 0x1234n, SEG.ds);
    expect(codeKey(m.cpu)).toBe(1 | KEY.checked);
  });
  it('looks at FS and GS by themselves: user code has one of them null', () => {
    const m = compatible();
    setNullSegment(m.cpu, SEG.fs, 0);
    expect(codeKey(m.cpu)).toBe(1 | KEY.fs);
  });
  it('asks for checks as soon as a segment that every instruction may use is not flat', () => {
    for (const segment of [SEG.es, SEG.cs, SEG.ss, SEG.ds]) {
      const m = compatible();
      m.cpu.set('segmentLimit', 0xfffff, segment);
      expect(codeKey(m.cpu)).toBe(1 | KEY.checked);
    }
  });
  it('knows no segments in 64-bit mode', () => {
    const m = new TestMachine();
    for (const segment of DATA_SEGMENTS) setNullSegment(m.cpu, segment, 0);
    expect(codeKey(m.cpu)).toBe(2);
  });

  it('keeps an access through a null FS out of the region around it', () => {
    const m = new TestMachine({
      tier: 'hot',
      promotion: { sampleSteps: 5, samples: 1, misses: 1, batch: 1, patience: 1, sampleHops: 3, hops: 2 },
    });
    // 1: inc eax; cmp eax, 1000; jne 1; mov ecx, fs:[ebx]; jmp 1
    m.code('40  3d e8 03 00 00  75 f8  64 8b 0b  eb f3');
    m.cpu.set('codeMode', 1);
    setNullSegment(m.cpu, SEG.fs, 0);
    m.mapNew(DATA, 1);
    m.set('rbx', DATA);
    m.set('rax', 0n);
    expect(m.run(10_000).steps).toBe(3000);
    expect(m.engine.hot!.compiled).toBeGreaterThan(0);
    expect(m.platform.deliveries.map(({ event, rip }) => [event.vector, rip])).toEqual([[VECTOR.gp, CODE + 8n]]);
  });
  it('is noticed when a segment changes between two runs over the same code', () => {
    for (const tier of ['cold', 'hot', 'oracle'] as const) {
      const m = new TestMachine({ tier });
      m.code('8b 03  90'); // mov eax, [ebx]; nop
      m.cpu.set('codeMode', 1);
      m.mapNew(DATA, 1);
      m.set('rbx', DATA);
      m.run(1);
      m.cpu.rip = CODE;
      m.cpu.set('segmentLimit', DATA + 2n, SEG.ds);
      m.run(1);
      expect(m.platform.deliveries.map(({ event, rip }) => [event.vector, rip])).toEqual([[VECTOR.gp, CODE]]);
    }
  });
});

/** In each tier: 32-bit code under flat segments with a page of code and, at DATA, two of data. */
describe.each(['cold', 'hot', 'oracle'] as const)('faults as AMD family 1Ah orders them, %s tier', (tier) => {
  const promotion = { sampleSteps: 1_000_000, samples: 1, misses: 1, batch: 1, patience: 1, sampleHops: 3, hops: 2 };
  function flat(code: string): TestMachine {
    const m = new TestMachine(tier === 'hot' ? { tier, promotion } : { tier });
    m.code(code);
    m.cpu.set('codeMode', 1);
    m.cpu.set('cr0', m.cpu.get('cr0') | CR0_NE);
    m.mapNew(DATA, 2);
    return m;
  }
  /** The vector that the instruction raises, with the address of a page fault; null when it retires. */
  function outcome(m: TestMachine): null | readonly [vector: number, address: bigint] {
    m.engine.mmu.sync(m.cpu);
    m.engine.cold?.promote(m.cpu);
    m.run(1);
    const event = m.platform.deliveries.at(-1)?.event;
    return event === undefined ? null : [event.vector, event.address];
  }
  /** The vector of an access at an offset in a segment of 4 GiB. */
  const vectorAt = (code: string, segment: number, base: bigint, offset: bigint): number | null => {
    const m = flat(code);
    m.cpu.set('segmentBase', base, segment);
    if (segment === SEG.cs) m.cpu.rip = BigInt.asUintN(32, CODE - base);
    for (const register of ['rbx', 'rdi', 'rbp'] as const) m.set(register, offset);
    return outcome(m)?.[0] ?? null;
  };

  it('a pending x87 exception comes before the #GP of an MMX store through CS', () => {
    const m = flat('2e 0f 7f 03'); // movq cs:[ebx], mm0
    m.set('rbx', DATA);
    expect(outcome(m)).toEqual([VECTOR.gp, 0n]);
    m.platform.deliveries.length = 0;
    m.cpu.set('fsw', 0x8081);
    expect(outcome(m)).toEqual([VECTOR.mf, 0n]);
  });
  it("a pop's read of the stack comes before the #GP of its store through CS", () => {
    const m = flat('2e 8f 03'); // pop dword cs:[ebx]
    m.set('rbx', DATA);
    expect(outcome(m)).toEqual([VECTOR.gp, 0n]);
    m.platform.deliveries.length = 0;
    m.set('rsp', DATA + 0x4000n);
    expect(outcome(m)).toEqual([VECTOR.pf, DATA + 0x4000n]);
  });

  it.each([
    ['mov eax, [ebx]', '8b 03', SEG.ds, VECTOR.gp],
    ['mov [ebx], eax', '89 03', SEG.ds, VECTOR.gp],
    ['add [ebx], eax', '01 03', SEG.ds, VECTOR.gp],
    ['mov eax, cs:[ebx]', '2e 8b 03', SEG.cs, VECTOR.gp],
    ['mov eax, ss:[ebx]', '36 8b 03', SEG.ss, VECTOR.ss],
    ['mov [ebp], eax', '89 45 00', SEG.ss, VECTOR.ss],
    ['stosd', 'ab', SEG.es, VECTOR.gp],
    ['fst dword [ebx]', 'd9 13', SEG.ds, VECTOR.gp],
    ['mov eax, fs:[ebx]', '64 8b 03', SEG.fs, VECTOR.gp],
  ])('%s may end where a segment of 4 GiB does, not behind it', (_, code, segment, vector) => {
    for (const base of [DATA + 0x1000n, DATA + 0x1800n, DATA + 0x1802n]) {
      expect(vectorAt(code, segment, base, 0xffff_fffcn)).toBeNull();
      const seen = segment !== SEG.fs || base === DATA + 0x1000n;
      for (const offset of [0xffff_fffdn, 0xffff_ffffn])
        expect(vectorAt(code, segment, base, offset), `base ${base}`).toBe(seen ? vector : null);
    }
  });
  it.each([
    ['push eax', '50', 4n],
    ['push ds', '1e', 4n],
    ['push dword [ebx]', 'ff 33', 4n],
    ['call', 'e8 00 00 00 00', 4n],
    ['pushfd', '9c', 4n],
    ['push ax', '66 50', 2n],
    ['pop eax', '58', 0n],
    ['ret', 'c3', 0n],
  ])('%s may not run over the end of a stack of 4 GiB', (_, code, below) => {
    for (const base of [DATA + 0x1000n, DATA + 0x1800n]) {
      const m = flat(code);
      m.cpu.set('segmentBase', base, SEG.ss);
      m.set('rbx', DATA);
      m.set('rsp', (below - 1n) & 0xffff_ffffn);
      expect(outcome(m)).toEqual([VECTOR.ss, 0n]);
    }
  });
  it('the end of the address space is that of flat segments', () => {
    for (const [code, vector] of [
      ['8b 03', VECTOR.gp],
      ['36 89 03', VECTOR.ss],
      ['65 8b 03', VECTOR.gp],
    ] as const) {
      const m = flat(code);
      m.mapNew(0xffff_f000n, 1);
      m.mapNew(0n, 1);
      m.set('rbx', 0xffff_fffdn);
      expect(outcome(m)).toEqual([vector, 0n]);
    }
  });
  it('but not of a segment with a base', () => {
    const m = flat('8b 03');
    m.mapNew(0xffff_f000n, 1);
    m.mapNew(0n, 1);
    m.cpu.set('segmentBase', 0x1000n, SEG.ds);
    m.set('rbx', 0xffff_effdn);
    expect(outcome(m)).toBeNull();
  });

  it.each([
    ['fld tbyte [ebx]', 'db 2b', [7n, 1n], [8n, 10n]],
    ['fstp tbyte [ebx]', 'db 3b', [7n, 1n], [8n, 10n]],
    ['fbstp [ebx]', 'df 33', [7n, 1n], [8n, 10n]],
    ['fnsave [ebx]', 'dd 33', [3n, 1n], [8n, 104n]],
    ['frstor [ebx]', 'dd 23', [3n, 1n], [8n, 104n]],
    ['fnstenv [ebx]', 'd9 33', [3n, 1n], [8n, 24n]],
    ['fldenv [ebx]', 'd9 23', [3n, 1n], [8n, 24n]],
  ] as const)('%s meets an absent page before the limit behind it', (_, code, refused, absent) => {
    const at = (left: bigint): ReturnType<typeof outcome> => {
      const m = flat(code);
      m.cpu.set('segmentBase', 0x30000n, SEG.ds);
      m.cpu.set('segmentLimit', 0x1fffn, SEG.ds);
      m.set('rbx', 0x2000n - left);
      return outcome(m);
    };
    for (const left of refused) expect(at(left)).toEqual([VECTOR.gp, 0n]);
    for (const left of absent) expect(at(left)).toEqual([VECTOR.pf, 0x32000n - left]);
  });
  it.each([
    ['fxsave', '36 0f ae 03'],
    ['fxrstor', '36 0f ae 0b'],
  ])('%s looks at four bytes, alignment, the last byte and its page, in this order', (_, code) => {
    const at = (left: bigint): ReturnType<typeof outcome> => {
      const m = flat(code);
      m.cpu.set('segmentBase', 0x30000n, SEG.ss);
      m.cpu.set('segmentLimit', 0x1fffn, SEG.ss);
      m.set('rbx', 0x2000n - left);
      return outcome(m);
    };
    for (const left of [0n, 1n, 3n, 16n, 496n]) expect(at(left)).toEqual([VECTOR.ss, 0n]);
    for (const left of [4n, 8n, 100n, 511n, 513n]) expect(at(left)).toEqual([VECTOR.gp, 0n]);
    for (const left of [512n, 528n]) expect(at(left)).toEqual([VECTOR.pf, 0x321ffn - left]);
  });
  it('code that can only be executed is flushed by CLFLUSH and not read, up to its limit', () => {
    const at = (code: string, offset: bigint): ReturnType<typeof outcome> => {
      const m = flat(code);
      m.cpu.set('segmentAttributes', 0xc0f9, SEG.cs);
      m.cpu.set('segmentLimit', DATA + 0xfffn, SEG.cs);
      m.set('rbx', DATA + offset);
      return outcome(m);
    };
    expect(at('2e 0f ae 3b', 0n)).toBeNull(); // clflush cs:[ebx]
    expect(at('2e 0f ae 3b', 0x1000n)).toEqual([VECTOR.gp, 0n]);
    expect(at('2e 8b 03', 0n)).toEqual([VECTOR.gp, 0n]); // mov eax, cs:[ebx]
    expect(at('0f ae 3b', 0x2000n)).toEqual([VECTOR.pf, DATA + 0x2000n]);
  });
  it('maskmovdqu is aligned where its halves are', () => {
    for (const tier of ['cold', 'hot', 'oracle'] as const) {
      const m = new TestMachine({ tier, cpl: 3 });
      m.cpu.set('cr0', 0x80050011);
      m.code('66 0f f7 c1  66 0f f7 c1');
      m.mapNew(DATA, 1);
      m.cpu.set('xmm', 0x80n, 1);
      m.cpu.rflags |= FLAG.ac;
      m.set('rdi', DATA + 8n);
      m.run(1);
      expect(m.platform.deliveries).toEqual([]);
      m.set('rdi', DATA + 4n);
      m.run(1);
      expect(m.platform.deliveries.map((x) => x.event.vector)).toEqual([VECTOR.ac]);
    }
  });

  it('fxsave may wrap at 4 GiB between two of its parts', () => {
    for (const [left, vector] of [
      [2n, VECTOR.ss],
      [8n, VECTOR.gp],
      [16n, null],
      [496n, null],
    ] as const) {
      const m = flat('36 0f ae 03');
      m.cpu.set('segmentBase', DATA + 0x1000n, SEG.ss);
      m.set('rbx', 2n ** 32n - left);
      expect(outcome(m)?.[0] ?? null).toBe(vector);
    }
  });
  it.each([
    ['fbld [bx]', '67 df 27', 3n, 5n],
    ['frstor [bx]', '67 dd 27', 4n, 0n],
    ['fxsave [bx]', '67 0f ae 07', 16n, 0x1efn],
  ])('each part of %s is cut to 16 bits', (_, code, left, absent) => {
    const m = flat(code);
    m.mapNew(0xf000n, 2);
    m.set('rbx', 0x1_0000n - left);
    expect(outcome(m)).toEqual([VECTOR.pf, absent]);
  });
});
