/** Integer operations across the elements of a register (SDM vol. 2: PHADDW to PHSUBSW, PMADDUBSW, MPSADBW, PHMINPOSUW). */
import type { BinaryOp, Value } from '../../../ir/program.ts';
import type { Context, Semantics, SemanticsTable } from '../context.ts';
import { guardEither, guardSse } from './gate.ts';
import { everyOther, lanesConst, PLACES, readVector, splat, writeVector, zeroExtended } from './vectors.ts';

/** Each even element combined with the odd one above it, those of the destination first. */
const pairs =
  (name: BinaryOp, bytes: 2 | 4): Semantics =>
  (c) => {
    const [a, b] = [readVector(c, 0), readVector(c, 1)];
    const every = (odd: boolean): Value => c.b.shuffle(everyOther(bytes, c.size, odd), a, b);
    writeVector(c, 0, c.b.binary(name, every(false), every(true)));
  };

/** Unsigned bytes of the destination by signed bytes of the source; the two products of a word are added with saturation. */
function pmaddubsw(c: Context): void {
  const [a, b] = [readVector(c, 0), readVector(c, 1)];
  const eight = c.b.i32(8);
  const odd = c.b.binary('i16x8.mul', c.b.binary('i16x8.shr_u', a, eight), c.b.binary('i16x8.shr_s', b, eight));
  const evenA = c.b.binary('v128.and', a, splat(c, 2, c.b.i64(0xff)));
  const evenB = c.b.binary('i16x8.shr_s', c.b.binary('i16x8.shl', b, eight), eight);
  writeVector(c, 0, c.b.binary('i16x8.add_sat_s', c.b.binary('i16x8.mul', evenA, evenB), odd));
}

/** Eight sums of four absolute differences: four bytes of the source against every place of eleven bytes of the destination. */
function mpsadbw(c: Context): void {
  const [a, b] = [readVector(c, 0), readVector(c, 1)];
  const imm = c.read(2);
  const firstA = c.op('and', imm, 4);
  const firstB = c.op('shl', c.op('and', imm, 3), 2);
  const at = (vector: Value, places: Value): Value => c.b.binary('i8x16.swizzle', vector, places);
  const less = (x: Value, y: Value): Value => c.b.binary('i8x16.sub_sat_u', x, y);
  const difference = (k: number): Value => {
    const run = at(a, c.b.binary('i8x16.add', lanesConst(c, 1, PLACES), splat(c, 1, c.op('add', firstA, k))));
    const one = at(b, splat(c, 1, c.op('add', firstB, k)));
    return c.b.unary('i16x8.extend_low_i8x16_u', c.b.binary('v128.or', less(run, one), less(one, run)));
  };
  const sum = (x: Value, y: Value): Value => c.b.binary('i16x8.add', x, y);
  c.write(0, sum(sum(difference(0), difference(1)), sum(difference(2), difference(3))));
}

/** Exchanges of doublewords that bring each to the first place. */
const HALVES_TURNED = [8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7];
const NEIGHBOURS_TURNED = [4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11];

/** The smallest of eight words and, above it, the number of its first place. */
function phminposuw(c: Context): void {
  const words = readVector(c, 1);
  // a word with its number below it: of equal words the first is the smallest
  const numbered = (half: 'low' | 'high', first: number): Value => {
    const wide = c.b.binary('i32x4.shl', c.b.unary(`i32x4.extend_${half}_i16x8_u`, words), c.b.i32(16));
    return c.b.binary('v128.or', wide, lanesConst(c, 4, [first, first + 1, first + 2, first + 3]));
  };
  const least = (x: Value, y: Value): Value => c.b.binary('i32x4.min_u', x, y);
  const four = least(numbered('low', 0), numbered('high', 4));
  const two = least(four, c.b.shuffle(HALVES_TURNED, four, four));
  const one = least(two, c.b.shuffle(NEIGHBOURS_TURNED, two, two));
  c.write(0, zeroExtended(c, c.widen(c.op('rotl', c.b.extract('i32x4', 0, one), 16))));
}

export const SSE_HORIZONTAL: SemanticsTable = {
  ...guardEither({
    phaddw: pairs('i16x8.add', 2),
    phaddd: pairs('i32x4.add', 4),
    phaddsw: pairs('i16x8.add_sat_s', 2),
    phsubw: pairs('i16x8.sub', 2),
    phsubd: pairs('i32x4.sub', 4),
    phsubsw: pairs('i16x8.sub_sat_s', 2),
    pmaddubsw,
  }),
  ...guardSse({ mpsadbw, phminposuw }),
};
