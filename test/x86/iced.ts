/** What iced-x86 says about an instruction, in Hindsight's words: the independent opinion of the decoder tests. */
import {
  Code,
  CpuidFeature,
  Decoder,
  DecoderOptions,
  Instruction,
  MemorySizeExt,
  Mnemonic,
  OpKind,
  Register,
  RegisterExt,
} from 'iced-x86';
import { POLICIES } from '../../src/x86/features.ts';
import type { CpuPolicy } from '../../src/x86/form.ts';
import { STATE } from '../../src/x86/state.ts';

/** Features of x86-64-v1; an instruction that needs another one is invalid there. */
const V1 = new Set(
  [
    'INTEL8086',
    'INTEL8086_ONLY',
    'INTEL186',
    'INTEL286',
    'INTEL386',
    'INTEL486',
    'X64',
    'CPUID',
    'CMOV',
    'CX8',
    'FPU',
    'FPU287',
    'FPU387',
    'FXSR',
    'MMX',
    'MSR',
    'SSE',
    'SSE2',
    'SEP',
    'SYSCALL',
    'TSC',
    'CLFSH',
    'MULTIBYTENOP',
    'PAUSE',
    'RDPMC',
    'UDBG',
    'PREFETCHW',
    'CET_IBT',
    'PREFETCHITI',
    'INTEL286_ONLY',
    'FPU387SL_ONLY',
    'FPU287XL_ONLY',
    'FPU_ONLY',
  ].map((name) => (CpuidFeature as unknown as Record<string, number>)[name]),
);

/** What x86-64-v2 has beside. */
const V2 = new Set(
  ['SSE3', 'SSSE3', 'SSE4_1', 'SSE4_2', 'POPCNT', 'CMPXCHG16B'].map(
    (name) => (CpuidFeature as unknown as Record<string, number>)[name],
  ),
);

/** Later additions to encodings that an older CPU executes as a hint, or as the instruction without the F3. */
const SAME_WITHOUT_FEATURE = /^(Prefetch\w*|Wbnoinvd|Cldemote_m8|Rdssp._r\d+|Tzcnt_\w+|Lzcnt_\w+|Endbr\d+)$/;
/** Intel has SYSCALL and SYSRET in 64-bit mode only (SDM vol. 2B). */
const INTEL_64_ONLY = /^Sys(call|ret)/;
/** LOCK makes CR8 of CR0 where CPUID has AltMovCr8 (APM vol. 3 "MOV CRn"), which no policy has. */
const MOV_CR = /^Mov_(r(32|64)_cr|cr_r(32|64))$/;
const LOCK = 0xf0;

export interface IcedView {
  readonly valid: boolean;
  readonly length: number;
  readonly code: string;
  readonly mnemonic: string;
  /** The byte before the opcode is REX with B set. */
  readonly rexB: boolean;
  /** CPUID features, by iced's names. */
  readonly features: readonly string[];
  readonly text: string;
  readonly instruction: Instruction;
  /** Decoded as AMD's processors do. */
  readonly amd: boolean;
}

