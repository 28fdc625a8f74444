/** Micro-ops on BigInts: values follow the WebAssembly specification; the engine's own instructions confirm the scalar ones. */
import { describe, expect, test } from 'vitest';
import { Builder } from '../../src/ir/builder.ts';
import { type Environment, evaluate } from '../../src/ir/evaluate.ts';
import { printProgram } from '../../src/ir/print.ts';
import type { BinaryOp, Program, UnaryOp, Value } from '../../src/ir/program.ts';
import { evaluateBinary, evaluateUnary } from '../../src/ir/scalar.ts';
import { validateProgram } from '../../src/ir/validate.ts';
import { evaluateVectorBinary, evaluateVectorUnary, vectorOf } from '../../src/ir/vector.ts';

/** Opcodes of i32.* and i64.* in the order of the specification's binary format. */
const COMPARISONS = ['eq', 'ne', 'lt_s', 'lt_u', 'gt_s', 'gt_u', 'le_s', 'le_u', 'ge_s', 'ge_u'];
const ARITHMETIC = [
  'add',
  'sub',
  'mul',
  'div_s',
  'div_u',
  'rem_s',
  'rem_u',
  'and',
  'or',
  'xor',
  'shl',
  'shr_s',
  'shr_u',
  'rotl',
  'rotr',
];
const VALUES = [
  0n,
  1n,
  2n,
  31n,
  32n,
  33n,
  63n,
  64n,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  1n << 63n,
  (1n << 63n) - 1n,
  (1n << 64n) - 1n,
  0x123456789abcdef0n,
];

/** A WebAssembly function of two values made of one opcode. */
function wasm(bits: number, opcode: number, comparison: boolean): (a: bigint, b: bigint) => bigint {
  const type = bits === 64 ? 0x7e : 0x7f;
  const result = comparison ? 0x7f : type;
  const module = new WebAssembly.Module(
    Uint8Array.from([
      0,
      0x61,
      0x73,
      0x6d,
      1,
      0,
      0,
      0,
      1,
      7,
      1,
      0x60,
      2,
      type,
      type,
      1,
      result,
      3,
      2,
      1,
      0,
      7,
      5,
      1,
      1,
      0x66,
      0,
      0,
      10,
      9,
      1,
      7,
      0,
      0x20,
      0,
      0x20,
      1,
      opcode,
      0x0b,
    ]),
  );
  const f = new WebAssembly.Instance(module).exports.f as (a: unknown, b: unknown) => number | bigint;
  const convert = (x: bigint): unknown => (bits === 64 ? x : Number(BigInt.asIntN(32, x)));
  return (a, b) => BigInt.asUintN(comparison ? 32 : bits, BigInt(f(convert(a), convert(b))));
}

describe('scalar operations equal WebAssembly', () => {
  for (const bits of [32, 64]) {
    const first = bits === 32 ? { comparison: 0x46, arithmetic: 0x6a } : { comparison: 0x51, arithmetic: 0x7c };
    const all = [
      ...COMPARISONS.map((name, i) => ({ name, opcode: first.comparison + i, comparison: true })),
      ...ARITHMETIC.map((name, i) => ({ name, opcode: first.arithmetic + i, comparison: false })),
    ];
    test.each(all)(`i${bits}.$name`, ({ name, opcode, comparison }) => {
      const real = wasm(bits, opcode, comparison);
      for (const x of VALUES) {
        for (const y of VALUES) {
          const [a, b] = [BigInt.asUintN(bits, x), BigInt.asUintN(bits, y)];
          if (/div|rem/.test(name) && (b === 0n || (a === 1n << BigInt(bits - 1) && BigInt.asIntN(bits, b) === -1n)))
            continue;
          expect(evaluateBinary(`i${bits}.${name}` as BinaryOp, a, b)).toBe(real(a, b));
        }
      }
    });
  }
  test.each([
    ['i32.clz', 1n, 31n],
    ['i32.clz', 0n, 32n],
    ['i64.ctz', 0n, 64n],
    ['i64.ctz', 1n << 40n, 40n],
    ['i64.popcnt', 0xf0fn, 8n],
    ['i32.extend8_s', 0x80n, 0xffff_ff80n],
    ['i64.extend32_s', 0x8000_0000n, 0xffff_ffff_8000_0000n],
    ['i64.extend_i32_s', 0x8000_0000n, 0xffff_ffff_8000_0000n],
    ['i64.extend_i32_u', 0x8000_0000n, 0x8000_0000n],
    ['i32.wrap_i64', 0x1_2345_6789n, 0x2345_6789n],
    ['i64.eqz', 0n, 1n],
  ] satisfies Array<[UnaryOp, bigint, bigint]>)('%s', (name, a, result) => {
    expect(evaluateUnary(name, a)).toBe(result);
  });
});

const bytes = (...lanes: number[]): bigint =>
  vectorOf([...lanes.map(BigInt), ...Array<bigint>(16 - lanes.length).fill(0n)], 8);
