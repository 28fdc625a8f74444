/** set_timer_op (15): the singleshot timer by absolute system time (D-39, A-63: never fails). */
import { timerDeadline } from '../pv/timers.ts';
import type { Hypercall } from './call.ts';

export const setTimerOp: Hypercall = (call) => {
  call.vcpu.singleshot = timerDeadline(call.ptr(0), call.pv.now(call.cpu));
  return 0;
};
