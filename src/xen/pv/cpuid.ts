/**
 * The CPUID policy x86-64-v1 of a PV domain (E-01, D-41): the same answers for CPUID and for the forced emulation prefix.
 * Unknown leaves are zero.
 */
import { XEN_VERSION } from './version.ts';

type Leaf = readonly [number, number, number, number];

const text = (s: string): number[] =>
  [0, 4, 8].map(
    (at) =>
      s.charCodeAt(at) | (s.charCodeAt(at + 1) << 8) | (s.charCodeAt(at + 2) << 16) | (s.charCodeAt(at + 3) << 24),
  );
const bits = (...list: number[]): number => list.reduce((sum, bit) => (sum | (1 << bit)) >>> 0, 0);

/** Leaf 1 EDX: FPU TSC MSR PAE CX8 APIC CMOV PAT CLFSH MMX FXSR SSE SSE2. Real PV guests see APIC, and Linux maps a page for it. */
const FEATURES_EDX = bits(0, 4, 5, 6, 8, 9, 15, 16, 19, 23, 24, 25, 26);
const HYPERVISOR = bits(31);
/** Leaf 0x80000001 EDX: SYSCALL NX LM, and AMD's copies of leaf 1 (FPU TSC MSR PAE CX8 APIC CMOV PAT MMX FXSR). */
const EXTENDED_EDX = bits(0, 4, 5, 6, 8, 9, 11, 15, 16, 20, 23, 24, 29);
/** AMD family 15 model 65 stepping 3 (Opteron), the CPU type of the traces this policy is held against. */
const SIGNATURE = 0x00040f13;
const BRAND = 'Hindsight deterministic CPU (x86-64-v1)'.padEnd(48, '\0');

/** CLFLUSH line size in 8-byte words. */
const CLFLUSH_WORDS = 8;

/** What the answers depend on beside the leaf. */
export interface CpuidContext {
  readonly vcpus: number;
  readonly tscKhz: number;
}

/** [eax, ebx, ecx, edx], unsigned. */
export function pvCpuid(context: CpuidContext, leaf: number, subleaf: number): Leaf {
  const [v0, v1, v2] = text('AuthenticAMD');
  const word = (at: number): number => text(BRAND.slice(at, at + 12))[0]!;
  switch (leaf >>> 0) {
    case 0:
      return [1, v0! >>> 0, v2! >>> 0, v1! >>> 0];
    case 1:
      return [SIGNATURE, (CLFLUSH_WORDS << 8) | (context.vcpus << 16), HYPERVISOR, FEATURES_EDX];
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
      return [SIGNATURE, 0, 0, EXTENDED_EDX];
    case 0x80000002:
    case 0x80000003:
    case 0x80000004: {
      const at = (leaf - 0x80000002) * 16;
      return [word(at) >>> 0, word(at + 4) >>> 0, word(at + 8) >>> 0, word(at + 12) >>> 0];
    }
    case 0x80000005:
      return [0, 0, 0x40020140, 0x40020140];
    case 0x80000008:
      return [(48 << 8) | 40, 0, 0, 0];
    default:
      return [0, 0, 0, 0];
  }
}
