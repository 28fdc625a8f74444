/**
 * Model-specific registers as a PV guest sees them (D-43, A-23), on a machine of the policy's vendor, AMD. Sources:
 * xen/arch/x86/pv/emul-priv-op.c read_msr and write_msr, xen/arch/x86/msr.c guest_rdmsr and guest_wrmsr.
 */
import type { Cpu } from '../../x86/cpu.ts';
import { SEG } from '../../x86/state.ts';
import { canonicalAddress } from '../hypercalls/checks.ts';
import { GUEST_EFER, setSegmentBaseOf } from './registers.ts';

const MSR = {
  tsc: 0x10,
  apicBase: 0x1b,
  patchLevel: 0x8b,
  platformInfo: 0xce,
  mperf: 0xe7,
  aperf: 0xe8,
  miscFeaturesEnables: 0x140,
  miscEnable: 0x1a0,
  pat: 0x277,
  perfCapabilities: 0x345,
  efer: 0xc0000080,
  fsBase: 0xc0000100,
  gsBase: 0xc0000101,
  kernelGsBase: 0xc0000102,
  hwcr: 0xc0010015,
  nbCfg: 0xc001001f,
  deCfg: 0xc0011029,
} as const;

/** XEN_MSR_PAT: what every PV guest finds in the page attribute table. */
const XEN_PAT = 0x0000050100070406n;
const APIC_BASE = { enabled: 0xfee00800n, bsp: 0x100n } as const;
/** Fast strings, and that BTS and PEBS are not there (guest_misc_enable). */
const MISC_ENABLE = (1n << 0n) | (1n << 11n) | (1n << 12n) | (1n << 23n);
/** The microcode level that QEMU's AMD processors report. */
const PATCH_LEVEL = 0x01000065n;
const LFENCE_SERIALISE = 2n;

/** Registers that read as zero and take writes without effect: P-states, and performance counters without a vPMU. */
function isIgnored(index: number): boolean {
  const within = (first: number, last: number): boolean => index >= first && index <= last;
  return (
    within(0xc0010000, 0xc0010007) ||
    within(0xc0010041, 0xc0010042) ||
    within(0xc0010061, 0xc001006b) ||
    within(0xc0010200, 0xc001020b) ||
    index === MSR.hwcr ||
    index === MSR.nbCfg
  );
}
/**
 * Registers that a machine of the policy's type has, beside those handled: reading one before the guest has a #GP handler
 * gives 0.
 */
const hostHas = (index: number): boolean =>
  (index <= 0x3ff && index !== 0) || index >>> 16 === 0xc000 || index >>> 16 === 0xc001;
/** Numbers that belong to hypervisors, whose reads are never faked. */
const isHypervisors = (index: number): boolean => index >>> 16 === 0x4000;

/** RDMSR from the guest kernel: the value, or null for #GP(0). */
export function readMsr(cpu: Cpu, index: number, tsc: bigint, hasGpHandler: boolean): bigint | null {
  switch (index) {
    case MSR.tsc:
      return tsc;
    case MSR.apicBase:
      return cpu.id === 0 ? APIC_BASE.enabled | APIC_BASE.bsp : APIC_BASE.enabled;
    case MSR.patchLevel:
      return PATCH_LEVEL;
    case MSR.platformInfo:
    case MSR.miscFeaturesEnables:
    case MSR.perfCapabilities:
      return 0n;
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
    case MSR.deCfg:
      return LFENCE_SERIALISE;
    default:
      if (isIgnored(index)) return 0n;
      return !hasGpHandler && !isHypervisors(index) && hostHas(index) ? 0n : null;
  }
}

/** WRMSR from the guest kernel: false for #GP(0). */
export function writeMsr(cpu: Cpu, index: number, value: bigint): boolean {
  switch (index) {
    case MSR.fsBase:
    case MSR.gsBase:
    case MSR.kernelGsBase:
      if (!canonicalAddress(value)) return false;
      setSegmentBaseOf(cpu, index === MSR.fsBase ? 'fs' : index === MSR.gsBase ? 'gs' : 'userGs', value);
      return true;
    case MSR.efer:
      return value === GUEST_EFER;
    case MSR.miscFeaturesEnables:
      return value === 0n;
    case MSR.mperf:
    case MSR.aperf:
    case MSR.deCfg:
    case MSR.miscEnable:
      return true;
    default:
      return isIgnored(index);
  }
}
