/** RFLAGS as POPF, IRET, STI and CLI change it (SDM vol. 2, the tables of those instructions). */
import { lowWord, plus } from '../../core/words.ts';
import type { Cpu } from '../cpu.ts';
import { isFault } from '../seam.ts';
import { ARITHMETIC_FLAGS, FLAG } from '../state.ts';
import { generalProtection, iopl, type SystemHandler, type SystemTable } from './operands.ts';
import { currentStack, popAll, setPointer } from './stack.ts';

const ALWAYS = ARITHMETIC_FLAGS | FLAG.tf | FLAG.df | FLAG.nt | FLAG.ac | FLAG.id;

/** The RFLAGS bits that privilege lets POPF and IRET write. */
function writable(cpu: Cpu, size: number): number {
  let mask = ALWAYS;
  if (cpu.cpl === 0) mask |= FLAG.iopl;
  if (cpu.cpl <= iopl(cpu)) mask |= FLAG.if;
  return size === 2 ? mask & 0xffff : mask;
}
/** Writes what POPF may write; RF is cleared unless only 16 bits are popped. */
function popFlags(cpu: Cpu, value: number, size: number): void {
  const mask = writable(cpu, size);
  const cleared = size === 2 ? 0 : FLAG.rf;
  cpu.rflags = (cpu.rflags & ~(mask | cleared)) | (value & mask);
}
/** Writes what IRET may write at the privilege it returns from: RF too, and VIF and VIP at CPL 0. */
export function returnFlags(cpu: Cpu, value: number, size: number): void {
  let mask = writable(cpu, size);
  if (size > 2) mask |= FLAG.rf | (cpu.cpl === 0 ? FLAG.vif | FLAG.vip : 0);
  cpu.rflags = (cpu.rflags & ~mask) | (value & mask);
}

const popf: SystemHandler = (cpu, insn) => {
  const size = insn.form.size;
  const stack = currentStack(cpu);
  const values = popAll(cpu, stack, size, 1);
  if (isFault(values)) return values;
  setPointer(cpu, stack.bits, plus(stack.pointer, size));
  popFlags(cpu, lowWord(values[0]!), size);
  return null;
};

/** STI holds interrupts back for one instruction, unless IF was set before (SDM vol. 2B "STI"). */
const sti: SystemHandler = (cpu) => {
  if (cpu.cpl > iopl(cpu)) return generalProtection();
  const flags = cpu.rflags;
  if ((flags & FLAG.if) === 0 && cpu.interruptShadow === 0) cpu.interruptShadow = 1;
  cpu.rflags = flags | FLAG.if;
  return null;
};
const cli: SystemHandler = (cpu) => {
  if (cpu.cpl > iopl(cpu)) return generalProtection();
  cpu.rflags &= ~FLAG.if;
  return null;
};

/** Flag instructions by semantics name. */
export const FLAGS: SystemTable = { popf, sti, cli };
