/** x87 comparisons and classification (SDM vol. 2: FCOM, FUCOM, FICOM, FCOMI, FTST, FXAM). */
import type { Cpu } from '../../cpu.ts';
import type { Insn } from '../../form.ts';
import { type Fault, isFault } from '../../seam.ts';
import { type Comparison, compare, EQUAL, LESS, type Relation, UNORDERED } from '../../softfloat/compare.ts';
import { C0, C1, C2, C3 } from '../../softfloat/control.ts';
import { F80 } from '../../softfloat/format.ts';
import { fxam } from '../../softfloat/x87.ts';
import { ARITHMETIC_FLAGS, FLAG } from '../../state.ts';
import type { SystemHandler, SystemTable } from '../operands.ts';
import { loadSource, type Source } from './arithmetic.ts';
import { controlOf, isEmpty, isStackFault, pop, read, setStatus, stops, UNDERFLOW, waiting } from './stack.ts';

const CODES = C0 | C1 | C2 | C3;
const CODES_OF: Readonly<Record<Relation, number>> = { 0: C0 | C2 | C3, 1: C0, 2: C3, 3: 0 };

/** ST(0) against a register, or what memory holds; an empty register is unordered. */
function relate(cpu: Cpu, other: number | Source, signalling: boolean): Comparison {
  const empty = isEmpty(cpu, 0) || (typeof other === 'number' && isEmpty(cpu, other));
  if (empty) return { relation: UNORDERED, flags: UNDERFLOW.flags };
  const { bits, format } = typeof other === 'number' ? { bits: read(cpu, other), format: F80 } : other;
  return compare(F80, read(cpu, 0), bits, controlOf(cpu), signalling, format);
}

/** Books a comparison in the condition codes and pops `pops` registers. */
function conclude(cpu: Cpu, { relation, flags }: Comparison, pops: number): void {
  setStatus(cpu, CODES, flags | CODES_OF[relation]);
  if (stops(cpu, flags)) return;
  for (let i = 0; i < pops; i++) pop(cpu);
}

/** The second operand: memory, or the register that the instruction names. */
const otherOf = (cpu: Cpu, insn: Insn, integer: boolean): number | Source | Fault => {
  const last = insn.form.operands.at(-1);
  if (last === undefined) return 1;
  return last.place === 'mem' ? loadSource(cpu, insn, integer) : insn.m;
};

const toCodes =
  (signalling: boolean, pops: number, integer = false): SystemHandler =>
  (cpu, insn) => {
    const other = otherOf(cpu, insn, integer);
    if (isFault(other)) return other;
    conclude(cpu, relate(cpu, other, signalling), pops);
    return null;
  };

/**
 * FCOMI and its kin report in RFLAGS, also with an unmasked exception (measured on AMD family 1Ah; the manual keeps RFLAGS
 * then). Only a stack fault touches C1.
 */
const toFlags =
  (signalling: boolean, pops: boolean): SystemHandler =>
  (cpu, insn) => {
    const { relation, flags } = relate(cpu, insn.m, signalling);
    setStatus(cpu, isStackFault(flags) ? C1 : 0, flags);
    let bits = 0;
    if (relation === UNORDERED) bits = FLAG.zf | FLAG.pf | FLAG.cf;
    else if (relation === EQUAL) bits = FLAG.zf;
    else if (relation === LESS) bits = FLAG.cf;
    cpu.rflags = (cpu.rflags & ~ARITHMETIC_FLAGS) | bits;
    if (pops && !stops(cpu, flags)) pop(cpu);
    return null;
  };

/** The class of ST(0); C3 and C0 with the sign for an empty register. */
const examine: SystemHandler = (cpu) => {
  const codes = fxam(read(cpu, 0), controlOf(cpu));
  setStatus(cpu, CODES, isEmpty(cpu, 0) ? C3 | C0 | (codes & C1) : codes);
  return null;
};

export const X87_COMPARE: SystemTable = waiting({
  fcom: toCodes(true, 0),
  fcomp: toCodes(true, 1),
  fcompp: toCodes(true, 2),
  fucom: toCodes(false, 0),
  fucomp: toCodes(false, 1),
  fucompp: toCodes(false, 2),
  ficom: toCodes(true, 0, true),
  ficomp: toCodes(true, 1, true),
  fcomi: toFlags(true, false),
  fcomip: toFlags(true, true),
  fucomi: toFlags(false, false),
  fucomip: toFlags(false, true),
  ftst(cpu) {
    conclude(cpu, relate(cpu, { bits: 0n, format: F80 }, true), 0);
    return null;
  },
  fxam: examine,
});
