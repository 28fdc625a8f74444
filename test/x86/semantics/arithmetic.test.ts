/** Expected flags follow the definitions of SDM vol. 1, 3.4.3.1, written as BigInt formulas on the mathematical values. */
import { describe, expect, test } from 'vitest';
import { FLAG } from '../../../src/x86/state.ts';
import { ALL_FLAGS, DATA, Machine } from './machine.ts';
import { operands, PREFIX, SIZES } from './values.ts';

interface Expected {
  readonly result: bigint;
  readonly flags: number;
}

function evenParity(value: bigint): boolean {
  let ones = 0;
  for (let i = 0n; i < 8n; i++) ones += Number((value >> i) & 1n);
  return ones % 2 === 0;
}

/** Flags of an operation whose exact value is `unsigned` on unsigned and `signed` on signed operands. */
function flagsOf(bits: number, unsigned: bigint, signed: bigint, digits: bigint): Expected {
  const result = BigInt.asUintN(bits, unsigned);
  const flags =
    (result === unsigned ? 0 : FLAG.cf) |
    (BigInt.asIntN(bits, signed) === signed ? 0 : FLAG.of) |
    (digits < 0n || digits > 15n ? FLAG.af : 0) |
    (result === 0n ? FLAG.zf : 0) |
    (BigInt.asIntN(bits, result) < 0n ? FLAG.sf : 0) |
    (evenParity(result) ? FLAG.pf : 0);
  return { result, flags };
}

type Formula = (a: bigint, b: bigint, carry: bigint) => bigint;
const FORMULAS: Record<string, { opcode: number; exact: Formula; writes: boolean; logic?: boolean }> = {
  add: { opcode: 0x00, exact: (a, b) => a + b, writes: true },
  or: { opcode: 0x08, exact: (a, b) => a | b, writes: true, logic: true },
  adc: { opcode: 0x10, exact: (a, b, carry) => a + b + carry, writes: true },
  sbb: { opcode: 0x18, exact: (a, b, carry) => a - b - carry, writes: true },
  and: { opcode: 0x20, exact: (a, b) => a & b, writes: true, logic: true },
  sub: { opcode: 0x28, exact: (a, b) => a - b, writes: true },
  xor: { opcode: 0x30, exact: (a, b) => a ^ b, writes: true, logic: true },
  cmp: { opcode: 0x38, exact: (a, b) => a - b, writes: false },
  test: { opcode: 0x84, exact: (a, b) => a & b, writes: false, logic: true },
};

function merge(old: bigint, size: number, value: bigint): bigint {
  if (size >= 4) return BigInt.asUintN(size * 8, value);
  const mask = (1n << BigInt(size * 8)) - 1n;
  return (old & ~mask) | (value & mask);
}
const hex = (...bytes: number[]): string => bytes.map((x) => x.toString(16).padStart(2, '0')).join('');

describe('[E-05] two-operand arithmetic and logic', () => {
  for (const [name, { opcode, exact, writes, logic }] of Object.entries(FORMULAS)) {
    for (const size of SIZES) {
      test(`${name}, ${size} bytes`, () => {
        const bits = size * 8;
        const cut = (x: bigint): bigint => BigInt.asUintN(bits, x);
        const signed = (x: bigint): bigint => BigInt.asIntN(bits, x);
        const code = PREFIX[size] + hex(opcode + (size === 1 ? 0 : 1), 0xd1); // op rcx, rdx
        const memoryCode = PREFIX[size] + hex(opcode + (size === 1 ? 0 : 1), 0x13); // op [rbx], rdx
        for (const [a, b] of operands(size)) {
          for (const start of [0, ALL_FLAGS]) {
            const carry = BigInt(start & FLAG.cf);
            const unsigned = exact(cut(a), cut(b), carry);
            const expected = logic
              ? flagsOf(bits, cut(unsigned), signed(unsigned), 0n)
              : flagsOf(bits, unsigned, exact(signed(a), signed(b), carry), exact(a & 15n, b & 15n, carry));
            const machine = new Machine({ rcx: a, rdx: b, rbx: DATA }, start);
            machine.memory.poke(DATA, 8, a);
            expect(machine.step(code)).toBeNull();
            expect(machine.get('rcx')).toBe(writes ? merge(a, size, expected.result) : a);
            expect(machine.cpu.rflags & ALL_FLAGS).toBe(expected.flags);

            machine.cpu.rflags = start;
            expect(machine.step(memoryCode)).toBeNull();
            expect(machine.memory.peek(DATA, size)).toBe(writes ? expected.result : cut(a));
            expect(machine.cpu.rflags & ALL_FLAGS).toBe(expected.flags);
          }
        }
      });
    }
  }
});

