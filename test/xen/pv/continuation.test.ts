/**
 * Calls longer than a step's share of work: what they leave, and that they come to what they were asked for. Expected registers,
 * entries and results: hypercall_create_continuation and its callers in Xen 4.17.7.
 */
import { describe, expect, test } from 'vitest';
import { STEP_WORK } from '../../../src/xen/work.ts';
import { HANDLER, PvGuest, SELF, words } from '../../support/pv-guest.ts';

const PREEMPTED = 0x80000000n;
/** The first address of L4 slot 300. */
const ALIASES = 0xffff_9600_0000_0000n;
const MORE = 1000;

/**
 * Maps `page` at {@link ALIASES} so often that 1 GiB of addresses shows it; with `last`, that page stands behind `chunks` times
 * 2 MiB of the other.
 */
function alias(guest: PvGuest, page: bigint, last: { page: bigint; chunks: number } | null = null): void {
  const [l1, l2, l3, end] = [20, 21, 22, 23].map((i) => guest.page(i)) as [bigint, bigint, bigint, bigint];
  const entry = (of: bigint, flags: bigint): bigint => (BigInt(guest.mfn(of)) << 12n) + flags;
  const fill = (table: bigint, values: (i: number) => bigint): void =>
    guest.write(table, words(...Array.from({ length: 512 }, (_, i) => values(i))));
  fill(l1, () => entry(page, 0x27n));
  fill(end, () => (last === null ? 0n : entry(last.page, 0x25n)));
  fill(l2, (i) => entry(last !== null && i >= last.chunks ? end : l1, 0x27n));
  fill(l3, (i) => (i === 0 ? entry(l2, 0x27n) : 0n));
  for (const table of [l1, l2, l3, end]) guest.readOnly(table);
  const slot = (guest.cpu.get('cr3') & ~0xfffn) + 300n * 8n;
  guest.ok(1, guest.put(words(slot, entry(l3, 0x27n))), 1, 0, SELF);
}

/** Executes one part of the call that has been prepared; whether it goes on. */
function part(guest: PvGuest): boolean {
  const { rip } = guest.cpu;
  guest.step();
  return guest.cpu.rip === rip;
}
/** The parts of the call that has been prepared, which ends in `result`. */
function parts(guest: PvGuest, result: bigint): number {
  let count = 1;
  while (part(guest)) count++;
  expect(guest.get('rax')).toBe(BigInt.asUintN(64, result));
  return count;
}
/** A step has had its share of work and little more. */
const expectShare = (guest: PvGuest, more: number): void => {
  expect(guest.xen.work.spent).toBeGreaterThanOrEqual(STEP_WORK);
  expect(guest.xen.work.spent).toBeLessThan(STEP_WORK + more);
};
const registers = (guest: PvGuest): bigint[] => [
  guest.get('rdi'),
  guest.get('rsi'),
  guest.get('rdx'),
  guest.get('r10'),
];

/** A guest that is about to write to 256 places of a page, over and over, by `count` requests of mmu_update. */
function updating(count: number): { guest: PvGuest; target: bigint; done: bigint } {
  const guest = new PvGuest();
  const list = guest.page(8);
  const target = guest.page(9);
  const done = guest.put(new Uint8Array(4));
  for (let i = 0; i < 256; i++) guest.write(list + BigInt(i * 16), words(guest.pa(target) + i * 8, i + 1));
  alias(guest, list);
  guest.calls.length = 0;
  guest.prepare(1, ALIASES, count, done, SELF);
  return { guest, target, done };
}

