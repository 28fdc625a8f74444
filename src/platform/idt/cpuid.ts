/** CPUID of the IDT machine: the policy's features (requirement E-01) with the paging features of a bare machine. */
import { type Feature, featureWord, POLICIES, VENDOR_NAMES } from '../../x86/features.ts';
import type { CpuPolicy } from '../../x86/form.ts';

const ascii = (text: string): number[] =>
  Array.from({ length: text.length / 4 }, (_, i) =>
    [...text.slice(i * 4, i * 4 + 4)].reduceRight((x, c) => x * 256 + c.charCodeAt(0), 0),
  );

/** Beside the policy's. */
const PLATFORM: readonly Feature[] = ['de', 'pse', 'sep', 'pge'];
/** Family 15, model 4, stepping 10; CLFLUSH works on 64 bytes. */
const SIGNATURE = 0x00000f4a;
const CLFLUSH_LINES = 8 << 8;

type Leaf = readonly [number, number, number, number];

/** EAX, EBX, ECX, EDX of a leaf; an unknown one answers as the highest basic leaf does (SDM vol. 2A "CPUID"). */
export function cpuidLeaf(policy: CpuPolicy, leaf: number): Leaf {
  const [V0, V1, V2] = ascii(VENDOR_NAMES[POLICIES[policy].vendor]);
  switch (leaf) {
    case 0:
      return [1, V0!, V2!, V1!];
    case 0x80000000:
      return [0x80000008, V0!, V2!, V1!];
    case 0x80000001:
      return [0, 0, featureWord(policy, 0x80000001, 'ecx'), featureWord(policy, 0x80000001, 'edx')];
    case 0x80000002:
    case 0x80000003:
    case 0x80000004: {
      const at = (leaf - 0x80000002) * 4;
      const brand = ascii(`Hindsight ${policy}`.padEnd(48, '\0'));
      return [brand[at]!, brand[at + 1]!, brand[at + 2]!, brand[at + 3]!];
    }
    case 0x80000005:
    case 0x80000006:
    case 0x80000007:
      return [0, 0, 0, 0];
    case 0x80000008:
      // 40 physical and 48 linear address bits
      return [0x3028, 0, 0, 0];
    default:
      return [SIGNATURE, CLFLUSH_LINES, featureWord(policy, 1, 'ecx'), featureWord(policy, 1, 'edx', PLATFORM)];
  }
}
