/** physdev_op (33) and its compat form (19): what a domain without devices may ask. */
import { ERRNO } from '../abi/errno.ts';
import type { Call, CallResult, Hypercall } from './call.ts';

const OP = { setIopl: 6, setIobitmap: 7, pirqEoiGmfnV1: 17, pirqEoiGmfnV2: 28 } as const;

function run(call: Call, cmd: number, address: bigint): CallResult {
  const { pv, cpu } = call;
  switch (cmd) {
    case OP.setIopl: {
      const arg = pv.guest.view(cpu, address, 4);
      if (arg === null) return -ERRNO.EFAULT;
      const iopl = arg.getUint32(0, true);
      if (iopl > 3) return -ERRNO.EINVAL;
      pv.vcpus[cpu.id]!.iopl = iopl << 12;
      return 0;
    }
    case OP.setIobitmap: {
      const arg = pv.guest.view(cpu, address, 16);
      if (arg === null) return -ERRNO.EFAULT;
      // The bitmap is consulted for real port access only, and a domU owns no port.
      return arg.getUint32(8, true) > 65536 ? -ERRNO.EINVAL : 0;
    }
    case OP.pirqEoiGmfnV1:
    case OP.pirqEoiGmfnV2: {
      const arg = pv.guest.view(cpu, address, 8);
      if (arg === null) return -ERRNO.EFAULT;
      return pv.setPirqEoiFrame(Number(arg.getBigUint64(0, true)));
    }
    default:
      return -ERRNO.EPERM;
  }
}

export const physdevOp: Hypercall = (call) => run(call, call.u32(0), call.ptr(1));

/** {u32 cmd; union at +8}. */
export const physdevOpCompat: Hypercall = (call) => {
  const cmd = call.pv.guest.view(call.cpu, call.ptr(0), 4);
  return cmd === null ? -ERRNO.EFAULT : run(call, cmd.getUint32(0, true), call.ptr(0) + 8n);
};
