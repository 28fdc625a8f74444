/**
 * event_channel_op (32) and its compat form (16): (cmd, argument). A port that was allocated is written back into the
 * argument; the work is done in src/xen/pv/events.ts. FIFO set-up (init_control, expand_array, set_priority) answers -ENOSYS where Xen
 * finds no fault with its arguments: every guest then stays with the 2-level ABI (0011).
 */
import { PAGE_SIZE, type VirtAddr } from '../../core/units.ts';
import { ARGUMENTS64 as ARG } from '../abi/arguments.ts';
import { ERRNO } from '../abi/errno.ts';
import { DOMID, EVTCHNOP } from '../abi/numbers.ts';
import { CHANNEL } from '../pv/events.ts';
import type { GuestStruct } from '../pv/guest-access.ts';
import type { Call, CallResult, Hypercall } from './call.ts';

function run(call: Call, cmd: number, address: VirtAddr): CallResult {
  const { events } = call.pv;
  /** Stores a new port in `field` and copies the argument out; an error stays one. */
  const answer = <F extends string>(arg: GuestStruct<F>, field: F, port: number): number => {
    if (port < 0) return port;
    arg.setU32(field, port);
    return call.put(address, arg.bytes);
  };
  switch (cmd) {
    case EVTCHNOP.bind_interdomain:
      return call.with(address, ARG.bindInterdomain, (arg) =>
        answer(arg, 'local_port', events.bindInterdomain(arg.u16('remote_dom'), arg.u32('remote_port'))),
      );
    case EVTCHNOP.bind_virq:
      return call.with(address, ARG.bindVirq, (arg) =>
        answer(arg, 'port', events.bindVirq(arg.u32('virq'), arg.u32('vcpu'))),
      );
    case EVTCHNOP.bind_pirq:
      // The domain has no physical interrupt.
      return call.with(address, ARG.bindPirq, () => -ERRNO.EINVAL);
    case EVTCHNOP.bind_ipi:
      return call.with(address, ARG.bindIpi, (arg) => answer(arg, 'port', events.bindIpi(arg.u32('vcpu'))));
    case EVTCHNOP.alloc_unbound:
      return call.with(address, ARG.allocUnbound, (arg) =>
        answer(arg, 'port', events.allocUnbound(arg.u16('dom'), arg.u16('remote_dom'))),
      );
    case EVTCHNOP.close:
      return call.with(address, ARG.eventPort, (arg) => events.close(arg.u32('port')));
    case EVTCHNOP.send:
      return call.with(address, ARG.eventPort, (arg) => events.send(arg.u32('port')));
    case EVTCHNOP.unmask:
      return call.with(address, ARG.eventPort, (arg) => events.unmask(arg.u32('port')));
    case EVTCHNOP.bind_vcpu:
      return call.with(address, ARG.bindVcpu, (arg) => events.bindVcpu(arg.u32('port'), arg.u32('vcpu')));
    case EVTCHNOP.status:
      return call.with(address, ARG.eventStatus, (arg) => status(call, address, arg));
    case EVTCHNOP.reset:
      return call.with(address, ARG.eventReset, (arg) => events.reset(arg.u16('dom')));
    case EVTCHNOP.init_control:
      return call.with(address, ARG.eventInitControl, (arg) => initControl(call, arg.u32('vcpu'), arg.u32('offset')));
    case EVTCHNOP.expand_array:
      return call.with(address, ARG.eventExpandArray, () => -ERRNO.EOPNOTSUPP);
    case EVTCHNOP.set_priority:
      return call.with(address, ARG.eventSetPriority, (arg) =>
        events.channel(arg.u32('port')) === undefined ? -ERRNO.EINVAL : -ERRNO.ENOSYS,
      );
    default:
      return -ERRNO.ENOSYS;
  }
}

/** Bytes of evtchn_fifo_control_block: `ready`, a reserved word and 16 heads (event_channel.h). */
const CONTROL_BLOCK_BYTES = 72;

/** What Xen finds wrong with a control block's place before it looks at the page (event_fifo.c evtchn_fifo_init_control). */
function initControl({ pv }: Call, vcpu: number, offset: number): number {
  if (vcpu >= pv.vcpus.length) return -ERRNO.ENOENT;
  if (offset > PAGE_SIZE - CONTROL_BLOCK_BYTES || offset % 8 !== 0) return -ERRNO.EINVAL;
  return -ERRNO.ENOSYS;
}

function status(call: Call, address: VirtAddr, arg: GuestStruct<keyof typeof ARG.eventStatus.at & string>): CallResult {
  const { events, domainId } = call.pv;
  const dom = arg.u16('dom');
  if (dom === 0) return -ERRNO.EPERM;
  if (dom !== DOMID.SELF && dom !== domainId) return -ERRNO.ESRCH;
  const entry = events.channel(arg.u32('port'));
  if (entry === undefined) return -ERRNO.EINVAL;
  arg.setU32('status', entry.state);
  arg.setU32('vcpu', entry.vcpu);
  if (entry.state === CHANNEL.unbound) arg.setU16('detail', entry.remoteDomain);
  else if (entry.state === CHANNEL.interdomain) {
    arg.setU16('detail', entry.remoteDomain);
    arg.setU32('detail_port', entry.remotePort);
  } else if (entry.state === CHANNEL.virq) arg.setU32('detail', entry.remotePort);
  return call.put(address, arg.bytes);
}

export const eventChannelOp: Hypercall = (call) => run(call, call.u32(0), call.ptr(1));

/** {u32 cmd, union at +4} by pointer, and only what old kernels had. */
export const eventChannelOpCompat: Hypercall = (call) => {
  const cmd = call.pv.guest.readU32(call.cpu, call.ptr(0));
  if (cmd === null) return -ERRNO.EFAULT;
  return cmd > EVTCHNOP.unmask ? -ERRNO.ENOSYS : run(call, cmd, call.ptr(0) + 4n);
};
