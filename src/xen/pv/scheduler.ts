/**
 * When a vCPU runs: block, poll, wake, shutdown and the watchdog (D-37, D-56; xen/common/sched/core.c). Whose turn it is among those
 * that can run is the machine's scheduler's to say; a domain of one vCPU has the processor to itself and runs as it wakes.
 */
import { type Stop, stop, type Verdict } from '../../x86/seam.ts';
import { ERRNO } from '../abi/errno.ts';
import { RUNSTATE } from '../abi/numbers.ts';
import { AMD64 } from '../abi/structures.ts';
import type { DomainState, XenPv } from './pv.ts';
import { setRunstate } from './runstate.ts';
import { after } from './time.ts';
import type { VcpuState } from './vcpu.ts';

const { at: INFO } = AMD64.vcpuInfo;
const NS_PER_SECOND = 1e9;

/** Neither down nor asleep. */
export const isRunnable = (v: VcpuState): boolean => !v.down && !v.blocked && v.polling === null;

/** local_events_need_delivery: an upcall would be taken now, pending and not masked. */
export function deliverable(pv: XenPv, vcpu: number): boolean {
  const info = pv.vcpus[vcpu]!.infoAddress;
  return (
    pv.memory.read8(info + INFO.evtchn_upcall_pending) !== 0 && pv.memory.read8(info + INFO.evtchn_upcall_mask) === 0
  );
}

/** SCHEDOP_block: unmasks and sleeps unless an event is deliverable. */
export function block(pv: XenPv, vcpu: number): void {
  const v = pv.vcpus[vcpu]!;
  pv.memory.write8(v.infoAddress + INFO.evtchn_upcall_mask, 0);
  pv.serviceBackends();
  if (deliverable(pv, vcpu)) return;
  v.blocked = true;
  setRunstate(pv, vcpu, RUNSTATE.blocked);
}

/** SCHEDOP_poll, once nothing it waits for is there: sleeps until an event comes or `timeout` (ns of system time). */
export function startPoll(pv: XenPv, vcpu: number, ports: number[], timeout: number | null): void {
  const v = pv.vcpus[vcpu]!;
  v.polling = ports;
  v.pollTimeout = timeout;
  setRunstate(pv, vcpu, RUNSTATE.blocked);
}

/** vcpu_unblock: ends a block or a poll, whatever the upcall mask says. */
export function wake(pv: XenPv, vcpu: number): void {
  const v = pv.vcpus[vcpu]!;
  if (!v.blocked && v.polling === null) return;
  v.blocked = false;
  v.polling = null;
  v.pollTimeout = null;
  setRunstate(pv, vcpu, pv.vcpus.length === 1 ? RUNSTATE.running : RUNSTATE.runnable);
}

/** The turn has passed from one vCPU to another (vcpu_runstate_change of both). */
export function switchVcpus(pv: XenPv, from: number, to: number): void {
  if (isRunnable(pv.vcpus[from]!)) setRunstate(pv, from, RUNSTATE.runnable);
  setRunstate(pv, to, RUNSTATE.running);
}

/** evtchn_check_pollers: a port became pending. A poll of one port waits for that one, any other for every port. */
export function wakePollers(pv: XenPv, port: number): void {
  for (const [id, { polling }] of pv.vcpus.entries())
    if (polling !== null && (polling.length !== 1 || polling[0] === port)) wake(pv, id);
}

/** SHUTDOWN reasons (public/sched.h) and the verdict each ends the run with. */
const REASONS: ReadonlyArray<readonly [Verdict['kind'], string]> = [
  ['poweroff', 'the guest powered off'],
  ['reboot', 'the guest asked for a reboot'],
  ['poweroff', 'the guest suspended'],
  ['crash', 'the guest reported a crash'],
  ['crash', "the guest's watchdog fired"],
  ['crash', 'the guest asked for a soft reset'],
];

/** domain_shutdown: the end of the run. A reason stored before by SCHEDOP_shutdown_code wins. */
export function shutdown(pv: XenPv, vcpu: number, reason: number): Stop {
  pv.domain.shutdownCode ??= reason & 0xff;
  const code = pv.domain.shutdownCode;
  const [kind, text] = REASONS[code] ?? ['crash', 'the guest shut down for a reason Xen does not know'];
  return stop(kind, `${text} (shutdown code ${code} on vCPU ${vcpu})`);
}

/** SCHEDOP_watchdog: arms a free slot (id 0) or the slot `id`; its number, 0, or a negative errno. */
export function armWatchdog(domain: DomainState, id: number, seconds: number, now: number): number {
  const { watchdogs } = domain;
  const deadline = after(now, seconds * NS_PER_SECOND);
  if (id > watchdogs.length) return -ERRNO.EINVAL;
  if (id === 0) {
    const free = watchdogs.indexOf(null);
    if (free < 0) return -ERRNO.ENOSPC;
    watchdogs[free] = deadline;
    return free + 1;
  }
  if (watchdogs[id - 1] === null) return -ERRNO.EINVAL;
  watchdogs[id - 1] = seconds === 0 ? null : deadline;
  return 0;
}
