/** Privilege checks, flags, control registers, MSRs, ports: SDM vol. 2 operation sections. */
import { expect, test } from 'vitest';
import { cpuidLeaf } from '../../../src/platform/idt/cpuid.ts';
import { IdtMachine } from '../../../src/platform/idt/machine.ts';
import { enumerateForms } from '../../../src/x86/decode/enumerate.ts';
import { fault } from '../../../src/x86/seam.ts';
import { FLAG, GPR, SEG, VECTOR } from '../../../src/x86/state.ts';
import { SYSTEM } from '../../../src/x86/system/execute.ts';
import { Bench, CODE_AT, gp, SELECTOR, TSS_AT } from './bench.ts';

test('every form marked system has an implementation, and every implementation a form', () => {
  const names = new Set<string>();
  for (const mode of [0, 1, 2] as const)
    for (const form of enumerateForms(mode, 'x86-64-v2').keys()) if (form.system) names.add(form.name);
  expect([...names].sort()).toEqual(Object.keys(SYSTEM).sort());
});

const PRIVILEGED: Record<string, string> = {
  hlt: 'f4',
  clts: '0f 06',
  'mov cr0': '0f 22 c0',
  'mov from cr3': '0f 20 d8',
  'mov dr7': '0f 23 f8',
  lgdt: '0f 01 10',
  lidt: '0f 01 18',
  lldt: '0f 00 d0',
  ltr: '0f 00 d8',
  lmsw: '0f 01 f0',
  invlpg: '0f 01 38',
  wbinvd: '0f 09',
  rdmsr: '0f 32',
  wrmsr: '0f 30',
  swapgs: '0f 01 f8',
  sysret: '48 0f 07',
  cli: 'fa',
  sti: 'fb',
  'in al, dx': 'ec',
  'out dx, al': 'ee',
};
for (const [name, hex] of Object.entries(PRIVILEGED)) {
  test(`${name} at CPL 3 raises #GP(0) and leaves rip`, () => {
    const b = new Bench();
    b.enterUser();
    expect(b.run(hex)).toEqual(gp());
    expect(b.cpu.rip).toBe(BigInt(CODE_AT));
  });
}

test('UD2 raises #UD', () => {
  expect(new Bench().run('0f 0b')).toEqual(fault(VECTOR.ud));
});

test('STI sets IF and a shadow only when IF was clear', () => {
  const b = new Bench();
  expect(b.run('fb')).toBeNull();
  expect([b.cpu.rflags & FLAG.if, b.cpu.num('interruptShadow')]).toEqual([FLAG.if, 1]);
  b.cpu.set('interruptShadow', 0);
  b.run('fb');
  expect(b.cpu.num('interruptShadow')).toBe(0);
  expect(b.machine.canInterrupt(b.cpu)).toBe(true);
});

test('IOPL 3 lets CPL 3 use CLI and ports', () => {
  const b = new Bench();
  b.enterUser();
  b.cpu.rflags |= FLAG.iopl | FLAG.if;
  expect(b.run('fa')).toBeNull();
  expect(b.cpu.rflags & FLAG.if).toBe(0);
  expect(b.run('ee', { rdx: 0xe9n, rax: 0x41n })).toBeNull();
  expect(b.output).toBe('A');
});

test('the I/O bitmap of the TSS permits single ports', () => {
  const b = new Bench();
  b.enterUser();
  b.cpu.set('segmentLimit', 0x68 + 0x2000, SEG.tr);
  b.memory.poke(TSS_AT + 0x66, 2, 0x68n);
  b.memory.bytes.fill(0xff, TSS_AT + 0x68, TSS_AT + 0x68 + 0x2001);
  expect(b.run('ee', { rdx: 0xe9n, rax: 0x42n })).toEqual(gp());
  b.memory.bytes[TSS_AT + 0x68 + (0xe9 >> 3)] = 0xff & ~(1 << (0xe9 & 7));
  expect(b.run('ee', { rdx: 0xe9n, rax: 0x42n })).toBeNull();
  // a word access needs both bits
  expect(b.run('66 ef', { rdx: 0xe9n })).toEqual(gp());
});

test('POPF keeps what privilege forbids', () => {
  const b = new Bench();
  const all = BigInt(FLAG.if | FLAG.iopl | FLAG.nt | FLAG.ac | FLAG.id | FLAG.df | FLAG.vm | FLAG.cf | FLAG.rf);
  b.memory.poke(Number(b.cpu.rsp), 8, all);
  b.run('9d');
  expect(b.cpu.rflags).toBe(FLAG.if | FLAG.iopl | FLAG.nt | FLAG.ac | FLAG.id | FLAG.df | FLAG.cf | 2);
  const user = new Bench();
  user.enterUser();
  user.memory.poke(Number(user.cpu.rsp), 8, all);
  user.run('9d');
  expect(user.cpu.rflags).toBe(FLAG.nt | FLAG.ac | FLAG.id | FLAG.df | FLAG.cf | 2);
  expect(user.cpu.rip).toBe(BigInt(CODE_AT + 1));
});

