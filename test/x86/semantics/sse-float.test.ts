/** SSE floating point: results of IEEE 754 arithmetic, exceptions by SDM vol. 1, 11.5 and the operation sections of vol. 2. */
import { describe, expect, test } from 'vitest';
import { VECTOR } from '../../../src/x86/state.ts';
import { FpMachine, MXCSR_DEFAULT } from './fp-machine.ts';
import { ALL_FLAGS, DATA } from './machine.ts';

const view = new DataView(new ArrayBuffer(8));
const single = (x: number): bigint => {
  view.setFloat32(0, x);
  return BigInt(view.getUint32(0));
};
const double = (x: number): bigint => {
  view.setFloat64(0, x);
  return view.getBigUint64(0);
};
const singles = (...lanes: number[]): bigint => lanes.reduceRight((v, x) => (v << 32n) | single(x), 0n);
const doubles = (low: number, high: number): bigint => (double(high) << 64n) | double(low);
const UPPER = 0x1234_5678_9abc_def0n << 64n;
const QNAN32 = 0xffc0_0000n;
const [IE, DE, ZE, OE, UE, PE] = [1, 2, 4, 8, 16, 32];

/** xmm1 = a, xmm2 = b and the memory at rbx; MXCSR with all exceptions masked unless given. */
function run(code: string, a: bigint, b: bigint, mxcsr = MXCSR_DEFAULT): { m: FpMachine; vector: number | null } {
  const m = new FpMachine({ rbx: DATA }, ALL_FLAGS);
  m.setXmm(1, a);
  m.setXmm(2, b);
  m.memory.poke(DATA, 16, b);
  m.cpu.set('mxcsr', mxcsr);
  const fault = m.step(code);
  return { m, vector: fault?.vector ?? null };
}
const unmasking = (flags: number): number => MXCSR_DEFAULT & ~(flags << 7);

describe('[E-06] SSE arithmetic', () => {
  test.each([
    ['addss', 'f3 0f 58 ca', UPPER | single(1.5), single(2.25), UPPER | single(3.75), 0],
    ['addsd', 'f2 0f 58 ca', UPPER | double(0.1), double(0.2), UPPER | double(0.1 + 0.2), PE],
    ['subps', '0f 5c ca', singles(1, 2, 3, 4), singles(4, 3, 2, 1), singles(-3, -1, 1, 3), 0],
    ['mulpd', '66 0f 59 ca', doubles(3, -0.5), doubles(7, 8), doubles(21, -4), 0],
    ['divss by zero', 'f3 0f 5e ca', single(1), 0n, single(Infinity), ZE],
    [
      'divps, 0 / 0 in one lane',
      '0f 5e ca',
      singles(1, 0, 8, 9),
      singles(2, 0, 4, 3),
      singles(0.5, 0, 2, 3) | (QNAN32 << 32n),
      IE,
    ],
    ['sqrtsd takes the source', 'f2 0f 51 ca', UPPER | double(5), double(9), UPPER | double(3), 0],
    ['sqrtss of a negative', 'f3 0f 51 ca', 0n, single(-1), QNAN32, IE],
    ['minss of two zeros is the second', 'f3 0f 5d ca', 0n, single(-0), single(-0), 0],
    ['maxsd with a NaN is the second', 'f2 0f 5f ca', double(Number.NaN), double(1), double(1), IE],
    ['mulss that overflows', 'f3 0f 59 ca', single(3e38), single(2), single(Infinity), OE | PE],
    ['mulss of a denormal', 'f3 0f 59 ca', 1n, single(0.5), 0n, DE | UE | PE],
    ['cvtps2pd', '0f 5a ca', 0n, singles(1.5, -2), doubles(1.5, -2), 0],
    ['cvtpd2ps clears the high half', '66 0f 5a ca', UPPER, doubles(0.5, -4), singles(0.5, -4), 0],
    ['cvtdq2pd', 'f3 0f e6 ca', 0n, 0xffff_ffff_0000_0007n, doubles(7, -1), 0],
    [
      'cvtps2dq rounds to even',
      '66 0f 5b ca',
      0n,
      singles(2.5, -1.5, 3e9, 1),
      (1n << 96n) | 0x8000_0000_ffff_fffe_0000_0002n,
      IE | PE,
    ],
    ['cvttpd2dq truncates', '66 0f e6 ca', UPPER, doubles(-1.9, 2.9), 0x0000_0002_ffff_ffffn, PE],
    ['cmpltps', '0f c2 ca 01', singles(1, 2, 3, Number.NaN), singles(2, 2, 2, 2), 0xffff_ffffn, IE],
    ['cmpunordsd', 'f2 0f c2 ca 03', UPPER | double(Number.NaN), double(0), UPPER | 0xffff_ffff_ffff_ffffn, 0],
  ])('%s', (_, code, a, b, expected, flags) => {
    const { m, vector } = run(code, a, b);
    expect(vector).toBeNull();
    expect(m.xmm(1).toString(16)).toBe(expected.toString(16));
    expect(m.cpu.num('mxcsr')).toBe(MXCSR_DEFAULT | flags);
  });
  test('rounding control and flush-to-zero are obeyed', () => {
    expect(run('f3 0f 58 ca', single(1), single(2 ** -30), MXCSR_DEFAULT | 0x4000).m.xmm(1)).toBe(single(1) + 1n);
    const { m } = run('f3 0f 59 ca', 0x0080_0000n, single(0.5), MXCSR_DEFAULT | 0x8000);
    expect(m.xmm(1)).toBe(0n);
    expect(m.cpu.num('mxcsr') & 63).toBe(UE | PE);
  });
  test('flags accumulate', () => {
    expect(run('f3 0f 58 ca', single(1), single(1), MXCSR_DEFAULT | IE).m.cpu.num('mxcsr')).toBe(MXCSR_DEFAULT | IE);
  });
  test('CVTSI2SS, CVTSS2SI and CVTTSS2SI use the width of the general register', () => {
    const { m } = run('f3 48 0f 2a c8', UPPER, 0n);
    expect(m.xmm(1)).toBe(UPPER);
    m.set('rax', 1n << 40n);
    m.step('f3 48 0f 2a c8');
    expect(m.xmm(1)).toBe(UPPER | single(2 ** 40));
    m.step('f3 0f 2c c1');
    expect([m.get('rax'), m.cpu.num('mxcsr') & 63]).toEqual([0x8000_0000n, IE]);
    m.setXmm(1, single(-2.5));
    m.step('f3 48 0f 2d c1');
    expect(m.get('rax')).toBe(0xffff_ffff_ffff_fffen);
  });
});

