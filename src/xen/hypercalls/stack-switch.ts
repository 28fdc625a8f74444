/** stack_switch (3): the stack that a bounce from user mode pushes to. */
import type { Hypercall } from './call.ts';

/** (ss, rsp). */
export const stackSwitch: Hypercall = ({ pv, cpu, args }) => {
  const v = pv.vcpus[cpu.id]!;
  v.kernelSs = Number(args[0]! & 0xffffn) | 3;
  v.kernelSp = args[1]!;
  return 0;
};
