/**
 * Guest-visible time (D-38, D-39). Virtual time is a pure function of ticks and idle jumps; the machine gives it as
 * nanoseconds of system time. Everything derived from it lies here: TSC, vcpu_time_info, the wall
 * clock; what happens at a moment is in timers.ts.
 */
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { AMD64 } from '../abi/structures.ts';
import type { XenPv } from './pv.ts';

/** Nanoseconds between refreshes of a running vCPU's time record (Xen's calibration EPOCH). */
export const EPOCH_NS = 1_000_000_000;
/**
 * The moment (ns) that no machine comes to, 104 days: what is due then never is, and waiting for it is waiting for nothing. It keeps
 * every time an exact number, though a guest names any of 64 bits.
 */
export const NEVER_NS = 2 ** 53 - 2 ** 32;
/** Multiplier and shift of vcpu_time_info for a TSC of `khz`: ns = ((tsc << shift) * mul) >> 32. */
export function tscScale(khz: number): { mul: number; shift: number } {
  let ratio = 1_000_000 / khz;
  let shift = 0;
  while (ratio >= 1) {
    ratio /= 2;
    shift++;
  }
  while (ratio < 0.5) {
    ratio *= 2;
    shift--;
  }
  return { mul: Math.floor(ratio * 2 ** 32), shift };
}

/** The TSC at `ns` of system time; a number where it and what it is reckoned with are exact. */
export function tscAt(ns: number, khz: number): number | bigint {
  if (khz === 1_000_000) return ns;
  const rest = ns % 1_000_000;
  const whole = ((ns - rest) / 1_000_000) * khz;
  const part = rest * khz;
  if (whole > 2 ** 52 || part > 2 ** 52) return (BigInt(ns) * BigInt(khz)) / 1_000_000n;
  return whole + (part - (part % 1_000_000)) / 1_000_000;
}

/**
 * Refreshes the record: version is odd while the fields change, and moves by two. XEN_PVCLOCK_TSC_STABLE_BIT stays clear, as
 * on a Xen whose own clock source is not the TSC.
 */
function writeTimeRecord(memory: GuestMemory, infoAddress: number, ns: number, khz: number): void {
  const base = infoAddress + AMD64.vcpuInfo.at.time;
  const { at } = AMD64.vcpuTimeInfo;
  const { mul, shift } = tscScale(khz);
  const version = memory.read32(base + at.version);
  memory.write32(base + at.version, (version + 1) >>> 0);
  memory.write64(base + at.tsc_timestamp, BigInt(tscAt(ns, khz)));
  memory.write64(base + at.system_time, BigInt(ns));
  memory.write32(base + at.tsc_to_system_mul, mul >>> 0);
  memory.write8(base + at.tsc_shift, shift & 0xff);
  memory.write8(base + at.flags, 0);
  memory.write32(base + at.version, (version + 2) >>> 0);
}

/** Writes the wall clock of shared_info: seconds and nanoseconds since 1970 at system time 0. */
export function writeWallClock(memory: GuestMemory, sharedInfo: number, epochSeconds: number): void {
  const { at } = AMD64.sharedInfo;
  const version = memory.read32(sharedInfo + at.wc_version);
  memory.write32(sharedInfo + at.wc_version, (version + 1) >>> 0);
  memory.write32(sharedInfo + at.wc_sec, epochSeconds >>> 0);
  memory.write32(sharedInfo + at.wc_nsec, 0);
  memory.write32(sharedInfo + at.wc_sec_hi, Math.floor(epochSeconds / 2 ** 32));
  memory.write32(sharedInfo + at.wc_version, (version + 2) >>> 0);
}

/** Refreshes a vCPU's record now and plans the next refresh. */
export function refreshTime(pv: XenPv, vcpu: number): void {
  const v = pv.vcpus[vcpu]!;
  const now = pv.now(null);
  writeTimeRecord(pv.memory, v.infoAddress, now, pv.clock.tscKhz);
  v.timeRefresh = now + EPOCH_NS;
}

/** A moment `ns` after `now`. */
export const after = (now: number, ns: number): number => Math.min(now + ns, NEVER_NS);
/** A span of time (ns) that a guest names, at most as long as a machine runs. */
export const spanOf = (ns: bigint): number => (ns < NEVER_NS ? Number(ns) : NEVER_NS);
/** A moment that a guest names: signed as Xen keeps it, so that the upper half of the numbers has passed (s_time_t). */
export const momentOf = (ns: bigint): number => spanOf(ns >> 63n === 0n ? ns : 0n);
