/**
 * What the manual leaves undefined in a case, so that the comparison can pass over it. iced-x86 knows the flags that are
 * undefined whatever the operands; the conditions on operand values stand here, each with its page of the SDM.
 */
import { operandAddresses } from './generate.ts';
import type { Choices } from './hosts.ts';
import { ignoreIntel, nextFetchFaulted } from './intel.ts';
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
import { loadedSegment, segmentBase } from './segments.ts';
import type { Template } from './templates.ts';
import { isNearest, openOperand, registerPattern, TRANSCENDENTAL } from './transcendental.ts';

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
  /** A word that holds such bytes may have changed on one side alone. */
  memoryMayChange: boolean;
  /** XMM lanes are single-precision approximations with relative error up to 1.5 * 2^-12. */
  approximate: boolean;
  /** The transcendental x87 instruction by whose bound registers are compared. */
  transcendental: string | null;
  /** The whole case says nothing, and why. */
  skip: string | null;
}

const RSP = 4;
/** Number of the segment register; GS follows. */
const FS = 4;
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

/** Of the x87 status word. */
const STACK_FAULT = 0x40;
const C1 = 0x200;

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

/** True when an access runs over the end of an FS or GS of 4 GiB that begins inside a page. */
function wrapsInside(template: Template, record: CaseRecord): boolean {
  if (record.mode === MODE_64) return false;
  const addresses = operandAddresses(template, record);
  return template.memory.some(({ segment, size }, i) => {
    if (segment < FS) return false;
    const base = Number(segmentBase(record, segment));
    if (base % PAGE === 0) return false;
    if (isSegmented(record.mode) && loadedSegment(record.segmentIndex(segment), false).limit !== 0xffffffff)
      return false;
    return ((Number(addresses[i]!) - base) >>> 0) + size > 2 ** 32;
  });
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

const IMAGE = /^(fldenv|fnstenv|frstor|fnsave)$/;

/** What to pass over in this case, given what silicon of these choices did; our CPU makes AMD's. */
export function ignoredParts(template: Template, record: CaseRecord, host: OutcomeRecord, silicon: Choices): Ignored {
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
    memoryMayChange: false,
    approximate: /^r(cp|sqrt)[ps]s$/.test(mnemonic),
    transcendental: TRANSCENDENTAL.test(mnemonic) ? mnemonic : null,
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
  // C1 says how the last bit was made; a stack fault's is defined.
  if (ignored.transcendental !== null) {
    if ((host.fxsave[FX.fsw]! & ~record.fxsave[FX.fsw]! & STACK_FAULT) === 0) ignored.fsw |= C1;
    ignored.skip = openOperand(mnemonic, registerPattern(record.fxsave, 0), isNearest(record.fxsave[FX.fcw + 1]! << 8));
  }
  // SDM vol. 2 "FBLD": invalid digits load an undefined value; only poked operands are known to be valid.
  if (mnemonic === 'fbld') {
    const at = Number(operandAddresses(template, record)[0]!) - DATA_BASE;
    const poked = at === record.pokeOffset && record.poke.length >= 10;
    if (host.vector === VECTOR_NONE && !poked) ignored.skip = 'digits may be invalid';
  }
  // SDM vol. 2 "PUSH": a segment register's upper half may be written or left.
  if (/^Push[dq]_[CDEFGS]S$/.test(name)) {
    const size = name.startsWith('Pushq') ? 8 : 4;
    ignored.memory = [Number(host.gpr(4)) - DATA_BASE + 2, size - 2];
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
  // SDM vol. 3A 5.3: an access over the end of a segment of 4 GiB may fault; AMD's family 1Ah does, these wrap (src/x86/checks.ts).
  if (wrapsInside(template, record)) ignored.skip = 'FS or GS wraps at 4 GiB';
  // AMD's family 1Ah may want the next instruction inside CS for a conditional branch, taken or not: with prefix 66 always, without it
  // in some cases.
  if (isSegmented(record.mode) && CONDITIONAL.test(name) && host.vector === VECTOR_GP && endsCode(record))
    ignored.skip = 'the code segment ends behind the branch';
  if (silicon === 'Intel') ignoreIntel(template, record, host, ignored);
  // Undefined flags of an instruction that ended stay undefined when the next fetch faults; AMD's are the same ones as ours.
  if (host.vector !== VECTOR_NONE && !(silicon === 'Intel' && nextFetchFaulted(record, host))) {
    // POPA may have loaded some registers before it faults; RSP is as it was.
    if (/^popa/.test(mnemonic)) ignored.gprs = 0xff & ~(1 << RSP);
    // A fault leaves RFLAGS as they were, defined or not.
    if (!template.repeated) ignored.rflags = 0;
    if (MANY_STORES.test(mnemonic)) ignored.memory = [0, 4096];
  }
  return ignored;
}
