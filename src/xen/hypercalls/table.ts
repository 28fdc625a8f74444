/**
 * The hypercall table: number, name, handler. Adding a hypercall is its file, a row here and a test (CONTRIBUTING.md).
 */
import { ERRNO } from '../abi/errno.ts';
import { HYPERCALL } from '../abi/numbers.ts';
import type { Hypercall } from './call.ts';
import { callbackOp, setCallbacks } from './callbacks.ts';
import { consoleIo } from './console-io.ts';
import { getDebugreg, setDebugreg } from './debug-registers.ts';
import { setGdt, updateDescriptor } from './descriptors.ts';
import { eventChannelOp, eventChannelOpCompat } from './event-channel.ts';
import { fpuTaskSwitch } from './fpu-taskswitch.ts';
import { grantTableOp } from './grant-table.ts';
import { iret } from './iret.ts';
import { memoryOp, mmuextOp, mmuUpdate, updateVaMapping } from './memory.ts';
import { multicallOver } from './multicall.ts';
import { physdevOp, physdevOpCompat } from './physdev.ts';
import { schedOp, schedOpCompat } from './sched.ts';
import { setSegmentBase } from './segment-base.ts';
import { stackSwitch } from './stack-switch.ts';
import { setTimerOp } from './timer.ts';
import { setTrapTable } from './trap-table.ts';
import { vcpuOp } from './vcpu.ts';
import { vmAssist } from './vm-assist.ts';
import { xenVersion } from './xen-version.ts';

export interface HypercallRow {
  readonly number: number;
  readonly name: string;
  readonly run: Hypercall;
}

const refuse =
  (errno: number): Hypercall =>
  () =>
    -errno;

/** Handlers by name, in order of the numbers. Numbers without a row answer -ENOSYS (D-05). */
const HANDLERS: Partial<Record<keyof typeof HYPERCALL, Hypercall>> = {
  set_trap_table: setTrapTable,
  mmu_update: mmuUpdate,
  set_gdt: setGdt,
  stack_switch: stackSwitch,
  set_callbacks: setCallbacks,
  fpu_taskswitch: fpuTaskSwitch,
  sched_op_compat: schedOpCompat,
  platform_op: refuse(ERRNO.EPERM),
  set_debugreg: setDebugreg,
  get_debugreg: getDebugreg,
  update_descriptor: updateDescriptor,
  memory_op: memoryOp,
  multicall: multicallOver((number) => hypercallHandler(number)),
  update_va_mapping: updateVaMapping,
  set_timer_op: setTimerOp,
  event_channel_op_compat: eventChannelOpCompat,
  xen_version: xenVersion,
  console_io: consoleIo,
  physdev_op_compat: physdevOpCompat,
  grant_table_op: grantTableOp,
  vm_assist: vmAssist,
  update_va_mapping_otherdomain: refuse(ERRNO.ESRCH),
  iret,
  vcpu_op: vcpuOp,
  set_segment_base: setSegmentBase,
  mmuext_op: mmuextOp,
  nmi_op: refuse(ERRNO.ENOSYS),
  sched_op: schedOp,
  callback_op: callbackOp,
  event_channel_op: eventChannelOp,
  physdev_op: physdevOp,
  sysctl: refuse(ERRNO.EPERM),
  domctl: refuse(ERRNO.EPERM),
  kexec_op: refuse(ERRNO.EPERM),
  xenpmu_op: refuse(ERRNO.EOPNOTSUPP),
};

/** The table, in order of the numbers. */
export const HYPERCALLS: readonly HypercallRow[] = Object.entries(HANDLERS).map(([name, run]) => ({
  number: HYPERCALL[name as keyof typeof HYPERCALL],
  name,
  run,
}));

const BY_NUMBER: Array<HypercallRow | undefined> = [];
/** Apart from the rows: V8 (Node 24) gives code up again and again that reads a function out of one of many like objects. */
const HANDLER_BY_NUMBER: Array<Hypercall | undefined> = [];
for (const row of HYPERCALLS) {
  BY_NUMBER[row.number] = row;
  HANDLER_BY_NUMBER[row.number] = row.run;
}

/** The handler of a hypercall number, if it has one. */
export const hypercallHandler = (number: number): Hypercall | undefined => HANDLER_BY_NUMBER[number];
/** The name of a hypercall number for traces and reports. */
export const hypercallName = (number: number): string => BY_NUMBER[number]?.name ?? `hypercall_${number}`;
