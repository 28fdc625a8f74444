import { describe, expect, test } from 'vitest';
import { reciprocal, reciprocalSqrt } from '../../src/x86/softfloat/approximate.ts';
import { add, div, integerSqrt, mul, sqrt, sub } from '../../src/x86/softfloat/arithmetic.ts';
import { type Control, controlOfFcw, controlOfMxcsr, type Result } from '../../src/x86/softfloat/control.ts';
import { roundToIntegral } from '../../src/x86/softfloat/convert.ts';
import * as fast from '../../src/x86/softfloat/fast.ts';
import { F32, F64, F80, type Format } from '../../src/x86/softfloat/format.ts';
import { packed } from '../../src/x86/softfloat/simd.ts';
import { SSE_OPS, sseOp } from '../../src/x86/softfloat/sse.ts';
import { fprem, fprem1, fscale } from '../../src/x86/softfloat/x87.ts';
import { CASES, Operands } from './softfloat-oracle.ts';
import { SseUnit, scalar, unmasked } from './sse-unit.ts';

const NEAREST = controlOfMxcsr(0x1f80);

describe('cases pinned from a processor (AMD EPYC, family 1Ah)', () => {
  // operation, a, b, MXCSR, result, exceptions
  const SSE: Array<[string, bigint, bigint, number, bigint, number]> = [
    ['ADDSS', 0x7f800000n, 0xff800000n, 0x1f80, 0xffc00000n, 0x1],
    ['ADDSS', 0x7fa00001n, 0x7fc00002n, 0x1f80, 0x7fe00001n, 0x1],
    ['ADDSS', 0x3f800000n, 0xffa00003n, 0x1f80, 0xffe00003n, 0x1],
    ['ADDSS', 0x7fc00001n, 0x7fa00002n, 0x1f80, 0x7fc00001n, 0x1],
    ['ADDSS', 0x3f800000n, 0xbf800000n, 0x3f80, 0x80000000n, 0x0],
    ['ADDSS', 0x1n, 0x1n, 0x1f80, 0x2n, 0x2],
    ['ADDSS', 0x1n, 0x1n, 0x1fc0, 0x0n, 0x0],
    ['ADDSS', 0x800000n, 0x80400000n, 0x9f80, 0x0n, 0x32],
    ['MULSS', 0x3f7fffffn, 0x800000n, 0x1f80, 0x800000n, 0x30],
    ['MULSS', 0x7f7fffffn, 0x40000000n, 0x7f80, 0x7f7fffffn, 0x28],
    ['MULSS', 0x7f800000n, 0x1n, 0x1f80, 0x7f800000n, 0x2],
    ['MULSS', 0x800001n, 0x3f7ffffen, 0x1f80, 0x800000n, 0x20],
    ['MULSS', 0x800001n, 0x3f7ffffen, 0x9f80, 0x800000n, 0x20],
    ['DIVSS', 0x1n, 0x80000000n, 0x1f80, 0xff800000n, 0x4],
    ['DIVSS', 0x3f800000n, 0x40400000n, 0x5f80, 0x3eaaaaabn, 0x20],
    ['DIVSD', 0x3ff0000000000000n, 0x4008000000000000n, 0x1f80, 0x3fd5555555555555n, 0x20],
    ['ADDSD', 0x3ff0000000000000n, 0x3ca0000000000000n, 0x1f80, 0x3ff0000000000000n, 0x20],
    ['ADDSD', 0x3ff0000000000000n, 0x3ca0000000000000n, 0x5f80, 0x3ff0000000000001n, 0x20],
    ['SQRTSD', 0xbff0000000000000n, 0x0n, 0x1f80, 0xfff8000000000000n, 0x1],
    ['SQRTSD', 0x8000000000000000n, 0x0n, 0x1f80, 0x8000000000000000n, 0x0],
    ['SQRTSD', 0x4000000000000000n, 0x0n, 0x1f80, 0x3ff6a09e667f3bcdn, 0x20],
    ['SQRTSD', 0x8000000000000001n, 0x0n, 0x1f80, 0xfff8000000000000n, 0x1],
    ['MINSS', 0x7fa00000n, 0x3f800000n, 0x1f80, 0x3f800000n, 0x1],
    ['MINSS', 0x3f800000n, 0x7fa00000n, 0x1f80, 0x7fa00000n, 0x1],
    ['MAXSS', 0x0n, 0x80000000n, 0x1f80, 0x80000000n, 0x0],
    ['MAXSS', 0x3n, 0x80000000n, 0x1fc0, 0x80000000n, 0x0],
    ['CMPLTSS', 0x7fc00000n, 0x3f800000n, 0x1f80, 0x0n, 0x1],
    ['CMPUNORDSS', 0x7fc00000n, 0x3f800000n, 0x1f80, 0xffffffffn, 0x0],
    ['CMPEQSS', 0x1n, 0x0n, 0x1fc0, 0xffffffffn, 0x0],
    ['CVTSD2SS', 0x7ff4000000000001n, 0x0n, 0x1f80, 0x7fe00000n, 0x1],
    ['CVTSD2SS', 0x1n, 0x0n, 0x1f80, 0x0n, 0x32],
    ['CVTSD2SS', 0x380fffffffffffffn, 0x0n, 0x1f80, 0x800000n, 0x20],
    ['CVTSD2SS', 0x380fffffffffffffn, 0x0n, 0x7f80, 0x7fffffn, 0x30],
    ['CVTSS2SD', 0x1n, 0x0n, 0x1f80, 0x36a0000000000000n, 0x2],
    ['CVTSS2SD', 0xffa00001n, 0x0n, 0x1f80, 0xfffc000020000000n, 0x1],
    ['CVTSD2SI32', 0x41e0000000000000n, 0x0n, 0x1f80, 0x80000000n, 0x1],
    ['CVTSD2SI32', 0xc1e0000000000000n, 0x0n, 0x1f80, 0x80000000n, 0x0],
    ['CVTSD2SI32', 0x4004000000000000n, 0x0n, 0x1f80, 0x2n, 0x20],
    ['CVTSD2SI32', 0x4004000000000000n, 0x0n, 0x5f80, 0x3n, 0x20],
    ['CVTTSD2SI64', 0x7ff8000000000000n, 0x0n, 0x1f80, 0x8000000000000000n, 0x1],
    ['CVTTSD2SI64', 0xbfffffffffffffffn, 0x0n, 0x1f80, 0xffffffffffffffffn, 0x20],
    ['CVTSI2SD64', 0x7fffffffffffffffn, 0x0n, 0x1f80, 0x43e0000000000000n, 0x20],
    ['CVTSI2SS32', 0xfeffffffn, 0x0n, 0x1f80, 0xcb800000n, 0x20],
  ];
  test.each(SSE)('%s a=%d b=%d MXCSR=%d', (name, a, b, mxcsr, value, flags) => {
    const unit = new SseUnit();
    expect([unit.run(sseOp(name), a, b, mxcsr), unit.flags]).toEqual([value, flags]);
  });

  test('operands may be signed 64-bit values, as WebAssembly passes them', () => {
    expect(new SseUnit().run(sseOp('SQRTSD'), BigInt.asIntN(64, 0xbff0000000000000n), 0n, 0x1f80)).toBe(
      0xfff8000000000000n,
    );
  });

  test('an exact tiny result underflows only while UE is unmasked', () => {
    const unit = new SseUnit();
    unit.run(sseOp('ADDSS'), 0x800001n, 0x80800000n, 0x1780);
    expect([unit.flags, unmasked(unit.flags, 0x2f)]).toEqual([0x10, 0x10]);
    expect(unit.run(sseOp('ADDSS'), 0x800001n, 0x80800000n, 0x1f80)).toBe(1n);
    expect(unit.flags).toBe(0);
  });

  type X87 = (a: bigint, b: bigint, control: Control) => Result;
  const run: Record<string, X87> = {
    fadd: (a, b, c) => add(F80, a, b, c),
    fmul: (a, b, c) => mul(F80, a, b, c),
    fdiv: (a, b, c) => div(F80, a, b, c),
    fsqrt: (a, _, c) => sqrt(F80, a, c),
    frndint: (a, _, c) => roundToIntegral(F80, a, c),
    fscale,
    fprem,
    fprem1,
  };
  // operation, ST(0), ST(1), FCW, result, exceptions and condition codes
  const REGISTERS: Array<[string, bigint, bigint, number, bigint, number]> = [
    ['fadd', 0x3fff8000000000000000n, 0x3fbf8000000000000001n, 0x37f, 0x3fff8000000000000001n, 0x220],
    ['fadd', 0x3fff8000000000000000n, 0x3fd68000000000000001n, 0x7f, 0x3fff8000000000000000n, 0x20],
    ['fadd', 0x7fffa000000000000001n, 0x7fffc000000000000002n, 0x37f, 0x7fffc000000000000002n, 0x1],
    ['fadd', 0x3fff0000000000000001n, 0x3fff8000000000000000n, 0x37f, 0xffffc000000000000000n, 0x1],
    ['fdiv', 0x3fff8000000000000000n, 0x4000c000000000000000n, 0x27f, 0x3ffdaaaaaaaaaaaaa800n, 0x20],
    ['fdiv', 0x3fff8000000000000000n, 0x4000c000000000000000n, 0x37f, 0x3ffdaaaaaaaaaaaaaaabn, 0x220],
    ['fmul', 0x7ffe8000000000000000n, 0x7ffe8000000000000000n, 0x377, 0x5ffd8000000000000000n, 0x8],
    ['fmul', 0x00018000000000000000n, 0x00018000000000000001n, 0x36f, 0x20038000000000000001n, 0x10],
    ['fsqrt', 0x40008000000000000000n, 0x0n, 0x37f, 0x3fffb504f333f9de6484n, 0x20],
    ['fscale', 0x40138000000000000000n, 0x40138000000000000000n, 0x367, 0x7fff8000000000000000n, 0x228],
    ['fprem', 0x4003e000000000000000n, 0x4000c000000000000000n, 0x37f, 0x3fff8000000000000000n, 0x200],
    ['fprem', 0x408fe000000000000000n, 0x4000c000000000000000n, 0x37f, 0x405f8000000000000000n, 0x400],
    ['fprem1', 0x4003e800000000000000n, 0x4000c000000000000000n, 0x37f, 0xbfff8000000000000000n, 0x4000],
    ['frndint', 0x4000a000000000000000n, 0x0n, 0x37f, 0x40008000000000000000n, 0x20],
  ];
  test.each(REGISTERS)('%s ST0=%d ST1=%d FCW=%d', (name, a, b, fcw, value, flags) => {
    expect(run[name]!(a, b, controlOfFcw(fcw))).toEqual({ value, flags });
  });
});

