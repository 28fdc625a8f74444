/**
 * The stack (SDM vol. 2: PUSH, POP, PUSHA, POPA, PUSHF, LEAVE).
 *
 * The stack pointer is as wide as the stack's address size (form.stackSize): only those bits of rSP take part and change.
 * The base of SS is added outside 64-bit mode, where the address size is not 8. Non-canonical addresses raise #SS(0).
 */
import type { Value, Width } from '../../ir/program.ts';
import { FLAG, GPR, STATE } from '../state.ts';
import { type Context, type SemanticsTable, slotOf } from './context.ts';
import { arithmeticWord } from './flags.ts';

/** The stack during one instruction: pushes and pops move a pointer that is written once, by {@link Stack.commit}. */
export class Stack {
  readonly #c: Context;
  /** Untruncated pointer. */
  #pointer: Value;

  /** Starts at rSP, or where `pointer` says (LEAVE). */
  constructor(c: Context, pointer: Value = c.gpr(GPR.rsp)) {
    this.#c = c;
    this.#pointer = pointer;
  }

  /** Linear address of the stack offset `offset`. */
  addressOf(offset: Value): Value {
    const c = this.#c;
    const { stackSize } = c.form;
    if (stackSize === 8) return offset;
    return c.truncate(c.op('add', c.truncate(offset, stackSize), c.segmentBase('ss')), 4);
  }
  move(bytes: number | Value): void {
    this.#pointer = this.#c.op('add', this.#pointer, bytes);
  }
  /** Queues the store of the low `width` bytes of `value` below the pointer. */
  push(value: Value, width: number): void {
    this.move(-width);
    this.#c.b.store(this.addressOf(this.#pointer), width as Width, value, false, true);
  }
  pop(width: number): Value {
    const value = this.#c.b.load(this.addressOf(this.#pointer), width as Width, false, true);
    this.move(width);
    return value;
  }
  /** Queues the write of rSP. */
  commit(): void {
    this.#c.setGpr(GPR.rsp, this.#c.form.stackSize, this.#pointer);
  }
}

function push(c: Context, value: Value): void {
  const stack = new Stack(c);
  stack.push(value, c.size);
  stack.commit();
}

/** POP. A destination in memory is addressed with rSP as it is after the pop. */
function pop(c: Context): void {
  const stack = new Stack(c);
  const value = stack.pop(c.size);
  stack.commit();
  if (!c.isMemory(0)) {
    c.write(0, value);
    return;
  }
  const overStack = c.op('eq', c.b.field('base'), STATE.gpr.offset + GPR.rsp * 8);
  const moved = c.b.select(overStack, c.b.i64(c.size), c.b.i64(0));
  c.b.store(c.b.linear(moved), c.size as Width, value);
}

function pusha(c: Context): void {
  const stack = new Stack(c);
  for (let n = GPR.rax; n <= GPR.rdi; n++) stack.push(c.gpr(n), c.size);
  stack.commit();
}

/** The image of rSP is skipped. */
function popa(c: Context): void {
  const stack = new Stack(c);
  for (let n: number = GPR.rdi; n >= GPR.rax; n--) {
    const value = stack.pop(c.size);
    if (n !== GPR.rsp) c.setGpr(n, c.size, value);
  }
  stack.commit();
}

/** RF and VM read as clear. */
function pushf(c: Context): void {
  const others = c.op('and', c.b.get32(slotOf('rflags')), ~(FLAG.rf | FLAG.vm));
  push(c, c.widen(c.op('or', others, arithmeticWord(c))));
}

function leave(c: Context): void {
  const stack = new Stack(c, c.gpr(GPR.rbp));
  const frame = stack.pop(c.size);
  stack.commit();
  c.setGpr(GPR.rbp, c.size, frame);
}

export const STACK: SemanticsTable = {
  push: (c) => push(c, c.read(0)),
  /** The selector is zero-extended to the operand size. */
  push_sreg: (c) => push(c, c.read(0)),
  pop,
  pusha,
  popa,
  pushf,
  leave,
};
