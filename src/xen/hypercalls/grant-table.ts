/**
 * grant_table_op (20): (cmd, argument, count): set-up and query, and by grant-use.ts what uses grants (D-48). Version 1 only, as a domain
 * with max_grant_version=1 has it. Source: xen/common/grant_table.c.
 */
import type { VirtAddr } from '../../core/units.ts';
import { ARGUMENTS64 as ARG } from '../abi/arguments.ts';
import { ERRNO } from '../abi/errno.ts';
import { DOMID, GNTTABOP } from '../abi/numbers.ts';
import { arrayOk } from '../domain.ts';
import type { GuestStruct } from '../pv/guest-access.ts';
import type { Call, CallResult, Hypercall } from './call.ts';
import { STATUS, useGrants } from './grant-use.ts';

const VERSION = 1;
/** GNTTABOP_CMD_MASK: what stands above is a continuation's. */
const CMD_MASK = 0xfff;

/** What asking about domain `dom` comes to: this domain may ask about itself only, and domain 0 is the other there is. */
function domainStatus(call: Call, dom: number): number {
  if (dom === DOMID.SELF || dom === call.pv.domainId) return STATUS.okay;
  return dom === 0 ? STATUS.permissionDenied : STATUS.badDomain;
}

export const grantTableOp: Hypercall = (call) => {
  const address = call.ptr(1);
  const one = call.u32(2) === 1;
  if (call.u32(2) > 0x7fffffff) return -ERRNO.EINVAL;
  const cmd = call.u32(0) & CMD_MASK;
  if (cmd !== GNTTABOP.cache_flush && cmd !== call.u32(0)) return -ERRNO.EINVAL;
  switch (cmd) {
    case GNTTABOP.setup_table:
      return one ? setupTable(call, address) : -ERRNO.EINVAL;
    case GNTTABOP.dump_table:
      if (!one) return -ERRNO.EINVAL;
      return call.with(address, ARG.grantDumpTable, (arg) => {
        arg.setU16('status', domainStatus(call, arg.u16('dom')));
        return call.put(address, arg.bytes);
      });
    case GNTTABOP.query_size:
      return one ? querySize(call, address) : -ERRNO.EINVAL;
    case GNTTABOP.set_version:
      return call.with(address, ARG.grantSetVersion, (arg) => {
        const asked = arg.u32('version');
        arg.setU32('version', VERSION);
        const rc = asked === VERSION ? 0 : asked === 2 ? -ERRNO.ENOSYS : -ERRNO.EINVAL;
        return call.put(address, arg.bytes) || rc;
      });
    case GNTTABOP.get_version:
      return call.with(address, ARG.grantGetVersion, (arg) => {
        const status = domainStatus(call, arg.u16('dom'));
        if (status !== STATUS.okay) return status === STATUS.badDomain ? -ERRNO.ESRCH : -ERRNO.EPERM;
        arg.setU32('version', VERSION);
        return call.put(address, arg.bytes);
      });
    case GNTTABOP.get_status_frames:
      return -ERRNO.EINVAL;
    default:
      return useGrants(call, cmd);
  }
};

function querySize(call: Call, address: VirtAddr): CallResult {
  const { pv } = call;
  return call.with(address, ARG.grantQuerySize, (arg) => {
    const status = domainStatus(call, arg.u16('dom'));
    if (status === STATUS.okay) {
      arg.setU32('nr_frames', pv.domain.grantFrames);
      arg.setU32('max_nr_frames', pv.places.grantFrames.length);
    }
    arg.setU16('status', status);
    return call.put(address, arg.bytes);
  });
}

/** Grows the table to `nr_frames` and lists its machine frames. */
function setupTable(call: Call, address: VirtAddr): CallResult {
  const { pv, cpu } = call;
  const all = pv.places.grantFrames;
  const finish = (arg: GuestStruct<'status'>, status: number): number => {
    arg.setU16('status', status);
    return call.put(address, arg.bytes);
  };
  return call.with(address, ARG.grantSetupTable, (arg) => {
    const count = arg.u32('nr_frames');
    const list = arg.u64('frame_list');
    if (!arrayOk(list, count, 8)) return -ERRNO.EFAULT;
    const status = domainStatus(call, arg.u16('dom'));
    if (status !== STATUS.okay) return finish(arg, status);
    if (count > all.length) return finish(arg, STATUS.generalError);
    pv.domain.grantFrames = Math.max(pv.domain.grantFrames, count);
    let listed: number = STATUS.okay;
    for (let i = 0; i < count; i++)
      if (!pv.guest.writeU64(cpu, list + BigInt(i * 8), BigInt(all[i]!))) listed = STATUS.badVirtAddr;
    return finish(arg, listed);
  });
}
