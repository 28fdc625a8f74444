/**
 * Guest-visible time (D-38, D-39). Virtual time is a pure function of ticks and idle jumps; the machine gives it as
 * nanoseconds of system time. Everything derived from it lies here: TSC, vcpu_time_info, the wall clock, the timers.
 */
import { wide } from '../../core/words.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { SHUTDOWN, VIRQ } from '../abi/numbers.ts';
import { AMD64 } from '../abi/structures.ts';
import type { XenPv } from './pv.ts';
import { isRunnable, shutdown, wake } from './scheduler.ts';
import type { VcpuState } from './vcpu.ts';

/** Nanoseconds between refreshes of a running vCPU's time record (Xen's calibration EPOCH). */
export const EPOCH_NS = 1_000_000_000;
/**
 * The moment (ns) that no machine comes to, 104 days: what is due then never is, and waiting for it is waiting for nothing. It keeps
 * every time an exact number, though a guest names any of 64 bits.
 */
export const NEVER_NS = 2 ** 53 - 2 ** 32;
/** A relative timeout beyond this is taken for a mistake: Xen fires it after 100 ms (do_set_timer_op). */
const FAR_FUTURE_NS = 1n << 50n;
const MISTAKE_NS = 100_000_000;

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
export function tscAt(ns: number, khz: number): bigint {
  const product = ns * khz;
  if (product > Number.MAX_SAFE_INTEGER) return (BigInt(ns) * BigInt(khz)) / 1_000_000n;
  return wide((product - (product % 1_000_000)) / 1_000_000);
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
  memory.write64(base + at.tsc_timestamp, tscAt(ns, khz));
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

/** Raises VIRQ_TIMER of a vCPU. */
export function raiseTimer(pv: XenPv, vcpu: number): void {
  pv.events.raiseVirq(VIRQ.TIMER, vcpu);
}

/** A moment `ns` after `now`. */
export const after = (now: number, ns: number): number => Math.min(now + ns, NEVER_NS);
/** A span of time (ns) that a guest names, at most as long as a machine runs. */
export const spanOf = (ns: bigint): number => (ns < NEVER_NS ? Number(ns) : NEVER_NS);
/** A moment that a guest names: signed as Xen keeps it, so that the upper half of the numbers has passed (s_time_t). */
export const momentOf = (ns: bigint): number => spanOf(ns >> 63n === 0n ? ns : 0n);

/** The deadline set_timer_op stores for `timeout` (0 stops) at time `now`. */
export function timerDeadline(timeout: bigint, now: number): number | null {
  if (timeout === 0n) return null;
  const isMistake = timeout >> 63n !== 0n || timeout - BigInt(now) >= FAR_FUTURE_NS;
  return isMistake ? after(now, MISTAKE_NS) : momentOf(timeout);
}

/** The next moment (ns) at which time does something to this vCPU, or Infinity. */
function nextOf(v: VcpuState): number {
  let at = isRunnable(v) ? v.timeRefresh : Number.POSITIVE_INFINITY;
  if (v.singleshot !== null && v.singleshot < at) at = v.singleshot;
  if (v.periodicPeriod > 0 && v.periodicNext < at) at = v.periodicNext;
  if (v.pollTimeout !== null && v.pollTimeout < at) at = v.pollTimeout;
  return at;
}

/** The next moment (ns) at which time does something to the domain, or Infinity. */
export function nextDeadline(pv: XenPv): number {
  const { vcpus } = pv;
  const { watchdogs } = pv.domain;
  let at = Number.POSITIVE_INFINITY;
  for (let i = 0; i < vcpus.length; i++) {
    const next = nextOf(vcpus[i]!);
    if (next < at) at = next;
  }
  for (let i = 0; i < watchdogs.length; i++) {
    const deadline = watchdogs[i]!;
    if (deadline !== null && deadline < at) at = deadline;
  }
  return at < NEVER_NS ? at : Number.POSITIVE_INFINITY;
}

/** Applies every expiry due at `now` (ns), in the order of vCPUs and of the list below. Returns the kinds, for the journal. */
export function expire(pv: XenPv, now: number): string[] {
  const fired: string[] = [];
  for (const [id, v] of pv.vcpus.entries()) {
    if (v.singleshot !== null && v.singleshot <= now) {
      v.singleshot = null;
      raiseTimer(pv, id);
      fired.push(`singleshot:${id}`);
    }
    if (v.periodicPeriod > 0 && v.periodicNext <= now) {
      const periods = 1 + Math.floor((now - v.periodicNext) / v.periodicPeriod);
      v.periodicNext = after(v.periodicNext, periods * v.periodicPeriod);
      raiseTimer(pv, id);
      fired.push(`periodic:${id}`);
    }
    if (v.pollTimeout !== null && v.pollTimeout <= now) {
      wake(pv, id);
      fired.push(`poll:${id}`);
    }
    if (isRunnable(v) && v.timeRefresh <= now) {
      refreshTime(pv, id);
      fired.push(`time:${id}`);
    }
  }
  if (pv.domain.watchdogs.some((at) => at !== null && at <= now)) {
    pv.log(`Watchdog timer fired for domain ${pv.domainId}`);
    pv.ended = shutdown(pv, 0, SHUTDOWN.watchdog);
    fired.push('watchdog');
  }
  return fired;
}
