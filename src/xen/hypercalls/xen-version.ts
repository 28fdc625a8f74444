/** xen_version (17): what this Xen says of itself. Fixed texts, so that no recording depends on a build. */
import { ERRNO } from '../abi/errno.ts';
import type { Call, Hypercall } from './call.ts';

const VERSION = (4 << 16) | 17;
const EXTRA = '.7';
const CAPABILITIES = 'xen-3.0-x86_64 ';
const COMPILE = { compiler: 'hindsight', by: 'hindsight', domain: 'localdomain', date: 'Thu Jan  1 00:00:00 UTC 1970' };
/** XENFEAT: mmu_pt_update_preserve_ad, highmem_assist, gnttab_map_avail_bits, memory_op_vnode_supported, direct_mapped. */
const FEATURES = (1 << 5) | (1 << 6) | (1 << 7) | (1 << 13) | (1 << 17);
const PAE_PGDIR_ABOVE_4GB = 1 << 4;
const VIRT_START = 0xffff800000000000n;

function put(call: Call, parts: ReadonlyArray<readonly [string, number]>): number {
  const bytes = new Uint8Array(parts.reduce((sum, [, size]) => sum + size, 0));
  let at = 0;
  for (const [text, size] of parts) {
    bytes.set(new TextEncoder().encode(text).subarray(0, size - 1), at);
    at += size;
  }
  return call.pv.guest.write(call.cpu, call.ptr(1), bytes) ? 0 : -ERRNO.EFAULT;
}

export const xenVersion: Hypercall = (call) => {
  const { pv, cpu } = call;
  switch (call.u32(0)) {
    case 0:
      return VERSION;
    case 1:
      return put(call, [[EXTRA, 16]]);
    case 2:
      return put(call, [
        [COMPILE.compiler, 64],
        [COMPILE.by, 16],
        [COMPILE.domain, 32],
        [COMPILE.date, 32],
      ]);
    case 3:
      return put(call, [[CAPABILITIES, 1024]]);
    case 4:
      return put(call, [['unavailable', 64]]);
    case 5:
      return pv.guest.writeU64(cpu, call.ptr(1), VIRT_START) ? 0 : -ERRNO.EFAULT;
    case 6: {
      const arg = pv.guest.view(cpu, call.ptr(1), 8);
      if (arg === null) return -ERRNO.EFAULT;
      if (arg.getUint32(0, true) !== 0) return -ERRNO.EINVAL;
      const submap = FEATURES | (pv.hasAssist(3) ? PAE_PGDIR_ABOVE_4GB : 0);
      return pv.guest.writeU32(cpu, call.ptr(1) + 4n, submap) ? 0 : -ERRNO.EFAULT;
    }
    case 7:
      return 4096;
    case 8:
      // The domain's handle: xl gives a random one, ours is fixed.
      return pv.guest.write(cpu, call.ptr(1), new Uint8Array(16).fill(0x48)) ? 0 : -ERRNO.EFAULT;
    case 9:
      return -ERRNO.EPERM;
    case 10:
      return -ERRNO.ENODATA;
    default:
      return -ERRNO.ENOSYS;
  }
};
