import { expect, test } from 'vitest';
import type { CpuPolicy } from '../../../src/x86/form.ts';
import { CODE, HANDLER, HYPERCALL_PAGE, hexBytes, PvGuest, STACK, USER_CODE, words } from '../../support/pv-guest.ts';

const GP = { 13: { at: HANDLER } } as const;

/** A guest with a #GP handler, whose kernel executes `code`; true when the instruction went through. */
function runs(guest: PvGuest, code: string): boolean {
  guest.exec(code);
  const length = BigInt(hexBytes(code).length);
  if (guest.cpu.rip === CODE + length) return true;
  expect(guest.cpu.rip).toBe(HANDLER);
  return false;
}
const setIopl = (guest: PvGuest, iopl: number): void => guest.ok(33, 6, guest.put(words(iopl)));
function rdmsr(guest: PvGuest, index: number): bigint | null {
  guest.set({ rcx: index, rax: 0, rdx: 0 });
  return runs(guest, '0f 32') ? guest.get('rax') | (guest.get('rdx') << 32n) : null;
}
function wrmsr(guest: PvGuest, index: number, value: bigint): boolean {
  guest.set({ rcx: index, rax: value & 0xffffffffn, rdx: value >> 32n });
  return runs(guest, '0f 30');
}
function cpuid(guest: PvGuest, leaf: number, subleaf = 0): number[] {
  guest.set({ rax: leaf, rcx: subleaf });
  guest.exec('0f a2');
  return (['rax', 'rbx', 'rcx', 'rdx'] as const).map((r) => Number(guest.get(r)));
}
const text = (...registers: number[]): string =>
  registers.map((r) => String.fromCharCode(r & 255, (r >>> 8) & 255, (r >>> 16) & 255, r >>> 24)).join('');

test('[D-42] [A-30] CLI and STI fault without IOPL and do nothing with it', () => {
  const guest = new PvGuest();
  guest.handle(GP);
  guest.setInfo(1, 1);
  expect(runs(guest, 'fa')).toBe(false);
  expect(runs(guest, 'fb')).toBe(false);
  setIopl(guest, 1);
  expect(runs(guest, 'fb')).toBe(true);
  expect(guest.info(1)).toBe(1); // STI leaves the upcall mask alone
  expect(runs(guest, 'fa')).toBe(true);
  expect(guest.cpu.rflags & 0x200).toBe(0x200);
  setIopl(guest, 0);
  expect(runs(guest, 'fa')).toBe(false);
  // with architectural_iopl the kernel is ring 0
  guest.ok(21, 0, 4);
  expect(runs(guest, 'fa')).toBe(true);
});

test('[D-42] PUSHF shows IF set, POPF cannot change it or IOPL', () => {
  const guest = new PvGuest();
  guest.exec('9c');
  expect(guest.u64(guest.cpu.rsp) & 0x3200n).toBe(0x200n);
  guest.write(guest.cpu.rsp, words(0x3000 | 1));
  guest.exec('9d');
  expect(guest.cpu.rflags & 0x3201).toBe(0x201);
});

test('[D-42] ports: #GP without IOPL; with it reads give all ones and writes vanish', () => {
  const guest = new PvGuest();
  guest.handle(GP);
  for (const code of ['e4 60', 'e6 60', 'ec', 'ee', 'ed', 'ef', '6c', '6e'])
    expect(runs(guest, code), code).toBe(false);
  setIopl(guest, 1);
  guest.set({ rax: 0x1111_2222_3333_4444n, rdx: 0x3f8 });
  expect(runs(guest, 'ec')).toBe(true);
  expect(guest.get('rax')).toBe(0x1111_2222_3333_44ffn);
  expect(runs(guest, '66 ed')).toBe(true);
  expect(guest.get('rax')).toBe(0x1111_2222_3333_ffffn);
  expect(runs(guest, 'ed')).toBe(true);
  expect(guest.get('rax')).toBe(0xffff_ffffn);
  for (const code of ['e6 60', 'ee', 'ef', '66 ef']) expect(runs(guest, code), code).toBe(true);
});