describe('integer arithmetic against JavaScript (binary64 to nearest)', () => {
  const isNaNPattern = (bits: bigint): boolean => Number.isNaN(fast.doubleOf(bits));
  const OPERATIONS: Array<[string, (a: bigint, b: bigint) => Result, (x: number, y: number) => number]> = [
    ['add', (a, b) => add(F64, a, b, NEAREST), (x, y) => x + y],
    ['sub', (a, b) => sub(F64, a, b, NEAREST), (x, y) => x - y],
    ['mul', (a, b) => mul(F64, a, b, NEAREST), (x, y) => x * y],
    ['div', (a, b) => div(F64, a, b, NEAREST), (x, y) => x / y],
  ];
  test.each(OPERATIONS)('%s', (_, model, host) => {
    const random = new Operands(4711);
    for (let i = 0; i < CASES; i++) {
      const a = random.value(F64);
      const b = random.related(F64, a);
      const value = model(a, b).value;
      const expected = host(fast.doubleOf(a), fast.doubleOf(b));
      if (Number.isNaN(expected)) expect(isNaNPattern(value)).toBe(true);
      else expect(value).toBe(fast.doubleBits(expected));
    }
  });
});

describe('fast paths agree with integer arithmetic wherever they decide', () => {
  type Slow = (format: Format, a: bigint, b: bigint, control: Control) => Result;
  type Quick = (x: number, y: number) => fast.Fast;
  const root: Slow = (format, a, _, control) => sqrt(format, a, control);
  const PAIRS: Array<[string, Format, Quick, Slow]> = [
    ['add double', F64, fast.addDouble, add],
    ['mul double', F64, fast.mulDouble, mul],
    ['div double', F64, fast.divDouble, div],
    ['sqrt double', F64, fast.sqrtDouble, root],
    ['add single', F32, fast.addSingle, add],
    ['mul single', F32, fast.mulSingle, mul],
    ['div single', F32, fast.divSingle, div],
    ['sqrt single', F32, fast.sqrtSingle, root],
  ];
  test.each(PAIRS)('%s', (_, format, quick, slow) => {
    const single = format === F32;
    const [of, bits] = single ? [fast.singleOf, fast.singleBits] : [fast.doubleOf, fast.doubleBits];
    const random = new Operands(815);
    let decided = 0;
    for (let i = 0; i < 4 * CASES; i++) {
      const a = random.value(format);
      const b = random.related(format, a);
      const r = quick(of(a), of(b));
      if (Number.isNaN(r.value)) continue;
      decided++;
      const flags = r.flags;
      expect({ value: bits(r.value), flags }).toEqual(slow(format, a, b, NEAREST));
    }
    expect(decided).toBeGreaterThan(CASES / 4);
  });

  test('the root of the number below a power of two', () => {
    for (let k = -40; k <= 40; k++) {
      const below = fast.doubleBits(4 ** k) - 1n;
      const r = new SseUnit().run(sseOp('SQRTSD'), below, 0n, 0x1f80);
      // sqrt(1 - 2^-53) lies just below the midpoint of 1 - 2^-53 and 1
      expect(r).toBe(fast.doubleBits(2 ** k) - 1n);
    }
  });
});

