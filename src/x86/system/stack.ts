/** Pushes and pops of several values that happen together or not at all. */
import { plus } from '../../core/words.ts';
import { accessFault, limitFault, type SegmentView } from '../checks.ts';
import type { AccessOptions, Cpu } from '../cpu.ts';
import { type Fault, isFault } from '../seam.ts';
import { SEG, VECTOR } from '../state.ts';

/** Where a stack is and how wide its pointer is. */
export interface Stack {
  /** Its segment; null in 64-bit mode, where no limit applies. */
  readonly segment: SegmentView | null;
  /** Error code of the #SS that leaving the segment raises. */
  readonly error: number;
  /** Base of the stack segment; 0 in 64-bit mode. */
  readonly base: bigint;
  readonly pointer: bigint;
  /** Width of the stack pointer in bits: 16, 32 or 64. */
  readonly bits: number;
  /** Access with supervisor rights: the stack of an inner privilege level. */
  readonly supervisor: boolean;
}

/** Width of the stack pointer by code mode and SS.B. */
function stackBits(cpu: Cpu): number {
  if (cpu.codeMode === 2) return 64;
  return cpu.segmentAttributes(SEG.ss) & (1 << 14) ? 32 : 16;
}
/** The stack in use. */
export function currentStack(cpu: Cpu): Stack {
  const bits = stackBits(cpu);
  const pointer = cpu.rsp;
  if (bits === 64) return { segment: null, error: 0, base: 0n, pointer, bits, supervisor: false };
  const base = cpu.get('segmentBase', SEG.ss);
  const segment = {
    attributes: cpu.num('segmentAttributes', SEG.ss),
    limit: cpu.num('segmentLimit', SEG.ss),
    start: Number(BigInt.asUintN(32, base)),
  };
  return { segment, error: 0, base, pointer, bits, supervisor: false };
}

/** Linear address of the stack offset `pointer`. */
export const addressOf = (stack: Stack, pointer: bigint): bigint =>
  stack.bits === 64 ? plus(pointer, 0) : BigInt.asUintN(32, BigInt.asUintN(stack.bits, pointer) + stack.base);
const CURRENT = { stack: true, supervisor: false } as const;
const INNER = { stack: true, supervisor: true } as const;
const options = (stack: Stack): AccessOptions => (stack.supervisor ? INNER : CURRENT);
/** The fault of an access to the stack that comes before paging: limits, and at the current stack what accessFault adds. */
function stackFault(cpu: Cpu, stack: Stack, address: bigint, width: number, write: boolean): Fault | null {
  if (stack.segment !== null) {
    const lo = Number(BigInt.asUintN(32, address));
    const failed = limitFault(stack.segment, VECTOR.ss, lo, width, write, stack.error);
    if (failed) return failed;
  }
  return stack.supervisor ? null : accessFault(cpu, SEG.ss, address, width, write);
}
/** Checks that `width` bytes at a linear address of the stack can be written. */
export function probeStack(cpu: Cpu, stack: Stack, address: bigint, width: number): null | Fault {
  return stackFault(cpu, stack, address, width, true) ?? cpu.memory.probe(cpu, address, width, options(stack));
}
/** Reads `width` bytes at a linear address of the stack. */
export function loadStack(cpu: Cpu, stack: Stack, address: bigint, width: number): bigint | Fault {
  return stackFault(cpu, stack, address, width, false) ?? cpu.memory.load(cpu, address, width, options(stack));
}

/** Pushes `values` in order, `width` bytes each; the pointer after it, to be set by {@link setPointer}. */
export function pushAll(cpu: Cpu, stack: Stack, width: number, values: readonly bigint[]): bigint | Fault {
  const at = (i: number): bigint => addressOf(stack, plus(stack.pointer, -(i + 1) * width));
  for (let i = 0; i < values.length; i++) {
    const failed = probeStack(cpu, stack, at(i), width);
    if (failed) return failed;
  }
  for (let i = 0; i < values.length; i++) {
    const failed = cpu.memory.store(cpu, at(i), width, BigInt.asUintN(width * 8, values[i]!), options(stack));
    if (failed) return failed;
  }
  return stack.pointer - BigInt(values.length * width);
}
/** Reads `count` values of `width` bytes from the top, the first popped first. */
export function popAll(cpu: Cpu, stack: Stack, width: number, count: number): bigint[] | Fault {
  const values: bigint[] = [];
  for (let i = 0; i < count; i++) {
    const value = loadStack(cpu, stack, addressOf(stack, plus(stack.pointer, i * width)), width);
    if (isFault(value)) return value;
    values.push(value);
  }
  return values;
}
/** Sets rSP to `pointer`, of which only the low `bits` count. */
export function setPointer(cpu: Cpu, bits: number, pointer: bigint): void {
  if (bits === 64) {
    cpu.rsp = pointer;
    return;
  }
  const low = BigInt.asUintN(bits, pointer);
  cpu.rsp = bits === 16 ? ((cpu.rsp >> 16n) << 16n) | low : low;
}
