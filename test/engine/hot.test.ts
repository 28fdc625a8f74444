import { describe, expect, it } from 'vitest';
import { HANDLER } from '../../src/engine/cold/exits.ts';
import { SEG, VECTOR } from '../../src/x86/state.ts';
import { loopMachine } from './loops.ts';
import { CODE, DATA, P, TestMachine, U } from './machine.ts';
import { compiled, EAGER, hotMachine, together } from './pair.ts';
import { advance, randomOf } from './random.ts';

const SEEDS = Number(process.env.SEEDS ?? 8);
const FIRST = Number(process.env.FIRST ?? 1);

describe('the hot tier', () => {
  for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
    const mode = seed % 3 === 0 ? 1 : 2;
    it(`agrees with the cold tier and the evaluator on random ${mode === 1 ? 32 : 64}-bit loops at random stops (seed ${seed})`, () => {
      const hot = loopMachine(seed, { tier: 'hot', promotion: { ...EAGER, sampleSteps: 7 + (seed % 20) * 3 } }, mode);
      const cold = loopMachine(seed, { tier: 'cold' }, mode);
      const oracle = loopMachine(seed, { tier: 'oracle' }, mode);
      const random = randomOf(seed);
      for (let round = 0; round < 120; round++) {
        const budget = 1 + (random() % (round % 10 === 0 ? 3000 : 90));
        for (const m of round < 40 ? [hot, cold, oracle] : [hot, cold]) advance(m, budget);
        expect(hot.digest()).toBe(cold.digest());
        if (round < 40) expect(hot.digest()).toBe(oracle.digest());
      }
      expect(hot.faults).toEqual(cold.faults);
      expect(hot.faults.length).toBeGreaterThan(5);
      expect(compiled(hot)).toBeGreaterThan(3);
    });
  }

  it('counts every step of a loop, however a run is divided', () => {
    // 1: mov ecx, 5; 2: add eax, ecx; dec ecx; jnz 2; mov [rdi], eax; push rax; call 3; jmp 1; 3: pop rbx; ret
    const machines = hotMachine(
      'b9 05 00 00 00  01 c8  ff c9  75 fa  89 07  50  e8 03 00 00 00  58  eb ea  5b  53  c3',
    );
    for (const m of machines) m.run(500);
    expect(compiled(machines[0]!)).toBeGreaterThan(0);
    for (let n = 1; n < 80; n++) {
      for (const m of machines) expect(m.run(n)).toEqual({ kind: 'budget', steps: n });
      expect(machines[0]!.digest()).toBe(machines[1]!.digest());
    }
  });

  it('keeps the flags that an instruction left when a later one faults', () => {
    // 1: add rax, rbx; mov rcx, [rdi]; sub rdx, rax; add rdi, 8; jmp 1
    const machines = hotMachine('48 01 d8  48 8b 0f  48 29 c2  48 83 c7 08  eb f1', (m) => {
      m.set('rbx', 0x9234_5678_9abc_def0n);
      m.platform.resume = (cpu) => {
        m.set('rdi', DATA);
        m.set('rsi', BigInt(cpu.rflags));
        return null;
      };
    });
    together(machines, 60, randomOf(5), 700);
    for (const m of machines) m.set('rdi', DATA + 0x2f00n);
    together(machines, 60, randomOf(5), 1700);
    expect(machines[0]!.platform.deliveries.length).toBeGreaterThan(2);
    expect(machines[0]!.platform.deliveries).toEqual(machines[1]!.platform.deliveries);
  });

  it('keeps flags of which one half is computed from the other (ARPL)', () => {
    // 32-bit: 1: arpl ax, bx; cmp eax, [edi]; add edi, 8; jmp 1
    const machines = hotMachine('63 d8  3b 07  83 c7 08  eb f7', (m) => {
      m.cpu.set('codeMode', 1);
      m.cpu.set('segmentAttributes', 0xc09b, SEG.cs);
      m.set('rax', 0x1233n);
      m.set('rbx', 0x1231n);
      m.platform.resume = (cpu) => {
        m.set('rdi', DATA + 0x2f00n);
        m.set('rsi', BigInt(cpu.rflags));
        return null;
      };
    });
    together(machines, 60, randomOf(5), 1000);
    expect(machines[0]!.platform.deliveries.length).toBeGreaterThan(2);
  });

  it('faults with the address, the code and the registers of the instruction itself', () => {
    // 1: inc rax; push rax; mov [rdi], rax; pop rcx; add rdi, 0x200; jmp 1
    const machines = hotMachine('48 ff c0  50  48 89 07  59  48 81 c7 00 02 00 00  eb ef', (m) => {
      m.map(DATA + 0x2000n, m.pa(DATA + 0x2000n) / 4096, P | U);
      m.platform.resume = () => {
        m.set('rdi', DATA);
        return null;
      };
    });
    together(machines, 40, randomOf(6), 200);
    const { deliveries } = machines[0]!.platform;
    expect(deliveries[0]!.event).toEqual({ fault: true, vector: VECTOR.pf, error: 3, address: DATA + 0x2000n });
    expect(deliveries[0]!.rip).toBe(CODE + 4n);
    expect(deliveries).toEqual(machines[1]!.platform.deliveries);
  });

  it('sees a running region change its own next instruction', () => {
    // 1: add rbx, 1; inc byte [rip + 1 -> imm]; add al, 0; jmp 1: the immediate grows every time round
    const machines = hotMachine('48 83 c3 01  fe 05 01 00 00 00  04 00  eb f2');
    together(machines, 80);
    expect(machines[0]!.engine.hot!.evictions).toBeGreaterThan(0);
  });

  it('sees its code changed by a store in another page, through an alias and by the hypervisor', () => {
    // 1: add al, 1; mov [rsi], cl; inc ecx; and ecx, 0x1f; jmp 1, with rsi at an alias of the immediate
    const machines = hotMachine('04 01  88 0e  ff c1  83 e1 1f  eb f5', (m) => {
      m.map(DATA + 0x8000n, Math.floor(m.pa(CODE) / 4096));
      m.set('rsi', DATA);
    });
    together(machines, 20);
    for (const m of machines) m.set('rsi', DATA + 0x8001n);
    together(machines, 20);
    for (const m of machines) m.set('rsi', DATA);
    together(machines, 20);
    for (const m of machines) m.memory.write8(m.pa(CODE) + 1, 0x55);
    together(machines, 20);
  });

  it('leaves a region whose page is given up as code, and sees it change then', () => {
    // at +0x200: 1: add bl, 1; mov [rdi], cl; inc rdi; jmp 1: a byte of the page each time round, at last its own
    const machines = hotMachine(
      '90',
      (m) => {
        m.write(CODE + 0x200n, new Uint8Array([0x80, 0xc3, 1, 0x88, 0x0f, 0x48, 0xff, 0xc7, 0xeb, 0xf6]));
        m.cpu.rip = CODE + 0x200n;
        m.set('rdi', CODE + 0x100n);
        m.set('rcx', 0x80n);
        m.platform.resume = (cpu) => {
          cpu.rip = CODE;
          return null;
        };
      },
      { ...EAGER, sampleSteps: 700 },
    );
    for (const m of machines) advance(m, 1500);
    expect(machines[0]!.digest()).toBe(machines[1]!.digest());
    expect(machines[0]!.platform.deliveries.length).toBeGreaterThan(0);
    expect(compiled(machines[0]!)).toBeGreaterThan(0);
  });

  it('follows indirect jumps and returns inside and between regions', () => {
    // 1: inc eax; mov ecx, eax; and ecx, 3; lea rdx, [rip + table]; mov rdx, [rdx + rcx*8]; call rdx; jmp 1
    // four functions of 16 bytes from +0x40; the table at +0x100; the last function lies in the next page
    const machines = hotMachine('ff c0  89 c1  83 e1 03  48 8d 15 f2 00 00 00  48 8b 14 ca  ff d2  eb ea', (m) => {
      for (let i = 0; i < 4; i++) {
        const at = CODE + (i === 3 ? 0x1040n : 0x40n + BigInt(i) * 16n);
        m.write(at, new Uint8Array([0x48, 0x83, 0xc3, i + 1, 0xc3]));
        m.memory.write64(m.pa(CODE) + 0x100 + i * 8, at);
      }
    });
    together(machines, 60, randomOf(8), 300);
    expect(machines[0]!.get('rbx')).toBeGreaterThan(100n);
  });

  it('repeats string instructions one step at a time', () => {
    // 1: mov rdi, r9; mov ecx, 37; rep stosb; mov rdi, r9; mov ecx, 40; repne scasb; jmp 1
    const machines = hotMachine('4c 89 cf  b9 25 00 00 00  f3 aa  4c 89 cf  b9 28 00 00 00  f2 ae  eb ea', (m) => {
      m.set('r9', DATA + 0xff0n);
    });
    together(machines, 100);
  });

  it('leaves when the guest changes a page-table entry, and follows it', () => {
    // 1: mov [rdi], rax; mov rbx, [rsi]; add rcx, rbx; xor rax, rdx; jmp 1: the page at rsi changes every time round
    const machines = hotMachine('48 89 07  48 8b 1e  48 01 d9  48 31 d0  eb f2', (m) => {
      const [one, two] = [m.pa(DATA) / 4096, m.pa(DATA + 0x1000n) / 4096];
      const entry = m.entry(0x4000_0000n);
      m.map(DATA + 0x8000n, Math.floor(entry / 4096));
      for (const frame of [one, two]) m.memory.write64(frame * 4096, BigInt(frame));
      m.set('rdi', DATA + 0x8000n + BigInt(entry % 4096));
      m.set('rsi', 0x4000_0000n);
      m.set('rax', (BigInt(one) << 12n) | 7n);
      m.set('rdx', BigInt(one ^ two) << 12n);
    });
    together(machines, 60);
  });

  it('gives the first store to each page after clearDirty, and watched bytes, away', () => {
    const [hot, cold] = hotMachine('48 89 07  48 ff c0  eb f8') as [TestMachine, TestMachine];
    together([hot, cold], 10);
    for (const m of [hot, cold]) m.engine.mmu.clearDirty();
    together([hot, cold], 10);
    expect(Array.from(hot.memory.dirtySlots(), (slot) => hot.memory.slotFrames[slot])).toEqual([hot.pa(DATA) / 4096]);
    for (const m of [hot, cold]) m.engine.watch([{ address: m.pa(DATA), bytes: 1 }]);
    for (let i = 0; i < 10; i++) expect(hot.run(1000)).toEqual(cold.run(1000));
    expect(hot.run(1000)).toMatchObject({ kind: 'watch' });
  });

  it('pauses where it was told to, after the region there has been dropped', () => {
    const machines = hotMachine('ff c0  ff c3  ff c1  eb f8');
    together(machines, 30);
    for (const m of machines) {
      m.engine.pauseAt(new Set([CODE + 2n]));
      expect(m.run(100)).toMatchObject({ kind: 'pause' });
      expect(m.cpu.rip).toBe(CODE + 2n);
    }
  });

  it('pauses at a linear address, also where its page has been translated at another one', () => {
    const other = CODE + 0x10_0000n;
    const machines = hotMachine('ff c0  ff c3  ff c1  eb f8');
    for (const m of machines) m.engine.pauseAt(new Set([other + 2n]));
    together(machines, 30);
    expect(compiled(machines[0]!)).toBeGreaterThan(0);
    for (const m of machines) {
      m.map(other, m.pa(CODE) / 4096);
      m.cpu.rip = other + (m.cpu.rip - CODE);
      expect(m.run(100)).toMatchObject({ kind: 'pause' });
      expect(m.cpu.rip).toBe(other + 2n);
    }
  });

  it('goes from page to page, by branches, calls, returns and an instruction across the border', () => {
    // 1: call 2; jmp 3, 3 being at the end of the page: add rbx, 0x01020304 across it; jmp 1; 2, in the next page: inc rax; ret
    const machines = hotMachine('e8 fb 0f 00 00  e9 f2 0f 00 00', (m) => {
      m.write(CODE + 0xffcn, new Uint8Array([0x48, 0x81, 0xc3, 4, 3, 2, 1]));
      m.write(CODE + 0x1003n, new Uint8Array([0xe9, 0xf8, 0xef, 0xff, 0xff]));
      m.write(CODE + 0x1000n + 0x10n, new Uint8Array([0x48, 0xff, 0xc0, 0xc3]));
      m.write(CODE, new Uint8Array([0xe8, 0x0b, 0x10, 0, 0]));
    });
    together(machines, 200, randomOf(3), 400);
    expect(machines[0]!.get('rbx')).toBeGreaterThan(0x01020304n * 100n);
    expect(machines[0]!.engine.hot!.merged).toBeGreaterThan(0);
    // the second page is another one from now on: inc rax has become dec rax, the sum another
    for (const m of machines) {
      const first = m.mapNew(DATA + 0x10_0000n, 1);
      const bytes = m.memory.bytes.slice(m.memory.slotAddress(m.memory.frameSlots[m.pa(CODE + 0x1000n) / 4096]!));
      m.write(DATA + 0x10_0000n, bytes.subarray(0, 4096));
      m.write(DATA + 0x10_0012n, new Uint8Array([0xc8]));
      m.memory.write64(m.entry(CODE + 0x1000n), BigInt(first) * 4096n + 7n);
    }
    together(machines, 200, randomOf(4), 400);
  });

  it('enters a switch at its targets', () => {
    // 1: inc ecx; mov eax, ecx; and eax, 3; lea rax, [rbx + rax*4]; jmp rax; rbx: 4 times inc rdx and jmp short
    const machines = hotMachine('ff c1  89 c8  83 e0 03  48 8d 04 83  ff e0', (m) => {
      m.write(CODE + 0x40n, new Uint8Array([0xff, 0xc2, 0xeb, 0xbc, 0xff, 0xc6, 0xeb, 0xb8]));
      m.write(CODE + 0x48n, new Uint8Array([0xff, 0xc5, 0xeb, 0xb4, 0xff, 0xc2, 0xeb, 0xb0]));
      m.set('rbx', CODE + 0x40n);
    });
    together(machines, 100, randomOf(8), 300);
    const [hot] = machines;
    hot!.run(20_000);
    const before = hot!.engine.hot!.samples;
    hot!.run(100_000);
    // nearly nothing of it is met by the cold tier any more
    expect(hot!.engine.hot!.samples - before).toBeLessThan(100);
  });

  it('enters a loop at its head, wherever in it the cold tier was found', () => {
    // 1: cmp rdi, r9; jae 2; mov r8d, 1; jmp 3; 2: xor r8d, r8d; 3: cmp esi, r8d; jne 4; inc edx; inc rdi; jmp 1; 4: jmp 1
    const promotion = { ...EAGER, sampleSteps: 1_000_000, samples: 1, misses: 1, batch: 1 };
    const m = new TestMachine({ tier: 'hot', promotion });
    m.code('4c 39 cf  73 08  41 b8 01 00 00 00  eb 03  45 31 c0  44 39 c6  75 07  ff c2  48 ff c7  eb e4  eb e2');
    m.set('rdi', 0x1_0000n);
    m.run(20);
    m.cpu.rip = CODE + 0x10n;
    m.engine.cold!.promote(m.cpu);
    expect(compiled(m)).toBe(1);
    const { cache } = m.engine.cold!;
    const slot = m.memory.frameSlots[Math.floor(m.pa(CODE) / 4096)]!;
    const isEntered = (offset: number): boolean =>
      m.memory.words[cache.recordAt(cache.tableOf(slot, 2), offset) >>> 2] === HANDLER.hot;
    expect([isEntered(0), isEntered(0xd)]).toEqual([true, false]);
  });
});