describe('a call beyond its share of work', () => {
  test('[D-06] stands before its SYSCALL with the number and the arguments that are left', () => {
    const count = STEP_WORK + MORE;
    const { guest, target, done } = updating(count);
    const { rip } = guest.cpu;
    guest.set({ rax: 0xdead_0000_0000_0001n, r9: 77 });
    guest.step();
    expect([guest.cpu.rip, guest.get('rcx'), guest.get('rax'), guest.get('r9')]).toEqual([rip, rip, 1n, 77n]);
    const some = guest.u32(done);
    expect(some).toBeGreaterThan(STEP_WORK - MORE);
    const left = PREEMPTED + BigInt(count - some);
    expect(registers(guest)).toEqual([ALIASES + BigInt(some * 16), left, done, SELF]);
    expectShare(guest, 4);
    expect(parts(guest, 0n)).toBe(1);
    expect(guest.u32(done)).toBe(count);
    expect(guest.quads(target, 256)).toEqual(Array.from({ length: 256 }, (_, i) => BigInt(i + 1)));
    expect(guest.cpu.rip).toBe(rip + 2n);
  });
  test('[D-06] is told in parts, of which the last has the result', () => {
    const { guest } = updating(STEP_WORK + MORE);
    parts(guest, 0n);
    const [first, last] = guest.calls;
    expect(guest.calls.map(({ way, op, ret }) => [way, op, ret])).toEqual([
      ['P', 1, 1],
      ['H', 1, 0],
    ]);
    expect(first!.left).toEqual(last!.args);
    expect(last!.left).toBeNull();
  });
  test('[D-06] lets an upcall in between, which returns to the SYSCALL', () => {
    const count = STEP_WORK + MORE;
    const { guest, done } = updating(count);
    guest.bindTimer();
    guest.callbacks(HANDLER);
    guest.setInfo(1, 0);
    guest.ok(15, guest.machine.now() + 2);
    guest.prepare(1, ALIASES, count, done, SELF);
    const { rip, rsp } = guest.cpu;
    expect(part(guest)).toBe(true);
    const left = registers(guest);
    guest.step();
    expect(guest.cpu.rip).toBe(HANDLER);
    expect(guest.u64(guest.cpu.rsp + 16n)).toBe(rip);
    expect([guest.get('rax'), ...registers(guest)]).toEqual([1n, ...left]);
    guest.cpu.rip = rip;
    guest.cpu.rsp = rsp;
    expect(parts(guest, 0n)).toBe(1);
    expect(guest.u32(done)).toBe(count);
  });
  test('[D-06] that fails in a later part says how much was done in all of them', () => {
    const { guest, done } = updating(2 * STEP_WORK);
    expect(part(guest)).toBe(true);
    const before = guest.u32(done);
    // MMU command 4 does not exist; the list is one page many times
    const bad = guest.page(8) + (guest.get('rdi') & 0xfffn);
    guest.write(bad, words(guest.u64(bad) + 4n));
    expect(parts(guest, -38n)).toBe(1);
    expect(guest.u32(done)).toBe(before);
  });
});

describe('every call with a count', () => {
  test('[D-06] mmuext_op goes on as mmu_update does', () => {
    const guest = new PvGuest();
    const done = guest.put(new Uint8Array(4));
    // flushes of the TLB, whatever word a request of 24 bytes begins with
    guest.write(guest.page(8), words(...Array(512).fill(6)));
    alias(guest, guest.page(8));
    const count = STEP_WORK + MORE;
    guest.prepare(26, ALIASES, count, done, SELF);
    expect(part(guest)).toBe(true);
    const some = guest.u32(done);
    const left = PREEMPTED + BigInt(count - some);
    expect([guest.get('rax'), ...registers(guest)]).toEqual([26n, ALIASES + BigInt(some * 24), left, done, SELF]);
    expectShare(guest, 4);
    parts(guest, 0n);
    expect(guest.u32(done)).toBe(count);
  });
  test('[D-06] set_trap_table goes on behind the entries it has taken', () => {
    const guest = new PvGuest();
    const entry = words(0xe033_0000n + 3n, HANDLER);
    for (let i = 0; i < 256; i++) guest.write(guest.page(8) + BigInt(i * 16), entry);
    alias(guest, guest.page(8), { page: guest.page(10), chunks: 3 });
    guest.prepare(0, ALIASES, 1, 2, 3);
    expect(part(guest)).toBe(true);
    const [rdi, ...others] = registers(guest);
    expect(others).toEqual([1n, 2n, 3n]);
    expect(Number(rdi! - ALIASES) % 16).toBe(0);
    expect(Number(rdi! - ALIASES) / 16).toBeGreaterThan(STEP_WORK - MORE);
    expectShare(guest, 4);
    expect(parts(guest, 0n)).toBe(1);
    expect(guest.xen.vcpus[0]!.traps[3]).toEqual({ flags: 0, cs: 0xe033, address: HANDLER });
  });
  test('[D-06] console_io writes all of a long text, in order', () => {
    const guest = new PvGuest();
    const line = 'a line of 31 characters and end\n';
    const text = line.repeat(128);
    guest.write(guest.page(8), new TextEncoder().encode(text));
    alias(guest, guest.page(8));
    const count = (3 << 20) + 1;
    guest.prepare(18, 0, count, ALIASES);
    expect(part(guest)).toBe(true);
    const written = guest.output.length;
    expect([guest.get('rax'), ...registers(guest).slice(0, 3)]).toEqual([
      18n,
      0n,
      BigInt(count - written),
      ALIASES + BigInt(written),
    ]);
    expectShare(guest, 4200);
    parts(guest, 0n);
    expect(guest.output === text.repeat(768) + text[0]).toBe(true);
  });
  test('[D-06] XENMEM_exchange tells how far it has come and starts there', () => {
    const guest = new PvGuest();
    const list = guest.page(8);
    // unmapped pages of the domain, exchanged for others again and again
    guest.write(
      list,
      words(...Array.from({ length: 512 }, (_, i) => guest.xen.mm.domain.layout.domainBase + 1400 + i)),
    );
    alias(guest, list);
    const extents = 40_000;
    const reservation = [ALIASES, extents, 0n, SELF];
    const arg = guest.put(words(...reservation, ...reservation, 0));
    guest.prepare(12, 11, arg);
    expect(part(guest)).toBe(true);
    expect([guest.get('rax'), ...registers(guest).slice(0, 2)]).toEqual([12n, 11n, arg]);
    expectShare(guest, 40);
    const exchanged = Number(guest.u64(arg + 64n));
    expect(exchanged).toBeGreaterThan(1000);
    expect(exchanged).toBeLessThan(extents);
    parts(guest, 0n);
    expect(guest.u64(arg + 64n)).toBe(BigInt(extents));
  });
});

