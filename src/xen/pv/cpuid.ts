/**
 * CPUID of a PV domain by its policy (E-01, D-41): the same answers for CPUID and for the forced emulation prefix. Unknown
 * leaves are zero.
 */
import { type Feature, featureWord, POLICIES, VENDOR_NAMES, type Vendor } from '../../x86/features.ts';
import type { CpuPolicy } from '../../x86/form.ts';
import { XEN_VERSION } from './version.ts';

type Leaf = readonly [number, number, number, number];

const text = (s: string): number[] =>
  [0, 4, 8].map(
    (at) =>
      s.charCodeAt(at) | (s.charCodeAt(at + 1) << 8) | (s.charCodeAt(at + 2) << 16) | (s.charCodeAt(at + 3) << 24),
  );

/**
 * Beside the policy's: real PV guests see APIC, and Linux maps a page for it. Xen runs in long mode, where AMD's processors have no
 * SYSENTER (xen/arch/x86/cpu-policy.c).
 */
const PLATFORM: Readonly<Record<Vendor, readonly Feature[]>> = {
  amd: ['apic', 'hypervisor'],
  intel: ['apic', 'sep', 'hypervisor'],
};
/** Bits of leaf 1 EDX that AMD repeats in leaf 0x80000001 (APM vol. 3, E.4.2): 0 to 9, 12 to 17, MMX, FXSR. */
const AMD_COPIES = 0x0183_f3ff;
/**
 * AMD family 15 model 65 stepping 3 (Opteron), the CPU type of the traces this policy is held against; Intel family 15 model 4
 * stepping 10, the first with long mode.
 */
const SIGNATURE: Readonly<Record<Vendor, number>> = { amd: 0x00040f13, intel: 0x00000f4a };

/** CLFLUSH line size in 8-byte words. */
const CLFLUSH_WORDS = 8;

/** What the answers depend on beside the leaf. */
export interface CpuidContext {
  readonly policy: CpuPolicy;
  readonly vcpus: number;
  readonly tscKhz: number;
}

/** [eax, ebx, ecx, edx], unsigned. */
export function pvCpuid(context: CpuidContext, leaf: number, subleaf: number): Leaf {
  const { policy } = context;
  const { vendor } = POLICIES[policy];
  const [v0, v1, v2] = text(VENDOR_NAMES[vendor]);
  const signature = SIGNATURE[vendor];
  const brand = `Hindsight deterministic CPU (${policy})`.padEnd(48, '\0');
  const word = (at: number): number => text(brand.slice(at, at + 12))[0]!;
  const features = (register: 'ecx' | 'edx'): number => featureWord(policy, 1, register, PLATFORM[vendor]);
  switch (leaf >>> 0) {
    case 0:
      return [1, v0! >>> 0, v2! >>> 0, v1! >>> 0];
    case 1:
      // the initial APIC id of a PV vCPU is 0, whichever it is (guest_cpuid)
      return [signature, (CLFLUSH_WORDS << 8) | (context.vcpus << 16), features('ecx'), features('edx')];
    case 0x40000000: {
      const [x0, x1, x2] = text('XenVMMXenVMM');
      return [0x40000004, x0! >>> 0, x1! >>> 0, x2! >>> 0];
    }
    case 0x40000001:
      return [XEN_VERSION, 0, 0, 0];
    case 0x40000002:
      // One hypercall page by MSR 0x40000000; ECX bit 0: MMU_PT_UPDATE_PRESERVE_AD.
      return [1, 0x40000000, 1, 0];
    case 0x40000003:
      return subleaf === 0 ? [0, 0, context.tscKhz, 0] : [0, 0, 0, 0];
    case 0x40000004:
      return [0, 0, 0, 0];
    case 0x80000000:
      return [0x80000008, v0! >>> 0, v2! >>> 0, v1! >>> 0];
    case 0x80000001:
      return [
        vendor === 'amd' ? signature : 0,
        0,
        featureWord(policy, 0x80000001, 'ecx'),
        (featureWord(policy, 0x80000001, 'edx') | (vendor === 'amd' ? features('edx') & AMD_COPIES : 0)) >>> 0,
      ];
    case 0x80000002:
    case 0x80000003:
    case 0x80000004: {
      const at = (leaf - 0x80000002) * 16;
      return [word(at) >>> 0, word(at + 4) >>> 0, word(at + 8) >>> 0, word(at + 12) >>> 0];
    }
    case 0x80000005:
      return vendor === 'amd' ? [0, 0, 0x40020140, 0x40020140] : [0, 0, 0, 0];
    case 0x80000008:
      return [(48 << 8) | 40, 0, 0, 0];
    default:
      return [0, 0, 0, 0];
  }
}
