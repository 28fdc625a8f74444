/**
 * Segment descriptors: reading and writing the tables, and loading segment registers (SDM vol. 3A 3.4 and 5).
 *
 * Error codes are the selector without RPL. Registers change only after every check has passed.
 */
import { highWord, joinWords, lowWord } from '../../core/words.ts';
import type { Cpu } from '../cpu.ts';
import { type Fault, fault, isFault, type Platform } from '../seam.ts';
import { SEG, VECTOR } from '../state.ts';
import { generalProtection } from './operands.ts';

/** Fields of an 8-byte descriptor. */
export interface Descriptor {
  readonly raw: bigint;
  readonly type: number;
  /** Code or data (S = 1), not a system descriptor. */
  readonly user: boolean;
  readonly dpl: number;
  readonly present: boolean;
  readonly long: boolean;
  readonly big: boolean;
  readonly base: bigint;
  /** Limit in bytes, granularity applied. */
  readonly limit: number;
  /** As kept in the `segmentAttributes` slot. */
  readonly attributes: number;
}

/** Takes a descriptor apart. */
export function parseDescriptor(raw: bigint): Descriptor {
  const low = lowWord(raw);
  const high = highWord(raw);
  const bit = (n: number): boolean => ((high >>> (n - 32)) & 1) === 1;
  const limit = (low & 0xffff) | (high & 0xf0000);
  return {
    raw,
    type: (high >>> 8) & 15,
    user: bit(44),
    dpl: (high >>> 13) & 3,
    present: bit(47),
    long: bit(53),
    big: bit(54),
    base: joinWords((low >>> 16) | ((high & 0xff) << 16) | (high & 0xff000000), 0),
    limit: bit(55) ? ((limit << 12) | 0xfff) >>> 0 : limit,
    attributes: (high >>> 8) & 0xf0ff,
  };
}

export const isCode = (d: Descriptor): boolean => d.user && (d.type & 8) !== 0;
export const isConforming = (d: Descriptor): boolean => (d.type & 4) !== 0;
const isReadable = (d: Descriptor): boolean => (d.type & 8) === 0 || (d.type & 2) !== 0;
export const isNull = (selector: number): boolean => (selector & 0xfffc) === 0;
/** The selector as an error code shows it. */
export const errorOf = (selector: number): number => selector & 0xfffc;
export const notPresent = (selector: number): Fault => fault(VECTOR.np, errorOf(selector));

/** Linear address of the descriptor a selector names, or #GP(selector) outside its table. */
function descriptorAddress(cpu: Cpu, selector: number): bigint | Fault {
  const local = (selector & 4) !== 0;
  const last = (selector & 0xfff8) + 7;
  if (local && isNull(cpu.selector('ldtr'))) return generalProtection(errorOf(selector));
  const limit = local ? cpu.num('segmentLimit', SEG.ldtr) : cpu.num('gdtrLimit');
  if (last > limit) return generalProtection(errorOf(selector));
  const base = local ? cpu.get('segmentBase', SEG.ldtr) : cpu.get('gdtrBase');
  return base + BigInt(selector & 0xfff8);
}
/** The descriptor of a selector as the tables in guest memory hold it; what a platform with real tables answers. */
export function readTable(cpu: Cpu, selector: number): bigint | Fault {
  const address = descriptorAddress(cpu, selector);
  return isFault(address) ? address : cpu.memory.load(cpu, address, 8, { supervisor: true });
}
/** Writes a descriptor back to the tables in guest memory. */
export function writeTable(cpu: Cpu, selector: number, descriptor: bigint): null | Fault {
  const address = descriptorAddress(cpu, selector);
  return isFault(address) ? address : cpu.memory.store(cpu, address, 8, descriptor, { supervisor: true });
}

/** Fetches and takes apart; a null selector is the caller's business. */
export function fetchDescriptor(cpu: Cpu, platform: Platform, selector: number): Descriptor | Fault {
  const raw = platform.descriptor(cpu, selector);
  return isFault(raw) ? raw : parseDescriptor(raw);
}

/**
 * Bits 63:32 of the base of a 16-byte system descriptor (LDT, TSS, call gate in long mode), or #GP(selector) where its upper half has a
 * type of its own (SDM vol. 3A 5.8.3.1).
 */
export function upperHalf(cpu: Cpu, platform: Platform, selector: number): bigint | Fault {
  const raw = platform.descriptor(cpu, (selector & 0xfffc) + 8);
  if (isFault(raw)) return raw.vector === VECTOR.gp ? generalProtection(errorOf(selector)) : raw;
  return ((raw >> 40n) & 31n) === 0n ? raw & 0xffffffffn : generalProtection(errorOf(selector));
}

