/** grant_table_op (20) as far as set-up and query: frontends grant, they never map (D-48). */
import { ERRNO } from '../abi/errno.ts';
import type { Call, CallResult, Hypercall } from './call.ts';

const OP = { setupTable: 2, dumpTable: 3, querySize: 6, setVersion: 8, getStatusFrames: 9, getVersion: 10 } as const;
/** GNTST status codes (public/grant_table.h). */
const STATUS = { okay: 0, generalError: -1, badDomain: -2, permissionDenied: -8 } as const;
const DOMID_SELF = 0x7ff0;

const ours = (call: Call, dom: number): boolean => dom === DOMID_SELF || dom === call.pv.domainId;

/** (cmd, array, count); every operation here is used with count 1. */
export const grantTableOp: Hypercall = (call) => {
  const { pv, cpu } = call;
  const address = call.ptr(1);
  switch (call.u32(0)) {
    case OP.setupTable:
      return setupTable(call, address);
    case OP.dumpTable: {
      const arg = pv.guest.view(cpu, address, 4);
      if (arg === null) return -ERRNO.EFAULT;
      return finish(call, address, arg, 2, ours(call, arg.getUint16(0, true)) ? STATUS.okay : STATUS.badDomain);
    }
    case OP.querySize: {
      const arg = pv.guest.view(cpu, address, 16);
      if (arg === null) return -ERRNO.EFAULT;
      const known = ours(call, arg.getUint16(0, true));
      if (known) {
        arg.setUint32(4, pv.domain.grantFrames, true);
        arg.setUint32(8, pv.grantFrameList.length, true);
      }
      return finish(call, address, arg, 12, known ? STATUS.okay : STATUS.badDomain);
    }
    case OP.setVersion: {
      const arg = pv.guest.view(cpu, address, 4);
      if (arg === null) return -ERRNO.EFAULT;
      const version = arg.getUint32(0, true);
      if (version !== 1 && version !== 2) return -ERRNO.EINVAL;
      // Version 2 is not offered; Linux and NetBSD of the version 1 age take the refusal.
      if (version === 2) return -ERRNO.ENOSYS;
      arg.setUint32(0, 1, true);
      return pv.guest.write(cpu, address, new Uint8Array(arg.buffer)) ? 0 : -ERRNO.EFAULT;
    }
    case OP.getVersion: {
      const arg = pv.guest.view(cpu, address, 8);
      if (arg === null) return -ERRNO.EFAULT;
      if (!ours(call, arg.getUint16(0, true))) return -ERRNO.ESRCH;
      return pv.guest.writeU32(cpu, address + 4n, 1) ? 0 : -ERRNO.EFAULT;
    }
    case OP.getStatusFrames:
      return -ERRNO.EINVAL;
    default:
      return -ERRNO.ENOSYS;
  }
};

function finish(call: Call, address: bigint, arg: DataView, offset: number, status: number): CallResult {
  arg.setInt16(offset, status, true);
  return call.pv.guest.write(call.cpu, address, new Uint8Array(arg.buffer as ArrayBuffer)) ? 0 : -ERRNO.EFAULT;
}

/** {u16 dom, u32 nr_frames, s16 status, ulong *frames}. */
function setupTable(call: Call, address: bigint): CallResult {
  const { pv, cpu } = call;
  const arg = pv.guest.view(cpu, address, 24);
  if (arg === null) return -ERRNO.EFAULT;
  const count = arg.getUint32(4, true);
  if (!ours(call, arg.getUint16(0, true))) return finish(call, address, arg, 8, STATUS.badDomain);
  if (count > pv.grantFrameList.length) return finish(call, address, arg, 8, STATUS.generalError);
  pv.domain.grantFrames = Math.max(pv.domain.grantFrames, count);
  const list = arg.getBigUint64(16, true);
  for (let i = 0; i < count; i++)
    if (!pv.guest.writeU64(cpu, list + BigInt(i * 8), BigInt(pv.grantFrameList[i]!))) return -ERRNO.EFAULT;
  return finish(call, address, arg, 8, STATUS.okay);
}
