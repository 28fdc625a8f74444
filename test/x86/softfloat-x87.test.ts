import { afterAll, describe, expect, test } from 'vitest';
import { add, div, divReversed, mul, sqrt, sub, subReversed } from '../../src/x86/softfloat/arithmetic.ts';
import { fbld, fbstp } from '../../src/x86/softfloat/bcd.ts';
import { compare, EQUAL, LESS, UNORDERED } from '../../src/x86/softfloat/compare.ts';
import {
  BEFORE_COMPUTATION,
  C0,
  C2,
  C3,
  type Control,
  controlOfFcw,
  EXCEPTIONS,
  type Result,
  UE,
} from '../../src/x86/softfloat/control.ts';
import {
  convert,
  fromInteger,
  roundToIntegral,
  toInteger,
  truncateToInteger,
} from '../../src/x86/softfloat/convert.ts';
import { F32, F64, F80, type Format } from '../../src/x86/softfloat/format.ts';
import { f2xm1, fcos, fpatan, fptan, fsin, fsincos, fyl2x, fyl2xp1 } from '../../src/x86/softfloat/transcendental.ts';
import { fprem, fprem1, fscale, fxam, fxtract } from '../../src/x86/softfloat/x87.ts';
import { choicesOf, hostSignature, signatureText } from '../native/hosts.ts';
import { agree, isNearest, openOperand, ulpsBetween } from '../native/transcendental.ts';
import { type Answer, buildOracle, CASES, type Case, disagreements, hex, Operands } from './softfloat-oracle.ts';
import { unmasked } from './sse-unit.ts';

const oracle = buildOracle();

function cases(seed: number, second: Format, a = (random: Operands): bigint => random.value(F80)): Case[] {
  const random = new Operands(seed * 6151);
  return Array.from({ length: CASES }, () => {
    const x = a(random);
    return { a: x, b: second === F80 ? random.related(F80, x) : random.value(second), control: random.fcw() };
  });
}

/** Cases of one transcendental operation. */
const TRANSCENDENTAL_CASES = Math.max(CASES, 10_000);

const host = hostSignature();
/** Codes that the manual leaves undefined but for comparisons, FXAM and remainders: compared where the host is known. */
const UNDEFINED_CODES = choicesOf(host) === null ? C0 | C2 | C3 : 0;
let reported = 0;
afterAll(() => {
  if (reported > 0) console.log(`${signatureText(host)}: ${reported} answers differ in what the manual leaves open`);
});

/** Compares value and status; `late` says that also overflow, underflow and precision keep an unmasked store away. */
function judge(r: Result, real: Answer, c: Case, late: boolean, undefinedCodes = UNDEFINED_CODES): string | undefined {
  const different = r.flags ^ real.flags;
  if ((different & ~undefinedCodes) !== 0) return `status ${hex(r.flags)}, processor ${hex(real.flags)}`;
  if (different !== 0) reported++;
  const stopping = unmasked(r.flags, c.control) & (late ? EXCEPTIONS & ~32 : BEFORE_COMPUTATION);
  if (stopping || r.value === real.value) return undefined;
  return `value ${hex(r.value)}, processor ${hex(real.value)}`;
}