describe('RCPSS and RSQRTSS keep to the manual', () => {
  const BOUND = 1.5 * 2 ** -12;
  test('relative error at most 1.5 * 2^-12 over all significands', () => {
    let worst = 0;
    for (let i = 0; i < 2 ** 24; i += 2741) {
      const bits = BigInt(0x3f800000 + i);
      const x = fast.singleOf(bits);
      worst = Math.max(worst, Math.abs(fast.singleOf(reciprocal(bits)) * x - 1));
      worst = Math.max(worst, Math.abs(fast.singleOf(reciprocalSqrt(bits)) * Math.sqrt(x) - 1));
    }
    expect(worst).toBeLessThan(BOUND);
    expect(worst).toBeGreaterThan(BOUND / 4);
  });
  // operand, 1/x, 1/sqrt(x): special values as SDM and processor give them
  const SPECIAL: Array<[bigint, bigint, bigint]> = [
    [0x00000000n, 0x7f800000n, 0x7f800000n],
    [0x80000000n, 0xff800000n, 0xff800000n],
    [0x00000001n, 0x7f800000n, 0x7f800000n],
    [0x80000001n, 0xff800000n, 0xff800000n],
    [0x7f800000n, 0x00000000n, 0x00000000n],
    [0xff800000n, 0x80000000n, 0xffc00000n],
    [0x7fa00000n, 0x7fe00000n, 0x7fe00000n],
    [0xffc00001n, 0xffc00001n, 0xffc00001n],
  ];
  test.each(SPECIAL)('of %d', (x, inverse, root) => {
    expect([reciprocal(x), reciprocalSqrt(x)]).toEqual([inverse, root]);
  });
  test('the limits of tiny results', () => {
    expect(reciprocal(0x7e7fe800n)).not.toBe(0n); // 1.11111111110100000000000b * 2^125
    expect(reciprocal(0x7e800c01n)).toBe(0n); // 1.00000000000110000000001b * 2^126
    expect(reciprocal(0xff7fffffn)).toBe(0x80000000n);
    expect(reciprocalSqrt(0xbf800000n)).toBe(0xffc00000n);
  });
});