const words = (...lanes: number[]): bigint =>
  vectorOf([...lanes.map(BigInt), ...Array<bigint>(8 - lanes.length).fill(0n)], 16);
const dwords = (...lanes: number[]): bigint =>
  vectorOf([...lanes.map(BigInt), ...Array<bigint>(4 - lanes.length).fill(0n)], 32);

describe('vector operations', () => {
  test.each([
    ['i8x16.add', bytes(255, 1), bytes(1, 1), bytes(0, 2)],
    ['i8x16.add_sat_u', bytes(255, 1), bytes(1, 1), bytes(255, 2)],
    ['i8x16.add_sat_s', bytes(127, -128), bytes(1, -1), bytes(127, -128)],
    ['i16x8.sub_sat_u', words(1, 5), words(2, 3), words(0, 2)],
    ['i16x8.mul', words(300, -1), words(300, 2), words(90000, -2)],
    ['i8x16.avgr_u', bytes(1, 255), bytes(2, 255), bytes(2, 255)],
    ['i16x8.min_s', words(-1, 1), words(0, 0), words(-1, 0)],
    ['i8x16.max_u', bytes(-1, 1), bytes(0, 2), bytes(255, 2)],
    ['i32x4.gt_s', dwords(-1, 1), dwords(0, 0), dwords(0, -1)],
    ['i8x16.narrow_i16x8_u', words(-5, 300, 7), words(256), bytes(0, 255, 7, 0, 0, 0, 0, 0, 255)],
    [
      'i8x16.swizzle',
      bytes(10, 11, 12),
      bytes(2, 0, 16, 255, 1),
      bytes(12, 10, 0, 0, 11, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10),
    ],
    ['i16x8.narrow_i32x4_s', dwords(70000, -70000), dwords(5), words(32767, -32768, 0, 0, 5)],
    ['i32x4.dot_i16x8_s', words(2, 3, -1, 4), words(5, 7, 10, 1), dwords(31, -6)],
    ['i64x2.extmul_low_i32x4_u', dwords(-1, 2, 9), dwords(-1, 3, 9), vectorOf([0xffff_fffe_0000_0001n, 6n], 64)],
    ['i32x4.extmul_high_i16x8_s', words(9, 9, 9, 9, -2, 3), words(9, 9, 9, 9, 5, 7), dwords(-10, 21)],
    ['i16x8.shr_s', words(-4, 8), 1n, words(-2, 4)],
    ['i64x2.shl', vectorOf([1n << 63n, 3n], 64), 1n, vectorOf([0n, 6n], 64)],
    ['v128.andnot', 0b1100n, 0b1010n, 0b0100n],
  ] satisfies Array<[BinaryOp, bigint, bigint, bigint]>)('%s', (name, a, b, result) => {
    expect(evaluateVectorBinary(name, a, b)).toBe(result);
  });
  test.each([
    ['i8x16.bitmask', bytes(-1, 0, -128), 0b101n],
    ['i64x2.bitmask', 1n << 127n, 0b10n],
    ['i16x8.splat', 0x1_0002n, words(2, 2, 2, 2, 2, 2, 2, 2)],
    ['i16x8.extend_low_i8x16_s', bytes(-1, 2), words(-1, 2)],
    ['i32x4.extend_high_i16x8_u', words(0, 0, 0, 0, -1, 2), dwords(0xffff, 2)],
    ['v128.any_true', 0n, 0n],
  ] satisfies Array<[UnaryOp, bigint, bigint]>)('%s', (name, a, result) => {
    expect(evaluateVectorUnary(name, a)).toBe(result);
  });
});

/** A machine of 64 state bytes whose stores fault at the address 0x100. */
function environment(): { env: Environment<string>; view: DataView; log: string[] } {
  const view = new DataView(new ArrayBuffer(64));
  const log: string[] = [];
  const env: Environment<string> = {
    transfer: () => null,
    access: () => null,
    view,
    base: 0,
    field: () => 8n,
    offset: () => 0n,
    linear: (delta) => 0x40n + delta,
    operandInStack: true,
    nextRip: () => 5n,
    targetRip: () => 9n,
    load(address, width, hints) {
      log.push(`load ${address} ${width} ${hints.stack}`);
      return { value: 7n };
    },
    probe: () => ({ value: null }),
    peek: () => 3n,
    store(address, width, value) {
      log.push(`store ${address} ${width} ${value}`);
      return address === 0x100n ? { fault: 'refused' } : { value: null };
    },
    fault: (vector, error) => `#${vector}(${error})`,
    helper: () => 0n,
  };
  return { env, view, log };
}

const program = (record: (b: Builder) => void): Program => {
  const builder = new Builder();
  record(builder);
  return builder.finish();
};
const SLOT = { kind: 'slot', offset: 16 } as const;

