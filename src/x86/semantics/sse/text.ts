/** Comparisons of strings (SDM vol. 2: PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM) over the helper `compareStrings`. */
import type { Value } from '../../../ir/program.ts';
import { GPR } from '../../state.ts';
import { type Context, type Semantics, type SemanticsTable, slotOf } from '../context.ts';
import { setTested } from '../flags.ts';
import { guardSse } from './gate.ts';
import { lanesConst, lanesOfBits, zeroExtended } from './vectors.ts';

/** One bit an element (i32), the number of elements (i32) and the immediate (i64). */
interface Compared {
  readonly bits: Value;
  readonly elements: Value;
  readonly imm: Value;
}

/** The absolute value of the register operand `i`, at most `elements`. */
function explicitLength(c: Context, i: number, elements: Value): Value {
  const signed = c.signExtend(c.read(i), c.operand(i).width);
  const sign = c.op('shr_s', signed, 63);
  const length = c.op('sub', c.op('xor', signed, sign), sign);
  return c.b.select(c.op('lt_u', length, c.widen(elements)), c.low(length), elements);
}

/** Compares and sets the flags; the source need not be aligned. */
function compare(c: Context, explicit: boolean): Compared {
  const [a, b, imm] = [c.read(0), c.read(1), c.read(2)];
  const control = c.low(imm);
  const elements = c.op('shr_u', c.b.i32(16), c.op('and', control, 1));
  const length = (operand: number, vector: Value): Value =>
    explicit ? explicitLength(c, operand, elements) : c.b.call('stringLength', 'i32', vector, control);
  const [lengthA, lengthB] = [length(3, a), length(4, b)];
  const bits = c.b.call('compareStrings', 'i32', a, b, lengthA, lengthB, control);
  setTested(c, {
    zf: c.op('lt_u', lengthB, elements),
    cf: c.op('ne', bits, 0),
    sf: c.op('lt_u', lengthA, elements),
    of: c.bit(bits, 0),
  });
  return { bits, elements, imm };
}

/** ECX: the first or last element whose bit is set, or the number of elements. */
const index =
  (explicit: boolean): Semantics =>
  (c) => {
    const { bits, elements, imm } = compare(c, explicit);
    const first = c.b.unary('i32.ctz', bits);
    const last = c.op('sub', c.b.i32(31), c.b.unary('i32.clz', bits));
    const found = c.b.select(c.bit(imm, 6), last, first);
    c.setGpr(GPR.rcx, 4, c.widen(c.b.select(bits, found, elements)));
  };

const BITS = [1, 2, 4, 8, 16, 32, 64, 128];
/** XMM0: the bits as they are, or ones in their elements. */
const mask =
  (explicit: boolean): Semantics =>
  (c) => {
    const { bits, imm } = compare(c, explicit);
    const plain = zeroExtended(c, c.widen(bits));
    const spread = c.b.shuffle([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1], plain, plain);
    const wanted = lanesConst(c, 1, [...BITS, ...BITS]);
    const bytes = c.b.binary('i8x16.eq', c.b.binary('v128.and', spread, wanted), wanted);
    const words = lanesOfBits(c, 2, c.widen(bits), BITS);
    const ones = c.b.select(c.bit(imm, 0), words, bytes);
    c.b.set(slotOf('xmm', 0), 16, c.b.select(c.bit(imm, 6), ones, plain));
  };

export const SSE_TEXT: SemanticsTable = guardSse({
  pcmpestri: index(true),
  pcmpestrm: mask(true),
  pcmpistri: index(false),
  pcmpistrm: mask(false),
});
