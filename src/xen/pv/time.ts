/**
 * Guest-visible time (D-38, D-39). Virtual time is a pure function of ticks and idle jumps; the machine gives it as
 * nanoseconds of system time. Everything derived from it lies here: TSC, vcpu_time_info, the wall clock, the timers.
 */
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { VCPU_INFO } from './events.ts';
import type { VcpuState } from './vcpu.ts';

/** Nanoseconds between refreshes of a running vCPU's time record (Xen's calibration EPOCH). */
export const EPOCH_NS = 1_000_000_000;
/** A relative timeout beyond this is taken for a mistake: Xen fires it after 100 ms (do_set_timer_op). */
const FAR_FUTURE_NS = 2 ** 50;

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

/** The TSC at `ns` of system time. */
export const tscAt = (ns: number, khz: number): bigint => (BigInt(ns) * BigInt(khz)) / 1_000_000n;

/** Refreshes the record: version is odd while the fields change, and moves by two. */
export function writeTimeRecord(memory: GuestMemory, infoAddress: number, ns: number, khz: number): void {
  const at = infoAddress + VCPU_INFO.time;
  const { mul, shift } = tscScale(khz);
  const version = memory.read32(at);
  memory.write32(at, (version + 1) >>> 0);
  memory.write64(at + 8, tscAt(ns, khz));
  memory.write64(at + 16, BigInt(ns));
  memory.write32(at + 24, mul >>> 0);
  memory.write8(at + 28, shift & 0xff);
  memory.write8(at + 29, 1); // XEN_PVCLOCK_TSC_STABLE_BIT
  memory.write32(at, (version + 2) >>> 0);
}

/** Writes the wall clock of shared_info: seconds and nanoseconds since 1970 at system time 0. */
export function writeWallClock(memory: GuestMemory, sharedInfo: number, epochSeconds: number): void {
  const at = sharedInfo + 0xc00;
  const version = memory.read32(at);
  memory.write32(at, (version + 1) >>> 0);
  memory.write32(at + 4, epochSeconds >>> 0);
  memory.write32(at + 8, 0);
  memory.write32(at + 12, Math.floor(epochSeconds / 2 ** 32));
  memory.write32(at, (version + 2) >>> 0);
}

/** The deadline set_timer_op stores for `timeout` (signed ns; 0 stops) at time `now`. */
export function timerDeadline(timeout: bigint, now: number): number | null {
  if (timeout === 0n) return null;
  const value = Number(timeout);
  if (timeout < 0n || value - now > FAR_FUTURE_NS) return now + 100_000_000;
  return value;
}

/** The next moment (ns) at which time does something to this vCPU, or Infinity. */
export function nextDeadline(v: VcpuState): number {
  let at = Number.POSITIVE_INFINITY;
  if (v.singleshot !== null) at = Math.min(at, v.singleshot);
  if (v.periodicPeriod > 0) at = Math.min(at, v.periodicNext);
  if (v.pollTimeout !== null) at = Math.min(at, v.pollTimeout);
  if (!v.down && !v.blocked && v.polling === null) at = Math.min(at, v.timeRefresh);
  return at;
}
