/**
 * What the manual leaves undefined in a case, so that the comparison can pass over it. iced-x86 knows the flags that are
 * undefined whatever the operands; the conditions on operand values stand here, each with its page of the SDM.
 */
import { operandAddresses } from './generate.ts';
import {
  type CaseRecord,
  CODE_BASE,
  DATA_BASE,
  FX,
  isSegmented,
  MODE_64,
  type OutcomeRecord,
  PAGE,
  VECTOR_NONE,
} from './records.ts';
import { codeBase, loadedSegment, segmentBase } from './segments.ts';
import type { Template } from './templates.ts';

/** The parts of an outcome that are not compared. */
export interface Ignored {
  /** Bits of RFLAGS. */
  rflags: number;
  /** Bits of the x87 status word. */
  fsw: number;
  /** The abridged x87 tag word. */
  ftw: boolean;
  /** General-purpose registers, a bit each; and those of which only bits 63..32 are passed over. */
  gprs: number;
  gprsHigh: number;
  /** Bits of the error code. */
  error: number;
  /** The faulting address of #PF. */
  cr2: boolean;
  /** Bytes of the data page: from, count. */
  memory: [number, number] | null;
  /** XMM lanes are single-precision approximations with relative error up to 1.5 * 2^-12. */
  approximate: boolean;
  /** The whole case says nothing, and why. */
  skip: string | null;
}

const RCX = 1;
const RSP = 4;
const RSI = 6;
const RDI = 7;
/** Number of the stack segment register. */
const SS = 2;
/** The B flag in a segment's attributes. */
const BIG = 1 << 14;
const VECTOR_SS = 12;
const VECTOR_PF = 14;
const VECTOR_GP = 13;
const VECTOR_AC = 17;
/** Linux's TASK_SIZE_MAX: the last page of the lower half is out of bounds too. */
const KERNEL_HALF = 0x7fff_ffff_f000n;
const AC = 0x40000;
const CF = 0x1;
const PF = 0x4;
const AF = 0x10;
const ZF = 0x40;
const SF = 0x80;
const OF = 0x800;

/** Operand width in bits by the form's name. */
function width(name: string): number {
  return /_rm8/.test(name) ? 8 : /_rm16/.test(name) ? 16 : /_rm32/.test(name) ? 32 : 64;
}

/** The unmasked shift count of a shift or rotate. */
function shiftCount(template: Template, record: CaseRecord): number {
  if (/_CL/.test(template.form.name)) return Number(record.gpr(1) & 0xffn);
  const immediate = template.immediates.at(-1);
  return immediate === undefined ? 1 : record.code[immediate.offset]!;
}

/** SDM vol. 2 "SAL/SAR/SHL/SHR", "RCL/RCR/ROL/ROR", "SHLD", "SHRD". */
function shift(template: Template, record: CaseRecord, ignored: Ignored): void {
  const { name, mnemonic } = template.form;
  const bits = width(name);
  const count = shiftCount(template, record) & (bits === 64 ? 63 : 31);
  ignored.rflags = 0;
  if (count === 0) return;
  if (count > 1) ignored.rflags |= OF;
  if (/^ro|^rc/.test(mnemonic)) return;
  ignored.rflags |= AF;
  if (/^sh[lr]d$/.test(mnemonic)) {
    if (count > bits) ignored.skip = 'SHLD or SHRD by more than the width';
  } else if (mnemonic !== 'sar' && count >= bits) ignored.rflags |= CF;
}

/** Stores of more than one piece may have been done in part when a later piece faults; the manual does not say. */
const MANY_STORES = /^(pusha|pushad|enter|fnsave|fnstenv|fxsave|fxsave64|maskmovq|maskmovdqu|fbstp)$/;

/** Where so many bytes below the stack pointer begin in the page of data. */
function below(record: CaseRecord, bytes: number): number {
  const narrow = isSegmented(record.mode) && (loadedSegment(record.segmentIndex(SS), false).attributes & BIG) === 0;
  const pointer = BigInt.asUintN(record.mode === MODE_64 ? 64 : narrow ? 16 : 32, record.gpr(RSP) - BigInt(bytes));
  return Number(segmentBase(record, SS) + pointer) - DATA_BASE;
}

/** True when the host faulted on the stack word below RSP. */
function pushFaulted(record: CaseRecord, host: OutcomeRecord): boolean {
  if (host.vector === VECTOR_SS || host.vector === VECTOR_AC) return true;
  const below = record.gpr(RSP) - host.cr2;
  return host.vector === VECTOR_PF && below >= 0n && below <= 8n;
}

