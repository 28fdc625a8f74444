/** SSE2 and MMX integer instructions and moves: expectations from the operation sections of SDM vol. 2. */
import { describe, expect, test } from 'vitest';
import { VECTOR } from '../../../src/x86/state.ts';
import { FpMachine } from './fp-machine.ts';
import { DATA } from './machine.ts';

const COUNTING = 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100n;
const TENS = 0x1f1e_1d1c_1b1a_1918_1716_1514_1312_1110n;

function machine(a = COUNTING, b = TENS): FpMachine {
  const m = new FpMachine({ rbx: DATA, rdi: DATA + 0x40n });
  m.setXmm(1, a);
  m.setXmm(2, b);
  m.memory.poke(DATA, 16, b);
  return m;
}
/** xmm1 after `code`, which names xmm1 as destination. */
function result(code: string, a = COUNTING, b = TENS): bigint {
  const m = machine(a, b);
  expect(m.step(code)).toBeNull();
  return m.xmm(1);
}

describe('[E-06] moves of XMM registers', () => {
  const HIGH = 0x0f0e_0d0c_0b0a_0908n;
  test.each([
    ['movaps xmm1, xmm2', '0f 28 ca', TENS],
    ['movdqu xmm1, [rbx]', 'f3 0f 6f 0b', TENS],
    ['movss xmm1, xmm2 keeps the rest', 'f3 0f 10 ca', (COUNTING & ~0xffff_ffffn) | 0x1312_1110n],
    ['movss xmm1, [rbx] clears the rest', 'f3 0f 10 0b', 0x1312_1110n],
    ['movsd xmm1, xmm2 keeps the rest', 'f2 0f 10 ca', (HIGH << 64n) | 0x1716_1514_1312_1110n],
    ['movsd xmm1, [rbx] clears the rest', 'f2 0f 10 0b', 0x1716_1514_1312_1110n],
    ['movq xmm1, xmm2 clears the rest', 'f3 0f 7e ca', 0x1716_1514_1312_1110n],
    ['movq xmm1, xmm2 (66 0F D6) clears the rest', '66 0f d6 d1', 0x1716_1514_1312_1110n],
    ['movlps xmm1, [rbx]', '0f 12 0b', (HIGH << 64n) | 0x1716_1514_1312_1110n],
    ['movhps xmm1, [rbx]', '0f 16 0b', 0x1716_1514_1312_1110_0706_0504_0302_0100n],
    ['movhlps xmm1, xmm2', '0f 12 ca', (HIGH << 64n) | 0x1f1e_1d1c_1b1a_1918n],
    ['movlhps xmm1, xmm2', '0f 16 ca', 0x1716_1514_1312_1110_0706_0504_0302_0100n],
    ['movd xmm1, ebx', '66 0f 6e cb', DATA],
  ])('%s', (_, code, expected) => {
    expect(result(code)).toBe(expected);
  });

  test('MOVAPS and MOVNTDQ raise #GP(0) for a misaligned operand, MOVUPS does not', () => {
    const m = machine();
    m.set('rbx', DATA + 8n);
    const before = m.image();
    expect(m.step('0f 28 0b')).toMatchObject({ vector: VECTOR.gp, error: 0 });
    expect(m.step('0f 29 0b')).toMatchObject({ vector: VECTOR.gp, error: 0 });
    expect(m.step('66 0f e7 0b')).toMatchObject({ vector: VECTOR.gp, error: 0 });
    expect(m.step('66 0f fc 0b')).toMatchObject({ vector: VECTOR.gp, error: 0 });
    expect(m.image()).toBe(before);
    expect(m.step('0f 11 0b')).toBeNull();
    expect(m.memory.peek(DATA + 8n, 16)).toBe(COUNTING);
  });
  test('MOVHPS stores the high half, MOVD with REX.W the low 64 bits', () => {
    const m = machine();
    m.step('0f 17 0b');
    expect(m.memory.peek(DATA, 8)).toBe(0x0f0e_0d0c_0b0a_0908n);
    m.step('66 48 0f 7e c8');
    expect(m.get('rax')).toBe(0x0706_0504_0302_0100n);
  });
  test('MOVMSKPS and PMOVMSKB collect sign bits', () => {
    const m = machine(0x80ff_0000_0000_0000_8000_0000_0000_0080n);
    m.set('rax', -1n);
    m.step('0f 50 c1');
    expect(m.get('rax')).toBe(0b1010n);
    m.step('66 0f d7 c1');
    expect(m.get('rax')).toBe(0b1100_0000_1000_0001n);
  });
  test('MASKMOVDQU writes selected bytes at DS:RDI', () => {
    const m = machine(TENS, 0x8000_0000_0000_0000_0000_0000_0000_ff7fn);
    m.memory.poke(DATA + 0x40n, 16, COUNTING);
    m.step('66 0f f7 ca');
    expect(m.memory.peek(DATA + 0x40n, 16)).toBe(0x1f0e_0d0c_0b0a_0908_0706_0504_0302_1100n);
  });
});

