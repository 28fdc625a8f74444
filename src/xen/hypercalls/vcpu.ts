/** vcpu_op (24): (cmd, vCPU, argument), D-39, D-40 (xen/common/domain.c common_vcpu_op). */
import { ARGUMENTS64 as ARG } from '../abi/arguments.ts';
import { ERRNO } from '../abi/errno.ts';
import { SHUTDOWN, VCPUOP } from '../abi/numbers.ts';
import { VCPU_GUEST_CONTEXT_64 } from '../abi/structures.ts';
import { addressOk } from '../domain.ts';
import { frameNumber } from '../mm/page-info.ts';
import { registerVcpuInfo, runstateAt, writeRunstate } from '../pv/runstate.ts';
import { shutdown } from '../pv/scheduler.ts';
import { after, momentOf, refreshTime, spanOf } from '../pv/time.ts';
import { raiseTimer } from '../pv/timers.ts';
import type { Call, CallResult, Hypercall } from './call.ts';

/** Bounds of a periodic timer in ns: MILLISECS(1) and STIME_DELTA_MAX. */
const MIN_PERIOD_NS = 1_000_000n;
const MAX_PERIOD_NS = 2n ** 62n - 1n;
/** VCPU_SSHOTTMR_future: a deadline in the past is an error. */
const FUTURE_ONLY = 1;

export const vcpuOp: Hypercall = (call) => {
  const { pv, cpu } = call;
  const id = call.u32(1);
  const address = call.ptr(2);
  const v = pv.vcpus[id];
  if (v === undefined) return -ERRNO.ENOENT;
  switch (call.u32(0)) {
    case VCPUOP.initialise:
      // Every vCPU of a domain of one is initialised by its builder.
      return call.with(address, VCPU_GUEST_CONTEXT_64, () => (v.initialised ? -ERRNO.EEXIST : -ERRNO.ENOSYS));
    case VCPUOP.up:
      if (!v.initialised) return -ERRNO.EINVAL;
      v.down = false;
      return 0;
    case VCPUOP.down:
      if (pv.vcpus.every((other, i) => i === id || other.down)) return shutdown(pv, cpu.id, SHUTDOWN.poweroff);
      v.down = true;
      return 0;
    case VCPUOP.is_up:
      return v.down ? 0 : 1;
    case VCPUOP.get_runstate_info:
      return call.put(address, runstateAt(v, pv.now(cpu)));
    case VCPUOP.register_runstate_memory_area:
      return call.with(address, ARG.registerRunstate, (arg) => {
        const area = arg.u64('address');
        if (!addressOk(area)) return -ERRNO.EFAULT;
        v.runstateArea = area;
        writeRunstate(pv, id);
        return 0;
      });
    case VCPUOP.set_periodic_timer:
      return call.with(address, ARG.setPeriodicTimer, (arg) => {
        const period = arg.u64('period_ns');
        if (period < MIN_PERIOD_NS || period > MAX_PERIOD_NS) return -ERRNO.EINVAL;
        v.periodicPeriod = spanOf(period);
        v.periodicNext = after(pv.now(cpu), v.periodicPeriod);
        return 0;
      });
    case VCPUOP.stop_periodic_timer:
      v.periodicPeriod = 0;
      return 0;
    case VCPUOP.set_singleshot_timer:
      return id === cpu.id ? setSingleshot(call) : -ERRNO.EINVAL;
    case VCPUOP.stop_singleshot_timer:
      if (id !== cpu.id) return -ERRNO.EINVAL;
      v.singleshot = null;
      return 0;
    case VCPUOP.register_vcpu_info:
      return call.with(address, ARG.registerVcpuInfo, (arg) => {
        const rc = registerVcpuInfo(pv, cpu.id, id, frameNumber(arg.u64('mfn')), arg.u32('offset'));
        refreshTime(pv, id);
        return rc;
      });
    default:
      return -ERRNO.ENOSYS;
  }
};

function setSingleshot(call: Call): CallResult {
  const { pv, cpu, vcpu } = call;
  return call.with(call.ptr(2), ARG.setSingleshotTimer, (arg) => {
    const deadline = arg.u64('timeout_abs_ns');
    if (deadline >= BigInt(pv.now(cpu))) {
      vcpu.singleshot = momentOf(deadline);
      return 0;
    }
    if (arg.u32('flags') & FUTURE_ONLY) return -ERRNO.ETIME;
    vcpu.singleshot = null;
    raiseTimer(pv, cpu.id);
    return 0;
  });
}
