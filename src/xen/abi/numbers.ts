/**
 * Numbers of the PV ABI: hypercalls, their sub-operations, flags and reserved domain ids. Names are Xen's without their
 * prefix. Source: the headers of xen/include/public named beside each table.
 */

/** Hypercall numbers (xen.h). */
export const HYPERCALL = {
  set_trap_table: 0,
  mmu_update: 1,
  set_gdt: 2,
  stack_switch: 3,
  set_callbacks: 4,
  fpu_taskswitch: 5,
  sched_op_compat: 6,
  platform_op: 7,
  set_debugreg: 8,
  get_debugreg: 9,
  update_descriptor: 10,
  memory_op: 12,
  multicall: 13,
  update_va_mapping: 14,
  set_timer_op: 15,
  event_channel_op_compat: 16,
  xen_version: 17,
  console_io: 18,
  physdev_op_compat: 19,
  grant_table_op: 20,
  vm_assist: 21,
  update_va_mapping_otherdomain: 22,
  iret: 23,
  vcpu_op: 24,
  set_segment_base: 25,
  mmuext_op: 26,
  xsm_op: 27,
  nmi_op: 28,
  sched_op: 29,
  callback_op: 30,
  xenoprof_op: 31,
  event_channel_op: 32,
  physdev_op: 33,
  hvm_op: 34,
  sysctl: 35,
  domctl: 36,
  kexec_op: 37,
  tmem_op: 38,
  argo_op: 39,
  xenpmu_op: 40,
  dm_op: 41,
  hypfs_op: 42,
} as const;

/** Low bits of `mmu_update.ptr` (xen.h). */
export const MMU = { normalPtUpdate: 0, machphysUpdate: 1, ptUpdatePreserveAd: 2, ptUpdateNoTranslate: 3 } as const;
/** Bit of `count` that marks a continued mmu_update or mmuext_op (arch/x86/mm.c). */
export const MMU_UPDATE_PREEMPTED = 0x80000000;

/** `mmuext_op.cmd` (xen.h). */
export const MMUEXT = {
  PIN_L1_TABLE: 0,
  PIN_L2_TABLE: 1,
  PIN_L3_TABLE: 2,
  PIN_L4_TABLE: 3,
  UNPIN_TABLE: 4,
  NEW_BASEPTR: 5,
  TLB_FLUSH_LOCAL: 6,
  INVLPG_LOCAL: 7,
  TLB_FLUSH_MULTI: 8,
  INVLPG_MULTI: 9,
  TLB_FLUSH_ALL: 10,
  INVLPG_ALL: 11,
  FLUSH_CACHE: 12,
  SET_LDT: 13,
  NEW_USER_BASEPTR: 15,
  CLEAR_PAGE: 16,
  COPY_PAGE: 17,
  FLUSH_CACHE_GLOBAL: 18,
  MARK_SUPER: 19,
  UNMARK_SUPER: 20,
} as const;

/** Flags of update_va_mapping (xen.h); what is not a flag is the address of a vCPU bitmap. */
export const UVMF = { flushtypeMask: 3n, tlbFlush: 1n, invlpg: 2n, local: 0n, all: 4n } as const;

/** vm_assist commands and types (xen.h). */
export const VMASST = {
  CMD_enable: 0,
  CMD_disable: 1,
  TYPE_4gb_segments: 0,
  TYPE_4gb_segments_notify: 1,
  TYPE_writable_pagetables: 2,
  TYPE_pae_extended_cr3: 3,
  TYPE_architectural_iopl: 4,
  TYPE_runstate_update_flag: 5,
  TYPE_m2p_strict: 32,
} as const;

/** Reserved domain ids (xen.h). */
export const DOMID = { SELF: 0x7ff0, IO: 0x7ff1, XEN: 0x7ff2, COW: 0x7ff3, INVALID: 0x7ff4 } as const;

/** memory_op sub-operations (memory.h) and the split of its command word (xen/hypercall.h). */
export const XENMEM = {
  increase_reservation: 0,
  decrease_reservation: 1,
  maximum_ram_page: 2,
  current_reservation: 3,
  maximum_reservation: 4,
  machphys_mfn_list: 5,
  populate_physmap: 6,
  add_to_physmap: 7,
  memory_map: 9,
  machine_memory_map: 10,
  exchange: 11,
  machphys_mapping: 12,
  set_memory_map: 13,
  maximum_gpfn: 14,
  remove_from_physmap: 15,
  add_to_physmap_batch: 23,
  claim_pages: 24,
  get_vnumainfo: 26,
  acquire_resource: 28,
} as const;
export const MEMOP_EXTENT_SHIFT = 6;
/** Bits of `xen_memory_reservation.mem_flags` (memory.h). */
export const XENMEMF = { addressBitsMask: 0xff, populateOnDemand: 1 << 16, exactNodeRequest: 1 << 17 } as const;

/** vcpu_op (vcpu.h). */
export const VCPUOP = {
  initialise: 0,
  up: 1,
  down: 2,
  is_up: 3,
  get_runstate_info: 4,
  register_runstate_memory_area: 5,
  set_periodic_timer: 6,
  stop_periodic_timer: 7,
  set_singleshot_timer: 8,
  stop_singleshot_timer: 9,
  register_vcpu_info: 10,
  send_nmi: 11,
  get_physid: 12,
  register_vcpu_time_memory_area: 13,
} as const;
/** `runstate_info.state` (vcpu.h). */
export const RUNSTATE = { running: 0, runnable: 1, blocked: 2, offline: 3 } as const;

