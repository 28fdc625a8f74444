/**
 * Instructions of the guest kernel that Xen emulates after their #GP (D-42), and the forced emulation prefix (D-41).
 * Source: xen/arch/x86/pv/emul-priv-op.c, pv/emul-inv-op.c.
 */
import type { Cpu } from '../../x86/cpu.ts';
import type { Insn } from '../../x86/form.ts';
import type { Fault, Outcome } from '../../x86/seam.ts';
import { GPR, STATE, VECTOR } from '../../x86/state.ts';
import { pvCpuid } from './cpuid.ts';
import { readMsr, writeMsr } from './msr.ts';
import type { XenPv } from './pv.ts';

/** CR0 as every PV guest reads it: PE MP ET NE WP AM PG; TS is the guest's. */
export const GUEST_CR0 = 0x80050033n;
const CR0_TS = 8n;
/** CR4 bits a guest may own at all (v1: no OSXSAVE, no FSGSBASE); the others keep what they were. */
const CR4 = { tsd: 4n, de: 8n, pae: 0x20n, mce: 0x40n, pge: 0x80n, osfxsr: 0x200n, osxmmexcpt: 0x400n } as const;

/** pv_fixup_guest_cr4: what is kept of a guest's CR4. */
export function fixCr4(value: bigint): bigint {
  return (value & (CR4.tsd | CR4.de)) | CR4.pae | CR4.osfxsr | CR4.osxmmexcpt | CR4.mce | CR4.pge;
}

const done = (cpu: Cpu, insn: Insn): null => {
  cpu.rip = BigInt.asUintN(64, cpu.rip + BigInt(insn.length));
  return null;
};
const gpOf = (offset: number): number => (offset - STATE.gpr.offset) >> 3;
const setPair = (cpu: Cpu, value: bigint): void => {
  cpu.setGpr(GPR.rax, value & 0xffffffffn);
  cpu.setGpr(GPR.rdx, (value >> 32n) & 0xffffffffn);
};

/** Runs CPUID by policy into the registers. */
export function runCpuid(pv: XenPv, cpu: Cpu): void {
  const leaf = Number(cpu.gpr(GPR.rax) & 0xffffffffn);
  const subleaf = Number(cpu.gpr(GPR.rcx) & 0xffffffffn);
  const answer = pvCpuid({ vcpu: cpu.id, vcpus: pv.vcpus.length, tscKhz: pv.clock.tscKhz }, leaf, subleaf);
  [GPR.rax, GPR.rbx, GPR.rcx, GPR.rdx].forEach((r, i) => {
    cpu.setGpr(r, BigInt(answer[i]! >>> 0));
  });
}

/** Emulates `insn`, raising faults as values; 'no' when Xen leaves it to the guest's #GP handler. */
export function emulatePrivileged(pv: XenPv, cpu: Cpu, insn: Insn): Outcome | 'no' {
  const v = pv.vcpus[cpu.id]!;
  const { name } = insn.form;
  switch (name) {
    case 'cli':
    case 'sti':
      // iopl_ok: the guest kernel runs at virtual ring 1.
      return v.iopl >> 12 >= 1 ? done(cpu, insn) : 'no';
    case 'clts':
      pv.setTaskSwitched(cpu, false);
      return done(cpu, insn);
    case 'wbinvd':
      return done(cpu, insn);
    case 'rdtsc':
      setPair(cpu, pv.tsc(cpu));
      return done(cpu, insn);
    case 'cpuid':
      runCpuid(pv, cpu);
      return done(cpu, insn);
    case 'rdmsr': {
      const index = Number(cpu.gpr(GPR.rcx) & 0xffffffffn);
      const value = readMsr(cpu, index, pv.tsc(cpu), cpu.id, v.traps[VECTOR.gp]!.address !== 0n);
      if (value === null) return 'no';
      setPair(cpu, value);
      return done(cpu, insn);
    }
    case 'wrmsr': {
      const index = Number(cpu.gpr(GPR.rcx) & 0xffffffffn);
      const value = (cpu.gpr(GPR.rax) & 0xffffffffn) | ((cpu.gpr(GPR.rdx) & 0xffffffffn) << 32n);
      return writeMsr(cpu, index, value) ? done(cpu, insn) : 'no';
    }
    case 'mov_from_cr':
      return readControl(pv, cpu, insn);
    case 'mov_to_cr':
      return writeControl(pv, cpu, insn);
    case 'mov_from_dr': {
      cpu.setGpr(gpOf(insn.m), pv.debugRegister(cpu, insn.r));
      return done(cpu, insn);
    }
    case 'mov_to_dr':
      return pv.setDebugRegister(cpu, insn.r, cpu.gpr(gpOf(insn.m))) < 0 ? 'no' : done(cpu, insn);
    case 'in':
    case 'out':
    case 'ins':
    case 'outs':
      return emulatePort(pv, cpu, insn);
    default:
      return 'no';
  }
}

