/** Stack and near control transfers (SDM vol. 2: PUSH, POP, CALL, RET, ENTER, LEAVE, JMP, LOOP). */
import { describe, expect, test } from 'vitest';
import { FLAG, SEG, VECTOR } from '../../../src/x86/state.ts';
import { CODE, DATA, Machine, READ_ONLY } from './machine.ts';

const TOP = DATA + 0x800n;
const NON_CANONICAL = 0x8000_0000_1000n;

/** 32-bit code with a stack segment that has a base. */
function compatible(registers: ConstructorParameters<typeof Machine>[0] = {}, base = 0n): Machine {
  const machine = new Machine({ rsp: TOP - base, ...registers });
  machine.mode = 1;
  machine.cpu.set('segmentBase', base, SEG.ss);
  return machine;
}

describe('[E-05] PUSH and POP', () => {
  test('PUSH rSP stores the old value', () => {
    const machine = new Machine();
    machine.step('54');
    expect(machine.cpu.rsp).toBe(TOP - 8n);
    expect(machine.memory.peek(TOP - 8n, 8)).toBe(TOP);
  });
  test('POP rSP ends with the value from memory', () => {
    const machine = new Machine();
    machine.memory.poke(TOP, 8, 0x1234n);
    machine.step('5c');
    expect(machine.cpu.rsp).toBe(0x1234n);
  });
  test('POP SP replaces the low half of the incremented pointer', () => {
    const machine = new Machine();
    machine.memory.poke(TOP, 2, 0xabcdn);
    machine.step('66 5c');
    expect(machine.cpu.rsp).toBe((TOP & ~0xffffn) | 0xabcdn);
  });
  test('POP [rSP+8] addresses with the incremented pointer', () => {
    const machine = new Machine();
    machine.memory.poke(TOP, 8, 0x55n);
    machine.step('8f 44 24 08');
    expect(machine.memory.peek(TOP + 16n, 8)).toBe(0x55n);
    expect(machine.cpu.rsp).toBe(TOP + 8n);
  });
  test('POP m that faults leaves rSP', () => {
    const machine = new Machine({ rbx: READ_ONLY });
    const before = machine.image();
    expect(machine.step('8f 03')).toMatchObject({ vector: VECTOR.pf, error: 3, address: READ_ONLY });
    expect(machine.image()).toBe(before);
  });
  test('PUSH m reads before it writes, at the old pointer', () => {
    const machine = new Machine();
    machine.memory.poke(TOP, 8, 0x77n);
    machine.step('ff 34 24'); // push [rsp]
    expect(machine.memory.peek(TOP - 8n, 8)).toBe(0x77n);
  });
  test.each([
    ['6a ff', 8, 0xffff_ffff_ffff_ffffn],
    ['66 6a ff', 2, 0xffffn],
    ['68 00 00 00 80', 8, 0xffff_ffff_8000_0000n],
    ['66 68 34 12', 2, 0x1234n],
  ])('%s pushes %i bytes', (code, width, value) => {
    const machine = new Machine();
    machine.step(code);
    expect(machine.cpu.rsp).toBe(TOP - BigInt(width));
    expect(machine.memory.peek(TOP - BigInt(width), width)).toBe(value);
  });
  test('a non-canonical stack raises #SS(0), other operands #GP(0)', () => {
    const machine = new Machine({ rsp: NON_CANONICAL, rbp: NON_CANONICAL, rbx: NON_CANONICAL });
    const before = machine.image();
    expect(machine.step('50')).toMatchObject({ vector: VECTOR.ss, error: 0 });
    expect(machine.step('58')).toMatchObject({ vector: VECTOR.ss, error: 0 });
    expect(machine.step('8b 45 00')).toMatchObject({ vector: VECTOR.ss, error: 0 }); // mov eax, [rbp]
    expect(machine.step('8b 03')).toMatchObject({ vector: VECTOR.gp, error: 0 }); // mov eax, [rbx]
    expect(machine.image()).toBe(before);
  });
  test('[E-07] 32-bit code adds the base of SS and keeps to 4 bytes', () => {
    const machine = compatible({ rax: 0xdead_beefn }, 0x1000n);
    machine.step('50');
    expect(machine.cpu.rsp).toBe(TOP - 0x1000n - 4n);
    expect(machine.memory.peek(TOP - 4n, 4)).toBe(0xdead_beefn);
  });
  test('[E-07] PUSHA stores the old ESP, POPA skips it', () => {
    const machine = compatible({ rax: 1n, rcx: 2n, rdx: 3n, rbx: 4n, rbp: 6n, rsi: 7n, rdi: 8n });
    machine.step('60');
    const words = Array.from({ length: 8 }, (_, i) => machine.memory.peek(TOP - BigInt(4 * (i + 1)), 4));
    expect(words).toEqual([1n, 2n, 3n, 4n, TOP, 6n, 7n, 8n]);
    for (const name of ['rax', 'rcx', 'rdx', 'rbx', 'rbp', 'rsi', 'rdi'] as const) machine.set(name, 0n);
    machine.memory.poke(TOP - 20n, 4, 0x666n);
    machine.step('61');
    expect(machine.cpu.rsp).toBe(TOP);
    expect([machine.get('rax'), machine.get('rbx'), machine.get('rbp'), machine.get('rdi')]).toEqual([1n, 4n, 6n, 8n]);
  });
  test('PUSHF shows the flags without RF and VM', () => {
    const machine = new Machine({}, FLAG.cf | FLAG.zf | FLAG.of | FLAG.if | FLAG.df | FLAG.rf);
    machine.step('9c');
    expect(machine.memory.peek(TOP - 8n, 8)).toBe(BigInt(FLAG.cf | FLAG.zf | FLAG.of | FLAG.if | FLAG.df | 2));
  });
});

