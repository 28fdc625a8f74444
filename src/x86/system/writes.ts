/** Registers that system instructions write whatever the outcome, also with the value they hold (SDM vol. 2). */
import type { Insn } from '../form.ts';
import { GPR, STATE } from '../state.ts';

export interface StateBytes {
  /** In the vCPU's state. */
  readonly offset: number;
  readonly bytes: number;
}

const gpr = (...names: ReadonlyArray<keyof typeof GPR>): StateBytes[] =>
  names.map((name) => ({ offset: STATE.gpr.offset + GPR[name] * 8, bytes: 8 }));
const slot = (name: 'rflags' | 'flagsResult' | 'flagsAux'): StateBytes => ({
  offset: STATE[name].offset,
  bytes: STATE[name].width,
});
const FLAGS = [slot('rflags'), slot('flagsResult'), slot('flagsAux')];
/** The register operand in the record's field `m`, `r`. */
const byM = ({ m }: Insn): StateBytes[] => [{ offset: m, bytes: 8 }];
const byR = ({ r }: Insn): StateBytes[] => [{ offset: r, bytes: 8 }];

const WRITES: Readonly<Record<string, readonly StateBytes[] | ((insn: Insn) => readonly StateBytes[])>> = {
  rdtsc: gpr('rax', 'rdx'),
  rdtscp: gpr('rax', 'rdx', 'rcx'),
  rdmsr: gpr('rax', 'rdx'),
  rdpmc: gpr('rax', 'rdx'),
  cpuid: gpr('rax', 'rbx', 'rcx', 'rdx'),
  // a hypercall's answer, and what SYSCALL and SYSRET clobber
  syscall: gpr('rax', 'rcx', 'r11'),
  sysret: FLAGS,
  in: gpr('rax'),
  mov_from_cr: byM,
  mov_from_dr: byM,
  lar: byR,
  lsl: byR,
  popf: [...FLAGS, ...gpr('rsp')],
  pop_sreg: gpr('rsp'),
  iret: [...FLAGS, ...gpr('rsp')],
};

/** What `insn` writes of the vCPU's state beside `rip`, as far as nothing but the instruction decides it. */
export function systemWrites(insn: Insn): readonly StateBytes[] {
  const writes = WRITES[insn.form.name];
  if (writes === undefined) return [];
  return typeof writes === 'function' ? writes(insn) : writes;
}
