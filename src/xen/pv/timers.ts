/**
 * What time does to a domain (D-39): the timers of its vCPUs, the ends of their polls, refreshes of their time records, watchdogs.
 */
import { SHUTDOWN, VIRQ } from '../abi/numbers.ts';
import type { XenPv } from './pv.ts';
import { isRunnable, shutdown, wake } from './scheduler.ts';
import { after, momentOf, NEVER_NS, refreshTime } from './time.ts';
import type { VcpuState } from './vcpu.ts';

/** A relative timeout beyond this is taken for a mistake: Xen fires it after 100 ms (do_set_timer_op). */
const FAR_FUTURE_NS = 1n << 50n;
const MISTAKE_NS = 100_000_000;

/** Raises VIRQ_TIMER of a vCPU. */
export function raiseTimer(pv: XenPv, vcpu: number): void {
  pv.events.raiseVirq(VIRQ.TIMER, vcpu);
}

/** The deadline set_timer_op stores for `timeout` (0 stops) at time `now`. */
export function timerDeadline(timeout: bigint, now: number): number | null {
  if (timeout === 0n) return null;
  const isMistake = timeout >> 63n !== 0n || timeout - BigInt(now) >= FAR_FUTURE_NS;
  return isMistake ? after(now, MISTAKE_NS) : momentOf(timeout);
}

/** The next moment (ns) at which time does something to this vCPU, or Infinity; none of a vCPU that is down. */
function nextOf(v: VcpuState): number {
  if (v.down) return Number.POSITIVE_INFINITY;
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
    if (v.down) continue;
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
