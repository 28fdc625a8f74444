import { describe, expect, it } from 'vitest';
import { A, CODE, D, DATA, P, type TestMachine, U, W } from './machine.ts';
import { compiled, EAGER, hotMachine, together } from './pair.ts';
import { advance, randomOf } from './random.ts';

const TABLED = 0x4000_0000n;
/** Translates a loop as a whole. */
const LAZY = { ...EAGER, sampleSteps: 4001 };

/** Runs both machines until their loop has been translated. */
function warmUp(machines: TestMachine[]): void {
  for (const m of machines) advance(m, 4200);
  expect(compiled(machines[0]!)).toBe(1);
}
/** Counts the spans that the hot tier of a machine sees refused. */
function refusals(m: TestMachine): () => number {
  const hot = m.engine.hot!;
  let count = 0;
  const { refuse } = hot;
  hot.refuse = (...args) => {
    count++;
    refuse.apply(hot, args);
  };
  return () => count;
}

describe('accesses that share a look into the TLB', () => {
  it('fall apart where a page ends between them', () => {
    // 1: mov rax, [rdi]; add rax, [rdi + 24]; mov [rdi + 8], rax; mov ebx, [rdi + 32]; add rdi, 9; jmp 1
    const machines = hotMachine(
      '48 8b 07  48 03 47 18  48 89 47 08  8b 5f 20  48 83 c7 09  eb ec',
      (m) => {
        for (let i = 0; i < 3 * 512; i++) m.memory.write64(m.pa(DATA) + i * 8, BigInt(i) * 0x1357n);
        // behind the third page: back to the first, at another offset
        m.platform.resume = (cpu, event) => {
          m.set('rdi', DATA + (event.address & 7n));
          cpu.rip = CODE;
          return null;
        };
      },
      LAZY,
    );
    warmUp(machines);
    const refused = refusals(machines[0]!);
    together(machines, 300, randomOf(7), 900);
    expect(refused()).toBeGreaterThan(10);
    expect(machines[0]!.platform.deliveries.length).toBeGreaterThan(10);
    expect(machines[0]!.platform.deliveries).toEqual(machines[1]!.platform.deliveries);
  });

  it('set no bit of a page-table entry for an access that does not happen', () => {
    // 1: mov rax, [rdi]; mov rcx, [rsi]; mov [rdi + 8], rax; jmp 1
    const machines = hotMachine('48 8b 07  48 8b 0e  48 89 47 08  eb f4', (m) => m.set('rsi', DATA + 0x1000n), LAZY);
    warmUp(machines);
    for (const m of machines) {
      m.set('rdi', DATA + 0x2000n);
      m.set('rsi', 0x6000_0000n);
      m.cpu.rip = CODE;
      m.run(50);
      expect(m.platform.deliveries).toHaveLength(1);
      expect(m.pte(DATA + 0x2000n) & (A | D)).toBe(A);
    }
    expect(machines[0]!.digest()).toBe(machines[1]!.digest());
  });

  it('see that a page becomes one of tables in between', () => {
    // 1: mov [rdi + 8], rbp; mov rbx, [rsi]; mov [rdi], rax; mov rcx, [r8]; add rdx, rcx; add rdx, rbx; xor rax, r9; jmp 1
    const machines = hotMachine(
      '48 89 6f 08  48 8b 1e  48 89 07  49 8b 08  48 01 ca  48 01 da  4c 31 c8  eb e8',
      (m) => {
        const [one, two] = [m.pa(DATA) / 4096, m.pa(DATA + 0x1000n) / 4096];
        const entry = m.entry(TABLED);
        m.map(DATA + 0x8000n, Math.floor(entry / 4096));
        for (const frame of [one, two]) for (const at of [0, 8]) m.memory.write64(frame * 4096 + at, BigInt(frame));
        m.set('rdi', DATA + 0x8000n + BigInt(entry % 4096));
        m.set('rsi', DATA);
        m.set('r8', DATA);
        m.set('rax', (BigInt(one) << 12n) | P | W | U | A);
        m.set('r9', BigInt(one ^ two) << 12n);
      },
      LAZY,
    );
    warmUp(machines);
    // from now on the store to [rdi] is to the entry of the page at rsi and r8
    for (const m of machines) {
      m.set('rsi', TABLED);
      m.set('r8', TABLED + 8n);
      m.cpu.rip = CODE;
    }
    for (let i = 0; i < 20; i++) {
      for (const m of machines) advance(m, 8);
      expect(machines[0]!.digest()).toBe(machines[1]!.digest());
    }
  });

  it('are given up where they are refused all the time', () => {
    // 1: mov rax, [rdi + 0xff8]; add rbx, [rdi + 0x1000]; add rcx, 1; jmp 1
    const machines = hotMachine('48 8b 87 f8 0f 00 00  48 03 9f 00 10 00 00  48 83 c1 01  eb ec', () => {}, LAZY);
    warmUp(machines);
    for (const m of machines) m.run(2000);
    expect(compiled(machines[0]!)).toBe(2);
    expect(machines[0]!.digest()).toBe(machines[1]!.digest());
    const refused = refusals(machines[0]!);
    machines[0]!.run(10_000);
    expect(refused()).toBe(0);
  });

  it('are as long as an index that has been cut can reach', () => {
    // 1: movzx edx, al; add rbx, [rdi + rdx*4]; mov [rdi + rdx*4 + 8], rbx; add rax, 29; jmp 1
    const code = '0f b6 d0  48 03 1c 97  48 89 5c 97 08  48 83 c0 1d  eb ee';
    const bytes = 255n * 4n + 16n;
    for (const beyond of [0n, 1n]) {
      const machines = hotMachine(code, (m) => m.set('rdi', DATA + 0x1000n - bytes), LAZY);
      warmUp(machines);
      for (const m of machines) m.set('rdi', DATA + 0x1000n - bytes + beyond);
      const refused = refusals(machines[0]!);
      for (const m of machines) m.run(10_000);
      expect(machines[0]!.digest()).toBe(machines[1]!.digest());
      if (beyond === 0n) expect(refused()).toBe(0);
      else {
        // from then on only the two accesses themselves share a look, and the page seldom ends there
        expect(compiled(machines[0]!)).toBe(2);
        const before = refused();
        expect(before).toBeGreaterThanOrEqual(256);
        machines[0]!.run(10_000);
        expect(refused() - before).toBeLessThan(20);
      }
    }
  });

  it('are as long as an index that a comparison has bounded can reach', () => {
    // 1: add eax, 3; and eax, 31; cmp eax, 7; ja 1f; add rbx, [rdi + rax*8]; 1: jmp 1
    for (const beyond of [0n, 1n]) {
      const machines = hotMachine('83 c0 03  83 e0 1f  83 f8 07  77 04  48 03 1c c7  eb ef', () => {}, LAZY);
      warmUp(machines);
      for (const m of machines) m.set('rdi', DATA + 0x1000n - 64n + beyond);
      const refused = refusals(machines[0]!);
      for (const m of machines) m.run(1000);
      expect(machines[0]!.digest()).toBe(machines[1]!.digest());
      expect(refused() > 0).toBe(beyond > 0n);
    }
  });
});
