/** Shifts and rotates against the bit-by-bit loops of the manual's operation sections (SDM vol. 2). */
import { describe, expect, test } from 'vitest';
import { FLAG } from '../../../src/x86/state.ts';
import { ALL_FLAGS, DATA, Machine } from './machine.ts';
import { edges, PREFIX, random, SIZES } from './values.ts';

interface State {
  value: bigint;
  cf: bigint;
}

/** One step of each operation on `n` bits. */
const STEP: Record<string, (s: State, n: bigint) => void> = {
  rol(s, n) {
    s.cf = (s.value >> (n - 1n)) & 1n;
    s.value = (s.value << 1n) | s.cf;
  },
  ror(s, n) {
    s.cf = s.value & 1n;
    s.value = (s.value >> 1n) | (s.cf << (n - 1n));
  },
  rcl(s, n) {
    const out = (s.value >> (n - 1n)) & 1n;
    s.value = (s.value << 1n) | s.cf;
    s.cf = out;
  },
  rcr(s, n) {
    const out = s.value & 1n;
    s.value = (s.value >> 1n) | (s.cf << (n - 1n));
    s.cf = out;
  },
  shl(s, n) {
    s.cf = (s.value >> (n - 1n)) & 1n;
    s.value <<= 1n;
  },
  shr(s) {
    s.cf = s.value & 1n;
    s.value >>= 1n;
  },
  sar(s, n) {
    s.cf = s.value & 1n;
    s.value = (s.value >> 1n) | (s.value & (1n << (n - 1n)));
  },
};
const NAMES = ['rol', 'ror', 'rcl', 'rcr', 'shl', 'shr', 'shl', 'sar'];
const COUNTS = [0, 1, 2, 7, 8, 9, 15, 16, 17, 18, 27, 31, 32, 33, 63, 64, 65, 255];

const hex = (...bytes: number[]): string => bytes.map((x) => x.toString(16).padStart(2, '0')).join('');
const write = (old: bigint, size: number, value: bigint): bigint =>
  size >= 4 ? value : (old & ~((1n << BigInt(size * 8)) - 1n)) | value;
const bit = (word: number, mask: number): boolean => (word & mask) !== 0;

describe('[E-05] shifts and rotates', () => {
  for (const [digit, name] of NAMES.entries()) {
    if (digit === 6) continue;
    for (const size of SIZES) {
      test(`${name}, ${size} bytes`, () => {
        const n = BigInt(size * 8);
        const wide = size === 1 ? 0 : 1;
        for (const a of [...edges(size), ...random(6)]) {
          for (const count of COUNTS) {
            for (const start of [0, ALL_FLAGS]) {
              const masked = count & (size === 8 ? 63 : 31);
              const state: State = { value: BigInt.asUintN(Number(n), a), cf: BigInt(start & FLAG.cf) };
              const first = state.value;
              for (let i = 0; i < masked; i++) {
                STEP[name]!(state, n);
                state.value = BigInt.asUintN(Number(n), state.value);
              }
              // The manual leaves CF of 8-bit and 16-bit SHL and SHR open for counts above the size: the loop decides.
              const modrm = 0xc0 | (digit << 3) | 2;
              const codes = [
                `${PREFIX[size]}${hex(0xd2 + wide, modrm)}`,
                `${PREFIX[size]}${hex(0xc0 + wide, modrm, count)}`,
              ];
              if (count === 1) codes.push(`${PREFIX[size]}${hex(0xd0 + wide, modrm)}`);
              for (const code of codes) {
                const machine = new Machine({ rdx: a, rcx: BigInt(count) }, start);
                expect(machine.step(code)).toBeNull();
                expect(machine.get('rdx')).toBe(write(a, size, state.value));
                const flags = machine.cpu.rflags;
                if (masked === 0) {
                  expect(flags & ALL_FLAGS).toBe(start);
                  continue;
                }
                expect(bit(flags, FLAG.cf)).toBe(state.cf === 1n);
                const sign = (x: bigint): boolean => ((x >> (n - 1n)) & 1n) === 1n;
                if (masked === 1 && name !== 'sar' && name !== 'shr')
                  expect(bit(flags, FLAG.of)).toBe(sign(first) !== sign(state.value));
                if (masked === 1 && name === 'shr') expect(bit(flags, FLAG.of)).toBe(sign(first));
                if (masked === 1 && name === 'sar') expect(bit(flags, FLAG.of)).toBe(false);
                if (digit < 4) {
                  const others = FLAG.pf | FLAG.af | FLAG.zf | FLAG.sf;
                  expect(flags & others).toBe(start & others);
                } else {
                  expect(bit(flags, FLAG.zf)).toBe(state.value === 0n);
                  expect(bit(flags, FLAG.sf)).toBe(sign(state.value));
                }
              }
            }
          }
        }
      });
    }
  }

  test('a masked count of 0 zero-extends a 32-bit register', () => {
    const machine = new Machine({ rdx: 0xffff_ffff_0000_0001n, rcx: 32n });
    machine.step('d3e2'); // shl edx, cl
    expect(machine.get('rdx')).toBe(1n);
  });

  test('a shift of memory is one write-intent access', () => {
    const machine = new Machine({ rbx: DATA + 0x2000n });
    const before = machine.image();
    expect(machine.step('d0 23')).toMatchObject({ vector: 14, error: 3 }); // shl byte [rbx], 1 on a read-only page
    expect(machine.image()).toBe(before);
  });
});

