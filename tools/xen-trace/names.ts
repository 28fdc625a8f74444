/** Names of hypercalls and sub-operations (xen/include/public/xen.h and the header of each hypercall). */

const HYPERCALLS: Record<number, string> = {
  0: 'set_trap_table',
  1: 'mmu_update',
  2: 'set_gdt',
  3: 'stack_switch',
  4: 'set_callbacks',
  5: 'fpu_taskswitch',
  6: 'sched_op_compat',
  7: 'platform_op',
  8: 'set_debugreg',
  9: 'get_debugreg',
  10: 'update_descriptor',
  12: 'memory_op',
  13: 'multicall',
  14: 'update_va_mapping',
  15: 'set_timer_op',
  16: 'event_channel_op_compat',
  17: 'xen_version',
  18: 'console_io',
  19: 'physdev_op_compat',
  20: 'grant_table_op',
  21: 'vm_assist',
  22: 'update_va_mapping_otherdomain',
  23: 'iret',
  24: 'vcpu_op',
  25: 'set_segment_base',
  26: 'mmuext_op',
  27: 'xsm_op',
  28: 'nmi_op',
  29: 'sched_op',
  30: 'callback_op',
  31: 'xenoprof_op',
  32: 'event_channel_op',
  33: 'physdev_op',
  34: 'hvm_op',
  35: 'sysctl',
  36: 'domctl',
  37: 'kexec_op',
  40: 'xenpmu_op',
};

/** Names by number; a hole is null, and a number beyond the list prints as itself. */
const SUB_OPERATIONS: Record<number, readonly (string | null)[]> = {
  6: ['yield', 'block', 'shutdown', 'poll'],
  12: [
    ...['increase_reservation', 'decrease_reservation', 'maximum_ram_page', 'current_reservation'],
    ...['maximum_reservation', 'machphys_mfn_list', 'populate_physmap', 'add_to_physmap', null, 'memory_map'],
    ...['machine_memory_map', 'exchange', 'machphys_mapping'],
  ],
  17: [
    ...['version', 'extraversion', 'compile_info', 'capabilities', 'changeset', 'platform_parameters'],
    ...['get_features', 'pagesize', 'guest_handle', 'commandline', 'build_id'],
  ],
  18: ['write', 'read'],
  20: [
    ...['map_grant_ref', 'unmap_grant_ref', 'setup_table', 'dump_table', 'transfer', 'copy', 'query_size'],
    ...['unmap_and_replace', 'set_version', 'get_status_frames', 'get_version', 'swap_grant_ref', 'cache_flush'],
  ],
  21: ['enable', 'disable'],
  24: [
    ...['initialise', 'up', 'down', 'is_up', 'get_runstate_info', 'register_runstate_memory_area'],
    ...['set_periodic_timer', 'stop_periodic_timer', 'set_singleshot_timer', 'stop_singleshot_timer'],
    ...['register_vcpu_info', 'send_nmi', 'get_physid', 'register_vcpu_time_memory_area'],
  ],
  25: ['fs', 'gs_user', 'gs_kernel', 'gs_user_sel'],
  29: ['yield', 'block', 'shutdown', 'poll', 'remote_shutdown', 'shutdown_code', 'watchdog', 'pin_override'],
  30: ['register', 'unregister'],
  32: [
    ...['bind_interdomain', 'bind_virq', 'bind_pirq', 'close', 'send', 'status', 'alloc_unbound', 'bind_ipi'],
    ...['bind_vcpu', 'unmask', 'reset', 'init_control', 'expand_array', 'set_priority'],
  ],
  33: [null, null, null, null, null, 'irq_status_query', 'set_iopl', 'set_iobitmap'],
  34: [],
};

const MEMORY_OP = 12;
const VM_ASSIST = 21;
/** Bits of memory_op's command; those above count extents already done (MEMOP_EXTENT_SHIFT, memory.h). */
const MEMORY_OP_MASK = 0x3fn;

/** The sub-operation's number when it stands in a register, else null (mmuext_op keeps it in guest memory). */
export function subOperationOf(op: number, args: readonly bigint[]): number | null {
  if (!(op in SUB_OPERATIONS)) return null;
  const command = (args[0] ?? 0n) & 0xffff_ffffn;
  return Number(op === MEMORY_OP ? command & MEMORY_OP_MASK : command);
}

/** A call's name as reports print it: `event_channel_op.send`, `vm_assist.enable.4`, `[mc]mmuext_op`. */
export function nameOf(kind: 'H' | 'I' | 'M', op: number, args: readonly bigint[]): string {
  const sub = subOperationOf(op, args);
  const parts = [HYPERCALLS[op] ?? `hypercall ${op}`];
  if (sub !== null) parts.push(SUB_OPERATIONS[op]![sub] ?? String(sub));
  if (op === VM_ASSIST) parts.push(String(args[1] ?? 0n));
  return `${kind === 'M' ? '[mc]' : ''}${parts.join('.')}`;
}