describe('[E-06] packed integers', () => {
  test.each([
    ['paddsb', '66 0f ec ca', 0x7f80_01n, 0x01ff_02n, 0x7f80_03n],
    ['psubusw', '66 0f d9 ca', 0x0001_0005n, 0x0002_0003n, 0x0000_0002n],
    ['pmulhw', '66 0f e5 ca', 0x8000_7fffn, 0x8000_0002n, 0x4000_0000n],
    ['pmulhuw', '66 0f e4 ca', 0xffff_0002n, 0xffff_8000n, 0xfffe_0001n],
    ['pmaddwd', '66 0f f5 ca', 0x8000_8000n, 0x8000_8000n, 0x8000_0000n],
    [
      'pmuludq',
      '66 0f f4 ca',
      (3n << 64n) | 0xffff_ffffn,
      (5n << 64n) | 0xffff_ffffn,
      (15n << 64n) | 0xffff_fffe_0000_0001n,
    ],
    ['psadbw', '66 0f f6 ca', (0xff00n << 64n) | 0x05_0aff_0102n, 0x07_0500_0201n, (0xffn << 64n) | 0x108n],
    ['packuswb', '66 0f 67 ca', 0xffff_0100_00ff_0001n, 0x8000n, 0x00ff_ff01n],
    ['packssdw', '66 0f 6b ca', 0x8000_0000_0001_0000n, 7n, (7n << 64n) | 0x8000_7fffn],
    ['punpcklbw', '66 0f 60 ca', COUNTING, TENS, 0x1707_1606_1505_1404_1303_1202_1101_1000n],
    ['punpckhqdq', '66 0f 6d ca', COUNTING, TENS, 0x1f1e_1d1c_1b1a_1918_0f0e_0d0c_0b0a_0908n],
    ['pcmpgtb', '66 0f 64 ca', 0x80_01n, 0x7f_ffn, 0x00_ffn],
    ['pandn', '66 0f df ca', 0b1100n, 0b1010n, 0b0010n],
  ])('%s', (_, code, a, b, expected) => {
    expect(result(code, a, b)).toBe(expected);
  });

  test.each([
    ['psllw by 4', '66 0f 71 f1 04', 0xffff_0001n, 0xfff0_0010n],
    ['psllw by 16', '66 0f 71 f1 10', 0xffff_0001n, 0n],
    ['psraw by 255 fills with the sign', '66 0f 71 e1 ff', 0x8000_7fffn, 0xffff_0000n],
    ['psrad by 31', '66 0f 72 e1 1f', 0x8000_0000_7fff_ffffn, 0xffff_ffff_0000_0000n],
    ['psrlq by 64', '66 0f 73 d1 40', COUNTING, 0n],
    ['psrldq by 3', '66 0f 73 d9 03', COUNTING, COUNTING >> 24n],
    ['psrldq by 16', '66 0f 73 d9 10', COUNTING, 0n],
    ['pslldq by 15', '66 0f 73 f9 0f', TENS, 0x10n << 120n],
    ['pslldq by 255', '66 0f 73 f9 ff', TENS, 0n],
  ])('%s', (_, code, a, expected) => {
    expect(result(code, a)).toBe(expected);
  });
  test('a count in a register is all of its low 64 bits', () => {
    expect(result('66 0f f3 ca', 1n, 63n)).toBe(1n << 63n);
    expect(result('66 0f f3 ca', 1n, (1n << 32n) | 1n)).toBe(0n);
    expect(result('66 0f e1 ca', 0x8000n, 1n << 63n)).toBe(0xffffn);
  });

  test.each([
    ['pshufd', '66 0f 70 ca 1b', 0x1312_1110_1716_1514_1b1a_1918_1f1e_1d1cn],
    ['pshuflw', 'f2 0f 70 ca 1b', 0x1f1e_1d1c_1b1a_1918_1110_1312_1514_1716n],
    ['pshufhw', 'f3 0f 70 ca e1', 0x1f1e_1d1c_1918_1b1a_1716_1514_1312_1110n],
    ['shufps', '0f c6 ca 4e', 0x1716_1514_1312_1110_0f0e_0d0c_0b0a_0908n],
    ['shufpd', '66 0f c6 ca 01', 0x1716_1514_1312_1110_0f0e_0d0c_0b0a_0908n],
    ['unpckhps', '0f 15 ca', 0x1f1e_1d1c_0f0e_0d0c_1b1a_1918_0b0a_0908n],
    ['pinsrw 5', '66 0f c4 cb 05', 0x0f0e_0d0c_0000_0908_0706_0504_0302_0100n],
  ])('%s', (_, code, expected) => {
    expect(result(code)).toBe(expected);
  });
  test('PEXTRW takes the word modulo 8', () => {
    const m = machine();
    m.step('66 0f c5 c1 0d');
    expect(m.get('rax')).toBe(0x0b0an);
  });
});