describe('a multicall beyond its share', () => {
  test('[D-06] goes on with the entries that are left', () => {
    const guest = new PvGuest();
    for (let i = 0; i < 64; i++) guest.write(guest.page(8) + BigInt(i * 64), words(17, 0, 0));
    alias(guest, guest.page(8));
    const count = STEP_WORK / 8;
    guest.prepare(13, ALIASES, count, 5);
    expect(part(guest)).toBe(true);
    const [list, left, rdx] = registers(guest);
    expect([guest.get('rax'), rdx]).toEqual([13n, 5n]);
    expect(list! - ALIASES).toBe((BigInt(count) - left!) * 64n);
    expectShare(guest, 16);
    parts(guest, 0n);
    expect(guest.u64(guest.page(8) + 8n)).toBe(0x4_0011n);
  });
  test('[D-06] leaves an unfinished entry with the arguments that are left of it', () => {
    const count = STEP_WORK + MORE;
    const { guest, done } = updating(count);
    const entry = (...values: (bigint | number)[]): Uint8Array => words(...values, ...Array(8 - values.length).fill(0));
    const list = guest.page(10);
    guest.write(list, entry(17, 99, 0));
    guest.write(list + 64n, entry(1, 99, ALIASES, count, done, SELF, 5, 6));
    guest.write(list + 128n, entry(17, 99, 0));
    guest.prepare(13, list, 3);
    expect(part(guest)).toBe(true);
    const some = guest.u32(done);
    expect([guest.get('rax'), guest.get('rdi'), guest.get('rsi')]).toEqual([13n, list + 64n, 2n]);
    const left = PREEMPTED + BigInt(count - some);
    expect(guest.quads(list + 64n, 8)).toEqual([1n, 1n, ALIASES + BigInt(some * 16), left, done, SELF, 5n, 6n]);
    expect([guest.u64(list + 8n), guest.u64(list + 136n)]).toEqual([0x4_0011n, 99n]);
    expect(parts(guest, 0n)).toBe(1);
    expect([72n, 136n].map((at) => guest.u64(list + at))).toEqual([0n, 0x4_0011n]);
    expect(guest.u32(done)).toBe(count);
    expect(guest.calls.map(({ way, op, ret }) => [way, op, ret])).toEqual([
      ['M', 17, 0x4_0011],
      ['M', 1, 1],
      ['P', 13, 13],
      ['M', 1, 0],
      ['M', 17, 0x4_0011],
      ['H', 13, 0],
    ]);
  });
  test('[D-06] of a list that cannot be the guest’s does nothing', () => {
    const guest = new PvGuest();
    expect(guest.call(13, 0xffff_8000_0000_0000n, 0)).toBe(-14);
    expect(guest.call(13, 0x1000n, 0)).toBe(0);
  });
});
