/** Saving and restoring x87 and SSE state: FXSAVE, FXRSTOR, FNSAVE, FRSTOR, FNSTENV, FLDENV (SDM vol. 1 8.1.10 and 10.5). */
import { accessFault, isCanonical } from '../checks.ts';
import type { Cpu } from '../cpu.ts';
import type { Insn } from '../form.ts';
import { ATTR, segmentNumberOf } from '../record.ts';
import { type Fault, fault, isFault } from '../seam.ts';
import { VECTOR } from '../state.ts';
import {
  generalProtection,
  linearAddress,
  loadOperand,
  probeOperand,
  type SystemHandler,
  type SystemTable,
  storeOperand,
} from './operands.ts';
import { available, pendingFault } from './x87/stack.ts';

/** MXCSR bits that exist, as FXSAVE reports them in MXCSR_MASK. */
const MXCSR_MASK = 0xffff;
const TOP_SHIFT = 11;
const TOP_FIELD = 7 << TOP_SHIFT;
/** Exception flags and their masks, the summary bit ES and its copy B in the status word. */
const EXCEPTIONS = 0x3f;
const SUMMARY = 0x8080;

const statusWord = (cpu: Cpu): number => (cpu.num('fsw') & ~TOP_FIELD) | (cpu.num('ftop') << TOP_SHIFT);
/** Sets status and control word; the summary bits follow from flags and masks. */
function setControlAndStatus(cpu: Cpu, control: number, status: number): void {
  const unmasked = status & ~control & EXCEPTIONS;
  cpu.set('fcw', (control & 0x1f3f) | 0x40);
  cpu.set('ftop', (status >> TOP_SHIFT) & 7);
  cpu.set('fsw', (status & ~TOP_FIELD & ~SUMMARY) | (unmasked ? SUMMARY : 0));
}
/** Physical register of ST(i). */
const physical = (cpu: Cpu, i: number): number => (cpu.num('ftop') + i) & 7;

/** The full tag word: 0 valid, 1 zero, 2 special, 3 empty, by physical register (SDM vol. 1 8.1.7). */
function fullTagWord(cpu: Cpu): number {
  const used = cpu.num('ftags');
  let tags = 0;
  for (let n = 0; n < 8; n++) {
    let tag = 3;
    if (used & (1 << n)) {
      const value = cpu.get('fpr', n);
      const exponent = Number((value >> 64n) & 0x7fffn);
      const mantissa = value & ((1n << 64n) - 1n);
      if (exponent === 0 && mantissa === 0n) tag = 1;
      else tag = exponent === 0x7fff || exponent === 0 || mantissa >> 63n === 0n ? 2 : 0;
    }
    tags |= tag << (n * 2);
  }
  return tags;
}
function setFullTagWord(cpu: Cpu, tags: number): void {
  let used = 0;
  for (let n = 0; n < 8; n++) if (((tags >> (n * 2)) & 3) !== 3) used |= 1 << n;
  cpu.set('ftags', used);
}

// ---- FXSAVE area ------------------------------------------------------------------------------------------------------

const XMM_AT = 160;
const AREA_BYTES = 512;
const xmmCount = (insn: Insn): number => (insn.mode === 2 ? 16 : 8);
/** FIP and FDP are 64 bits wide with REX.W, else 32 bits and a selector, which is saved as 0. */
const wide = (insn: Insn): boolean => insn.form.size === 8;
/** Chunks of 16 bytes that hold something; the area's end does not, but is touched. */
const chunkCount = (insn: Insn): number => XMM_AT / 16 + xmmCount(insn);
/**
 * What the measured CPU (AMD family 1Ah) looks at before any page: four bytes in the segment and canonical, alignment, the last
 * byte in the segment. #AC, which could take the place of #GP, is never raised.
 */
function areaFault(cpu: Cpu, insn: Insn, write: boolean): null | Fault {
  const check = (bytes: number, delta: number): null | Fault =>
    accessFault(cpu, segmentNumberOf(insn), linearAddress(cpu, insn, delta), bytes, write, 1);
  const failed = check(4, 0);
  if (failed) return failed;
  if (!isCanonical(linearAddress(cpu, insn)) || !isCanonical(linearAddress(cpu, insn, 3)))
    return insn.attr & ATTR.stack ? fault(VECTOR.ss) : generalProtection();
  if (linearAddress(cpu, insn) & 15n) return generalProtection();
  return check(1, AREA_BYTES - 1);
}
/** The fault of writing the area, which is then not written at all. */
function probeArea(cpu: Cpu, insn: Insn): null | Fault {
  let failed = probeOperand(cpu, insn, 1, AREA_BYTES - 1);
  for (let i = 0; failed === null && i < chunkCount(insn); i++) failed = probeOperand(cpu, insn, 16, i * 16);
  return failed;
}

