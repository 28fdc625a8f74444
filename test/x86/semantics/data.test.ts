/** Moves, exchanges, bits and decimal adjustments (SDM vol. 2, and AMD family 1Ah silicon where the manual is silent). */
import { describe, expect, test } from 'vitest';
import { FLAG, SEG, VECTOR } from '../../../src/x86/state.ts';
import { ALL_FLAGS, DATA, Machine, READ_ONLY } from './machine.ts';

const ONES = 0xffff_ffff_ffff_ffffn;
const UPPER = 0xffff_ffff_0000_0000n;

describe('[E-05] moves', () => {
  test.each([
    ['8a c4', 0x1234n, 0x1212n], // mov al, ah
    ['88 c4', 0x1234n, 0x3434n], // mov ah, al
    ['66 89 c8', ONES, 0xffff_ffff_ffff_5678n], // mov ax, cx
    ['89 c8', ONES, 0x8234_5678n], // mov eax, ecx
    ['48 89 c8', ONES, 0x1_8234_5678n], // mov rax, rcx
    ['48 c7 c0 00 00 00 80', 0n, 0xffff_ffff_8000_0000n],
    ['48 b8 f0 de bc 9a 78 56 34 12', 0n, 0x1234_5678_9abc_def0n],
    ['0f b6 c5', ONES, 0x56n], // movzx eax, ch
    ['66 0f be c1', ONES, 0xffff_ffff_ffff_0078n], // movsx ax, cl
    ['48 63 c1', 0n, 0xffff_ffff_8234_5678n], // movsxd rax, ecx
    ['66 98', 0x1_0080n, 0x1_ff80n], // cbw
    ['98', 0xf_8000n, 0xffff_8000n], // cwde
    ['48 98', 0x8000_0000n, 0xffff_ffff_8000_0000n], // cdqe
    ['0f c8', 0x1122_3344_5566_7788n, 0x8877_6655n], // bswap eax
    ['48 0f c8', 0x1122_3344_5566_7788n, 0x8877_6655_4433_2211n],
    ['8d 44 8c 04', 0n, DATA + 0x800n + 4n * 0x8234_5678n + 4n - (2n << 32n)], // lea eax, [rsp+rcx*4+4]
  ])('%s', (code, rax, result) => {
    const machine = new Machine({ rax, rcx: 0x1_8234_5678n }, ALL_FLAGS);
    expect(machine.step(code)).toBeNull();
    expect(machine.get('rax')).toBe(result);
    expect(machine.cpu.rflags & ALL_FLAGS).toBe(ALL_FLAGS);
  });
  test('CWD, CDQ and CQO fill rDX with the sign', () => {
    const highHalf = (code: string, rax: bigint): bigint => {
      const machine = new Machine({ rax, rdx: 0x1234_5678_9abc_def0n });
      machine.step(code);
      return machine.get('rdx');
    };
    expect(highHalf('66 99', 0x8000n)).toBe(0x1234_5678_9abc_ffffn);
    expect(highHalf('99', 0x8000_0000n)).toBe(0xffff_ffffn);
    expect(highHalf('48 99', 0x8000_0000n)).toBe(0n);
  });
  test('CMOVcc loads although its condition is false', () => {
    expect(new Machine({ rbx: 0n }).step('0f 44 03')).toMatchObject({ vector: VECTOR.pf, error: 0 });
  });
  test('a selector goes zero-extended to a register, as a word to memory', () => {
    const machine = new Machine({ rax: ONES, rbx: DATA });
    machine.cpu.set('selector', 0xe02b, SEG.ss);
    machine.memory.poke(DATA, 8, ONES);
    machine.step('8c d0'); // mov eax, ss
    machine.step('8c 13'); // mov [rbx], ss
    expect(machine.get('rax')).toBe(0xe02bn);
    expect(machine.memory.peek(DATA, 8)).toBe(0xffff_ffff_ffff_e02bn);
  });
  test('a RIP-relative operand counts from the next instruction', () => {
    const machine = new Machine();
    machine.cpu.rip = DATA - 0x10n;
    machine.memory.poke(DATA + 0x7n, 4, 0xabcdn);
    machine.step('8b 05 11 00 00 00');
    expect(machine.get('rax')).toBe(0xabcdn);
  });
});