describe('ENTER and LEAVE', () => {
  test('level 0', () => {
    const machine = new Machine({ rbp: 0x1111n });
    machine.step('c8 20 00 00');
    expect(machine.memory.peek(TOP - 8n, 8)).toBe(0x1111n);
    expect(machine.get('rbp')).toBe(TOP - 8n);
    expect(machine.cpu.rsp).toBe(TOP - 8n - 0x20n);
    expect(machine.memory.log.filter((x) => x.startsWith('store')).every((x) => x === 'store 107f8 8')).toBe(true);
    machine.step('c9');
    expect([machine.get('rbp'), machine.cpu.rsp]).toEqual([0x1111n, TOP]);
  });
  test('level 3 copies two frame pointers and adds its own', () => {
    const frame = DATA + 0x900n;
    const machine = new Machine({ rbp: frame });
    machine.memory.poke(frame - 8n, 8, 0xaan);
    machine.memory.poke(frame - 16n, 8, 0xbbn);
    machine.memory.poke(frame - 24n, 8, 0xccn);
    machine.step('c8 10 00 03');
    const pushed = [1n, 2n, 3n, 4n, 5n].map((i) => machine.memory.peek(TOP - 8n * i, 8));
    expect(pushed).toEqual([frame, 0xaan, 0xbbn, TOP - 8n, 0n]);
    expect(machine.get('rbp')).toBe(TOP - 8n);
    expect(machine.cpu.rsp).toBe(TOP - 32n - 16n);
  });
  test('a display that overlaps the new frame is read as pushed', () => {
    const machine = new Machine({ rbp: TOP });
    machine.memory.poke(TOP - 8n, 8, 0xaan);
    machine.step('c8 00 00 03');
    const pushed = [1n, 2n, 3n, 4n].map((i) => machine.memory.peek(TOP - 8n * i, 8));
    expect(pushed).toEqual([TOP, TOP, TOP, TOP - 8n]);
  });
  test('a fault anywhere changes nothing', () => {
    const machine = new Machine({ rbp: DATA + 8n });
    const before = machine.image();
    expect(machine.step('c8 00 00 04')).toMatchObject({ vector: VECTOR.pf, error: 0, address: DATA - 8n });
    machine.cpu.rsp = DATA + 0x20n;
    const low = machine.image();
    expect(machine.step('c8 80 00 00')).toMatchObject({ vector: VECTOR.pf, error: 2 });
    expect([machine.image(), low === before]).toEqual([low, false]);
  });
});