describe('lanes', () => {
  test('packed operations work on each lane and collect flags', () => {
    const a = 0x3f800000_3f800000_00000001_3f800000n;
    const b = 0x00000000_40400000_00000000_3f800000n;
    const r = packed(sseOp('DIVSS'), a, b, 0x1f80);
    expect(r).toEqual({ value: 0x7f800000_3eaaaaab_7f800000_3f800000n, flags: 0x24 });
  });
  test('an unmasked early exception of one lane hides the late ones of all', () => {
    const a = 0x3f800000_3f800000_3f800000_3f800000n;
    const b = 0x00000000_40400000_3f800000_3f800000n;
    expect(packed(sseOp('DIVSS'), a, b, 0x1d80).flags).toBe(0x04);
  });
  test('scalar operations keep the upper bits of the destination', () => {
    const a = 0x11111111_22222222_33333333_3f800000n;
    expect(scalar(sseOp('ADDSS'), a, 0x99999999_3f800000n, 0x1f80).value).toBe(0x11111111_22222222_33333333_40000000n);
    expect(scalar(sseOp('SQRTSS'), a, 0x99999999_40800000n, 0x1f80).value).toBe(0x11111111_22222222_33333333_40000000n);
  });
  test('operation names are unique', () => {
    expect(new Set(SSE_OPS.map((op) => op.name)).size).toBe(SSE_OPS.length);
  });
});

test('integerSqrt is the floor', () => {
  const random = new Operands(99);
  for (let i = 0; i < CASES; i++) {
    const n = random.wide(16 + random.below(240));
    const r = integerSqrt(n);
    expect(r * r <= n && (r + 1n) * (r + 1n) > n).toBe(true);
  }
});