/** MXCSR.MM, bit 17 (AMD64 manual vol. 1 4.2.2), in the third byte. */
const AMD_MM = 2;
/** Conditional branches, by form. */
const CONDITIONAL = /^(J(?!mp)|Loop)/;

/** True when the code segment ends with the instruction. */
function endsCode(record: CaseRecord): boolean {
  const { base, limit } = loadedSegment(record.segmentIndex(1), true);
  return CODE_BASE - base + record.codeOffset + record.code.length === limit + 1;
}

/** Bytes of an access whose size iced does not say, at most; string instructions go on for some elements. */
const MANY_BYTES = 512;

/** True when an access may run over the end of a segment of 4 GiB. */
function wrapsAround(template: Template, record: CaseRecord): boolean {
  if (record.mode === MODE_64) return false;
  const addresses = operandAddresses(template, record);
  return template.memory.some(({ segment, size }, i) => {
    if (isSegmented(record.mode) && loadedSegment(record.segmentIndex(segment), false).limit !== 0xffffffff)
      return false;
    const offset = (Number(addresses[i]!) - Number(segmentBase(record, segment))) >>> 0;
    return offset + (size === 0 || template.repeated ? MANY_BYTES : size) > 2 ** 32;
  });
}

/** True when an access does not lie in the page of data. */
function leavesData(template: Template, record: CaseRecord): boolean {
  const addresses = operandAddresses(template, record);
  return template.memory.some(({ size }, i) => {
    const offset = Number(addresses[i]!) - DATA_BASE;
    return offset < 0 || offset + (size || MANY_BYTES) > PAGE;
  });
}
/** True when 16 bytes do not lie on a boundary of 16. */
const isUnaligned16 = (template: Template, record: CaseRecord): boolean =>
  operandAddresses(template, record).some((at, i) => template.memory[i]!.size === 16 && (at & 15n) !== 0n);

/** True when a lane of the form's first XMM register is a NaN afterwards. */
function hasNan(template: Template, host: OutcomeRecord, bytes: 4 | 8): boolean {
  const view = new DataView(host.fxsave.buffer, host.fxsave.byteOffset + FX.xmm + 16 * template.xmm[0]!, 16);
  for (let at = 0; at < 16; at += bytes)
    if (Number.isNaN(bytes === 4 ? view.getFloat32(at, true) : view.getFloat64(at, true))) return true;
  return false;
}

/** True when the operand runs over the end of 64 KiB under 16-bit addresses. */
function crosses64K(template: Template, record: CaseRecord): boolean {
  const { absolute, memory } = template;
  const addresses = operandAddresses(template, record);
  return memory.some(({ addressBits, segment, size }, i) => {
    const offset = (Number(addresses[i]!) - Number(segmentBase(record, segment))) >>> 0;
    return (absolute.size > 0 ? absolute.bits : addressBits) === 16 && offset + size > 0x1_0000;
  });
}

/** Stores that can raise a numeric exception; the summary bit of the status word, in its first byte. */
const X87_STORE = /^(fstp?|fistt?p?|fbstp)$/;
const X87_ES = 0x80;
const IMAGE = /^(fldenv|fnstenv|frstor|fnsave)$/;

