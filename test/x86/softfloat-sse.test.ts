import { describe, expect, test } from 'vitest';
import { F32, F64 } from '../../src/x86/softfloat/format.ts';
import { packed } from '../../src/x86/softfloat/simd.ts';
import { sseOp } from '../../src/x86/softfloat/sse.ts';
import { buildOracle, CASES, type Case, disagreements, hex, Operands } from './softfloat-oracle.ts';
import { SseUnit, unmasked } from './sse-unit.ts';

const oracle = buildOracle();
const unit = new SseUnit();
const masksOf = (mxcsr: number): number => (mxcsr >> 7) & 63;

function cases(seed: number, operand: (random: Operands) => [bigint, bigint]): Case[] {
  const random = new Operands(seed * 7919);
  return Array.from({ length: CASES }, () => {
    const [a, b] = operand(random);
    return { a, b, control: random.mxcsr() };
  });
}
const floats =
  (suffix: string) =>
  (random: Operands): [bigint, bigint] => {
    const format = suffix === 'ss' ? F32 : F64;
    const a = random.value(format);
    return [a, random.related(format, a)];
  };

function check(name: string, list: Case[], op: string, one: boolean, width: number, integerResult = false): string[] {
  const number = sseOp(op);
  return disagreements(oracle!, name, list, (c, real) => {
    const value = unit.run(number, one ? (integerResult ? c.a : c.b) : c.a, c.b, c.control);
    if (unit.flags !== real.flags) return `flags ${hex(unit.flags)}, processor ${hex(real.flags)}`;
    if (unmasked(unit.flags, masksOf(c.control))) return undefined;
    const expected = BigInt.asUintN(width, real.value);
    return value === expected ? undefined : `value ${hex(value)}, processor ${hex(expected)}`;
  });
}

describe.skipIf(oracle === undefined)('SSE scalar operations against the processor (needs x86-64 and gcc)', () => {
  for (const [i, suffix] of ['ss', 'sd'].entries()) {
    const width = suffix === 'ss' ? 32 : 64;
    for (const [n, name] of ['add', 'sub', 'mul', 'div', 'min', 'max', 'sqrt'].entries())
      test(`${name}${suffix}`, () => {
        const list = cases(n * 2 + i, floats(suffix));
        expect(check(name + suffix, list, (name + suffix).toUpperCase(), name === 'sqrt', width)).toEqual([]);
      });
    for (const [n, name] of ['EQ', 'LT', 'LE', 'UNORD', 'NEQ', 'NLT', 'NLE', 'ORD'].entries())
      test(`cmp${name.toLowerCase()}${suffix}`, () => {
        const list = cases(20 + n * 2 + i, floats(suffix));
        expect(check(`cmp${suffix}${n}`, list, `CMP${name}${suffix.toUpperCase()}`, false, width)).toEqual([]);
      });
    for (const [n, name] of ['comi', 'ucomi'].entries())
      test(`${name}${suffix}`, () => {
        const number = sseOp((name + suffix).toUpperCase());
        // EFLAGS ZF, PF, CF for unordered, less, equal, greater
        const eflags = [0x45, 0x01, 0x40, 0x00];
        const problems = disagreements(oracle!, name + suffix, cases(40 + n * 2 + i, floats(suffix)), (c, real) => {
          const relation = Number(unit.run(number, c.a, c.b, c.control));
          if (unit.flags !== real.flags) return `flags ${hex(unit.flags)}, processor ${hex(real.flags)}`;
          if (unmasked(unit.flags, masksOf(c.control))) return undefined;
          return eflags[relation] === real.condition
            ? undefined
            : `relation ${relation}, EFLAGS ${hex(real.condition)}`;
        });
        expect(problems).toEqual([]);
      });
    for (const truncate of ['', 't'])
      for (const to of [32, 64])
        test(`cvt${truncate}${suffix}2si${to}`, () => {
          const list = cases(50 + to + i, floats(suffix));
          const op = `CVT${truncate}${suffix}2SI${to}`.toUpperCase();
          expect(check(`cvt${truncate}${suffix}2si${to}`, list, op, true, to, true)).toEqual([]);
        });
    for (const from of [32, 64])
      test(`cvtsi2${suffix}${from}`, () => {
        const list = cases(60 + from + i, (random) => [random.integer(), 0n]);
        expect(check(`cvtsi${from}${suffix}`, list, `CVTSI2${suffix}${from}`.toUpperCase(), true, width, true)).toEqual(
          [],
        );
      });
  }
  test('cvtss2sd', () => {
    expect(check('cvtss2sd', cases(70, floats('ss')), 'CVTSS2SD', true, 64)).toEqual([]);
  });
  test('cvtsd2ss', () => {
    expect(check('cvtsd2ss', cases(71, floats('sd')), 'CVTSD2SS', true, 32)).toEqual([]);
  });

  // [instruction, operation, bits of a source element, two operands, lanes]
  const PACKED: Array<[string, string, 'ss' | 'sd' | 'i32', boolean, number]> = [
    ['addps', 'ADDSS', 'ss', true, 4],
    ['mulps', 'MULSS', 'ss', true, 4],
    ['divps', 'DIVSS', 'ss', true, 4],
    ['sqrtps', 'SQRTSS', 'ss', false, 4],
    ['addpd', 'ADDSD', 'sd', true, 2],
    ['divpd', 'DIVSD', 'sd', true, 2],
    ['cvtps2dq', 'CVTSS2SI32', 'ss', false, 4],
    ['cvttps2dq', 'CVTTSS2SI32', 'ss', false, 4],
    ['cvtdq2ps', 'CVTSI2SS32', 'i32', false, 4],
    ['cvtpd2dq', 'CVTSD2SI32', 'sd', false, 2],
    ['cvttpd2dq', 'CVTTSD2SI32', 'sd', false, 2],
    ['cvtps2pd', 'CVTSS2SD', 'ss', false, 2],
    ['cvtpd2ps', 'CVTSD2SS', 'sd', false, 2],
    ['cvtdq2pd', 'CVTSI2SD32', 'i32', false, 2],
  ];
  for (const [n, [name, op, kind, two, lanes]] of PACKED.entries())
    test(name, () => {
      const step = kind === 'sd' ? 64n : 32n;
      const list = cases(80 + n, (random) => {
        let a = 0n;
        let b = 0n;
        for (let at = 0n; at < 128n; at += step) {
          const [x, y] = kind === 'i32' ? [0n, random.integer() & 0xffffffffn] : floats(kind)(random);
          a |= x << at;
          b |= y << at;
        }
        return [a, b];
      });
      const problems = disagreements(oracle!, name, list, (c, real) => {
        const r = packed(sseOp(op), two ? c.a : c.b, c.b, c.control, lanes);
        if (r.flags !== real.flags) return `flags ${hex(r.flags)}, processor ${hex(real.flags)}`;
        if (unmasked(r.flags, masksOf(c.control))) return undefined;
        return r.value === real.value ? undefined : `value ${hex(r.value)}, processor ${hex(real.value)}`;
      });
      expect(problems).toEqual([]);
    });
});
