/**
 * The arithmetic flags of programs: the only place that knows how CF, PF, AF, ZF, SF and OF are kept in (flagsResult,
 * flagsAux). The encoding is defined in ../state.ts.
 *
 * Flags that the manual leaves undefined follow what AMD family 1Ah silicon was measured to do:
 *
 *   MUL IMUL            SF ZF AF PF unchanged
 *   DIV IDIV            CF OF unchanged; AF 1; SF ZF PF 0
 *   SHL SHR SAR         AF 1; OF for every count: SHL CF ^ SF, SHR SAR SF ^ bit n-2 of the result
 *   SHLD SHRD           AF 1; OF: CF ^ SF, and SF ^ bit n-2. 16-bit operands: CF 0 for counts above 16, and OF = CF for
 *                       SHLD counts from 16 on
 *   ROL RCL ROR RCR     OF for every count: CF ^ top bit, and top bit ^ the one below
 *   BT BTS BTR BTC      OF SF AF PF unchanged
 *   BSF BSR             CF OF AF SF 0; PF of the index, or of 0 when the source is zero
 *   AND OR XOR TEST     AF 0
 *   AAA AAS             SF ZF PF OF of the 16-bit sum or difference before AL is cut to a digit
 *   DAA DAS             OF of adding or subtracting the whole correction
 *   AAM                 CF OF AF 0
 *   AAD                 CF OF AF of the 8-bit sum
 */
import type { Value } from '../../ir/program.ts';
import { AUX, FLAG } from '../state.ts';
import { type Context, slotOf } from './context.ts';

const RESULT = slotOf('flagsResult');
const AUX_SLOT = slotOf('flagsAux');

const CARRY = 0x8000_0000;
const CARRY_AND_OVERFLOW = 0xc000_0000;
const SIGN_SHIFT = 16;

const bitNumber = (mask: number): number => 31 - Math.clz32(mask);

/** The two words as values. */
interface Flags {
  /** i64, sign-extended from the operand size. */
  readonly result: Value;
  /** i32 */
  readonly aux: Value;
}

function read(c: Context): Flags {
  return { result: c.b.get(RESULT, 8), aux: c.b.get32(AUX_SLOT) };
}
function readAux(c: Context): Value {
  return c.b.get32(AUX_SLOT);
}
function writeAux(c: Context, aux: Value): void {
  c.b.set(AUX_SLOT, 4, aux);
}
/** Writes both words; where `cond` is given and zero, the flags stay as they are. */
function write(c: Context, flags: Flags, cond: Value | null = null): void {
  if (cond === null) {
    c.b.set(RESULT, 8, flags.result);
    writeAux(c, flags.aux);
    return;
  }
  const old = read(c);
  c.b.set(RESULT, 8, c.b.select(cond, flags.result, old.result));
  writeAux(c, c.b.select(cond, flags.aux, old.aux));
}

// ---- readers --------------------------------------------------------------------------------------------------------

/** CF as i32, 0 or 1. */
export function carry(c: Context): Value {
  return c.op('shr_u', readAux(c), 31);
}
/** AF as i32, 0 or 1. */
export function adjust(c: Context): Value {
  return c.bit(readAux(c), 3);
}
function zero(c: Context): Value {
  return c.isZero(c.b.get(RESULT, 8));
}
function overflow(c: Context): Value {
  const aux = readAux(c);
  return c.op('shr_u', c.op('xor', aux, c.op('shl', aux, 1)), 31);
}
function sign(c: Context): Value {
  const { result, aux } = read(c);
  return c.op('xor', c.low(c.op('shr_u', result, 63)), c.bit(aux, SIGN_SHIFT));
}
/** PF: an even number of ones in the low byte. */
function parity(c: Context): Value {
  const { result, aux } = read(c);
  const byte = c.op('and', c.op('xor', c.low(result), c.op('shr_u', aux, AUX.pdbShift)), 0xff);
  return c.op('xor', c.bit(c.b.unary('i32.popcnt', byte), 0), 1);
}
/** SF ^ OF: the top bits of everything that takes part, in one word. */
function less(c: Context): Value {
  const { result, aux } = read(c);
  const signs = c.op('xor', c.low(c.op('shr_u', result, 32)), c.op('shl', aux, 31 - SIGN_SHIFT));
  return c.op('shr_u', c.op('xor', c.op('xor', signs, aux), c.op('shl', aux, 1)), 31);
}

/** Whether condition code `cc` (0 O to 15 G, SDM vol. 2 appendix B.1.4.7) holds, as i32 0 or 1. */
export function condition(c: Context, cc: number): Value {
  const holds = CONDITIONS[cc >> 1]!(c);
  return (cc & 1) === 0 ? holds : c.isZero(holds);
}

