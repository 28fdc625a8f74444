/** set_callbacks (4) and callback_op (30): where Xen enters the guest kernel (public/callback.h). */
import { ERRNO } from '../abi/errno.ts';
import type { Call, Hypercall } from './call.ts';
import { canonicalAddress } from './checks.ts';

const TYPE = { event: 0, failsafe: 1, syscall: 2, nmi: 4, sysenter: 5, syscall32: 7 } as const;
const MASK_EVENTS = 1;

function register({ pv, cpu }: Call, type: number, flags: number, address: bigint): number {
  if (!canonicalAddress(address)) return -ERRNO.EINVAL;
  const v = pv.vcpus[cpu.id]!;
  const callback = { address, maskEvents: (flags & MASK_EVENTS) !== 0 };
  switch (type) {
    case TYPE.event:
      v.eventCallback = { address, maskEvents: true };
      return 0;
    case TYPE.failsafe:
      v.failsafeCallback = callback;
      return 0;
    case TYPE.syscall:
      v.syscallCallback = callback;
      return 0;
    case TYPE.sysenter:
      v.sysenterCallback = callback;
      return 0;
    case TYPE.syscall32:
      v.syscall32Callback = callback;
      return 0;
    case TYPE.nmi:
      if (cpu.id !== 0) return -ERRNO.EINVAL;
      v.nmiCallback = address;
      return 0;
    default:
      return -ERRNO.ENOSYS;
  }
}

/** (event, failsafe, syscall); addresses that are not canonical are dropped, the call succeeds. */
export const setCallbacks: Hypercall = (call) => {
  register(call, TYPE.event, 0, call.args[0]!);
  register(call, TYPE.failsafe, 0, call.args[1]!);
  register(call, TYPE.syscall, 0, call.args[2]!);
  return 0;
};

/** (cmd, arg): 0 register {u16 type, u16 flags, u64 address}, 1 unregister {u16 type}. */
export const callbackOp: Hypercall = (call) => {
  const cmd = call.u32(0);
  if (cmd === 0) {
    const arg = call.pv.guest.view(call.cpu, call.ptr(1), 16);
    if (arg === null) return -ERRNO.EFAULT;
    return register(call, arg.getUint16(0, true), arg.getUint16(2, true), arg.getBigUint64(8, true));
  }
  if (cmd === 1) {
    const arg = call.pv.guest.view(call.cpu, call.ptr(1), 4);
    if (arg === null) return -ERRNO.EFAULT;
    const type = arg.getUint16(0, true);
    if (type === TYPE.nmi) {
      call.pv.vcpus[call.cpu.id]!.nmiCallback = 0n;
      return 0;
    }
    return ([TYPE.event, TYPE.failsafe, TYPE.syscall, TYPE.sysenter, TYPE.syscall32] as number[]).includes(type)
      ? -ERRNO.EINVAL
      : -ERRNO.ENOSYS;
  }
  return -ERRNO.ENOSYS;
};
