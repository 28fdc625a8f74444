/**
 * The shortcuts of SSE floating point (src/x86/semantics/sse/shortcuts.ts) against the soft-float, which silicon checks: values
 * at the borders of what a shortcut may decide, under every mode of MXCSR, through every tier.
 */
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { EngineOptions } from '../../../src/engine/engine.ts';
import { HELPERS } from '../../../src/x86/helpers.ts';
import { packed } from '../../../src/x86/softfloat/simd.ts';
import { SSE_OPS, sseOp } from '../../../src/x86/softfloat/sse.ts';
import { CODE, DATA, parseHex, TestMachine } from '../../engine/machine.ts';
import { scalar, unmasked } from '../sse-unit.ts';

/** Patterns of binary32 or binary64, positive; each is used with both signs. */
const bits64 = new BigUint64Array(1);
const bits32 = new Uint32Array(1);
const double = (x: number): bigint => {
  new Float64Array(bits64.buffer)[0] = x;
  return bits64[0]!;
};
const single = (x: number): bigint => {
  new Float32Array(bits32.buffer)[0] = x;
  return BigInt(bits32[0]!);
};
/** A pattern and its neighbours. */
const around = (bits: bigint): bigint[] => [bits - 1n, bits, bits + 1n];
const PLAIN = [1.5, 3, 0.1, 1 / 3, 2 ** 12 + 1, 2 ** 26 - 1, 2 ** 27 + 1, 2 ** 53 - 1, 1e10, 0.5, 2.5];
const DOUBLES = [
  ...[0n, 1n, 0x0008_0000_0000_0000n, 0x000f_ffff_ffff_ffffn],
  // the smallest normal number, its neighbours, and what gives it as a product or a quotient
  ...around(double(2 ** -1022)),
  ...[2 ** -1021, 2 ** -511, 2 ** -500, 2 ** -512 * 1.75].map(double),
  ...around(double(2 ** 511)),
  ...[double(2 ** 1023), double(Number.MAX_VALUE) - 1n, double(Number.MAX_VALUE)],
  // 1 - 2^-53 of the smallest normal number rounds up to it, and underflows
  ...[...around(double(1)), double(2 ** 1022)],
  // the borders of binary32: smallest normal and denormal, largest, and halves of its last place
  ...around(double(2 ** -126)),
  ...around(double(2 ** -126 - 2 ** -150)),
  ...[2 ** -149, 2 ** -150].map(double),
  ...around(double(2 ** 128 - 2 ** 103)),
  ...around(double(1 + 2 ** -24)),
  ...around(double(2 ** 31)),
  ...around(double(2 ** 31 - 1)),
  ...around(double(2 ** 31 - 0.5)),
  ...[double(2 ** 32), double(2 ** 63), double(2 ** 62)],
  ...PLAIN.map(double),
  ...[0x7ff0_0000_0000_0000n, 0x7ff0_0000_0000_0001n, 0x7ff8_0000_0000_0000n, 0x7ff8_0000_dead_beefn],
];
const SINGLES = [
  ...[0n, 1n, 0x40_0000n, 0x7f_ffffn],
  ...around(single(2 ** -126)),
  ...[2 ** -125, 2 ** -63, 2 ** -60, 2 ** -64 * 1.75].map(single),
  ...around(single(2 ** 63)),
  ...[single(2 ** 127), 0x7f7f_fffen, 0x7f7f_ffffn],
  ...[...around(single(1)), single(2 ** 126)],
  ...around(single(2 ** 31)),
  ...around(single(2 ** 30)),
  ...around(single(1 + 2 ** -12)),
  ...[2 ** 24, 2 ** 62].map(single),
  ...PLAIN.map(single),
  ...[0x7f80_0000n, 0x7f80_0001n, 0x7fc0_0000n, 0x7fc0_beefn],
];
const LONGS = [0, 1, 2 ** 24, 2 ** 24 + 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32]
  .map(BigInt)
  .concat([
    ...[53n, 54n, 62n].flatMap((n) => [(1n << n) - 1n, 1n << n, (1n << n) + 1n, (1n << n) + 3n]),
    ...[0x7fff_ffff_ffff_fdffn, 0x7fff_ffff_ffff_ffffn, 0x8000_0000_0000_0000n, 0x1234_5678_9abc_def0n],
  ]);
const INTEGERS = LONGS.map((x) => x & 0xffff_ffffn);

