/** vm_assist (21): (command, type), xen/common/domain.c do_vm_assist. */
import { ERRNO } from '../abi/errno.ts';
import { VMASST } from '../abi/numbers.ts';
import type { Hypercall } from './call.ts';

/** What a 64-bit PV guest may ask for. */
const VALID: ReadonlySet<number> = new Set([
  VMASST.TYPE_4gb_segments,
  VMASST.TYPE_4gb_segments_notify,
  VMASST.TYPE_writable_pagetables,
  VMASST.TYPE_pae_extended_cr3,
  VMASST.TYPE_architectural_iopl,
  VMASST.TYPE_runstate_update_flag,
  VMASST.TYPE_m2p_strict,
]);

export const vmAssist: Hypercall = (call) => {
  const { domain } = call.pv;
  const type = call.u32(1);
  if (!VALID.has(type)) return -ERRNO.EINVAL;
  const bit = 1n << BigInt(type);
  switch (call.u32(0)) {
    case VMASST.CMD_enable:
      domain.assists |= bit;
      return 0;
    case VMASST.CMD_disable:
      domain.assists &= ~bit;
      return 0;
    default:
      return -ERRNO.ENOSYS;
  }
};
