/** What every system instruction needs: operands, effective addresses, faults, the table type. */
import { assert } from '../../core/assert.ts';
import { highWord, lowWord } from '../../core/words.ts';
import { accessFault } from '../checks.ts';
import type { Cpu } from '../cpu.ts';
import type { Insn, OperandForm } from '../form.ts';
import { ATTR, segmentNumberOf } from '../record.ts';
import { type Fault, fault, isFault, type Outcome, type Platform } from '../seam.ts';
import { FLAG, STATE, VECTOR } from '../state.ts';

/**
 * Executes one system instruction. On entry `cpu.rip` is the *next* instruction; a handler that transfers control sets it. A
 * fault must leave everything else as it was; the caller puts `rip` back.
 */
export type SystemHandler = (cpu: Cpu, insn: Insn, platform: Platform) => Outcome;
export type SystemTable = Readonly<Record<string, SystemHandler>>;

export const generalProtection = (error = 0): Fault => fault(VECTOR.gp, error);
export const undefinedOpcode = (): Fault => fault(VECTOR.ud);

/** #GP(0) unless the current privilege level is 0. */
export const privileged =
  (handler: SystemHandler): SystemHandler =>
  (cpu, insn, platform) =>
    cpu.cpl === 0 ? handler(cpu, insn, platform) : generalProtection();

/** Address of the instruction itself, while `rip` is the next one. */
export const instructionAddress = (cpu: Cpu, insn: Insn): bigint => cpu.rip - BigInt(insn.length);

const ADDRESS_BITS = [64, 32, 16];
/** The offset of the memory operand plus `delta`, cut to the address size. */
function effectiveOffset(cpu: Cpu, insn: Insn, delta = 0): bigint {
  const at = (offset: number): bigint => cpu.view.getBigUint64(cpu.base + offset, true);
  const ripRelative = insn.base === STATE.pageBase.offset;
  const base = ripRelative ? instructionAddress(cpu, insn) - BigInt(insn.pageOffset) : at(insn.base);
  const sum = base + (at(insn.index) << BigInt(insn.scale)) + insn.disp + BigInt(delta);
  return BigInt.asUintN(ADDRESS_BITS[insn.attr & ATTR.addressMask]!, sum);
}
/** The linear address of the byte `delta` of the memory operand. */
export function linearAddress(cpu: Cpu, insn: Insn, delta = 0): bigint {
  const segment = cpu.view.getBigUint64(cpu.base + insn.seg, true);
  const sum = effectiveOffset(cpu, insn, delta) + segment;
  return BigInt.asUintN(insn.attr & ATTR.linear32 ? 32 : 64, sum);
}
/** An operand of several pieces is aligned as its first one. */
const alignmentAt = (delta: number): number | undefined => (delta === 0 ? undefined : 1);
const accessOptions = (insn: Insn): { stack: boolean } => ({ stack: (insn.attr & ATTR.stack) !== 0 });

/** Bytes of the first access to an operand of 10 bytes, which takes two (measured on AMD family 1Ah). */
const FIRST_OF_TEN = 8;

/** Reads `width` bytes of the memory operand, `delta` bytes in; with `executable` also of code that can only be executed. */
export function loadOperand(cpu: Cpu, insn: Insn, width: number, delta = 0, executable = false): bigint | Fault {
  if (width === 10) {
    const low = loadOperand(cpu, insn, FIRST_OF_TEN, delta);
    if (isFault(low)) return low;
    const high = loadOperand(cpu, insn, width - FIRST_OF_TEN, delta + FIRST_OF_TEN);
    return isFault(high) ? high : low | (high << 64n);
  }
  const address = linearAddress(cpu, insn, delta);
  return (
    accessFault(cpu, segmentNumberOf(insn), address, width, false, alignmentAt(delta), executable) ??
    cpu.memory.load(cpu, address, width, accessOptions(insn))
  );
}
/** Writes `width` bytes of the memory operand, `delta` bytes in, or none. */
export function storeOperand(cpu: Cpu, insn: Insn, width: number, value: bigint, delta = 0): null | Fault {
  if (width === 10)
    return (
      probeOperand(cpu, insn, width, delta) ??
      storeOperand(cpu, insn, FIRST_OF_TEN, BigInt.asUintN(64, value), delta) ??
      storeOperand(cpu, insn, width - FIRST_OF_TEN, value >> 64n, delta + FIRST_OF_TEN)
    );
  const address = linearAddress(cpu, insn, delta);
  const failed = accessFault(cpu, segmentNumberOf(insn), address, width, true, alignmentAt(delta));
  return failed ?? cpu.memory.store(cpu, address, width, value, accessOptions(insn));
}
/** Checks that `width` bytes of the memory operand, `delta` bytes in, can be written. */
export function probeOperand(cpu: Cpu, insn: Insn, width: number, delta = 0): null | Fault {
  if (width === 10)
    return (
      probeOperand(cpu, insn, FIRST_OF_TEN, delta) ??
      probeOperand(cpu, insn, width - FIRST_OF_TEN, delta + FIRST_OF_TEN)
    );
  const address = linearAddress(cpu, insn, delta);
  const failed = accessFault(cpu, segmentNumberOf(insn), address, width, true, alignmentAt(delta));
  return failed ?? cpu.memory.probe(cpu, address, width, accessOptions(insn));
}

function registerNumber(insn: Insn, operand: OperandForm): number {
  const { place } = operand;
  if (place === 'r' || place === 'm') return ((place === 'r' ? insn.r : insn.m) - STATE.gpr.offset) >> 3;
  assert(typeof place === 'object' && 'fixed' in place, 'not a general register');
  return place.fixed;
}
/** The value of operand `i`, zero-extended from its width; an immediate is cut to its width. */
export function readOperand(cpu: Cpu, insn: Insn, i: number): bigint | Fault {
  const operand = insn.form.operands[i];
  assert(operand, 'the instruction has no such operand');
  const bits = operand.width * 8;
  if (operand.place === 'mem') return loadOperand(cpu, insn, operand.width);
  if (operand.place === 'imm') return BigInt.asUintN(bits, insn.imm);
  return BigInt.asUintN(bits, cpu.gpr(registerNumber(insn, operand)));
}
/** Writes operand `i`; a 32-bit register is zero-extended to 64 bits, narrower ones keep the rest. */
export function writeOperand(cpu: Cpu, insn: Insn, i: number, value: bigint): null | Fault {
  const operand = insn.form.operands[i];
  assert(operand, 'the instruction has no such operand');
  if (operand.place === 'mem') return storeOperand(cpu, insn, operand.width, value);
  writeGpr(cpu, registerNumber(insn, operand), operand.width, value);
  return null;
}
/** Writes the low `width` bytes of a general register by the rules of 64-bit mode. */
export function writeGpr(cpu: Cpu, number: number, width: number, value: bigint): void {
  if (width === 8) cpu.setGpr(number, value);
  else cpu.setGprLow(number, width, lowWord(value));
}

/** Number of the segment register in field `r`. */
export const segmentNumber = (insn: Insn): number => (insn.r - STATE.selector.offset) >> 1;

/** Sets or clears ZF and nothing else. */
export function setZeroFlag(cpu: Cpu, on: boolean): void {
  cpu.rflags = on ? cpu.rflags | FLAG.zf : cpu.rflags & ~FLAG.zf;
}
/** IOPL of RFLAGS. */
export const iopl = (cpu: Cpu): number => (cpu.systemFlags >> 12) & 3;
/** The low 48 bits sign-extend to the whole address. */
export function isCanonical(address: bigint): boolean {
  const high = highWord(address);
  return (high << 16) >> 16 === high;
}