/** Rounding, FTZ, DAZ, and exceptions: all, all but PE, or none masked; PE set before or not. */
const MODES = [0, 1, 2, 3].flatMap((rounding) =>
  [0x1f80, 0x0f80, 0].flatMap((masks) =>
    [0, 0x40, 0x8000, 0x8040].flatMap((zeros) => [0, 0x20].map((sticky) => (rounding << 13) | masks | zeros | sticky)),
  ),
);

interface Case {
  readonly a: bigint;
  readonly b: bigint;
  readonly mxcsr: number;
}
interface Outcome {
  readonly value: bigint;
  readonly mxcsr: number;
}

/** Numbers below 2^24 from a seed. */
function* numbers(seed: number): Generator<number, never> {
  for (let x = seed; ; ) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    yield x >>> 8;
  }
}

/** The patterns that the operation's sources may have. */
function sourcesOf(name: string): readonly bigint[] {
  if (name.startsWith('CVTSI2')) return name.endsWith('64') ? LONGS : INTEGERS;
  return SSE_OPS[sseOp(name)]!.from === 64 ? DOUBLES : SINGLES;
}

/** Every pair of patterns and signs, each in one mode; packed: with ordinary or any neighbours. One pattern in every mode. */
function casesOf(name: string, lanes: number): Case[] {
  const op = SSE_OPS[sseOp(name)]!;
  const width = BigInt(op.from);
  const sign = 1n << (width - 1n);
  const isInteger = name.startsWith('CVTSI2');
  const values = sourcesOf(name).flatMap((x) => [x, isInteger ? BigInt.asUintN(op.from, -x) : x | sign]);
  const ordinary = isInteger ? 3n : op.from === 64 ? double(1.5) : single(1.5);
  const random = numbers(7);
  const pick = (): bigint => values[random.next().value % values.length]!;
  const out: Case[] = [];
  for (const x of op.operands === 1 ? [0n] : values)
    for (const y of values) {
      // the two usual modes are half of all
      const modes = [
        0x1f80,
        0x1fa0,
        MODES[random.next().value % MODES.length]!,
        MODES[random.next().value % MODES.length]!,
      ];
      for (const mxcsr of op.operands === 1 ? [...modes, ...MODES] : [modes[random.next().value % 4]!]) {
        const at = random.next().value % lanes;
        const usual = random.next().value % 2 === 0;
        let [a, b] = [0n, 0n];
        for (let lane = 0; lane < lanes; lane++) {
          const shift = BigInt(lane) * width;
          a |= (lane === at ? x : usual ? ordinary : pick()) << shift;
          b |= (lane === at ? y : usual ? ordinary : pick()) << shift;
        }
        out.push({ a, b, mxcsr });
      }
    }
  return out;
}

const TABLE = DATA;
const RESULTS = DATA + 0x10_0000n;
const BATCH = 2048;
const HALT = 0xf4;
const EAGER = { sampleSteps: 5, samples: 1, misses: 1, batch: 1, patience: 1, sampleHops: 3, hops: 2 };
const TIERS: Record<string, EngineOptions> = {
  evaluator: { tier: 'oracle' },
  cold: { tier: 'cold' },
  hot: { tier: 'hot', promotion: EAGER },
};

/**
 * Runs `instruction` (hex; first operand xmm0 or rax, second [rsi + 32]) on every case in a loop of the guest; a fault leaves
 * what it leaves.
 */
function run(tier: string, instruction: string, store: string, cases: readonly Case[]): Outcome[] {
  const m = new TestMachine({ ...TIERS[tier]!, recordBytes: 1 << 20 });
  // ldmxcsr [rsi]; movups xmm0, [rsi + 16]; xor eax, eax; INSTRUCTION; STORE; stmxcsr [rdi + 16];
  // add rsi, 48; add rdi, 32; dec ecx; jnz; hlt
  const body = `0fae16 0f104610 31c0 ${instruction} ${store} 0fae5f10 4883c630 4883c720 ffc9`;
  const length = parseHex(body).length;
  m.code(`${body} 75${(254 - length).toString(16)} ${HALT.toString(16)}`);
  m.mapNew(TABLE, (BATCH * 48) / 4096);
  m.mapNew(RESULTS, (BATCH * 32) / 4096);
  const size = BigInt(parseHex(instruction).length);
  m.platform.resume = (cpu) => {
    cpu.rip += size;
    return null;
  };
  const out: Outcome[] = [];
  for (let first = 0; first < cases.length; first += BATCH) {
    const batch = cases.slice(first, first + BATCH);
    for (const [i, { a, b, mxcsr }] of batch.entries()) {
      const at = TABLE + BigInt(i * 48);
      m.memory.write32(m.pa(at), mxcsr);
      for (const [part, value] of [a, a >> 64n, b, b >> 64n].entries())
        m.memory.write64(m.pa(at + BigInt(16 + part * 8)), BigInt.asUintN(64, value));
    }
    m.cpu.rip = CODE;
    m.set('rsi', TABLE);
    m.set('rdi', RESULTS);
    m.set('rcx', BigInt(batch.length));
    m.runAll(batch.length * 12);
    expect(m.get('rcx')).toBe(0n);
    for (const i of batch.keys()) {
      const at = m.pa(RESULTS + BigInt(i * 32));
      const value = m.memory.read64(at) | (m.memory.read64(at + 8) << 64n);
      out.push({ value, mxcsr: m.memory.read32(at + 16) });
    }
  }
  if (tier === 'hot') expect(m.engine.hot!.compiled).toBeGreaterThan(0);
  return out;
}

