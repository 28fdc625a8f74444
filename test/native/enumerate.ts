/**
 * Every instruction form that the CPU must match silicon in. The walk tries prefix x map x opcode x ModRM and lets iced-x86
 * name what it finds, so that no form depends on somebody remembering it. A form is iced's `Code` plus whether its ModRM
 * operand is a register or memory; what is left out is listed with the reason.
 */
import { Code, CodeExt, CpuidFeature, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind } from 'iced-x86';
import { bitsOf, CODE_BASE, MODE_64 } from './records.ts';

/** One form and byte sequences (prefixes to ModRM) that decode to it. */
export interface Form {
  /** `Add_rm32_r32 mem`; unique within a mode. */
  name: string;
  mode: number;
  code: Code;
  mnemonic: string;
  kind: 'reg' | 'mem' | '';
  /** CPUID features it needs, by iced's names. */
  features: string[];
  /** Bytes from the first prefix to ModRM; what follows (SIB, displacement, immediate) is free. */
  seeds: Uint8Array[];
}

/** A form that is not compared, and why. */
export interface Excluded {
  name: string;
  reason: string;
}

const IN_SCOPE = new Set([
  'INTEL8086',
  'INTEL186',
  'INTEL286',
  'INTEL386',
  'INTEL486',
  'X64',
  'CX8',
  'CMOV',
  'CLFSH',
  'FPU',
  'FPU287',
  'FPU387',
  'FXSR',
  'MMX',
  'MULTIBYTENOP',
  'PAUSE',
  'PREFETCHW',
  'SSE',
  'SSE2',
  'SSE3',
  'SSSE3',
  'SSE4_1',
  'SSE4_2',
  'POPCNT',
  'CMPXCHG16B',
]);

/** Hints that a CPU without the feature executes as NOP (SDM vol. 2 "NOP": reserved NOP space 0F 18..1F). */
const HINTS = /^Endbr(32|64)$/;

const LEAVES_TO_OS = 'leaves to the operating system; the platform seam has its own tests';
const HOST_TABLES = "shows the host kernel's descriptor tables or selectors";
const REASONS: Array<[RegExp, string]> = [
  [/^(Syscall|Sysenter|Int_imm8|Int1|Iret|Sysret|Sysexit)/, LEAVES_TO_OS],
  [/^(Retf|Call_ptr|Jmp_ptr|Call_m16|Jmp_m16)/, `far transfer: ${HOST_TABLES}`],
  [/^(Sgdt|Sidt|Sldt|Str_|Smsw|Lar_|Lsl_|Verr|Verw|Arpl)/, HOST_TABLES],
  [/^(Mov_Sreg|Pop[wdq]?_[DEFGS]S|L[defgs]s_r)/i, `loads a segment register: ${HOST_TABLES}`],
  [/^(Cpuid|Rdtsc|Rdpmc|Rdtscp)/, 'its result is not a function of the state'],
  [/^Bswap_r16$/, 'undefined for a 16-bit operand (SDM vol. 2 "BSWAP")'],
  [/^(Ud0|Ud1)/, 'length depends on the vendor; UD2 is compared'],
  [/^(Fndisi|Fneni|Fnsetpm|Frstpm|Fnop_|Fstsg|Fdisi|Feni|Fsetpm)/, 'no operation since the 387 and not on every CPU'],
  [/^Salc$/, 'not in the manual'],
  [/^Reservednop_.*_0F0D$/, 'register form of PREFETCHW: #UD on some vendors'],
];

/** Branches whose 66 prefix Intel ignores and AMD obeys in 64-bit mode: encodings with it are passed over. */
const NEAR_BRANCH_64 = /^(J|Call_rel|Call_rm|Loop|Retn|Xbegin)/;

const codeNames = new Map<number, string>();
for (const [name, value] of Object.entries(Code)) if (typeof value === 'number') codeNames.set(value, name);
const featureNames = new Map<number, string>();
for (const [name, value] of Object.entries(CpuidFeature)) if (typeof value === 'number') featureNames.set(value, name);
const mnemonicNames = new Map<number, string>();
for (const [name, value] of Object.entries(Mnemonic)) if (typeof value === 'number') mnemonicNames.set(value, name);

/** iced's name of `code`. */
const codeName = (code: Code): string => codeNames.get(code)!;

/** Why the form is not compared, or null. */
function exclusion(code: Code, features: Int32Array): string | null {
  const name = codeName(code);
  for (const [pattern, reason] of REASONS) if (pattern.test(name)) return reason;
  if (HINTS.test(name)) return null;
  if (/^(Tzcnt|Lzcnt)/.test(name)) return 'the host executes it, an x86-64-v2 CPU executes BSF or BSR';
  for (const feature of features) {
    const featureName = featureNames.get(feature)!;
    if (!IN_SCOPE.has(featureName)) return `newer than x86-64-v2 or another vendor's: ${featureName}`;
  }
  const info = CodeExt.opCode(code);
  const privileged = info.isPrivileged || info.mustBeCpl0 || info.mayRequireCpl0 || info.isInputOutput;
  info.free();
  if (privileged) return 'privileged or I/O: covered by the vectors of the platform';
  return null;
}

