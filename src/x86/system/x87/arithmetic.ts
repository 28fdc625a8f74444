/** x87 arithmetic (SDM vol. 2: FADD to FXTRACT). */
import type { Cpu } from '../../cpu.ts';
import type { Insn } from '../../form.ts';
import { type Fault, isFault } from '../../seam.ts';
import { add, div, divReversed, mul, sqrt, sub, subReversed } from '../../softfloat/arithmetic.ts';
import { C0, C1, C2, C3, type Control, type Result } from '../../softfloat/control.ts';
import { fromInteger, roundToIntegral } from '../../softfloat/convert.ts';
import { F32, F64, F80, type Format, isNaNValue, unpack } from '../../softfloat/format.ts';
import { fprem, fprem1, fscale, fxtract } from '../../softfloat/x87.ts';
import { loadOperand, type SystemHandler, type SystemTable } from '../operands.ts';
import {
  controlOf,
  isEmpty,
  OVERFLOW,
  pop,
  push,
  read,
  setStatus,
  settle,
  stops,
  UNDERFLOW,
  waiting,
  write,
} from './stack.ts';

/** A second operand: its pattern and format. */
export interface Source {
  readonly bits: bigint;
  readonly format: Format;
}

/** The memory operand of `insn` as a value, integers made extended80. */
export function loadSource(cpu: Cpu, insn: Insn, integer: boolean): Source | Fault {
  const width = insn.form.operands.at(-1)!.width;
  const bits = loadOperand(cpu, insn, width);
  if (isFault(bits)) return bits;
  if (!integer) return { bits, format: width === 4 ? F32 : F64 };
  const { value } = fromInteger(F80, bits, (width * 8) as 16 | 32 | 64, controlOf(cpu));
  return { bits: value, format: F80 };
}

type Binary = (format: Format, a: bigint, b: bigint, control: Control, source?: Format) => Result;

const isMemory = (insn: Insn): boolean => insn.form.operands.at(-1)!.place === 'mem';

/** ST(0) and a register or memory operand; the result goes to the first operand. */
const binary =
  (operation: Binary, integer: boolean, pops: boolean): SystemHandler =>
  (cpu, insn) => {
    const toTop = insn.form.operands[0]!.place !== 'm';
    const memory = isMemory(insn) ? loadSource(cpu, insn, integer) : null;
    if (isFault(memory)) return memory;
    const target = toTop ? 0 : insn.m;
    const other = toTop ? insn.m : 0;
    let result = UNDERFLOW;
    if (!isEmpty(cpu, target) && (memory !== null || !isEmpty(cpu, other))) {
      const source = memory ?? { bits: read(cpu, other), format: F80 };
      result = operation(F80, read(cpu, target), source.bits, controlOf(cpu), source.format);
    }
    if (!settle(cpu, result.flags)) return null;
    write(cpu, target, result.value);
    if (pops) pop(cpu);
    return null;
  };

/** ST(0) alone, or with ST(1), replaced by the result. */
const onTop =
  (operation: (cpu: Cpu) => Result, operands: 1 | 2): SystemHandler =>
  (cpu) => {
    const empty = isEmpty(cpu, 0) || (operands === 2 && isEmpty(cpu, 1));
    const { value, flags } = empty ? UNDERFLOW : operation(cpu);
    if (settle(cpu, flags)) write(cpu, 0, value);
    return null;
  };

/** The remainders report in all condition codes; without a quotient C0 and C3 stay (measured on AMD family 1Ah). */
const remainder =
  (operation: (a: bigint, b: bigint, control: Control) => Result): SystemHandler =>
  (cpu) => {
    const empty = isEmpty(cpu, 0) || isEmpty(cpu, 1);
    const control = controlOf(cpu);
    const { value, flags } = empty ? UNDERFLOW : operation(read(cpu, 0), read(cpu, 1), control);
    const noQuotient = stops(cpu, flags) || isNaNValue(unpack(F80, value, control));
    setStatus(cpu, noQuotient ? C1 | C2 : C0 | C1 | C2 | C3, flags);
    if (!stops(cpu, flags)) write(cpu, 0, value);
    return null;
  };

/** The exponent replaces ST(0), the significand is pushed. */
const extract: SystemHandler = (cpu) => {
  const stackFault = isEmpty(cpu, 0) ? UNDERFLOW : isEmpty(cpu, -1) ? null : OVERFLOW;
  const { exponent, significand, flags } = stackFault
    ? { exponent: stackFault.value, significand: stackFault.value, flags: stackFault.flags }
    : fxtract(read(cpu, 0), controlOf(cpu));
  if (!settle(cpu, flags)) return null;
  write(cpu, 0, exponent);
  push(cpu, significand);
  return null;
};

const OPERATIONS: Readonly<Record<string, Binary>> = {
  add,
  mul,
  sub,
  subr: subReversed,
  div,
  divr: divReversed,
};

const BINARY: SystemTable = Object.fromEntries(
  Object.entries(OPERATIONS).flatMap(([name, operation]) => [
    [`f${name}`, binary(operation, false, false)],
    [`f${name}p`, binary(operation, false, true)],
    [`fi${name}`, binary(operation, true, false)],
  ]),
);

const SIGN = 1n << 79n;

export const X87_ARITHMETIC: SystemTable = waiting({
  ...BINARY,
  fsqrt: onTop((cpu) => sqrt(F80, read(cpu, 0), controlOf(cpu)), 1),
  frndint: onTop((cpu) => roundToIntegral(F80, read(cpu, 0), controlOf(cpu)), 1),
  fchs: onTop((cpu) => ({ value: read(cpu, 0) ^ SIGN, flags: 0 }), 1),
  fabs: onTop((cpu) => ({ value: read(cpu, 0) & ~SIGN, flags: 0 }), 1),
  fscale: onTop((cpu) => fscale(read(cpu, 0), read(cpu, 1), controlOf(cpu)), 2),
  fprem: remainder(fprem),
  fprem1: remainder(fprem1),
  fxtract: extract,
});
