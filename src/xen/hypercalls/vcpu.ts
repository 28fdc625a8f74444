/** vcpu_op (24), D-39, D-40; (cmd, vcpu, argument). */
import { stop } from '../../x86/seam.ts';
import { ERRNO } from '../abi/errno.ts';
import type { Call, CallResult, Hypercall } from './call.ts';

const OP = {
  initialise: 0,
  up: 1,
  down: 2,
  isUp: 3,
  getRunstate: 4,
  registerRunstate: 5,
  setPeriodic: 6,
  stopPeriodic: 7,
  setSingleshot: 8,
  stopSingleshot: 9,
  registerInfo: 10,
} as const;
/** STIME_DELTA_MAX of Xen: the longest period. */
const MAX_PERIOD = 2n ** 63n - 2n ** 31n;
const MIN_PERIOD = 1_000_000n;

export const vcpuOp: Hypercall = (call) => {
  const { pv, cpu } = call;
  const id = call.u32(1);
  const v = pv.vcpus[id];
  if (v === undefined) return -ERRNO.ENOENT;
  switch (call.u32(0)) {
    case OP.initialise:
      // Every vCPU of a domain of one is initialised by its builder.
      return v.initialised ? -ERRNO.EEXIST : -ERRNO.ENOSYS;
    case OP.up:
      if (!v.initialised) return -ERRNO.EINVAL;
      v.down = false;
      return 0;
    case OP.down:
      if (pv.vcpus.every((other, i) => i === id || other.down))
        return stop('poweroff', `the last vCPU went down (VCPUOP_down on vCPU ${id})`);
      v.down = true;
      return 0;
    case OP.isUp:
      return v.down ? 0 : 1;
    case OP.getRunstate:
      return pv.guest.write(cpu, call.ptr(2), pv.runstateBytes(id)) ? 0 : -ERRNO.EFAULT;
    case OP.registerRunstate: {
      const arg = pv.guest.view(cpu, call.ptr(2), 8);
      if (arg === null) return -ERRNO.EFAULT;
      v.runstateArea = arg.getBigUint64(0, true);
      pv.writeRunstate(cpu, id);
      return 0;
    }
    case OP.setPeriodic: {
      const arg = pv.guest.view(cpu, call.ptr(2), 8);
      if (arg === null) return -ERRNO.EFAULT;
      const period = arg.getBigUint64(0, true);
      if (period < MIN_PERIOD || period > MAX_PERIOD) return -ERRNO.EINVAL;
      v.periodicPeriod = Number(period);
      v.periodicNext = pv.now(cpu) + v.periodicPeriod;
      return 0;
    }
    case OP.stopPeriodic:
      v.periodicPeriod = 0;
      return 0;
    case OP.setSingleshot:
      return setSingleshot(call, id);
    case OP.stopSingleshot:
      if (id !== cpu.id) return -ERRNO.EINVAL;
      v.singleshot = null;
      return 0;
    case OP.registerInfo:
      return registerInfo(call, id);
    default:
      return -ERRNO.ENOSYS;
  }
};

function setSingleshot(call: Call, id: number): CallResult {
  const { pv, cpu } = call;
  if (id !== cpu.id) return -ERRNO.EINVAL;
  const arg = pv.guest.view(cpu, call.ptr(2), 12);
  if (arg === null) return -ERRNO.EFAULT;
  const deadline = arg.getBigUint64(0, true);
  const v = pv.vcpus[id]!;
  const FUTURE_ONLY = 1;
  const now = pv.now(cpu);
  if (deadline < BigInt(now)) {
    if (arg.getUint32(8, true) & FUTURE_ONLY) return -ERRNO.ETIME;
    v.singleshot = null;
    pv.timerEvent(id);
    return 0;
  }
  v.singleshot = Number(deadline);
  return 0;
}

/** {u64 mfn, u32 offset}: moves the vCPU's vcpu_info, once, and marks everything pending (map_vcpu_info). */
function registerInfo(call: Call, id: number): CallResult {
  const { pv, cpu } = call;
  const arg = pv.guest.view(cpu, call.ptr(2), 16);
  if (arg === null) return -ERRNO.EFAULT;
  const frame = Number(arg.getBigUint64(0, true));
  const offset = arg.getUint32(8, true);
  const result = pv.registerVcpuInfo(id, frame, offset);
  pv.refreshTime(id);
  return result;
}
