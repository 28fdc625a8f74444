/** Transcendental x87 instructions: tables of special values, stack, condition codes and rounding by SDM vol. 2; values of pi are known. */
import { describe, expect, test } from 'vitest';
import { VECTOR } from '../../../src/x86/state.ts';
import { FpMachine } from './fp-machine.ts';

const MINUS = 1n << 79n;
const ZERO = 0n;
const ONE = 0x3fff_8000_0000_0000_0000n;
const TWO = 0x4000_8000_0000_0000_0000n;
const THREE = 0x4000_c000_0000_0000_0000n;
const EIGHT = 0x4002_8000_0000_0000_0000n;
const HALF = 0x3ffe_8000_0000_0000_0000n;
const QUARTER = 0x3ffd_8000_0000_0000_0000n;
const INFINITY = 0x7fff_8000_0000_0000_0000n;
const INDEFINITE = 0xffff_c000_0000_0000_0000n;
const QNAN = 0x7fff_c000_0000_0000_0001n;
const SNAN = 0x7fff_8000_0000_0000_0001n;
const UNSUPPORTED = 0x3fff_0000_0000_0000_0001n;
const DENORMAL = 0x1000n;
const PI = 0x4000_c90f_daa2_2168_c235n;
const HALF_PI = 0x3fff_c90f_daa2_2168_c235n;
const QUARTER_PI = 0x3ffe_c90f_daa2_2168_c235n;
const THREE_QUARTERS_PI = 0x4000_96cb_e3f9_990e_91a8n;
const [IE, DE, ZE, UE, PE, SF, C1, C2] = [1, 2, 4, 0x10, 0x20, 0x40, 0x200, 0x400];
const ES_B = 0x8080;
const DOWN = 0x400;
const UP = 0x800;

const CODE = {
  f2xm1: 'd9 f0',
  fyl2x: 'd9 f1',
  fptan: 'd9 f2',
  fpatan: 'd9 f3',
  fyl2xp1: 'd9 f9',
  fsincos: 'd9 fb',
  fsin: 'd9 fe',
  fcos: 'd9 ff',
} as const;
type Name = keyof typeof CODE;
const ANGLE = /^(fsin|fcos|fsincos|fptan)$/;

function run(name: Name, stack: readonly bigint[], fcw = 0x37f): { m: FpMachine; stack: bigint[]; status: number } {
  const m = new FpMachine();
  m.setStack(...stack);
  m.cpu.set('fcw', fcw);
  // functions of an angle clear C2; elsewhere it is undefined, and stays
  m.cpu.set('fsw', ANGLE.test(name) ? C1 | C2 : C1);
  expect(m.step(CODE[name])).toBeNull();
  const after: bigint[] = [];
  for (let i = 0; i < 8 && m.st(i) !== null; i++) after.push(m.st(i)!);
  return { m, stack: after, status: m.cpu.num('fsw') };
}
const negative = (x: bigint): bigint => x | MINUS;

