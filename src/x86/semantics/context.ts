/**
 * What a semantics function works with: the builder plus the operands of the form it is recording.
 *
 * A semantics function reads like the manual's operation section. All general-register and integer memory values are
 * i64, zero-extended from the operand's width; writes take the low bits.
 */
import { assert } from '../../core/assert.ts';
import type { Builder, WriteToken } from '../../ir/builder.ts';
import type { StateRef, Value, Width } from '../../ir/program.ts';
import type { Form, OperandForm } from '../form.ts';
import { SEG, type SlotName, STATE } from '../state.ts';

/** The slot of element `index` of a state array. */
export function slotOf(name: SlotName, index = 0): StateRef {
  const info = STATE[name];
  const width = { u8: 1, u16: 2, u32: 4, u64: 8, u128: 16 }[info.type];
  assert(index < info.count, `${name} has ${info.count} elements`);
  return { kind: 'slot', offset: info.offset + index * width };
}

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
