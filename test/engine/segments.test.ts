import { describe, expect, it } from 'vitest';
import { codeKey, KEY } from '../../src/x86/code-key.ts';
import { SEG, VECTOR } from '../../src/x86/state.ts';
import { setFlatSegment, setNullSegment } from '../../src/x86/system/descriptors.ts';
import { CODE, DATA, STACK_TOP, TestMachine, type TestOptions } from './machine.ts';
import { advance, type Random, randomMachine, randomOf, scramble } from './random.ts';

const SEEDS = Number(process.env.SEEDS ?? 6);
const FIRST = Number(process.env.FIRST ?? 1);
const DATA_SEGMENTS = [SEG.es, SEG.ss, SEG.ds, SEG.fs, SEG.gs];
const DR7_FIXED = 0x400;

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
      const promotion = { sampleSteps: 5, samples: 1, batch: 1, patience: 1, sampleHops: 3, hops: 2 };
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

  it('asks for no checks where segments are flat, whatever their bases', () => {
    const m = compatible();
    expect(codeKey(m.cpu)).toBe(1);
    m.cpu.set('segmentBase', 0x1234n, SEG.ds);
    expect(codeKey(m.cpu)).toBe(1);
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
      promotion: { sampleSteps: 5, samples: 1, batch: 1, patience: 1, sampleHops: 3, hops: 2 },
    });
    // 1: inc eax; cmp eax, 1000; jne 1; mov ecx, fs:[ebx]; jmp 1
    m.code('40  3d e8 03 00 00  75 f8  64 8b 0b  eb f3');
    m.cpu.set('codeMode', 1);
    setNullSegment(m.cpu, SEG.fs, 0);
    m.mapNew(DATA, 1);
    m.set('rbx', DATA);
    m.set('rax', 0n);
    expect(m.run(10_000).steps).toBe(3000);
    expect(m.engine.cold!.hot!.compiled).toBeGreaterThan(0);
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
