/** SSE3 to SSE4.2, POPCNT and CRC32: expectations from the operation sections of SDM vol. 2 and published check values. */
import { describe, expect, test } from 'vitest';
import { VECTOR } from '../../../src/x86/state.ts';
import { FpMachine } from './fp-machine.ts';
import { DATA } from './machine.ts';

const COUNTING = 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100n;
const TENS = 0x1f1e_1d1c_1b1a_1918_1716_1514_1312_1110n;

function machine(a = COUNTING, b = TENS): FpMachine {
  const m = new FpMachine({ rbx: DATA });
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
/** The bytes of `text`, zeros behind. */
const ascii = (text: string): bigint =>
  [...text].reduceRight((word, letter) => (word << 8n) | BigInt(letter.charCodeAt(0)), 0n);
const single = (...lanes: number[]): bigint =>
  new Uint32Array(Float32Array.from(lanes).buffer).reduceRight((word, lane) => (word << 32n) | BigInt(lane), 0n);

describe('rearranging', () => {
  test.each([
    ['movddup xmm1, xmm2', 'f2 0f 12 ca', 0x1716_1514_1312_1110_1716_1514_1312_1110n],
    ['movsldup xmm1, xmm2', 'f3 0f 12 ca', 0x1b1a_1918_1b1a_1918_1312_1110_1312_1110n],
    ['movshdup xmm1, xmm2', 'f3 0f 16 ca', 0x1f1e_1d1c_1f1e_1d1c_1716_1514_1716_1514n],
    ['palignr xmm1, xmm2, 3', '66 0f 3a 0f ca 03', 0x0201_001f_1e1d_1c1b_1a19_1817_1615_1413n],
    ['palignr xmm1, xmm2, 20', '66 0f 3a 0f ca 14', 0x0f0e_0d0c_0b0a_0908_0706_0504n],
    ['pblendw xmm1, xmm2, 0x81', '66 0f 3a 0e ca 81', 0x1f1e_0d0c_0b0a_0908_0706_0504_0302_1110n],
    ['insertps xmm1, xmm2, 0xd1', '66 0f 3a 21 ca d1', 0x0f0e_0d0c_0b0a_0908_1f1e_1d1c_0000_0000n],
    ['pinsrb xmm1, ebx, 5', '66 0f 3a 20 cb 05', (COUNTING & ~0xff00_0000_0000n) | ((DATA & 0xffn) << 40n)],
    ['pmovsxbw xmm1, [rbx]', '66 0f 38 20 0b', 0x0017_0016_0015_0014_0013_0012_0011_0010n],
    ['lddqu xmm1, [rbx+1]', 'f2 0f f0 4b 01', TENS >> 8n],
  ])('%s', (_, code, expected) => {
    expect(result(code)).toBe(expected);
  });
  test('PSHUFB clears where the top bit of the control is set', () => {
    expect(result('66 0f 38 00 ca', COUNTING, 0x80ff_0f01n)).toBe(0x0000_0f01n);
  });
  test('PHMINPOSUW finds the first of the smallest words', () => {
    expect(result('66 0f 38 41 ca', 0n, 0x0007_0003_0009_0003_0008_0004_0005_0006n)).toBe(0x0004_0003n);
  });
  test('MOVNTDQA and PTEST want aligned memory, PMOVZXBW and LDDQU do not', () => {
    const m = machine();
    m.set('rbx', DATA + 1n);
    for (const code of ['66 0f 38 2a 0b', '66 0f 38 17 0b']) expect(m.step(code)).toMatchObject({ vector: VECTOR.gp });
    for (const code of ['66 0f 38 30 0b', 'f2 0f f0 0b']) expect(m.step(code)).toBeNull();
  });
});

describe('floating point', () => {
  test.each([
    ['haddps xmm1, xmm2', 'f2 0f 7c ca', [3, 7, 30, 70]],
    ['hsubps xmm1, xmm2', 'f2 0f 7d ca', [-1, -1, -10, -10]],
    ['addsubps xmm1, xmm2', 'f2 0f d0 ca', [-9, 22, -27, 44]],
    ['dpps xmm1, xmm2, 0x71', '66 0f 3a 40 ca 71', [140, 0, 0, 0]],
    ['dpps xmm1, xmm2, 0xfe', '66 0f 3a 40 ca fe', [0, 300, 300, 300]],
    ['blendps xmm1, xmm2, 5', '66 0f 3a 0c ca 05', [10, 2, 30, 4]],
  ] as const)('%s', (_, code, expected) => {
    expect(result(code, single(1, 2, 3, 4), single(10, 20, 30, 40))).toBe(single(...expected));
  });
  test.each([
    ['to nearest', '08', [-2, 2, -2, 2]],
    ['down', '09', [-2, 1, -3, 2]],
    ['up', '0a', [-1, 2, -2, 3]],
    ['to zero', '0b', [-1, 1, -2, 2]],
    ['as MXCSR says, which is to nearest', '0c', [-2, 2, -2, 2]],
  ] as const)('ROUNDPS %s without a precision exception', (_, imm, expected) => {
    const m = machine(0n, single(-1.5, 1.5, -2.5, 2.5));
    expect(m.step(`66 0f 3a 08 ca ${imm}`)).toBeNull();
    expect(m.xmm(1)).toBe(single(...expected));
    expect(m.cpu.num('mxcsr')).toBe(0x1f80);
  });
  test('ROUNDSS raises PE unless bit 3 forbids it; unmasked it is #XM and nothing is written', () => {
    const m = machine(0n, single(1.25));
    expect(m.step('66 0f 3a 0a ca 00')).toBeNull();
    expect(m.cpu.num('mxcsr')).toBe(0x1fa0);
    m.cpu.set('mxcsr', 0x0f80);
    m.setXmm(1, 7n);
    expect(m.step('66 0f 3a 0a ca 00')).toMatchObject({ vector: VECTOR.xm });
    expect([m.xmm(1), m.cpu.num('mxcsr')]).toEqual([7n, 0x0fa0]);
  });
});

describe('strings', () => {
  /** ECX and flags of PCMPISTRI xmm1, xmm2. */
  const find = (a: string, b: string, imm: string): [bigint, string] => {
    const m = machine(ascii(a), ascii(b));
    expect(m.step(`66 0f 3a 63 ca ${imm}`)).toBeNull();
    return [m.get('rcx'), m.flags];
  };
  test.each([
    ['equal any', '00', 'aeiou', 'rhythm and', 7n, 'CF ZF SF'],
    ['ranges', '04', 'azAZ', '12 Zebras', 3n, 'CF ZF SF'],
    ['equal each', '08', 'same', 'same', 0n, 'CF ZF SF OF'],
    ['equal each, turned within the string', '38', 'abcd', 'abxd', 2n, 'CF ZF SF'],
    ['equal ordered', '0c', 'needle', 'hay needle', 4n, 'CF ZF SF'],
    ['nothing found', '00', 'xyz', 'abcdefghijklmnop', 16n, 'SF'],
    ['the last one', '40', 'ab', 'aXbX', 2n, 'CF ZF SF OF'],
  ])('PCMPISTRI, %s', (_, imm, a, b, index, flags) => {
    expect(find(a, b, imm)).toEqual([index, flags]);
  });
  test('PCMPESTRM takes its lengths from EAX and EDX, and makes a mask of bytes', () => {
    const m = machine(ascii('ab'), ascii('abab'));
    m.set('rax', 0xffff_fffen); // -2: the absolute value counts
    m.set('rdx', 3n);
    expect(m.step('66 0f 3a 60 ca 40')).toBeNull();
    expect(m.cpu.get('xmm', 0)).toBe(0xff_ffffn);
    expect(m.flags).toBe('CF ZF SF OF');
  });
});

describe('POPCNT and CRC32', () => {
  test('POPCNT sets ZF alone', () => {
    const m = new FpMachine({ rcx: 0xf000_0000_0000_0001n }, 0x8d5);
    m.step('f3 48 0f b8 c1');
    expect([m.get('rax'), m.flags]).toEqual([5n, '']);
    m.set('rcx', 0n);
    m.step('f3 48 0f b8 c1');
    expect([m.get('rax'), m.flags]).toEqual([0n, 'ZF']);
  });
  test('CRC32 is CRC-32C: 32 bytes of zeros give 8A9136AA (RFC 3720, B.4)', () => {
    const m = new FpMachine({ rax: 0xffff_ffffn, rcx: 0n });
    for (let i = 0; i < 4; i++) m.step('f2 48 0f 38 f1 c1');
    expect(m.get('rax') ^ 0xffff_ffffn).toBe(0x8a91_36aan);
  });
  test('CRC32 of "123456789" is E3069283 however it is cut', () => {
    const m = new FpMachine({ rax: 0xffff_ffff_ffff_ffffn, rcx: ascii('12345678') });
    m.step('f2 48 0f 38 f1 c1');
    m.set('rcx', ascii('9'));
    m.step('f2 0f 38 f0 c1');
    expect(m.get('rax') ^ 0xffff_ffffn).toBe(0xe306_9283n);
  });
});
