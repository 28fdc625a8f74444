/** String instructions and REP (SDM vol. 2: MOVS, STOS, LODS, SCAS, CMPS, REP). */
import { describe, expect, test } from 'vitest';
import { FLAG, SEG, VECTOR } from '../../../src/x86/state.ts';
import { CODE, DATA, Machine, READ_ONLY } from './machine.ts';

/** Steps until `rip` leaves the instruction; returns the number of steps. */
function runAll(machine: Machine, code: string): number {
  for (let steps = 1; ; steps++) {
    expect(machine.step(code)).toBeNull();
    if (machine.cpu.rip !== CODE) return steps;
  }
}

describe('[E-05] REP', () => {
  test('one iteration a step', () => {
    const machine = new Machine({ rsi: DATA, rdi: DATA + 0x100n, rcx: 3n });
    machine.memory.poke(DATA, 8, 0x8877_6655_4433_2211n);
    expect(machine.step('f3 a4')).toBeNull();
    expect([machine.cpu.rip, machine.get('rcx'), machine.get('rsi')]).toEqual([CODE, 2n, DATA + 1n]);
    expect(machine.memory.peek(DATA + 0x100n, 8)).toBe(0x11n);
    expect(runAll(machine, 'f3 a4')).toBe(2);
    expect([machine.get('rcx'), machine.get('rdi')]).toEqual([0n, DATA + 0x103n]);
    expect(machine.memory.peek(DATA + 0x100n, 8)).toBe(0x33_2211n);
  });
  test.each(['f3 a4', 'f3 48 ab', 'f3 ac', 'f2 ae', 'f3 a6'])('%s with a count of 0 touches nothing', (code) => {
    const machine = new Machine({ rsi: 0n, rdi: 0n, rcx: 0n, rax: 7n }, FLAG.cf | FLAG.zf);
    expect(machine.step(code)).toBeNull();
    expect(machine.memory.log).toEqual([]);
    expect([machine.get('rsi'), machine.get('rdi'), machine.get('rax'), machine.flags]).toEqual([0n, 0n, 7n, 'CF ZF']);
    expect(machine.cpu.rip).not.toBe(CODE);
  });
  test('a 32-bit count of 0 leaves the upper half of rCX', () => {
    const machine = new Machine({ rcx: 0x5_0000_0000n, rsi: 1n << 40n });
    expect(machine.step('67 f3 a4')).toBeNull();
    expect([machine.get('rcx'), machine.get('rsi')]).toEqual([0x5_0000_0000n, 1n << 40n]);
  });
  test('a fault leaves the registers of its iteration', () => {
    const machine = new Machine({ rdi: READ_ONLY - 16n, rcx: 5n, rax: 9n });
    for (let i = 0; i < 2; i++) expect(machine.step('f3 48 ab')).toBeNull();
    expect(machine.step('f3 48 ab')).toMatchObject({ vector: VECTOR.pf, address: READ_ONLY, error: 3 });
    expect([machine.get('rcx'), machine.get('rdi'), machine.cpu.rip]).toEqual([3n, READ_ONLY, CODE]);
  });
  test('DF moves down', () => {
    const machine = new Machine({ rdi: DATA + 0x20n, rcx: 2n, rax: 0x1122n }, FLAG.df);
    runAll(machine, '66 f3 ab');
    expect(machine.get('rdi')).toBe(DATA + 0x1cn);
    expect(machine.memory.peek(DATA + 0x1en, 4)).toBe(0x1122_1122n);
  });
  test('REPNE SCASB stops after the byte that equals', () => {
    const machine = new Machine({ rdi: DATA, rcx: 100n, rax: 0n });
    machine.memory.poke(DATA, 4, 0x0003_0201n);
    expect(runAll(machine, 'f2 ae')).toBe(4);
    expect([machine.get('rdi'), machine.get('rcx'), machine.flags]).toEqual([DATA + 4n, 96n, 'PF ZF']);
  });
  test('REPE CMPSB stops at the first difference with its flags', () => {
    const machine = new Machine({ rsi: DATA, rdi: DATA + 8n, rcx: 8n });
    machine.memory.poke(DATA, 8, 0x0000_0000_0003_0201n);
    machine.memory.poke(DATA + 8n, 8, 0x0000_0000_0004_0201n);
    expect(runAll(machine, 'f3 a6')).toBe(3);
    expect([machine.get('rcx'), machine.flags]).toEqual([5n, 'CF PF AF SF']); // 3 - 4
  });
  test('REPE CMPSB ends with the count when all are equal', () => {
    const machine = new Machine({ rsi: DATA, rdi: DATA + 8n, rcx: 8n });
    expect(runAll(machine, 'f3 a6')).toBe(8);
    expect([machine.get('rcx'), machine.flags]).toEqual([0n, 'PF ZF']);
  });
});

describe('[E-07] segments and address sizes of strings', () => {
  test('the source takes an override, the destination is ES', () => {
    const machine = new Machine({ rsi: 0x10n, rdi: 0x20n });
    machine.mode = 1;
    machine.cpu.set('segmentBase', DATA, SEG.es);
    machine.cpu.set('segmentBase', DATA + 0x100n, SEG.fs);
    machine.memory.poke(DATA + 0x110n, 4, 0xcafen);
    expect(machine.step('64 a5')).toBeNull();
    expect(machine.memory.peek(DATA + 0x20n, 4)).toBe(0xcafen);
  });
  test('64-bit mode ignores the base of ES', () => {
    const machine = new Machine({ rdi: DATA, rsi: DATA + 8n, rax: 5n });
    machine.cpu.set('segmentBase', 0x100n, SEG.es);
    machine.step('aa');
    expect(machine.memory.peek(DATA, 1)).toBe(5n);
    machine.memory.poke(DATA + 8n, 1, 6n);
    machine.step('a4');
    expect(machine.memory.peek(DATA + 1n, 1)).toBe(6n);
  });
  test('a 32-bit address size zero-extends the registers it moves', () => {
    const machine = new Machine({ rdi: (7n << 32n) | DATA, rcx: (7n << 32n) | 2n, rax: 5n });
    expect(runAll(machine, '67 f3 aa')).toBe(2);
    expect([machine.get('rdi'), machine.get('rcx')]).toEqual([DATA + 2n, 0n]);
  });
  test('16-bit registers wrap and keep their upper bits', () => {
    const machine = new Machine({ rdi: 0x1_ffffn, rax: 5n });
    machine.mode = 1;
    machine.cpu.set('segmentBase', DATA - 0xff00n, SEG.es);
    machine.step('67 aa');
    expect(machine.get('rdi')).toBe(0x1_0000n);
    expect(machine.memory.peek(DATA + 0xffn, 1)).toBe(5n);
  });
  test('XLAT adds AL before the address is cut', () => {
    const machine = new Machine({ rbx: 0xfff0n, rax: 0x1220n });
    machine.mode = 1;
    machine.cpu.set('segmentBase', DATA, SEG.ds);
    machine.memory.poke(DATA + 0x10n, 1, 0x99n);
    machine.step('67 d7');
    expect(machine.get('rax')).toBe(0x1299n);
  });
});
