/**
 * The checks of an access that come before paging, and those beside it: segment limits and types (SDM vol. 3A 5.3 and
 * 5.5), alignment (#AC), data breakpoints (SDM vol. 3B 18.2). One implementation for every tier and for system
 * instructions; generated code calls it only under a key that says so (code-key.ts).
 *
 * Accesses are given by linear address: the offset in the segment follows from the base, modulo 2^32.
 */
import { checksAlignment, hasDataBreakpoints } from './code-key.ts';
import type { Cpu } from './cpu.ts';
import { type Fault, fault } from './seam.ts';
import { SEG, STATE, VECTOR } from './state.ts';

const PRESENT = 0x80;
const CODE = 8;
const EXPAND_DOWN = 4;
const ACCESS = 2;
const BIG = 1 << 14;

/**
 * The fault of an offset or a kind of access that the segment does not allow; none in 64-bit mode. `executable`: code that can only be
 * executed may be read.
 */
function segmentFault(
  cpu: Cpu,
  segment: number,
  lo: number,
  bytes: number,
  write: boolean,
  executable = false,
): Fault | null {
  const { view, base } = cpu;
  if (view.getUint32(base + STATE.codeMode.offset, true) === 2) return null;
  const attributesAsLoaded = view.getUint16(base + STATE.segmentAttributes.offset + segment * 2, true);
  const attributes = executable && !write ? attributesAsLoaded | ACCESS : attributesAsLoaded;
  const limit = view.getUint32(base + STATE.segmentLimit.offset + segment * 4, true);
  const start = view.getUint32(base + STATE.segmentBase.offset + segment * 8, true);
  // code under a flat key does not see the end of 4 GiB of an FS or GS that begins inside a page: there accesses wrap everywhere
  const wraps = segment >= SEG.fs && limit === 0xffffffff && (start & 4095) !== 0;
  const inside = wraps ? Math.min(bytes, 2 ** 32 - ((lo - start) >>> 0)) : bytes;
  return limitFault({ attributes, limit, start }, segment === SEG.ss ? VECTOR.ss : VECTOR.gp, lo, inside, write);
}

/** What a check needs to know of a segment. */
export interface SegmentView {
  readonly attributes: number;
  readonly limit: number;
  /** The low 32 bits of its base. */
  readonly start: number;
}

/** Like {@link segmentFault} for a segment that is not loaded; `vector` with `error` is the fault. */
export function limitFault(
  { attributes, limit, start }: SegmentView,
  vector: number,
  lo: number,
  bytes: number,
  write: boolean,
  error = 0,
): Fault | null {
  if ((attributes & PRESENT) === 0) return fault(vector, error);
  const code = (attributes & CODE) !== 0;
  if (write ? code || (attributes & ACCESS) === 0 : code && (attributes & ACCESS) === 0) return fault(vector, error);
  const first = (lo - start) >>> 0;
  const last = first + bytes - 1;
  const down = !code && (attributes & EXPAND_DOWN) !== 0;
  const inside = down ? first > limit && last <= (attributes & BIG ? 0xffffffff : 0xffff) : last <= limit;
  return inside ? null : fault(vector, error);
}

/** The low 48 bits sign-extend to the whole address; 32-bit ones always do. */
export const isCanonical = (address: bigint): boolean => BigInt.asUintN(64, BigInt.asIntN(48, address)) === address;

/** Alignment in bytes that an access of `bytes` bytes needs (SDM vol. 3A table 6-7). */
const alignmentOf = (bytes: number): number =>
  bytes === 10 ? 8 : (bytes & (bytes - 1)) === 0 ? Math.min(bytes, 16) : 1;

const CR4_DE = 8;
/** Bytes by the LEN field of DR7. */
const LENGTHS = [1, 2, 8, 4];
/** Notes in `breakpoints` those of DR7 whose kind is wanted and whose bytes the access at `address` touches. */
function noteBreakpoints(cpu: Cpu, address: bigint, bytes: number, isWanted: (kind: number) => boolean): void {
  const dr7 = Number(cpu.get('dr', 7) & 0xffffffffn);
  let met = cpu.num('breakpoints');
  for (let i = 0; i < 4; i++) {
    if (((dr7 >>> (i * 2)) & 3) === 0 || !isWanted((dr7 >>> (16 + i * 4)) & 3)) continue;
    const length = BigInt(LENGTHS[(dr7 >>> (18 + i * 4)) & 3]!);
    const start = cpu.get('dr', i) & ~(length - 1n);
    if (start < address + BigInt(bytes) && address < start + length) met |= 1 << i;
  }
  cpu.set('breakpoints', met);
}
/** Kinds of breakpoints: the R/W field of DR7. */
const isMetByWrite = (kind: number): boolean => kind === 1 || kind === 3;
const isMetByRead = (kind: number): boolean => kind === 3;
const isMetByPort = (kind: number): boolean => kind === 2;

