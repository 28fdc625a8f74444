import { describe, expect, it } from 'vitest';
import type { EngineOptions } from '../../src/engine/engine.ts';
import { GPR, SEG } from '../../src/x86/state.ts';
import { setFlatSegment } from '../../src/x86/system/descriptors.ts';
import { Guests, type Paging, stateOf } from './guest.ts';
import { CODE, DATA, parseHex, STACK_TOP, TestMachine } from './machine.ts';
import { EAGER } from './pair.ts';
import { advance, REGISTERS, randomMachine, randomOf } from './random.ts';

const TIERS: readonly EngineOptions[] = [{ tier: 'cold' }, { tier: 'hot', promotion: EAGER }, { tier: 'oracle' }];
const MODES: ReadonlyArray<readonly Paging[]> = [
  ['long', 'long'],
  ['long', 'legacy'],
  ['pae', 'long'],
  ['legacy', 'pae', 'long'],
];

describe('several vCPUs', () => {
  for (const pagings of MODES)
    for (const options of TIERS)
      it(`do in turns what each does alone: ${pagings.join(', ')} in the ${options.tier} tier`, () => {
        const steps = options.tier === 'oracle' ? 2000 : 20_000;
        const seed = 7;
        const turns = new Guests(pagings, seed, options);
        const left = pagings.map(() => steps);
        for (const random = randomOf(3); left.some((x) => x > 0); ) {
          const id = random() % pagings.length;
          const slice = Math.min(left[id]!, 1 + (random() % 97));
          turns.advance(id, slice);
          left[id]! -= slice;
        }
        for (const id of pagings.keys()) {
          const alone = new Guests(pagings, seed, options);
          for (let done = 0; done < steps; done += 500) alone.advance(id, 500);
          expect(turns.all[id]!.digest()).toBe(alone.all[id]!.digest());
        }
      });

  it('follow a change of an entry by their own paging mode', () => {
    const m = new TestMachine({ vcpus: 2 });
    m.code('90 eb fd');
    m.run(10);
    // the other one walks two levels of 4-byte entries, which are at other places of a table than those of the first
    const [directory, table, code, before, after] = [
      m.newFrame(),
      m.newFrame(),
      m.newFrame(),
      m.newFrame(),
      m.newFrame(),
    ];
    const cpu = m.engine.cpus[1]!;
    const page = 0x40_5000;
    m.memory.write32(directory * 4096 + 4, (table << 12) | 7);
    m.memory.write32(table * 4096, (code << 12) | 7);
    m.memory.write32(table * 4096 + 5 * 4, (before << 12) | 7);
    m.memory.write32(before * 4096, 11);
    m.memory.write32(after * 4096, 22);
    // 1: mov eax, [0x405000]; jmp 1
    for (const [i, byte] of parseHex('a1 00 50 40 00  eb f9').entries()) m.memory.write8(code * 4096 + i, byte);
    cpu.set('cr3', directory * 4096);
    cpu.set('cr4', 0x600);
    cpu.set('efer', 0);
    cpu.set('codeMode', 1);
    setFlatSegment(cpu, SEG.cs, 0, 0xc09b);
    cpu.rip = BigInt(page - 0x5000);
    m.engine.run(cpu, 4, m.platform);
    expect(cpu.gpr(GPR.rax)).toBe(11n);
    m.run(10);
    m.memory.write32(table * 4096 + 5 * 4, (after << 12) | 7);
    m.engine.run(cpu, 2, m.platform);
    expect(cpu.gpr(GPR.rax)).toBe(22n);
  });

  for (const count of [1, 3, 40])
    it(`see ${count} changes of entries that another made since they ran`, () => {
      const { m, run } = readers();
      expect(run(1, 40)).toEqual(Array.from({ length: 40 }, (_, i) => BigInt(i)));
      run(0, 40);
      // the tables stand the other way round
      for (let i = 0; i < count; i++) m.map(DATA + BigInt(i) * 4096n, m.frames[39 - i]!);
      const expected = Array.from({ length: 40 }, (_, i) => BigInt(i < count ? 39 - i : i));
      expect(run(0, 40)).toEqual(expected);
      expect(run(1, 40)).toEqual(expected);
    });

  it('show the first store to a page after clearDirty, whoever stored there before', () => {
    const m = new TestMachine({ vcpus: 2 });
    m.code('88 07 eb fc'); // 1: mov [rdi], al; jmp 1
    m.mapNew(DATA, 1);
    const slot = m.memory.frameSlots[m.pa(DATA) / 4096]!;
    for (const cpu of m.engine.cpus) cpu.setGpr(GPR.rdi, DATA);
    for (const cpu of m.engine.cpus) m.engine.run(cpu, 4, m.platform);
    m.engine.mmu.clearDirty();
    m.engine.run(m.engine.cpus[0]!, 4, m.platform);
    expect([...m.memory.dirtySlots()]).toContain(slot);
    m.engine.mmu.clearDirty();
    m.engine.run(m.engine.cpus[1]!, 4, m.platform);
    expect([...m.memory.dirtySlots()]).toContain(slot);
  });

  it('see code that another stores, in every tier', () => {
    for (const options of TIERS) {
      const m = new TestMachine({ vcpus: 2, ...options });
      m.code('b0 01  eb fc'); // 1: mov al, 1; jmp 1
      const writer = m.engine.cpus[1]!;
      m.write(CODE + 0x100n, parseHex('88 07  eb fc')); // 1: mov [rdi], al; jmp 1
      writer.rip = CODE + 0x100n;
      writer.setGpr(GPR.rdi, CODE + 1n);
      for (let value = 2n; value < 200n; value++) {
        writer.setGpr(GPR.rax, value);
        m.engine.run(writer, 9, m.platform);
        m.run(9);
        expect(m.get('rax')).toBe(value);
      }
    }
  });

  it('that share all memory go the same way in every tier, with translations and without', () => {
    for (const seed of [1, 2, 3]) {
      const machines = [...TIERS, { tier: 'oracle' as const }].map((options) => {
        const m = randomMachine(seed, { ...options, vcpus: 2 });
        const [first, second] = m.engine.cpus;
        for (const name of REGISTERS) second!.setGpr(GPR[name], first!.gpr(GPR[name]));
        second!.rip = CODE + 0x800n;
        return m;
      });
      const random = randomOf(seed);
      for (let i = 0; i < 60; i++) {
        const [id, steps] = [random() % 2, 1 + (random() % 60)];
        for (const [n, m] of machines.entries()) {
          advance(m, steps, m.engine.cpus[id]!);
          if (n === TIERS.length) m.engine.mmu.forgetTables();
        }
        const [first, ...others] = machines.map((m) => m.digest() + m.engine.cpus.map(stateOf).join(' '));
        for (const other of others) expect(other).toBe(first);
      }
    }
  });

  it('are looked at by the hot tier each at its own steps', () => {
    const promotion = { ...EAGER, sampleSteps: 64, measured: true };
    const m = new TestMachine({ vcpus: 2, tier: 'hot', promotion });
    m.code('ff c0 eb fc'); // 1: inc eax; jmp 1
    m.write(CODE + 0x800n, parseHex('ff c0 eb fc'));
    const [first, second] = m.engine.cpus;
    second!.rip = CODE + 0x800n;
    for (let i = 0; i < 10; i++) {
      m.engine.run(first!, 63, m.platform);
      m.engine.run(second!, 1, m.platform);
    }
    expect(first!.get('regionSteps')).toBeGreaterThan(0n);
    expect(second!.get('regionSteps')).toBe(0n);
  });

  it('miss a region together, however many steps each has taken', () => {
    const m = new TestMachine({ vcpus: 2, tier: 'hot', promotion: { ...EAGER, misses: 2 } });
    m.code('90 90 90 90 90 90 eb f8'); // 1: nop * 6; jmp 1
    m.run(20);
    const { cold, hot, cpus } = m.engine;
    const { compiled } = hot!;
    expect(compiled).toBeGreaterThan(0);
    cpus[1]!.set('steps', 1n << 40n);
    for (const cpu of cpus) {
      cpu.rip = CODE + 3n;
      cold!.promote(cpu);
    }
    expect(hot!.compiled).toBeGreaterThan(compiled);
  });
});

