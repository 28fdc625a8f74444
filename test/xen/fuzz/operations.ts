/**
 * Every hypercall and sub-operation there is, by name, from the tables of the ABI: what the fuzzer has to reach, and what of it this
 * Xen refuses whatever the arguments.
 */
import {
  CALLBACKOP,
  CALLBACKTYPE,
  CONSOLEIO,
  EVTCHNOP,
  GNTTABOP,
  HYPERCALL,
  MMU,
  MMUEXT,
  PHYSDEVOP,
  SCHEDOP,
  SEGBASE,
  VCPUOP,
  VMASST,
  XENMEM,
  XENVER,
} from '../../../src/xen/abi/numbers.ts';
import { HYPERCALLS } from '../../../src/xen/hypercalls/table.ts';

const namesOf = (table: Readonly<Record<string, number>>): string[] => Object.keys(table);
const VM_TYPES = namesOf(VMASST).filter((name) => name.startsWith('TYPE_'));
/** Old kernels have no more of it. */
const COMPAT_EVENTS = namesOf(EVTCHNOP).filter((name) => EVTCHNOP[name as keyof typeof EVTCHNOP] <= EVTCHNOP.unmask);

/** Sub-operations by the name of their hypercall. */
const SUBOPERATIONS: Readonly<Record<string, readonly string[]>> = {
  set_trap_table: ['entries', 'clear'],
  mmu_update: namesOf(MMU),
  sched_op_compat: ['yield', 'block', 'shutdown'],
  memory_op: namesOf(XENMEM),
  event_channel_op_compat: COMPAT_EVENTS,
  xen_version: namesOf(XENVER),
  console_io: namesOf(CONSOLEIO),
  physdev_op_compat: namesOf(PHYSDEVOP),
  grant_table_op: namesOf(GNTTABOP),
  vm_assist: ['enable', 'disable'].flatMap((cmd) => VM_TYPES.map((type) => `${cmd}_${type}`)),
  iret: ['kernel', 'user', 'syscall'],
  vcpu_op: namesOf(VCPUOP),
  set_segment_base: namesOf(SEGBASE),
  mmuext_op: namesOf(MMUEXT),
  sched_op: namesOf(SCHEDOP),
  callback_op: namesOf(CALLBACKOP).flatMap((cmd) => namesOf(CALLBACKTYPE).map((type) => `${cmd}_${type}`)),
  event_channel_op: namesOf(EVTCHNOP),
  physdev_op: namesOf(PHYSDEVOP),
};

/** The name of a number that has no row in the table. */
const NO_ROW = 'no row';

/** Every operation, as `call` or `call/sub-operation`. */
export const OPERATIONS: readonly string[] = [
  ...HYPERCALLS.flatMap(({ name }) => SUBOPERATIONS[name]?.map((sub) => `${name}/${sub}`) ?? [name]),
  ...namesOf(HYPERCALL).filter((name) => !HYPERCALLS.some((row) => row.name === name)),
  NO_ROW,
];

const of = (call: string, ...subs: readonly string[]): string[] => subs.map((sub) => `${call}/${sub}`);

/** Operations that never succeed: a domain without devices and privileges is refused, or nobody wrote what a PV guest can do without. */
export const REFUSED: ReadonlySet<string> = new Set([
  ...['platform_op', 'update_va_mapping_otherdomain', 'nmi_op', 'sysctl', 'domctl', 'kexec_op', 'xenpmu_op', NO_ROW],
  ...['xsm_op', 'xenoprof_op', 'hvm_op', 'tmem_op', 'argo_op', 'dm_op', 'hypfs_op'],
  ...of('memory_op', 'machphys_mfn_list', 'add_to_physmap', 'machine_memory_map', 'set_memory_map'),
  ...of('memory_op', 'remove_from_physmap', 'add_to_physmap_batch', 'claim_pages', 'get_vnumainfo', 'acquire_resource'),
  ...of('event_channel_op', 'bind_pirq', 'init_control', 'expand_array', 'set_priority'),
  ...of('event_channel_op_compat', 'bind_pirq'),
  ...of('xen_version', 'build_id'),
  ...of('grant_table_op', 'transfer', 'get_status_frames'),
  ...of('vcpu_op', 'initialise', 'send_nmi', 'get_physid', 'register_vcpu_time_memory_area'),
  ...of('mmuext_op', 'FLUSH_CACHE', 'FLUSH_CACHE_GLOBAL', 'MARK_SUPER', 'UNMARK_SUPER'),
  ...of('sched_op', 'remote_shutdown', 'pin_override'),
  ...of('callback_op', 'register_sysenter_deprecated'),
  ...of(
    'callback_op',
    ...namesOf(CALLBACKTYPE)
      .map((type) => `unregister_${type}`)
      .filter((x) => x !== 'unregister_nmi'),
  ),
]);

/** Operations that end the run where they succeed. */
export const ENDING: ReadonlySet<string> = new Set(['sched_op/shutdown', 'sched_op_compat/shutdown', 'vcpu_op/down']);

/** The name of a hypercall number, whether or not the table has it. */
export function callName(number: number): string {
  const known = Object.entries(HYPERCALL).find(([, n]) => n === number);
  return known?.[0] ?? NO_ROW;
}
