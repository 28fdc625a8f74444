/** CPUID of the IDT machine: the x86-64-v1 baseline (requirement E-01) with the paging features of a bare machine. */

const ascii = (text: string): number[] =>
  Array.from({ length: text.length / 4 }, (_, i) =>
    [...text.slice(i * 4, i * 4 + 4)].reduceRight((x, c) => x * 256 + c.charCodeAt(0), 0),
  );

/** Feature bits of leaf 1 EDX. */
const FEATURES = [
  'fpu',
  'de',
  'pse',
  'tsc',
  'msr',
  'pae',
  'cx8',
  'sep',
  'pge',
  'cmov',
  'pat',
  'clfsh',
  'mmx',
  'fxsr',
  'sse',
  'sse2',
];
const BIT: Record<string, number> = {
  fpu: 0,
  de: 2,
  pse: 3,
  tsc: 4,
  msr: 5,
  pae: 6,
  cx8: 8,
  sep: 11,
  pge: 13,
  cmov: 15,
  pat: 16,
  clfsh: 19,
  mmx: 23,
  fxsr: 24,
  sse: 25,
  sse2: 26,
};
const LEAF_1_EDX = FEATURES.reduce((mask, name) => mask | (1 << BIT[name]!), 0) >>> 0;
/** SYSCALL, NX, LM. */
const EXTENDED_EDX = ((1 << 11) | (1 << 20) | (1 << 29)) >>> 0;
/** Family 15, model 4, stepping 10; CLFLUSH works on 64 bytes. */
const SIGNATURE = 0x00000f4a;
const CLFLUSH_LINES = 8 << 8;
const [V0, V1, V2] = ascii('GenuineIntel');
const BRAND = ascii('Hindsight x86-64-v1'.padEnd(48, '\0'));

type Leaf = readonly [number, number, number, number];

/** EAX, EBX, ECX, EDX of a leaf; an unknown one answers as the highest basic leaf does (SDM vol. 2A "CPUID"). */
export function cpuidLeaf(leaf: number): Leaf {
  switch (leaf) {
    case 0:
      return [1, V0!, V2!, V1!];
    case 0x80000000:
      return [0x80000008, V0!, V2!, V1!];
    case 0x80000001:
      return [0, 0, 0, EXTENDED_EDX];
    case 0x80000002:
    case 0x80000003:
    case 0x80000004: {
      const at = (leaf - 0x80000002) * 4;
      return [BRAND[at]!, BRAND[at + 1]!, BRAND[at + 2]!, BRAND[at + 3]!];
    }
    case 0x80000005:
    case 0x80000006:
    case 0x80000007:
      return [0, 0, 0, 0];
    case 0x80000008:
      // 40 physical and 48 linear address bits
      return [0x3028, 0, 0, 0];
    default:
      return [SIGNATURE, CLFLUSH_LINES, 0, LEAF_1_EDX];
  }
}