const hex = (x: bigint | number): string => x.toString(16);
/** The first cases that end otherwise than `expected` says. */
function wrong(cases: readonly Case[], found: readonly Outcome[], expected: (c: Case) => Outcome): string[] {
  const out: string[] = [];
  for (const [i, c] of cases.entries()) {
    const want = expected(c);
    const got = found[i]!;
    if (got.value === want.value && got.mxcsr === want.mxcsr) continue;
    const told = `${hex(c.a)}, ${hex(c.b)}, mxcsr ${hex(c.mxcsr)}`;
    out.push(`${told}: ${hex(got.value)} mxcsr ${hex(got.mxcsr)}, not ${hex(want.value)} ${hex(want.mxcsr)}`);
    if (out.length === 5) break;
  }
  return out;
}
/** Keeps `before` where an unmasked exception has stopped the instruction. */
const ended = ({ mxcsr }: Case, flags: number, before: bigint, value: bigint): Outcome => ({
  value: unmasked(flags, (mxcsr >> 7) & 63) ? before : value,
  mxcsr: mxcsr | flags,
});

const XMM = '0f1107';
const RAX = '488907 488907';
const FLAGS = '9c 8f07';

/** [operation, prefix, opcode] of instructions with a scalar and a packed form. */
const BOTH: Array<[string, string]> = [
  ['ADD', '58'],
  ['MUL', '59'],
  ['SUB', '5c'],
  ['MIN', '5d'],
  ['DIV', '5e'],
  ['MAX', '5f'],
  ['SQRT', '51'],
];
/** [name, instruction, operation, lanes (0: scalar), where the result is] */
type Row = readonly [string, string, string, number, 'xmm' | 'rax'];
const ROWS: readonly Row[] = [
  ...BOTH.flatMap(([name, code]): Row[] => [
    [`${name}SS`, `f30f${code}4620`, `${name}SS`, 0, 'xmm'],
    [`${name}SD`, `f20f${code}4620`, `${name}SD`, 0, 'xmm'],
    [`${name}PS`, `0f${code}4620`, `${name}SS`, 4, 'xmm'],
    [`${name}PD`, `660f${code}4620`, `${name}SD`, 2, 'xmm'],
  ]),
  ...['EQ', 'LT', 'LE', 'UNORD', 'NEQ', 'NLT', 'NLE', 'ORD'].flatMap((name, i): Row[] => [
    [`CMP${name}SS`, `f30fc246200${i}`, `CMP${name}SS`, 0, 'xmm'],
    [`CMP${name}SD`, `f20fc246200${i}`, `CMP${name}SD`, 0, 'xmm'],
    [`CMP${name}PS`, `0fc246200${i}`, `CMP${name}SS`, 4, 'xmm'],
    [`CMP${name}PD`, `660fc246200${i}`, `CMP${name}SD`, 2, 'xmm'],
  ]),
  ['CVTSI2SS', 'f30f2a4620', 'CVTSI2SS32', 0, 'xmm'],
  ['CVTSI2SD', 'f20f2a4620', 'CVTSI2SD32', 0, 'xmm'],
  ['CVTSI2SD of 64 bits', 'f2480f2a4620', 'CVTSI2SD64', 0, 'xmm'],
  ['CVTSS2SD', 'f30f5a4620', 'CVTSS2SD', 0, 'xmm'],
  ['CVTSD2SS', 'f20f5a4620', 'CVTSD2SS', 0, 'xmm'],
  ['CVTSS2SI', 'f30f2d4620', 'CVTSS2SI32', 0, 'rax'],
  ['CVTSD2SI', 'f20f2d4620', 'CVTSD2SI32', 0, 'rax'],
  ['CVTTSS2SI', 'f30f2c4620', 'CVTTSS2SI32', 0, 'rax'],
  ['CVTTSD2SI', 'f20f2c4620', 'CVTTSD2SI32', 0, 'rax'],
  ['CVTSS2SI of 64 bits', 'f3480f2d4620', 'CVTSS2SI64', 0, 'rax'],
  ['CVTSD2SI of 64 bits', 'f2480f2d4620', 'CVTSD2SI64', 0, 'rax'],
  ['CVTTSS2SI of 64 bits', 'f3480f2c4620', 'CVTTSS2SI64', 0, 'rax'],
  ['CVTTSD2SI of 64 bits', 'f2480f2c4620', 'CVTTSD2SI64', 0, 'rax'],
  ['CVTPS2PD', '0f5a4620', 'CVTSS2SD', 2, 'xmm'],
  ['CVTPD2PS', '660f5a4620', 'CVTSD2SS', 2, 'xmm'],
  ['CVTDQ2PS', '0f5b4620', 'CVTSI2SS32', 4, 'xmm'],
  ['CVTDQ2PD', 'f30fe64620', 'CVTSI2SD32', 2, 'xmm'],
  ['CVTPS2DQ', '660f5b4620', 'CVTSS2SI32', 4, 'xmm'],
  ['CVTTPS2DQ', 'f30f5b4620', 'CVTTSS2SI32', 4, 'xmm'],
  ['CVTPD2DQ', 'f20fe64620', 'CVTSD2SI32', 2, 'xmm'],
  ['CVTTPD2DQ', '660fe64620', 'CVTTSD2SI32', 2, 'xmm'],
];

