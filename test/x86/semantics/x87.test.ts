/** x87 instructions: values of extended80, stack, condition codes and exceptions by SDM vol. 1 chapter 8 and vol. 2. */
import { describe, expect, test } from 'vitest';
import { VECTOR } from '../../../src/x86/state.ts';
import { FpMachine } from './fp-machine.ts';
import { ALL_FLAGS, DATA } from './machine.ts';

const ONE = 0x3fff_8000_0000_0000_0000n;
const TWO = 0x4000_8000_0000_0000_0000n;
const THREE = 0x4000_c000_0000_0000_0000n;
const FIVE = 0x4001_a000_0000_0000_0000n;
const SIX = 0x4001_c000_0000_0000_0000n;
const MINUS = 1n << 79n;
const INFINITY = 0x7fff_8000_0000_0000_0000n;
const INDEFINITE = 0xffff_c000_0000_0000_0000n;
const [IE, ZE, SF, C1, C2] = [1, 4, 0x40, 0x200, 0x400];
const ES_B = 0x8080;
const CODES = 0x4700;

function machine(...stack: bigint[]): FpMachine {
  const m = new FpMachine({ rbx: DATA });
  m.setStack(...stack);
  return m;
}
/** The stack, ST(0) first, up to the first empty register. */
function stackOf(m: FpMachine): bigint[] {
  const out: bigint[] = [];
  for (let i = 0; i < 8 && m.st(i) !== null; i++) out.push(m.st(i)!);
  return out;
}

describe('x87 arithmetic', () => {
  test.each([
    ['fadd st0, st1', 'd8 c1', [THREE, TWO], [FIVE, TWO]],
    ['faddp st1, st0', 'de c1', [THREE, TWO], [FIVE]],
    ['fsub st0, st1', 'd8 e1', [THREE, TWO], [ONE, TWO]],
    ['fsubr st0, st1', 'd8 e9', [THREE, TWO], [ONE | MINUS, TWO]],
    ['fsubrp st1, st0 (DE E0+i)', 'de e1', [THREE, TWO], [ONE]],
    ['fsubp st1, st0 (DE E8+i)', 'de e9', [THREE, TWO], [ONE | MINUS]],
    ['fmul st1, st0', 'dc c9', [THREE, TWO], [THREE, SIX]],
    ['fdivp st1, st0', 'de f9', [THREE, SIX], [TWO]],
    ['fsqrt', 'd9 fa', [0x4002_9000_0000_0000_0000n], [THREE]],
    ['fchs', 'd9 e0', [ONE], [ONE | MINUS]],
    ['fabs', 'd9 e1', [ONE | MINUS], [ONE]],
    ['fscale', 'd9 fd', [THREE, ONE], [SIX, ONE]],
    ['frndint', 'd9 fc', [0x4000_a000_0000_0000_0000n], [TWO]],
    ['fprem', 'd9 f8', [FIVE, THREE], [TWO, THREE]],
    ['fprem1', 'd9 f5', [FIVE, THREE], [ONE | MINUS, THREE]],
    ['fxtract', 'd9 f4', [SIX], [0x3fff_c000_0000_0000_0000n, TWO]],
    ['fxch', 'd9 c9', [ONE, TWO], [TWO, ONE]],
    ['fld1', 'd9 e8', [], [ONE]],
    ['fldpi', 'd9 eb', [], [0x4000_c90f_daa2_2168_c235n]],
    ['fld st1', 'd9 c1', [ONE, TWO], [TWO, ONE, TWO]],
    ['fstp st1', 'dd d9', [ONE, TWO], [ONE]],
  ])('%s', (_, code, before, after) => {
    const m = machine(...before);
    expect(m.step(code)).toBeNull();
    expect(stackOf(m)).toEqual(after);
  });
  test('the constants follow rounding control', () => {
    const m = machine();
    m.cpu.set('fcw', 0x77f); // down
    m.step('d9 eb');
    expect(m.st(0)).toBe(0x4000_c90f_daa2_2168_c234n);
  });
  test('precision control shortens the result', () => {
    const third = (fcw: number): bigint => {
      const m = machine(ONE, THREE);
      m.cpu.set('fcw', fcw);
      m.step('d8 f1');
      return m.st(0)!;
    };
    expect(third(0x37f)).toBe(0x3ffd_aaaa_aaaa_aaaa_aaabn);
    expect(third(0x27f)).toBe(0x3ffd_aaaa_aaaa_aaaa_a800n);
    expect(third(0x07f)).toBe(0x3ffd_aaaa_ab00_0000_0000n);
  });
});

