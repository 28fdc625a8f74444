import { expect, test } from 'vitest';
import type { CpuPolicy } from '../../../src/x86/form.ts';
import { SEG } from '../../../src/x86/state.ts';
import {
  CODE,
  HANDLER,
  HYPERCALL_PAGE,
  hexBytes,
  PvGuest,
  SELF,
  STACK,
  USER_CODE,
  USER_STACK,
  words,
} from '../../support/pv-guest.ts';

const FLAT_CS = 0xe033;
const FLAT_SS = 0xe02bn;

test('[D-01] SYSCALL in the guest kernel is a hypercall: number in EAX, arguments in registers, result in RAX', () => {
  const guest = new PvGuest();
  guest.prepare(17, 0);
  guest.set({ rax: 0xdead0000_00000011n, rbx: 5, r12: 7 });
  guest.cpu.rflags = 0x202 | 1 | 0x400;
  const { rip } = guest.cpu;
  guest.step();
  expect(guest.get('rax')).toBe(0x4_0011n);
  expect(guest.cpu.rip).toBe(rip + 2n);
  expect(guest.get('rcx')).toBe(rip + 2n);
  expect(guest.get('r11')).toBe(0x202n | 1n | 0x400n);
  expect(guest.cpu.rflags).toBe(0x202 | 1 | 0x400);
  expect([guest.get('rbx'), guest.get('r12'), guest.cpu.rsp]).toEqual([5n, 7n, STACK]);
});

test('[D-02] the stubs of the hypercall page call by number and return', () => {
  const guest = new PvGuest();
  expect(guest.read(HYPERCALL_PAGE + 17n * 32n, 13)).toEqual(hexBytes('51 41 53 b8 11 00 00 00 0f 05 41 5b 59'));
  expect(guest.u8(HYPERCALL_PAGE + 17n * 32n + 13n)).toBe(0xc3);
  expect(guest.read(HYPERCALL_PAGE + 23n * 32n, 11)).toEqual(hexBytes('51 41 53 50 b8 17 00 00 00 0f 05'));
  guest.set({ rdi: 0, rcx: 0x1234, r11: 0x5678 });
  const displacement = Number(HYPERCALL_PAGE + 17n * 32n - (CODE + 5n));
  guest.at(`e8 ${Buffer.from(Int32Array.of(displacement).buffer).toString('hex')}`);
  guest.step(8); // call, push, push, mov, syscall, pop, pop, ret
  expect(guest.cpu.rip).toBe(CODE + 5n);
  expect([guest.get('rax'), guest.get('rcx'), guest.get('r11')]).toEqual([0x4_0011n, 0x1234n, 0x5678n]);
});

test('[D-05] a number without a hypercall answers -ENOSYS and touches nothing but RAX', () => {
  const guest = new PvGuest();
  for (const number of [11, 31, 34, 38, 39, 41, 42, 48, 63, 64, 1000, 0xffffffff]) {
    guest.set({ rbx: 1, rbp: 2 });
    expect(guest.call(number, 1, 2, 3, 4, 5), String(number)).toBe(-38);
    expect([guest.get('rbx'), guest.get('rbp'), guest.get('rdi'), guest.get('r10')]).toEqual([1n, 2n, 1n, 4n]);
  }
  expect(guest.call(7)).toBe(-1); // platform_op
  expect(guest.call(36)).toBe(-1); // domctl
  expect(guest.call(40)).toBe(-95); // xenpmu_op
});

test('[D-06] a hypercall with thousands of entries is one step', () => {
  const guest = new PvGuest();
  const before = guest.machine.tick;
  // 2,048 times the same entry: an identity update of a plain page
  const target = BigInt(guest.pa(guest.page(8)));
  const list = guest.page(9);
  for (let i = 0; i < 2048; i++) guest.write(list + BigInt(i * 16), words(target, i));
  expect(guest.call(1, list, 2048, guest.page(8) + 8n, SELF)).toBe(0);
  expect(guest.machine.tick).toBe(before + 1);
  expect(guest.u64(guest.page(8))).toBe(2047n);
  expect(guest.u32(guest.page(8) + 8n)).toBe(2048);
});