describe('[E-05] exchanges', () => {
  test('XADD with one register twice doubles it; with AL and AH each takes its part', () => {
    const machine = new Machine({ rax: 0x7fff_ffff_0000_0003n });
    machine.step('0f c1 c0');
    expect(machine.get('rax')).toBe(6n);
    const bytes = new Machine({ rax: 0x0305n });
    bytes.step('0f c0 c4'); // xadd ah, al: measured
    expect(bytes.get('rax')).toBe(0x0803n);
  });
  test('XCHG swaps high and low bytes, and registers with memory', () => {
    const machine = new Machine({ rax: 0x1234n, rbx: DATA });
    machine.step('86 c4');
    expect(machine.get('rax')).toBe(0x3412n);
    machine.memory.poke(DATA, 8, ONES);
    machine.step('87 03');
    expect([machine.get('rax'), machine.memory.peek(DATA, 8)]).toEqual([0xffff_ffffn, 0xffff_ffff_0000_3412n]);
  });
  test('32-bit CMPXCHG: measured upper halves', () => {
    const equal = new Machine({ rax: UPPER | 1n, rcx: 5n, rdx: UPPER | 1n });
    equal.step('0f b1 ca'); // cmpxchg edx, ecx
    expect([equal.get('rax'), equal.get('rdx'), equal.flags]).toEqual([UPPER | 1n, 5n, 'PF ZF']);
    const different = new Machine({ rax: UPPER | 1n, rcx: 5n, rdx: UPPER | 2n });
    different.step('0f b1 ca');
    expect([different.get('rax'), different.get('rdx'), different.flags]).toEqual([2n, UPPER | 2n, 'CF PF AF SF']);
  });
  test('CMPXCHG writes memory also when it differs', () => {
    const machine = new Machine({ rax: 1n, rbx: DATA, rcx: 5n });
    machine.memory.poke(DATA, 4, 7n);
    machine.step('f0 0f b1 0b');
    expect([machine.get('rax'), machine.memory.peek(DATA, 4)]).toEqual([7n, 7n]);
    expect(machine.memory.log).toContain(`store ${DATA.toString(16)} 4`);
    machine.set('rbx', READ_ONLY);
    expect(machine.step('f0 0f b1 0b')).toMatchObject({ vector: VECTOR.pf, error: 3 });
  });
  test('CMPXCHG8B and CMPXCHG16B write ZF only', () => {
    for (const start of [0, ALL_FLAGS]) {
      const machine = new Machine({ rax: UPPER | 2n, rdx: UPPER | 1n, rbx: 4n, rcx: 3n, rsi: DATA }, start);
      machine.memory.poke(DATA, 8, 0x1_0000_0002n);
      machine.step('0f c7 0e');
      expect(machine.memory.peek(DATA, 8)).toBe(0x3_0000_0004n);
      expect([machine.get('rax'), machine.get('rdx')]).toEqual([UPPER | 2n, UPPER | 1n]);
      expect(machine.cpu.rflags & ALL_FLAGS).toBe(start | FLAG.zf);
      machine.step('0f c7 0e');
      expect([machine.get('rax'), machine.get('rdx')]).toEqual([4n, 3n]);
      expect(machine.cpu.rflags & ALL_FLAGS).toBe(start & ~FLAG.zf);

      machine.memory.poke(DATA, 8, 10n);
      machine.memory.poke(DATA + 8n, 8, 11n);
      machine.step('48 0f c7 0e');
      expect([machine.get('rax'), machine.get('rdx'), machine.cpu.rflags & FLAG.zf]).toEqual([10n, 11n, 0]);
      machine.step('48 0f c7 0e');
      expect([machine.memory.peek(DATA, 8), machine.memory.peek(DATA + 8n, 8)]).toEqual([4n, 3n]);
      expect(machine.cpu.rflags & ALL_FLAGS).toBe(start | FLAG.zf);
    }
  });
  test('CMPXCHG16B of a misaligned operand raises #GP(0)', () => {
    const machine = new Machine({ rsi: DATA + 8n });
    expect(machine.step('48 0f c7 0e')).toMatchObject({ vector: VECTOR.gp, error: 0 });
  });
});