describe('[E-05] near transfers', () => {
  test('CALL pushes the next rip', () => {
    const machine = new Machine();
    machine.step('e8 10 00 00 00');
    expect(machine.cpu.rip).toBe(CODE + 5n + 16n);
    expect(machine.memory.peek(TOP - 8n, 8)).toBe(CODE + 5n);
  });
  test('CALL [rsp] reads the target at the old pointer', () => {
    const machine = new Machine();
    machine.memory.poke(TOP, 8, 0x5000n);
    machine.step('ff 14 24');
    expect(machine.cpu.rip).toBe(0x5000n);
    expect(machine.memory.peek(TOP - 8n, 8)).toBe(CODE + 3n);
  });
  test('RET imm16 releases its bytes after the return address', () => {
    const machine = new Machine();
    machine.memory.poke(TOP, 8, 0x6000n);
    machine.step('c2 10 00');
    expect([machine.cpu.rip, machine.cpu.rsp]).toEqual([0x6000n, TOP + 24n]);
  });
  test.each(['ff d0', 'ff e0', 'c3'])('%s to a non-canonical address raises #GP(0) and commits nothing', (code) => {
    const machine = new Machine({ rax: NON_CANONICAL });
    machine.memory.poke(TOP, 8, NON_CANONICAL);
    const before = machine.image();
    expect(machine.step(code)).toMatchObject({ vector: VECTOR.gp, error: 0 });
    expect(machine.image()).toBe(before);
  });
  test('[E-07] 16-bit operands cut the target in 32-bit code', () => {
    const machine = compatible({ rax: 0x1234_5678n });
    machine.step('66 ff e0');
    expect(machine.cpu.rip).toBe(0x5678n);
    const relative = compatible();
    relative.step('66 e9 00 10');
    expect(relative.cpu.rip).toBe((CODE + 4n + 0x1000n) & 0xffffn);
    const notTaken = compatible();
    notTaken.step('66 74 10');
    expect(notTaken.cpu.rip).toBe(CODE + 3n);
  });
  test('[E-07] a branch is relative to the base of CS and wraps at 32 bits', () => {
    const machine = compatible();
    machine.cpu.set('segmentBase', 0x10_0000n, SEG.cs);
    machine.cpu.rip = 0x1000n;
    machine.step('e9 00 f0 ff ff');
    expect(machine.cpu.rip).toBe(5n);
    machine.step('eb f0');
    expect(machine.cpu.rip).toBe(0xffff_fff7n);
  });
  test('LOOP and JrCXZ use the address size', () => {
    const machine = new Machine({ rcx: 0x1_0000_0001n });
    machine.step('67 e2 10');
    expect([machine.get('rcx'), machine.cpu.rip]).toEqual([0n, CODE + 3n]);
    machine.step('67 e3 10');
    expect(machine.cpu.rip).toBe(CODE + 6n + 16n);
    const wide = new Machine({ rcx: 0x1_0000_0001n });
    wide.step('e2 10');
    expect([wide.get('rcx'), wide.cpu.rip]).toEqual([0x1_0000_0000n, CODE + 18n]);
  });
  test.each([
    ['e1', FLAG.zf, 2n, true],
    ['e1', 0, 2n, false],
    ['e1', FLAG.zf, 1n, false],
    ['e0', 0, 2n, true],
    ['e0', FLAG.zf, 2n, false],
  ])('LOOPcc %s with flags %i and rcx %i', (code, flags, rcx, taken) => {
    const machine = new Machine({ rcx }, flags);
    machine.step(`${code} 10`);
    expect(machine.cpu.rip).toBe(CODE + (taken ? 18n : 2n));
    expect(machine.get('rcx')).toBe(rcx - 1n);
  });
  test('[E-07] BOUND raises #BR outside its signed bounds', () => {
    const outcome = (index: bigint): number | undefined => {
      const machine = compatible({ rax: index, rbx: DATA });
      machine.memory.poke(DATA, 4, 0xffff_fffen);
      machine.memory.poke(DATA + 4n, 4, 5n);
      return machine.step('62 03')?.vector;
    };
    expect([-3n, -2n, 0n, 5n, 6n].map((x) => outcome(BigInt.asUintN(32, x)))).toEqual([
      5,
      undefined,
      undefined,
      undefined,
      5,
    ]);
  });
});