/** O, B, E, BE, S, P, L, LE; every odd code is the opposite of the one before. */
const CONDITIONS: ReadonlyArray<(c: Context) => Value> = [
  overflow,
  carry,
  zero,
  (c) => c.op('or', carry(c), zero(c)),
  sign,
  parity,
  less,
  (c) => c.op('or', less(c), zero(c)),
];

/** The six arithmetic flags at their places in RFLAGS, as i32. */
export function arithmeticWord(c: Context): Value {
  const at = (value: Value, mask: number): Value => c.op('shl', value, bitNumber(mask));
  return [
    at(parity(c), FLAG.pf),
    at(adjust(c), FLAG.af),
    at(zero(c), FLAG.zf),
    at(sign(c), FLAG.sf),
    at(overflow(c), FLAG.of),
  ].reduce((word, flag) => c.op('or', word, flag), carry(c));
}

// ---- whole updates --------------------------------------------------------------------------------------------------

/** Moves the carries out of the top two bits of a `size`-byte operand to bits 31 and 30, the one out of bit 3 to bit 3. */
function placeCarries(c: Context, vector: Value, size: number): Value {
  const low = c.low(vector);
  if (size === 4) return c.op('and', low, CARRY_AND_OVERFLOW + AUX.af);
  const top = size === 8 ? c.low(c.op('shr_u', vector, 32)) : c.op('shl', low, 32 - size * 8);
  return c.op('or', c.op('and', top, CARRY_AND_OVERFLOW), c.op('and', low, AUX.af));
}

/** The borrow out of every bit of `result` = a - b (- borrow): b where a and b differ, result where they agree. */
function borrows(c: Context, a: Value, b: Value, result: Value): Value {
  return c.op('xor', result, c.op('and', c.op('xor', a, b), c.op('xor', b, result)));
}

function ofSubtraction(c: Context, a: Value, b: Value, result: Value): Flags {
  return {
    result: c.signExtend(result),
    aux: placeCarries(c, borrows(c, a, b, result), c.size),
  };
}
/** An addition's carries are the borrows of taking `b` from its result again. */
function ofAddition(c: Context, a: Value, b: Value, result: Value): Flags {
  return {
    result: c.signExtend(result),
    aux: placeCarries(c, borrows(c, result, b, a), c.size),
  };
}

/** Flags of `result` = a + b (+ carry); only the low bits of the operand size count. */
export function setAddition(c: Context, a: Value, b: Value, result: Value): void {
  write(c, ofAddition(c, a, b, result));
}
/** Flags of `result` = a - b (- borrow). */
export function setSubtraction(c: Context, a: Value, b: Value, result: Value): void {
  write(c, ofSubtraction(c, a, b, result));
}
/** Flags of AND, OR, XOR and TEST. */
export function setLogic(c: Context, result: Value): void {
  write(c, { result: c.signExtend(result), aux: c.b.i32(0) });
}

/** `flags` with CF as it was before the instruction and OF its own. */
function keepCarry(c: Context, { result, aux }: Flags): Flags {
  const turned = c.op('and', c.op('xor', aux, readAux(c)), CARRY);
  return { result, aux: c.op('xor', aux, c.op('or', turned, c.op('shr_u', turned, 1))) };
}
/** Flags of INC: those of adding 1, without CF. */
export function setIncrement(c: Context, a: Value, result: Value): void {
  write(c, keepCarry(c, ofAddition(c, a, c.b.i64(1), result)));
}
/** Flags of DEC: those of taking 1 away, without CF. */
export function setDecrement(c: Context, a: Value, result: Value): void {
  write(c, keepCarry(c, ofSubtraction(c, a, c.b.i64(1), result)));
}

/**
 * Flags of a shift: SF, ZF and PF of `result`, CF and OF from bits 31 and 30 of `carries` (CF, and CF ^ OF; its other bits
 * do not matter), AF set. `shifted` (null: always) is zero for a count of 0, which changes no flag.
 */
export function setShift(c: Context, result: Value, carries: Value, shifted: Value | null): void {
  const aux = c.op('or', c.op('and', carries, CARRY_AND_OVERFLOW), AUX.af);
  write(c, { result: c.signExtend(result), aux }, shifted);
}

/** Bits 31 and 30 for {@link setShift} and {@link setRotate} from CF and OF as i32, 0 or 1. */
export function carriesOf(c: Context, cf: Value, of: Value): Value {
  return c.op('or', c.op('shl', cf, 31), c.op('shl', c.op('xor', cf, of), 30));
}

// ---- partial updates ------------------------------------------------------------------------------------------------