describe.skipIf(oracle === undefined)('x87 operations against the processor (needs x86-64 and gcc)', () => {
  const REGISTER: Array<[string, (a: bigint, b: bigint, control: Control) => Result]> = [
    ['fadd', (a, b, control) => add(F80, a, b, control)],
    ['fsub', (a, b, control) => sub(F80, a, b, control)],
    ['fsubr', (a, b, control) => subReversed(F80, a, b, control)],
    ['fmul', (a, b, control) => mul(F80, a, b, control)],
    ['fdiv', (a, b, control) => div(F80, a, b, control)],
    ['fdivr', (a, b, control) => divReversed(F80, a, b, control)],
    ['fsqrt', (a, _, control) => sqrt(F80, a, control)],
    ['frndint', (a, _, control) => roundToIntegral(F80, a, control)],
    ['fscale', fscale],
  ];
  const REMAINDER: Array<[string, typeof fprem]> = [
    ['fprem', fprem],
    ['fprem1', fprem1],
  ];
  for (const [n, [name, model]] of REGISTER.entries())
    test(name, () => {
      const problems = disagreements(oracle!, name, cases(n, F80), (c, real) =>
        judge(model(c.a, c.b, controlOfFcw(c.control)), real, c, false),
      );
      expect(problems).toEqual([]);
    });

  // SDM vol. 2 "FPREM": by how much a partial remainder (C2) reduces is the implementation's choice.
  for (const [n, [name, model]] of REMAINDER.entries())
    test(name, () => {
      const problems = disagreements(oracle!, name, cases(9 + n, F80), (c, real) => {
        const r = model(c.a, c.b, controlOfFcw(c.control));
        const problem = judge(r, real, c, false, (r.flags & EXCEPTIONS & ~32) === 0 ? 0 : UNDEFINED_CODES);
        if (problem === undefined || UNDEFINED_CODES === 0 || (r.flags & real.flags & C2) === 0) return problem;
        reported++;
        return undefined;
      });
      expect(problems).toEqual([]);
    });

  const MEMORY: Array<[string, Format, (a: bigint, b: bigint, control: Control) => Result]> = [
    ['fadds', F32, (a, b, control) => add(F80, a, b, control, F32)],
    ['faddl', F64, (a, b, control) => add(F80, a, b, control, F64)],
    ['fsubl', F64, (a, b, control) => sub(F80, a, b, control, F64)],
    ['fsubrs', F32, (a, b, control) => subReversed(F80, a, b, control, F32)],
    ['fmuls', F32, (a, b, control) => mul(F80, a, b, control, F32)],
    ['fmull', F64, (a, b, control) => mul(F80, a, b, control, F64)],
    ['fdivs', F32, (a, b, control) => div(F80, a, b, control, F32)],
    ['fdivrl', F64, (a, b, control) => divReversed(F80, a, b, control, F64)],
    ['flds', F32, (_, b, control) => convert(F32, F80, b, control)],
    ['fldl', F64, (_, b, control) => convert(F64, F80, b, control)],
  ];
  for (const [n, [name, format, model]] of MEMORY.entries())
    test(name, () => {
      const problems = disagreements(oracle!, name, cases(20 + n, format), (c, real) =>
        judge(model(c.a, c.b, controlOfFcw(c.control)), real, c, false),
      );
      expect(problems).toEqual([]);
    });

  const STORE: Array<[string, (a: bigint, control: Control) => Result, number]> = [
    ['fstps', (a, control) => convert(F80, F32, a, control), 32],
    ['fstpl', (a, control) => convert(F80, F64, a, control), 64],
    ['fistps', (a, control) => toInteger(F80, a, 16, control), 16],
    ['fistpl', (a, control) => toInteger(F80, a, 32, control), 32],
    ['fistpll', (a, control) => toInteger(F80, a, 64, control), 64],
    ['fisttps', (a, control) => truncateToInteger(F80, a, 16, control), 16],
    ['fisttpl', (a, control) => truncateToInteger(F80, a, 32, control), 32],
    ['fisttpll', (a, control) => truncateToInteger(F80, a, 64, control), 64],
    ['fbstp', (a, control) => fbstp(a, control), 80],
  ];
  for (const [n, [name, model, width]] of STORE.entries())
    test(name, () => {
      const problems = disagreements(oracle!, name, cases(40 + n, F80), (c, real) =>
        judge(model(c.a, controlOfFcw(c.control)), { ...real, value: BigInt.asUintN(width, real.value) }, c, true),
      );
      expect(problems).toEqual([]);
    });

  const COMPARE: Array<[string, Format, boolean]> = [
    ['fcom', F80, true],
    ['fucom', F80, false],
    ['fcoms', F32, true],
    ['fcoml', F64, true],
    ['ftst', F80, true],
  ];
  for (const [n, [name, format, signalling]] of COMPARE.entries())
    test(name, () => {
      const problems = disagreements(oracle!, name, cases(60 + n, format), (c, real) => {
        const b = name === 'ftst' ? 0n : c.b;
        const { relation, flags } = compare(F80, c.a, b, controlOfFcw(c.control), signalling, format);
        const codes = relation === UNORDERED ? C0 | C2 | C3 : relation === LESS ? C0 : relation === EQUAL ? C3 : 0;
        if (flags !== (real.flags & EXCEPTIONS)) return `flags ${hex(flags)}, processor ${hex(real.flags)}`;
        if (unmasked(flags, c.control)) return undefined;
        return codes === (real.flags & ~EXCEPTIONS) ? undefined : `codes ${hex(codes)}, processor ${hex(real.flags)}`;
      });
      expect(problems).toEqual([]);
    });

  test('fxtract', () => {
    const problems = disagreements(oracle!, 'fxtract', cases(70, F80), (c, real) => {
      const r = fxtract(c.a, controlOfFcw(c.control));
      const first = judge({ value: r.significand, flags: r.flags }, real, c, false);
      if (first !== undefined || unmasked(r.flags, c.control)) return first;
      return r.exponent === real.second ? undefined : `exponent ${hex(r.exponent)}, processor ${hex(real.second)}`;
    });
    expect(problems).toEqual([]);
  });

  test('fxam', () => {
    const problems = disagreements(oracle!, 'fxam', cases(71, F80), (c, real) => {
      const codes = fxam(c.a, controlOfFcw(c.control));
      return codes === real.flags ? undefined : `codes ${hex(codes)}, processor ${hex(real.flags)}`;
    });
    expect(problems).toEqual([]);
  });

  test('fild m64', () => {
    const list = cases(72, F80).map((c, i) => ({ ...c, b: new Operands(i * 31 + 7).integer() }));
    const problems = disagreements(oracle!, 'fildll', list, (c, real) =>
      judge(fromInteger(F80, c.b, 64, controlOfFcw(c.control)), real, c, false),
    );
    expect(problems).toEqual([]);
  });

  test('fbld', () => {
    const random = new Operands(73);
    const list = cases(73, F80).map((c) => {
      let digits = 0n;
      for (let n = random.below(19); n > 0; n--) digits = (digits << 4n) | BigInt(random.below(10));
      return { ...c, b: digits | (BigInt(random.below(2)) << 79n) };
    });
    const problems = disagreements(oracle!, 'fbld', list, (c, real) =>
      judge(fbld(c.b, controlOfFcw(c.control)), real, c, false),
    );
    expect(problems).toEqual([]);
  });
});