/** Two vCPUs over 40 pages of data, of which each holds its number. */
function readers() {
  const m = new TestMachine({ vcpus: 2 });
  m.code('48 8b 07  48 81 c7 00 10 00 00  eb f4'); // 1: mov rax, [rdi]; add rdi, 4096; jmp 1
  const first = m.mapNew(DATA, 40);
  const frames = Array.from({ length: 40 }, (_, i) => first + i);
  for (const [i, frame] of frames.entries()) m.memory.write64(frame * 4096, BigInt(i));
  return {
    m: Object.assign(m, { frames }),
    /** What a vCPU reads in so many pages. */
    run: (id: number, pages: number): bigint[] => {
      const cpu = m.engine.cpus[id]!;
      cpu.rip = CODE;
      cpu.setGpr(GPR.rdi, DATA);
      return Array.from({ length: pages }, () => {
        m.engine.run(cpu, 3, m.platform);
        return cpu.gpr(GPR.rax);
      });
    },
  };
}

describe('a change', () => {
  /** TLB entries looked at for each kind of change, where so many vCPUs have run. */
  const costs = (vcpus: number): number[] => {
    const m = new TestMachine({ vcpus });
    m.code('88 07 8a 06 eb fa'); // 1: mov [rdi], al; mov al, [rsi]; jmp 1
    m.mapNew(DATA, 40);
    m.mapNew(STACK_TOP + 0x10_0000n, 1);
    const { mmu } = m.engine;
    const runAll = (): void => {
      for (const cpu of m.engine.cpus.toReversed()) {
        for (let i = 0n; i < 40n; i++) {
          cpu.setGpr(GPR.rdi, DATA + i * 4096n);
          cpu.setGpr(GPR.rsi, DATA + i * 4096n);
          m.engine.run(cpu, 3, m.platform);
        }
      }
    };
    const leaf = m.entry(DATA);
    const cost = (change: () => void): number => {
      runAll();
      const before = mmu.touched;
      change();
      return mmu.touched - before;
    };
    return [
      cost(() => m.memory.write64(leaf, m.memory.read64(leaf))),
      cost(() => {
        for (let i = 0; i < 63; i++) m.memory.write64(leaf, m.memory.read64(leaf));
      }),
      cost(() => mmu.markCode(m.memory.frameSlots[m.pa(DATA) / 4096]!)),
      cost(() => mmu.clearDirty()),
      cost(() => mmu.flushCode()),
      cost(() => mmu.forgetTables()),
    ];
  };

  it('of an entry, of code or of what is dirty costs the same with 2 and with 64 vCPUs', () => {
    const two = costs(2);
    expect(Math.min(...two)).toBeGreaterThan(0);
    expect(costs(64)).toEqual(two);
  });

  it('is made up for, however many there were, at the cost of dropping everything at most', () => {
    const { m, run } = readers();
    run(1, 40);
    run(0, 40);
    const changes = (count: number): number => {
      for (let i = 0; i < count; i++) m.map(DATA, m.frames[i % 40]!);
      const before = m.engine.mmu.touched;
      run(1, 1);
      return m.engine.mmu.touched - before;
    };
    const most = changes(17);
    run(1, 40);
    run(0, 40);
    expect(changes(10_000)).toBeLessThanOrEqual(most);
  });
});
