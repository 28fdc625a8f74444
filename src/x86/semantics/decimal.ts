/** Decimal adjustments, which exist outside 64-bit mode only (SDM vol. 2: AAA, AAS, AAM, AAD, DAA, DAS). */
import type { Value } from '../../ir/program.ts';
import { GPR, VECTOR } from '../state.ts';
import type { Context, SemanticsTable } from './context.ts';
import { adjust, carry, setAdjusted } from './flags.ts';

/** Whether the low digit of AL is above 9 or AF is set, as i32. */
function digitOverflows(c: Context, al: Value): Value {
  return c.op('or', c.op('gt_u', c.op('and', al, 15), 9), adjust(c));
}

/** AAA and AAS: 6 and a carry into AH. AAA adds to AX as a whole; AAS takes 6 from AX and 1 from AH. */
function unpacked(c: Context, correction: number): void {
  const ax = c.gpr(GPR.rax, 2);
  const overflows = digitOverflows(c, c.truncate(ax, 1));
  const adjusted = c.b.select(overflows, c.op('add', ax, correction), ax);
  const result = c.op('and', adjusted, 0xff0f);
  c.setGpr(GPR.rax, 2, result);
  setAdjusted(c, result, overflows, overflows);
}

/** DAA and DAS: both digits of AL. */
function packed(c: Context, name: 'add' | 'sub'): void {
  const al = c.gpr(GPR.rax, 1);
  const cf = carry(c);
  const lowOverflows = digitOverflows(c, al);
  const highOverflows = c.op('or', c.op('gt_u', al, 0x99), cf);
  const correct = (value: Value, when: Value, by: number): Value =>
    c.op(name, value, c.b.select(when, c.b.i64(by), c.b.i64(0)));
  const result = correct(correct(al, lowOverflows, 6), highOverflows, 0x60);
  c.setGpr(GPR.rax, 1, result);
  // Only DAS can borrow in the low step without the high one: from AL below 6.
  const borrows = c.op('and', lowOverflows, c.op('lt_u', al, 6));
  setAdjusted(c, result, name === 'sub' ? c.op('or', highOverflows, borrows) : highOverflows, lowOverflows);
}

export const DECIMAL: SemanticsTable = {
  aaa: (c) => unpacked(c, 0x106),
  aas: (c) => unpacked(c, -0x106),
  daa: (c) => packed(c, 'add'),
  das: (c) => packed(c, 'sub'),
  aam(c) {
    const al = c.gpr(GPR.rax, 1);
    const base = c.read(0);
    c.b.raiseIf(c.isZero(base), VECTOR.de);
    const low = c.op('rem_u', al, base);
    c.setGpr(GPR.rax, 2, c.op('or', c.op('shl', c.op('div_u', al, base), 8), low));
    setAdjusted(c, low, c.b.i32(0), c.b.i32(0));
  },
  aad(c) {
    const ax = c.gpr(GPR.rax, 2);
    const tens = c.op('mul', c.op('shr_u', ax, 8), c.read(0));
    const result = c.op('and', c.op('add', ax, tens), 0xff);
    c.setGpr(GPR.rax, 2, result);
    setAdjusted(c, result, c.b.i32(0), c.b.i32(0));
  },
};