describe('special values of the manual', () => {
  test.each<[Name, bigint[], bigint[], number]>([
    ['f2xm1', [ZERO], [ZERO], 0],
    ['f2xm1', [negative(ZERO)], [negative(ZERO)], 0],
    ['f2xm1', [ONE], [ONE], 0],
    ['f2xm1', [negative(ONE)], [negative(HALF)], 0],
    ['fsin', [negative(ZERO)], [negative(ZERO)], 0],
    ['fcos', [negative(ZERO)], [ONE], 0],
    ['fptan', [negative(ZERO)], [ONE, negative(ZERO)], 0],
    ['fsincos', [negative(ZERO)], [ONE, negative(ZERO)], 0],
    ['fsin', [INFINITY], [INDEFINITE], IE],
    ['fcos', [negative(INFINITY)], [INDEFINITE], IE],
    ['fptan', [INFINITY], [INDEFINITE, INDEFINITE], IE],
    ['fsincos', [INFINITY], [INDEFINITE, INDEFINITE], IE],
    ['fsin', [SNAN], [QNAN], IE],
    ['fptan', [QNAN], [QNAN, QNAN], 0],
    ['fcos', [UNSUPPORTED], [INDEFINITE], IE],
  ])('%s %#', (name, before, after, status) => expect(run(name, before)).toMatchObject({ stack: after, status }));

  /** ST(1), ST(0), result, status. */
  test.each<[Name, bigint, bigint, bigint, number]>([
    ['fyl2x', ONE, EIGHT, THREE, 0],
    ['fyl2x', ONE, QUARTER, negative(TWO), 0],
    ['fyl2x', ONE, ZERO, negative(INFINITY), ZE],
    ['fyl2x', negative(ONE), negative(ZERO), INFINITY, ZE],
    ['fyl2x', INFINITY, ZERO, negative(INFINITY), 0],
    ['fyl2x', ZERO, ZERO, INDEFINITE, IE],
    ['fyl2x', ONE, negative(ONE), INDEFINITE, IE],
    ['fyl2x', QNAN, negative(ONE), QNAN, 0],
    ['fyl2x', ZERO, negative(INFINITY), INDEFINITE, IE],
    ['fyl2x', INFINITY, ONE, INDEFINITE, IE],
    ['fyl2x', negative(TWO), ONE, negative(ZERO), 0],
    ['fyl2x', ZERO, HALF, negative(ZERO), 0],
    ['fyl2x', INFINITY, HALF, negative(INFINITY), 0],
    ['fyl2x', negative(TWO), INFINITY, negative(INFINITY), 0],
    ['fyl2x', ZERO, INFINITY, INDEFINITE, IE],
    ['fyl2x', DENORMAL, ONE, ZERO, DE],
    ['fyl2xp1', negative(TWO), ZERO, negative(ZERO), 0],
    ['fyl2xp1', negative(TWO), negative(ZERO), ZERO, 0],
    ['fyl2xp1', INFINITY, ZERO, INDEFINITE, IE],
    ['fyl2xp1', INFINITY, negative(QUARTER), negative(INFINITY), 0],
    ['fyl2xp1', ZERO, negative(QUARTER), negative(ZERO), 0],
    ['fyl2xp1', ONE, negative(INFINITY), INDEFINITE, IE],
    ['fpatan', ZERO, ONE, ZERO, 0],
    ['fpatan', negative(ZERO), ZERO, negative(ZERO), 0],
    ['fpatan', ZERO, negative(ZERO), PI, PE | C1],
    ['fpatan', negative(ZERO), negative(ONE), negative(PI), PE | C1],
    ['fpatan', ONE, ZERO, HALF_PI, PE | C1],
    ['fpatan', ONE, ONE, QUARTER_PI, PE | C1],
    ['fpatan', negative(ONE), negative(ONE), negative(THREE_QUARTERS_PI), PE | C1],
    ['fpatan', ONE, INFINITY, ZERO, 0],
    ['fpatan', ONE, negative(INFINITY), PI, PE | C1],
    ['fpatan', INFINITY, INFINITY, QUARTER_PI, PE | C1],
    ['fpatan', INFINITY, negative(INFINITY), THREE_QUARTERS_PI, PE | C1],
    ['fpatan', negative(INFINITY), TWO, negative(HALF_PI), PE | C1],
    ['fpatan', DENORMAL, ZERO, HALF_PI, PE | C1 | DE],
    ['fpatan', SNAN, ONE, QNAN, IE],
  ])('%s %#', (name, st1, st0, result, status) =>
    expect(run(name, [st0, st1])).toMatchObject({ stack: [result], status }),
  );
});