test('16-bit POPF leaves the upper flags', () => {
  const b = new Bench();
  b.cpu.rflags = FLAG.ac | FLAG.id | 2;
  b.memory.poke(Number(b.cpu.rsp), 2, BigInt(FLAG.zf));
  b.run('66 9d');
  expect(b.cpu.rflags).toBe(FLAG.ac | FLAG.id | FLAG.zf | 2);
});

test('MOV CR0 refuses PG without PE, NW without CD and leaving paging in 64-bit mode', () => {
  const b = new Bench();
  expect(b.run('0f 22 c0', { rax: 0x80000010n })).toEqual(gp());
  expect(b.run('0f 22 c0', { rax: 0xa0000011n })).toEqual(gp());
  expect(b.run('0f 22 c0', { rax: 0x11n })).toEqual(gp());
  expect(b.run('0f 22 c0', { rax: 0x180000011n })).toEqual(gp());
  expect(b.run('0f 22 c0', { rax: 0x80010031n })).toBeNull();
  expect(b.cpu.num('cr0')).toBe(0x80010031);
});

test('long mode becomes active with PG when LME and PAE are set', () => {
  const b = new Bench(false);
  b.cpu.set('cr0', 0x11);
  b.cpu.set('efer', 0x100);
  b.cpu.set('cr4', 0);
  expect(b.run('0f 22 c0', { rax: 0x80000011n })).toEqual(gp());
  b.cpu.set('cr4', 0x20);
  expect(b.run('0f 22 c0', { rax: 0x80000011n })).toBeNull();
  expect(b.cpu.num('efer')).toBe(0x500);
});

test('MOV CR4 refuses reserved bits and clearing PAE in long mode', () => {
  const b = new Bench();
  expect(b.run('0f 22 e0', { rax: 0x40020n })).toEqual(gp()); // OSXSAVE
  expect(b.run('0f 22 e0', { rax: 0n })).toEqual(gp());
  expect(b.run('0f 22 e0', { rax: 0x6a0n })).toBeNull();
  expect(b.cpu.num('cr4')).toBe(0x6a0);
});

test('LMSW cannot clear PE; SMSW and CLTS', () => {
  const b = new Bench();
  b.run('0f 01 f0', { rax: 0x8n });
  expect(b.cpu.num('cr0')).toBe(0x80000019);
  b.run('0f 01 e0'); // smsw eax
  expect(b.cpu.gpr(0)).toBe(0x80000019n);
  b.run('0f 06');
  expect(b.cpu.num('cr0')).toBe(0x80000011);
});

test('debug registers: fixed bits, DR4 alias, GD', () => {
  const b = new Bench();
  b.run('0f 23 f0', { rax: 0n }); // dr6
  b.run('0f 21 f0');
  expect(b.cpu.gpr(0)).toBe(0xffff0ff0n);
  b.run('0f 21 e0'); // dr4 is dr6
  expect(b.cpu.gpr(0)).toBe(0xffff0ff0n);
  b.cpu.set('cr4', 0x28);
  expect(b.run('0f 21 e0')).toEqual(fault(VECTOR.ud));
  b.run('0f 23 f8', { rax: 0x2000n });
  expect(b.run('0f 21 f0')).toEqual(fault(VECTOR.db));
  expect(b.cpu.get('dr', 6) & 0x2000n).toBe(0x2000n);
  expect(b.cpu.get('dr', 7)).toBe(0x400n);
});

test('RDTSC obeys CR4.TSD', () => {
  const b = new Bench();
  b.cpu.set('steps', 0x1_2345_6789n);
  b.cpu.set('cr4', 0x24);
  expect(b.run('0f 31')).toBeNull();
  expect([b.cpu.gpr(0), b.cpu.gpr(2)]).toEqual([0x23456789n, 1n]);
  b.enterUser();
  expect(b.run('0f 31')).toEqual(gp());
});

test('[E-01] CPUID shows x86-64-v1 and nothing newer', () => {
  const b = new Bench();
  b.run('0f a2', { rax: 1n, rcx: 0n });
  const edx = Number(b.cpu.gpr(2));
  for (const bit of [0, 4, 5, 6, 8, 15, 16, 19, 23, 24, 25, 26]) expect(edx & (1 << bit), `bit ${bit}`).not.toBe(0);
  expect(b.cpu.gpr(1)).toBe(0n);
  b.run('0f a2', { rax: 0x80000001n });
  expect(Number(b.cpu.gpr(2))).toBe((1 << 11) | (1 << 20) | (1 << 29));
  b.run('0f a2', { rax: 0n });
  const text = [3, 2, 1].map((n) =>
    Array.from({ length: 4 }, (_, i) => Number((b.cpu.gpr(n) >> BigInt(i * 8)) & 0xffn)),
  );
  expect(String.fromCharCode(...text.flat())).toBe('AuthenticAMD');
  const intel = cpuidLeaf('x86-64-v1-intel', 0);
  expect(intel.slice(1)).toEqual([0x756e6547, 0x6c65746e, 0x49656e69]);
});