function readControl(pv: XenPv, cpu: Cpu, insn: Insn): Outcome | 'no' {
  const v = pv.vcpus[cpu.id]!;
  let value: bigint;
  if (insn.r === 0) value = GUEST_CR0 | (v.taskSwitched ? CR0_TS : 0n);
  else if (insn.r === 2) value = v.cr2;
  else if (insn.r === 3) value = BigInt(v.kernelTable) << 12n;
  else if (insn.r === 4) value = v.cr4;
  else return 'no';
  cpu.setGpr(gpOf(insn.m), value);
  return done(cpu, insn);
}

function writeControl(pv: XenPv, cpu: Cpu, insn: Insn): Outcome | 'no' {
  const v = pv.vcpus[cpu.id]!;
  const value = cpu.gpr(gpOf(insn.m));
  if (insn.r === 0) {
    if ((value ^ GUEST_CR0) & ~CR0_TS) {
      pv.log(`d${pv.domainId}v${cpu.id} Attempt to change unmodifiable CR0 flags`);
      return 'no';
    }
    pv.setTaskSwitched(cpu, (value & CR0_TS) !== 0n);
  } else if (insn.r === 2) {
    v.cr2 = value;
    pv.memory.write64(v.infoAddress + 0x10, value);
  } else if (insn.r === 3) {
    if (pv.newBasePointer(cpu, Number(value >> 12n)) !== 0) return 'no';
  } else if (insn.r === 4) {
    v.cr4 = fixCr4(value);
    cpu.set('cr4', v.cr4);
  } else return 'no';
  return done(cpu, insn);
}

/** Port access: a domU owns no port; with sufficient virtual IOPL reads give all ones and writes vanish. */
function emulatePort(pv: XenPv, cpu: Cpu, insn: Insn): Outcome | 'no' {
  const v = pv.vcpus[cpu.id]!;
  if (v.iopl >> 12 < 1) return 'no';
  const { name } = insn.form;
  const width = insn.form.operands[name === 'in' ? 0 : 1]?.width ?? insn.form.size;
  if (name === 'in') {
    const ones = (1n << BigInt(width * 8)) - 1n;
    cpu.setGpr(GPR.rax, width === 4 ? ones : (cpu.gpr(GPR.rax) & ~ones) | ones);
    return done(cpu, insn);
  }
  if (name === 'out') return done(cpu, insn);
  return stringPort(cpu, insn);
}

/** One iteration of INS or OUTS (64-bit addressing of the guest kernel). */
function stringPort(cpu: Cpu, insn: Insn): Outcome {
  const { form } = insn;
  const width = form.size;
  const count = cpu.gpr(GPR.rcx);
  if (form.rep !== 0 && count === 0n) return done(cpu, insn);
  const register = form.name === 'ins' ? GPR.rdi : GPR.rsi;
  const address = cpu.gpr(register);
  const result: null | Fault | bigint =
    form.name === 'ins'
      ? cpu.memory.store(cpu, address, width, (1n << BigInt(width * 8)) - 1n)
      : cpu.memory.load(cpu, address, width);
  if (result !== null && typeof result === 'object') return result;
  cpu.setGpr(register, address + BigInt(cpu.rflags & 0x400 ? -width : width));
  if (form.rep === 0) return done(cpu, insn);
  cpu.setGpr(GPR.rcx, count - 1n);
  return count === 1n ? done(cpu, insn) : null;
}

const PREFIX = [0x0f, 0x0b, 0x78, 0x65, 0x6e];

/** `ud2; .ascii "xen"; cpuid` at rip: answers by policy and moves past it. */
export function emulateForcedPrefix(pv: XenPv, cpu: Cpu): boolean {
  const bytes = pv.guest.read(cpu, cpu.rip, 7);
  if (bytes === null || PREFIX.some((b, i) => bytes[i] !== b) || bytes[5] !== 0x0f || bytes[6] !== 0xa2) return false;
  runCpuid(pv, cpu);
  cpu.rip = BigInt.asUintN(64, cpu.rip + 7n);
  return true;
}