/** Puts a checked descriptor into a segment register. */
export function setSegment(cpu: Cpu, segment: number, selector: number, d: Descriptor): void {
  cpu.setSegment(segment, selector, d.limit, d.attributes);
  cpu.setSegmentBase(segment, d.base);
}
/** Makes a segment register unusable with the given null selector. */
export function setNullSegment(cpu: Cpu, segment: number, selector: number): void {
  // an unusable SS keeps DPL = CPL so that privilege can be read from it
  cpu.setSegment(segment, selector, 0, segment === SEG.ss ? (selector & 3) << 5 : 0);
  cpu.setSegmentBase(segment, 0n);
}

/** Sets the accessed bit of a code or data descriptor where it is clear. */
export function markAccessed(cpu: Cpu, platform: Platform, selector: number, d: Descriptor): null | Fault {
  if ((d.type & 1) !== 0) return null;
  const outcome = platform.writeDescriptor(cpu, selector, d.raw | (1n << 40n));
  return isFault(outcome) ? outcome : null;
}
const accessed = (d: Descriptor): Descriptor => ((d.type & 1) !== 0 ? d : parseDescriptor(d.raw | (1n << 40n)));

/** The descriptor for SS at privilege `cpl`, checked; null for a null selector that 64-bit mode allows. */
export function checkStackSegment(
  cpu: Cpu,
  platform: Platform,
  selector: number,
  cpl: number,
  nullAllowed: boolean,
  vector: number = VECTOR.gp,
): Descriptor | null | Fault {
  if (isNull(selector)) return nullAllowed && cpl < 3 && (selector & 3) === cpl ? null : fault(vector, 0);
  const d = fetchDescriptor(cpu, platform, selector);
  if (isFault(d)) return d.vector === VECTOR.gp ? fault(vector, d.error) : d;
  const writableData = d.user && (d.type & 8) === 0 && (d.type & 2) !== 0;
  if (!writableData || (selector & 3) !== cpl || d.dpl !== cpl) return fault(vector, errorOf(selector));
  return d.present ? d : fault(VECTOR.ss, errorOf(selector));
}

/** Loads ES, SS, DS, FS or GS as MOV and POP do; nothing has changed when it faults. */
export function loadSegment(cpu: Cpu, platform: Platform, segment: number, selector: number): null | Fault {
  if (segment === SEG.ss) {
    const d = checkStackSegment(cpu, platform, selector, cpu.cpl, cpu.codeMode === 2);
    if (isFault(d)) return d;
    if (d === null) setNullSegment(cpu, segment, selector);
    else {
      const failed = markAccessed(cpu, platform, selector, d);
      if (failed) return failed;
      setSegment(cpu, segment, selector, accessed(d));
    }
    return null;
  }
  if (isNull(selector)) {
    setNullSegment(cpu, segment, selector);
    return null;
  }
  const d = fetchDescriptor(cpu, platform, selector);
  if (isFault(d)) return d;
  if (!d.user || !isReadable(d)) return generalProtection(errorOf(selector));
  const checksPrivilege = !isCode(d) || !isConforming(d);
  if (checksPrivilege && (d.dpl < (selector & 3) || d.dpl < cpu.cpl)) return generalProtection(errorOf(selector));
  if (!d.present) return notPresent(selector);
  const failed = markAccessed(cpu, platform, selector, d);
  if (failed) return failed;
  setSegment(cpu, segment, selector, accessed(d));
  return null;
}

/** Loads CS (checked by the caller), the privilege level and the code mode that go with it. */
export function setCodeSegment(cpu: Cpu, selector: number, d: Descriptor): void {
  setSegment(cpu, SEG.cs, selector, accessed(d));
  cpu.cpl = selector & 3;
  setCodeMode(cpu);
}
/** Recomputes the code mode from EFER.LMA and CS. */
export function setCodeMode(cpu: Cpu): void {
  const attributes = cpu.segmentAttributes(SEG.cs);
  const long = (attributes & (1 << 13)) !== 0;
  const big = (attributes & (1 << 14)) !== 0;
  cpu.codeMode = cpu.longMode && long ? 2 : big ? 1 : 0;
}

/** A flat segment with fixed attributes, as SYSCALL, SYSENTER and their returns load them. */
export function setFlatSegment(cpu: Cpu, segment: number, selector: number, attributes: number): void {
  cpu.setSegment(segment, selector, 0xffffffff, attributes);
  cpu.setSegmentBase(segment, 0n);
}

/** Returning outward makes data segments unusable that the new privilege may not hold (SDM vol. 2 "RET"). */
export function dropPrivilegedSegments(cpu: Cpu): void {
  for (const segment of [SEG.es, SEG.ds, SEG.fs, SEG.gs]) {
    const attributes = cpu.num('segmentAttributes', segment);
    const dataOrNonconforming = (attributes & 0x18) === 0x10 || (attributes & 0x1c) === 0x18;
    const dpl = (attributes >> 5) & 3;
    if (isNull(cpu.num('selector', segment)) || (dataOrNonconforming && dpl < cpu.cpl)) setNullSegment(cpu, segment, 0);
  }
}
