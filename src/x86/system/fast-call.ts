/** SYSCALL and SYSENTER with their returns, and SWAPGS (SDM vol. 3A 5.8.7 and 5.8.8). */
import type { Cpu } from '../cpu.ts';
import { FLAG, GPR, SEG, TRAP } from '../state.ts';
import { setCodeMode, setFlatSegment } from './descriptors.ts';
import type { SystemHandler, SystemTable } from './operands.ts';
import { generalProtection, isCanonical, privileged, undefinedOpcode } from './operands.ts';

const EFER_SCE = 1;
/** Attributes of the flat segments these instructions load, without DPL: present, S, accessed. */
const CODE_32 = 0xc09b;
const CODE_64 = 0xa09b;
const DATA = 0xc093;
const withDpl = (attributes: number, dpl: number): number => attributes | (dpl << 5);
/** RFLAGS bits that SYSRET takes from R11 (SDM vol. 2B "SYSRET"). */
const SYSRET_FLAGS = 0x3c7fd7;

/** Loads CS and SS as flat segments and the privilege and mode that follow. */
export function enterFlat(cpu: Cpu, code: number, stack: number, cpl: number, long: boolean): void {
  setFlatSegment(cpu, SEG.cs, code, withDpl(long ? CODE_64 : CODE_32, cpl));
  setFlatSegment(cpu, SEG.ss, stack, withDpl(DATA, cpl));
  cpu.cpl = cpl;
  setCodeMode(cpu);
}

const syscall: SystemHandler = (cpu, insn, platform) =>
  cpu.efer & EFER_SCE ? platform.syscall(cpu, insn) : undefinedOpcode();

const sysret: SystemHandler = (cpu, insn) => {
  if ((cpu.efer & EFER_SCE) === 0) return undefinedOpcode();
  if (cpu.cpl !== 0) return generalProtection();
  const long = insn.form.size === 8;
  const target = cpu.gpr(GPR.rcx);
  if (long && !isCanonical(target)) return generalProtection();
  const base = Number((cpu.get('star') >> 48n) & 0xffffn);
  cpu.rip = long ? target : target & 0xffffffffn;
  cpu.rflags = Number(cpu.gpr(GPR.r11) & BigInt(SYSRET_FLAGS)) | 2;
  enterFlat(cpu, (long ? base + 16 : base) | 3, (base + 8) | 3, 3, long);
  if (cpu.systemFlags & FLAG.tf) cpu.set('pendingTrap', TRAP.step);
  return null;
};

const sysenter: SystemHandler = (cpu) => {
  const selector = cpu.num('sysenterCs') & 0xfffc;
  if (selector === 0) return generalProtection();
  const long = cpu.longMode;
  const width = (value: bigint): bigint => (long ? value : value & 0xffffffffn);
  cpu.rflags &= ~(FLAG.vm | FLAG.if);
  cpu.rsp = width(cpu.get('sysenterEsp'));
  cpu.rip = width(cpu.get('sysenterEip'));
  enterFlat(cpu, selector, selector + 8, 0, long);
  return null;
};

const sysexit: SystemHandler = (cpu, insn) => {
  const selector = cpu.num('sysenterCs') & 0xfffc;
  if (selector === 0) return generalProtection();
  const long = insn.form.size === 8;
  const [rip, rsp] = [cpu.gpr(GPR.rdx), cpu.gpr(GPR.rcx)];
  if (long && !(isCanonical(rip) && isCanonical(rsp))) return generalProtection();
  cpu.rip = long ? rip : rip & 0xffffffffn;
  cpu.rsp = long ? rsp : rsp & 0xffffffffn;
  const code = (selector + (long ? 32 : 16)) | 3;
  enterFlat(cpu, code, code + 8, 3, long);
  return null;
};

const swapgs: SystemHandler = (cpu) => {
  const base = cpu.get('segmentBase', SEG.gs);
  cpu.set('segmentBase', cpu.get('kernelGsBase'), SEG.gs);
  cpu.set('kernelGsBase', base);
  return null;
};

/** Fast system calls by semantics name. */
export const FAST_CALL: SystemTable = {
  syscall,
  sysret,
  sysenter,
  sysexit: privileged(sysexit),
  swapgs: privileged(swapgs),
};
