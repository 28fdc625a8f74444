/** physdev_op (33) and its compat form (19): (cmd, argument), what a domain without devices may ask (xen/arch/x86/physdev.c). */
import type { VirtAddr } from '../../core/units.ts';
import { ARGUMENTS64 as ARG } from '../abi/arguments.ts';
import { ERRNO } from '../abi/errno.ts';
import { PHYSDEVOP } from '../abi/numbers.ts';
import { frameNumber } from '../mm/page-info.ts';
import type { Call, CallResult, Hypercall } from './call.ts';

const IOPL_SHIFT = 12;
const MAX_PORTS = 65536;
/** The last operation Xen 4.17 knows; those before it that have no row here want a device. */
const LAST_OP = 31;

function run(call: Call, cmd: number, address: VirtAddr): CallResult {
  const { pv, vcpu } = call;
  switch (cmd) {
    case PHYSDEVOP.set_iopl:
      return call.with(address, ARG.setIopl, (arg) => {
        const iopl = arg.u32('iopl');
        if (iopl > 3) return -ERRNO.EINVAL;
        vcpu.iopl = iopl << IOPL_SHIFT;
        return 0;
      });
    case PHYSDEVOP.set_iobitmap:
      return call.with(address, ARG.setIobitmap, (arg) => {
        if (arg.u32('nr_ports') > MAX_PORTS) return -ERRNO.EINVAL;
        vcpu.ioBitmap = arg.u64('bitmap');
        vcpu.ioBitmapPorts = arg.u32('nr_ports');
        return 0;
      });
    case PHYSDEVOP.pirq_eoi_gmfn_v1:
    case PHYSDEVOP.pirq_eoi_gmfn_v2:
      return call.with(address, ARG.pirqEoiGmfn, (arg) => {
        const frame = frameNumber(arg.u64('gmfn'));
        if (!pv.mm.takeWritable(frame)) return -ERRNO.EINVAL;
        if (pv.domain.pirqEoiFrame !== 0) {
          pv.mm.giveWritable(frame);
          return -ERRNO.EBUSY;
        }
        pv.domain.pirqEoiFrame = frame;
        return 0;
      });
    default:
      return cmd <= LAST_OP ? -ERRNO.EPERM : -ERRNO.ENOSYS;
  }
}

export const physdevOp: Hypercall = (call) => run(call, call.u32(0), call.ptr(1));

/** {u32 cmd, union at +8} by pointer: old kernels. */
export const physdevOpCompat: Hypercall = (call) => {
  const cmd = call.pv.guest.readU32(call.cpu, call.ptr(0));
  return cmd === null ? -ERRNO.EFAULT : run(call, cmd, call.ptr(0) + 8n);
};
