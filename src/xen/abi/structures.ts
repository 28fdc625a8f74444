/**
 * The structures that guest and hypervisor share in memory, each declared once for both word sizes. Offsets and sizes were
 * compared with what gcc computes from Xen's public headers (`__XEN_INTERFACE_VERSION__` 0x040600).
 */
import { type Layout, layout, type WordBytes } from './layout.ts';

export const LEGACY_MAX_VCPUS = 32;
export const MAX_GUEST_CMDLINE = 1024;

/** The pages that both sides keep; a field of count 0 exists in the other ABI only. */
function pagesOf(word: WordBytes) {
  const wide = word === 8;
  const vcpuTimeInfo = layout(word, {
    version: 'u32',
    pad0: 'u32',
    tsc_timestamp: 'u64',
    system_time: 'u64',
    tsc_to_system_mul: 'u32',
    tsc_shift: 's8',
    flags: 'u8',
    pad1: ['u8', 2],
  });
  const vcpuInfo = layout(word, {
    evtchn_upcall_pending: 'u8',
    evtchn_upcall_mask: 'u8',
    evtchn_pending_sel: 'word',
    cr2: 'word',
    pad: ['word', wide ? 1 : 5],
    time: vcpuTimeInfo,
  });
  const sharedInfo = layout(word, {
    vcpu_info: [vcpuInfo, LEGACY_MAX_VCPUS],
    evtchn_pending: ['word', word * 8],
    evtchn_mask: ['word', word * 8],
    wc_version: 'u32',
    wc_sec: 'u32',
    wc_nsec: 'u32',
    wc_sec_hi: ['u32', wide ? 1 : 0],
    max_pfn: 'word',
    pfn_to_mfn_frame_list_list: 'word',
    nmi_reason: 'word',
    p2m_cr3: 'word',
    p2m_vaddr: 'word',
    p2m_generation: 'word',
    arch_wc_sec_hi: ['u32', wide ? 0 : 1],
  });
  const startInfo = layout(word, {
    magic: ['u8', 32],
    nr_pages: 'word',
    shared_info: 'word',
    flags: 'u32',
    store_mfn: 'word',
    store_evtchn: 'u32',
    console_mfn: 'word',
    console_evtchn: 'u32',
    pt_base: 'word',
    nr_pt_frames: 'word',
    mfn_list: 'word',
    mod_start: 'word',
    mod_len: 'word',
    cmd_line: ['u8', MAX_GUEST_CMDLINE],
    first_p2m_pfn: 'word',
    nr_p2m_frames: 'word',
  });
  return { vcpuTimeInfo, vcpuInfo, sharedInfo, startInfo };
}

/** The arguments of hypercalls. */
function argumentsOf(word: WordBytes) {
  const memoryReservation = layout(word, {
    extent_start: 'word',
    nr_extents: 'word',
    extent_order: 'u32',
    mem_flags: 'u32',
    domid: 'u16',
  });
  return {
    memoryReservation,
    memoryExchange: layout(word, { in: memoryReservation, out: memoryReservation, nr_exchanged: 'word' }),
    memoryMap: layout(word, { nr_entries: 'u32', buffer: 'word' }),
    machphysMapping: layout(word, { v_start: 'word', v_end: 'word', max_mfn: 'word' }),
    mmuUpdate: layout(word, { ptr: 'u64', val: 'u64' }),
    mmuextOp: layout(word, { cmd: 'u32', arg1: 'word', arg2: 'word' }),
    multicallEntry: layout(word, { op: 'word', result: 'word', args: ['word', 6] }),
    trapInfo: layout(word, { vector: 'u8', flags: 'u8', cs: 'u16', address: 'word' }),
    runstateInfo: layout(word, { state: 'u32', state_entry_time: 'u64', time: ['u64', 4] }),
    grantEntryV1: layout(word, { flags: 'u16', domid: 'u16', frame: 'u32' }),
  };
}

const structures = (word: WordBytes) => ({ ...pagesOf(word), ...argumentsOf(word) });
/** The structures of an amd64 guest. */
export const AMD64 = structures(8);
/** The structures of an i386 guest. */
export const I386 = structures(4);

const REGISTERS_64 = [
  'r15',
  'r14',
  'r13',
  'r12',
  'rbp',
  'rbx',
  'r11',
  'r10',
  'r9',
  'r8',
  'rax',
  'rcx',
  'rdx',
  'rsi',
  'rdi',
] as const;
const fields = <N extends string, T>(names: readonly N[], type: T): Record<N, T> =>
  Object.fromEntries(names.map((name) => [name, type])) as Record<N, T>;

/** cpu_user_regs of amd64; `cs` is a u16 with the saved upcall mask in the byte at +4. */
export const USER_REGS_64 = layout(8, {
  ...fields(REGISTERS_64, 'u64' as const),
  error_code: 'u32',
  entry_vector: 'u32',
  ...fields(['rip', 'cs', 'rflags', 'rsp', 'ss', 'es', 'ds', 'fs', 'gs'] as const, 'u64' as const),
});
/** vcpu_guest_context of amd64. */
export const VCPU_GUEST_CONTEXT_64 = layout(8, {
  fpu_ctxt: ['u8', 512],
  flags: 'word',
  user_regs: USER_REGS_64,
  trap_ctxt: [AMD64.trapInfo, 256],
  ldt_base: 'word',
  ldt_ents: 'word',
  gdt_frames: ['word', 16],
  gdt_ents: 'word',
  kernel_ss: 'word',
  kernel_sp: 'word',
  ctrlreg: ['word', 8],
  debugreg: ['word', 8],
  event_callback_eip: 'word',
  failsafe_callback_eip: 'word',
  syscall_callback_eip: 'word',
  vm_assist: 'word',
  fs_base: 'u64',
  gs_base_kernel: 'u64',
  gs_base_user: 'u64',
});
/** The frame of the iret hypercall, on top of the guest's stack (arch-x86/xen-x86_64.h). */
export const IRET_CONTEXT_64 = layout(
  8,
  fields(['rax', 'r11', 'rcx', 'flags', 'rip', 'cs', 'rflags', 'rsp', 'ss'] as const, 'u64' as const),
);
/** One e820 entry as memory_op memory_map returns it: packed, 20 bytes (arch-x86 e820.h). */
export const E820_ENTRY: Layout<'addr' | 'size' | 'type'> = {
  bytes: 20,
  align: 1,
  at: { addr: 0, size: 8, type: 16 },
};
