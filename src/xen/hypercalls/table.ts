/**
 * The hypercall table: number, name, handler. Adding a hypercall is its file, a row here and a test (CONTRIBUTING.md).
 */
import { ERRNO } from '../abi/errno.ts';
import { iret } from '../pv/bounce.ts';
import type { Hypercall } from './call.ts';
import { callbackOp, setCallbacks } from './callbacks.ts';
import { consoleIo } from './console-io.ts';
import { getDebugRegister, setDebugRegister } from './debug-registers.ts';
import { setGdt, updateDescriptor } from './descriptors.ts';
import { eventChannelOp, eventChannelOpCompat } from './event-channel.ts';
import { fpuTaskSwitch } from './fpu-taskswitch.ts';
import { grantTableOp } from './grant-table.ts';
import { memoryOp, mmuextOp, mmuUpdate, updateVaMapping } from './memory.ts';
import { multicall } from './multicall.ts';
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

/** In order of the numbers (public/xen.h). Numbers without a row answer -ENOSYS (D-05). */
export const HYPERCALLS: readonly HypercallRow[] = [
  { number: 0, name: 'set_trap_table', run: setTrapTable },
  { number: 1, name: 'mmu_update', run: mmuUpdate },
  { number: 2, name: 'set_gdt', run: setGdt },
  { number: 3, name: 'stack_switch', run: stackSwitch },
  { number: 4, name: 'set_callbacks', run: setCallbacks },
  { number: 5, name: 'fpu_taskswitch', run: fpuTaskSwitch },
  { number: 6, name: 'sched_op_compat', run: schedOpCompat },
  { number: 7, name: 'platform_op', run: refuse(ERRNO.EPERM) },
  { number: 8, name: 'set_debugreg', run: setDebugRegister },
  { number: 9, name: 'get_debugreg', run: getDebugRegister },
  { number: 10, name: 'update_descriptor', run: updateDescriptor },
  { number: 12, name: 'memory_op', run: memoryOp },
  { number: 13, name: 'multicall', run: multicall },
  { number: 14, name: 'update_va_mapping', run: updateVaMapping },
  { number: 15, name: 'set_timer_op', run: setTimerOp },
  { number: 16, name: 'event_channel_op_compat', run: eventChannelOpCompat },
  { number: 17, name: 'xen_version', run: xenVersion },
  { number: 18, name: 'console_io', run: consoleIo },
  { number: 19, name: 'physdev_op_compat', run: physdevOpCompat },
  { number: 20, name: 'grant_table_op', run: grantTableOp },
  { number: 21, name: 'vm_assist', run: vmAssist },
  { number: 22, name: 'update_va_mapping_otherdomain', run: refuse(ERRNO.ESRCH) },
  {
    number: 23,
    name: 'iret',
    run: ({ pv, cpu }) => {
      const outcome = iret(pv, cpu);
      return outcome !== null && 'stop' in outcome ? outcome : null;
    },
  },
  { number: 24, name: 'vcpu_op', run: vcpuOp },
  { number: 25, name: 'set_segment_base', run: setSegmentBase },
  { number: 26, name: 'mmuext_op', run: mmuextOp },
  { number: 27, name: 'xsm_op', run: refuse(ERRNO.ENOSYS) },
  { number: 28, name: 'nmi_op', run: refuse(ERRNO.ENOSYS) },
  { number: 29, name: 'sched_op', run: schedOp },
  { number: 30, name: 'callback_op', run: callbackOp },
  { number: 32, name: 'event_channel_op', run: eventChannelOp },
  { number: 33, name: 'physdev_op', run: physdevOp },
  { number: 35, name: 'sysctl', run: refuse(ERRNO.EPERM) },
  { number: 36, name: 'domctl', run: refuse(ERRNO.EPERM) },
  { number: 37, name: 'kexec_op', run: refuse(ERRNO.EPERM) },
  { number: 40, name: 'xenpmu_op', run: refuse(ERRNO.EOPNOTSUPP) },
];

const BY_NUMBER: Array<HypercallRow | undefined> = [];
for (const row of HYPERCALLS) BY_NUMBER[row.number] = row;

/** The row of a hypercall number, if it has one. */
export const hypercallRow = (number: number): HypercallRow | undefined => BY_NUMBER[number];
/** The name of a hypercall number for traces and reports. */
export const hypercallName = (number: number): string => BY_NUMBER[number]?.name ?? `hypercall_${number}`;
