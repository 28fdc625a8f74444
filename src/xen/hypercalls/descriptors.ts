/** set_gdt (2) and update_descriptor (10). The pages are checked in src/xen/mm/descriptors.ts. */
import { ERRNO } from '../abi/errno.ts';
import { FIRST_RESERVED_GDT_ENTRY } from '../abi/numbers.ts';
import { frameNumber } from '../mm/page-info.ts';
import { GDT_ENTRIES_PER_FRAME } from '../pv/descriptors.ts';
import type { Hypercall } from './call.ts';

/** (frame list, entries): only as many frames are read as hold the entries, whatever stands behind them. */
export const setGdt: Hypercall = (call) => {
  const { pv, cpu } = call;
  const entries = call.u32(1);
  if (entries > FIRST_RESERVED_GDT_ENTRY) return -ERRNO.EINVAL;
  const count = Math.ceil(entries / GDT_ENTRIES_PER_FRAME);
  const list = pv.guest.read(cpu, call.ptr(0), count * 8);
  if (list === null) return -ERRNO.EFAULT;
  const frames = Array.from(new BigUint64Array(list.buffer), frameNumber);
  return pv.mm.setGdt(cpu, frames, entries);
};

/** (machine address, descriptor). */
export const updateDescriptor: Hypercall = ({ pv, cpu, args }) => pv.mm.updateDescriptor(cpu, args[0]!, args[1]!);
