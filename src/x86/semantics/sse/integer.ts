/** Packed integer arithmetic, logic and shifts on XMM and MMX registers (SDM vol. 2: PADDB to PXOR, ANDPS to XORPS, PTEST). */
import type { BinaryOp, Value } from '../../../ir/program.ts';
import type { Context, Semantics, SemanticsTable } from '../context.ts';
import { setTested } from '../flags.ts';
import { guardEither, guardSse } from './gate.ts';
import { highHalf, joined, lowHalf, readVector, writeVector } from './vectors.ts';

type Combine = (c: Context, a: Value, b: Value) => Value;

/** Destination and source, combined into the destination. */
const combine =
  (body: Combine): Semantics =>
  (c) =>
    writeVector(c, 0, body(c, readVector(c, 0), readVector(c, 1)));
const lanes = (name: BinaryOp): Semantics => combine((c, a, b) => c.b.binary(name, a, b));
const andNot = combine((c, a, b) => c.b.binary('v128.andnot', b, a));

/** Narrowing takes its lanes from destination, then source; MMX has four bytes of each. */
const narrow = (name: BinaryOp): Semantics =>
  combine((c, a, b) => {
    if (c.size === 16) return c.b.binary(name, a, b);
    const both = joined(c, lowHalf(c, a), lowHalf(c, b));
    return c.b.binary(name, both, both);
  });

/** The high words of eight 32-bit products. */
const HIGH_WORDS = [2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31];
const highProduct = (low: BinaryOp, high: BinaryOp): Semantics =>
  combine((c, a, b) => c.b.shuffle(HIGH_WORDS, c.b.binary(low, a, b), c.b.binary(high, a, b)));

/** Doublewords 0 and 2 in the low half. */
const EVEN_DOUBLEWORDS = [0, 1, 2, 3, 8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11];
const pmuludq = combine((c, a, b) => {
  const even = (x: Value): Value => c.b.shuffle(EVEN_DOUBLEWORDS, x, x);
  return c.b.binary('i64x2.extmul_low_i32x4_u', even(a), even(b));
});

/** Sums of the absolute differences of eight bytes. */
const psadbw = combine((c, a, b) => {
  const difference = c.b.binary('v128.or', c.b.binary('i8x16.sub_sat_u', a, b), c.b.binary('i8x16.sub_sat_u', b, a));
  const odd = c.b.binary('i16x8.shr_u', difference, c.b.i32(8));
  const even = c.b.binary('v128.and', difference, c.b.unary('i16x8.splat', c.b.i32(0xff)));
  const words = c.b.binary('i16x8.add', odd, even);
  // The top word of the product with 0x0001000100010001 is the sum of the four words.
  const sum = (half: Value): Value => c.op('shr_u', c.op('mul', half, 0x0001_0001_0001_0001n), 48);
  return joined(c, sum(lowHalf(c, words)), sum(highHalf(c, words)));
});

/** Doublewords 0 and 2, sign-extended. */
const pmuldq = combine((c, a, b) => {
  const even = (x: Value): Value => c.b.shuffle(EVEN_DOUBLEWORDS, x, x);
  return c.b.binary('i64x2.extmul_low_i32x4_s', even(a), even(b));
});

/** The low words of eight doublewords. */
const LOW_WORDS = HIGH_WORDS.map((i) => i - 2);
/** Bits 30 to 15 of the products, rounded to nearest. */
const pmulhrsw = combine((c, a, b) => {
  const rounded = (product: Value): Value => {
    const shifted = c.b.binary('i32x4.shr_s', product, c.b.i32(14));
    const above = c.b.binary('i32x4.add', shifted, c.b.unary('i32x4.splat', c.b.i32(1)));
    return c.b.binary('i32x4.shr_s', above, c.b.i32(1));
  };
  const low = rounded(c.b.binary('i32x4.extmul_low_i16x8_s', a, b));
  return c.b.shuffle(LOW_WORDS, low, rounded(c.b.binary('i32x4.extmul_high_i16x8_s', a, b)));
});

/** The destination, negated or zero as the source says. */
const sign = (shape: 'i8x16' | 'i16x8' | 'i32x4'): Semantics =>
  combine((c, a, b) => {
    const none = c.b.const('v128', 0);
    const negative = c.b.binary(`${shape}.gt_s`, none, b);
    const turned = c.b.binary(`${shape}.sub`, c.b.binary('v128.xor', a, negative), negative);
    return c.b.binary('v128.andnot', turned, c.b.binary(`${shape}.eq`, b, none));
  });
const absolute = (shape: 'i8x16' | 'i16x8' | 'i32x4'): Semantics => {
  return (c) => writeVector(c, 0, c.b.unary(`${shape}.abs`, readVector(c, 1)));
};

/** ZF: no bit is set in both. CF: every bit of the source is set in the destination. */
function ptest(c: Context): void {
  const [a, b] = [readVector(c, 0), readVector(c, 1)];
  const none = (x: Value): Value => c.isZero(c.b.unary('v128.any_true', x));
  setTested(c, { zf: none(c.b.binary('v128.and', b, a)), cf: none(c.b.binary('v128.andnot', b, a)) });
}

type Shape = 'i16x8' | 'i32x4' | 'i64x2';
const SHAPE_BITS = { i16x8: 16, i32x4: 32, i64x2: 64 } as const;