describe('[E-05] INC, DEC and NEG', () => {
  for (const size of SIZES) {
    test(`${size} bytes`, () => {
      const bits = size * 8;
      const wide = size === 1 ? 0 : 1;
      for (const [a] of operands(size)) {
        for (const start of [0, ALL_FLAGS]) {
          const value = BigInt.asUintN(bits, a);
          const signed = BigInt.asIntN(bits, a);
          const cases = [
            { code: hex(0xfe + wide, 0xc1), ...flagsOf(bits, value + 1n, signed + 1n, (value & 15n) + 1n) },
            { code: hex(0xfe + wide, 0xc9), ...flagsOf(bits, value - 1n, signed - 1n, (value & 15n) - 1n) },
          ].map((x) => ({ ...x, flags: (x.flags & ~FLAG.cf) | (start & FLAG.cf) }));
          const neg = { code: hex(0xf6 + wide, 0xd9), ...flagsOf(bits, -value, -signed, -(value & 15n)) };
          for (const { code, result, flags } of [...cases, neg]) {
            const machine = new Machine({ rcx: a }, start);
            expect(machine.step(PREFIX[size] + code)).toBeNull();
            expect(machine.get('rcx')).toBe(merge(a, size, result));
            expect(machine.cpu.rflags & ALL_FLAGS).toBe(flags);
          }
        }
      }
    });
  }
});

describe('conditions', () => {
  /** SDM vol. 2 appendix B.1.4.7 over the architectural flags. */
  const CONDITIONS: ReadonlyArray<(f: (mask: number) => boolean) => boolean> = [
    (f) => f(FLAG.of),
    (f) => f(FLAG.cf),
    (f) => f(FLAG.zf),
    (f) => f(FLAG.cf) || f(FLAG.zf),
    (f) => f(FLAG.sf),
    (f) => f(FLAG.pf),
    (f) => f(FLAG.sf) !== f(FLAG.of),
    (f) => f(FLAG.zf) || f(FLAG.sf) !== f(FLAG.of),
  ];
  const allWords = Array.from(
    { length: 64 },
    (_, i) =>
      (i & 1 ? FLAG.cf : 0) |
      (i & 2 ? FLAG.pf : 0) |
      (i & 4 ? FLAG.af : 0) |
      (i & 8 ? FLAG.zf : 0) |
      (i & 16 ? FLAG.sf : 0) |
      (i & 32 ? FLAG.of : 0),
  );

  test('SETcc, CMOVcc and Jcc agree with every combination of flags', () => {
    for (const word of allWords) {
      for (let cc = 0; cc < 16; cc++) {
        const holds = CONDITIONS[cc >> 1]!((mask) => (word & mask) !== 0) !== ((cc & 1) === 1);
        const machine = new Machine({ rax: 0n, rcx: 5n, rdx: 0xffff_ffff_ffff_ffffn }, word);
        machine.step(`0f ${hex(0x90 + cc)} c0`);
        expect(machine.get('rax')).toBe(holds ? 1n : 0n);
        machine.step(`0f ${hex(0x40 + cc)} d1`); // cmovcc edx, ecx
        expect(machine.get('rdx')).toBe(holds ? 5n : 0xffff_ffffn);
        const before = machine.cpu.rip;
        machine.step(`${hex(0x70 + cc)} 10`);
        expect(machine.cpu.rip).toBe(before + (holds ? 18n : 2n));
        expect(machine.cpu.rflags & ALL_FLAGS).toBe(word);
      }
    }
  });

  test('[E-05] single-flag instructions leave the others alone', () => {
    for (const word of allWords) {
      const flagsAfter = (code: string, rax = 0n): number => {
        const machine = new Machine({ rax }, word | FLAG.df);
        machine.step(code);
        return machine.cpu.rflags;
      };
      const base = word | FLAG.df | 2;
      expect(flagsAfter('f8')).toBe(base & ~FLAG.cf);
      expect(flagsAfter('f9')).toBe(base | FLAG.cf);
      expect(flagsAfter('f5')).toBe(base ^ FLAG.cf);
      expect(flagsAfter('fc')).toBe(base & ~FLAG.df);
      expect(flagsAfter('fd')).toBe(base);
      for (const byte of [0, 0xff, 0x55, 0xaa, word & 0xff])
        expect(flagsAfter('9e', BigInt(byte) << 8n)).toBe((base & ~0xd5) | (byte & 0xd5));
      const lahf = new Machine({}, word);
      lahf.step('9f');
      expect(lahf.get('rax')).toBe(BigInt((word & 0xd5) | 2) << 8n);
    }
  });
});
