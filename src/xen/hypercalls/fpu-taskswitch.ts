/** fpu_taskswitch (5): sets or clears CR0.TS. */
import type { Hypercall } from './call.ts';

export const fpuTaskSwitch: Hypercall = ({ pv, cpu, args }) => {
  pv.setTaskSwitched(cpu, (args[0]! & 0xffffffffn) !== 0n);
  return 0;
};
