/**
 * Debug registers of a PV guest fire (SDM vol. 3B 18.2 and 18.3): Xen loads them while one is enabled, #DB reaches the guest's handler with
 * DR6 in what get_debugreg reads, and code without breakpoints in its way is not stepped through.
 */
import { describe, expect, test } from 'vitest';
import { CODE, HANDLER, hexBytes, PvGuest } from '../../support/pv-guest.ts';

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