function check(row: Row, tier: string, cases: readonly Case[]): void {
  const [, instruction, name, lanes, place] = row;
  const op = sseOp(name);
  const { operands } = SSE_OPS[op]!;
  const found = run(tier, instruction, place === 'xmm' ? XMM : RAX, cases);
  const expected = (c: Case): Outcome => {
    const first = place === 'rax' ? 0n : c.a;
    const r = lanes > 0 ? packed(op, operands === 1 ? c.b : c.a, c.b, c.mxcsr, lanes) : scalar(op, first, c.b, c.mxcsr);
    return ended(c, r.flags, first, r.value);
  };
  const low = (x: Outcome): Outcome => (place === 'rax' ? { ...x, value: BigInt.asUintN(64, x.value) } : x);
  expect(wrong(cases, found.map(low), expected)).toEqual([]);
}

afterEach(() => void vi.restoreAllMocks());

describe.each(['cold', 'hot'])('SSE floating point at the borders of its shortcuts, %s tier', (tier) => {
  test.each(ROWS)('%s', (...row) => {
    const all = casesOf(row[2], Math.max(1, row[3]));
    // the eight predicates share much
    const cases = row[2].startsWith('CMP') ? all.filter((_, i) => i % 5 === 0) : all;
    const called = vi.spyOn(HELPERS[row[3] > 0 ? 'ssePackedValue' : 'sseValue']!, 'evaluate');
    check(row, tier, cases);
    // the helper decides some of these cases, and not all
    expect(called.mock.calls.length).toBeLessThan(cases.length - 100);
    if (!row[2].startsWith('CVTSI2SD32')) expect(called.mock.calls.length).toBeGreaterThan(0);
  });
  test.each([
    ['COMISS', '0f2f4620'],
    ['COMISD', '660f2f4620'],
    ['UCOMISS', '0f2e4620'],
    ['UCOMISD', '660f2e4620'],
  ])('%s', (name, instruction) => {
    const cases = casesOf(name, 1);
    const found = run(tier, instruction, FLAGS, cases);
    const op = sseOp(name);
    // ZF, PF and CF for unordered, less, equal, greater; XOR EAX, EAX before has left ZF and PF
    const eflags = [0x45n, 0x01n, 0x40n, 0x00n];
    const status = ({ value, mxcsr }: Outcome): Outcome => ({ value: value & 0x8d5n, mxcsr });
    const expected = (c: Case): Outcome => {
      const r = scalar(op, c.a, c.b, c.mxcsr);
      return ended(c, r.flags, 0x44n, eflags[Number(BigInt.asUintN(2, r.value))]!);
    };
    expect(wrong(cases, found.map(status), expected)).toEqual([]);
  });
});

describe('SSE floating point, evaluator', () => {
  // where a shortcut holds, the evaluator asserts that it is the helper's result
  test.each(ROWS)('%s', (...row) => {
    const cases = casesOf(row[2], Math.max(1, row[3])).filter((_, i) => i % 43 === 0);
    check(row, 'evaluator', cases);
  });
});
