/** set_callbacks (4) and callback_op (30): where Xen enters the guest kernel (xen/arch/x86/pv/callback.c). */

import type { VirtAddr } from '../../core/units.ts';
import { VECTOR } from '../../x86/state.ts';
import { ARGUMENTS64 } from '../abi/arguments.ts';
import { ERRNO } from '../abi/errno.ts';
import { CALLBACKOP, CALLBACKTYPE, FLAT } from '../abi/numbers.ts';
import { type Callback, NO_HANDLER, TI } from '../pv/vcpu.ts';
import type { Call, Hypercall } from './call.ts';
import { canonicalAddress } from './checks.ts';

const CALLBACKF_mask_events = 1;
/** What can be registered and not taken back. */
const PERMANENT: readonly number[] = [
  CALLBACKTYPE.event,
  CALLBACKTYPE.failsafe,
  CALLBACKTYPE.syscall,
  CALLBACKTYPE.sysenter,
  CALLBACKTYPE.syscall32,
];

function register({ vcpu }: Call, type: number, flags: number, address: VirtAddr): number {
  if (!canonicalAddress(address)) return -ERRNO.EINVAL;
  const callback: Callback = { address, maskEvents: (flags & CALLBACKF_mask_events) !== 0 };
  switch (type) {
    case CALLBACKTYPE.event:
      vcpu.eventCallback = { address, maskEvents: true };
      return 0;
    case CALLBACKTYPE.failsafe:
      vcpu.failsafeCallback = callback;
      return 0;
    case CALLBACKTYPE.syscall:
      vcpu.syscallCallback = callback;
      return 0;
    case CALLBACKTYPE.sysenter:
      vcpu.sysenterCallback = callback;
      return 0;
    case CALLBACKTYPE.syscall32:
      vcpu.syscall32Callback = callback;
      return 0;
    case CALLBACKTYPE.nmi:
      vcpu.traps[VECTOR.nmi] = { flags: TI.maskEvents, cs: FLAT.ring3Cs64, address };
      return 0;
    default:
      return -ERRNO.ENOSYS;
  }
}

/** (event, failsafe, syscall); addresses that are not canonical are dropped, the call succeeds. */
export const setCallbacks: Hypercall = (call) => {
  register(call, CALLBACKTYPE.event, 0, call.ptr(0));
  register(call, CALLBACKTYPE.failsafe, 0, call.ptr(1));
  register(call, CALLBACKTYPE.syscall, 0, call.ptr(2));
  return 0;
};

/** (cmd, argument). */
export const callbackOp: Hypercall = (call) => {
  switch (call.u32(0)) {
    case CALLBACKOP.register:
      return call.with(call.ptr(1), ARGUMENTS64.callbackRegister, (arg) =>
        register(call, arg.u16('type'), arg.u16('flags'), arg.u64('address')),
      );
    case CALLBACKOP.unregister:
      return call.with(call.ptr(1), ARGUMENTS64.callbackUnregister, (arg) => {
        const type = arg.u16('type');
        if (type !== CALLBACKTYPE.nmi) return PERMANENT.includes(type) ? -ERRNO.EINVAL : -ERRNO.ENOSYS;
        call.vcpu.traps[VECTOR.nmi] = { ...NO_HANDLER };
        return 0;
      });
    default:
      return -ERRNO.ENOSYS;
  }
};
