/** Model-specific registers, the time stamp counter and CPUID. */
import { highWord, joinWords, lowWord } from '../../core/words.ts';
import type { Cpu } from '../cpu.ts';
import { isFault } from '../seam.ts';
import { GPR } from '../state.ts';
import { CR4 } from './control.ts';
import { generalProtection, privileged, type SystemHandler, type SystemTable } from './operands.ts';

/** EDX:EAX, both zero-extended to 64 bits. */
function setPair(cpu: Cpu, value: number | bigint): void {
  if (typeof value === 'number') {
    // cut to 32 bits by the store
    cpu.setGpr32(GPR.rax, value);
    cpu.setGpr32(GPR.rdx, value / 0x100000000);
    return;
  }
  cpu.setGpr32(GPR.rax, lowWord(value));
  cpu.setGpr32(GPR.rdx, highWord(value));
}

const rdmsr: SystemHandler = (cpu, _insn, platform) => {
  const value = platform.readMsr(cpu, cpu.gpr32(GPR.rcx));
  if (isFault(value)) return value;
  setPair(cpu, value);
  return null;
};
const wrmsr: SystemHandler = (cpu, _insn, platform) => {
  const value = joinWords(cpu.gpr32(GPR.rax), cpu.gpr32(GPR.rdx));
  return platform.writeMsr(cpu, cpu.gpr32(GPR.rcx), value);
};
const rdtsc: SystemHandler = (cpu, _insn, platform) => {
  if (cpu.cpl > 0 && cpu.cr4 & CR4.tsd) return generalProtection();
  setPair(cpu, platform.tsc(cpu));
  return null;
};
const cpuid: SystemHandler = (cpu, _insn, platform) => {
  const values = platform.cpuid(cpu, cpu.gpr32(GPR.rax), cpu.gpr32(GPR.rcx));
  const [eax, ebx, ecx, edx] = values;
  cpu.setGpr32(GPR.rax, eax);
  cpu.setGpr32(GPR.rbx, ebx);
  cpu.setGpr32(GPR.rcx, ecx);
  cpu.setGpr32(GPR.rdx, edx);
  return null;
};

/** MSR, TSC and CPUID instructions by semantics name. No performance counter exists, so that RDPMC always faults. */
export const MSR: SystemTable = {
  rdmsr: privileged(rdmsr),
  wrmsr: privileged(wrmsr),
  rdtsc,
  rdpmc: () => generalProtection(),
  cpuid,
};