/** CF and OF of a rotate from bits 31 and 30 of `carries` (CF, and CF ^ OF), the others unchanged. */
export function setRotate(c: Context, carries: Value, rotated: Value | null): void {
  const old = readAux(c);
  const aux = c.op('or', c.op('and', carries, CARRY_AND_OVERFLOW), c.op('and', old, ~CARRY_AND_OVERFLOW));
  writeAux(c, rotated === null ? aux : c.b.select(rotated, aux, old));
}
/** CF = OF = `overflowed` (i32, 0 or 1), the others unchanged: multiplications. */
export function setProduct(c: Context, overflowed: Value): void {
  setRotate(c, c.op('shl', overflowed, 31), null);
}
/** Flags of a division. */
export function setQuotient(c: Context): void {
  const kept = c.op('and', readAux(c), CARRY_AND_OVERFLOW);
  // A result of 1 is not zero, not negative and of odd parity.
  write(c, { result: c.b.i64(1), aux: c.op('or', kept, AUX.af) });
}
/** CF (i32, 0 or 1), the others unchanged. */
export function setCarry(c: Context, cf: Value): void {
  const old = readAux(c);
  const turned = c.op('and', c.op('xor', old, c.op('shl', cf, 31)), CARRY);
  writeAux(c, c.op('xor', old, c.op('or', turned, c.op('shr_u', turned, 1))));
}
/** ZF (i32, 0 or 1), the others unchanged. */
export function setZero(c: Context, zf: Value): void {
  const pf = parity(c);
  const sf = sign(c);
  const result = c.op('xor', zf, 1);
  // Of the results 0 and 1, 0 has even parity: PDB turns the others.
  const turned = c.op('shl', c.op('xor', pf, zf), AUX.pdbShift);
  const kept = c.op('and', readAux(c), CARRY_AND_OVERFLOW + AUX.af);
  write(c, {
    result: c.widen(result),
    aux: c.op('or', c.op('or', kept, turned), c.op('shl', sf, SIGN_SHIFT)),
  });
}

/** Flags of BSF and BSR: ZF when `source` is zero, PF of `index` (i64; 0 for a zero source), the others 0. */
export function setBitScan(c: Context, source: Value, index: Value): void {
  const found = c.op('xor', c.isZero(source), 1);
  const turned = c.op('and', c.op('xor', c.low(index), found), 0xff);
  write(c, { result: c.widen(found), aux: c.op('shl', turned, AUX.pdbShift) });
}

/**
 * SF, ZF, PF and OF of `result` = `a` name `b` on `size` bytes, CF and AF as given (i32, 0 or 1): the decimal adjustments.
 */
export function setAdjusted(
  c: Context,
  name: 'add' | 'sub',
  [a, b, result]: readonly [Value, Value, Value],
  size: 1 | 2,
  [cf, af]: readonly [Value, Value],
): void {
  const vector = name === 'add' ? borrows(c, result, b, a) : borrows(c, a, b, result);
  const carries = placeCarries(c, vector, size);
  const of = c.op('shr_u', c.op('xor', carries, c.op('shl', carries, 1)), 31);
  const aux = c.op('or', carriesOf(c, cf, of), c.op('shl', af, 3));
  write(c, { result: c.signExtend(result, size), aux });
}

/** SF, ZF, AF, PF and CF from the byte `value` (i64) laid out as the low byte of RFLAGS; OF unchanged (SAHF). */
export function setFromByte(c: Context, value: Value): void {
  const bits = c.low(value);
  const at = (mask: number): Value => c.bit(bits, bitNumber(mask));
  const of = overflow(c);
  const zf = at(FLAG.zf);
  const aux = [
    c.op('shl', at(FLAG.af), 3),
    c.op('shl', at(FLAG.sf), SIGN_SHIFT),
    c.op('shl', c.op('xor', at(FLAG.pf), zf), AUX.pdbShift),
  ].reduce((word, part) => c.op('or', word, part), carriesOf(c, at(FLAG.cf), of));
  write(c, { result: c.widen(c.op('xor', zf, 1)), aux });
}

/** Flags of COMISS and its kin from `relation` (i32, a Relation of ../softfloat/compare.ts): ZF, PF and CF; OF, SF and AF 0. */
export function setComparison(c: Context, relation: Value): void {
  const cf = c.b.select(c.op('lt_u', relation, 2), c.b.i32(CARRY_AND_OVERFLOW), c.b.i32(0));
  // ZF holds for 0 (unordered) and 2 (equal). A result of 0 has even parity, which only equality turns.
  const turned = c.op('shl', c.op('eq', relation, 2), AUX.pdbShift);
  write(c, { result: c.widen(c.op('and', relation, 1)), aux: c.op('or', cf, turned) });
}

/** ZF, CF, SF and OF as given (i32, 0 or 1), AF and PF 0: PTEST and the comparisons of strings. */
export function setTested(c: Context, flags: { zf: Value; cf: Value; sf?: Value; of?: Value }): void {
  const { zf, cf, sf = c.b.i32(0), of = c.b.i32(0) } = flags;
  // Of the results 0 and 1, 0 has even parity, which PDB turns.
  const bits = c.op('or', c.op('shl', sf, SIGN_SHIFT), c.op('shl', zf, AUX.pdbShift));
  write(c, { result: c.widen(c.op('xor', zf, 1)), aux: c.op('or', carriesOf(c, cf, of), bits) });
}
