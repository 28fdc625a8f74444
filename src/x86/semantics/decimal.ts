/** Decimal adjustments, which exist outside 64-bit mode only (SDM vol. 2: AAA, AAS, AAM, AAD, DAA, DAS). */
import type { Value } from '../../ir/program.ts';
import { GPR, VECTOR } from '../state.ts';
import type { Context, SemanticsTable } from './context.ts';
import { adjust, carry, setAddition, setAdjusted, setLogic } from './flags.ts';

/** Whether the low digit of AL is above 9 or AF is set, as i32. */
function digitOverflows(c: Context, al: Value): Value {
  return c.op('or', c.op('gt_u', c.op('and', al, 15), 9), adjust(c));
}

/** AAA and AAS: 6 and a carry into AH, as one 16-bit sum or difference; AL keeps one digit. */
function unpacked(c: Context, name: 'add' | 'sub'): void {
  const ax = c.gpr(GPR.rax, 2);
  const overflows = digitOverflows(c, c.truncate(ax, 1));
  const correction = c.b.select(overflows, c.b.i64(0x106), c.b.i64(0));
  const adjusted = c.op(name, ax, correction);
  c.setGpr(GPR.rax, 2, c.op('and', adjusted, 0xff0f));
  setAdjusted(c, name, [ax, correction, adjusted], 2, [overflows, overflows]);
}

/** DAA and DAS: both digits of AL. */
function packed(c: Context, name: 'add' | 'sub'): void {
  const al = c.gpr(GPR.rax, 1);
  const lowOverflows = digitOverflows(c, al);
  const highOverflows = c.op('or', c.op('gt_u', al, 0x99), carry(c));
  const part = (when: Value, amount: number): Value => c.b.select(when, c.b.i64(amount), c.b.i64(0));
  const correction = c.op('add', part(lowOverflows, 6), part(highOverflows, 0x60));
  const result = c.op(name, al, correction);
  c.setGpr(GPR.rax, 1, result);
  // Only DAS can borrow in the low step without the high one: from AL below 6.
  const borrows = c.op('and', lowOverflows, c.op('lt_u', al, 6));
  const cf = name === 'sub' ? c.op('or', highOverflows, borrows) : highOverflows;
  setAdjusted(c, name, [al, correction, result], 1, [cf, lowOverflows]);
}

export const DECIMAL: SemanticsTable = {
  aaa: (c) => unpacked(c, 'add'),
  aas: (c) => unpacked(c, 'sub'),
  daa: (c) => packed(c, 'add'),
  das: (c) => packed(c, 'sub'),
  aam(c) {
    const al = c.gpr(GPR.rax, 1);
    const base = c.read(0);
    c.b.raiseIf(c.isZero(base), VECTOR.de);
    const low = c.op('rem_u', al, base);
    c.setGpr(GPR.rax, 2, c.op('or', c.op('shl', c.op('div_u', al, base), 8), low));
    setLogic(c, low);
  },
  aad(c) {
    const al = c.gpr(GPR.rax, 1);
    const tens = c.truncate(c.op('mul', c.op('shr_u', c.gpr(GPR.rax, 2), 8), c.read(0)), 1);
    const result = c.op('add', al, tens);
    c.setGpr(GPR.rax, 2, c.truncate(result, 1));
    setAddition(c, al, tens, result);
  },
};
