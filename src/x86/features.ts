/**
 * CPUID features: the one place that knows their bits and which policy has them. The decoder asks which instructions exist,
 * the platforms which bits CPUID shows, so that the two cannot disagree.
 */
import type { CpuPolicy } from './form.ts';

/** Whose processor it is: where the two differ, CPU and CPUID follow the same one (docs/instructions.md). */
export type Vendor = 'amd' | 'intel';
/** A microarchitecture level (System V ABI for AMD64, table 3.1). */
export type Level = 1 | 2;

/** Where CPUID shows a feature (SDM vol. 2A "CPUID"), and the first level that has it; null: for the platform to decide. */
interface FeatureBit {
  readonly leaf: 1 | 0x80000001;
  readonly register: 'ecx' | 'edx';
  readonly bit: number;
  readonly since: Level | null;
}

const basic = (register: 'ecx' | 'edx', bit: number, since: Level | null): FeatureBit => ({
  leaf: 1,
  register,
  bit,
  since,
});
const extended = (register: 'ecx' | 'edx', bit: number, since: Level | null): FeatureBit => ({
  leaf: 0x80000001,
  register,
  bit,
  since,
});

/** The features by their names in the manual, in lower case. */
export const FEATURES = {
  fpu: basic('edx', 0, 1),
  de: basic('edx', 2, null),
  pse: basic('edx', 3, null),
  tsc: basic('edx', 4, 1),
  msr: basic('edx', 5, 1),
  pae: basic('edx', 6, 1),
  cx8: basic('edx', 8, 1),
  apic: basic('edx', 9, null),
  sep: basic('edx', 11, null),
  pge: basic('edx', 13, null),
  cmov: basic('edx', 15, 1),
  pat: basic('edx', 16, 1),
  clfsh: basic('edx', 19, 1),
  mmx: basic('edx', 23, 1),
  fxsr: basic('edx', 24, 1),
  sse: basic('edx', 25, 1),
  sse2: basic('edx', 26, 1),
  sse3: basic('ecx', 0, 2),
  ssse3: basic('ecx', 9, 2),
  cx16: basic('ecx', 13, 2),
  'sse4.1': basic('ecx', 19, 2),
  'sse4.2': basic('ecx', 20, 2),
  popcnt: basic('ecx', 23, 2),
  hypervisor: basic('ecx', 31, null),
  syscall: extended('edx', 11, 1),
  nx: extended('edx', 20, 1),
  lm: extended('edx', 29, 1),
  /** LAHF and SAHF in 64-bit mode. */
  lahf: extended('ecx', 0, 2),
} as const satisfies Readonly<Record<string, FeatureBit>>;

/** A CPUID feature by name. */
export type Feature = keyof typeof FEATURES;

/** What the policies stand for. */
export const POLICIES = {
  'x86-64-v1': { vendor: 'amd', level: 1 },
  'x86-64-v2': { vendor: 'amd', level: 2 },
  'x86-64-v1-intel': { vendor: 'intel', level: 1 },
  'x86-64-v2-intel': { vendor: 'intel', level: 2 },
} as const satisfies Readonly<Record<CpuPolicy, { readonly vendor: Vendor; readonly level: Level }>>;

/** The policies' names. */
export const CPU_POLICIES = Object.keys(POLICIES) as readonly CpuPolicy[];

/** The vendors as CPUID leaf 0 names them. */
export const VENDOR_NAMES: Readonly<Record<Vendor, string>> = { amd: 'AuthenticAMD', intel: 'GenuineIntel' };

/** The policy of that name, or null. */
export const cpuPolicyOf = (name: string): CpuPolicy | null => CPU_POLICIES.find((policy) => policy === name) ?? null;

/** The level that has `feature`; what only a platform decides every level has. */
export const levelOf = (feature: Feature): Level => FEATURES[feature].since ?? 1;

/** True when `feature` is part of `policy`; what only a platform decides is part of none. */
export function policyHas(policy: CpuPolicy, feature: Feature): boolean {
  const { since } = FEATURES[feature];
  return since !== null && since <= POLICIES[policy].level;
}

/** The feature word that CPUID shows in a register under `policy`, unsigned, with what the platform has beside it. */
export function featureWord(
  policy: CpuPolicy,
  leaf: 1 | 0x80000001,
  register: 'ecx' | 'edx',
  platform: readonly Feature[] = [],
): number {
  let word = 0;
  for (const [name, bit] of Object.entries(FEATURES)) {
    if (bit.leaf !== leaf || bit.register !== register) continue;
    const feature = name as Feature;
    if (policyHas(policy, feature) || platform.includes(feature)) word |= 1 << bit.bit;
  }
  return word >>> 0;
}
