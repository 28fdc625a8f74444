/** fpu_taskswitch (5): sets or clears CR0.TS. */
import { setTaskSwitched } from '../pv/registers.ts';
import type { Hypercall } from './call.ts';

export const fpuTaskSwitch: Hypercall = (call) => {
  setTaskSwitched(call.vcpu, call.cpu, call.u32(0) !== 0);
  return 0;
};
