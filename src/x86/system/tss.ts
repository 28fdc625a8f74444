/** The task-state segment as far as long mode and a single 32-bit task use it: inner stacks and the I/O bitmap. */
import type { Cpu } from '../cpu.ts';
import { type Fault, fault, isFault, type Platform } from '../seam.ts';
import { SEG, VECTOR } from '../state.ts';
import {
  checkStackSegment,
  type Descriptor,
  errorOf,
  markAccessed,
  setNullSegment,
  setSegment,
} from './descriptors.ts';
import { isCanonical } from './operands.ts';
import type { Stack } from './stack.ts';

/** Reads `width` bytes at `offset` of the TSS with supervisor rights; #TS past its limit. */
function readTss(cpu: Cpu, offset: number, width: number): bigint | Fault {
  if (offset + width - 1 > cpu.num('segmentLimit', SEG.tr)) return fault(VECTOR.ts, errorOf(cpu.selector('tr')));
  return cpu.memory.load(cpu, cpu.get('segmentBase', SEG.tr) + BigInt(offset), width, { supervisor: true });
}

/** The TSS is one of the 80286, with stacks of 16 bits. */
const isNarrow = (cpu: Cpu): boolean => (cpu.num('segmentAttributes', SEG.tr) & 8) === 0;

/** A stack of an inner privilege level, checked but not loaded. */
export interface InnerStack {
  readonly stack: Stack;
  readonly selector: number;
  /** Null in long mode, where SS becomes a null selector. */
  readonly descriptor: Descriptor | null;
}

/** The stack for `cpl` out of the TSS; `ist` 1 to 7 takes that entry of the interrupt stack table instead (long mode). */
export function innerStack(cpu: Cpu, platform: Platform, cpl: number, ist = 0): InnerStack | Fault {
  if (cpu.longMode) {
    const pointer = readTss(cpu, ist > 0 ? 0x24 + (ist - 1) * 8 : 4 + cpl * 8, 8);
    if (isFault(pointer)) return pointer;
    if (!isCanonical(pointer)) return fault(VECTOR.ss);
    const stack = { base: 0n, segment: null, error: 0, pointer, bits: 64, supervisor: cpl < 3 };
    return { stack, selector: cpl, descriptor: null };
  }
  const narrow = isNarrow(cpu);
  const pointer = narrow ? readTss(cpu, 2 + cpl * 4, 2) : readTss(cpu, 4 + cpl * 8, 4);
  if (isFault(pointer)) return pointer;
  const selector = readTss(cpu, narrow ? 4 + cpl * 4 : 8 + cpl * 8, 2);
  if (isFault(selector)) return selector;
  const d = checkStackSegment(cpu, platform, Number(selector), cpl, false, VECTOR.ts);
  if (isFault(d)) return d;
  if (d === null) return fault(VECTOR.ts, errorOf(Number(selector)));
  const segment = { attributes: d.attributes, limit: d.limit, start: Number(d.base) };
  const error = errorOf(Number(selector));
  const stack = { base: d.base, segment, error, pointer, bits: d.big ? 32 : 16, supervisor: cpl < 3 };
  return { stack, selector: Number(selector), descriptor: d };
}

/** Loads SS from a checked inner stack; the caller sets the pointer. */
export function loadInnerStack(cpu: Cpu, platform: Platform, inner: InnerStack): null | Fault {
  if (inner.descriptor === null) {
    setNullSegment(cpu, SEG.ss, inner.selector);
    return null;
  }
  const failed = markAccessed(cpu, platform, inner.selector, inner.descriptor);
  if (failed) return failed;
  setSegment(cpu, SEG.ss, inner.selector, inner.descriptor);
  return null;
}

/** The I/O permission bitmap allows `width` bytes at `port`; a fault when the bitmap cannot be read. */
export function ioPermitted(cpu: Cpu, port: number, width: number): boolean | Fault {
  const type = cpu.segmentAttributes(SEG.tr) & 15;
  if ((type & 9) !== 9) return false;
  const limit = cpu.num('segmentLimit', SEG.tr);
  if (limit < 0x67) return false;
  const map = readTss(cpu, 0x66, 2);
  if (isFault(map)) return map;
  const at = Number(map) + (port >> 3);
  // the CPU always reads two bytes, so that ports that straddle one are covered
  if (at + 1 > limit) return false;
  const bits = readTss(cpu, at, 2);
  if (isFault(bits)) return bits;
  return ((Number(bits) >> (port & 7)) & ((1 << width) - 1)) === 0;
}
