/** Rearranging elements (SDM vol. 2: PSHUFD, SHUFPS, PUNPCKLBW, UNPCKLPS, PSLLDQ, PINSRW, PEXTRW and their kin). */
import type { Value } from '../../../ir/program.ts';
import type { Context, Semantics, SemanticsTable } from '../context.ts';
import { guardEither, guardMmx, guardSse } from './gate.ts';
import { highHalf, joined, lowHalf, readVector, writeVector } from './vectors.ts';

/** Byte numbers that interleave elements of `bytes` bytes of two registers of `size` bytes, from their low or high halves. */
function interleaved(bytes: number, size: number, high: boolean): number[] {
  const start = high ? size / 2 : 0;
  const element = (at: number): number[] => Array.from({ length: bytes }, (_, i) => at + i);
  const out: number[] = [];
  for (let at = start; at < start + size / 2; at += bytes) out.push(...element(at), ...element(16 + at));
  return size === 16 ? out : [...out, ...out];
}
const unpack =
  (bytes: number, high: boolean): Semantics =>
  (c) =>
    writeVector(c, 0, c.b.shuffle(interleaved(bytes, c.size, high), readVector(c, 0), readVector(c, 1)));

/** The four 2-bit fields of the immediate, in the i64's bytes 0, 2, 4 and 6. */
function selectors(c: Context): Value {
  const imm = c.read(2);
  const field = (i: number): Value => c.op('shl', c.op('and', imm, 3 << (2 * i)), 14 * i);
  return c.op('or', c.op('or', field(0), field(1)), c.op('or', field(2), field(3)));
}
/** Byte numbers of the words that the immediate selects among four. */
const words = (c: Context): Value => c.op('add', c.op('mul', selectors(c), 0x0202), 0x0100_0100_0100_0100n);
/** Byte numbers of the doublewords that the immediate selects, for the low (0) or high (1) half of the result. */
function doublewords(c: Context, half: 0 | 1): Value {
  const two = c.op('and', c.op('shr_u', c.read(2), 4 * half), 15);
  const spread = c.op('or', c.op('and', two, 3), c.op('shl', c.op('and', two, 12), 30));
  return c.op('add', c.op('mul', spread, 0x0404_0404), 0x0302_0100_0302_0100n);
}
const LOW_WORDS = 0x0706_0504_0302_0100n;
const HIGH_WORDS = 0x0f0e_0d0c_0b0a_0908n;

const pick = (c: Context, source: Value, low: Value, high: Value): Value =>
  c.b.binary('i8x16.swizzle', source, joined(c, low, high));

function pshufd(c: Context): void {
  writeVector(c, 0, pick(c, readVector(c, 1), doublewords(c, 0), doublewords(c, 1)));
}
function pshuflw(c: Context): void {
  writeVector(c, 0, pick(c, readVector(c, 1), words(c), c.b.i64(HIGH_WORDS)));
}
function pshufhw(c: Context): void {
  const high = c.op('add', words(c), 0x0808_0808_0808_0808n);
  writeVector(c, 0, pick(c, readVector(c, 1), c.b.i64(LOW_WORDS), high));
}
function pshufw(c: Context): void {
  writeVector(c, 0, pick(c, readVector(c, 1), words(c), words(c)));
}
/** Two elements of the destination, then two of the source. */
function shufps(c: Context): void {
  const low = pick(c, readVector(c, 0), doublewords(c, 0), c.b.i64(0));
  const high = pick(c, readVector(c, 1), doublewords(c, 1), c.b.i64(0));
  writeVector(c, 0, joined(c, lowHalf(c, low), lowHalf(c, high)));
}
function shufpd(c: Context): void {
  const imm = c.read(2);
  const one = (i: 0 | 1): Value => {
    const vector = readVector(c, i);
    return c.b.select(c.bit(imm, i), highHalf(c, vector), lowHalf(c, vector));
  };
  writeVector(c, 0, joined(c, one(0), one(1)));
}

/** 0 to 15 by byte. */
const PLACES = 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100n;
/** The whole register by bytes; what a swizzle cannot find is zero. */
function psrldq(c: Context): void {
  const places = c.b.binary('i8x16.add_sat_u', c.b.const('v128', PLACES), c.b.unary('i8x16.splat', c.low(c.read(1))));
  writeVector(c, 0, c.b.binary('i8x16.swizzle', readVector(c, 0), places));
}
function pslldq(c: Context): void {
  const count = c.low(c.read(1));
  const bounded = c.b.select(c.op('lt_u', count, 16), count, c.b.i32(16));
  const places = c.b.binary('i8x16.sub', c.b.const('v128', PLACES), c.b.unary('i8x16.splat', bounded));
  writeVector(c, 0, c.b.binary('i8x16.swizzle', readVector(c, 0), places));
}

/** The bit position within its half of the word that the immediate names. */
const wordShift = (c: Context): Value => c.op('shl', c.op('and', c.read(2), 3), 4);
/** 1 when that word lies in the high half of an XMM register. */
const inHighHalf = (c: Context): Value => (c.size === 16 ? c.bit(c.read(2), 2) : c.b.i32(0));

function pextrw(c: Context): void {
  const vector = readVector(c, 1);
  const half = c.b.select(inHighHalf(c), highHalf(c, vector), lowHalf(c, vector));
  c.write(0, c.op('and', c.op('shr_u', half, wordShift(c)), 0xffff));
}
function pinsrw(c: Context): void {
  const vector = readVector(c, 0);
  const shift = wordShift(c);
  const word = c.op('shl', c.truncate(c.read(1), 2), shift);
  const hole = c.not(c.op('shl', c.b.i64(0xffff), shift));
  const insert = (half: Value): Value => c.op('or', c.op('and', half, hole), word);
  const [low, high] = [lowHalf(c, vector), highHalf(c, vector)];
  const inHigh = inHighHalf(c);
  writeVector(c, 0, joined(c, c.b.select(inHigh, low, insert(low)), c.b.select(inHigh, insert(high), high)));
}

export const SSE_SHUFFLE: SemanticsTable = {
  ...guardEither({
    punpcklbw: unpack(1, false),
    punpcklwd: unpack(2, false),
    punpckldq: unpack(4, false),
    punpckhbw: unpack(1, true),
    punpckhwd: unpack(2, true),
    punpckhdq: unpack(4, true),
    pinsrw,
    pextrw,
  }),
  ...guardSse({
    punpcklqdq: unpack(8, false),
    punpckhqdq: unpack(8, true),
    unpcklps: unpack(4, false),
    unpckhps: unpack(4, true),
    unpcklpd: unpack(8, false),
    unpckhpd: unpack(8, true),
    pshufd,
    pshuflw,
    pshufhw,
    shufps,
    shufpd,
    psrldq,
    pslldq,
  }),
  ...guardMmx({ pshufw }),
};