/** Random operands, every second time where most results are neither exact nor out of range. */
function transcendentalCases(seed: number, positive: boolean, [low, high]: readonly [number, number]): Case[] {
  const random = new Operands(seed * 7919);
  const middle = (from: number, to: number): bigint =>
    (BigInt(F80.bias + from + random.below(to - from)) << 64n) | F80.integerBit | random.wide(63);
  const sign = (): bigint => BigInt(random.below(2)) << F80.signShift;
  return Array.from({ length: TRANSCENDENTAL_CASES }, (_, i) => {
    if (i % 2 === 0) {
      const a = random.value(F80);
      return { a, b: random.related(F80, a), control: random.fcw() };
    }
    const a = middle(low, high) | (positive ? 0n : sign());
    return { a, b: middle(-20, 20) | sign(), control: i % 4 === 1 ? 0x37f : random.fcw() };
  });
}

describe.skipIf(oracle === undefined)(
  'transcendental x87 operations against the processor (needs x86-64 and gcc)',
  () => {
    /** The status bits that a manual defines. */
    const DEFINED = EXCEPTIONS | 0x40 | C2;
    const compareOne = (name: string, c: Case, results: readonly bigint[], flags: number, real: Answer) => {
      const nearest = isNearest(c.control);
      const open = openOperand(name, c.a, nearest);
      if (open !== null || c.a === ONE || c.a === (ONE | MINUS)) return undefined;
      // the last bit decides whether the result is the smallest normal number or below it
      const border = results.some((x) => ulpsBetween(x & ~MINUS, SMALLEST) <= 2);
      if (border && (flags ^ real.flags) & UE) return undefined;
      if (((flags ^ real.flags) & DEFINED) !== 0) return `status ${hex(flags)}, processor ${hex(real.flags)}`;
      if (unmasked(flags, c.control) & BEFORE_COMPUTATION || flags & C2) return undefined;
      const processor = results.length === 2 ? [real.value, real.second] : [real.value];
      const wrong = results.findIndex((x, i) => !agree(name, c.a, nearest, x, processor[i]!));
      return wrong < 0 ? undefined : `result ${wrong}: ${hex(results[wrong]!)}, processor ${hex(processor[wrong]!)}`;
    };
    const ONE = 0x3fff_8000_0000_0000_0000n;
    const MINUS = 1n << F80.signShift;
    const SMALLEST = 0x0001_8000_0000_0000_0000n;
    const SINGLE: Array<[string, (a: bigint, b: bigint, control: Control) => Result, boolean, [number, number]]> = [
      ['f2xm1', (a, _, control) => f2xm1(a, control), false, [-20, 0]],
      ['fyl2x', fyl2x, true, [-3, 3]],
      ['fyl2xp1', fyl2xp1, false, [-40, -1]],
      ['fpatan', fpatan, false, [-20, 20]],
      ['fsin', (a, _, control) => fsin(a, control), false, [-20, 63]],
      ['fcos', (a, _, control) => fcos(a, control), false, [-20, 63]],
    ];
    for (const [n, [name, model, positive, range]] of SINGLE.entries())
      test(`${name} within the architecture's bound`, () => {
        const problems = disagreements(oracle!, name, transcendentalCases(n + 1, positive, range), (c, real) => {
          const { value, flags } = model(c.a, c.b, controlOfFcw(c.control));
          return compareOne(name, c, [value], flags, real);
        });
        expect(problems).toEqual([]);
      });
    for (const [name, model] of [
      ['fsincos', fsincos],
      ['fptan', fptan],
    ] as const)
      test(`${name} within the architecture's bound`, () => {
        const problems = disagreements(oracle!, name, transcendentalCases(9, false, [-20, 63]), (c, real) => {
          const { below, top, flags } = model(c.a, controlOfFcw(c.control));
          return compareOne(name, c, [top, below], flags, real);
        });
        expect(problems).toEqual([]);
      });
  },
);