const nearBranches = new Set([...codeNames].filter(([, name]) => NEAR_BRANCH_64.test(name)).map(([code]) => code));
/** True for a code whose encodings with 66 in 64-bit mode are the vendor's own. */
export const isNearBranch = (code: Code): boolean => nearBranches.has(code);

const loops = new Set([...codeNames].filter(([, name]) => /^Loopn?e/.test(name)).map(([code]) => code));
/** LOOPE and LOOPNE, in which some processors let an F2 or F3 prefix replace the condition: passed over with one. */
const isConditionalLoop = (code: Code): boolean => loops.has(code);

/** Encodings of forms in scope that are never tried. */
export const PASSED_OVER: readonly string[] = [
  '66 on a near branch in 64-bit mode: Intel ignores it, AMD obeys it',
  'F2 or F3 on LOOPE and LOOPNE: some processors let it replace the condition',
];

const SEEDS_MAX = 48;
const SLOT = 16;
/** What follows ModRM while walking: a SIB byte and zeros; also an immediate. */
const TAIL = Uint8Array.of(0x24, 1, 0, 0, 0, 0, 0, 0);

const LEGACY_PREFIXES = new Set([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3]);
const isPrefix = (byte: number, mode: number): boolean =>
  LEGACY_PREFIXES.has(byte) || (mode === MODE_64 && (byte & 0xf0) === 0x40);

/** All forms of `mode` in scope in the order of iced's codes, and the excluded ones. */
export function enumerateForms(mode: number): { forms: Form[]; excluded: Excluded[] } {
  const forms = new Map<number, Form>();
  const seen = new Map<number, number>();
  const excluded = new Map<string, string>();
  const slots = new Uint8Array(65536 * SLOT);
  const instruction = new Instruction();
  const walk = (prefix: number[], map: number[]): void => {
    const head = [...prefix, ...map];
    const repeat = prefix.includes(0xf2) || prefix.includes(0xf3);
    const vendorBranch = mode === MODE_64 && prefix.includes(0x66);
    for (let i = 0; i < 65536; i++) {
      const at = i * SLOT;
      slots.set(head, at);
      slots[at + head.length] = i >> 8;
      slots[at + head.length + 1] = i & 0xff;
      slots.set(TAIL, at + head.length + 2);
    }
    const decoder = new Decoder(bitsOf(mode), slots, DecoderOptions.None);
    for (let i = 0; i < 65536; i++) {
      if (map.length === 0 && isPrefix(i >> 8, mode)) continue;
      decoder.position = i * SLOT;
      decoder.ip = BigInt(CODE_BASE);
      decoder.decodeOut(instruction);
      const code = instruction.code;
      if (code === Code.INVALID) continue;
      let memory = false;
      for (let op = instruction.opCount - 1; op >= 0; op--) memory ||= instruction.opKind(op) === OpKind.Memory;
      if (vendorBranch && isNearBranch(code)) continue;
      if (repeat && isConditionalLoop(code)) continue;
      const key = code * 2 + (memory ? 1 : 0);
      const count = (seen.get(key) ?? 0) + 1;
      seen.set(key, count);
      let form = forms.get(key);
      if (count === 1) {
        const reason = exclusion(code, instruction.cpuidFeatures());
        if (reason !== null) {
          excluded.set(codeName(code), reason);
          continue;
        }
        const kind = memory ? 'mem' : /_rm|_xmmm|_mmm|_rmm/.test(codeName(code)) ? 'reg' : '';
        form = {
          name: kind === '' ? codeName(code) : `${codeName(code)} ${kind}`,
          mode,
          code,
          mnemonic: mnemonicNames.get(instruction.mnemonic)!.toLowerCase(),
          kind,
          features: [...instruction.cpuidFeatures()].map((feature) => featureNames.get(feature)!),
          seeds: [],
        };
        forms.set(key, form);
      }
      if (form === undefined) continue;
      // Keep an even spread of what the walk meets: the n-th replaces an earlier one with probability max/n.
      const slot = form.seeds.length < SEEDS_MAX ? form.seeds.length : Math.imul(count, 0x9e3779b1) >>> 0;
      const keep = form.seeds.length < SEEDS_MAX ? slot : slot % count;
      if (keep < SEEDS_MAX) form.seeds[keep] = slots.slice(i * SLOT, i * SLOT + head.length + 2);
    }
    decoder.free();
  };
  const rex = mode === MODE_64 ? [[], [0x48]] : [[]];
  for (const legacy of [[], [0x66], [0xf3], [0xf2], [0x67], [0x66, 0x67]])
    for (const r of rex) for (const map of [[], [0x0f]]) walk([...legacy, ...r], map);
  for (const legacy of [[], [0x66], [0xf3], [0xf2], [0x66, 0xf2]])
    for (const r of rex)
      for (const map of [
        [0x0f, 0x38],
        [0x0f, 0x3a],
      ])
        walk([...legacy, ...r], map);
  instruction.free();
  return {
    forms: [...forms.values()].sort((a, b) => a.code - b.code || a.kind.localeCompare(b.kind)),
    excluded: [...excluded].map(([name, reason]) => ({ name, reason })).sort((a, b) => a.name.localeCompare(b.name)),
  };
}
