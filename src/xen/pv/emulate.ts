/**
 * Instructions of the guest kernel that Xen emulates after their #GP (D-42), and the forced emulation prefix (D-41).
 * Source: xen/arch/x86/pv/emul-priv-op.c, pv/emul-inv-op.c.
 */
import { highWord, joinWords, lowWord } from '../../core/words.ts';
import type { Cpu } from '../../x86/cpu.ts';
import type { Insn } from '../../x86/form.ts';
import { type Fault, fault, type Outcome } from '../../x86/seam.ts';
import { FLAG, GPR, STATE, VECTOR } from '../../x86/state.ts';
import { ERRNO } from '../abi/errno.ts';
import { VMASST } from '../abi/numbers.ts';
import { AMD64 } from '../abi/structures.ts';
import { gdprintk } from '../mm/messages.ts';
import { frameNumber } from '../mm/page-info.ts';
import { readMsr, writeMsr } from './msr.ts';
import type { XenPv } from './pv.ts';
import { CR0_TS, debugRegister, fixCr4, GUEST_CR0, setDebugRegister, setTaskSwitched } from './registers.ts';
import type { VcpuState } from './vcpu.ts';

const IOPL_SHIFT = 12;

const done = (cpu: Cpu, insn: Insn): null => {
  cpu.advance(insn.length, 2);
  return null;
};
const gpOf = (offset: number): number => (offset - STATE.gpr.offset) >> 3;
const setPair = (cpu: Cpu, value: bigint): void => {
  cpu.setGpr32(GPR.rax, lowWord(value));
  cpu.setGpr32(GPR.rdx, highWord(value));
};

/** Runs CPUID by policy into the registers. */
function runCpuid(pv: XenPv, cpu: Cpu): void {
  const answer = pv.cpuid(cpu, cpu.gpr32(GPR.rax), cpu.gpr32(GPR.rcx));
  [GPR.rax, GPR.rbx, GPR.rcx, GPR.rdx].forEach((register, i) => {
    cpu.setGpr32(register, answer[i]!);
  });
}

/** iopl_ok: the guest kernel counts as ring 1, or as ring 0 where IOPL is architectural. */
function hasIopl(pv: XenPv, v: VcpuState): boolean {
  const cpl = !v.kernelMode ? 3 : pv.hasAssist(VMASST.TYPE_architectural_iopl) ? 0 : 1;
  return cpl <= v.iopl >> IOPL_SHIFT;
}

/** Emulates `insn`, raising faults as values; 'no' when Xen leaves it to the guest's #GP handler. */
export function emulatePrivileged(pv: XenPv, cpu: Cpu, insn: Insn): Outcome | 'no' {
  const v = pv.vcpus[cpu.id]!;
  switch (insn.form.name) {
    case 'cli':
    case 'sti':
      // allowed or not, the upcall mask stays: POPF could not be caught either
      return hasIopl(pv, v) ? done(cpu, insn) : 'no';
    case 'in':
    case 'out':
    case 'ins':
    case 'outs':
      return emulatePort(pv, cpu, insn);
    default:
      return v.kernelMode ? emulateKernelOnly(pv, cpu, insn) : 'no';
  }
}

function emulateKernelOnly(pv: XenPv, cpu: Cpu, insn: Insn): Outcome | 'no' {
  const v = pv.vcpus[cpu.id]!;
  switch (insn.form.name) {
    case 'clts':
      setTaskSwitched(v, cpu, false);
      return done(cpu, insn);
    case 'wbinvd':
      return done(cpu, insn);
    case 'rdtsc':
      setPair(cpu, BigInt(pv.tsc(cpu)));
      return done(cpu, insn);
    case 'cpuid':
      runCpuid(pv, cpu);
      return done(cpu, insn);
    case 'rdmsr': {
      const value = readMsr(pv, cpu, cpu.gpr32(GPR.rcx));
      if (value === null) return 'no';
      setPair(cpu, value);
      return done(cpu, insn);
    }
    case 'wrmsr': {
      const value = joinWords(cpu.gpr32(GPR.rax), cpu.gpr32(GPR.rdx));
      return writeMsr(pv, cpu, cpu.gpr32(GPR.rcx), value) ? done(cpu, insn) : 'no';
    }
    case 'mov_from_cr':
      return readControl(pv, cpu, insn);
    case 'mov_to_cr':
      return writeControl(pv, cpu, insn);
    case 'mov_from_dr': {
      const value = debugRegister(v, insn.r);
      if (typeof value === 'number') return fault(VECTOR.ud);
      cpu.setGpr(gpOf(insn.m), value);
      return done(cpu, insn);
    }
    case 'mov_to_dr': {
      const rc = setDebugRegister(v, cpu, insn.r, cpu.gpr(gpOf(insn.m)));
      if (rc === 0) return done(cpu, insn);
      return rc === -ERRNO.ENODEV ? fault(VECTOR.ud) : 'no';
    }
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
      gdprintk(pv.mm.domain, 'emul-priv-op.c:812', 'Attempt to change unmodifiable CR0 flags');
      return 'no';
    }
    setTaskSwitched(v, cpu, (value & CR0_TS) !== 0n);
  } else if (insn.r === 2) {
    v.cr2 = value;
    pv.memory.write64(v.infoAddress + AMD64.vcpuInfo.at.cr2, value);
  } else if (insn.r === 3) {
    if (pv.mm.newBasePointer(cpu, frameNumber(value >> 12n)) !== 0) return 'no';
  } else if (insn.r === 4) {
    v.cr4 = fixCr4(value);
    cpu.set('cr4', v.cr4);
  } else return 'no';
  return done(cpu, insn);
}

/** guest_io_okay: by IOPL, or by the bitmap the kernel registered, which only its own mode can read. */
function mayUsePort(pv: XenPv, cpu: Cpu, port: number, width: number): boolean {
  const v = pv.vcpus[cpu.id]!;
  if (hasIopl(pv, v)) return true;
  if (port + width > v.ioBitmapPorts) return false;
  return pv.inKernelMode(cpu, () => {
    const at = v.ioBitmap + BigInt(port >> 3);
    const [low, high] = [pv.guest.read(cpu, at, 1), pv.guest.read(cpu, at + 1n, 1)];
    const mask = (low?.[0] ?? 0xff) | ((low && high ? high[0]! : 0xff) << 8);
    return (mask & (((1 << width) - 1) << (port & 7))) === 0;
  });
}

/** Port access where the guest may: a domU owns no port, so reads give all ones and writes vanish. */
function emulatePort(pv: XenPv, cpu: Cpu, insn: Insn): Outcome | 'no' {
  const { name, operands, size } = insn.form;
  const portAt = name === 'in' ? 1 : 0;
  const width = operands[1 - portAt]?.width ?? size;
  const port = operands[portAt]?.place === 'imm' ? lowWord(insn.imm) & 0xff : cpu.gpr32(GPR.rdx) & 0xffff;
  if (!mayUsePort(pv, cpu, port, width)) return 'no';
  if (name === 'ins' || name === 'outs') return stringPort(cpu, insn);
  if (name === 'in') {
    cpu.setGprLow(GPR.rax, width, -1);
  }
  return done(cpu, insn);
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
  cpu.setGpr(register, address + BigInt(cpu.rflags & FLAG.df ? -width : width));
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