describe('angles', () => {
  test('from 2^63 on are out of range: C2, and nothing is changed or pushed', () => {
    for (const angle of [0x403e_8000_0000_0000_0000n, 0x7ffe_ffff_ffff_ffff_ffffn])
      for (const x of [angle, negative(angle)])
        for (const name of ['fsin', 'fcos', 'fsincos', 'fptan'] as const)
          expect(run(name, [x])).toMatchObject({ stack: [x], status: C2 });
  });
  // measured on a Xeon: 2^63 less an ulp tells the 66 bits of pi from more
  test('are reduced by a pi of 66 bits', () => {
    const below = 0x403d_ffff_ffff_ffff_ffffn;
    expect(run('fsin', [below])).toMatchObject({ stack: [0x3ffe_e0ab_9300_da6d_2684n], status: PE });
    expect(run('fsincos', [below]).stack).toEqual([0x3ffd_f56e_c1e0_a37c_4176n, 0x3ffe_e0ab_9300_da6d_2684n]);
    expect(run('fptan', [negative(below)]).stack).toEqual([ONE, 0xbfff_ea57_f75b_8bfe_bb70n]);
    // pi rounded to 64 bits is a quarter of its last place, 2^-62, above pi of 66
    expect(run('fsin', [PI]).stack).toEqual([0xbfbf_8000_0000_0000_0000n]);
  });
  test('close to zero are their own sine and tangent, or the neighbour on the side that RC asks for', () => {
    const x = 0x2000_8000_0000_0000_0000n;
    const less = 0x1fff_ffff_ffff_ffff_ffffn;
    const more = 0x2000_8000_0000_0000_0001n;
    expect(run('fsin', [x]).stack).toEqual([x]);
    expect(run('fsin', [x], 0x37f | DOWN)).toMatchObject({ stack: [less], status: PE });
    expect(run('fptan', [x], 0x37f | UP)).toMatchObject({ stack: [ONE, more], status: PE | C1 });
    expect(run('fcos', [x], 0x37f | DOWN).stack).toEqual([0x3ffe_ffff_ffff_ffff_ffffn]);
    expect(run('fsin', [DENORMAL])).toMatchObject({ stack: [DENORMAL], status: PE | UE | DE | C1 });
  });
});

describe('stack and exceptions', () => {
  test('precision control does not apply', () => {
    for (const fcw of [0x07f, 0x27f, 0x37f]) expect(run('fpatan', [ZERO, ONE], fcw).stack).toEqual([HALF_PI]);
  });
  test('an empty operand is a stack fault; the masked response is the indefinite', () => {
    for (const name of ['f2xm1', 'fsin', 'fcos'] as const)
      expect(run(name, [])).toMatchObject({
        stack: [INDEFINITE],
        status: IE | SF,
      });
    for (const name of ['fsincos', 'fptan'] as const)
      expect(run(name, [])).toMatchObject({ stack: [INDEFINITE, INDEFINITE], status: IE | SF });
    for (const name of ['fyl2x', 'fyl2xp1', 'fpatan'] as const) expect(run(name, [ONE]).stack).toEqual([INDEFINITE]);
  });
  test('there is no room for a second result: C1, and both are the indefinite', () => {
    const full = [ONE, ONE, ONE, ONE, ONE, ONE, ONE, ONE];
    for (const name of ['fsincos', 'fptan'] as const) {
      const { stack, status } = run(name, full);
      expect(stack.slice(0, 3)).toEqual([INDEFINITE, INDEFINITE, ONE]);
      expect(status).toBe(IE | SF | C1);
      expect(run(name, full, 0x37e).stack).toEqual(full);
    }
  });
  test.each<[Name, bigint[], number, number]>([
    ['fsin', [INFINITY], 0x37e, IE],
    ['fsincos', [INFINITY], 0x37e, IE],
    ['fptan', [DENORMAL], 0x37d, DE],
    ['fyl2x', [ZERO, ONE], 0x37b, ZE],
    ['fpatan', [DENORMAL, ONE], 0x37d, DE],
  ])('%s stops at an unmasked exception, which the next instruction reports', (name, before, fcw, status) => {
    const { m, stack, status: after } = run(name, before, fcw);
    expect(stack).toEqual(before);
    expect(after).toBe(status | ES_B);
    expect(m.step(CODE.fsin)).toMatchObject({ vector: VECTOR.mf });
  });
  test('an unmasked underflow adjusts the exponent', () => {
    expect(run('fsin', [DENORMAL], 0x36f).stack).toEqual([0x5fce_8000_0000_0000_0000n]);
  });
  test('CR0.TS raises #NM', () => {
    const m = new FpMachine();
    m.cpu.set('cr0', 0x8000_002bn);
    for (const code of Object.values(CODE)) expect(m.step(code)).toMatchObject({ vector: VECTOR.nm });
  });
});