/** event_channel_op (event_channel.h). */
export const EVTCHNOP = {
  bind_interdomain: 0,
  bind_virq: 1,
  bind_pirq: 2,
  close: 3,
  send: 4,
  status: 5,
  alloc_unbound: 6,
  bind_ipi: 7,
  bind_vcpu: 8,
  unmask: 9,
  reset: 10,
  init_control: 11,
  expand_array: 12,
  set_priority: 13,
} as const;
/** Virtual interrupts (xen.h). */
export const VIRQ = { TIMER: 0, DEBUG: 1, CONSOLE: 2, DOM_EXC: 3, XENOPROF: 7, XENPMU: 13 } as const;

/** sched_op (sched.h). */
export const SCHEDOP = {
  yield: 0,
  block: 1,
  shutdown: 2,
  poll: 3,
  remote_shutdown: 4,
  shutdown_code: 5,
  watchdog: 6,
  pin_override: 7,
} as const;
/** Reasons of SCHEDOP_shutdown (sched.h). */
export const SHUTDOWN = { poweroff: 0, reboot: 1, suspend: 2, crash: 3, watchdog: 4, soft_reset: 5 } as const;

/** grant_table_op (grant_table.h). */
export const GNTTABOP = {
  map_grant_ref: 0,
  unmap_grant_ref: 1,
  setup_table: 2,
  dump_table: 3,
  transfer: 4,
  copy: 5,
  query_size: 6,
  unmap_and_replace: 7,
  set_version: 8,
  get_status_frames: 9,
  get_version: 10,
  swap_grant_ref: 11,
  cache_flush: 12,
} as const;

/** xen_version (version.h). */
export const XENVER = {
  version: 0,
  extraversion: 1,
  compile_info: 2,
  capabilities: 3,
  changeset: 4,
  platform_parameters: 5,
  get_features: 6,
  pagesize: 7,
  guest_handle: 8,
  commandline: 9,
  build_id: 10,
} as const;
/** Bits of feature submap 0 (features.h). */
export const XENFEAT = {
  writable_page_tables: 0,
  writable_descriptor_tables: 1,
  auto_translated_physmap: 2,
  supervisor_mode_kernel: 3,
  pae_pgdir_above_4gb: 4,
  mmu_pt_update_preserve_ad: 5,
  highmem_assist: 6,
  gnttab_map_avail_bits: 7,
  dom0: 11,
  memory_op_vnode_supported: 13,
  direct_mapped: 17,
} as const;

/** callback_op (callback.h). */
export const CALLBACKOP = { register: 0, unregister: 1 } as const;
export const CALLBACKTYPE = {
  event: 0,
  failsafe: 1,
  syscall: 2,
  sysenter_deprecated: 3,
  nmi: 4,
  sysenter: 5,
  syscall32: 7,
} as const;

/** physdev_op (physdev.h). */
export const PHYSDEVOP = { set_iopl: 6, set_iobitmap: 7, pirq_eoi_gmfn_v1: 17, pirq_eoi_gmfn_v2: 28 } as const;
/** set_segment_base (arch-x86/xen-x86_64.h). */
export const SEGBASE = { FS: 0, GS_USER: 1, GS_KERNEL: 2, GS_USER_SEL: 3 } as const;
/** console_io (xen.h). */
export const CONSOLEIO = { write: 0, read: 1 } as const;

/** `vcpu_guest_context.flags` (arch-x86/xen.h); in_syscall is a flag of the iret frame (arch-x86/xen-x86_64.h). */
export const VGCF = {
  i387_valid: 1 << 0,
  in_kernel: 1 << 2,
  failsafe_disables_events: 1 << 3,
  syscall_disables_events: 1 << 4,
  online: 1 << 5,
  in_syscall: 1 << 8,
} as const;
/** Xen's flat selectors for an amd64 guest (arch-x86/xen-x86_64.h); a data segment is null. */
export const FLAT = { ring3Cs32: 0xe023, ring3Cs64: 0xe033, ring3Ss: 0xe02b, ring3Ds64: 0 } as const;
/** First GDT page and entry that Xen keeps for itself (arch-x86/xen.h). */
const FIRST_RESERVED_GDT_PAGE = 14;
export const FIRST_RESERVED_GDT_ENTRY = FIRST_RESERVED_GDT_PAGE * 512;

/** Addresses from here to HYPERVISOR_VIRT_END are Xen's in an amd64 guest (arch/x86 config.h). */
export const HYPERVISOR_VIRT_START = 0xffff_8000_0000_0000n;
export const HYPERVISOR_VIRT_END = 0xffff_8800_0000_0000n;
/** The read-only machine-to-physical table (arch-x86/xen-x86_64.h). */
export const MACH2PHYS_VIRT_START = 0xffff_8000_0000_0000n;
export const MACH2PHYS_VIRT_END = 0xffff_8040_0000_0000n;
/** L4 slots that are Xen's, first and last (arch/x86 config.h). */
export const FIRST_XEN_SLOT = 256;
export const LAST_XEN_SLOT = 271;
