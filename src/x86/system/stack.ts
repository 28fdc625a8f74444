/** Pushes and pops of several values that happen together or not at all. */
import type { Cpu } from '../cpu.ts';
import { type Fault, isFault } from '../seam.ts';
import { SEG } from '../state.ts';

/** Where a stack is and how wide its pointer is. */
export interface Stack {
  /** Base of the stack segment; 0 in 64-bit mode. */
  readonly base: bigint;
  readonly pointer: bigint;
  /** Width of the stack pointer in bits: 16, 32 or 64. */
  readonly bits: number;
  /** Access with supervisor rights: the stack of an inner privilege level. */
  readonly supervisor: boolean;
}

/** Width of the stack pointer by code mode and SS.B. */
export function stackBits(cpu: Cpu): number {
  if (cpu.num('codeMode') === 2) return 64;
  return cpu.num('segmentAttributes', SEG.ss) & (1 << 14) ? 32 : 16;
}
/** The stack in use. */
export function currentStack(cpu: Cpu): Stack {
  const bits = stackBits(cpu);
  const base = bits === 64 ? 0n : cpu.get('segmentBase', SEG.ss);
  return { base, pointer: cpu.rsp, bits, supervisor: false };
}

/** Linear address of the stack offset `pointer`. */
export const addressOf = (stack: Stack, pointer: bigint): bigint =>
  BigInt.asUintN(stack.bits === 64 ? 64 : 32, BigInt.asUintN(stack.bits, pointer) + stack.base);
const options = (stack: Stack): { stack: true; supervisor: boolean } => ({
  stack: true,
  supervisor: stack.supervisor,
});

/** Pushes `values` in order, `width` bytes each; the pointer after it, to be set by {@link setPointer}. */
export function pushAll(cpu: Cpu, stack: Stack, width: number, values: readonly bigint[]): bigint | Fault {
  const at = (i: number): bigint => addressOf(stack, stack.pointer - BigInt((i + 1) * width));
  for (let i = 0; i < values.length; i++) {
    const failed = cpu.memory.probe(cpu, at(i), width, options(stack));
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
    const value = cpu.memory.load(cpu, addressOf(stack, stack.pointer + BigInt(i * width)), width, options(stack));
    if (isFault(value)) return value;
    values.push(value);
  }
  return values;
}
/** Sets rSP to `pointer`, of which only the low `bits` count. */
export function setPointer(cpu: Cpu, bits: number, pointer: bigint): void {
  const low = BigInt.asUintN(bits, pointer);
  cpu.rsp = bits === 16 ? ((cpu.rsp >> 16n) << 16n) | low : low;
}