test('[E-01] CPUID of the IDT machine under x86-64-v2', () => {
  const machine = new IdtMachine(() => {}, 'x86-64-v2');
  const { cpu } = new Bench();
  expect(machine.cpuid(cpu, 1, 0)[2]).toBe(0x0098_2201);
  expect(machine.cpuid(cpu, 0x80000001, 0)[2]).toBe(1);
});

test('MSRs: EFER rules, canonical bases, unknown registers', () => {
  const b = new Bench();
  const write = (index: bigint, value: bigint): unknown =>
    b.run('0f 30', { rcx: index, rax: value & 0xffffffffn, rdx: value >> 32n });
  expect(write(0xc0000080n, 0x901n)).toBeNull();
  b.run('0f 32', { rcx: 0xc0000080n });
  expect(b.cpu.gpr(0)).toBe(0xd01n); // LMA cannot be written
  expect(write(0xc0000080n, 0x801n)).toEqual(gp()); // LME with paging on
  expect(write(0xc0000100n, 0x8000_0000_0000n)).toEqual(gp());
  expect(write(0xc0000100n, 0xffff_8000_0000_0000n)).toBeNull();
  expect(b.cpu.get('segmentBase', SEG.fs)).toBe(0xffff_8000_0000_0000n);
  expect(write(0x277n, 0x0007040600070406n)).toBeNull();
  expect(write(0x277n, 0x0007040600070402n)).toEqual(gp());
  expect(b.run('0f 32', { rcx: 0x1234n })).toEqual(gp());
});

test('COM1 takes output and reports an idle transmitter; isa-debug-exit ends the run', () => {
  const b = new Bench();
  b.run('ee', { rdx: 0x3f8n, rax: 0x48n });
  b.run('ec', { rdx: 0x3fdn, rax: 0n });
  expect([b.output, b.cpu.gpr(0)]).toEqual(['H', 0x60n]);
  b.run('ed', { rdx: 0x80n, rax: 0n });
  expect(b.cpu.gpr(0)).toBe(0xffffffffn);
  expect(b.run('ee', { rdx: 0xf4n, rax: 0x10n })).toEqual({
    stop: true,
    verdict: { kind: 'poweroff', message: 'exit status 33' },
  });
});

test('REP OUTSB goes one element at a time', () => {
  const b = new Bench();
  b.memory.bytes.set([0x6f, 0x6b], 0x8000);
  b.run('f3 6e', { rcx: 2n, rsi: 0x8000n, rdx: 0xe9n });
  expect([b.cpu.rip, b.cpu.gpr(1), b.cpu.gpr(6)]).toEqual([BigInt(CODE_AT), 1n, 0x8001n]);
  b.run('f3 6e');
  expect([b.cpu.rip, b.output]).toEqual([BigInt(CODE_AT + 2), 'ok']);
  b.cpu.rflags |= FLAG.df;
  b.run('6c', { rdi: 0x8000n, rdx: 0x80n });
  expect([b.memory.bytes[0x8000], b.cpu.gpr(7)]).toEqual([0xff, 0x7fffn]);
});

test('SWAPGS, SYSCALL, SYSRET', () => {
  const b = new Bench();
  b.cpu.set('kernelGsBase', 0x1234n);
  b.cpu.set('segmentBase', 0x5678n, SEG.gs);
  b.run('0f 01 f8');
  expect([b.cpu.get('segmentBase', SEG.gs), b.cpu.get('kernelGsBase')]).toEqual([0x1234n, 0x5678n]);
  b.cpu.set('star', (0x1bn << 48n) | (0x08n << 32n));
  b.cpu.set('lstar', 0xffff_8000_0000_1000n);
  b.cpu.set('sfmask', 0x200n);
  b.enterUser();
  b.cpu.rip = BigInt(CODE_AT);
  b.cpu.rflags = FLAG.if | FLAG.cf | 2;
  expect(b.run('0f 05')).toBeNull();
  expect([b.cpu.rip, b.cpu.gpr(1), b.cpu.gpr(11), b.cpu.cpl]).toEqual([
    0xffff_8000_0000_1000n,
    BigInt(CODE_AT + 2),
    0x203n,
    0,
  ]);
  expect([b.cpu.rflags, b.cpu.selector('cs'), b.cpu.selector('ss')]).toEqual([FLAG.cf | 2, 8, 0x10]);
  expect(b.run('48 0f 07')).toBeNull();
  expect([b.cpu.rip, b.cpu.cpl, b.cpu.rflags]).toEqual([BigInt(CODE_AT + 2), 3, 0x203]);
  expect([b.cpu.selector('cs'), b.cpu.selector('ss'), b.cpu.num('codeMode')]).toEqual([0x2b, 0x23, 2]);
});

