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

describe('values', () => {
  // mpmath 1.3 at 600 bits, angles less the nearest multiple of pi/2 of 66 bits; RC is 0 to 3
  test.each<[Name, number, bigint[], bigint]>([
    ['f2xm1', 0, [0x3fcc_aa9b_6ab9_2150_529an], 0x3fcb_ec82_fbf1_49ae_4e6an],
    ['f2xm1', 3, [0x3fb3_92c8_e162_0eb5_5c48n], 0x3fb2_cb7c_9e0e_9c68_5964n],
    ['f2xm1', 2, [0xbfcf_a01d_6b09_e650_e006n], 0xbfce_ddf7_6632_4dc0_7a9en],
    ['fyl2x', 0, [0x3ff9_cf7a_54f3_987e_6b23n, 0xbfed_a150_529a_8b4b_d6f0n], 0x3fef_d5de_8641_cd90_b3den],
    ['fyl2x', 3, [0x3ffe_a4bc_a80d_75fe_6128n, 0x400c_a5df_baed_285c_04a3n], 0xc00b_d2fc_247b_cf1d_5fb0n],
    ['fyl2x', 2, [0x3fe1_d319_85f3_28ee_142dn, 0x3ff1_c541_a02d_37fc_6399n], 0xbff6_b47a_8476_ffe5_cfbdn],
    ['fyl2xp1', 0, [0x3fd6_df0d_7cb5_2205_08c1n, 0x3ff7_a2f1_6929_1986_f018n], 0x3fcf_ccd2_9280_9eed_16f0n],
    ['fyl2xp1', 3, [0x3fef_ec6a_74dd_53b8_9fefn, 0xc00c_cc32_857f_3643_aa78n], 0xbffe_8806_e9e4_2cc0_9fc3n],
    ['fyl2xp1', 2, [0xbfbd_ba8f_fabc_60e7_234dn, 0xbfef_cc09_0436_a720_35d2n], 0x3fae_d684_a03e_4b39_d590n],
    ['fpatan', 0, [0x4012_df0d_7cb5_2205_08c1n, 0x3ff7_a2f1_6929_1986_f018n], 0x3fe3_bb02_efd3_6f01_7082n],
    ['fpatan', 3, [0x4026_ec6a_74dd_53b8_9fefn, 0xc00c_cc32_857f_3643_aa78n], 0xbfe4_dd1c_d31d_e829_1f66n],
    ['fpatan', 2, [0xbfab_ba8f_fabc_60e7_234dn, 0xbfef_cc09_0436_a720_35d2n], 0xbfff_c90f_daa2_2168_c234n],
    ['fsin', 0, [0x4007_aa9b_6ab9_2150_529an], 0x3ffe_f05b_666d_de43_edd9n],
    ['fsin', 3, [0x3ffa_92c8_e162_0eb5_5c48n], 0x3ffa_92c0_d68a_52c1_7718n],
    ['fsin', 2, [0xc004_a01d_6b09_e650_e006n], 0xbffe_b9c4_1329_91c7_6744n],
    ['fcos', 0, [0x4007_aa9b_6ab9_2150_529an], 0xbffd_b03b_96d2_5384_45fdn],
    ['fcos', 3, [0x3ffa_92c8_e162_0eb5_5c48n], 0x3ffe_ffd5_ec47_c6df_5bf1n],
    ['fcos', 2, [0xc004_a01d_6b09_e650_e006n], 0xbffe_b025_17d1_f268_a97an],
    ['fptan', 0, [0x4007_aa9b_6ab9_2150_529an], 0xc000_ae93_00b4_aaf7_a6dbn],
    ['fptan', 3, [0x3ffa_92c8_e162_0eb5_5c48n], 0x3ffa_92d8_f973_06dc_7438n],
    ['fptan', 2, [0xc004_a01d_6b09_e650_e006n], 0x3fff_86fd_c939_0242_baffn],
  ])('%s of %# is the exact value, rounded as RC = %i says', (name, rc, before, result) => {
    const { stack, status } = run(name, before, 0x37f | (rc << 10));
    expect(stack.at(-1)).toBe(result);
    expect(status & ~C1).toBe(PE);
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
