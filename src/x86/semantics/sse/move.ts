/** Moves between XMM and MMX registers, general registers and memory (SDM vol. 2: MOVAPS to MASKMOVDQU, PMOVSX, PMOVZX). */
import type { Value } from '../../../ir/program.ts';
import type { Context, Semantics, SemanticsTable } from '../context.ts';
import { emms, guardBoth, guardEither, guardMmx, guardSse, writeMmx } from './gate.ts';
import { blend, highHalf, highOf, joined, lowHalf, readVector, writeVector, zeroExtended } from './vectors.ts';

const aligned = (c: Context): void => c.write(0, c.read(1, true), true);
const unaligned = (c: Context): void => c.write(0, c.read(1));

/** MOVSS, MOVSD: a load clears the rest of the register, a move between registers keeps it. */
function scalar(c: Context): void {
  if (!c.isMemory(1)) c.write(0, c.read(1));
  else c.b.set({ kind: 'field', field: 'r', delta: 0 }, 16, zeroExtended(c, c.read(1)));
}

/** The low half of operand `i`, an XMM register whatever its width in the table. */
function low(c: Context, i: number): Value {
  const value = c.read(i);
  return value.type === 'v128' ? lowHalf(c, value) : value;
}

/** MOVHPS, MOVHPD */
function high(c: Context): void {
  if (c.isMemory(0)) c.write(0, highHalf(c, c.read(1)));
  else c.b.set(highOf(c, 0), 8, c.read(1));
}

/** Writes an i64 to an MMX register, or zero-extended to an XMM register. */
function writeExtended(c: Context, value: Value): void {
  const { place, file } = c.operand(0);
  if (file === 'mmx') writeMmx(c, 0, value);
  else if (file === 'xmm' && (place === 'r' || place === 'm'))
    c.b.set({ kind: 'field', field: place, delta: 0 }, 16, zeroExtended(c, value));
  else c.write(0, value);
}

/** 0xff in the bytes whose top bit is set in `mask`. */
const byteMask = (c: Context, mask: Value): Value => c.b.binary('i8x16.gt_s', c.b.const('v128', 0), mask);
/**
 * Bytes that are not selected keep their value; the whole operand must be writable whatever the mask. It is stored in two halves:
 * where #AC is on, eight bytes are what must be aligned (measured on AMD family 1Ah).
 */
function maskmovdqu(c: Context): void {
  const tokens = [null, c.b.i64(8)].map((delta) => c.b.probe(c.b.linear(delta), 8));
  const [low, high] = tokens.map((token) => c.b.peek(token, 8));
  const old = c.b.replace('i64x2', 1, c.b.unary('i64x2.splat', low!), high!);
  const result = blend(c, byteMask(c, c.read(2)), c.read(1), old);
  c.b.storeAt(tokens[0]!, 8, lowHalf(c, result));
  c.b.storeAt(tokens[1]!, 8, highHalf(c, result));
}
function maskmovq(c: Context): void {
  const token = c.b.probe(c.b.linear(), 8);
  const mask = byteMask(c, readVector(c, 2));
  const old = c.b.unary('i64x2.splat', c.b.peek(token, 8));
  c.b.storeAt(token, 8, lowHalf(c, blend(c, mask, readVector(c, 1), old)));
}

/** Each pair of doublewords becomes twice the one at byte `first` of the pair. */
const duplicated =
  (first: number): Semantics =>
  (c) => {
    const pair = [0, 1, 2, 3, 0, 1, 2, 3].map((i) => first + i);
    const source = readVector(c, 1);
    writeVector(c, 0, c.b.shuffle([...pair, ...pair.map((i) => i + 8)], source, source));
  };

/** The steps that widen the lowest elements, each to twice its size. */
const WIDER = { b: 'i16x8.extend_low_i8x16', w: 'i32x4.extend_low_i16x8', d: 'i64x2.extend_low_i32x4' } as const;
const SIZES = 'bwdq';
/** PMOVSX and PMOVZX of every pair of sizes; nothing need be aligned. */
const WIDENING: SemanticsTable = Object.fromEntries(
  ['bw', 'bd', 'bq', 'wd', 'wq', 'dq'].flatMap((sizes) =>
    (['s', 'z'] as const).map((kind): [string, Semantics] => {
      const steps = SIZES.slice(SIZES.indexOf(sizes[0]!), SIZES.indexOf(sizes[1]!)).split('') as Array<'b' | 'w' | 'd'>;
      const widen: Semantics = (c) => {
        const source = c.b.unary('i64x2.splat', c.read(1));
        const wider = (x: Value, step: 'b' | 'w' | 'd'): Value =>
          c.b.unary(`${WIDER[step]}_${kind === 's' ? 's' : 'u'}`, x);
        c.write(0, steps.reduce(wider, source));
      };
      return [`pmov${kind}x${sizes}`, widen];
    }),
  ),
);

export const SSE_MOVE: SemanticsTable = {
  ...guardSse({
    movaps: aligned,
    movapd: aligned,
    movdqa: aligned,
    movntps: aligned,
    movntpd: aligned,
    movntdq: aligned,
    movntdqa: aligned,
    movups: unaligned,
    movupd: unaligned,
    movdqu: unaligned,
    lddqu: unaligned,
    movss: scalar,
    movsd: scalar,
    movlps: (c) => c.write(0, low(c, 1)),
    movlpd: (c) => c.write(0, low(c, 1)),
    movhps: high,
    movhpd: high,
    movhlps: (c) => c.write(0, joined(c, highHalf(c, c.read(1)), highHalf(c, c.read(0)))),
    movlhps: (c) => c.b.set(highOf(c, 0), 8, low(c, 1)),
    movmskps: (c) => c.write(0, c.widen(c.b.unary('i32x4.bitmask', c.read(1)))),
    movmskpd: (c) => c.write(0, c.widen(c.b.unary('i64x2.bitmask', c.read(1)))),
    maskmovdqu,
    movddup: (c) => c.write(0, c.b.unary('i64x2.splat', c.read(1))),
    movsldup: duplicated(0),
    movshdup: duplicated(4),
    ...WIDENING,
  }),
  ...guardEither({
    movd: (c) => writeExtended(c, low(c, 1)),
    movq: (c) => writeExtended(c, low(c, 1)),
    pmovmskb: (c) => c.write(0, c.truncate(c.widen(c.b.unary('i8x16.bitmask', readVector(c, 1))), c.size / 8)),
  }),
  ...guardMmx({ movntq: (c) => c.write(0, c.read(1)), maskmovq }),
  ...guardBoth({
    movq2dq: (c) => writeExtended(c, c.read(1)),
    movdq2q: (c) => writeExtended(c, c.read(1)),
  }),
  emms,
};
