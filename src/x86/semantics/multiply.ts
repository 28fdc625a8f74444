/** Multiplication and division (SDM vol. 2: MUL, IMUL, DIV, IDIV). */
import type { Value } from '../../ir/program.ts';
import { GPR, VECTOR } from '../state.ts';
import { AH, type Context, type SemanticsTable } from './context.ts';
import { setProduct, setQuotient } from './flags.ts';

/** The two halves of a product or dividend: AH:AL, DX:AX, EDX:EAX or RDX:RAX. */
interface Pair {
  readonly high: Value;
  readonly low: Value;
}

function writePair(c: Context, { high, low }: Pair): void {
  c.setGpr(GPR.rax, c.size, low);
  if (c.size === 1) c.b.set(AH, 1, high);
  else c.setGpr(GPR.rdx, c.size, high);
}

/** The upper 64 bits of an unsigned product, from its four 32-bit partial products. */
function highUnsigned(c: Context, a: Value, b: Value): Value {
  const half = (x: Value): [Value, Value] => [c.truncate(x, 4), c.op('shr_u', x, 32)];
  const [a0, a1] = half(a);
  const [b0, b1] = half(b);
  const first = c.op('add', c.op('mul', a1, b0), c.op('shr_u', c.op('mul', a0, b0), 32));
  const second = c.op('add', c.op('mul', a0, b1), c.truncate(first, 4));
  const carried = c.op('add', c.op('shr_u', first, 32), c.op('shr_u', second, 32));
  return c.op('add', c.op('mul', a1, b1), carried);
}
/** A negative factor has counted 2^64 too much of the other. */
function highSigned(c: Context, a: Value, b: Value): Value {
  const excess = (x: Value, of: Value): Value => c.op('and', c.op('shr_s', x, 63), of);
  return c.op('sub', c.op('sub', highUnsigned(c, a, b), excess(a, b)), excess(b, a));
}

function product(c: Context, a: Value, b: Value, signed: boolean): Pair {
  if (c.size === 8) {
    const high = signed ? highSigned(c, a, b) : highUnsigned(c, a, b);
    return { high, low: c.op('mul', a, b) };
  }
  const low = signed ? c.op('mul', c.signExtend(a), c.signExtend(b)) : c.op('mul', a, b);
  return { high: c.op('shr_u', low, c.size * 8), low };
}

/** Whether a signed product does not fit its low half: i32, 0 or 1. */
function exceedsSigned(c: Context, { high, low }: Pair): Value {
  if (c.size === 8) return c.op('ne', high, c.op('shr_s', low, 63));
  return c.op('ne', low, c.signExtend(low));
}

function multiplyAccumulator(c: Context, signed: boolean): void {
  const pair = product(c, c.gpr(GPR.rax, c.size), c.read(0), signed);
  writePair(c, pair);
  setProduct(c, signed ? exceedsSigned(c, pair) : c.op('ne', c.truncate(pair.high), 0));
}

function imul(c: Context): void {
  const count = c.form.operands.length;
  if (count === 1) {
    multiplyAccumulator(c, true);
    return;
  }
  const pair = product(c, c.read(count - 2), c.read(count - 1), true);
  c.write(0, pair.low);
  setProduct(c, exceedsSigned(c, pair));
}

/** Division of a dividend that fits 64 bits. */
function divideNarrow(c: Context, divisor: Value, signed: boolean): void {
  const bits = c.size * 8;
  let dividend =
    c.size === 1 ? c.gpr(GPR.rax, 2) : c.op('or', c.op('shl', c.gpr(GPR.rdx, c.size), bits), c.gpr(GPR.rax, c.size));
  if (signed) {
    dividend = c.signExtend(dividend, c.size * 2);
    divisor = c.signExtend(divisor);
    // The one quotient that does not even fit 64 bits: -2^63 / -1.
    const extreme = c.op('eq', dividend, 1n << 63n);
    c.b.raiseIf(c.op('and', extreme, c.op('eq', divisor, -1n)), VECTOR.de);
  }
  c.b.raiseIf(c.isZero(divisor), VECTOR.de);
  const low = c.op(signed ? 'div_s' : 'div_u', dividend, divisor);
  const fitting = signed ? c.signExtend(low) : c.truncate(low);
  c.b.raiseIf(c.op('ne', low, fitting), VECTOR.de);
  writePair(c, { low, high: c.op('sub', dividend, c.op('mul', low, divisor)) });
}

/** The quotient of (high:low) / divisor where it fits 64 bits; nearly always the dividend does. The divisor has been checked. */
const quotientOf = (c: Context, high: Value, low: Value, divisor: Value): Value =>
  c.b.callUnless(c.isZero(high), c.op('div_u', low, divisor), 'divide128', high, low, divisor);

function div64(c: Context, divisor: Value): void {
  const low = c.gpr(GPR.rax);
  const high = c.gpr(GPR.rdx);
  // Holds for a divisor of 0 too.
  c.b.raiseIf(c.op('ge_u', high, divisor), VECTOR.de);
  const quotient = quotientOf(c, high, low, divisor);
  writePair(c, { low: quotient, high: c.op('sub', low, c.op('mul', quotient, divisor)) });
}

/** Divides the absolute values and puts the signs back. */
function idiv64(c: Context, divisor: Value): void {
  const low = c.gpr(GPR.rax);
  const high = c.gpr(GPR.rdx);
  const ofDividend = c.op('shr_s', high, 63);
  const ofDivisor = c.op('shr_s', divisor, 63);
  // x ^ sign - sign: two's complement where sign is all ones, over 128 bits for the dividend
  const absolute = (x: Value, sign: Value): Value => c.op('sub', c.op('xor', x, sign), sign);
  const lowAbsolute = absolute(low, ofDividend);
  const carried = c.op('and', c.widen(c.isZero(low)), ofDividend);
  const highAbsolute = c.op('add', c.op('xor', high, ofDividend), carried);
  const divisorAbsolute = absolute(divisor, ofDivisor);
  c.b.raiseIf(c.op('ge_u', highAbsolute, divisorAbsolute), VECTOR.de);
  const magnitude = quotientOf(c, highAbsolute, lowAbsolute, divisorAbsolute);
  const sign = c.op('xor', ofDividend, ofDivisor);
  // -2^63 fits, 2^63 does not.
  const limit = c.op('sub', c.b.i64((1n << 63n) - 1n), sign);
  c.b.raiseIf(c.op('gt_u', magnitude, limit), VECTOR.de);
  const quotient = absolute(magnitude, sign);
  writePair(c, { low: quotient, high: c.op('sub', low, c.op('mul', quotient, divisor)) });
}

function divide(c: Context, signed: boolean): void {
  const divisor = c.read(0);
  if (c.size < 8) divideNarrow(c, divisor, signed);
  else if (signed) idiv64(c, divisor);
  else div64(c, divisor);
  setQuotient(c);
}

export const MULTIPLY: SemanticsTable = {
  mul: (c) => multiplyAccumulator(c, false),
  imul,
  div: (c) => divide(c, false),
  idiv: (c) => divide(c, true),
};
