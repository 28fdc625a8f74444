/**
 * What Xen writes into guest memory about a vCPU beside time: its runstate area (D-40) and the place of its vcpu_info.
 * Sources: xen/common/domain.c (map_vcpu_info), xen/common/sched/core.c (vcpu_runstate_change).
 */
import { PAGE_SIZE, type PhysAddr } from '../../core/units.ts';
import { ERRNO } from '../abi/errno.ts';
import { RUNSTATE } from '../abi/numbers.ts';
import { AMD64 } from '../abi/structures.ts';
import { GuestStruct } from './guest-access.ts';
import type { XenPv } from './pv.ts';
import { EPOCH_NS, refreshTime } from './time.ts';
import type { VcpuState } from './vcpu.ts';

/** struct vcpu_runstate_info with the time up to the last change. */
function runstateBytes({ runstate }: VcpuState): Uint8Array {
  const info = new GuestStruct(new Uint8Array(AMD64.runstateInfo.bytes), AMD64.runstateInfo);
  info.setU32('state', runstate.state);
  info.setU64('state_entry_time', BigInt(runstate.entryTime));
  runstate.time.forEach((time, state) => {
    info.setU64('time', BigInt(time), state);
  });
  return info.bytes;
}

/** struct vcpu_runstate_info with the time up to `now` (ns). */
export function runstateAt(v: VcpuState, now: number): Uint8Array {
  const { state, entryTime } = v.runstate;
  const time = v.runstate.time.map((spent, i) => (i === state ? spent + now - entryTime : spent));
  return runstateBytes({ ...v, runstate: { state, entryTime, time } });
}

/** Updates the guest's runstate area; a page that is not mapped is left alone. */
export function writeRunstate(pv: XenPv, vcpu: number): void {
  const v = pv.vcpus[vcpu]!;
  const cpu = pv.cpus[vcpu];
  if (v.runstateArea !== 0n && v.kernelMode && cpu) pv.guest.write(cpu, v.runstateArea, runstateBytes(v));
}

/** Moves a vCPU to `state` now; coming back to the processor may refresh its time record. */
export function setRunstate(pv: XenPv, vcpu: number, state: number): void {
  const { runstate, timeRefresh } = pv.vcpus[vcpu]!;
  const now = pv.now(null);
  runstate.time[runstate.state] = runstate.time[runstate.state]! + (now - runstate.entryTime);
  runstate.state = state;
  runstate.entryTime = now;
  writeRunstate(pv, vcpu);
  if (state === RUNSTATE.running && now >= timeRefresh - EPOCH_NS) refreshTime(pv, vcpu);
}

/**
 * map_vcpu_info: moves the vcpu_info of vCPU `id` to the guest's own page, once, and marks everything pending, since edges may
 * be lost meanwhile. 0 or a negative errno.
 */
export function registerVcpuInfo(pv: XenPv, caller: number, id: number, frame: number, offset: number): number {
  const v = pv.vcpus[id]!;
  const { bytes, align, at } = AMD64.vcpuInfo;
  if (offset > PAGE_SIZE - bytes || offset % align !== 0) return -ERRNO.ENXIO;
  if (v.infoRegistered || (id !== caller && !v.down)) return -ERRNO.EINVAL;
  if (!pv.mm.takeWritable(frame)) return -ERRNO.EINVAL;
  const address: PhysAddr = frame * PAGE_SIZE + offset;
  pv.memory.writeBytes(address, pv.memory.readBytes(v.infoAddress, bytes));
  v.infoAddress = address;
  v.infoRegistered = true;
  pv.memory.write64(address + at.evtchn_pending_sel, 0xffffffffffffffffn);
  pv.events.markPending(id);
  return 0;
}
