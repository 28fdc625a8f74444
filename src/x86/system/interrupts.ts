/** INT n, INT3, INTO, ICEBP and IRET (SDM vol. 2A). Delivery itself is the platform's. */
import { lowWord, plus } from '../../core/words.ts';
import type { Cpu } from '../cpu.ts';
import { type EventKind, fault, isFault, type Outcome, type Platform, stop } from '../seam.ts';
import { FLAG, VECTOR } from '../state.ts';
import { returnTo } from './far.ts';
import { returnFlags } from './flags.ts';
import { generalProtection, type SystemHandler, type SystemTable } from './operands.ts';
import { currentStack, popAll } from './stack.ts';

const raise =
  (kind: EventKind, vector: number): SystemHandler =>
  (cpu, insn, platform) =>
    platform.deliver(cpu, kind, fault(vector), insn);

const into: SystemHandler = (cpu, insn, platform) =>
  (cpu.rflags & FLAG.of) === 0 ? null : platform.deliver(cpu, 'into', fault(VECTOR.of), insn);

const int: SystemHandler = (cpu, insn, platform) => platform.deliver(cpu, 'int', fault(Number(insn.imm)), insn);

/** Pops the frame and returns; IRET in 64-bit mode always pops SS:rSP. */
function interruptReturn(cpu: Cpu, width: number, platform: Platform): Outcome {
  if (cpu.rflags & FLAG.nt)
    return cpu.longMode ? generalProtection() : stop('unimplemented', 'IRET to a nested task (RFLAGS.NT)');
  const stack = currentStack(cpu);
  const frame = popAll(cpu, stack, width, cpu.codeMode === 2 ? 5 : 3);
  if (isFault(frame)) return frame;
  const selector = lowWord(frame[1]!) & 0xffff;
  const flags = lowWord(frame[2]!);
  if (!cpu.longMode && cpu.cpl === 0 && width === 4 && flags & FLAG.vm)
    return stop('unimplemented', 'IRET to virtual-8086 mode');
  const after = plus(stack.pointer, 3 * width);
  let outer = null;
  if (cpu.codeMode === 2) outer = { pointer: frame[3]!, selector: lowWord(frame[4]!) & 0xffff };
  else if ((selector & 3) > cpu.cpl) {
    const values = popAll(cpu, { ...stack, pointer: after }, width, 2);
    if (isFault(values)) return values;
    outer = { pointer: values[0]!, selector: lowWord(values[1]!) & 0xffff };
  }
  const oldCpl = cpu.cpl;
  const failed = returnTo(cpu, platform, selector, frame[0]!, outer, after);
  if (failed) return failed;
  // the flags are written with the privilege that IRET ran at
  const cpl = cpu.cpl;
  cpu.cpl = oldCpl;
  returnFlags(cpu, flags, width);
  cpu.cpl = cpl;
  cpu.nmiBlocked = 0;
  return null;
}

/** Interrupt instructions by semantics name. */
export const INTERRUPTS: SystemTable = {
  int,
  int3: raise('int3', VECTOR.bp),
  icebp: raise('debug', VECTOR.db),
  into,
  iret: (cpu, insn, platform) => interruptReturn(cpu, insn.form.size, platform),
};
