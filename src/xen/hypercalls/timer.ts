/** set_timer_op (15): the singleshot timer by absolute system time (D-39, A-63: never fails). */
import { timerDeadline } from '../pv/time.ts';
import type { Hypercall } from './call.ts';

export const setTimerOp: Hypercall = ({ pv, cpu, args }) => {
  pv.vcpus[cpu.id]!.singleshot = timerDeadline(BigInt.asIntN(64, args[0]!), pv.now(cpu));
  return 0;
};
