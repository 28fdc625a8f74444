/** Who writes vCPU state, step by step: tracers ({@link Tracer}) that a search puts into a machine for a while. */
import type { Tick } from '../core/units.ts';
import { TABLE_SIZE } from '../engine/cold/exits.ts';
import type { Tracer } from '../engine/tier.ts';
import type { StateRef } from '../ir/program.ts';
import type { Cpu } from '../x86/cpu.ts';
import type { Insn } from '../x86/form.ts';
import { RECORD } from '../x86/record.ts';
import { systemWrites } from '../x86/system/writes.ts';
import type { Machine } from './machine.ts';

/** Whether instructions that a handler executes write the bytes looked for. */
const JUDGED = { unknown: 0, never: 1, always: 2, byFields: 3 } as const;

/** A write whose place is in the record. */
interface FieldWrite {
  readonly record: number;
  readonly delta: number;
  readonly bytes: number;
}

/**
 * Finds the last step that writes any of some bytes of a vCPU's state, also with the value they held: instructions by what their programs
 * commit, other steps by what they change and by what system instructions always write.
 */
export class SlotWrites implements Tracer {
  /** The tick that the step started from, null while there was none. */
  last: Tick | null = null;
  #previous: Tick | null = null;
  readonly #machine: Machine;
  readonly #vcpu: number;
  readonly #from: number;
  readonly #end: number;
  readonly #words: Int32Array;
  readonly #judged = new Uint8Array(TABLE_SIZE);
  readonly #fields = new Map<number, readonly FieldWrite[]>();
  #depth = 0;
  #before = '';
  #declared = false;

  /** `offset`: of the bytes in the vCPU's state (src/x86/state.ts). */
  constructor(machine: Machine, vcpu: number, offset: number, bytes: number) {
    this.#machine = machine;
    this.#vcpu = vcpu;
    this.#from = offset;
    this.#end = offset + bytes;
    this.#words = machine.engine.memory.words;
  }

  #meets(offset: number, bytes: number): boolean {
    return offset < this.#end && this.#from < offset + bytes;
  }
  #judge(handler: number): number {
    const program = this.#machine.engine.cold!.handlers.programs[handler];
    const fields: FieldWrite[] = [];
    let always = false;
    for (const commit of program?.commits ?? []) {
      if (commit.op !== 'set') continue;
      const ref: StateRef = commit.ref;
      if (ref.kind === 'slot') always ||= this.#meets(ref.offset, commit.width);
      else fields.push({ record: RECORD[ref.field], delta: ref.delta, bytes: commit.width });
    }
    this.#fields.set(handler, fields);
    const judged = always ? JUDGED.always : fields.length > 0 ? JUDGED.byFields : JUDGED.never;
    this.#judged[handler] = judged;
    return judged;
  }
  executes(cpu: Cpu, record: number, handler: number, taken: number): void {
    if (cpu.id !== this.#vcpu) return;
    const judged = this.#judged[handler] || this.#judge(handler);
    if (judged === JUDGED.never) return;
    if (judged === JUDGED.byFields && !this.#meetsByField(record, handler)) return;
    this.#note(this.#machine.visibleAt - 1 + taken);
  }
  #meetsByField(record: number, handler: number): boolean {
    for (const { record: field, delta, bytes } of this.#fields.get(handler)!)
      if (this.#meets(this.#words[(record + field) >>> 2]! + delta, bytes)) return true;
    return false;
  }
  #note(tick: Tick): void {
    if (this.last === tick) return;
    this.#previous = this.last;
    this.last = tick;
  }
  #bytes(cpu: Cpu): string {
    let text = '';
    for (let at = this.#from; at < this.#end; at++) text += `${cpu.view.getUint8(cpu.base + at)} `;
    return text;
  }
  begins(cpu: Cpu, insn: Insn | null): void {
    if (cpu.id !== this.#vcpu || this.#depth++ > 0) return;
    // the instruction that was about to be executed has faulted
    if (this.last === this.#machine.visibleAt - 1) this.last = this.#previous;
    this.#before = this.#bytes(cpu);
    this.#declared = insn !== null && systemWrites(insn).some(({ offset, bytes }) => this.#meets(offset, bytes));
  }
  ends(cpu: Cpu): void {
    if (cpu.id !== this.#vcpu || --this.#depth > 0) return;
    if (this.#declared || this.#before !== this.#bytes(cpu)) this.#note(this.#machine.visibleAt - 1);
  }
}

/** What takes a step. */
export type StepKind =
  /** An instruction, by its program. */
  | { readonly kind: 'instruction' }
  /** A system instruction. */
  | { readonly kind: 'system'; readonly insn: Insn }
  /** The delivery of an exception or event. */
  | { readonly kind: 'event' }
  /** Nobody: time goes by. */
  | { readonly kind: 'idle' };

/** What took the last step. */
export class StepWatch implements Tracer {
  step: StepKind = { kind: 'idle' };
  #depth = 0;
  executes(): void {
    this.step = { kind: 'instruction' };
  }
  begins(_cpu: Cpu, insn: Insn | null): void {
    if (this.#depth++ > 0) {
      // what began as an instruction ends as an event
      if (this.step.kind === 'system') this.step = { kind: 'event' };
      return;
    }
    this.step = insn === null ? { kind: 'event' } : { kind: 'system', insn };
  }
  ends(): void {
    this.#depth--;
  }
}

/** Whether a stack pointer comes to lie above an address, and not far from it: what had been pushed below is popped again. */
export class StackWatch implements Tracer {
  rose = false;
  readonly #vcpu: number;
  readonly #above: bigint;

  constructor(vcpu: number, above: bigint) {
    this.#vcpu = vcpu;
    this.#above = above;
  }
  executes(cpu: Cpu): void {
    if (cpu.id !== this.#vcpu || this.rose) return;
    const distance = cpu.rsp - this.#above;
    this.rose = distance > 0n && distance < NEAR;
  }
  begins(cpu: Cpu): void {
    this.executes(cpu);
  }
  ends(): void {}
}
/** Bytes of a stack. */
const NEAR = 1n << 16n;
