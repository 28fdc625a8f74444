/** set_gdt (2) and update_descriptor (10). */
import { ERRNO } from '../abi/errno.ts';
import { FIRST_RESERVED_GDT_ENTRY } from '../pv/selectors.ts';
import type { Hypercall } from './call.ts';

const ENTRIES_PER_FRAME = 512;

/** (frame list, entries): only ceil(entries / 512) frames are read, whatever stands behind them. */
export const setGdt: Hypercall = (call) => {
  const { pv, cpu } = call;
  const entries = call.u32(1);
  if (entries > FIRST_RESERVED_GDT_ENTRY) return -ERRNO.EINVAL;
  const count = Math.ceil(entries / ENTRIES_PER_FRAME);
  const frames: number[] = [];
  if (count > 0) {
    const list = pv.guest.view(cpu, call.ptr(0), count * 8);
    if (list === null) return -ERRNO.EFAULT;
    for (let i = 0; i < count; i++) frames.push(Number(list.getBigUint64(i * 8, true)));
  }
  return pv.mm.setGdt(cpu, frames, entries);
};

/** (machine address, descriptor). */
export const updateDescriptor: Hypercall = (call) =>
  call.pv.mm.updateDescriptor(call.cpu, call.args[0]!, call.args[1]!);