/** Notes the breakpoints on ports, which exist with CR4.DE, that an access of `bytes` bytes meets. */
export function notePortBreakpoints(cpu: Cpu, port: number, bytes: number): void {
  if (hasDataBreakpoints(cpu) && cpu.num('cr4') & CR4_DE) noteBreakpoints(cpu, BigInt(port), bytes, isMetByPort);
}

/**
 * The fault of an access by the instruction that executes, apart from paging and before it: segment, then alignment (both
 * orders measured on AMD family 1Ah). `alignment` is in bytes, `executable` as in {@link segmentFault}. Notes the data breakpoints it meets in
 * `breakpoints`.
 */
export function accessFault(
  cpu: Cpu,
  segment: number,
  address: bigint,
  bytes: number,
  write: boolean,
  alignment: number = alignmentOf(bytes),
  executable = false,
): Fault | null {
  // what nearly every access meets
  if (cpu.codeMode === 2 && !checksAlignment(cpu) && !hasDataBreakpoints(cpu)) return null;
  const lo = Number(BigInt.asUintN(32, address));
  const failed = segmentFault(cpu, segment, lo, bytes, write, executable);
  if (failed) return failed;
  // bytes at an address that is not canonical have their own fault, from the MMU
  const canonical = isCanonical(address) && isCanonical(BigInt.asUintN(64, address + BigInt(bytes - 1)));
  if (lo & (alignment - 1) && checksAlignment(cpu) && canonical) return fault(VECTOR.ac);
  if (hasDataBreakpoints(cpu)) noteBreakpoints(cpu, address, bytes, write ? isMetByWrite : isMetByRead);
  return null;
}

/** Bits B0 to B3 of the enabled instruction breakpoints at `cpu.rip`. */
export function instructionBreakpoints(cpu: Cpu): number {
  const dr7 = Number(cpu.get('dr', 7) & 0xffffffffn);
  const long = cpu.codeMode === 2;
  const address = long ? cpu.rip : BigInt.asUintN(32, cpu.rip + cpu.get('segmentBase', SEG.cs));
  let met = 0;
  for (let i = 0; i < 4; i++)
    if (((dr7 >>> (i * 2)) & 3) !== 0 && ((dr7 >>> (16 + i * 4)) & 3) === 0 && cpu.get('dr', i) === address)
      met |= 1 << i;
  return met;
}

/** Linear addresses of the enabled instruction breakpoints. */
export function breakpointAddresses(cpu: Cpu): ReadonlySet<bigint> {
  const dr7 = Number(cpu.get('dr', 7) & 0xffffffffn);
  const enabled = [0, 1, 2, 3].filter((i) => (dr7 >>> (i * 2)) & 3 && ((dr7 >>> (16 + i * 4)) & 3) === 0);
  return new Set(enabled.map((i) => cpu.get('dr', i)));
}

/** Bytes from `rip` on that can be fetched, 0 to 15: the code segment may end there (none in 64-bit mode). */
export function fetchRoom(cpu: Cpu): number {
  if (cpu.codeMode === 2) return 15;
  const limit = cpu.num('segmentLimit', SEG.cs);
  const room = limit - Number(BigInt.asUintN(32, cpu.rip)) + 1;
  return limit === 0xffffffff ? 15 : Math.max(0, Math.min(15, room));
}

/** #GP(0) where a near transfer would leave the code segment; `rip` is its target. */
export function transferFault(cpu: Cpu, rip: bigint): Fault | null {
  if (cpu.codeMode === 2) return null;
  return rip > BigInt(cpu.num('segmentLimit', SEG.cs)) ? fault(VECTOR.gp) : null;
}