test('[D-42] REP INSB and OUTSB go one iteration a step', () => {
  const guest = new PvGuest();
  guest.handle(GP);
  setIopl(guest, 1);
  const buffer = guest.page(9);
  guest.write(buffer, new Uint8Array(8));
  guest.set({ rdi: buffer, rcx: 3, rdx: 0x1f0 });
  guest.at('f3 6c');
  guest.step(2);
  expect([guest.get('rcx'), guest.get('rdi'), guest.cpu.rip]).toEqual([1n, buffer + 2n, CODE]);
  guest.step();
  expect([guest.get('rcx'), guest.cpu.rip]).toEqual([0n, CODE + 2n]);
  expect(guest.u64(buffer)).toBe(0xffffffn);
  guest.set({ rsi: buffer, rcx: 2 });
  guest.at('f3 6e');
  guest.step(2);
  expect([guest.get('rcx'), guest.get('rsi'), guest.cpu.rip]).toEqual([0n, buffer + 2n, CODE + 2n]);
});

test('[D-42] the I/O bitmap lets user mode at a port', () => {
  const guest = new PvGuest();
  guest.makeUserSpace();
  guest.handle(GP);
  guest.ok(3, 0xe02b, STACK);
  const bitmap = guest.page(9);
  guest.write(bitmap, new Uint8Array(0x100).fill(0xff));
  guest.write(bitmap + (0x378n >> 3n), Uint8Array.of(0xfe));
  guest.ok(33, 7, guest.put(words(bitmap, 0x400)));
  expect(guest.call(33, 7, guest.put(words(bitmap, 65537)))).toBe(-22);
  guest.enterUser({ code: 'ec' });
  guest.set({ rax: 0, rdx: 0x378 });
  guest.step();
  expect([guest.get('rax'), guest.cpu.rip]).toEqual([0xffn, USER_CODE + 1n]);
  guest.cpu.rip = USER_CODE;
  guest.set({ rdx: 0x379 });
  guest.step();
  expect(guest.cpu.rip).toBe(HANDLER);
});

test('[D-42] [A-13] CR0: only TS is the guest’s', () => {
  const guest = new PvGuest();
  guest.handle({ ...GP, 7: { at: HANDLER + 0x40n } });
  guest.exec('0f 20 c0'); // mov rax, cr0
  expect(guest.get('rax')).toBe(0x8005_0033n); // PE MP ET NE WP AM PG
  guest.set({ rax: guest.get('rax') | 8n });
  expect(runs(guest, '0f 22 c0')).toBe(true);
  guest.exec('0f 20 c0');
  expect(guest.get('rax')).toBe(0x8005_003bn);
  guest.exec('0f 57 c0'); // xorps: #NM, and TS is gone
  expect(guest.cpu.rip).toBe(HANDLER + 0x40n);
  expect(runs(guest, '0f 57 c0')).toBe(true);
  guest.set({ rax: 0x8005_0032n });
  expect(runs(guest, '0f 22 c0')).toBe(false);
  expect(guest.log.at(-1)).toMatch(/d1v0 Attempt to change unmodifiable CR0 flags$/);
});

test('[D-42] [A-52] fpu_taskswitch and CLTS move TS, and #NM clears it', () => {
  const guest = new PvGuest();
  guest.handle({ 7: { at: HANDLER } });
  guest.ok(5, 1);
  guest.exec('0f 06'); // clts
  guest.exec('0f 57 c0');
  expect(guest.cpu.rip).toBe(CODE + 3n);
  guest.ok(5, 1);
  guest.exec('d9 e8'); // fld1
  expect(guest.cpu.rip).toBe(HANDLER);
  guest.ok(5, 1);
  guest.ok(5, 0);
  guest.exec('d9 e8');
  expect(guest.cpu.rip).toBe(CODE + 2n);
});