const fxsave: SystemHandler = (cpu, insn) => {
  const failed = available(cpu) ?? areaFault(cpu, insn, true) ?? probeArea(cpu, insn);
  if (failed) return failed;
  const pointer = (name: 'fip' | 'fdp'): bigint => (wide(insn) ? cpu.get(name) : cpu.get(name) & 0xffffffffn);
  const word = (value: number, at: number): bigint => BigInt(value) << BigInt(at * 8);
  const chunks = [
    word(cpu.num('fcw'), 0) |
      word(statusWord(cpu), 2) |
      word(cpu.num('ftags'), 4) |
      word(cpu.num('fop'), 6) |
      (pointer('fip') << 64n),
    pointer('fdp') | word(cpu.num('mxcsr'), 8) | word(MXCSR_MASK, 12),
  ];
  for (let i = 0; i < 8; i++) chunks.push(cpu.get('fpr', physical(cpu, i)) & ((1n << 80n) - 1n));
  for (let n = 0; n < xmmCount(insn); n++) chunks.push(cpu.get('xmm', n));
  for (const [i, chunk] of chunks.entries()) {
    const stored = storeOperand(cpu, insn, 16, chunk, i * 16);
    if (stored) return stored;
  }
  return null;
};

const fxrstor: SystemHandler = (cpu, insn) => {
  const failed = available(cpu) ?? areaFault(cpu, insn, false);
  if (failed) return failed;
  const last = loadOperand(cpu, insn, 1, AREA_BYTES - 1);
  if (isFault(last)) return last;
  const chunks: bigint[] = [];
  for (let i = 0; i < chunkCount(insn); i++) {
    const chunk = loadOperand(cpu, insn, 16, i * 16);
    if (isFault(chunk)) return chunk;
    chunks.push(chunk);
  }
  const field = (chunk: number, at: number, bytes: number): bigint =>
    BigInt.asUintN(bytes * 8, chunks[chunk]! >> BigInt(at * 8));
  const mxcsr = Number(field(1, 8, 4));
  if (mxcsr & ~MXCSR_MASK) return generalProtection();
  setControlAndStatus(cpu, Number(field(0, 0, 2)), Number(field(0, 2, 2)));
  cpu.set('ftags', field(0, 4, 1));
  cpu.set('fop', field(0, 6, 2) & 0x7ffn);
  cpu.set('fip', field(0, 8, wide(insn) ? 8 : 4));
  cpu.set('fdp', field(1, 0, wide(insn) ? 8 : 4));
  cpu.set('mxcsr', mxcsr);
  for (let i = 0; i < 8; i++) cpu.set('fpr', chunks[2 + i]! & ((1n << 80n) - 1n), physical(cpu, i));
  for (let n = 0; n < xmmCount(insn); n++) cpu.set('xmm', chunks[XMM_AT / 16 + n]!, n);
  return null;
};

// ---- the older environment --------------------------------------------------------------------------------------------

/** Bytes of one field of the protected-mode environment: 4, or 2 with 16-bit operand size (SDM vol. 1 figures 8-9, 8-11). */
const fieldBytes = (insn: Insn): number => (insn.form.size === 2 ? 2 : 4);
const environmentBytes = (insn: Insn): number => 7 * fieldBytes(insn);