describe('x87 memory operands', () => {
  test('FLD, FADD and FSTP of single and double precision', () => {
    const m = machine();
    m.memory.poke(DATA, 4, 0x4040_0000n); // 3.0f
    m.memory.poke(DATA + 8n, 8, 0x4000_0000_0000_0000n); // 2.0
    m.step('d9 03');
    m.step('dc 43 08');
    expect(m.st(0)).toBe(FIVE);
    m.step('dd 5b 10');
    expect(m.memory.peek(DATA + 16n, 8)).toBe(0x4014_0000_0000_0000n);
    expect(stackOf(m)).toEqual([]);
  });
  test('FILD, FISTP and FIADD', () => {
    const m = machine();
    m.memory.poke(DATA, 2, 0xfffdn);
    m.step('df 03'); // fild word
    expect(m.st(0)).toBe(THREE | MINUS);
    m.step('de 03'); // fiadd word
    expect(m.st(0)).toBe(SIX | MINUS);
    m.step('df 7b 08'); // fistp qword
    expect(m.memory.peek(DATA + 8n, 8)).toBe(0xffff_ffff_ffff_fffan);
  });
  test('FISTP of what does not fit stores the integer indefinite', () => {
    const m = machine(0x400f_8000_0000_0000_0000n); // 65536
    m.step('df 1b');
    expect(m.memory.peek(DATA, 2)).toBe(0x8000n);
    expect(m.cpu.num('fsw') & 0x7f).toBe(IE);
  });
  test('80-bit values and packed decimals pass unchanged', () => {
    const m = machine(0x4001_e000_0000_0000_0001n);
    m.step('db 3b'); // fstp tword
    expect(m.memory.peek(DATA, 10)).toBe(0x4001_e000_0000_0000_0001n);
    m.memory.poke(DATA, 10, 0x8000_0000_0000_0000_0012n);
    m.step('df 23'); // fbld
    expect(m.st(0)).toBe(0xc002_c000_0000_0000_0000n);
    m.step('df 73 10'); // fbstp
    expect(m.memory.peek(DATA + 16n, 10)).toBe(0x8000_0000_0000_0000_0012n);
  });
  test('a page fault changes nothing', () => {
    const m = machine(ONE);
    m.set('rbx', 0n);
    const before = m.image();
    for (const code of ['d9 03', 'd9 1b', 'dc 03', 'df 33', 'd9 2b'])
      expect(m.step(code)).toMatchObject({ vector: VECTOR.pf });
    expect(m.image()).toBe(before);
  });
});

describe('x87 comparisons', () => {
  const codes = (code: string, ...stack: bigint[]): number => {
    const m = machine(...stack);
    m.step(code);
    return m.cpu.num('fsw') & CODES;
  };
  test.each([
    ['greater', TWO, ONE, 0, ''],
    ['less', ONE, TWO, 0x100, 'CF'],
    ['equal', ONE, ONE, 0x4000, 'ZF'],
    ['unordered', INDEFINITE, ONE, 0x4500, 'CF PF ZF'],
  ])('%s', (_, a, b, expected, flags) => {
    expect(codes('d8 d1', a, b)).toBe(expected);
    expect(codes('dd e1', a, b)).toBe(expected);
    const m = machine(a, b);
    m.cpu.rflags = ALL_FLAGS;
    m.step('df e9'); // fucomip
    expect(m.flags).toBe(flags);
    expect(stackOf(m)).toEqual([b]);
  });
  test('FCOMPP pops twice; FCOM signals a quiet NaN and FUCOM does not', () => {
    const m = machine(ONE, TWO);
    m.step('de d9');
    expect(stackOf(m)).toEqual([]);
    const invalid = (code: string): number => {
      const n = machine(INDEFINITE, ONE);
      n.step(code);
      return n.cpu.num('fsw') & IE;
    };
    expect([invalid('d8 d1'), invalid('dd e1')]).toEqual([IE, 0]);
  });
  test('FXAM', () => {
    expect(codes('d9 e5', ONE | MINUS)).toBe(C2 | C1);
    expect(codes('d9 e5', INFINITY)).toBe(0x500);
    expect(codes('d9 e5', 0n)).toBe(0x4000);
    expect(codes('d9 e5') & ~C1).toBe(0x4100);
  });
  test('FCMOVcc', () => {
    const m = machine(ONE, TWO);
    m.step('da c1'); // fcmovb, CF clear
    expect(m.st(0)).toBe(ONE);
    m.step('db c1'); // fcmovnb
    expect(m.st(0)).toBe(TWO);
  });
});

