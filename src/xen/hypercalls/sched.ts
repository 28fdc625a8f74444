/** sched_op (29) and its compat form (6): yield, block, shutdown, poll (D-37, D-56; xen/common/sched/core.c). */
import { ARGUMENTS64 as ARG } from '../abi/arguments.ts';
import { ERRNO } from '../abi/errno.ts';
import { SCHEDOP } from '../abi/numbers.ts';
import type { GuestStruct } from '../pv/guest-access.ts';
import { armWatchdog, block, deliverable, shutdown, startPoll } from '../pv/scheduler.ts';
import { momentOf } from '../pv/time.ts';
import type { Call, CallResult, Hypercall } from './call.ts';

const MAX_POLL_PORTS = 128;

function poll(call: Call, arg: GuestStruct<keyof typeof ARG.schedPoll.at>): CallResult {
  const { pv, cpu } = call;
  const count = arg.u32('nr_ports');
  if (count > MAX_POLL_PORTS) return -ERRNO.EINVAL;
  pv.serviceBackends();
  if (deliverable(pv, cpu.id)) return 0;
  const ports: number[] = [];
  for (let i = 0; i < count; i++) {
    const port = pv.guest.readU32(cpu, arg.u64('ports') + BigInt(i * 4));
    if (port === null) return -ERRNO.EFAULT;
    if (!pv.events.channel(port)) return -ERRNO.EINVAL;
    if (pv.events.isPending(port)) return 0;
    ports.push(port);
  }
  const timeout = arg.u64('timeout');
  startPoll(pv, cpu.id, ports, timeout === 0n ? null : momentOf(timeout));
  return 0;
}

/** (cmd, argument). */
export const schedOp: Hypercall = (call) => {
  const { pv, cpu } = call;
  switch (call.u32(0)) {
    case SCHEDOP.yield:
      pv.serviceBackends();
      return 0;
    case SCHEDOP.block:
      block(pv, cpu.id);
      return 0;
    case SCHEDOP.shutdown:
      return call.with(call.ptr(1), ARG.schedShutdown, (arg) => shutdown(pv, cpu.id, arg.u32('reason')));
    case SCHEDOP.poll:
      return call.with(call.ptr(1), ARG.schedPoll, (arg) => poll(call, arg));
    case SCHEDOP.shutdown_code:
      return call.with(call.ptr(1), ARG.schedShutdown, (arg) => {
        pv.domain.shutdownCode ??= arg.u32('reason') & 0xff;
        return 0;
      });
    case SCHEDOP.watchdog:
      return call.with(call.ptr(1), ARG.schedWatchdog, (arg) =>
        armWatchdog(pv.domain, arg.u32('id'), arg.u32('timeout'), pv.now(cpu)),
      );
    case SCHEDOP.remote_shutdown:
    case SCHEDOP.pin_override:
      return -ERRNO.EPERM;
    default:
      return -ERRNO.ENOSYS;
  }
};

/** (cmd, argument in a register). */
export const schedOpCompat: Hypercall = (call) => {
  const { pv, cpu } = call;
  switch (call.u32(0)) {
    case SCHEDOP.yield:
      pv.serviceBackends();
      return 0;
    case SCHEDOP.block:
      block(pv, cpu.id);
      return 0;
    case SCHEDOP.shutdown:
      return shutdown(pv, cpu.id, call.u32(1));
    default:
      return -ERRNO.ENOSYS;
  }
};
