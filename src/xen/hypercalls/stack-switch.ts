/** stack_switch (3): (ss, rsp), the stack that a bounce from user mode pushes to. */
import type { Hypercall } from './call.ts';

export const stackSwitch: Hypercall = (call) => {
  call.vcpu.kernelSs = Number(call.ptr(0) & 0xffffn) | 3;
  call.vcpu.kernelSp = call.ptr(1);
  return 0;
};
