/**
 * Model-specific registers as a PV guest sees them (D-43, A-23), on a machine of the policy's vendor. Sources:
 * xen/arch/x86/pv/emul-priv-op.c read_msr and write_msr, xen/arch/x86/msr.c guest_rdmsr and guest_wrmsr, traps.c guest_rdmsr_xen and
 * guest_wrmsr_xen, cpu/mcheck/vmce.c.
 */
import { PAGE_SIZE } from '../../core/units.ts';
import type { Cpu } from '../../x86/cpu.ts';
import type { Vendor } from '../../x86/features.ts';
import { SEG, VECTOR } from '../../x86/state.ts';
import { writeHypercallPage } from '../hypercall-page.ts';
import { canonicalAddress } from '../hypercalls/checks.ts';
import { gdprintk } from '../mm/messages.ts';
import { frameNumber } from '../mm/page-info.ts';
import type { XenPv } from './pv.ts';
import { GUEST_EFER, setSegmentBaseOf } from './registers.ts';

const MSR = {
  p5McAddr: 0x0,
  p5McType: 0x1,
  tsc: 0x10,
  apicBase: 0x1b,
  patchLevel: 0x8b,
  platformId: 0x17,
  featureControl: 0x3a,
  platformInfo: 0xce,
  mperf: 0xe7,
  aperf: 0xe8,
  miscFeaturesEnables: 0x140,
  mcgCap: 0x179,
  mcgStatus: 0x17a,
  mcgCtl: 0x17b,
  perfStatus: 0x198,
  perfCtl: 0x199,
  thermControl: 0x19a,
  thermStatus: 0x19c,
  miscEnable: 0x1a0,
  energyPerfBias: 0x1b0,
  pat: 0x277,
  perfCapabilities: 0x345,
  hypercallPage: 0x40000000,
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

const FEATURE_CONTROL_LOCKED = 1n;
/** Two banks, and on Intel's MCG_SER_P (INTEL_GUEST_MCG_CAP, AMD_GUEST_MCG_CAP). */
const MCG_CAP: Readonly<Record<Vendor, bigint>> = { amd: 2n, intel: 2n | (1n << 24n) };
const MC_BANKS = 2;
const MC0_CTL = 0x400;
const MC0_CTL2 = 0x280;
const MC_REGISTERS = 32;

const within = (index: number, first: number, last: number): boolean => index >= first && index <= last;

/** Registers that read as zero and take writes without effect: P-states, and performance counters without a vPMU. */
function isIgnored(index: number, vendor: Vendor): boolean {
  if (index === MSR.nbCfg) return true;
  if (vendor === 'intel')
    return (
      within(index, 0xc1, 0xc8) ||
      within(index, 0x186, 0x189) ||
      within(index, 0x309, 0x30b) ||
      within(index, 0x38d, 0x390)
    );
  return (
    within(index, 0xc0010000, 0xc0010007) ||
    within(index, 0xc0010041, 0xc0010042) ||
    within(index, 0xc0010061, 0xc001006b) ||
    within(index, 0xc0010200, 0xc001020b) ||
    index === MSR.hwcr
  );
}
/** Machine-check registers of a bank, whether there is one or not (MSR_IA32_MCx_CTL to MISC, MCx_CTL2). */
const isBank = (index: number): boolean =>
  within(index, MC0_CTL, MC0_CTL + 4 * MC_REGISTERS - 1) || within(index, MC0_CTL2, MC0_CTL2 + MC_REGISTERS - 1);

/** vmce_rdmsr: null for what is no machine-check register. */
function readMachineCheck(index: number, status: bigint, vendor: Vendor): bigint | null {
  if (index === MSR.p5McAddr || index === MSR.p5McType || index === MSR.mcgCtl) return 0n;
  if (index === MSR.mcgCap) return MCG_CAP[vendor];
  if (index === MSR.mcgStatus) return status;
  if (!isBank(index)) return null;
  // every register CTL of a bank that is there is all ones
  return within(index, MC0_CTL, MC0_CTL + 4 * MC_BANKS - 1) && index % 4 === 0 ? (1n << 64n) - 1n : 0n;
}

/**
 * Registers that a machine of the policy's type has, beside those handled: reading one before the guest has a #GP handler
 * gives 0.
 */
const hostHas = (index: number): boolean => index <= 0x3ff || index >>> 16 === 0xc000 || index >>> 16 === 0xc001;
/** Numbers that belong to hypervisors, whose reads are never faked. */
const isHypervisors = (index: number): boolean => index >>> 16 === 0x4000;

/** Registers of one vendor's machines alone (guest_rdmsr); null for another one, a fault as 'gp'. */
function readOfVendor(index: number, vendor: Vendor): bigint | 'gp' | null {
  switch (index) {
    case MSR.featureControl:
      return vendor === 'intel' ? FEATURE_CONTROL_LOCKED : 'gp';
    case MSR.platformId:
    case MSR.perfStatus:
    case MSR.perfCtl:
    case MSR.thermStatus:
      return vendor === 'intel' ? 0n : 'gp';
    case MSR.hwcr:
      return vendor === 'amd' ? 0n : 'gp';
    case MSR.deCfg:
      return vendor === 'amd' ? LFENCE_SERIALISE : 'gp';
    default:
      return null;
  }
}

function readKnown(pv: XenPv, cpu: Cpu, index: number): bigint | null {
  const { vendor } = pv;
  const ofVendor = readOfVendor(index, vendor);
  if (ofVendor !== null) return ofVendor === 'gp' ? null : ofVendor;
  switch (index) {
    case MSR.tsc:
      return BigInt(pv.tsc(cpu));
    case MSR.apicBase:
      return cpu.id === 0 ? APIC_BASE.enabled | APIC_BASE.bsp : APIC_BASE.enabled;
    case MSR.patchLevel:
      return PATCH_LEVEL;
    case MSR.platformInfo:
    case MSR.miscFeaturesEnables:
    case MSR.perfCapabilities:
    case MSR.hypercallPage:
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
    default:
      return isIgnored(index, vendor) ? 0n : readMachineCheck(index, pv.vcpus[cpu.id]!.mcgStatus, vendor);
  }
}

/** RDMSR from the guest kernel: the value, or null for #GP(0). */
export function readMsr(pv: XenPv, cpu: Cpu, index: number): bigint | null {
  const value = readKnown(pv, cpu, index);
  if (value !== null) return value;
  const handled = pv.vcpus[cpu.id]!.traps[VECTOR.gp]!.address !== 0n;
  return !handled && !isHypervisors(index) && hostHas(index) ? 0n : null;
}

/** Fills the page of the domain that `value` names with the hypercall stubs (guest_wrmsr_xen). */
function placeHypercallPage(pv: XenPv, value: bigint): boolean {
  const index = Number(value & BigInt(PAGE_SIZE - 1));
  if (index !== 0) {
    gdprintk(pv.mm.domain, 'traps.c:1048', `wrmsr hypercall page index ${`0x${index.toString(16)}`} unsupported`);
    return false;
  }
  const frame = frameNumber(value >> 12n);
  if (!pv.mm.takeWritable(frame)) {
    const known = pv.mm.domain.frames.valid(frame) ? frame.toString(16).padStart(16, '0') : 'f'.repeat(16);
    gdprintk(pv.mm.domain, 'traps.c:1067', `Bad GMFN ${(value >> 12n).toString(16)} (MFN ${known}) to MSR 40000000`);
    return false;
  }
  writeHypercallPage(pv.memory, frame);
  pv.mm.giveWritable(frame);
  return true;
}

/** WRMSR from the guest kernel: false for #GP(0). */
export function writeMsr(pv: XenPv, cpu: Cpu, index: number, value: bigint): boolean {
  const { vendor } = pv;
  switch (index) {
    case MSR.fsBase:
    case MSR.gsBase:
    case MSR.kernelGsBase:
      if (!canonicalAddress(value)) return false;
      setSegmentBaseOf(cpu, index === MSR.fsBase ? 'fs' : index === MSR.gsBase ? 'gs' : 'userGs', value);
      return true;
    case MSR.hypercallPage:
      return placeHypercallPage(pv, value);
    case MSR.efer:
      return value === GUEST_EFER;
    case MSR.miscFeaturesEnables:
      return value === 0n;
    case MSR.patchLevel:
      return vendor === 'intel' && value === 0n;
    case MSR.mcgStatus:
      pv.vcpus[cpu.id]!.mcgStatus = value;
      return true;
    case MSR.mcgCap:
    case MSR.mcgCtl:
    case MSR.mperf:
    case MSR.aperf:
    case MSR.miscEnable:
      return true;
    case MSR.deCfg:
      return vendor === 'amd';
    case MSR.perfCtl:
    case MSR.thermControl:
    case MSR.energyPerfBias:
      return vendor === 'intel';
    default:
      if (isBank(index)) return value === 0n || !within(index, MC0_CTL, MC0_CTL + 4 * MC_BANKS - 1) || index % 4 === 0;
      return isIgnored(index, vendor);
  }
}