/** The count: an immediate, or the low 64 bits of a register or memory operand. */
function countOf(c: Context): Value {
  const count = c.read(1, c.operand(1).width === 16);
  return count.type === 'v128' ? lowHalf(c, count) : count;
}
/** Logical shifts give zero for a count that reaches the width. */
const logical = (shape: Shape, direction: 'shl' | 'shr_u'): Semantics => {
  const bits = SHAPE_BITS[shape];
  return (c) => {
    const count = countOf(c);
    const shifted = c.b.binary(`${shape}.${direction}`, readVector(c, 0), c.op('and', c.low(count), bits - 1));
    writeVector(c, 0, c.b.select(c.op('lt_u', count, bits), shifted, c.b.const('v128', 0)));
  };
};
/** Arithmetic shifts fill with the sign for a count that reaches the width. */
const arithmetic = (shape: 'i16x8' | 'i32x4'): Semantics => {
  const top = SHAPE_BITS[shape] - 1;
  return (c) => {
    const count = countOf(c);
    const bounded = c.b.select(c.op('lt_u', count, top), c.low(count), c.b.i32(top));
    writeVector(c, 0, c.b.binary(`${shape}.shr_s`, readVector(c, 0), bounded));
  };
};

export const SSE_INTEGER: SemanticsTable = {
  ...guardEither({
    paddb: lanes('i8x16.add'),
    paddw: lanes('i16x8.add'),
    paddd: lanes('i32x4.add'),
    paddq: lanes('i64x2.add'),
    psubb: lanes('i8x16.sub'),
    psubw: lanes('i16x8.sub'),
    psubd: lanes('i32x4.sub'),
    psubq: lanes('i64x2.sub'),
    paddsb: lanes('i8x16.add_sat_s'),
    paddsw: lanes('i16x8.add_sat_s'),
    paddusb: lanes('i8x16.add_sat_u'),
    paddusw: lanes('i16x8.add_sat_u'),
    psubsb: lanes('i8x16.sub_sat_s'),
    psubsw: lanes('i16x8.sub_sat_s'),
    psubusb: lanes('i8x16.sub_sat_u'),
    psubusw: lanes('i16x8.sub_sat_u'),
    pmullw: lanes('i16x8.mul'),
    pmulhw: highProduct('i32x4.extmul_low_i16x8_s', 'i32x4.extmul_high_i16x8_s'),
    pmulhuw: highProduct('i32x4.extmul_low_i16x8_u', 'i32x4.extmul_high_i16x8_u'),
    pmuludq,
    pmaddwd: lanes('i32x4.dot_i16x8_s'),
    psadbw,
    pavgb: lanes('i8x16.avgr_u'),
    pavgw: lanes('i16x8.avgr_u'),
    pminub: lanes('i8x16.min_u'),
    pmaxub: lanes('i8x16.max_u'),
    pminsw: lanes('i16x8.min_s'),
    pmaxsw: lanes('i16x8.max_s'),
    pcmpeqb: lanes('i8x16.eq'),
    pcmpeqw: lanes('i16x8.eq'),
    pcmpeqd: lanes('i32x4.eq'),
    pcmpgtb: lanes('i8x16.gt_s'),
    pcmpgtw: lanes('i16x8.gt_s'),
    pcmpgtd: lanes('i32x4.gt_s'),
    packsswb: narrow('i8x16.narrow_i16x8_s'),
    packuswb: narrow('i8x16.narrow_i16x8_u'),
    packssdw: narrow('i16x8.narrow_i32x4_s'),
    pand: lanes('v128.and'),
    pandn: andNot,
    por: lanes('v128.or'),
    pxor: lanes('v128.xor'),
    psllw: logical('i16x8', 'shl'),
    pslld: logical('i32x4', 'shl'),
    psllq: logical('i64x2', 'shl'),
    psrlw: logical('i16x8', 'shr_u'),
    psrld: logical('i32x4', 'shr_u'),
    psrlq: logical('i64x2', 'shr_u'),
    psraw: arithmetic('i16x8'),
    psrad: arithmetic('i32x4'),
    psignb: sign('i8x16'),
    psignw: sign('i16x8'),
    psignd: sign('i32x4'),
    pabsb: absolute('i8x16'),
    pabsw: absolute('i16x8'),
    pabsd: absolute('i32x4'),
    pmulhrsw,
  }),
  ...guardSse({
    pmuldq,
    pmulld: lanes('i32x4.mul'),
    pcmpeqq: lanes('i64x2.eq'),
    pcmpgtq: lanes('i64x2.gt_s'),
    packusdw: narrow('i16x8.narrow_i32x4_u'),
    pminsb: lanes('i8x16.min_s'),
    pminuw: lanes('i16x8.min_u'),
    pminsd: lanes('i32x4.min_s'),
    pminud: lanes('i32x4.min_u'),
    pmaxsb: lanes('i8x16.max_s'),
    pmaxuw: lanes('i16x8.max_u'),
    pmaxsd: lanes('i32x4.max_s'),
    pmaxud: lanes('i32x4.max_u'),
    ptest,
    andps: lanes('v128.and'),
    andpd: lanes('v128.and'),
    andnps: andNot,
    andnpd: andNot,
    orps: lanes('v128.or'),
    orpd: lanes('v128.or'),
    xorps: lanes('v128.xor'),
    xorpd: lanes('v128.xor'),
  }),
};
