/**
 * Registers of a PV guest that Xen keeps for it: CR0.TS, CR4, the debug registers and the segment bases. Sources:
 * xen/arch/x86/pv/misc-hypercalls.c, xen/arch/x86/pv/domain.c.
 */
import type { Cpu } from '../../x86/cpu.ts';
import { SEG } from '../../x86/state.ts';
import { ERRNO } from '../abi/errno.ts';
import { addressOk } from '../domain.ts';
import type { VcpuState } from './vcpu.ts';

/** CR0 as every PV guest reads it: PE MP ET NE WP AM PG; TS is the guest's. */
export const GUEST_CR0 = 0x80050033n;
export const CR0_TS = 8n;
const CR4 = { tsd: 4n, pae: 0x20n, mce: 0x40n, osfxsr: 0x200n, osxmmexcpt: 0x400n } as const;
/** SCE, LME, LMA, NXE. */
export const GUEST_EFER = 0xd01n;

/** pv_fixup_guest_cr4: a guest owns TSD (no DE, FSGSBASE or OSXSAVE under x86-64-v1) and sees some bits of Xen's. */
export function fixCr4(value: bigint): bigint {
  return (value & CR4.tsd) | CR4.pae | CR4.mce | CR4.osfxsr | CR4.osxmmexcpt;
}

/** Sets or clears CR0.TS. */
export function setTaskSwitched(v: VcpuState, cpu: Cpu, on: boolean): void {
  v.taskSwitched = on;
  const cr0 = cpu.get('cr0');
  cpu.set('cr0', on ? cr0 | CR0_TS : cr0 & ~CR0_TS);
}

/** Writes the base of FS, of GS as the running mode sees it, or of the user's GS while the kernel runs. */
export function setSegmentBaseOf(cpu: Cpu, which: 'fs' | 'gs' | 'userGs', base: bigint): void {
  if (which === 'userGs') cpu.set('kernelGsBase', base);
  else cpu.set('segmentBase', base, SEG[which]);
}

/** Debug registers 4 and 5 are other names of 6 and 7 without CR4.DE, which no guest has under x86-64-v1. */
const aliased = (register: number): number => (register === 4 || register === 5 ? register + 2 : register);
const DR6 = { reservedOne: 0xffff0ff0n, reservedZero: 0x1000n, singleStep: 0x4000n } as const;
const DR7 = { reservedOne: 0x400n, reservedZero: 0xd800n, generalDetect: 0x2000n, active: 0xffn, io: 2n } as const;

/** Moves what a #DB reported in the processor's DR6 to where the guest reads it (do_debug). */
export function takeDebugStatus(v: VcpuState, cpu: Cpu): void {
  v.debug[6]! |= cpu.get('dr', 6) & ~DR6.reservedZero;
  cpu.set('dr', DR6.reservedOne, 6);
}

/** Xen has stepped over an instruction for the guest. */
export function noteSingleStep(v: VcpuState): void {
  v.debug[6]! |= DR6.singleStep | DR6.reservedOne;
}

/** get_debugreg: the value or a negative errno. */
export function debugRegister(v: VcpuState, register: number): bigint | number {
  return v.debug[aliased(register)] ?? -ERRNO.ENODEV;
}

/** Gives the processor what the guest has set: breakpoints while one is enabled (activate_debugregs). */
function activateBreakpoints(v: VcpuState, cpu: Cpu): void {
  const active = v.debug[7]! & DR7.active;
  for (let i = 0; i < 4; i++) cpu.set('dr', active ? v.debug[i]! : 0n, i);
  cpu.set('dr', active ? v.debug[7]! : DR7.reservedOne, 7);
}

/** set_debugreg, of the vCPU that calls: 0 or a negative errno. */
export function setDebugRegister(v: VcpuState, cpu: Cpu, register: number, value: bigint): number {
  const rc = keepDebugRegister(v, register, value);
  if (rc === 0) activateBreakpoints(v, cpu);
  return rc;
}

function keepDebugRegister(v: VcpuState, register: number, value: bigint): number {
  const number = aliased(register);
  if (number <= 3) {
    if (!addressOk(value)) return -ERRNO.EPERM;
    v.debug[number] = value;
    return 0;
  }
  if (number > 7) return -ERRNO.ENODEV;
  if (value >> 32n) return -ERRNO.EINVAL;
  if (number === 6) {
    v.debug[6] = (value & ~DR6.reservedZero) | DR6.reservedOne;
    return 0;
  }
  const control = (value & ~DR7.reservedZero) | DR7.reservedOne;
  if (control & DR7.generalDetect) return -ERRNO.EPERM;
  // I/O breakpoints need CR4.DE
  for (let at = 16n; control & DR7.active && at < 32n; at += 4n)
    if (((control >> at) & 3n) === DR7.io) return -ERRNO.EPERM;
  v.debug[7] = control;
  return 0;
}