test('[D-30] a fault of the kernel pushes the frame on its own stack, aligned, with RPL 0 and the saved mask', () => {
  const guest = new PvGuest();
  guest.handle({ 6: { at: HANDLER } });
  guest.setInfo(1, 0);
  guest.cpu.rsp = STACK - 0x100n - 4n;
  guest.set({ rcx: 0x11, r11: 0x22 });
  guest.cpu.rflags = 0x202 | 0x400 | 0x40000 | 0x4000 | 1; // DF AC NT CF
  guest.exec('0f 0b'); // ud2
  const rsp = STACK - 0x110n - 56n;
  expect(guest.cpu.rip).toBe(HANDLER);
  expect(guest.cpu.rsp).toBe(rsp);
  expect(guest.quads(rsp, 7)).toEqual([0x11n, 0x22n, CODE, 0xe030n, 0x44603n, STACK - 0x104n, FLAT_SS]);
  expect(guest.cpu.rflags).toBe(0x202 | 0x400 | 1); // AC and NT cleared, DF kept
  expect([guest.cpu.selector('cs'), guest.cpu.selector('ss')]).toEqual([FLAT_CS, 0xe02b]);
  // Xen leaves by SYSRET
  expect([guest.get('rcx'), guest.get('r11')]).toEqual([HANDLER, 0x603n]);
  expect(guest.info(1)).toBe(0);
});

test('[D-30] a handler that masks events sets the upcall mask, and the frame shows what it was', () => {
  const guest = new PvGuest();
  guest.handle({ 3: { at: HANDLER, flags: 4 | 3 } });
  guest.setInfo(1, 0);
  guest.exec('cc');
  expect(guest.info(1)).toBe(1);
  expect(guest.u64(guest.cpu.rsp + 16n)).toBe(CODE + 1n);
  expect(guest.u64(guest.cpu.rsp + 24n)).toBe(0xe030n);
  expect(guest.u64(guest.cpu.rsp + 32n) & 0x200n).toBe(0x200n);
  guest.exec('cc');
  // now the mask was set: bit 32 of the CS word, IF clear
  expect(guest.u64(guest.cpu.rsp + 24n)).toBe(0x1_0000_e030n);
  expect(guest.u64(guest.cpu.rsp + 32n) & 0x200n).toBe(0n);
});

test('[D-30] an error code stands between RIP and R11; IOPL shows with architectural_iopl only', () => {
  const guest = new PvGuest();
  guest.handle({ 13: { at: HANDLER } });
  guest.ok(33, 6, guest.put(words(1))); // set_iopl 1
  guest.exec('0f 01 1d 00 00 00 00'); // lidt: #GP(0)
  expect(guest.quads(guest.cpu.rsp, 4)).toEqual([expect.any(BigInt), expect.any(BigInt), 0n, CODE]);
  expect(guest.u64(guest.cpu.rsp + 40n) & 0x3000n).toBe(0n);
  guest.ok(21, 0, 4);
  guest.exec('0f 01 1d 00 00 00 00');
  expect(guest.u64(guest.cpu.rsp + 40n) & 0x3000n).toBe(0x1000n);
});

test('[D-30] [X-06] a stack that cannot take the frame ends the domain in the words of Xen', () => {
  const guest = new PvGuest();
  guest.handle({ 6: { at: HANDLER } });
  guest.cpu.rsp = 0x1000n;
  guest.at('0f 0b');
  expect(guest.stopped()).toEqual({ kind: 'crash', message: expect.stringContaining('create_bounce_frame') });
  expect(guest.log).toContain('(XEN) Pagetable walk from 0000000000000fc8:');
  expect(guest.log.join('\n')).toMatch(/domain_crash_sync called from entry\.S/);
  expect(guest.log).toContain('(XEN) Domain 1 (vcpu#0) crashed on cpu#0:');
  const xens = new PvGuest();
  xens.handle({ 6: { at: HANDLER } });
  xens.cpu.rsp = 0xffff8000_00001000n;
  xens.at('0f 0b');
  expect(xens.stopped().message).toContain('create_bounce_frame_bad_sp');
});