test('[D-42] [A-09] [A-18] CR4 reads as Xen’s with the guest’s TSD; other bits do not stick and do not fault', () => {
  const guest = new PvGuest();
  guest.handle(GP);
  guest.exec('0f 20 e0');
  expect(guest.get('rax')).toBe(0x660n); // PAE MCE OSFXSR OSXMMEXCPT
  for (const [written, read] of [
    [0x20n, 0x660n],
    [0x600n, 0x660n],
    [0x40008n, 0x660n], // OSXSAVE and DE are not offered
    [0x664n, 0x664n],
  ] as const) {
    guest.set({ rax: written });
    expect(runs(guest, '0f 22 e0')).toBe(true);
    guest.exec('0f 20 e0');
    expect(guest.get('rax')).toBe(read);
  }
});

test('[A-10] [A-11] without XSAVE in the policy OSXSAVE stays clear and XSETBV is no instruction', () => {
  const guest = new PvGuest();
  guest.handle({ 6: { at: HANDLER } });
  expect(cpuid(guest, 1)[2]! & (3 << 26)).toBe(0);
  guest.set({ rax: 0x40600 });
  guest.exec('0f 22 e0');
  expect(cpuid(guest, 1)[2]! & (3 << 26)).toBe(0);
  guest.set({ rax: 0, rcx: 0, rdx: 0 });
  guest.exec('0f 01 d1');
  expect(guest.cpu.rip).toBe(HANDLER);
});

test('[D-42] CR2, CR3 and CR8', () => {
  const guest = new PvGuest();
  guest.handle(GP);
  guest.set({ rax: 0x1234 });
  expect(runs(guest, '0f 22 d0')).toBe(true);
  guest.exec('0f 20 d3');
  expect(guest.get('rbx')).toBe(0x1234n);
  guest.exec('0f 20 d8');
  const cr3 = guest.get('rax');
  expect(cr3).toBe(BigInt(guest.xen.vcpus[0]!.kernelTable) << 12n);
  expect(runs(guest, '0f 22 d8')).toBe(true); // the same root again
  guest.set({ rax: BigInt(guest.mfn(guest.page(3))) << 12n });
  expect(runs(guest, '0f 22 d8')).toBe(false); // a page mapped writable
  guest.set({ rax: cr3 });
  expect(runs(guest, '44 0f 20 c0')).toBe(false); // cr8
});

test('[D-42] [A-77] WBINVD does nothing; what a PV guest may not do is #GP', () => {
  const guest = new PvGuest();
  guest.handle(GP);
  expect(runs(guest, '0f 09')).toBe(true);
  for (const code of [
    '0f 08', // invd
    'f4', // hlt
    '0f 01 10', // lgdt [rax]
    '0f 01 18', // lidt
    '0f 00 d0', // lldt ax
    '0f 00 d8', // ltr ax
    '0f 01 38', // invlpg
    '0f 01 f0', // lmsw ax
    '0f 01 f8', // swapgs
    '48 0f 07', // sysretq
  ])
    expect(runs(guest, code), code).toBe(false);
});

test('[D-42] debug registers by MOV: addresses of Xen are #GP, DR4 is another name of DR6', () => {
  const guest = new PvGuest();
  guest.handle(GP);
  guest.set({ rax: 0x1000 });
  expect(runs(guest, '0f 23 c0')).toBe(true);
  guest.exec('0f 21 c3');
  expect(guest.get('rbx')).toBe(0x1000n);
  guest.set({ rax: 0xffff_8000_0000_1000n });
  expect(runs(guest, '0f 23 c0')).toBe(false);
  guest.exec('0f 21 e3'); // mov rbx, dr4
  expect(guest.get('rbx')).toBe(0xffff_0ff0n);
  guest.exec('0f 21 fb'); // mov rbx, dr7
  expect(guest.get('rbx')).toBe(0x400n);
});

