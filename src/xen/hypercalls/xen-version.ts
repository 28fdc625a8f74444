/**
 * xen_version (17): (cmd, argument), what this Xen says of itself. Fixed texts, so that no recording depends on a build
 * . Source: xen/common/kernel.c.
 */
import { PAGE_SIZE } from '../../core/units.ts';
import { ARGUMENTS64 as ARG } from '../abi/arguments.ts';
import { ERRNO } from '../abi/errno.ts';
import { HYPERVISOR_VIRT_START, VMASST, XENFEAT, XENVER } from '../abi/numbers.ts';
import { XEN_EXTRAVERSION, XEN_VERSION } from '../pv/version.ts';
import type { Call, Hypercall } from './call.ts';

const CAPABILITIES = 'xen-3.0-x86_64 ';
const COMPILE = { compiler: 'hindsight', by: 'hindsight', domain: 'localdomain', date: 'Thu Jan  1 00:00:00 UTC 1970' };
const DENIED = '<denied>';
const FEATURES =
  (1 << XENFEAT.mmu_pt_update_preserve_ad) |
  (1 << XENFEAT.highmem_assist) |
  (1 << XENFEAT.gnttab_map_avail_bits) |
  (1 << XENFEAT.memory_op_vnode_supported) |
  (1 << XENFEAT.direct_mapped);
/** The domain's handle: xl gives a random one, ours is fixed. */
const HANDLE = new Uint8Array(16).fill(0x48);

/** Texts in fields of fixed size, zero-filled. */
function fields(parts: ReadonlyArray<readonly [text: string, size: number]>): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, [, size]) => sum + size, 0));
  let at = 0;
  for (const [text, size] of parts) {
    bytes.set(new TextEncoder().encode(text).subarray(0, size - 1), at);
    at += size;
  }
  return bytes;
}

export const xenVersion: Hypercall = (call) => {
  const address = call.ptr(1);
  switch (call.u32(0)) {
    case XENVER.version:
      return XEN_VERSION;
    case XENVER.extraversion:
      return call.put(address, fields([[XEN_EXTRAVERSION, 16]]));
    case XENVER.compile_info: {
      const { compiler, by, domain, date } = COMPILE;
      return call.put(address, fields([[compiler, 64], [by, 16], [domain, 32], [date, 32]])); // biome-ignore format: one row
    }
    case XENVER.capabilities:
      return call.put(address, fields([[CAPABILITIES, 1024]]));
    case XENVER.changeset:
      return call.put(address, fields([['unavailable', 64]]));
    case XENVER.platform_parameters:
      return call.pv.guest.writeU64(call.cpu, address, HYPERVISOR_VIRT_START) ? 0 : -ERRNO.EFAULT;
    case XENVER.get_features:
      return getFeatures(call);
    case XENVER.pagesize:
      return address === 0n ? PAGE_SIZE : -ERRNO.EINVAL;
    case XENVER.guest_handle:
      return call.put(address, HANDLE);
    case XENVER.commandline:
      return call.put(address, fields([[DENIED, DENIED.length + 1]]));
    case XENVER.build_id:
      return -ERRNO.EPERM;
    default:
      return -ERRNO.ENOSYS;
  }
};

function getFeatures(call: Call): ReturnType<Hypercall> {
  return call.with(call.ptr(1), ARG.featureInfo, (arg) => {
    if (arg.u32('submap_idx') !== 0) return -ERRNO.EINVAL;
    const extended = call.pv.hasAssist(VMASST.TYPE_pae_extended_cr3) ? 1 << XENFEAT.pae_pgdir_above_4gb : 0;
    arg.setU32('submap', FEATURES | extended);
    return call.put(call.ptr(1), arg.bytes);
  });
}