test('[D-31] [X-06] [D-60] a breakpoint without a handler: Unhandled, register dump, crash', () => {
  const guest = new PvGuest();
  guest.set({ rax: 0x1234 });
  guest.at('cc');
  expect(guest.stopped().kind).toBe('crash');
  expect(guest.log[0]).toBe('(XEN) d1v0 Unhandled: vec 3, #BP[ffffffff]');
  expect(guest.log[1]).toMatch(/^\(XEN\) domain_crash_sync called from entry\.S:/);
  expect(guest.log[2]).toBe('(XEN) Domain 1 (vcpu#0) crashed on cpu#0:');
  expect(guest.log).toContain(`(XEN) RIP:    e033:[<${(CODE + 1n).toString(16)}>]`);
  expect(guest.log.find((l) => l.includes('rax:'))).toMatch(
    /^\(XEN\) rax: 0000000000001234 {3}rbx: [0-9a-f]{16} {3}rcx: /,
  );
  expect(guest.log.find((l) => l.includes('CONTEXT'))).toMatch(/EM: 1 {3}CONTEXT: pv guest \(d1v0\)$/);
});

test('[D-31] [A-74] a page fault gives CR2 in vcpu_info and an error code without the user bit', () => {
  const guest = new PvGuest();
  guest.handle({ 14: { at: HANDLER } });
  guest.set({ rbx: 0x12345678 });
  guest.exec('48 89 03'); // mov [rbx], rax
  expect(guest.cpu.rip).toBe(HANDLER);
  expect(guest.u64(guest.cpu.rsp + 16n)).toBe(2n);
  expect(guest.xen.memory.read64(guest.xen.vcpus[0]!.infoAddress + 0x10)).toBe(0x12345678n);
  guest.exec('0f 20 d0'); // mov rax, cr2
  expect(guest.get('rax')).toBe(0x12345678n);
  expect(guest.traps).toEqual([{ kind: 'trap', vcpu: 0, rip: CODE, vector: 14, error: 2, address: 0x12345678n }]);
});

test('[D-31] [X-06] a page fault without a handler shows the walk', () => {
  const guest = new PvGuest();
  guest.set({ rbx: 0x12345678 });
  guest.at('48 8b 03');
  expect(guest.stopped().kind).toBe('crash');
  expect(guest.log[0]).toBe('(XEN) d1v0 Unhandled: vec 14, #PF[0000]');
  expect(guest.log[1]).toBe('(XEN) Pagetable walk from 0000000012345678:');
  expect(guest.log[2]).toMatch(/^\(XEN\) {2}L4\[0x000\] = 0{16} /);
});

test('[D-31] set_trap_table ends at address 0, refuses what is not canonical, and NULL clears it', () => {
  const guest = new PvGuest();
  const entry = (vector: number, at: bigint): Uint8Array => words(vector | (0xe030 << 16), at);
  const list = [...entry(3, HANDLER), ...entry(4, 0n), ...entry(6, HANDLER)];
  guest.ok(0, guest.put(Uint8Array.from(list)));
  expect(guest.xen.vcpus[0]!.traps[3]).toEqual({ flags: 0, cs: 0xe033, address: HANDLER });
  expect(guest.xen.vcpus[0]!.traps[6]!.address).toBe(0n);
  const bad = guest.put(Uint8Array.from([...entry(5, HANDLER), ...entry(6, 0x8000_0000_0000n)]));
  expect(guest.call(0, bad)).toBe(-22);
  expect(guest.xen.vcpus[0]!.traps[5]!.address).toBe(HANDLER);
  expect(guest.call(0, 0x1000)).toBe(-14);
  guest.ok(0, 0);
  expect(guest.xen.vcpus[0]!.traps.every((t) => t.address === 0n)).toBe(true);
});

test('[D-31] [A-24] INT n obeys the privilege of the entry: kernel counts as 1, user as 3', () => {
  const guest = new PvGuest();
  guest.handle({
    13: { at: HANDLER },
    128: { at: HANDLER + 0x10n, flags: 3 },
    129: { at: HANDLER + 0x20n, flags: 1 },
    130: { at: HANDLER + 0x30n },
  });
  guest.makeUserSpace();
  guest.exec('cd 81');
  expect(guest.cpu.rip).toBe(HANDLER + 0x20n);
  expect(guest.u64(guest.cpu.rsp + 16n)).toBe(CODE + 2n);
  guest.exec('cd 82'); // DPL 0
  expect(guest.cpu.rip).toBe(HANDLER);
  expect(guest.quads(guest.cpu.rsp + 16n, 2)).toEqual([BigInt(0x82 * 8 + 2), CODE]);
  guest.enterUser({ code: 'cd 80' });
  guest.step();
  expect(guest.cpu.rip).toBe(HANDLER + 0x10n);
  guest.enterUser({ code: 'cd 81' });
  guest.step();
  expect(guest.cpu.rip).toBe(HANDLER);
  expect(guest.quads(guest.cpu.rsp + 16n, 2)).toEqual([BigInt(0x81 * 8 + 2), USER_CODE]);
});

