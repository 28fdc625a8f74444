/**
 * What Intel's silicon does differently from AMD's. The CPU of ours does as AMD's, with which every vector and the long campaigns were
 * compared; on an Intel host that hosts.ts knows these cases are passed over, on a host that it does not know they are reported.
 * Where no page of a manual is named, the difference is what was seen on a Xeon.
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
import type { Ignored } from './undefined.ts';

const RCX = 1;
const RSP = 4;
const RSI = 6;
const RDI = 7;
/** Number of the stack segment register. */
const SS = 2;
/** The B flag in a segment's attributes. */
const BIG = 1 << 14;
const VECTOR_GP = 13;
const VECTOR_AC = 17;
/** CF, PF, AF, ZF, SF and OF. */
const STATUS_FLAGS = 0x8d5;
const AC = 0x40000;
/** Stores that can raise a numeric exception; the summary bit of the status word, in its first byte. */
const X87_STORE = /^(fstp?|fistt?p?|fbstp)$/;
const X87_ES = 0x80;
const LOWER_HALF_END = 1n << 47n;
/** Bytes of an access whose size iced does not say, at most; string instructions go on for some elements. */
const MANY_BYTES = 512;

/** Where so many bytes below the stack pointer begin in the page of data. */
function below(record: CaseRecord, bytes: number): number {
  const narrow = isSegmented(record.mode) && (loadedSegment(record.segmentIndex(SS), false).attributes & BIG) === 0;
  const pointer = BigInt.asUintN(record.mode === MODE_64 ? 64 : narrow ? 16 : 32, record.gpr(RSP) - BigInt(bytes));
  return Number(segmentBase(record, SS) + pointer) - DATA_BASE;
}

/** True when so many bytes below the stack pointer end behind the stack segment or the page of data. */
function endsBehindStack(record: CaseRecord, bytes: number): boolean {
  const at = below(record, bytes);
  const { base, limit } = loadedSegment(record.segmentIndex(SS), false);
  return at + bytes > PAGE || (isSegmented(record.mode) && DATA_BASE + at + bytes - 1 > base + limit);
}

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

/** True when an access begins below the end of the lower canonical half and ends behind it. */
const leavesLowerHalf = (template: Template, record: CaseRecord): boolean =>
  operandAddresses(template, record).some(
    (at, i) => at < LOWER_HALF_END && at + BigInt(template.memory[i]!.size) > LOWER_HALF_END,
  );

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

/** True when the instruction ended and the fetch of the next one faulted. */
export function nextFetchFaulted(record: CaseRecord, host: OutcomeRecord): boolean {
  const start = BigInt(CODE_BASE + record.codeOffset);
  return host.vector !== VECTOR_NONE && host.rip !== start && host.rip !== start - BigInt(codeBase(record));
}

/** Adds to `ignored` what an Intel host does in its own way. */
export function ignoreIntel(template: Template, record: CaseRecord, host: OutcomeRecord, ignored: Ignored): void {
  const { mnemonic, name } = template.form;
  const faulted = host.vector !== VECTOR_NONE;
  const checksAlignment = (record.rflags & AC) !== 0;
  // SDM vol. 2 "PUSH": of a segment register two bytes are written, or all.
  if (/^Push[dq]_[CDEFGS]S$/.test(name)) {
    const size = name.startsWith('Pushq') ? 8 : 4;
    ignored.memory = [below(record, size) + 2, size - 2];
    ignored.memoryMayChange = true;
    if (faulted || checksAlignment || endsBehindStack(record, size)) ignored.skip = 'two bytes are pushed or all';
  }
  // Before the first iteration of a string instruction with 32-bit addresses the upper halves of count and pointers are cleared already.
  if (template.repeated && record.mode === MODE_64 && template.memory.some((x) => x.addressBits === 32))
    if (BigInt.asUintN(32, host.gpr(RCX)) === BigInt.asUintN(32, record.gpr(RCX)))
      ignored.gprsHigh |= (1 << RCX) | (1 << RSI) | (1 << RDI);
  // F3 REX.B 90 is PAUSE and does not exchange R8 and RAX.
  if (name === 'Pause' && (record.code.at(-2)! & 0xf1) === 0x41) ignored.skip = 'PAUSE or XCHG';
  // SDM vol. 3A 5.3: an access over the end of a segment of 4 GiB may fault or wrap (src/x86/checks.ts).
  if (wrapsAround(template, record)) ignored.skip = 'an access wraps at 4 GiB or does not';
  // A store with an unmasked numeric exception does not look at its operand's address.
  const unmasked = (!faulted || host.vector === VECTOR_GP) && (host.fxsave[FX.fsw]! & X87_ES) !== 0;
  if (
    X87_STORE.test(mnemonic) &&
    unmasked &&
    (record.mode !== MODE_64 || leavesData(template, record) || checksAlignment)
  )
    ignored.skip = 'an x87 exception and a fault of the store';
  // Ten bytes are stored in two pieces.
  if (name === 'Fstp_m80fp mem' && faulted) ignored.memory = [0, PAGE];
  // SDM vol. 2 "REP": EFLAGS go back to what they were when a comparison faults; AMD's stay those of the last iteration.
  if (template.repeated && /^(cmps|scas)/.test(mnemonic) && faulted) ignored.rflags |= STATUS_FLAGS;
  // The return address is pushed before the target is found to be none.
  if (mnemonic === 'call' && host.vector === VECTOR_GP) {
    const slot = record.mode === MODE_64 ? 8 : 4;
    ignored.memory = [below(record, slot), slot];
    ignored.memoryMayChange = true;
  }
  // SDM vol. 3A, interrupt 17: whether 16 bytes that need not be aligned are checked is the implementation's choice.
  if (checksAlignment && host.vector !== VECTOR_AC && isUnaligned16(template, record))
    ignored.skip = '16 bytes are checked for alignment or not';
  // The alignment of an access over the end of the canonical addresses is checked first.
  if (checksAlignment && host.vector === VECTOR_AC && leavesLowerHalf(template, record))
    ignored.skip = '#AC or #GP at the end of the canonical addresses';
  // A store of an MMX register that faults has entered MMX state.
  if (/^(movd|movq|movntq)$/.test(mnemonic) && /_mm mem$/.test(name) && faulted)
    ignored.skip = 'MMX state is entered or not';
  // Which of several NaNs a sum of products gives.
  if (mnemonic === 'dpps' || mnemonic === 'dppd')
    if (hasNan(template, host, mnemonic === 'dpps' ? 4 : 8)) ignored.skip = 'one of several NaNs';
}