describe('[E-05] SHLD and SHRD', () => {
  for (const size of [2, 4, 8]) {
    test(`${size} bytes`, () => {
      const n = BigInt(size * 8);
      const values = [...edges(size), ...random(4)];
      for (const a of values) {
        for (const b of values) {
          for (const count of [0, 1, 4, 15, 16, 31, 32, 63]) {
            const masked = BigInt(count & (size === 8 ? 63 : 31));
            if (masked > n) continue; // undefined
            const first = BigInt.asUintN(Number(n), a);
            const source = BigInt.asUintN(Number(n), b);
            const left = ((first << n) | source) << masked;
            const right = ((source << n) | first) >> masked;
            const cases = [
              { opcode: 0xa4, result: BigInt.asUintN(Number(n), left >> n), cf: (left >> (2n * n)) & 1n },
              {
                opcode: 0xac,
                result: BigInt.asUintN(Number(n), right),
                cf: masked === 0n ? 0n : (first >> (masked - 1n)) & 1n,
              },
            ];
            for (const { opcode, result, cf } of cases) {
              const machine = new Machine({ rdx: a, rsi: b, rcx: BigInt(count) }, ALL_FLAGS);
              expect(machine.step(`${PREFIX[size]}0f${hex(opcode + 1)}f2`)).toBeNull(); // rdx, rsi, cl
              expect(machine.get('rdx')).toBe(write(a, size, result));
              if (masked === 0n) {
                expect(machine.cpu.rflags & ALL_FLAGS).toBe(ALL_FLAGS);
                continue;
              }
              expect(bit(machine.cpu.rflags, FLAG.cf)).toBe(cf === 1n);
              expect(bit(machine.cpu.rflags, FLAG.zf)).toBe(result === 0n);
              expect(bit(machine.cpu.rflags, FLAG.sf)).toBe(result >> (n - 1n) === 1n);
              if (masked === 1n)
                expect(bit(machine.cpu.rflags, FLAG.of)).toBe(result >> (n - 1n) !== first >> (n - 1n));
            }
          }
        }
      }
    });
  }

  // Measured on AMD family 1Ah: rax, rdx, count, result.
  test.each([
    ['a5', 0x1234n, 0x5678n, 20n, 0x6785n],
    ['a5', 0x1234n, 0xf678n, 17n, 0xecf1n],
    ['ad', 0x1234n, 0x5678n, 20n, 0x8567n],
    ['ad', 0x1234n, 0xf678n, 31n, 0xecf1n],
  ])('16-bit %s with a count above 16 goes on into the source again', (opcode, rax, rdx, rcx, result) => {
    const machine = new Machine({ rax, rdx, rcx });
    machine.step(`66 0f ${opcode} d0`);
    expect(machine.get('rax')).toBe(result);
    expect(bit(machine.cpu.rflags, FLAG.cf)).toBe(false);
  });
});
