/**
 * Debug registers of a PV guest fire (SDM vol. 3B 18.2 and 18.3): Xen loads them while one is enabled, #DB reaches the guest's handler with
 * DR6 in what get_debugreg reads, and code without breakpoints in its way is not stepped through.
 */
import { describe, expect, test } from 'vitest';
import { CODE, HANDLER, hexBytes, PvGuest } from '../../support/pv-guest.ts';
import { entryOf, mappedEntry } from '../../support/pv-tables.ts';

const DR7 = { first: 1, write: 1 << 16, readWrite: 3 << 16, eight: 2 << 18 } as const;
const TIERS = ['hot', 'cold', 'oracle'] as const;

const guestOn = (tier: (typeof TIERS)[number]): PvGuest => {
  const guest = new PvGuest({ tier: tier as 'cold' });
  guest.handle({ 1: { at: HANDLER } });
  return guest;
};
const setDebug = (guest: PvGuest, register: number, value: bigint | number): void => guest.ok(8, register, value);
const status = (guest: PvGuest): number => guest.call(9, 6) & 15;
/** Runs until the #DB handler is reached; ticks it took. */
function toHandler(guest: PvGuest, limit = 3_000_000): number {
  const { machine } = guest;
  const from = machine.tick;
  while (guest.cpu.rip !== HANDLER && machine.tick - from < limit) guest.step();
  expect(guest.cpu.rip).toBe(HANDLER);
  return machine.tick - from;
}
/** The address in the frame at the handler. */
const interrupted = (guest: PvGuest): bigint => guest.u64(guest.cpu.rsp + 16n);

describe.each(TIERS)('[D-42] debug registers on the %s tier', (tier) => {
  test('a write watchpoint is a trap behind the store, a read passes it', () => {
    const guest = guestOn(tier);
    const at = guest.page(9) + 8n;
    setDebug(guest, 0, at);
    setDebug(guest, 7, DR7.first | DR7.write | DR7.eight);
    guest.set({ rdi: at, rax: 5 });
    // mov rcx, [rdi]; mov [rdi], rax; nop
    guest.at('48 8b 0f  48 89 07  90');
    expect(toHandler(guest)).toBe(3);
    expect([interrupted(guest), guest.u64(at), status(guest)]).toEqual([CODE + 6n, 5n, 1]);
  });

  test('a read-write watchpoint sees the read and neighbours do not', () => {
    const guest = guestOn(tier);
    const at = guest.page(9) + 16n;
    setDebug(guest, 0, at);
    setDebug(guest, 7, DR7.first | DR7.readWrite | DR7.eight);
    guest.set({ rdi: at });
    // mov rcx, [rdi - 8]; mov rcx, [rdi + 8]; mov cl, [rdi + 7]; nop
    guest.at('48 8b 4f f8  48 8b 4f 08  8a 4f 07  90');
    toHandler(guest);
    expect([interrupted(guest), status(guest)]).toEqual([CODE + 11n, 1]);
  });

  test('an instruction breakpoint is a fault before it, and RF in the frame goes past it', () => {
    const guest = guestOn(tier);
    // 1: inc rax; nop; jmp 1
    guest.set({ rax: 0 });
    setDebug(guest, 1, CODE + 3n);
    setDebug(guest, 7, DR7.first << 2);
    guest.at('48 ff c0  90  eb fa');
    expect(toHandler(guest)).toBe(2);
    expect([interrupted(guest), guest.get('rax'), status(guest)]).toEqual([CODE + 3n, 1n, 2]);
    guest.iretFrame([1, 0, 0, 0, CODE + 3n, 0xe030, 0x10202, guest.cpu.rsp + 0x100n, 0xe02b]);
    guest.step();
    expect(guest.cpu.rip).toBe(CODE + 3n);
    toHandler(guest);
    expect([interrupted(guest), guest.get('rax')]).toEqual([CODE + 3n, 2n]);
  });

  test('hypercalls, MOV DR and no enabled breakpoint: nothing fires where nothing is enabled', () => {
    const guest = guestOn(tier);
    const at = guest.page(9);
    setDebug(guest, 0, at);
    guest.set({ rdi: at, rax: 5 });
    guest.at('48 89 07  90  eb fd');
    for (let i = 0; i < 50; i++) guest.step();
    expect(guest.cpu.rip).not.toBe(HANDLER);
    // the kernel's own MOV DR7, which Xen emulates: mov dr7, rax; mov [rdi], rax
    guest.handle({ 1: { at: HANDLER }, 13: { at: HANDLER + 0x100n } });
    guest.set({ rdi: at, rax: DR7.first | DR7.write });
    guest.at('0f 23 f8  48 89 07  90');
    toHandler(guest);
    expect(interrupted(guest)).toBe(CODE + 6n);
  });
});