test('SYSENTER and SYSEXIT are none in long mode of an AMD CPU, and are in its legacy mode', () => {
  const long = new Bench();
  long.cpu.set('sysenterCs', 8);
  expect(long.run('0f 34')).toEqual(fault(VECTOR.ud));
  expect(long.run('0f 35')).toEqual(fault(VECTOR.ud));
  const legacy = new Bench(false);
  legacy.cpu.set('sysenterCs', 8);
  legacy.cpu.set('sysenterEip', 0x5000n);
  legacy.cpu.set('sysenterEsp', 0x6000n);
  expect(legacy.run('0f 34')).toBeNull();
  expect([legacy.cpu.rip, legacy.cpu.rsp, legacy.cpu.num('codeMode')]).toEqual([0x5000n, 0x6000n, 1]);
});

test('SYSCALL and SYSRET of an AMD CPU in legacy mode: EIP from STAR, ECX, no flags saved', () => {
  const b = new Bench(false);
  b.enterUser();
  b.cpu.set('efer', 1);
  b.cpu.set('star', (0x18n << 48n) | (0x8n << 32n) | 0x5000n);
  b.cpu.rflags = 0x202;
  const from = b.cpu.rip;
  b.cpu.setGpr(GPR.r11, 0x77n);
  expect(b.run('0f 05')).toBeNull();
  expect([b.cpu.rip, b.cpu.gpr(GPR.rcx), b.cpu.gpr(GPR.r11), b.cpu.rflags]).toEqual([0x5000n, from + 2n, 0x77n, 2]);
  expect([b.cpu.selector('cs'), b.cpu.selector('ss'), b.cpu.cpl]).toEqual([8, 0x10, 0]);
  expect(b.run('0f 07', { rcx: 0x7000n })).toBeNull();
  expect([b.cpu.rip, b.cpu.rflags, b.cpu.selector('cs'), b.cpu.selector('ss'), b.cpu.cpl]).toEqual([
    0x7000n,
    0x202,
    0x1b,
    0x20,
    3,
  ]);
});

test('SYSENTER and SYSEXIT of an Intel CPU', () => {
  const b = new Bench(true, 'x86-64-v1-intel');
  b.enterUser();
  expect(b.run('0f 34')).toEqual(gp());
  b.cpu.set('sysenterCs', 8);
  b.cpu.set('sysenterEip', 0x5000n);
  b.cpu.set('sysenterEsp', 0x6000n);
  expect(b.run('0f 34')).toBeNull();
  expect([b.cpu.rip, b.cpu.rsp, b.cpu.cpl, b.cpu.selector('ss')]).toEqual([0x5000n, 0x6000n, 0, 0x10]);
  expect(b.run('0f 35', { rdx: 0x1_0000_7000n, rcx: 0x8000n })).toBeNull();
  expect([b.cpu.rip, b.cpu.rsp, b.cpu.cpl, b.cpu.selector('cs'), b.cpu.num('codeMode')]).toEqual([
    0x7000n,
    0x8000n,
    3,
    0x1b,
    1,
  ]);
});

test('table registers: base width by mode, canonical, LTR marks busy', () => {
  const b = new Bench();
  b.run('0f 01 07', { rdi: 0x8000n }); // sgdt [rdi]
  expect(b.memory.peek(0x8000, 10)).toBe((0x1000n << 16n) | 0x7fn);
  b.memory.poke(0x8000, 10, 0x8000_0000_0000_ffffn << 16n);
  expect(b.run('0f 01 1f', { rdi: 0x8000n })).toEqual(gp());
  // type 9 (available) has become 11 (busy), and loading it again faults
  expect((b.memory.peek(0x1000 + SELECTOR.tss, 8) >> 40n) & 15n).toBe(11n);
  expect(b.run('0f 00 d8', { rax: BigInt(SELECTOR.tss) })).toEqual(gp(SELECTOR.tss));
  b.run('0f 00 c8'); // str eax
  expect(b.cpu.gpr(0)).toBe(BigInt(SELECTOR.tss));
  const old = new Bench(false);
  old.memory.poke(0x8000, 6, 0x89abcdef_1234n);
  old.run('66 0f 01 17', { rdi: 0x8000n }); // lgdt with a 24-bit base
  expect([old.cpu.get('gdtrBase'), old.cpu.num('gdtrLimit')]).toEqual([0xabcdefn, 0x1234]);
});
