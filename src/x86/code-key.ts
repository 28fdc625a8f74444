/**
 * What decoded code depends on besides its bytes: the code mode, the width of the stack, and whether accesses need checks
 * beyond paging. Records and regions are kept by this key. Flat segments, which is all that 64-bit mode has and what
 * nearly all 32-bit code uses, need none, and code under a flat key pays nothing for segmentation.
 */
import type { Cpu } from './cpu.ts';
import type { CodeMode } from './form.ts';
import { FLAG, SEG, STATE } from './state.ts';

/**
 * A {@link CodeMode} and bits of {@link KEY}, as one number below {@link KEYS}.
 */
export type CodeKey = number;

/** Bits of a {@link CodeKey} above the code mode. */
export const KEY = {
  mode: 3,
  /** FS cannot be used without checks (it is null, or not flat). */
  fs: 4,
  gs: 8,
  /** Every access is checked: limits and types of segments, alignment, data breakpoints. */
  checked: 16,
  /** The stack is as wide as the other code mode of 16 and 32 bits. */
  stack: 32,
} as const;
/** Number of keys. */
export const KEYS = 64;

export const modeOf = (key: CodeKey): CodeMode => (key & KEY.mode) as CodeMode;
/** Bytes of the stack pointer that implicit stack accesses use. */
export const stackSizeOf = (key: CodeKey): 2 | 4 | 8 => {
  const mode = modeOf(key);
  if (mode === 2) return 8;
  return (mode === 1) === ((key & KEY.stack) === 0) ? 4 : 2;
};

const BASE = STATE.segmentBase.offset;
const LIMIT = STATE.segmentLimit.offset;
const ATTRIBUTES = STATE.segmentAttributes.offset;
/** Bits of the attributes: present; code, expand-down (conforming), writable (readable). */
const PRESENT = 0x80;
const CODE = 8;
const EXPAND_DOWN = 4;
const ACCESS = 2;
const BIG = 1 << 14;
const CR0_AM = 1 << 18;
/** Bits L and G of the breakpoints. */
const DR7_ENABLED = 0xff;

/** The segment begins where a page does: what runs over its end of 4 GiB crosses pages, and is seen by the MMU. */
const startsPage = ({ view, base }: Cpu, segment: number): boolean =>
  (view.getUint32(base + BASE + segment * 8, true) & 4095) === 0;
/** True when nothing in the segment can be out of reach: present, writable (code: readable), up to 4 GiB. */
function isFlat({ view, base }: Cpu, segment: number): boolean {
  if (view.getUint32(base + LIMIT + segment * 4, true) !== 0xffffffff) return false;
  const attributes = view.getUint16(base + ATTRIBUTES + segment * 2, true);
  const wanted = segment === SEG.cs ? PRESENT | CODE | ACCESS : PRESENT | ACCESS;
  const looked = segment === SEG.cs ? wanted : wanted | CODE | EXPAND_DOWN;
  return (attributes & looked) === wanted;
}
const isUsable = (cpu: Cpu, segment: number): boolean => isFlat(cpu, segment) && startsPage(cpu, segment);
/** Alignment is checked: CPL 3 with CR0.AM and RFLAGS.AC (SDM vol. 3A 6.15 "#AC"). */
export function checksAlignment({ view, base }: Cpu): boolean {
  return (
    (view.getUint32(base + STATE.rflags.offset, true) & FLAG.ac) !== 0 &&
    (view.getUint32(base + STATE.cr0.offset, true) & CR0_AM) !== 0 &&
    view.getUint8(base + STATE.cpl.offset) === 3
  );
}
const DR7_AT = STATE.dr.offset + 7 * 8;
/** A breakpoint of DR7 is enabled. */
export const hasBreakpoints = ({ view, base }: Cpu): boolean => (view.getUint8(base + DR7_AT) & DR7_ENABLED) !== 0;
/** One is enabled that accesses can meet: its R/W field is not 0. */
export function hasDataBreakpoints({ view, base }: Cpu): boolean {
  const dr7 = view.getUint32(base + DR7_AT, true);
  if ((dr7 & DR7_ENABLED) === 0) return false;
  for (let i = 0; i < 4; i++) if ((dr7 >>> (2 * i)) & 3 && (dr7 >>> (16 + 4 * i)) & 3) return true;
  return false;
}

/** The key under which the vCPU executes now. */
export function codeKey(cpu: Cpu): CodeKey {
  const { view, base } = cpu;
  const mode = view.getUint32(base + STATE.codeMode.offset, true);
  const checked = checksAlignment(cpu) || hasDataBreakpoints(cpu) ? KEY.checked : 0;
  if (mode === 2) return mode | checked;
  const big = (view.getUint16(base + ATTRIBUTES + SEG.ss * 2, true) & BIG) !== 0;
  const key = mode | (big === (mode === 1) ? 0 : KEY.stack);
  const flat = isUsable(cpu, SEG.cs) && isUsable(cpu, SEG.ss) && isUsable(cpu, SEG.ds) && isUsable(cpu, SEG.es);
  if (checked !== 0 || !flat) return key | KEY.checked;
  return key | (isFlat(cpu, SEG.fs) ? 0 : KEY.fs) | (isFlat(cpu, SEG.gs) ? 0 : KEY.gs);
}