test('[D-42] set_debugreg and get_debugreg check and correct', () => {
  const guest = new PvGuest();
  guest.ok(8, 0, 0x1234);
  expect(guest.call(9, 0)).toBe(0x1234);
  expect(guest.call(8, 3, 0xffff_8000_0000_0000n)).toBe(-1);
  guest.ok(8, 6, 0x100f);
  expect(guest.call(9, 6)).toBe(0xffff_0fff);
  expect(guest.call(9, 4)).toBe(0xffff_0fff);
  guest.ok(8, 7, 0xd801);
  expect(guest.call(9, 7)).toBe(0x401);
  expect(guest.call(8, 7, 0x2000)).toBe(-1); // GD
  expect(guest.call(8, 7, 0x2_0002)).toBe(-1); // I/O breakpoint without CR4.DE
  expect(guest.call(8, 7, 1n << 32n)).toBe(-22);
  expect(guest.call(8, 8, 0)).toBe(-19);
  expect(guest.call(9, 8)).toBe(-19);
});

test('[D-42] a single step shows BS in the DR6 the guest reads', () => {
  const guest = new PvGuest();
  guest.handle({ 1: { at: HANDLER } });
  guest.at('90 90');
  guest.cpu.rflags = 0x302;
  guest.step(2);
  expect(guest.cpu.rip).toBe(HANDLER);
  expect(guest.quads(guest.cpu.rsp + 16n, 3)).toEqual([CODE + 1n, 0x1_0000_e030n, 0x102n]);
  expect(guest.call(9, 6)).toBe(0xffff_4ff0);
});

test('[D-41] [E-01] CPUID and the forced prefix give the same policy', () => {
  const guest = new PvGuest();
  const leaves = [0, 1, 2, 4, 7, 0xd, 0x40000000, 0x40000001, 0x40000002, 0x80000000, 0x80000001, 0x80000008];
  for (const leaf of leaves) {
    const native = cpuid(guest, leaf);
    guest.set({ rax: leaf, rcx: 0 });
    guest.exec('0f 0b 78 65 6e 0f a2');
    expect(guest.cpu.rip).toBe(CODE + 7n);
    expect((['rax', 'rbx', 'rcx', 'rdx'] as const).map((r) => Number(guest.get(r)))).toEqual(native);
  }
  const [max, b, c, d] = cpuid(guest, 0x40000000) as [number, number, number, number];
  expect(max).toBeGreaterThanOrEqual(0x40000002);
  expect(text(b, c, d)).toBe('XenVMMXenVMM');
  expect(cpuid(guest, 0x40000001)[0]).toBe(0x4_0011);
  // FPU TSC MSR PAE CX8 CMOV PAT CLFSH MMX FXSR SSE SSE2, and no PSE PGE MTRR MCE; HYPERVISOR, and nothing past SSE2
  const [, , ecx, edx] = cpuid(guest, 1) as [number, number, number, number];
  expect(edx & 0x0789_8171).toBe(0x0789_8171 & ~0);
  expect(edx & ((1 << 3) | (1 << 7) | (1 << 12) | (1 << 13))).toBe(0);
  expect(ecx >>> 0).toBe(0x8000_0000);
  expect(cpuid(guest, 0x80000001)[3]! & 0x2010_0800).toBe(0x2010_0800); // SYSCALL NX LM
  expect(cpuid(guest, 7)).toEqual([0, 0, 0, 0]);
});

