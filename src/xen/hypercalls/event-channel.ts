/** event_channel_op (32) and its compat form (16). Results that are ports are written back into the argument. */
import { ERRNO } from '../abi/errno.ts';
import { CHANNEL } from '../pv/events.ts';
import type { Call, CallResult, Hypercall } from './call.ts';

const OP = {
  bindInterdomain: 0,
  bindVirq: 1,
  bindPirq: 2,
  close: 3,
  send: 4,
  status: 5,
  allocUnbound: 6,
  bindIpi: 7,
  bindVcpu: 8,
  unmask: 9,
  reset: 10,
} as const;
const DOMID_SELF = 0x7ff0;

function run(call: Call, cmd: number, address: bigint): CallResult {
  const { pv, cpu } = call;
  const { events } = pv;
  const read = (length: number): DataView | null => pv.guest.view(cpu, address, length);
  const answer = (offset: number, port: number): number => {
    if (port < 0) return port;
    return pv.guest.writeU32(cpu, address + BigInt(offset), port) ? 0 : -ERRNO.EFAULT;
  };
  switch (cmd) {
    case OP.bindInterdomain: {
      const arg = read(12);
      return arg === null
        ? -ERRNO.EFAULT
        : answer(8, events.bindInterdomain(arg.getUint16(0, true), arg.getUint32(4, true)));
    }
    case OP.bindVirq: {
      const arg = read(12);
      return arg === null ? -ERRNO.EFAULT : answer(8, events.bindVirq(arg.getUint32(0, true), arg.getUint32(4, true)));
    }
    case OP.bindPirq:
      return read(12) === null ? -ERRNO.EFAULT : -ERRNO.EINVAL;
    case OP.close: {
      const arg = read(4);
      return arg === null ? -ERRNO.EFAULT : events.close(arg.getUint32(0, true));
    }
    case OP.send: {
      const arg = read(4);
      return arg === null ? -ERRNO.EFAULT : events.send(arg.getUint32(0, true));
    }
    case OP.status:
      return status(call, address);
    case OP.allocUnbound: {
      const arg = read(8);
      return arg === null
        ? -ERRNO.EFAULT
        : answer(4, events.allocUnbound(arg.getUint16(0, true), arg.getUint16(2, true)));
    }
    case OP.bindIpi: {
      const arg = read(8);
      return arg === null ? -ERRNO.EFAULT : answer(4, events.bindIpi(arg.getUint32(0, true)));
    }
    case OP.bindVcpu: {
      const arg = read(8);
      return arg === null ? -ERRNO.EFAULT : events.bindVcpu(arg.getUint32(0, true), arg.getUint32(4, true));
    }
    case OP.unmask: {
      const arg = read(4);
      return arg === null ? -ERRNO.EFAULT : events.unmask(arg.getUint32(0, true));
    }
    case OP.reset: {
      const arg = read(2);
      if (arg === null) return -ERRNO.EFAULT;
      const dom = arg.getUint16(0, true);
      if (dom !== DOMID_SELF && dom !== pv.domainId) return -ERRNO.ESRCH;
      for (let port = 1; port < events.state.channels.length; port++) events.close(port);
      return 0;
    }
    default:
      // FIFO set-up (11 to 13) among them: every guest then stays with the 2-level ABI.
      return -ERRNO.ENOSYS;
  }
}

/** {u16 dom, u32 port; u32 status, u32 vcpu, u32 detail[2]}. */
function status(call: Call, address: bigint): CallResult {
  const { pv, cpu } = call;
  const arg = pv.guest.view(cpu, address, 24);
  if (arg === null) return -ERRNO.EFAULT;
  const dom = arg.getUint16(0, true);
  if (dom !== DOMID_SELF && dom !== pv.domainId) return -ERRNO.ESRCH;
  const entry = pv.events.channel(arg.getUint32(4, true));
  if (entry === undefined) return -ERRNO.EINVAL;
  arg.setUint32(8, entry.state, true);
  arg.setUint32(12, entry.vcpu, true);
  if (entry.state === CHANNEL.unbound) arg.setUint16(16, entry.remoteDomain, true);
  else if (entry.state === CHANNEL.interdomain) {
    arg.setUint16(16, entry.remoteDomain, true);
    arg.setUint32(20, entry.remotePort, true);
  } else if (entry.state === CHANNEL.virq) arg.setUint32(16, entry.remotePort, true);
  return pv.guest.write(cpu, address, new Uint8Array(arg.buffer)) ? 0 : -ERRNO.EFAULT;
}

export const eventChannelOp: Hypercall = (call) => run(call, call.u32(0), call.ptr(1));

/** {u32 cmd; union at +4, or at +8 where it holds 64-bit members}: old kernels. */
export const eventChannelOpCompat: Hypercall = (call) => {
  const cmd = call.pv.guest.view(call.cpu, call.ptr(0), 4);
  return cmd === null ? -ERRNO.EFAULT : run(call, cmd.getUint32(0, true), call.ptr(0) + 4n);
};