describe('[E-05] bits', () => {
  test.each([
    ['0f a3 c8', 65n, 2n, 2n, true], // bt eax, ecx: offset modulo 32
    ['0f ab c8', 33n, 0n, 2n, false],
    ['0f b3 c8', 1n, 3n, 1n, true],
    ['0f bb c8', 1n, 3n, 1n, true],
    ['48 0f ba e8 3f', 0n, 0n, 1n << 63n, false], // bts rax, 63
  ])('%s', (code, rcx, rax, result, cf) => {
    for (const start of [0, ALL_FLAGS]) {
      const machine = new Machine({ rax, rcx }, start);
      machine.step(code);
      expect(machine.get('rax')).toBe(result);
      expect(machine.cpu.rflags & ALL_FLAGS).toBe((start & ~FLAG.cf) | (cf ? FLAG.cf : 0));
    }
  });
  test('a register offset reaches outside the memory operand, also below it', () => {
    const machine = new Machine({ rbx: DATA + 0x100n, rcx: 1000n, rdx: BigInt.asUintN(64, -33n) });
    machine.step('48 0f ab 0b'); // bts [rbx], rcx
    expect(machine.memory.peek(DATA + 0x100n + 120n, 8)).toBe(1n << 40n);
    machine.step('0f ab 13'); // bts [rbx], edx
    expect(machine.memory.peek(DATA + 0x100n - 8n, 4)).toBe(1n << 31n);
    expect(machine.memory.log).toContain('store 100f8 4');
    machine.step('0f ba 2b 21'); // bts dword [rbx], 33: an immediate stays inside
    expect(machine.memory.peek(DATA + 0x100n, 8)).toBe(2n);
  });
  test('BSF and BSR: a zero source leaves all of the destination', () => {
    const zero = new Machine({ rax: ONES, rcx: UPPER }, ALL_FLAGS);
    zero.step('0f bc c1');
    expect([zero.get('rax'), zero.flags]).toEqual([ONES, 'PF ZF']);
    const scan = (code: string, rcx: bigint): bigint => {
      const machine = new Machine({ rax: ONES, rcx });
      machine.step(code);
      return machine.get('rax');
    };
    expect(scan('0f bc c1', 0x50n)).toBe(4n);
    expect(scan('0f bd c1', 0x50n)).toBe(6n);
    expect(scan('48 0f bd c1', 1n << 63n)).toBe(63n);
    expect(scan('66 0f bc c1', 0x8_0000n)).toBe(ONES);
    expect(scan('f3 0f bc c1', 0x50n)).toBe(4n); // TZCNT is not in the policy
  });
});

describe('[E-07] decimal adjustments', () => {
  // Examples of the manual's instruction pages, and packed sums worked by hand.
  test.each([
    ['27', 0xaen, FLAG.pf | FLAG.sf, 0x14n, 'CF AF', 'CF PF AF'], // DAA after 79h + 35h
    ['27', 0x2en, FLAG.cf | FLAG.of | FLAG.pf | FLAG.af, 0x94n, 'CF AF SF', ''],
    ['2f', 0xeen, FLAG.cf | FLAG.of | FLAG.af, 0x88n, 'CF AF SF', ''], // DAS after 35h - 47h
  ])('%s of %i', (code, rax, flags, result, ...shown) => {
    const machine = new Machine({ rax }, flags);
    machine.mode = 1;
    machine.step(code);
    expect(machine.get('rax')).toBe(result);
    for (const flag of shown[0]!.split(' ')) expect(machine.flags.split(' ')).toContain(flag);
  });
  test.each([
    ['37', 0x020fn, 0, 0x0305n, 'CF'], // AAA
    ['37', 0x0205n, 0, 0x0205n, ''],
    ['3f', 0x0205n, FLAG.af, 0x000fn, 'CF'], // AAS: 0205 - 6 borrows from AH, which loses another 1
    ['d4 0a', 0x0049n, 0, 0x0703n, ''], // AAM
    ['d5 0a', 0x0703n, 0, 0x0049n, ''], // AAD
    ['d6', 0x1234n, FLAG.cf, 0x12ffn, 'CF'], // SALC
  ])('%s of %i', (code, rax, flags, result, cf) => {
    const machine = new Machine({ rax }, flags);
    machine.mode = 1;
    machine.step(code);
    expect(machine.get('rax')).toBe(result);
    expect(machine.flags.split(' ').includes('CF')).toBe(cf === 'CF');
  });
  test('AAM by 0 raises #DE', () => {
    const machine = new Machine({ rax: 5n });
    machine.mode = 1;
    expect(machine.step('d4 00')).toMatchObject({ vector: VECTOR.de });
  });
  test('ARPL raises the RPL', () => {
    const machine = new Machine({ rax: 0x10n, rcx: 0x3n }, ALL_FLAGS & ~FLAG.zf);
    machine.mode = 1;
    machine.step('63 c8');
    expect([machine.get('rax'), machine.cpu.rflags & ALL_FLAGS]).toEqual([0x13n, ALL_FLAGS]);
    machine.set('rcx', 1n);
    machine.step('63 c8');
    expect([machine.get('rax'), machine.cpu.rflags & FLAG.zf]).toEqual([0x13n, 0]);
  });
});
