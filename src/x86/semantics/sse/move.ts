/** Moves between XMM and MMX registers, general registers and memory (SDM vol. 2: MOVAPS to MASKMOVDQU). */
import type { Value } from '../../../ir/program.ts';
import type { Context, SemanticsTable } from '../context.ts';
import { emms, guardBoth, guardEither, guardMmx, guardSse, writeMmx } from './gate.ts';
import { highHalf, highOf, joined, lowHalf, readVector, zeroExtended } from './vectors.ts';

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
/** `a` where `mask` has ones, else `b`. */
const blend = (c: Context, mask: Value, a: Value, b: Value): Value =>
  c.b.binary('v128.or', c.b.binary('v128.and', a, mask), c.b.binary('v128.andnot', b, mask));

/** Bytes that are not selected keep their value; the whole operand must be writable whatever the mask. */
function maskmovdqu(c: Context): void {
  const token = c.b.probe(c.b.linear(), 16);
  const mask = byteMask(c, c.read(2));
  c.b.storeAt(token, 16, blend(c, mask, c.read(1), c.b.peek(token, 16)));
}
function maskmovq(c: Context): void {
  const token = c.b.probe(c.b.linear(), 8);
  const mask = byteMask(c, readVector(c, 2));
  const old = c.b.unary('i64x2.splat', c.b.peek(token, 8));
  c.b.storeAt(token, 8, lowHalf(c, blend(c, mask, readVector(c, 1), old)));
}

export const SSE_MOVE: SemanticsTable = {
  ...guardSse({
    movaps: aligned,
    movapd: aligned,
    movdqa: aligned,
    movntps: aligned,
    movntpd: aligned,
    movntdq: aligned,
    movups: unaligned,
    movupd: unaligned,
    movdqu: unaligned,
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
