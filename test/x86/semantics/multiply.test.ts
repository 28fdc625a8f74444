/** Products and quotients against exact BigInt arithmetic (SDM vol. 2: MUL, IMUL, DIV, IDIV). */
import { describe, expect, test } from 'vitest';
import { FLAG } from '../../../src/x86/state.ts';
import { Machine } from './machine.ts';
import { operands, PREFIX, random, SIZES } from './values.ts';

const hex = (...bytes: number[]): string => bytes.map((x) => x.toString(16).padStart(2, '0')).join('');
const CF_OF = FLAG.cf | FLAG.of;

/** The double-width accumulator of an operand size. */
function pairOf(machine: Machine, size: number): bigint {
  if (size === 1) return machine.get('rax') & 0xffffn;
  const n = size * 8;
  return (BigInt.asUintN(n, machine.get('rdx')) << BigInt(n)) | BigInt.asUintN(n, machine.get('rax'));
}

describe('[E-05] MUL and IMUL', () => {
  for (const size of SIZES) {
    const n = size * 8;
    const wide = size === 1 ? 0 : 1;
    test(`accumulator, ${size} bytes`, () => {
      for (const [a, b] of operands(size)) {
        for (const signed of [false, true]) {
          const cut = (x: bigint): bigint => (signed ? BigInt.asIntN(n, x) : BigInt.asUintN(n, x));
          const product = cut(a) * cut(b);
          const machine = new Machine({ rax: a, rdx: ~a & ((1n << 64n) - 1n), rcx: b });
          machine.step(PREFIX[size] + hex(0xf6 + wide, signed ? 0xe9 : 0xe1));
          expect(pairOf(machine, size)).toBe(BigInt.asUintN(2 * n, product));
          expect(machine.cpu.rflags & CF_OF).toBe(cut(product) === product ? 0 : CF_OF);
          if (size === 4) expect(machine.get('rdx') >> 32n).toBe(0n);
        }
      }
    });
    if (size === 1) continue;
    test(`two and three operands, ${size} bytes`, () => {
      for (const [a, b] of operands(size)) {
        const product = BigInt.asIntN(n, a) * BigInt.asIntN(n, b);
        const fits = BigInt.asIntN(n, product) === product;
        const two = new Machine({ rsi: a, rcx: b });
        two.step(`${PREFIX[size]}0faff1`); // imul rsi, rcx
        expect(BigInt.asUintN(n, two.get('rsi'))).toBe(BigInt.asUintN(n, product));
        expect(two.cpu.rflags & CF_OF).toBe(fits ? 0 : CF_OF);
        const byFive = BigInt.asIntN(n, a) * -5n;
        const three = new Machine({ rsi: a });
        three.step(`${PREFIX[size]}6bcefb`); // imul rcx, rsi, -5
        expect(BigInt.asUintN(n, three.get('rcx'))).toBe(BigInt.asUintN(n, byFive));
        expect(three.cpu.rflags & CF_OF).toBe(BigInt.asIntN(n, byFive) === byFive ? 0 : CF_OF);
      }
    });
  }
});

describe('[E-05] DIV and IDIV', () => {
  for (const size of SIZES) {
    const n = size * 8;
    const wide = size === 1 ? 0 : 1;
    const code = (signed: boolean): string => PREFIX[size] + hex(0xf6 + wide, signed ? 0xf9 : 0xf1);
    const load = (dividend: bigint, divisor: bigint): Machine =>
      size === 1
        ? new Machine({ rax: BigInt.asUintN(16, dividend), rcx: BigInt.asUintN(8, divisor) })
        : new Machine({
            rax: BigInt.asUintN(n, dividend),
            rdx: BigInt.asUintN(n, dividend >> BigInt(n)),
            rcx: BigInt.asUintN(n, divisor),
          });

    test(`${size} bytes`, () => {
      let divided = 0;
      let faulted = 0;
      const extremes = [0n, 1n, -1n, 1n << BigInt(n - 1), -(1n << BigInt(n - 1)), (1n << BigInt(n)) - 1n, 7n];
      const dividends = [...extremes, ...extremes.map((x) => x * 6n + 5n), -(1n << BigInt(2 * n - 1))];
      const values = random(30, BigInt(size)).map((x, i) => BigInt.asIntN(n + (i % n), x * x * x));
      for (const dividend of [...dividends, ...values]) {
        for (const divisor of [...extremes, ...random(6)]) {
          for (const signed of [false, true]) {
            const cut = (bits: number, x: bigint): bigint =>
              signed ? BigInt.asIntN(bits, x) : BigInt.asUintN(bits, x);
            const a = cut(2 * n, dividend);
            const b = cut(n, divisor);
            const machine = load(a, b);
            const before = machine.image();
            const fault = machine.step(code(signed));
            if (b === 0n || cut(n, a / b) !== a / b) {
              expect(fault).toMatchObject({ vector: 0 });
              expect(machine.image()).toBe(before);
              faulted++;
              continue;
            }
            expect(fault).toBeNull();
            const remainder = BigInt.asUintN(n, a % b);
            expect(pairOf(machine, size)).toBe((remainder << BigInt(n)) | BigInt.asUintN(n, a / b));
            divided++;
          }
        }
      }
      expect(Math.min(divided, faulted)).toBeGreaterThan(50);
    });
  }
});