/** The seven fields: control, status, tags, FIP, FCS and opcode, FDP, FDS. */
function environment(cpu: Cpu, insn: Insn): bigint[] {
  const upper = fieldBytes(insn) === 4 ? 0xffff0000n : 0n;
  const opcode = fieldBytes(insn) === 4 ? BigInt(cpu.num('fop') & 0x7ff) << 16n : 0n;
  return [
    BigInt(cpu.num('fcw')) | upper,
    BigInt(statusWord(cpu)) | upper,
    BigInt(fullTagWord(cpu)) | upper,
    cpu.get('fip'),
    opcode,
    cpu.get('fdp'),
    upper,
  ];
}
/** Checks the fields of an image and as many registers one by one: the first that cannot be written is the fault. */
function probeImage(cpu: Cpu, insn: Insn, registers: number): null | Fault {
  const width = fieldBytes(insn);
  for (let i = 0; i < 7; i++) {
    const failed = probeOperand(cpu, insn, width, i * width);
    if (failed) return failed;
  }
  for (let i = 0; i < registers; i++) {
    const failed = probeOperand(cpu, insn, 10, environmentBytes(insn) + i * 10);
    if (failed) return failed;
  }
  return null;
}
function storeEnvironment(cpu: Cpu, insn: Insn): null | Fault {
  const width = fieldBytes(insn);
  for (const [i, value] of environment(cpu, insn).entries()) {
    const failed = storeOperand(cpu, insn, width, BigInt.asUintN(width * 8, value), i * width);
    if (failed) return failed;
  }
  return null;
}
function loadEnvironment(cpu: Cpu, insn: Insn): bigint[] | Fault {
  const width = fieldBytes(insn);
  const fields: bigint[] = [];
  for (let i = 0; i < 7; i++) {
    const field = loadOperand(cpu, insn, width, i * width);
    if (isFault(field)) return field;
    fields.push(field);
  }
  return fields;
}
function setEnvironment(cpu: Cpu, insn: Insn, fields: readonly bigint[]): void {
  setControlAndStatus(cpu, Number(fields[0]! & 0xffffn), Number(fields[1]! & 0xffffn));
  setFullTagWord(cpu, Number(fields[2]! & 0xffffn));
  cpu.set('fip', fields[3]!);
  if (fieldBytes(insn) === 4) cpu.set('fop', (fields[4]! >> 16n) & 0x7ffn);
  cpu.set('fdp', fields[5]!);
}

/** FNSTENV masks all exceptions after saving. */
const fnstenv: SystemHandler = (cpu, insn) => {
  const failed = available(cpu) ?? probeImage(cpu, insn, 0) ?? storeEnvironment(cpu, insn);
  if (failed) return failed;
  setControlAndStatus(cpu, cpu.num('fcw') | EXCEPTIONS, statusWord(cpu));
  return null;
};
const fldenv: SystemHandler = (cpu, insn) => {
  const failed = available(cpu) ?? pendingFault(cpu);
  if (failed) return failed;
  const fields = loadEnvironment(cpu, insn);
  if (isFault(fields)) return fields;
  setEnvironment(cpu, insn, fields);
  return null;
};

/** The state after FNINIT (SDM vol. 2A "FINIT"). */
export function initialiseFpu(cpu: Cpu): void {
  cpu.set('fcw', 0x37f);
  for (const name of ['fsw', 'ftags', 'ftop', 'fop', 'fip', 'fdp'] as const) cpu.set(name, 0n);
}

const fnsave: SystemHandler = (cpu, insn) => {
  const start = environmentBytes(insn);
  const failed = available(cpu) ?? probeImage(cpu, insn, 8) ?? storeEnvironment(cpu, insn);
  if (failed) return failed;
  for (let i = 0; i < 8; i++) {
    const value = cpu.get('fpr', physical(cpu, i)) & ((1n << 80n) - 1n);
    const stored = storeOperand(cpu, insn, 10, value, start + i * 10);
    if (stored) return stored;
  }
  initialiseFpu(cpu);
  return null;
};
const frstor: SystemHandler = (cpu, insn) => {
  const failed = available(cpu) ?? pendingFault(cpu);
  if (failed) return failed;
  const fields = loadEnvironment(cpu, insn);
  if (isFault(fields)) return fields;
  const registers: bigint[] = [];
  for (let i = 0; i < 8; i++) {
    const value = loadOperand(cpu, insn, 10, environmentBytes(insn) + i * 10);
    if (isFault(value)) return value;
    registers.push(value);
  }
  setEnvironment(cpu, insn, fields);
  for (const [i, value] of registers.entries()) cpu.set('fpr', value, physical(cpu, i));
  return null;
};

/** FPU state instructions by semantics name. */
export const FPU_STATE: SystemTable = { fxsave, fxrstor, fnstenv, fldenv, fnsave, frstor };
