/** sched_op (29) and its compat form (6): yield, block, shutdown, poll (D-37, D-56). */
import { stop, type Verdict } from '../../x86/seam.ts';
import { ERRNO } from '../abi/errno.ts';
import type { Call, CallResult, Hypercall } from './call.ts';

/** SHUTDOWN reasons (public/sched.h) and the verdict each ends the run with. */
const REASONS: ReadonlyArray<readonly [Verdict['kind'], string]> = [
  ['poweroff', 'the guest powered off'],
  ['reboot', 'the guest asked for a reboot'],
  ['poweroff', 'the guest suspended'],
  ['crash', 'the guest reported a crash'],
  ['crash', "the guest's watchdog fired"],
  ['crash', 'the guest asked for a soft reset'],
];
const MAX_POLL_PORTS = 128;

function shutdown({ pv, cpu }: Call, reason: number): CallResult {
  const known = REASONS[reason];
  if (known === undefined) return -ERRNO.EINVAL;
  const [kind, text] = known;
  pv.log(`Domain ${pv.domainId} ${kind === 'crash' ? 'crashed' : 'shut down'}: code ${reason}`);
  return stop(kind, `${text} (SCHEDOP_shutdown ${reason} on vCPU ${cpu.id})`);
}

function poll(call: Call): CallResult {
  const { pv, cpu } = call;
  const arg = pv.guest.view(cpu, call.ptr(1), 24);
  if (arg === null) return -ERRNO.EFAULT;
  const count = arg.getUint32(8, true);
  if (count > MAX_POLL_PORTS) return -ERRNO.EINVAL;
  const ports: number[] = [];
  if (pv.eventsDeliverable(cpu.id)) return 0;
  if (count > 0) {
    const list = pv.guest.view(cpu, arg.getBigUint64(0, true), count * 4);
    if (list === null) return -ERRNO.EFAULT;
    for (let i = 0; i < count; i++) {
      const port = list.getUint32(i * 4, true);
      if (!pv.events.channel(port)) return -ERRNO.EINVAL;
      if (pv.events.isPending(port)) return 0;
      ports.push(port);
    }
  }
  const timeout = Number(arg.getBigUint64(16, true));
  pv.startPoll(cpu, ports, timeout === 0 ? null : timeout);
  return 0;
}

export const schedOp: Hypercall = (call) => {
  const { pv, cpu } = call;
  switch (call.u32(0)) {
    case 0:
      pv.yielded(cpu);
      return 0;
    case 1:
      pv.block(cpu);
      return 0;
    case 2: {
      // Kernels of 2019 pass the reason itself instead of a pointer to it.
      const direct = call.ptr(1) < BigInt(REASONS.length);
      const arg = direct ? null : pv.guest.view(cpu, call.ptr(1), 4);
      if (!direct && arg === null) return -ERRNO.EFAULT;
      return shutdown(call, arg === null ? Number(call.ptr(1)) : arg.getUint32(0, true));
    }
    case 3:
      return poll(call);
    case 4:
      return -ERRNO.EPERM; // remote_shutdown
    case 5: {
      const arg = pv.guest.view(cpu, call.ptr(1), 4);
      if (arg === null) return -ERRNO.EFAULT;
      pv.domain.shutdownCode = arg.getUint32(0, true);
      return 0;
    }
    case 6: {
      const arg = pv.guest.view(cpu, call.ptr(1), 8);
      return arg === null ? -ERRNO.EFAULT : pv.watchdog(cpu, arg.getUint32(0, true), arg.getUint32(4, true));
    }
    case 7:
      return -ERRNO.EPERM; // pin_override
    default:
      return -ERRNO.ENOSYS;
  }
};

/** (cmd, arg) in registers: 0 yield, 1 block, 2 shutdown(reason). */
export const schedOpCompat: Hypercall = (call) => {
  switch (call.u32(0)) {
    case 0:
      call.pv.yielded(call.cpu);
      return 0;
    case 1:
      call.pv.block(call.cpu);
      return 0;
    case 2:
      return shutdown(call, call.u32(1));
    default:
      return -ERRNO.ENOSYS;
  }
};
