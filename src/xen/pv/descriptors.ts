/**
 * Segment descriptors as a PV guest's vCPU finds them: its own GDT and LDT, and above the guest's entries the flat segments
 * Xen keeps in every GDT (public/arch-x86/xen-x86_64.h).
 */
import { highWord, joinWords, lowWord } from '../../core/words.ts';
import type { Cpu } from '../../x86/cpu.ts';
import { type Fault, fault, isFault, type Outcome } from '../../x86/seam.ts';
import { SEG, VECTOR } from '../../x86/state.ts';
import { FIRST_RESERVED_GDT_ENTRY, FLAT } from '../abi/numbers.ts';
import type { XenPv } from './pv.ts';

export const GDT_ENTRIES_PER_FRAME = 512;

/** Index of a selector's descriptor in its table. */
const indexOf = (selector: number): number => selector >> 3;
const inLdt = (selector: number): boolean => (selector & 4) !== 0;
/** Ring-1 segments of 32-bit guests, which stand in the GDT of every guest (public/arch-x86/xen-x86_32.h). */
const RING1 = { cs: 0xe019, ds: 0xe021 } as const;
/** Flat segments, 4 GiB, present and accessed not set, by GDT index. */
const FLAT_DESCRIPTORS: ReadonlyMap<number, bigint> = new Map([
  [indexOf(RING1.cs), 0x00cfba000000ffffn],
  [indexOf(RING1.ds), 0x00cfb2000000ffffn],
  [indexOf(FLAT.ring3Cs32), 0x00cffa000000ffffn],
  [indexOf(FLAT.ring3Ss), 0x00cff2000000ffffn],
  [indexOf(FLAT.ring3Cs64), 0x00affa000000ffffn],
]);

/** Xen's segments that a return to ring 3 may load. */
const FLAT_RETURNS: Readonly<Record<'cs' | 'ss', readonly number[]>> = {
  cs: [FLAT.ring3Cs64, FLAT.ring3Cs32],
  ss: [FLAT.ring3Ss],
};

/** Bits of a descriptor's attributes (bits 40 to 55). */
const ATTRIBUTE = { writableOrReadable: 2, code: 8, codeOrData: 0x10, present: 0x80, long: 0x2000, big: 0x4000, granular: 0x8000 } as const; // biome-ignore format: one row
const dplOf = (attributes: number): number => (attributes >> 5) & 3;

/** Attributes, base and limit of a code or data descriptor, in the form of the vCPU state. */
export function unpackDescriptor(d: bigint): { base: bigint; limit: number; attributes: number } {
  const low = lowWord(d);
  const high = highWord(d);
  const base = joinWords((low >>> 16) | ((high & 0xff) << 16) | (high & 0xff000000), 0);
  const limit = (low & 0xffff) | (high & 0xf0000);
  const attributes = (high >>> 8) & 0xf0ff;
  return { base, limit: attributes & ATTRIBUTE.granular ? ((limit << 12) | 0xfff) >>> 0 : limit, attributes };
}

/** Whether user mode may load the descriptor into a data segment register. */
export function isData(descriptor: bigint): boolean {
  const { attributes } = unpackDescriptor(descriptor);
  const usable = ATTRIBUTE.present | ATTRIBUTE.codeOrData;
  const readable = (attributes & ATTRIBUTE.code) === 0 || (attributes & ATTRIBUTE.writableOrReadable) !== 0;
  return (attributes & usable) === usable && readable && dplOf(attributes) === 3;
}

/** Machine address of the descriptor a selector names, or null when the guest has none there. */
export function descriptorAddress(pv: XenPv, cpu: Cpu, selector: number): number | null {
  const v = pv.vcpus[cpu.id]!;
  const index = indexOf(selector);
  if (inLdt(selector)) {
    const frame = index < v.ldtEntries ? pv.mm.ldtFrame(cpu, index * 8) : null;
    return frame === null ? null : frame * 4096 + (index % GDT_ENTRIES_PER_FRAME) * 8;
  }
  if (index >= v.gdtEntries) return null;
  return v.gdtFrames[Math.floor(index / GDT_ENTRIES_PER_FRAME)]! * 4096 + (index % GDT_ENTRIES_PER_FRAME) * 8;
}

/** The descriptor a selector names; #GP with the selector when there is none. */
export function readDescriptor(pv: XenPv, cpu: Cpu, selector: number): bigint | Fault {
  const none = fault(VECTOR.gp, selector & ~3);
  if (!inLdt(selector) && indexOf(selector) >= FIRST_RESERVED_GDT_ENTRY)
    return FLAT_DESCRIPTORS.get(indexOf(selector)) ?? none;
  const address = descriptorAddress(pv, cpu, selector);
  return address === null ? none : pv.memory.read64(address);
}

/** Sets the accessed bit in the guest's table; Xen's own descriptors have it already. */
export function writeDescriptor(pv: XenPv, cpu: Cpu, selector: number, descriptor: bigint): Outcome {
  const address = descriptorAddress(pv, cpu, selector);
  if (address !== null) pv.memory.write64(address, descriptor);
  return null;
}

/** Loads a flat segment of Xen's into CS or SS. */
export function loadFlat(cpu: Cpu, segment: 'cs' | 'ss', selector: number): void {
  if (cpu.selector(segment) !== selector)
    setSegment(cpu, SEG[segment], selector, FLAT_DESCRIPTORS.get(indexOf(selector))!);
}

/** Has the frame of a return that failed show a selector: it is loaded where it is one of Xen's. */
export function showSelector(cpu: Cpu, segment: 'cs' | 'ss', selector: number): void {
  if (FLAT_RETURNS[segment].includes(selector)) loadFlat(cpu, segment, selector);
  else cpu.set('selector', selector, SEG[segment]);
}

/** Puts a descriptor into a segment register without checks. The bases of FS and GS are separate registers and stay. */
export function setSegment(cpu: Cpu, segment: number, selector: number, descriptor: bigint): void {
  const { base, limit, attributes } = unpackDescriptor(descriptor);
  cpu.setSegment(segment, selector, limit, attributes);
  if (segment !== SEG.fs && segment !== SEG.gs) cpu.setSegmentBase(segment, base);
  if (segment === SEG.cs) cpu.set('codeMode', attributes & ATTRIBUTE.long ? 2 : attributes & ATTRIBUTE.big ? 1 : 0);
}

/** Loads CS or SS as IRETQ to ring 3 does: null, or the fault (SDM vol. 2A "IRET"). */
export function loadReturnSegment(pv: XenPv, cpu: Cpu, segment: 'cs' | 'ss', selector: number): Fault | null {
  const error = selector & ~3;
  if (error === 0) return fault(VECTOR.gp, 0);
  // one of Xen's own is in the register already
  if (FLAT_RETURNS[segment].includes(selector) && cpu.selector(segment) === selector) return null;
  const descriptor = readDescriptor(pv, cpu, selector);
  if (isFault(descriptor)) return descriptor;
  const { attributes } = unpackDescriptor(descriptor);
  const isCode = (attributes & ATTRIBUTE.code) !== 0;
  const fits = segment === 'cs' ? isCode : !isCode && (attributes & ATTRIBUTE.writableOrReadable) !== 0;
  if ((attributes & ATTRIBUTE.codeOrData) === 0 || !fits || dplOf(attributes) !== 3) return fault(VECTOR.gp, error);
  if ((attributes & ATTRIBUTE.present) === 0) return fault(segment === 'cs' ? VECTOR.np : VECTOR.ss, error);
  setSegment(cpu, SEG[segment], selector, descriptor);
  return null;
}
