/** SYSCALL and SYSENTER with their returns, and SWAPGS (SDM vol. 3A 5.8.7 and 5.8.8, APM vol. 3 "SYSCALL" to "SYSRET"). */
import type { Cpu } from '../cpu.ts';
import type { Vendor } from '../features.ts';
import { FLAG, GPR, SEG, TRAP } from '../state.ts';
import { setCodeMode, setFlatSegment } from './descriptors.ts';
import type { SystemHandler, SystemTable } from './operands.ts';
import { generalProtection, isCanonical, privileged, undefinedOpcode } from './operands.ts';

const EFER_SCE = 1;
/** The code mode of a 64-bit segment. */
const LONG_MODE = 2;
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

/** AMD's SYSRET leaves base, limit and attributes of SS as they are but for its privilege. */
function returnFlat(cpu: Cpu, code: number, stack: number, long: boolean, vendor: Vendor): void {
  if (vendor === 'intel') {
    enterFlat(cpu, code, stack | 3, 3, long);
    return;
  }
  setFlatSegment(cpu, SEG.cs, code, withDpl(long ? CODE_64 : CODE_32, 3));
  cpu.set('selector', stack, SEG.ss);
  cpu.set('segmentAttributes', withDpl(cpu.segmentAttributes(SEG.ss), 3), SEG.ss);
  cpu.cpl = 3;
  setCodeMode(cpu);
}

const sysret: SystemHandler = (cpu, insn, { vendor }) => {
  if ((cpu.efer & EFER_SCE) === 0) return undefinedOpcode();
  if (cpu.cpl !== 0) return generalProtection();
  const long = insn.form.size === 8;
  const target = cpu.gpr(GPR.rcx);
  // AMD's fault where the target is fetched, at the new privilege
  if (long && vendor === 'intel' && !isCanonical(target)) return generalProtection();
  const base = Number((cpu.get('star') >> 48n) & 0xffffn);
  cpu.rip = long ? target : target & 0xffffffffn;
  // AMD's outside 64-bit mode have saved no flags
  if (insn.mode === LONG_MODE) cpu.rflags = Number(cpu.gpr(GPR.r11) & BigInt(SYSRET_FLAGS)) | 2;
  else cpu.rflags |= FLAG.if;
  returnFlat(cpu, (long ? base + 16 : base) | 3, base + 8, long, vendor);
  if (cpu.systemFlags & FLAG.tf) cpu.set('pendingTrap', TRAP.step);
  return null;
};

/** AMD's processors have SYSENTER and SYSEXIT in legacy mode alone. */
const inLegacyMode =
  (handler: SystemHandler): SystemHandler =>
  (cpu, insn, platform) =>
    platform.vendor === 'amd' && cpu.longMode ? undefinedOpcode() : handler(cpu, insn, platform);

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
  sysenter: inLegacyMode((cpu, _insn, platform) => platform.sysenter(cpu)),
  sysexit: inLegacyMode(privileged(sysexit)),
  swapgs: privileged(swapgs),
};
