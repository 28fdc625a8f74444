/** Model-specific registers, the time stamp counter and CPUID. */
import type { Cpu } from '../cpu.ts';
import { isFault } from '../seam.ts';
import { GPR } from '../state.ts';
import { CR4 } from './control.ts';
import { generalProtection, privileged, type SystemHandler, type SystemTable } from './operands.ts';

const low = (value: bigint): bigint => BigInt.asUintN(32, value);
/** EDX:EAX, both zero-extended to 64 bits. */
function setPair(cpu: Cpu, value: bigint): void {
  cpu.setGpr(GPR.rax, low(value));
  cpu.setGpr(GPR.rdx, low(value >> 32n));
}

const rdmsr: SystemHandler = (cpu, _insn, platform) => {
  const value = platform.readMsr(cpu, Number(low(cpu.gpr(GPR.rcx))));
  if (isFault(value)) return value;
  setPair(cpu, value);
  return null;
};
const wrmsr: SystemHandler = (cpu, _insn, platform) => {
  const value = (low(cpu.gpr(GPR.rdx)) << 32n) | low(cpu.gpr(GPR.rax));
  return platform.writeMsr(cpu, Number(low(cpu.gpr(GPR.rcx))), value);
};
const rdtsc: SystemHandler = (cpu, _insn, platform) => {
  if (cpu.cpl > 0 && cpu.num('cr4') & CR4.tsd) return generalProtection();
  setPair(cpu, platform.tsc(cpu));
  return null;
};
const cpuid: SystemHandler = (cpu, _insn, platform) => {
  const values = platform.cpuid(cpu, Number(low(cpu.gpr(GPR.rax))), Number(low(cpu.gpr(GPR.rcx))));
  const [eax, ebx, ecx, edx] = values;
  cpu.setGpr(GPR.rax, BigInt(eax));
  cpu.setGpr(GPR.rbx, BigInt(ebx));
  cpu.setGpr(GPR.rcx, BigInt(ecx));
  cpu.setGpr(GPR.rdx, BigInt(edx));
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