test('[D-23] [D-30] a fault of user mode enters the kernel on kernel_sp with its own tables and GS', () => {
  const guest = new PvGuest();
  guest.makeUserSpace();
  guest.handle({ 14: { at: HANDLER, flags: 4 } });
  guest.ok(3, 0xe02b, STACK - 0x40n); // stack_switch
  guest.ok(25, 2, 0x5000n); // GS of the kernel
  guest.ok(25, 1, 0x6000n); // GS of the user
  const kernelCr3 = guest.cpu.get('cr3');
  guest.enterUser({ code: '48 8b 03' }); // mov rax, [rbx]
  expect(guest.cpu.get('cr3')).not.toBe(kernelCr3);
  expect(guest.base('gs')).toBe(0x6000n);
  guest.set({ rbx: 0x7777000 });
  guest.step();
  expect(guest.cpu.rip).toBe(HANDLER);
  expect(guest.cpu.get('cr3')).toBe(kernelCr3);
  expect(guest.base('gs')).toBe(0x5000n);
  // aligned down from kernel_sp; RPL 3, user bit in the error code
  const top = STACK - 0x40n;
  expect(guest.cpu.rsp).toBe(top - 64n);
  expect(guest.quads(top - 64n, 8)).toEqual([0xcccn, 0xb11n, 4n, USER_CODE, 0xe033n, 0x202n, USER_STACK, FLAT_SS]);
  expect(guest.info(1)).toBe(1);
});

test('[D-23] user mode sees no kernel mapping, the kernel sees no user one', () => {
  const guest = new PvGuest();
  guest.makeUserSpace();
  guest.handle({ 14: { at: HANDLER } });
  guest.set({ rbx: USER_CODE });
  guest.exec('48 8b 03');
  expect(guest.cpu.rip).toBe(HANDLER);
  guest.enterUser({ code: '48 8b 03' });
  guest.set({ rbx: CODE });
  guest.step();
  expect(guest.cpu.rip).toBe(HANDLER);
  expect(guest.traps.at(-1)).toMatchObject({ vector: 14, error: 4, address: CODE });
});

test('[D-33] iret to user mode loads everything from its frame, IF into the upcall mask', () => {
  const guest = new PvGuest();
  guest.makeUserSpace();
  guest.setInfo(1, 1);
  guest.enterUser({ rflags: 0x202 | 0x3000 | 0x400 | 1, cs: 0xe033, ss: 0xe028 });
  expect(guest.cpu.rip).toBe(USER_CODE);
  expect(guest.cpu.rsp).toBe(USER_STACK);
  expect([guest.get('rax'), guest.get('r11'), guest.get('rcx')]).toEqual([0xaaan, 0xb11n, 0xcccn]);
  expect([guest.cpu.selector('cs'), guest.cpu.selector('ss')]).toEqual([0xe033, 0xe02b]);
  expect(guest.cpu.rflags).toBe(0x202 | 0x400 | 1); // no IOPL
  expect(guest.info(1)).toBe(0);
});

test('[D-33] VGCF_in_syscall leaves by SYSRET: RCX and R11 are RIP and RFLAGS', () => {
  const guest = new PvGuest();
  guest.makeUserSpace();
  guest.enterUser({ flags: 256 });
  expect([guest.get('rcx'), guest.get('r11')]).toEqual([USER_CODE, 0x202n]);
});

test('[D-33] iret with RPL 0 to 2 stays in kernel mode, with IF clear it masks events', () => {
  const guest = new PvGuest();
  const { cpu } = guest;
  const cr3 = cpu.get('cr3');
  guest.setInfo(1, 0);
  guest.iretFrame([1, 2, 3, 0, HANDLER, 0xe030, 0x2, STACK - 8n, 0xe02b]);
  guest.step();
  expect([cpu.rip, cpu.rsp, cpu.get('cr3'), cpu.selector('cs')]).toEqual([HANDLER, STACK - 8n, cr3, 0xe033]);
  expect(guest.info(1)).toBe(1);
  expect(cpu.rflags & 0x200).toBe(0x200);
  expect(guest.xen.vcpus[0]!.kernelMode).toBe(true);
});