describe('[E-06] SSE comparisons in RFLAGS', () => {
  test.each([
    ['greater', 2, 1, ''],
    ['less', 1, 2, 'CF'],
    ['equal', 0, -0, 'ZF'],
    ['unordered', Number.NaN, 1, 'CF PF ZF'],
  ])('%s', (_, a, b, flags) => {
    expect(run('66 0f 2e ca', double(a), double(b)).m.flags).toBe(flags);
    expect(run('0f 2f ca', single(a), single(b)).m.flags).toBe(flags);
  });
  test('COMISD signals a quiet NaN, UCOMISD does not', () => {
    expect(run('66 0f 2f ca', double(Number.NaN), 0n).m.cpu.num('mxcsr') & 63).toBe(IE);
    expect(run('66 0f 2e ca', double(Number.NaN), 0n).m.cpu.num('mxcsr') & 63).toBe(0);
  });
  test('an unmasked exception leaves RFLAGS', () => {
    const { m, vector } = run('66 0f 2f ca', double(Number.NaN), 0n, unmasking(IE));
    expect(vector).toBe(VECTOR.xm);
    expect(m.cpu.rflags & ALL_FLAGS).toBe(ALL_FLAGS);
  });
});

describe('[E-06] unmasked SSE exceptions', () => {
  test('#XM comes with the flags set, the destination and rip unchanged', () => {
    const { m, vector } = run('f3 0f 5e ca', UPPER | single(1), 0n, unmasking(ZE));
    expect(vector).toBe(VECTOR.xm);
    expect(m.xmm(1)).toBe(UPPER | single(1));
    expect(m.cpu.num('mxcsr')).toBe(unmasking(ZE) | ZE);
    expect(m.cpu.rip).toBe(0x40_0000n);
  });
  test('without CR4.OSXMMEXCPT it is #UD', () => {
    const m = new FpMachine();
    m.cpu.set('cr4', 0x200);
    m.cpu.set('mxcsr', unmasking(ZE));
    m.setXmm(1, single(1));
    expect(m.step('f3 0f 5e ca')).toMatchObject({ vector: VECTOR.ud });
  });
  test('an unmasked exception of one lane before computing hides what another finds after it', () => {
    // lane 0 divides by zero, lane 1 is inexact
    const { m } = run('0f 5e ca', singles(1, 1, 1, 1), singles(0, 3, 1, 1), unmasking(ZE));
    expect(m.cpu.num('mxcsr') & 63).toBe(ZE);
  });
  test('a misaligned operand faults before anything is computed', () => {
    const m = new FpMachine({ rbx: DATA + 4n });
    expect(m.step('0f 58 0b')).toMatchObject({ vector: VECTOR.gp, error: 0 });
    expect(m.step('f3 0f 58 0b')).toBeNull();
  });
});

describe('[E-06] MXCSR', () => {
  test('LDMXCSR refuses reserved bits', () => {
    const m = new FpMachine({ rbx: DATA });
    m.memory.poke(DATA, 4, 0x1_0000n);
    expect(m.step('0f ae 13')).toMatchObject({ vector: VECTOR.gp, error: 0 });
    expect(m.cpu.num('mxcsr')).toBe(MXCSR_DEFAULT);
    m.memory.poke(DATA, 4, 0xffbfn);
    expect(m.step('0f ae 13')).toBeNull();
    m.step('0f ae 5b 10');
    expect(m.memory.peek(DATA + 16n, 4)).toBe(0xffbfn);
  });
  test('CVTTPS2PI enters the MMX state', () => {
    const { m, vector } = run('0f 2c da', 0n, singles(-1.5, 7.25, 5, 5));
    expect(vector).toBeNull();
    expect(m.cpu.get('fpr', 3)).toBe((0xffffn << 64n) | 0x0000_0007_ffff_ffffn);
    expect(m.cpu.num('ftags')).toBe(0xff);
  });
});
