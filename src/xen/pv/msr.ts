/**
 * Model-specific registers as a PV guest sees them (D-43, A-23; xen/arch/x86/pv/emul-priv-op.c read_msr, write_msr).
 */
import type { Cpu } from '../../x86/cpu.ts';
import { SEG } from '../../x86/state.ts';

export const MSR = {
  tsc: 0x10,
  apicBase: 0x1b,
  sysenterCs: 0x174,
  miscEnable: 0x1a0,
  pat: 0x277,
  efer: 0xc0000080,
  fsBase: 0xc0000100,
  gsBase: 0xc0000101,
  kernelGsBase: 0xc0000102,
  tscAux: 0xc0000103,
} as const;

/** XEN_MSR_PAT: what every PV guest finds in the page attribute table. */
const XEN_PAT = 0x0000050100070406n;
/** SCE, LME, LMA, NXE. */
const GUEST_EFER = 0xd01n;
const MISC_ENABLE = 0x00000001n | (1n << 11n) | (1n << 12n) | (1n << 23n);
/** Registers that a host of the policy's type has, beside the handled ones: reading them before the guest has a #GP handler gives 0. */
const HOST_HAS = (index: number): boolean =>
  (index <= 0x3ff && index !== 0) || index >>> 16 === 0xc000 || index >>> 16 === 0xc001;

const canonical = (value: bigint): boolean => BigInt.asIntN(64, value) === BigInt.asIntN(48, value);

/** RDMSR from the guest kernel: the value, or null for #GP(0). */
export function readMsr(cpu: Cpu, index: number, tsc: bigint, vcpu: number, hasGpHandler: boolean): bigint | null {
  switch (index >>> 0) {
    case MSR.tsc:
      return tsc;
    case MSR.apicBase:
      return vcpu === 0 ? 0xfee00900n : 0xfee00800n;
    case MSR.miscEnable:
      return MISC_ENABLE;
    case MSR.pat:
      return XEN_PAT;
    case MSR.efer:
      return GUEST_EFER;
    case MSR.fsBase:
      return cpu.get('segmentBase', SEG.fs);
    case MSR.gsBase:
      return cpu.get('segmentBase', SEG.gs);
    case MSR.kernelGsBase:
      return cpu.get('kernelGsBase');
    default:
      return !hasGpHandler && index >>> 16 !== 0x4000 && HOST_HAS(index >>> 0) ? 0n : null;
  }
}

/** WRMSR from the guest kernel: false for #GP(0). */
export function writeMsr(cpu: Cpu, index: number, value: bigint): boolean {
  switch (index >>> 0) {
    case MSR.fsBase:
      if (!canonical(value)) return false;
      cpu.set('segmentBase', value, SEG.fs);
      return true;
    case MSR.gsBase:
      if (!canonical(value)) return false;
      cpu.set('segmentBase', value, SEG.gs);
      return true;
    case MSR.kernelGsBase:
      if (!canonical(value)) return false;
      cpu.set('kernelGsBase', value);
      return true;
    case MSR.efer:
      return value === GUEST_EFER;
    case MSR.miscEnable:
      return true; // a mismatched write is dropped with a warning
    default:
      return false;
  }
}
