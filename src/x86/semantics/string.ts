/**
 * String instructions (SDM vol. 2: MOVS, STOS, LODS, SCAS, CMPS): one iteration, and REP as a driver around it.
 *
 * A REP with a count of 0 is one step without memory access. Otherwise a step is one iteration; the instruction repeats while the
 * count, taken down, is not zero and the REPE/REPNE condition holds. A fault leaves rCX, rSI and rDI of its iteration.
 *
 * Record fields: the source is the memory operand (base rSI) of MOVS, CMPS and LODS, the destination that (base rDI) of STOS
 * and SCAS; where both exist, `r` is the state offset of the base of ES, or of ZERO in 64-bit mode.
 */
import type { Value, Width } from '../../ir/program.ts';
import { ATTR } from '../record.ts';
import { FLAG, GPR } from '../state.ts';
import { type Context, type SemanticsTable, slotOf } from './context.ts';
import { setSubtraction } from './flags.ts';

/** ES:rDI of instructions whose memory operand is the source. */
function destination(c: Context): Value {
  const offset = c.gpr(GPR.rdi, c.form.addressSize);
  if (c.form.addressSize === 8) return offset;
  const linear = c.op('add', offset, c.b.get({ kind: 'field', field: 'r', delta: 0 }, 8));
  const narrow = c.op('and', c.b.field('attr'), ATTR.linear32);
  return c.b.select(narrow, c.truncate(linear, 4), linear);
}

/** Queues rSI and rDI moving on by one element in the direction of DF. */
function advance(c: Context, ...registers: number[]): void {
  const down = c.op('and', c.b.get32(slotOf('rflags')), FLAG.df);
  const step = c.b.select(down, c.b.i64(-c.size), c.b.i64(c.size));
  const width = c.form.addressSize;
  for (const register of registers) c.setGpr(register, width, c.op('add', c.gpr(register, width), step));
}

/** Records one iteration within the REP driver; `iteration` returns the condition to go on (null: only the count). */
function repeated(c: Context, iteration: () => Value | null): void {
  if (c.form.rep === 0) {
    iteration();
    return;
  }
  const width = c.form.addressSize;
  const count = c.gpr(GPR.rcx, width);
  c.b.completeIf(c.isZero(count));
  const goesOn = iteration();
  c.setGpr(GPR.rcx, width, c.op('sub', count, 1));
  const more = c.op('ne', count, 1);
  c.b.repeatIf(goesOn === null ? more : c.op('and', more, goesOn));
}

/** Compares as CMP does and returns the REPE or REPNE condition. */
function compare(c: Context, a: Value, b: Value): Value {
  setSubtraction(c, a, b, c.op('sub', a, b));
  return c.op(c.form.rep === 2 ? 'ne' : 'eq', a, b);
}

const load = (c: Context, address: Value): Value => c.b.load(address, c.size as Width);

export const STRING: SemanticsTable = {
  movs: (c) =>
    repeated(c, () => {
      c.b.store(destination(c), c.size as Width, load(c, c.b.linear()));
      advance(c, GPR.rsi, GPR.rdi);
      return null;
    }),
  stos: (c) =>
    repeated(c, () => {
      c.b.store(c.b.linear(), c.size as Width, c.gpr(GPR.rax, c.size));
      advance(c, GPR.rdi);
      return null;
    }),
  lods: (c) =>
    repeated(c, () => {
      c.setGpr(GPR.rax, c.size, load(c, c.b.linear()));
      advance(c, GPR.rsi);
      return null;
    }),
  scas: (c) =>
    repeated(c, () => {
      const goesOn = compare(c, c.gpr(GPR.rax, c.size), load(c, c.b.linear()));
      advance(c, GPR.rdi);
      return goesOn;
    }),
  cmps: (c) =>
    repeated(c, () => {
      const goesOn = compare(c, load(c, c.b.linear()), load(c, destination(c)));
      advance(c, GPR.rsi, GPR.rdi);
      return goesOn;
    }),
};