test('[E-01] x86-64-v2: CPUID shows its features, and the guest has them; under x86-64-v1 they raise #UD', () => {
  const guest = new PvGuest({ policy: 'x86-64-v2' });
  // SSE3 SSSE3 CX16 SSE4.1 SSE4.2 POPCNT HYPERVISOR; no MONITOR, MOVBE, AES, XSAVE, AVX
  expect(cpuid(guest, 1)[2]! >>> 0).toBe(0x8098_2201);
  expect(cpuid(guest, 0x80000001)[2]).toBe(1); // LAHF
  expect(cpuid(guest, 7)).toEqual([0, 0, 0, 0]);
  guest.set({ rax: 0, rcx: 0xf0f0 });
  guest.exec('f3 48 0f b8 c1');
  expect(guest.get('rax')).toBe(8n);
  const older = new PvGuest();
  older.handle({ 6: { at: HANDLER } });
  for (const code of ['f3 48 0f b8 c1', '66 0f 38 00 c1', '66 0f 3a 0f c1 01', '9f', 'db 08', 'f2 0f 38 f1 c1']) {
    older.exec(code);
    expect(older.cpu.rip, code).toBe(HANDLER);
  }
});

test('[D-41] UD2 with anything else behind it is the guest’s', () => {
  const guest = new PvGuest();
  guest.handle({ 6: { at: HANDLER } });
  for (const code of ['0f 0b 78 65 6e 0f 0b', '0f 0b 78 65 6d 0f a2', '0f 0b']) {
    guest.exec(code);
    expect(guest.cpu.rip, code).toBe(HANDLER);
  }
});

test('[D-43] [A-23] EFER shows SCE LME LMA NXE and takes its own value only', () => {
  const guest = new PvGuest();
  guest.handle(GP);
  expect(rdmsr(guest, 0xc0000080)).toBe(0xd01n);
  expect(wrmsr(guest, 0xc0000080, 0xd01n)).toBe(true);
  expect(wrmsr(guest, 0xc0000080, 0x501n)).toBe(false);
});

test('[D-43] segment bases by MSR', () => {
  const guest = new PvGuest();
  guest.handle(GP);
  for (const [index, value] of [
    [0xc0000100, 0x1111n],
    [0xc0000101, 0xffff_8880_0000_2222n],
    [0xc0000102, 0x3333n],
  ] as const) {
    expect(wrmsr(guest, index, value)).toBe(true);
    expect(rdmsr(guest, index)).toBe(value);
    expect(wrmsr(guest, index, 0x8000_0000_0000n)).toBe(false);
  }
  expect([guest.base('fs'), guest.base('gs')]).toEqual([0x1111n, 0xffff_8880_0000_2222n]);
});

test('[D-43] fixed registers: APIC_BASE, PAT, MISC_ENABLE, those of an AMD machine', () => {
  const guest = new PvGuest();
  guest.handle(GP);
  expect(rdmsr(guest, 0x1b)).toBe(0xfee0_0900n);
  expect(rdmsr(guest, 0x277)).toBe(0x0000_0501_0007_0406n);
  expect(wrmsr(guest, 0x277, 0x0000_0501_0007_0406n)).toBe(false);
  expect(wrmsr(guest, 0x1a0, 0n)).toBe(true); // dropped
  expect(rdmsr(guest, 0xc001_1029)).toBe(2n); // DE_CFG: LFENCE serialises
  expect(rdmsr(guest, 0xc001_0015)).toBe(0n); // HWCR
  expect(wrmsr(guest, 0xc001_0063, 1n)).toBe(true); // P-state
  expect(rdmsr(guest, 0x8b)).not.toBeNull();
});

test('[D-43] an unknown register is #GP; before there is a handler, a read of one the host has gives 0', () => {
  const early = new PvGuest();
  expect(rdmsr(early, 0x198)).toBe(0n);
  early.set({ rcx: 0x4000_0100 });
  early.at('0f 32');
  expect(early.stopped().kind).toBe('crash');
  const guest = new PvGuest();
  guest.handle(GP);
  expect(rdmsr(guest, 0x198)).toBeNull();
  expect(rdmsr(guest, 0xc001_0111)).toBeNull();
  expect(wrmsr(guest, 0x198, 0n)).toBe(false);
});