test('[D-33] [D-35] an upcall pending when iret unmasks it is the next step', () => {
  const guest = new PvGuest();
  guest.callbacks(HANDLER);
  const port = guest.bindIpi();
  expect(guest.event(4, port).rc).toBe(0);
  expect(guest.info(0)).toBe(1);
  guest.iretFrame([1, 2, 3, 0, CODE, 0xe030, 0x202, STACK, 0xe02b]);
  guest.step();
  expect(guest.cpu.rip).toBe(CODE);
  guest.step();
  expect(guest.cpu.rip).toBe(HANDLER);
  expect(guest.u64(guest.cpu.rsp + 16n)).toBe(CODE);
  expect(guest.upcalls).toBe(1);
});

test('[D-33] iret to user mode without user tables, or with an unreadable frame, ends the domain', () => {
  const guest = new PvGuest();
  guest.iretFrame([1, 2, 3, 0, CODE, 0xe033, 0x202, STACK, 0xe02b]);
  expect(guest.stopped()).toEqual({ kind: 'crash', message: expect.stringContaining('no user page tables') });
  expect(guest.log[0]).toBe('(XEN) d1v0 Guest switching to user mode with no user page tables');
  const other = new PvGuest();
  other.prepare(23);
  other.cpu.rsp = 0x1000n;
  expect(other.stopped().kind).toBe('crash');
  expect(other.log[0]).toBe('(XEN) d1v0 Fault while reading IRET context from guest stack');
});

test('[D-33] a selector that cannot be returned to faults at the place returned to', () => {
  const guest = new PvGuest();
  guest.makeUserSpace();
  guest.handle({ 13: { at: HANDLER } });
  guest.ok(3, 0xe02b, STACK);
  guest.enterUser({ cs: 0x1003 });
  expect(guest.cpu.rip).toBe(HANDLER);
  expect(guest.quads(guest.cpu.rsp + 16n, 3)).toEqual([0x1000n, USER_CODE, 0x1003n]);
});

test('[D-46] SYSCALL of user mode enters the syscall callback, DF cleared, mask by the callback', () => {
  const guest = new PvGuest();
  guest.makeUserSpace();
  guest.callbacks(0n, HANDLER);
  guest.ok(3, 0xe02b, STACK);
  guest.enterUser({ code: '0f 05', rflags: 0x202 | 0x400 });
  guest.set({ rax: 39 });
  guest.step();
  expect(guest.cpu.rip).toBe(HANDLER);
  expect(guest.quads(guest.cpu.rsp, 7)).toEqual([
    USER_CODE + 2n,
    0x602n,
    USER_CODE + 2n,
    0xe033n,
    0x602n,
    USER_STACK,
    FLAT_SS,
  ]);
  expect(guest.cpu.rflags).toBe(0x202);
  expect(guest.get('rax')).toBe(39n);
  expect(guest.info(1)).toBe(0);
  // CALLBACKTYPE_syscall with CALLBACKF_mask_events
  guest.ok(30, 0, guest.put(words(2 | (1 << 16), HANDLER)));
  guest.enterUser({ code: '0f 05' });
  guest.step();
  expect(guest.info(1)).toBe(1);
});

test('[D-46] SYSCALL of user mode without a callback is #UD', () => {
  const guest = new PvGuest();
  guest.makeUserSpace();
  guest.handle({ 6: { at: HANDLER } });
  guest.enterUser({ code: '0f 05' });
  guest.step();
  expect(guest.cpu.rip).toBe(HANDLER);
  expect(guest.u64(guest.cpu.rsp + 16n)).toBe(USER_CODE);
});

/** CS of 32-bit user code. */
const USER_CS32 = 0xe023;

test('[D-46] SYSCALL from compatibility mode enters the syscall32 callback with the 32-bit selector in its frame', () => {
  const guest = new PvGuest();
  guest.makeUserSpace();
  guest.ok(3, 0xe02b, STACK);
  // CALLBACKTYPE_syscall32; the mask is that of the 64-bit callback, which has none
  guest.ok(30, 0, guest.put(words(7 | (1 << 16), HANDLER)));
  guest.enterUser({ code: '0f 05', cs: USER_CS32 });
  expect(guest.cpu.codeMode).toBe(1);
  guest.set({ rax: 20 });
  guest.step();
  expect(guest.cpu.rip).toBe(HANDLER);
  expect([guest.cpu.codeMode, guest.cpu.selector('cs'), guest.get('rax')]).toEqual([2, 0xe033, 20n]);
  expect(guest.quads(guest.cpu.rsp + 16n, 5)).toEqual([USER_CODE + 2n, 0xe023n, 0x202n, USER_STACK, FLAT_SS]);
  expect(guest.info(1)).toBe(0);
});