/** RFLAGS of the frame at the handler, and all of DR6 that can be set. */
const flagsOf = (guest: PvGuest): bigint => guest.u64(guest.cpu.rsp + 32n);
const fullStatus = (guest: PvGuest): number => guest.call(9, 6) & 0xe00f;
const RF = 0x10000n;
const TF = 0x100;
const WATCH8 = DR7.first | DR7.write | DR7.eight;

describe.each(TIERS)('[D-42] what else decides a #DB, on the %s tier', (tier) => {
  /** A guest whose first data page holds a selector for SS, with a breakpoint in DR0. */
  function armed(dr7: number, at: (guest: PvGuest) => bigint): PvGuest {
    const guest = guestOn(tier);
    guest.write(guest.page(9), Uint8Array.of(0x2b, 0xe0));
    setDebug(guest, 0, at(guest));
    setDebug(guest, 7, dr7);
    guest.set({ rdi: guest.page(9), rsi: guest.page(10), rcx: 4, rax: 5 });
    return guest;
  }
  const step = (guest: PvGuest): void => guest.cpu.set('rflags', guest.cpu.systemFlags | TF);

  test('a single step and a watchpoint are one trap with both bits (SDM vol. 3B 18.3.1)', () => {
    const guest = armed(WATCH8, (g) => g.page(9));
    guest.at('48 89 07  90');
    step(guest);
    toHandler(guest);
    expect([interrupted(guest), fullStatus(guest)]).toEqual([CODE + 3n, 0x4001]);
  });

  test('within a repeated store it comes behind the iteration, with RF (SDM vol. 3B 18.3.1.1)', () => {
    const guest = armed(WATCH8, (g) => g.page(9) + 16n);
    guest.at('f3 48 a5  90');
    toHandler(guest);
    // RCX of the frame: Xen returns by SYSRET
    expect([interrupted(guest), guest.u64(guest.cpu.rsp), flagsOf(guest) & RF, status(guest)]).toEqual([
      CODE,
      1n,
      RF,
      1,
    ]);
  });

  test('MOV SS holds a data breakpoint back, not an instruction breakpoint (SDM vol. 3A 6.8.3)', () => {
    const data = armed(DR7.first | DR7.readWrite | (1 << 18), (g) => g.page(9));
    data.at('8e 17  90 90');
    toHandler(data);
    expect(interrupted(data)).toBe(CODE + 3n);
    const code = armed(DR7.first, () => CODE + 2n);
    code.at('8e 17  90 90');
    toHandler(code);
    expect([interrupted(code), flagsOf(code) & RF]).toEqual([CODE + 2n, 0n]);
  });

  test('stores that overlap in part, and large ones of system instructions, are seen', () => {
    const part = armed(WATCH8, (g) => g.page(9) + 8n);
    part.at('48 89 47 04  90'); // mov [rdi + 4], rax
    toHandler(part);
    expect(interrupted(part)).toBe(CODE + 4n);
    const large = armed(WATCH8, (g) => g.page(9) + 128n);
    large.at('0f ae 07  90'); // fxsave [rdi]
    toHandler(large);
    expect(interrupted(large)).toBe(CODE + 3n);
  });

  test('INT1 sets no bit of DR6; a breakpoint on what Xen emulates comes before it', () => {
    const icebp = guestOn(tier);
    icebp.at('f1  90');
    toHandler(icebp);
    expect([interrupted(icebp), fullStatus(icebp)]).toEqual([CODE + 1n, 0]);
    const clts = armed(DR7.first, () => CODE);
    clts.at('0f 06  90');
    toHandler(clts);
    expect(interrupted(clts)).toBe(CODE);
  });

  // pv_emulate_privileged_op and pv_emul_instruction_done report the step themselves, ro-page-fault.c without DR6
  test.each([
    ['CLTS', '0f 06  90 90', 2n, 0x4000],
    ['RDMSR', '0f 32  90 90', 2n, 0x4000],
    ['MOV from DR7', '0f 21 f8  90 90', 3n, 0x4000],
    ['CPUID by the forced prefix', '0f 0b 78 65 6e 0f a2  90', 7n, 0x4000],
  ])('a single step over %s that Xen carries out is reported behind it', (_, code, length, bits) => {
    const guest = guestOn(tier);
    guest.handle({ 1: { at: HANDLER }, 13: { at: HANDLER + 0x100n } });
    guest.set({ rcx: 0xc0000080, rax: 0 });
    guest.at(code);
    step(guest);
    toHandler(guest, 5);
    expect([interrupted(guest), fullStatus(guest)]).toEqual([CODE + length, bits]);
  });

  test('a single step over a store to a page table that Xen carries out is reported behind it, and not in DR6', () => {
    const guest = guestOn(tier);
    const page = guest.page(9);
    guest.set({ rdi: mappedEntry(guest, page), rax: guest.xen.memory.read64(entryOf(guest, page)) });
    guest.at('48 89 07  90 90');
    step(guest);
    toHandler(guest, 5);
    expect([interrupted(guest), fullStatus(guest)]).toEqual([CODE + 3n, 0]);
  });
});

