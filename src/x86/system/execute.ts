/**
 * System instructions: everything the decoder marks `system`, executed in TypeScript over {@link Cpu} and {@link Platform}. One file a
 * subject, named after the manual's groups.
 *
 * Invariant: a fault leaves the architectural state as it was before the instruction, `rip` included (SDM vol. 3A 6.5).
 */
import { assert } from '../../core/assert.ts';
import type { Cpu } from '../cpu.ts';
import type { Insn } from '../form.ts';
import type { Outcome, Platform } from '../seam.ts';
import { STATE } from '../state.ts';
import { CACHE } from './cache.ts';
import { CONTROL } from './control.ts';
import { ENTER } from './enter.ts';
import { FAR } from './far.ts';
import { FAST_CALL } from './fast-call.ts';
import { FLAGS } from './flags.ts';
import { FPU_STATE } from './fpu-state.ts';
import { INTERRUPTS } from './interrupts.ts';
import { IO } from './io.ts';
import { MSR } from './msr.ts';
import { type SystemHandler, type SystemTable, undefinedOpcode } from './operands.ts';
import { SEGMENTS } from './segments.ts';
import { TABLES } from './tables.ts';
import { X87 } from './x87/table.ts';

/** Opcodes that exist to raise #UD. */
const UNDEFINED: SystemTable = { ud0: undefinedOpcode, ud1: undefinedOpcode, ud2: undefinedOpcode };

/** Every system instruction by semantics name. */
export const SYSTEM: SystemTable = {
  ...SEGMENTS,
  ...ENTER,
  ...FAR,
  ...INTERRUPTS,
  ...FLAGS,
  ...CONTROL,
  ...MSR,
  ...TABLES,
  ...FPU_STATE,
  ...X87,
  ...IO,
  ...CACHE,
  ...FAST_CALL,
  ...UNDEFINED,
};

/** The same by number of the form, as forms are met: looking a name up takes long. */
const handlers: SystemHandler[] = [];

/**
 * Executes `insn`, whose address is `cpu.rip`. On success `rip` is where execution continues; on a stop, or a fault that the caller
 * delivers, it is unchanged. INT n and kin deliver through the platform themselves, and return a fault only when that
 * delivery faulted as part of the instruction.
 */
export function executeSystem(cpu: Cpu, insn: Insn, platform: Platform): Outcome {
  const { id, name } = insn.form;
  handlers[id] ??= SYSTEM[name]!;
  const handler = handlers[id];
  assert(handler, 'not a system instruction');
  const { view } = cpu;
  const at = cpu.base + STATE.rip.offset;
  const low = view.getInt32(at, true);
  const high = view.getInt32(at + 4, true);
  cpu.advance(insn.length, insn.mode);
  const outcome = handler(cpu, insn, platform);
  if (outcome !== null) {
    view.setInt32(at, low, true);
    view.setInt32(at + 4, high, true);
  }
  return outcome;
}

/** Executes an instruction that is contained, but for `rip`; false when it faults, with nothing changed. */
export function executeContained(cpu: Cpu, insn: Insn, platform: Platform): boolean {
  const { id, name } = insn.form;
  handlers[id] ??= SYSTEM[name]!;
  return handlers[id]!(cpu, insn, platform) === null;
}
