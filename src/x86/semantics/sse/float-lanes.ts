/** Floating point across the lanes of a register, and rounding (SDM vol. 2: HADDPS, HSUBPS, ADDSUBPS, DPPS, ROUNDPS and their kin). */
import type { Value } from '../../../ir/program.ts';
import type { Context, Semantics, SemanticsTable } from '../context.ts';
import { compute, MASKS_SHIFT, MXCSR, number, packed, raise } from './float.ts';
import { guardSse } from './gate.ts';
import { blend, type ElementBytes, everyOther, lanesConst, lanesOfBits, readVector } from './vectors.ts';

/** The suffixes of the helpers' operations on single and double precision. */
type Precision = 'SS' | 'SD';
const bytesOf = (precision: Precision): 4 | 8 => (precision === 'SS' ? 4 : 8);

/** HADD and HSUB: each even element and the odd one above it, those of the destination first. */
const horizontal =
  (name: 'ADD' | 'SUB', precision: Precision): Semantics =>
  (c) => {
    const [a, b] = [readVector(c, 0), readVector(c, 1)];
    const every = (odd: boolean): Value => c.b.shuffle(everyOther(bytesOf(precision), 16, odd), a, b);
    c.write(0, packed(c, name + precision, every(false), every(true)));
  };

/** Exceptions found before the computation, the lowest three bits: an unmasked one hides the others of all lanes. */
const EARLY = 7;
function prioritized(c: Context, flags: Value): Value {
  const masks = c.op('shr_u', c.b.get32(MXCSR), MASKS_SHIFT);
  const early = c.op('and', flags, EARLY);
  return c.b.select(c.op('and', early, c.not(masks)), early, flags);
}
/** Ones in the even elements. */
const evenElements = (c: Context, bytes: ElementBytes): Value =>
  lanesConst(c, bytes, bytes === 4 ? [-1, 0, -1, 0] : [-1, 0]);
/** Subtracts the even elements and adds the odd ones; the lanes of zeros in between raise nothing. */
const addSubtract =
  (precision: Precision): Semantics =>
  (c) => {
    const [a, b] = [readVector(c, 0), readVector(c, 1)];
    const even = evenElements(c, bytesOf(precision));
    const evenOf = (x: Value): Value => c.b.binary('v128.and', x, even);
    const oddOf = (x: Value): Value => c.b.binary('v128.andnot', x, even);
    const difference = compute(c, `SUB${precision}`, evenOf(a), evenOf(b));
    const sum = compute(c, `ADD${precision}`, oddOf(a), oddOf(b));
    raise(c, prioritized(c, c.op('or', difference.flags, sum.flags)));
    c.write(0, blend(c, even, difference.value, sum.value));
  };

/** Bits of the immediate for each doubleword. */
const ELEMENT_BITS = { SS: [1, 2, 4, 8], SD: [1, 1, 2, 2] } as const;
/**
 * Products of the elements in imm8 7:4, the sums of their pairs, for DPPS the sum of these; written to the elements in imm8
 * 3:0, zero to the others. Each step raises what it finds before the next one is done.
 */
const dotProduct =
  (precision: Precision): Semantics =>
  (c) => {
    const [a, b] = [readVector(c, 0), readVector(c, 1)];
    const imm = c.read(2);
    const bytes = bytesOf(precision);
    const none = c.b.const('v128', 0);
    const selected = (shift: number): Value =>
      lanesOfBits(
        c,
        4,
        imm,
        ELEMENT_BITS[precision].map((bit) => bit << shift),
      );
    const factors = selected(4);
    const used = (x: Value): Value => c.b.binary('v128.and', x, factors);
    let { value, flags } = compute(c, `MUL${precision}`, used(a), used(b));
    raise(c, flags);
    for (let terms = 16 / bytes; terms > 1; terms /= 2) {
      const even = c.b.shuffle(everyOther(bytes, 16, false), value, none);
      const odd = c.b.shuffle(everyOther(bytes, 16, true), value, none);
      const sum = compute(c, `ADD${precision}`, even, odd);
      flags = c.op('or', flags, sum.flags);
      raise(c, flags);
      value = sum.value;
    }
    const first = Array.from({ length: 16 }, (_, i) => i % bytes);
    c.write(0, c.b.binary('v128.and', c.b.shuffle(first, value, value), selected(0)));
  };

/** MXCSR.RC is bits 14:13, PE bit 5. */
const RC_SHIFT = 13;
const RC = 3 << RC_SHIFT;
const PE_SHIFT = 5;
/** MXCSR with the rounding control that imm8 1:0 names, unless bit 2 says to use MXCSR's own. */
function roundingControl(c: Context, imm: Value): Value {
  const mxcsr = c.b.get32(MXCSR);
  const named = c.op('or', c.op('and', mxcsr, ~RC), c.op('shl', c.op('and', imm, 3), RC_SHIFT));
  return c.b.select(c.bit(imm, 2), mxcsr, named);
}
/** Raises `flags`, without the precision exception where imm8 bit 3 is set. */
const raiseRounding = (c: Context, imm: Value, flags: Value): void =>
  raise(c, c.op('and', flags, c.not(c.op('shl', c.bit(imm, 3), PE_SHIFT))));
const roundScalar =
  (precision: Precision): Semantics =>
  (c) => {
    const imm = c.low(c.read(2));
    const args = [number(c, `ROUND${precision}`), c.read(1), c.b.i64(0), roundingControl(c, imm)];
    const value = c.b.call('sseValue', 'i64', ...args);
    raiseRounding(c, imm, c.b.call('sseFlags', 'i32', ...args));
    c.write(0, value);
  };
const roundPacked =
  (precision: Precision): Semantics =>
  (c) => {
    const imm = c.low(c.read(2));
    const none = c.b.const('v128', 0);
    const { value, flags } = compute(c, `ROUND${precision}`, readVector(c, 1), none, roundingControl(c, imm));
    raiseRounding(c, imm, flags);
    c.write(0, value);
  };

export const SSE_FLOAT_LANES: SemanticsTable = guardSse({
  haddps: horizontal('ADD', 'SS'),
  haddpd: horizontal('ADD', 'SD'),
  hsubps: horizontal('SUB', 'SS'),
  hsubpd: horizontal('SUB', 'SD'),
  addsubps: addSubtract('SS'),
  addsubpd: addSubtract('SD'),
  dpps: dotProduct('SS'),
  dppd: dotProduct('SD'),
  roundss: roundScalar('SS'),
  roundsd: roundScalar('SD'),
  roundps: roundPacked('SS'),
  roundpd: roundPacked('SD'),
});
