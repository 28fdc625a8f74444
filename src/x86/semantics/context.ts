/**
 * What a semantics function works with: the builder plus the operands of the form it is recording.
 *
 * A semantics function reads like the manual's operation section. All general-register and integer memory values are
 * i64, zero-extended from the operand's width; writes take the low bits.
 */
import { assert } from '../../core/assert.ts';
import type { Builder, WriteToken } from '../../ir/builder.ts';
import type { BinaryOp, StateRef, Value, Width } from '../../ir/program.ts';
import type { Form, OperandForm } from '../form.ts';
import { SEG, type SlotName, STATE } from '../state.ts';

/** The slot of element `index` of a state array. */
export function slotOf(name: SlotName, index = 0): StateRef {
  const info = STATE[name];
  const width = { u8: 1, u16: 2, u32: 4, u64: 8, u128: 16 }[info.type];
  assert(index < info.count, `${name} has ${info.count} elements`);
  return { kind: 'slot', offset: info.offset + index * width };
}

/** AH. */
export const AH: StateRef = { kind: 'slot', offset: STATE.gpr.offset + 1 };

/** Scalar binary operations without their type, which is that of the operands. */
export type ScalarOp = BinaryOp extends infer N ? (N extends `i64.${infer S}` ? S : never) : never;

/** A read-modify-write access: the old value, and the queued write of the new one. */
export interface ReadModifyWrite {
  readonly old: Value;
  write(value: Value): void;
}

export class Context {
  readonly b: Builder;
  readonly form: Form;
  /** Operand size in bytes. */
  readonly size: number;

  constructor(b: Builder, form: Form) {
    this.b = b;
    this.form = form;
    this.size = form.size;
  }

  operand(i: number): OperandForm {
    const operand = this.form.operands[i];
    assert(operand, `${this.form.key} has no operand ${i}`);
    return operand;
  }

  #ref(operand: OperandForm): StateRef {
    const { place } = operand;
    if (place === 'r' || place === 'm') return { kind: 'field', field: place, delta: 0 };
    assert(typeof place === 'object' && 'fixed' in place, 'not a register operand');
    return slotOf('gpr', place.fixed);
  }

  isMemory(i: number): boolean {
    return this.operand(i).place === 'mem';
  }

  /** The value of operand `i`: i64 zero-extended (immediates sign-extended and cut to the width), v128 for 16 bytes. */
  read(i: number, align = false): Value {
    const operand = this.operand(i);
    const { place, width } = operand;
    if (place === 'mem') return this.b.load(this.b.linear(), width as Width, align);
    if (place === 'imm') return this.truncate(this.b.field('imm'), width);
    if (typeof place === 'object' && 'constant' in place) return this.b.i64(place.constant);
    return this.b.get(this.#ref(operand), width as Width);
  }

  /** Queues the write of operand `i`; a 32-bit general-register destination is zero-extended to 64 bits. */
  write(i: number, value: Value, align = false): void {
    const operand = this.operand(i);
    if (operand.place === 'mem') this.b.store(this.b.linear(), operand.width as Width, value, align);
    else this.#setRegister(operand, value);
  }

  #setRegister(operand: OperandForm, value: Value): void {
    const wide = operand.file === 'gpr' && operand.width === 4;
    this.b.set(this.#ref(operand), (wide ? 8 : operand.width) as Width, wide ? this.truncate(value, 4) : value);
  }

  /** One write-intent access for operands that are read and written. */
  modify(i: number): ReadModifyWrite {
    const operand = this.operand(i);
    if (operand.place === 'mem') {
      const token: WriteToken = this.b.probe(this.b.linear(), operand.width);
      const width = operand.width as Width;
      return { old: this.b.peek(token, width), write: (value) => this.b.storeAt(token, width, value) };
    }
    return { old: this.read(i), write: (value) => this.#setRegister(operand, value) };
  }

  // ---- general registers and segments -------------------------------------------------------------------------------

  /** General register `number`, low `width` bytes, zero-extended. */
  gpr(number: number, width = 8): Value {
    return this.b.get(slotOf('gpr', number), width as Width);
  }
  /** Queues a write of the low `width` bytes of a general register; 4 zero-extends to 64 bits. */
  setGpr(number: number, width: number, value: Value): void {
    const wide = width === 4;
    this.b.set(slotOf('gpr', number), (wide ? 8 : width) as Width, wide ? this.truncate(value, 4) : value);
  }
  segmentBase(name: keyof typeof SEG): Value {
    return this.b.get(slotOf('segmentBase', SEG[name]), 8);
  }

  /** The whole 64-bit register of register operand `i` (not a high-byte register). */
  readWhole(i: number): Value {
    return this.b.get(this.#ref(this.operand(i)), 8);
  }
  /** Queues a write of all 64 bits of register operand `i`, for destinations that may have to stay as they are. */
  writeWhole(i: number, value: Value): void {
    this.b.set(this.#ref(this.operand(i)), 8, value);
  }

  // ---- scalar arithmetic --------------------------------------------------------------------------------------------

  /** `a` name `b`; a constant takes the type of `a`. */
  op(name: ScalarOp, a: Value, b: Value | bigint | number): Value {
    const right = typeof b === 'object' ? b : this.b.const(a.type, b);
    return this.b.binary(`${a.type}.${name}` as BinaryOp, a, right);
  }
  /** 1 when `a` is zero, else 0. */
  isZero(a: Value): Value {
    return this.b.unary(a.type === 'i64' ? 'i64.eqz' : 'i32.eqz', a);
  }
  not(a: Value): Value {
    return this.op('xor', a, -1n);
  }
  negate(a: Value): Value {
    return this.b.binary(`${a.type}.sub` as BinaryOp, this.b.const(a.type, 0), a);
  }
  /** The low 32 bits of an i64. */
  low(a: Value): Value {
    return this.b.unary('i32.wrap_i64', a);
  }
  /** An i32 zero-extended to i64. */
  widen(a: Value): Value {
    return this.b.unary('i64.extend_i32_u', a);
  }
  /** Bit `n` of `a` as an i32, 0 or 1. */
  bit(a: Value, n: number): Value {
    const low = this.op('and', n === 0 ? a : this.op('shr_u', a, n), 1);
    return a.type === 'i64' ? this.low(low) : low;
  }

  // ---- widths -------------------------------------------------------------------------------------------------------

  /** `value` cut to `width` bytes, zero-extended. */
  truncate(value: Value, width = this.size): Value {
    if (width >= 8) return value;
    return this.b.binary('i64.and', value, this.b.i64((1n << BigInt(width * 8)) - 1n));
  }
  /** `value` sign-extended from `width` bytes to 64 bits. */
  signExtend(value: Value, width = this.size): Value {
    if (width === 8) return value;
    return this.b.unary(width === 4 ? 'i64.extend32_s' : width === 2 ? 'i64.extend16_s' : 'i64.extend8_s', value);
  }
}

/** Records the micro-ops of one form. */
export type Semantics = (c: Context) => void;
/** Semantics by name; each file of this folder exports one such table. */
export type SemanticsTable = Readonly<Record<string, Semantics>>;
