/** vm_assist (21): (cmd 0 enable, 1 disable; type). */
import { ERRNO } from '../abi/errno.ts';
import type { Hypercall } from './call.ts';

/** 4gb_segments, 4gb_segments_notify, writable_pagetables, pae_extended_cr3, architectural_iopl, runstate_update_flag, m2p_strict. */
const VALID = new Set([0, 1, 2, 3, 4, 5, 32]);

export const vmAssist: Hypercall = (call) => {
  const cmd = call.u32(0);
  const type = call.u32(1);
  if (type > 63) return -ERRNO.EINVAL;
  const bit = 1n << BigInt(type);
  if (cmd === 0) {
    if (!VALID.has(type)) return -ERRNO.EINVAL;
    call.pv.domain.assists |= bit;
    return 0;
  }
  if (cmd === 1) {
    call.pv.domain.assists &= ~bit;
    return 0;
  }
  return -ERRNO.ENOSYS;
};