test('[D-43] DEBUGCTL is no register of a PV guest: #GP for a read and for a write', () => {
  for (const code of ['0f 32', '0f 30']) {
    const guest = new PvGuest();
    guest.handle({ 13: { at: HANDLER } });
    guest.set({ rcx: 0x1d9, rax: 2, rdx: 0 });
    guest.exec(code);
    expect(guest.cpu.rip).toBe(HANDLER);
  }
});

test('[D-42] [X-01] a run with breakpoints is the same in every tier, at the same ticks', () => {
  const ends = TIERS.map((tier) => {
    const guest = guestOn(tier);
    const at = guest.page(9);
    setDebug(guest, 0, at + 4000n);
    setDebug(guest, 1, CODE + 3n);
    setDebug(guest, 7, DR7.first | DR7.write | DR7.eight | (DR7.first << 2));
    guest.set({ rdi: at, rcx: 0, rax: 7 });
    // 1: inc rcx; test cl, cl; jnz 2; add rdi, 8 (a breakpoint at the second); 2: mov [rdi + 8], rax; jmp 1
    guest.at('48 ff c1  84 c9  75 04  48 83 c7 08  48 89 47 08  eb ef');
    // the handler: back behind with RF: pop rcx; pop r11; or byte [rsp + 18], 1; push 0; push rcx; push r11; push rax; mov eax, 23; syscall
    guest.write(HANDLER, hexBytes('59  41 5b  80 4c 24 12 01  6a 00  51  41 53  50  b8 17 00 00 00  0f 05'));
    const { machine } = guest;
    machine.runTo(machine.tick + 60_000);
    return [machine.tick, guest.cpu.rip, guest.get('rcx'), guest.get('rdi'), guest.traps.length];
  });
  expect(ends[1]).toEqual(ends[0]);
  expect(ends[2]).toEqual(ends[0]);
  expect(ends[0]![4]).toBeGreaterThan(1000);
});
