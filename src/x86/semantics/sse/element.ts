/** Single elements in and out of vectors, and choosing between two vectors (SDM vol. 2: PINSRB, PEXTRB, INSERTPS, BLENDPS and their kin). */
import type { Value } from '../../../ir/program.ts';
import { type Context, type Semantics, type SemanticsTable, slotOf } from '../context.ts';
import { guardEither, guardSse } from './gate.ts';
import {
  blend,
  type ElementBytes,
  lanesConst,
  lanesOfBits,
  lowHalf,
  PLACES,
  readVector,
  SHAPE,
  splat,
  writeVector,
} from './vectors.ts';

/** The element that the immediate names, counted modulo the elements of the register. */
const elementNumber = (c: Context, bytes: number): Value => c.op('and', c.read(2), c.size / bytes - 1);

/** The element of `bytes` bytes that the immediate names; a general register is zero-extended. */
function extract(c: Context, bytes: number): void {
  const at = splat(c, 1, c.op('mul', elementNumber(c, bytes), bytes));
  const places = c.b.binary('i8x16.add', lanesConst(c, 1, PLACES), at);
  const moved = c.b.binary('i8x16.swizzle', readVector(c, 1), places);
  c.write(0, c.truncate(lowHalf(c, moved), bytes));
}

/** Ones in lane `number` (i64). */
const onlyLane = (c: Context, bytes: ElementBytes, number: Value): Value =>
  c.b.binary(`${SHAPE[bytes]}.eq`, splat(c, bytes, number), lanesConst(c, bytes, PLACES.slice(0, 16 / bytes)));

function insert(c: Context, bytes: ElementBytes): void {
  const mask = onlyLane(c, bytes, elementNumber(c, bytes));
  writeVector(c, 0, blend(c, mask, splat(c, bytes, c.read(1)), readVector(c, 0)));
}

const DOUBLEWORD_BITS = [1, 2, 4, 8];
const WORD_BITS = [1, 2, 4, 8, 16, 32, 64, 128];
const QUADWORD_BITS = [1, 1, 2, 2];

/** The element of a register that bits 7:6 name, in every lane; memory holds the element alone. */
function chosen(c: Context, imm: Value): Value {
  if (c.isMemory(1)) return splat(c, 4, c.read(1));
  const first = c.op('shl', c.op('and', c.op('shr_u', imm, 6), 3), 2);
  const places = lanesConst(
    c,
    1,
    PLACES.map((i) => i & 3),
  );
  const register = c.b.get({ kind: 'field', field: 'm', delta: 0 }, 16);
  return c.b.binary('i8x16.swizzle', register, c.b.binary('i8x16.add', places, splat(c, 1, first)));
}
/** Into the lane that bits 5:4 name; the lanes in bits 3:0 become zero. */
function insertps(c: Context): void {
  const imm = c.read(2);
  const lane = c.op('and', c.op('shr_u', imm, 4), 3);
  const inserted = blend(c, onlyLane(c, 4, lane), chosen(c, imm), readVector(c, 0));
  c.write(0, c.b.binary('v128.andnot', inserted, lanesOfBits(c, 4, imm, DOUBLEWORD_BITS)));
}

/** The source in the lanes whose bit of the immediate is set. */
const blendByImmediate =
  (bytes: 2 | 4, bits: readonly number[]): Semantics =>
  (c) => {
    const source = readVector(c, 1);
    c.write(0, blend(c, lanesOfBits(c, bytes, c.read(2), bits), source, readVector(c, 0)));
  };
/** The source in the lanes whose sign is set in XMM0. */
const blendBySign =
  (bytes: 1 | 4 | 8): Semantics =>
  (c) => {
    const source = readVector(c, 1);
    const signs = c.b.binary(`${SHAPE[bytes]}.gt_s`, c.b.const('v128', 0), c.b.get(slotOf('xmm', 0), 16));
    c.write(0, blend(c, signs, source, readVector(c, 0)));
  };

export const SSE_ELEMENT: SemanticsTable = {
  ...guardEither({
    pinsrw: (c) => insert(c, 2),
    pextrw: (c) => extract(c, 2),
  }),
  ...guardSse({
    pinsrb: (c) => insert(c, 1),
    /** PINSRD, or PINSRQ with REX.W. */
    pinsrd: (c) => insert(c, c.operand(1).width as 4 | 8),
    pextrb: (c) => extract(c, 1),
    pextrd: (c) => extract(c, c.operand(0).width),
    extractps: (c) => extract(c, 4),
    insertps,
    blendps: blendByImmediate(4, DOUBLEWORD_BITS),
    blendpd: blendByImmediate(4, QUADWORD_BITS),
    pblendw: blendByImmediate(2, WORD_BITS),
    pblendvb: blendBySign(1),
    blendvps: blendBySign(4),
    blendvpd: blendBySign(8),
  }),
};