/** Decodes 16-byte slots of one buffer. */
export class Iced {
  readonly #decoder: Decoder;
  readonly #is64: boolean;
  readonly #data: Uint8Array;
  readonly #instruction = new Instruction();
  readonly #policy: CpuPolicy;
  readonly #amd: boolean;
  constructor(bitness: 16 | 32 | 64, data: Uint8Array, policy: CpuPolicy) {
    this.#policy = policy;
    this.#data = data;
    this.#is64 = bitness === 64;
    this.#amd = POLICIES[policy].vendor === 'amd';
    this.#decoder = new Decoder(bitness, data, this.#amd ? DecoderOptions.AMD : DecoderOptions.None);
  }
  #has(feature: number, code: string): boolean {
    const v2 = POLICIES[this.#policy].level === 2;
    if (this.#is64 && !v2 && /^[LS]ahf$/.test(code)) return false;
    return V1.has(feature) || (v2 && V2.has(feature));
  }
  at(slot: number): IcedView {
    this.#decoder.position = slot * 16;
    this.#decoder.ip = 0n;
    this.#decoder.decodeOut(this.#instruction);
    const i = this.#instruction;
    const features = Array.from(i.cpuidFeatures());
    const code = Code[i.code]!;
    const allowed = SAME_WITHOUT_FEATURE.test(code) || features.every((x) => this.#has(x, code));
    return {
      valid:
        !i.isInvalid &&
        allowed &&
        !(!this.#is64 && !this.#amd && INTEL_64_ONLY.test(code)) &&
        !(MOV_CR.test(code) && this.#data.subarray(slot * 16, slot * 16 + i.length - 3).includes(LOCK)),
      length: i.length,
      code,
      rexB: this.#is64 && (this.#data[slot * 16 + i.length - 2]! & 0xf1) === 0x41,
      mnemonic: Mnemonic[i.mnemonic]!.toLowerCase(),
      features: features.map((x) => CpuidFeature[x]!),
      text: `${Code[i.code]} [${features.map((x) => CpuidFeature[x]).join(' ')}]`,
      instruction: i,
      amd: this.#amd,
    };
  }
}

const GENERAL = 'AX CX DX BX SP BP SI DI'.split(' ');
/** State offset of a register by iced's name (number for control and debug registers and ST(i)). */
export function registerAt(register: Register): number {
  const name = Register[register]!;
  const gpr = STATE.gpr.offset;
  let n = ['AL', 'CL', 'DL', 'BL', 'SPL', 'BPL', 'SIL', 'DIL'].indexOf(name);
  if (n >= 0) return gpr + n * 8;
  n = ['AH', 'CH', 'DH', 'BH'].indexOf(name);
  if (n >= 0) return gpr + n * 8 + 1;
  n = GENERAL.indexOf(name.replace(/^[ER]/, ''));
  if (n >= 0) return gpr + n * 8;
  const numbered = /^(R|XMM|MM|ST|CR|DR)(\d+)[LWD]?$/.exec(name);
  if (numbered) {
    const k = Number(numbered[2]);
    if (numbered[1] === 'R') return gpr + k * 8;
    if (numbered[1] === 'XMM') return STATE.xmm.offset + k * 16;
    if (numbered[1] === 'MM') return STATE.fpr.offset + k * 16;
    return k;
  }
  n = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS'].indexOf(name);
  if (n >= 0) return STATE.selector.offset + n * 2;
  if (name === 'None') return STATE.zero.offset;
  if (name === 'RIP' || name === 'EIP') return STATE.pageBase.offset;
  throw new Error(`register ${name}`);
}

const CONDITIONS = ['o', 'no', 'b', 'ae', 'e', 'ne', 'be', 'a', 's', 'ns', 'p', 'np', 'l', 'ge', 'le', 'g'];
const RENAMED: Record<string, string> = {
  cwde: 'cbw',
  cdqe: 'cbw',
  cdq: 'cwd',
  cqo: 'cwd',
  pushad: 'pusha',
  popad: 'popa',
  pushfd: 'pushf',
  pushfq: 'pushf',
  popfd: 'popf',
  popfq: 'popf',
  iretd: 'iret',
  iretq: 'iret',
  int1: 'icebp',
  xlatb: 'xlat',
  jecxz: 'jcxz',
  jrcxz: 'jcxz',
  sysretq: 'sysret',
  sysexitq: 'sysexit',
  fxsave64: 'fxsave',
  fxrstor64: 'fxrstor',
  wait: 'fwait',
  sal: 'shl',
  wbnoinvd: 'wbinvd',
  cldemote: 'nop',
  rdsspd: 'nop',
  rdsspq: 'nop',
  tzcnt: 'bsf',
  lzcnt: 'bsr',
  fneni: 'fnop',
  fndisi: 'fnop',
  fnsetpm: 'fnop',
  reservednop: 'nop',
  prefetchw: 'nop',
  prefetch: 'nop',
  prefetchnta: 'nop',
  prefetcht0: 'nop',
  prefetcht1: 'nop',
  prefetcht2: 'nop',
  prefetchwt1: 'nop',
  prefetchit0: 'nop',
  prefetchit1: 'nop',
  prefetchreserved: 'nop',
  endbr64: 'nop',
  endbr32: 'nop',
  pcmpestri64: 'pcmpestri',
  pcmpestrm64: 'pcmpestrm',
  pinsrq: 'pinsrd',
  pextrq: 'pextrd',
};

/** Name and variant that Hindsight's tables should give. */
export function expectedName(view: IcedView): { name: string; variant: number } {
  const { code, mnemonic } = view;
  const plain = (name: string): { name: string; variant: number } => ({ name, variant: 0 });
  const string = /^(Movs|Cmps|Stos|Lods|Scas|Ins|Outs)[bwdq]_(?!xmm)/.exec(code);
  if (string) return plain(string[1]!.toLowerCase());
  const family = /^(j|set|cmov)(.+)$/.exec(mnemonic);
  if (family && CONDITIONS.includes(family[2]!))
    return { name: `${family[1]}cc`, variant: CONDITIONS.indexOf(family[2]!) };
  if (/^(Call|Jmp)_(m|ptr)\d/.test(code)) return plain(`${mnemonic}_far`);
  if (/^(Call|Jmp)_rm/.test(code)) return plain(`${mnemonic}_indirect`);
  if (/^Retn/.test(code)) return plain(code.includes('imm') ? 'ret_imm' : 'ret');
  if (/^Retf/.test(code)) return plain(code.includes('imm') ? 'retf_imm' : 'retf');
  if (/^(Push|Pop)[wdq]_[C-GS]S$/.test(code)) return plain(`${mnemonic}_sreg`);
  const special = /^Mov_(r\w+)_(cr|dr|Sreg)$|^Mov_(cr|dr|Sreg)_/.exec(code);
  if (special)
    return plain(special[2] ? `mov_from_${special[2].toLowerCase()}` : `mov_to_${special[3]!.toLowerCase()}`);
  // F3 REX.B 90 exchanges r8 and rAX (checked on silicon); iced calls it PAUSE
  if (code === 'Pause' && view.rexB) return plain('xchg');
  if (/^Movq_(mm|xmm)_rm64$|^Movq_rm64_(mm|xmm)$/.test(code)) return plain('movd');
  return plain(RENAMED[mnemonic] ?? mnemonic);
}

/** Bytes of a register. */
export const registerBytes = (register: Register): number => RegisterExt.size(register);
/** Bytes that the memory operand of an instruction has for iced. */
export const memoryBytes = (view: IcedView): number =>
  // measured on AMD family 1Ah; iced has Intel's two
  view.amd && view.code === 'Movsxd_r16_rm16' ? 4 : MemorySizeExt.size(view.instruction.memorySize);

export { OpKind, Register };