/** What to pass over in this case, given what the host did. */
export function ignoredParts(template: Template, record: CaseRecord, host: OutcomeRecord): Ignored {
  const { mnemonic, name } = template.form;
  const ignored: Ignored = {
    rflags: template.undefinedRflags,
    fsw: template.undefinedFsw,
    ftw: false,
    gprs: 0,
    gprsHigh: 0,
    error: 0,
    cr2: false,
    memory: null,
    approximate: /^r(cp|sqrt)[ps]s$/.test(mnemonic),
    skip: null,
  };
  if (/^(sh[lr]d?|sa[lr]|ro[lr]|rc[lr])$/.test(mnemonic)) shift(template, record, ignored);
  // SDM vol. 2 "BSF", "BSR": only ZF is defined.
  if (/^bs[fr]$/.test(mnemonic)) {
    ignored.rflags = CF | OF | SF | AF | PF;
    // A zero source leaves the destination; some processors clear the upper half of a 32-bit one.
    if (/_r32_/.test(name) && host.vector === VECTOR_NONE && (host.rflags & ZF) !== 0)
      ignored.gprsHigh = 1 << template.gprOperands[0]!;
  }
  // SDM vol. 2 "DIV", "IDIV".
  if (/^i?div$/.test(mnemonic)) ignored.rflags = CF | OF | SF | ZF | AF | PF;
  // SDM vol. 2 "FPREM": by how much a partial remainder reduces is the implementation's choice.
  if (/^fprem1?$/.test(mnemonic) && (host.fxsave[3]! & 4) !== 0) ignored.skip = 'partial remainder';
  // SDM vol. 2 "FBLD": invalid digits load an undefined value; only poked operands are known to be valid.
  if (mnemonic === 'fbld') {
    const at = Number(operandAddresses(template, record)[0]!) - DATA_BASE;
    const poked = at === record.pokeOffset && record.poke.length >= 10;
    if (host.vector === VECTOR_NONE && !poked) ignored.skip = 'digits may be invalid';
  }
  // SDM vol. 2 "PUSH": a segment register's upper half may be written or left.
  if (/^Push[dq]_[CDEFGS]S$/.test(name)) {
    const size = name.startsWith('Pushq') ? 8 : 4;
    ignored.memory = [below(record, size) + 2, size - 2];
    if (host.vector !== VECTOR_NONE || (record.rflags & AC) !== 0) ignored.skip = 'two bytes are pushed or all';
  }
  // MXCSR_MASK tells the processor's features (SDM vol. 1, 11.6.6).
  if (mnemonic.startsWith('fxsave') && host.vector === VECTOR_NONE)
    ignored.memory = [Number(operandAddresses(template, record)[0]!) - DATA_BASE + 28, 4];
  // CVTPI2PS with a memory operand enters MMX state at Intel and does not at AMD.
  if (name === 'Cvtpi2ps_xmm_mmm64 mem') {
    ignored.fsw = 0xffff;
    ignored.ftw = true;
    if ((record.fxsave[2]! & 0x80) !== 0) ignored.skip = 'a pending #MF is seen or not';
  }
  // SDM vol. 2 "MASKMOVDQU": whether masked bytes fault is implementation dependent.
  if (mnemonic.startsWith('maskmov') && host.vector !== VECTOR_NONE) ignored.skip = 'masked bytes fault or not';
  // Which byte of an x87 image is touched first is the processor's choice.
  if (IMAGE.test(mnemonic) && host.vector === VECTOR_PF) {
    // SDM vol. 3A 5.3: what an access at offset FFFFH does at the end of 64 KiB is left open, for each part of an image.
    if (crosses64K(template, record)) ignored.skip = 'a part of an x87 image wraps at 64 KiB or does not';
    ignored.cr2 = true;
    ignored.error = 1;
  }
  // Linux reports every address of the kernel's half as present.
  if (host.cr2 >= KERNEL_HALF) ignored.error |= 1;
  // MOVSXD r16 reads two bytes at Intel, four at AMD.
  if (name === 'Movsxd_r16_rm16 mem' && host.vector !== VECTOR_NONE) ignored.skip = 'width of the source';
  // Whether a non-canonical target or the push of the return address faults first is the vendor's choice.
  if (mnemonic === 'call' && template.immediates.length === 0 && pushFaulted(record, host))
    ignored.skip = 'two faults of one CALL';
  // SDM vol. 2 "FXSAVE", "FXRSTOR": an area that is not aligned raises #AC or #GP where alignment is checked.
  if (
    /^fx(save|rstor)/.test(mnemonic) &&
    (record.rflags & AC) !== 0 &&
    (host.vector === VECTOR_AC || host.vector === VECTOR_GP)
  )
    ignored.skip = '#AC or #GP';
  // Bit 17 of MXCSR is AMD's misaligned SSE mode: the host has it, x86-64-v2 does not.
  if (mnemonic.startsWith('fxrstor') && (host.fxsave[FX.mxcsr + 2]! & AMD_MM) !== 0) ignored.skip = "AMD's MXCSR.MM";
  // Several pushes with limit and alignment checks: which of two faults is first is the vendor's choice.
  const checked = isSegmented(record.mode) || (record.rflags & AC) !== 0;
  if (/^(enter|pusha)/.test(mnemonic) && checked && [VECTOR_SS, VECTOR_PF, VECTOR_AC].includes(host.vector))
    ignored.skip = 'two faults of several pushes';
  // Before the first iteration of a string instruction with 32-bit addresses Intel has cleared the upper halves of count and pointers
  // already, AMD has not.
  if (template.repeated && record.mode === MODE_64 && template.memory.some((x) => x.addressBits === 32))
    if (BigInt.asUintN(32, host.gpr(RCX)) === BigInt.asUintN(32, record.gpr(RCX)))
      ignored.gprsHigh |= (1 << RCX) | (1 << RSI) | (1 << RDI);
  // F3 REX.B 90 is PAUSE at Intel and exchanges R8 and RAX at AMD.
  if (name === 'Pause' && (record.code.at(-2)! & 0xf1) === 0x41) ignored.skip = 'PAUSE or XCHG';
  // SDM vol. 3A 5.3: an access over the end of a segment of 4 GiB may fault or wrap; in which segments it does is the processor's choice
  // (src/x86/checks.ts).
  if (wrapsAround(template, record)) ignored.skip = 'an access wraps at 4 GiB or does not';
  // SDM vol. 1, 8.7 leaves open whether an unmasked exception or a fault of the store is seen first: Intel stores nothing then.
  const unmasked = host.vector === VECTOR_NONE || host.vector === VECTOR_GP;
  const faultsPerhaps = record.mode !== MODE_64 || leavesData(template, record) || (record.rflags & AC) !== 0;
  if (X87_STORE.test(mnemonic) && unmasked && (host.fxsave[FX.fsw]! & X87_ES) !== 0 && faultsPerhaps)
    ignored.skip = 'an x87 exception and a fault of the store';
  // Ten bytes are stored in two pieces.
  if (name === 'Fstp_m80fp mem' && host.vector !== VECTOR_NONE) ignored.memory = [0, 4096];
  // Which operand of a comparison, and which bound, is read first.
  if (/^cmps/.test(mnemonic) && host.vector !== VECTOR_NONE) ignored.skip = 'two faults of a comparison of strings';
  if (mnemonic === 'bound' && host.vector !== VECTOR_NONE)
    ignored.skip = 'a bound is checked before the other is read or not';
  // SDM vol. 2 "REP": Intel restores RFLAGS when a comparison faults, AMD keeps those of the last iteration.
  if (template.repeated && /^(cmps|scas)/.test(mnemonic) && host.vector !== VECTOR_NONE)
    ignored.rflags |= CF | PF | AF | ZF | SF | OF;
  // Intel pushes the return address before it finds that the target is none.
  const slot = record.mode === MODE_64 ? 8 : 4;
  if (mnemonic === 'call' && host.vector === VECTOR_GP) ignored.memory = [below(record, slot), slot];
  // SDM vol. 3A 7.15: whether 16 bytes that need not be aligned are checked for alignment is the implementation's choice.
  if ((record.rflags & AC) !== 0 && host.vector !== VECTOR_AC && isUnaligned16(template, record))
    ignored.skip = '16 bytes are checked for alignment or not';
  // A store of an MMX register that faults has entered MMX state at Intel, and has not at AMD.
  if (/^(movd|movq|movntq)$/.test(mnemonic) && /_mm mem$/.test(name) && host.vector !== VECTOR_NONE)
    ignored.skip = 'MMX state is entered or not';
  // SDM vol. 2 "DPPS", "DPPD": which of several NaNs a sum of products gives is the implementation's choice.
  if (mnemonic === 'dpps' || mnemonic === 'dppd')
    if (hasNan(template, host, mnemonic === 'dpps' ? 4 : 8)) ignored.skip = 'one of several NaNs';
  // AMD's family 1Ah may want the next instruction inside CS for a conditional branch, taken or not: with prefix 66 always, without it
  // in some cases.
  if (isSegmented(record.mode) && CONDITIONAL.test(name) && host.vector === VECTOR_GP && endsCode(record))
    ignored.skip = 'the code segment ends behind the branch';
  const start = BigInt(CODE_BASE + record.codeOffset);
  if (host.vector !== VECTOR_NONE && (host.rip === start || host.rip === start - BigInt(codeBase(record)))) {
    // POPA may have loaded some registers before it faults; RSP is as it was.
    if (/^popa/.test(mnemonic)) ignored.gprs = 0xff & ~(1 << RSP);
    // A fault leaves RFLAGS as they were, defined or not.
    if (!template.repeated) ignored.rflags = 0;
    if (MANY_STORES.test(mnemonic)) ignored.memory = [0, 4096];
  }
  return ignored;
}