// vmce.c: P5_MC_ADDR and TYPE read 0, MCG_CAP tells two banks, MCG_STATUS keeps what is written, MCi_CTL is all ones
test('[D-43] machine-check registers: addresses 0 and 1 read 0, two banks, refused where bits of a bank would be set', () => {
  const guest = new PvGuest();
  guest.handle(GP);
  expect([0, 1, 0x179, 0x17a, 0x17b].map((index) => rdmsr(guest, index))).toEqual([0n, 0n, 2n, 0n, 0n]);
  expect(wrmsr(guest, 0x17a, 5n)).toBe(true);
  expect(rdmsr(guest, 0x17a)).toBe(5n);
  expect([0x400, 0x401, 0x404, 0x407, 0x408, 0x47f].map((index) => rdmsr(guest, index))).toEqual([
    0xffff_ffff_ffff_ffffn,
    0n,
    0xffff_ffff_ffff_ffffn,
    0n,
    0n,
    0n,
  ]);
  expect([wrmsr(guest, 0x401, 0n), wrmsr(guest, 0x401, 1n), wrmsr(guest, 0x409, 1n)]).toEqual([true, false, true]);
  expect(rdmsr(new PvGuest({ policy: 'x86-64-v1-intel' }), 0x179)).toBe(0x100_0002n);
});

test('[D-43] registers of one vendor: P-states and DE_CFG of AMD, FEATURE_CONTROL and PERF_CTL of Intel', () => {
  const answers = (policy: CpuPolicy): (bigint | null)[] => {
    const guest = new PvGuest({ policy });
    guest.handle(GP);
    return [0xc001_1029, 0xc001_0015, 0xc001_0063, 0x3a, 0x199, 0xc1].map((index) => rdmsr(guest, index));
  };
  expect(answers('x86-64-v1')).toEqual([2n, 0n, 0n, null, null, null]);
  expect(answers('x86-64-v1-intel')).toEqual([null, null, null, 1n, 0n, 0n]);
});

test('[D-02] [D-43] MSR 0x40000000 reads 0 and fills a page of the domain with the stubs', () => {
  const guest = new PvGuest();
  guest.handle(GP);
  const page = guest.page(9);
  expect(rdmsr(guest, 0x4000_0000)).toBe(0n);
  expect(wrmsr(guest, 0x4000_0000, BigInt(guest.mfn(page)) << 12n)).toBe(true);
  expect(guest.quads(page, 512)).toEqual(guest.quads(HYPERCALL_PAGE, 512));
  // another index, a frame that is none, a page table
  expect(wrmsr(guest, 0x4000_0000, (BigInt(guest.mfn(page)) << 12n) | 1n)).toBe(false);
  expect(wrmsr(guest, 0x4000_0000, 0xffff_ffff_f000n)).toBe(false);
  expect(wrmsr(guest, 0x4000_0000, BigInt(guest.xen.vcpus[0]!.kernelTable) << 12n)).toBe(false);
  expect(guest.log.some((line) => line.includes('wrmsr hypercall page index 0x1 unsupported'))).toBe(true);
});

test('[A-12] FXSAVE to an address that is not 16-aligned is #GP(0), and an aligned one stores MXCSR_MASK', () => {
  const guest = new PvGuest();
  guest.handle(GP);
  guest.set({ rax: guest.page(9) + 8n });
  expect(runs(guest, '0f ae 00')).toBe(false);
  expect(guest.u64(guest.cpu.rsp + 16n)).toBe(0n);
  guest.set({ rax: guest.page(9) });
  expect(runs(guest, '0f ae 00')).toBe(true);
  expect(guest.u32(guest.page(9) + 28n) & 0xffbf).toBe(0xffbf);
});

test('[A-27] a far return to the kernel’s flat code goes on there', () => {
  const guest = new PvGuest();
  guest.cpu.rsp = STACK - 0x20n;
  guest.write(guest.cpu.rsp, words(HANDLER, 0xe033));
  guest.exec('48 cb'); // lretq
  expect([guest.cpu.rip, guest.cpu.rsp]).toEqual([HANDLER, STACK - 0x10n]);
});
