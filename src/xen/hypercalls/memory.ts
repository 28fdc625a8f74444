/** mmu_update (1), memory_op (12), update_va_mapping (14), mmuext_op (26): the work is done in src/xen/mm. */
import type { Hypercall } from './call.ts';

export const mmuUpdate: Hypercall = (call) =>
  call.pv.mm.mmuUpdate(call.cpu, call.ptr(0), call.u32(1), call.ptr(2), call.u32(3));

export const updateVaMapping: Hypercall = (call) =>
  call.pv.mm.updateVaMapping(call.cpu, call.ptr(0), call.ptr(1), call.ptr(2));

export const mmuextOp: Hypercall = (call) =>
  call.pv.mm.mmuextOp(call.cpu, call.ptr(0), call.u32(1), call.ptr(2), call.u32(3));

export const memoryOp: Hypercall = (call) => call.pv.mm.memoryOp(call.cpu, call.u32(0), call.ptr(1));
