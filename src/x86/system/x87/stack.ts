/**
 * The x87 register stack and its exceptions over {@link Cpu} (SDM vol. 1, 8.1, 8.4 and 8.5).
 *
 * A computation comes as a value with the flags that it raised, in the positions of the status word. Unmasked exceptions
 * become pending here and fault at the next waiting x87 or MMX instruction. FOP, FIP and FDP are not tracked: no instruction
 * but FNINIT, FLDENV, FRSTOR and FXRSTOR changes them, so that they are 0 in a guest that does not load them.
 */
import type { Cpu } from '../../cpu.ts';
import { type Fault, fault } from '../../seam.ts';
import {
  BEFORE_COMPUTATION,
  C1,
  type Control,
  controlOfFcw,
  EXCEPTIONS,
  IE,
  type Result,
} from '../../softfloat/control.ts';
import { F80 } from '../../softfloat/format.ts';
import { VECTOR } from '../../state.ts';
import type { SystemHandler, SystemTable } from '../operands.ts';

/** Stack fault. */
const SF = 0x40;
/** Error summary, and B, its copy. */
const ES = 0x80;
const SUMMARY = 0x8080;
/** What reading an empty register raises, and what pushing onto a full stack raises. */
export const UNDERFLOW: Result = { value: F80.indefinite, flags: IE | SF };
export const OVERFLOW: Result = { value: F80.indefinite, flags: IE | SF | C1 };
export const isStackFault = (flags: number): boolean => (flags & SF) !== 0;

const CR0_MP = 1 << 1;
const CR0_EM = 1 << 2;
const CR0_TS = 1 << 3;
const CR0_NE = 1 << 5;
const PATTERN = (1n << 80n) - 1n;

export const controlOf = (cpu: Cpu): Control => controlOfFcw(cpu.num('fcw'));

// ---- registers ------------------------------------------------------------------------------------------------------

const physical = (cpu: Cpu, i: number): number => (cpu.num('ftop') + i) & 7;
/** The pattern in ST(i), also of an empty register. */
export const read = (cpu: Cpu, i: number): bigint => cpu.get('fpr', physical(cpu, i)) & PATTERN;
export const isEmpty = (cpu: Cpu, i: number): boolean => (cpu.num('ftags') & (1 << physical(cpu, i))) === 0;
/** Writes ST(i), which is not empty then. */
export function write(cpu: Cpu, i: number, value: bigint): void {
  const number = physical(cpu, i);
  cpu.set('fpr', value, number);
  cpu.set('ftags', cpu.num('ftags') | (1 << number));
}
/** Marks ST(i) empty; its pattern stays. */
export const free = (cpu: Cpu, i: number): void => cpu.set('ftags', cpu.num('ftags') & ~(1 << physical(cpu, i)));
/** Moves the top by `n` registers. */
export const rotate = (cpu: Cpu, n: number): void => cpu.set('ftop', (cpu.num('ftop') + n) & 7);
export function pop(cpu: Cpu): void {
  free(cpu, 0);
  rotate(cpu, 1);
}
export function push(cpu: Cpu, value: bigint): void {
  rotate(cpu, -1);
  write(cpu, 0, value);
}

// ---- exceptions -----------------------------------------------------------------------------------------------------

/** Replaces the status bits in `clear` by those of `bits`, accumulates the exceptions in `bits` and derives the summary. */
export function setStatus(cpu: Cpu, clear: number, bits: number): void {
  const status = (cpu.num('fsw') & ~clear) | bits;
  const pending = status & ~cpu.num('fcw') & EXCEPTIONS;
  cpu.set('fsw', (status & ~SUMMARY) | (pending ? SUMMARY : 0));
}

/** Whether an exception of `flags` in `stopping` is unmasked: then nothing is written, popped or pushed. */
export const stops = (cpu: Cpu, flags: number, stopping = BEFORE_COMPUTATION): boolean =>
  (flags & ~cpu.num('fcw') & stopping) !== 0;

/** Books the flags of a result, C1 among them; true when the result may be written. */
export function settle(cpu: Cpu, flags: number, stopping = BEFORE_COMPUTATION): boolean {
  setStatus(cpu, C1, flags);
  return !stops(cpu, flags, stopping);
}

/** Pushes `result`, or the stack fault when there is no room. Only an invalid operation stops it. */
export function pushResult(cpu: Cpu, result: Result): void {
  const { value, flags } = isEmpty(cpu, -1) ? result : OVERFLOW;
  if (settle(cpu, flags, IE)) push(cpu, value);
}

// ---- what every instruction checks ----------------------------------------------------------------------------------

/** #NM when the FPU is emulated or belongs to another task. */
export const available = (cpu: Cpu): null | Fault => (cpu.num('cr0') & (CR0_EM | CR0_TS) ? fault(VECTOR.nm) : null);
/** #MF when an unmasked exception is pending. With CR0.NE clear an interrupt controller of the 1980s would report it: here nothing does. */
export const pendingFault = (cpu: Cpu): null | Fault =>
  cpu.num('fsw') & ES && cpu.num('cr0') & CR0_NE ? fault(VECTOR.mf) : null;

const checked = (table: SystemTable, check: (cpu: Cpu) => null | Fault): SystemTable =>
  Object.fromEntries(
    Object.entries(table).map(([name, handler]): [string, SystemHandler] => [
      name,
      (cpu, insn, platform) => check(cpu) ?? handler(cpu, insn, platform),
    ]),
  );

/** Instructions that first report a pending exception. */
export const waiting = (table: SystemTable): SystemTable =>
  checked(table, (cpu) => available(cpu) ?? pendingFault(cpu));
/** Instructions that do not. */
export const nonWaiting = (table: SystemTable): SystemTable => checked(table, available);
/** FWAIT: CR0.TS counts only with CR0.MP, CR0.EM does not. */
export const fwait: SystemHandler = (cpu) => {
  const both = CR0_MP | CR0_TS;
  return (cpu.num('cr0') & both) === both ? fault(VECTOR.nm) : pendingFault(cpu);
};