test('[D-46] SYSCALL from compatibility mode without its callback is #UD, and never a hypercall', () => {
  const guest = new PvGuest();
  guest.makeUserSpace();
  guest.handle({ 6: { at: HANDLER } });
  guest.enterUser({ code: '0f 05', cs: USER_CS32 });
  guest.step();
  expect(guest.cpu.rip).toBe(HANDLER);
  expect(guest.quads(guest.cpu.rsp + 16n, 2)).toEqual([USER_CODE, 0xe023n]);
});

test('[D-46] [E-01] SYSENTER enters its callback with neither RIP nor RSP on an Intel CPU, and is #UD on an AMD one', () => {
  const sysenter = (policy: CpuPolicy, registered: boolean): PvGuest => {
    const guest = new PvGuest({ policy });
    guest.makeUserSpace();
    guest.ok(3, 0xe02b, STACK);
    guest.handle({ 6: { at: HANDLER + 0x100n }, 13: { at: HANDLER + 0x200n } });
    // CALLBACKTYPE_sysenter with CALLBACKF_mask_events
    if (registered) guest.ok(30, 0, guest.put(words(5 | (1 << 16), HANDLER)));
    guest.enterUser({ code: '0f 34', cs: USER_CS32, rflags: 0x602 });
    guest.step();
    return guest;
  };
  const intel = sysenter('x86-64-v1-intel', true);
  expect(intel.cpu.rip).toBe(HANDLER);
  expect(intel.quads(intel.cpu.rsp + 16n, 5)).toEqual([0n, 3n, 0x602n, 0n, FLAT_SS]);
  expect(intel.info(1)).toBe(1);
  const refused = sysenter('x86-64-v1-intel', false);
  expect(refused.cpu.rip).toBe(HANDLER + 0x200n);
  expect(refused.quads(refused.cpu.rsp + 16n, 3)).toEqual([0n, 0n, 3n]);
  expect(sysenter('x86-64-v1', true).cpu.rip).toBe(HANDLER + 0x100n);
});

test('[A-22] set_segment_base: FS and kernel GS at once, user GS at the next return; selectors never fail', () => {
  const guest = new PvGuest();
  guest.makeUserSpace();
  guest.ok(25, 0, 0x1000);
  guest.ok(25, 2, 0x2000);
  guest.ok(25, 1, 0x3000);
  expect([guest.base('fs'), guest.base('gs')]).toEqual([0x1000n, 0x2000n]);
  expect(guest.call(25, 0, 0x8000_0000_0000n)).toBe(-22);
  expect(guest.call(25, 4, 0)).toBe(-22);
  guest.enterUser();
  expect([guest.base('fs'), guest.base('gs')]).toEqual([0x1000n, 0x3000n]);
  const kernel = new PvGuest();
  kernel.ok(25, 1, 0x3000);
  kernel.ok(25, 3, 0x1000); // no such descriptor: the null selector
  expect(kernel.cpu.num('selector', SEG.gs)).toBe(0);
  expect(kernel.cpu.get('kernelGsBase')).toBe(0n);
  kernel.ok(25, 3, 0xe02b);
  expect(kernel.cpu.num('selector', SEG.gs)).toBe(0xe02b);
});

test('[A-19] stack_switch and set_callbacks set what a bounce uses; what is not canonical is refused', () => {
  const guest = new PvGuest();
  guest.ok(3, 0, STACK);
  expect(guest.xen.vcpus[0]).toMatchObject({ kernelSs: 3, kernelSp: STACK });
  expect(guest.call(30, 0, guest.put(words(0, 0x8000_0000_0000n)))).toBe(-22);
  expect(guest.call(30, 0, guest.put(words(3, HANDLER)))).toBe(-38); // sysenter_deprecated
  expect(guest.call(30, 1, guest.put(words(0)))).toBe(-22); // events cannot be unregistered
  expect(guest.call(30, 1, guest.put(words(9)))).toBe(-38);
  expect(guest.call(30, 2, 0)).toBe(-38);
  expect(guest.call(30, 0, 0x1000)).toBe(-14);
});
