/**
 * Near branches, calls and returns, and BOUND (SDM vol. 2: JMP, Jcc, JrCXZ, LOOP, CALL, RET, BOUND).
 *
 * A 64-bit indirect target must be canonical, else #GP(0) at the branch; 16- and 32-bit targets are cut to their size.
 * Relative targets are not checked: fetching from a non-canonical target faults there.
 */
import type { Value, Width } from '../../ir/program.ts';
import { GPR, VECTOR } from '../state.ts';
import type { Context, SemanticsTable } from './context.ts';
import { condition } from './flags.ts';
import { Stack } from './stack.ts';

/** Ends the program with a relative branch, taken when `cond` holds (null: always). */
function branch(c: Context, cond: Value | null): void {
  if (c.size !== 2) {
    c.b.branch(cond);
    return;
  }
  const target = c.truncate(c.b.targetRip());
  c.b.jump(cond === null ? target : c.b.select(cond, target, c.b.nextRip()));
}

function requireCanonical(c: Context, target: Value): void {
  if (c.size !== 8) return;
  const canonical = c.op('shr_s', c.op('shl', target, 16), 16);
  c.b.raiseIf(c.op('ne', target, canonical), VECTOR.gp);
}

function call(c: Context): void {
  const stack = new Stack(c);
  stack.push(c.b.nextRip(), c.size);
  stack.commit();
  branch(c, null);
}

function callIndirect(c: Context): void {
  const target = c.read(0);
  requireCanonical(c, target);
  const stack = new Stack(c);
  stack.push(c.b.nextRip(), c.size);
  stack.commit();
  c.b.jump(target);
}

function ret(c: Context, released: Value | null): void {
  const stack = new Stack(c);
  const target = stack.pop(c.size);
  if (released !== null) stack.move(released);
  requireCanonical(c, target);
  stack.commit();
  c.b.jump(target);
}

/** Counts rCX down (32 bits zero-extend) and branches while it is not zero and `also` holds. */
function loop(c: Context, also: Value | null): void {
  const width = c.form.addressSize;
  const count = c.truncate(c.op('sub', c.gpr(GPR.rcx, width), 1), width);
  c.setGpr(GPR.rcx, width, count);
  const left = c.op('ne', count, 0);
  branch(c, also === null ? left : c.op('and', left, also));
}

const EQUAL = 4;

export const CONTROL: SemanticsTable = {
  jmp: (c) => branch(c, null),
  jcc: (c) => branch(c, condition(c, c.form.variant)),
  jcxz: (c) => branch(c, c.isZero(c.gpr(GPR.rcx, c.form.addressSize))),
  loop: (c) => loop(c, null),
  loope: (c) => loop(c, condition(c, EQUAL)),
  loopne: (c) => loop(c, condition(c, EQUAL + 1)),
  jmp_indirect(c) {
    const target = c.read(0);
    requireCanonical(c, target);
    c.b.jump(target);
  },
  call,
  call_indirect: callIndirect,
  ret: (c) => ret(c, null),
  ret_imm: (c) => ret(c, c.read(0)),
  /** #BR when the signed index is outside the two bounds in memory. */
  bound(c) {
    const index = c.signExtend(c.read(0));
    const width = c.size as Width;
    const low = c.signExtend(c.b.load(c.b.linear(), width));
    const high = c.signExtend(c.b.load(c.b.linear(c.b.i64(c.size)), width));
    c.b.raiseIf(c.op('or', c.op('lt_s', index, low), c.op('gt_s', index, high)), VECTOR.br);
  },
};