describe('MMX', () => {
  const ALIASED = 0xffffn << 64n;
  test('arithmetic sets the exponent to ones, the tags to valid and the top to 0', () => {
    const m = new FpMachine();
    m.setMm(1, 0xff01n);
    m.setMm(2, 0x0102n);
    m.cpu.set('ftop', 5);
    expect(m.step('0f fc ca')).toBeNull();
    expect(m.cpu.get('fpr', 1)).toBe(ALIASED | 0x0003n);
    expect(m.cpu.get('fpr', 2)).toBe(0x0102n);
    expect([m.cpu.num('ftags'), m.cpu.num('ftop')]).toEqual([0xff, 0]);
    m.step('0f 77');
    expect(m.cpu.num('ftags')).toBe(0);
  });
  test.each([
    ['packsswb', '0f 63 ca', 0x7fff_8000_0001_fffen, 0x0080_0005_0006_0007n, 0x7f05_0607_7f80_01fen],
    ['punpcklbw', '0f 60 ca', 0x0302_0100n, 0x1312_1110n, 0x1303_1202_1101_1000n],
    ['punpckhwd', '0f 69 ca', 0x0706_0504_0000_0000n, 0x1716_1514_0000_0000n, 0x1716_0706_1514_0504n],
    ['psadbw', '0f f6 ca', 0x0aff_0102n, 0x0500_0201n, 0x106n],
    ['pshufw', '0f 70 ca 1b', 0n, 0x4444_3333_2222_1111n, 0x1111_2222_3333_4444n],
  ])('%s', (_, code, a, b, expected) => {
    const m = new FpMachine();
    m.setMm(1, a);
    m.setMm(2, b);
    expect(m.step(code)).toBeNull();
    expect(m.mm(1)).toBe(expected);
  });
  test('MOVQ2DQ zero-extends, MOVDQ2Q takes the low half', () => {
    const m = machine();
    m.setMm(3, 0x1122_3344_5566_7788n);
    m.step('f3 0f d6 cb');
    expect(m.xmm(1)).toBe(0x1122_3344_5566_7788n);
    m.step('f2 0f d6 da');
    expect(m.cpu.get('fpr', 3)).toBe(ALIASED | 0x1716_1514_1312_1110n);
  });
});

describe('[E-06] SSE and MMX are checked before memory', () => {
  const SSE = '66 0f fc 0b'; // paddb xmm1, [rbx]
  const MMX = '0f fc 0b'; // paddb mm1, [rbx]
  test.each([
    ['CR0.TS', SSE, 'cr0', 0x2b, VECTOR.nm],
    ['CR0.EM over CR0.TS', SSE, 'cr0', 0x2f, VECTOR.ud],
    ['CR4.OSFXSR clear', SSE, 'cr4', 0x400, VECTOR.ud],
    ['CR0.TS', MMX, 'cr0', 0x2b, VECTOR.nm],
    ['CR0.EM', MMX, 'cr0', 0x27, VECTOR.ud],
    ['a pending x87 exception', MMX, 'fsw', 0x8081, VECTOR.mf],
  ] as const)('%s: %s', (_, code, slot, value, vector) => {
    const m = new FpMachine({ rbx: 0n });
    m.cpu.set(slot, value);
    expect(m.step(code)).toMatchObject({ vector });
  });
  test('a pending x87 exception is nothing to SSE, and to MMX without CR0.NE', () => {
    const m = machine();
    m.cpu.set('fsw', 0x8081);
    expect(m.step(SSE)).toBeNull();
    m.cpu.set('cr0', 3);
    expect(m.step(MMX)).toBeNull();
  });
});