describe('x87 exceptions', () => {
  test('stack underflow, masked: the indefinite, IE and SF, C1 clear', () => {
    const m = machine();
    m.step('d8 c1');
    expect(m.st(0)).toBe(INDEFINITE);
    expect(m.cpu.num('fsw')).toBe(IE | SF);
  });
  test('stack overflow, masked: the indefinite is pushed, C1 set', () => {
    const m = machine(ONE, ONE, ONE, ONE, ONE, ONE, ONE, ONE);
    m.step('d9 e8');
    expect(m.st(0)).toBe(INDEFINITE);
    expect([m.cpu.num('ftop'), m.cpu.num('fsw')]).toEqual([7, IE | SF | C1]);
  });
  test('an unmasked exception waits for the next waiting instruction', () => {
    const m = machine(ONE, 0n);
    m.cpu.set('fcw', 0x37b);
    expect(m.step('d8 f1')).toBeNull();
    expect(stackOf(m)).toEqual([ONE, 0n]);
    expect(m.cpu.num('fsw')).toBe(ZE | ES_B);
    for (const waiting of ['d9 d0', '9b', 'd8 c1', 'd9 2b', '0f fc ca'])
      expect(m.step(waiting)).toMatchObject({ vector: VECTOR.mf });
    expect(m.step('df e0')).toBeNull(); // fnstsw ax
    expect(m.get('rax')).toBe(BigInt(ZE | ES_B | (6 << 11)));
    expect(m.step('db e2')).toBeNull(); // fnclex
    expect(m.cpu.num('fsw')).toBe(0);
    expect(m.step('9b')).toBeNull();
  });
  test('FLDCW that unmasks a flag makes it pending', () => {
    const m = machine();
    m.step('d8 c1');
    m.memory.poke(DATA, 2, 0x37en);
    m.step('d9 2b');
    expect(m.cpu.num('fsw')).toBe(IE | SF | ES_B);
    expect(m.step('9b')).toMatchObject({ vector: VECTOR.mf });
  });
  test('an unmasked overflow keeps a store away from memory and pops nothing', () => {
    const m = machine(0x7ffe_8000_0000_0000_0000n);
    m.cpu.set('fcw', 0x377);
    m.step('d9 1b');
    expect(m.memory.peek(DATA, 4)).toBe(0n);
    expect(stackOf(m)).toHaveLength(1);
    expect(m.cpu.num('fsw')).toBe(8 | ES_B);
  });
  test('FNINIT', () => {
    const m = machine(ONE);
    m.cpu.set('fsw', 0xffff & ~0x3800);
    m.step('db e3');
    expect([m.cpu.num('fcw'), m.cpu.num('fsw'), m.cpu.num('ftags'), m.cpu.num('ftop')]).toEqual([0x37f, 0, 0, 0]);
  });
  test.each([
    ['CR0.TS', 0x2b, 'd9 e8', VECTOR.nm],
    ['CR0.EM', 0x27, 'db e3', VECTOR.nm],
    ['CR0.TS with CR0.MP', 0x2b, '9b', VECTOR.nm],
  ])('%s', (_, cr0, code, vector) => {
    const m = machine();
    m.cpu.set('cr0', cr0);
    expect(m.step(code)).toMatchObject({ vector });
  });
  test('FWAIT heeds neither CR0.TS without CR0.MP nor CR0.EM', () => {
    const m = machine();
    m.cpu.set('cr0', 0x2d);
    expect(m.step('9b')).toBeNull();
  });
});