describe('commits', () => {
  test('a refused store leaves the state', () => {
    const { env, view } = environment();
    const run = program((b) => {
      b.set(SLOT, 8, b.i64(1));
      b.store(b.i64(0x100), 4, b.i64(2));
    });
    expect(evaluate(run, env)).toEqual({ kind: 'fault', fault: 'refused' });
    expect(view.getBigUint64(16, true)).toBe(0n);
  });
  test('reads see the state before the writes', () => {
    const { env, view } = environment();
    view.setBigUint64(16, 5n, true);
    const run = program((b) => {
      b.set(SLOT, 8, b.i64(1));
      b.set({ kind: 'field', field: 'r', delta: 0 }, 2, b.get(SLOT, 8));
    });
    expect(evaluate(run, env)).toEqual({ kind: 'next' });
    expect([view.getUint16(8, true), view.getBigUint64(16, true)]).toEqual([5, 1n]);
  });
  test('raiseAfter keeps what was queued before it and drops the rest', () => {
    const { env, view, log } = environment();
    const run = program((b) => {
      b.set(SLOT, 1, b.i64(1));
      b.raiseAfterIf(b.i32(1), 19, 0);
      b.set(SLOT, 1, b.i64(2));
      b.store(b.i64(0), 4, b.i64(2));
    });
    expect(evaluate(run, env)).toEqual({ kind: 'fault', fault: '#19(0)' });
    expect([view.getUint8(16), log]).toEqual([1, []]);
  });
  test('completeIf ends before the accesses that follow', () => {
    const { env, log } = environment();
    const run = program((b) => {
      b.completeIf(b.i32(1));
      b.set(SLOT, 8, b.load(b.linear(), 8));
    });
    expect(evaluate(run, env)).toEqual({ kind: 'next' });
    expect(log).toEqual([]);
  });
  test('misaligned accesses raise #GP(0), stack hints follow the operand', () => {
    const { env, log } = environment();
    expect(
      evaluate(
        program((b) => void b.load(b.i64(8), 16, true)),
        env,
      ),
    ).toEqual({ kind: 'fault', fault: '#13(0)' });
    evaluate(
      program((b) => void b.load(b.linear(b.i64(2)), 4)),
      env,
    );
    evaluate(
      program((b) => void b.load(b.i64(1), 4)),
      env,
    );
    evaluate(
      program((b) => void b.load(b.i64(1), 4, false, true)),
      env,
    );
    expect(log).toEqual(['load 66 4 true', 'load 1 4 false', 'load 1 4 true']);
  });
  test.each([
    ['branch', (b: Builder) => b.branch(null), { kind: 'jump', rip: 9n }],
    ['branch not taken', (b: Builder) => b.branch(b.i32(0)), { kind: 'next' }],
    ['jump', (b: Builder) => b.jump(b.nextRip()), { kind: 'jump', rip: 5n }],
    ['repeat', (b: Builder) => b.repeatIf(b.i32(1)), { kind: 'repeat' }],
    ['last repeat', (b: Builder) => b.repeatIf(b.i32(0)), { kind: 'next' }],
  ])('%s', (_, record, completion) => {
    expect(evaluate(program(record), environment().env)).toEqual(completion);
  });
});

describe('validation', () => {
  const scope = { name: 'test', stateBytes: 64, helpers: {} };
  const foreign: Value = { id: 7, type: 'i64' };
  test.each<[string, (b: Builder) => unknown, RegExp]>([
    ['types', (b) => b.binary('i64.add', b.i64(1), b.i32(1)), /v1 is i32, not i64/],
    ['definition', (b) => b.binary('i64.add', foreign, foreign), /before its definition/],
    ['state size', (b) => b.get({ kind: 'slot', offset: 60 }, 8), /outside the state/],
    ['commit width', (b) => b.set(SLOT, 8, b.i32(1)), /does not fill 8 bytes/],
    ['helper', (b) => b.call('missing', 'i64'), /no helper missing/],
    ['lane', (b) => b.extract('i32x4', 4, b.const('v128', 0)), /no lane 4/],
    ['vector shift', (b) => b.binary('i16x8.shl', b.const('v128', 0), b.const('v128', 0)), /v1 is v128, not i32/],
  ])('%s', (_, record, message) => {
    expect(() =>
      validateProgram(
        program((b) => void record(b)),
        scope,
      ),
    ).toThrow(message);
  });
});

test('the listing shows operands, places and commits', () => {
  const text = printProgram(
    program((b) => {
      const sum = b.binary('i64.add', b.get(SLOT, 8), b.load(b.linear(), 4));
      b.set({ kind: 'field', field: 'm', delta: 1 }, 1, sum);
      b.branch(b.i32(1));
    }),
    (offset) => `slot${offset}`,
  );
  expect(text.split('\n').map((line) => line.trim().replace(/ +/g, ' '))).toEqual([
    'v0 i64 get slot16:8',
    'v1 i64 linear',
    'v2 i64 load v1:4',
    'v3 i64 i64.add v0, v2',
    'v4 i32 0x1',
    'set [m + 1]:1 = v3',
    'branch if v4',
  ]);
});
