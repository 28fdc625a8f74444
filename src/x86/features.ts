/**
 * CPUID features: the one place that knows their bits and which policy has them. The decoder asks which instructions exist,
 * the platforms which bits CPUID shows, so that the two cannot disagree.
 */
import type { CpuPolicy } from './form.ts';

/** Where CPUID shows a feature (SDM vol. 2A "CPUID"), and the first policy that has it; null: for the platform to decide. */
interface FeatureBit {
  readonly leaf: 1 | 0x80000001;
  readonly register: 'ecx' | 'edx';
  readonly bit: number;
  readonly since: CpuPolicy | null;
}

const basic = (register: 'ecx' | 'edx', bit: number, since: CpuPolicy | null): FeatureBit => ({
  leaf: 1,
  register,
  bit,
  since,
});
const extended = (register: 'ecx' | 'edx', bit: number, since: CpuPolicy | null): FeatureBit => ({
  leaf: 0x80000001,
  register,
  bit,
  since,
});

/** The features by their names in the manual, in lower case. Levels: System V ABI for AMD64, table 3.1. */
export const FEATURES = {
  fpu: basic('edx', 0, 'x86-64-v1'),
  de: basic('edx', 2, null),
  pse: basic('edx', 3, null),
  tsc: basic('edx', 4, 'x86-64-v1'),
  msr: basic('edx', 5, 'x86-64-v1'),
  pae: basic('edx', 6, 'x86-64-v1'),
  cx8: basic('edx', 8, 'x86-64-v1'),
  apic: basic('edx', 9, null),
  sep: basic('edx', 11, null),
  pge: basic('edx', 13, null),
  cmov: basic('edx', 15, 'x86-64-v1'),
  pat: basic('edx', 16, 'x86-64-v1'),
  clfsh: basic('edx', 19, 'x86-64-v1'),
  mmx: basic('edx', 23, 'x86-64-v1'),
  fxsr: basic('edx', 24, 'x86-64-v1'),
  sse: basic('edx', 25, 'x86-64-v1'),
  sse2: basic('edx', 26, 'x86-64-v1'),
  sse3: basic('ecx', 0, 'x86-64-v2'),
  ssse3: basic('ecx', 9, 'x86-64-v2'),
  cx16: basic('ecx', 13, 'x86-64-v2'),
  'sse4.1': basic('ecx', 19, 'x86-64-v2'),
  'sse4.2': basic('ecx', 20, 'x86-64-v2'),
  popcnt: basic('ecx', 23, 'x86-64-v2'),
  hypervisor: basic('ecx', 31, null),
  syscall: extended('edx', 11, 'x86-64-v1'),
  nx: extended('edx', 20, 'x86-64-v1'),
  lm: extended('edx', 29, 'x86-64-v1'),
  /** LAHF and SAHF in 64-bit mode. */
  lahf: extended('ecx', 0, 'x86-64-v2'),
} as const satisfies Readonly<Record<string, FeatureBit>>;

/** A CPUID feature by name. */
export type Feature = keyof typeof FEATURES;

/** The policies, each with everything the one before has. */
export const CPU_POLICIES: readonly CpuPolicy[] = ['x86-64-v1', 'x86-64-v2'];

/** The policy of that name, or null. */
export const cpuPolicyOf = (name: string): CpuPolicy | null => CPU_POLICIES.find((policy) => policy === name) ?? null;

/** True when `feature` is part of `policy`; what only a platform decides is part of none. */
export function policyHas(policy: CpuPolicy, feature: Feature): boolean {
  const { since } = FEATURES[feature];
  return since !== null && CPU_POLICIES.indexOf(since) <= CPU_POLICIES.indexOf(policy);
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
