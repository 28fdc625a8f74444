/** Rearranging elements (SDM vol. 2: PSHUFD, SHUFPS, PUNPCKLBW, UNPCKLPS, PSLLDQ, PALIGNR, PSHUFB and their kin). */
import type { Value } from '../../../ir/program.ts';
import type { Context, Semantics, SemanticsTable } from '../context.ts';
import { guardEither, guardMmx, guardSse } from './gate.ts';
import { highHalf, joined, lanesConst, lowHalf, PLACES, readVector, splat, writeVector } from './vectors.ts';

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

/** 0 to 15 by byte, each moved up by `count` (i64) as far as 255; what a swizzle cannot find is zero. */
const placesFrom = (c: Context, count: Value): Value =>
  c.b.binary('i8x16.add_sat_u', lanesConst(c, 1, PLACES), splat(c, 1, count));

/** The whole register by bytes. */
function psrldq(c: Context): void {
  writeVector(c, 0, c.b.binary('i8x16.swizzle', readVector(c, 0), placesFrom(c, c.read(1))));
}
function pslldq(c: Context): void {
  const count = c.low(c.read(1));
  const bounded = c.b.select(c.op('lt_u', count, 16), count, c.b.i32(16));
  const places = c.b.binary('i8x16.sub', lanesConst(c, 1, PLACES), c.b.unary('i8x16.splat', bounded));
  writeVector(c, 0, c.b.binary('i8x16.swizzle', readVector(c, 0), places));
}

/** The bytes of destination and source, the source below, from the immediate on. */
function palignr(c: Context): void {
  const places = placesFrom(c, c.read(2));
  const [high, low] = [readVector(c, 0), readVector(c, 1)];
  if (c.size === 8) {
    writeVector(c, 0, c.b.binary('i8x16.swizzle', joined(c, lowHalf(c, low), lowHalf(c, high)), places));
    return;
  }
  const upper = c.b.binary('i8x16.sub', places, splat(c, 1, c.b.i64(16)));
  const part = (vector: Value, at: Value): Value => c.b.binary('i8x16.swizzle', vector, at);
  writeVector(c, 0, c.b.binary('v128.or', part(low, places), part(high, upper)));
}
/** A byte of the destination for each byte of the source, zero where its top bit is set. */
function pshufb(c: Context): void {
  const control = c.b.binary('v128.and', readVector(c, 1), splat(c, 1, c.b.i64(0x80 | (c.size - 1))));
  writeVector(c, 0, c.b.binary('i8x16.swizzle', readVector(c, 0), control));
}

export const SSE_SHUFFLE: SemanticsTable = {
  ...guardEither({
    punpcklbw: unpack(1, false),
    punpcklwd: unpack(2, false),
    punpckldq: unpack(4, false),
    punpckhbw: unpack(1, true),
    punpckhwd: unpack(2, true),
    punpckhdq: unpack(4, true),
    palignr,
    pshufb,
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
