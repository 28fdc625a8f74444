import { expect, test } from 'vitest';
import { AMD64, I386, IRET_CONTEXT_64, USER_REGS_64, VCPU_GUEST_CONTEXT_64 } from '../../../src/xen/abi/structures.ts';

// Expected values: gcc -m64 and -m32 on Xen's public headers (requirements inventory, section F).

test('[F-amd64] [D-16] shared_info and vcpu_info have the offsets of both ABIs', () => {
  const { sharedInfo, vcpuInfo, vcpuTimeInfo } = AMD64;
  expect(sharedInfo.bytes).toBe(3136);
  expect(vcpuInfo.bytes).toBe(64);
  expect(sharedInfo.at).toMatchObject({ vcpu_info: 0, evtchn_pending: 0x800, evtchn_mask: 0xa00, wc_version: 0xc00 });
  expect(sharedInfo.at).toMatchObject({ wc_sec: 0xc04, wc_nsec: 0xc08, wc_sec_hi: 0xc0c, max_pfn: 0xc10 });
  expect(vcpuInfo.at).toMatchObject({ evtchn_upcall_mask: 1, evtchn_pending_sel: 8, cr2: 0x10, time: 0x20 });
  expect(vcpuTimeInfo.at).toMatchObject({
    tsc_timestamp: 8,
    system_time: 16,
    tsc_to_system_mul: 24,
    tsc_shift: 28,
    flags: 29,
  });
  expect(I386.sharedInfo.bytes).toBe(2344);
  expect(I386.sharedInfo.at).toMatchObject({
    evtchn_pending: 0x800,
    evtchn_mask: 0x880,
    wc_version: 0x900,
    max_pfn: 0x90c,
  });
  expect(I386.vcpuInfo.bytes).toBe(64);
  expect(I386.vcpuInfo.at).toMatchObject({ evtchn_pending_sel: 4, cr2: 8, time: 0x20 });
});

test('[F-amd64] [D-16] start_info has the offsets of both ABIs', () => {
  expect(AMD64.startInfo.bytes).toBe(1168);
  expect(AMD64.startInfo.at).toMatchObject({
    nr_pages: 0x20,
    shared_info: 0x28,
    flags: 0x30,
    store_mfn: 0x38,
    store_evtchn: 0x40,
    console_mfn: 0x48,
    console_evtchn: 0x50,
    pt_base: 0x58,
    nr_pt_frames: 0x60,
    mfn_list: 0x68,
    mod_start: 0x70,
    mod_len: 0x78,
    cmd_line: 0x80,
    first_p2m_pfn: 0x480,
    nr_p2m_frames: 0x488,
  });
  expect(I386.startInfo.bytes).toBe(1112);
  expect(I386.startInfo.at).toMatchObject({
    nr_pages: 0x20,
    shared_info: 0x24,
    flags: 0x28,
    store_mfn: 0x2c,
    store_evtchn: 0x30,
    console_mfn: 0x34,
    console_evtchn: 0x38,
    pt_base: 0x3c,
    nr_pt_frames: 0x40,
    mfn_list: 0x44,
    mod_start: 0x48,
    mod_len: 0x4c,
    cmd_line: 0x50,
    first_p2m_pfn: 0x450,
    nr_p2m_frames: 0x454,
  });
});

test('[F-amd64] [A-15] vcpu_guest_context has the offsets of the amd64 ABI', () => {
  expect(VCPU_GUEST_CONTEXT_64.bytes).toBe(5168);
  expect(VCPU_GUEST_CONTEXT_64.at).toMatchObject({
    flags: 0x200,
    user_regs: 0x208,
    trap_ctxt: 0x2d0,
    ldt_base: 0x12d0,
    ldt_ents: 0x12d8,
    gdt_frames: 0x12e0,
    gdt_ents: 0x1360,
    kernel_ss: 0x1368,
    kernel_sp: 0x1370,
    ctrlreg: 0x1378,
    debugreg: 0x13b8,
    event_callback_eip: 0x13f8,
    failsafe_callback_eip: 0x1400,
    syscall_callback_eip: 0x1408,
    vm_assist: 0x1410,
    fs_base: 0x1418,
    gs_base_kernel: 0x1420,
    gs_base_user: 0x1428,
  });
  expect(USER_REGS_64.bytes).toBe(200);
});

test('[F-amd64] [D-02] sizes of the small structures', () => {
  const sizes = (s: typeof AMD64) =>
    [s.mmuUpdate, s.mmuextOp, s.multicallEntry, s.trapInfo, s.runstateInfo].map((x) => x.bytes);
  expect(sizes(AMD64)).toEqual([16, 24, 64, 16, 48]);
  expect(sizes(I386)).toEqual([16, 12, 32, 8, 44]);
  expect(IRET_CONTEXT_64.bytes).toBe(72);
});
