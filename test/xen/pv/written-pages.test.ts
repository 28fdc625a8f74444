/**
 * What the hypervisor and its back ends write into guest memory cannot be turned into a page table or descriptor page, and what
 * is one is not written. Results are those of Xen 4.17: a type conflict is -EINVAL (_get_page_type), a copy to a read-only mapping
 * fails (copy_to_guest_pv).
 */
import { describe, expect, test } from 'vitest';
import { Frontend } from '../../devices/xenstore/frontend.ts';
import { concat, le } from '../../support/elf.ts';
import { auditFrames } from '../../support/frame-audit.ts';
import { heldReferences } from '../../support/held-references.ts';
import { HANDLER, PvGuest, SELF, words } from '../../support/pv-guest.ts';

const VIRT_BASE = 0xffffffff80000000n;
const EINVAL = -22;
const EFAULT = -14;
const RW = 2n;
const XS_WRITE = 11;
const OP = { mmuUpdate: 1, setGdt: 2, stackSwitch: 3, updateDescriptor: 10, memory: 12, multicall: 13, updateVa: 14, version: 17, consoleIo: 18, grants: 20, vcpu: 24, mmuext: 26, sched: 29, events: 32 } as const; // biome-ignore format: one row

const audit = (guest: PvGuest): string[] => auditFrames(guest.xen.mm.domain, heldReferences(guest.xen));
/** Where the loader mapped a frame of the domain. */
const mapped = (guest: PvGuest, mfn: number): bigint =>
  VIRT_BASE + BigInt(mfn - guest.xen.mm.domain.layout.domainBase) * 4096n;
const pin = (guest: PvGuest, level: number, mfn: number): number => guest.tryMmuext(level - 1, mfn);
const setGdt = (guest: PvGuest, mfn: number): number => guest.call(OP.setGdt, guest.put(words(mfn)), 1);
const contents = (guest: PvGuest, mfn: number): Uint8Array => guest.xen.memory.readBytes(mfn * 4096, 4096);

/** Each page that is written by machine address; the guest's own writable mapping is gone. */
const WRITTEN: ReadonlyArray<readonly [string, (guest: PvGuest) => number]> = [
  ['the xenstore ring', (guest) => unmapped(guest, Number(guest.startInfoWord(0x38)))],
  ['the console ring', (guest) => unmapped(guest, Number(guest.startInfoWord(0x48)))],
  ['shared_info', (guest) => Number(guest.startInfoWord(0x28)) / 4096],
  ['a grant frame', (guest) => guest.xen.places.grantFrames[0]!],
  ['a registered vcpu_info', (guest) => registered(guest, 0)],
  ['the page of pirq_eoi_gmfn', (guest) => eoi(guest)],
];
function unmapped(guest: PvGuest, mfn: number): number {
  const at = mapped(guest, mfn);
  // all zero it would do as a table of any level
  guest.write(at, new Uint8Array(4096));
  guest.ok(OP.updateVa, at, 0n, 2);
  return mfn;
}
function registered(guest: PvGuest, index: number): number {
  const mfn = guest.mfn(guest.page(index));
  guest.ok(OP.vcpu, 10, 0, guest.put(words(mfn, 0)));
  return unmapped(guest, mfn);
}
function eoi(guest: PvGuest): number {
  const mfn = guest.mfn(guest.page(1));
  guest.ok(33, 28, guest.put(words(mfn)));
  return unmapped(guest, mfn);
}

describe.each(WRITTEN)('[D-20] %s', (_name, make) => {
  test('cannot be pinned as a page table of any level', () => {
    const guest = new PvGuest();
    const mfn = make(guest);
    expect(audit(guest)).toEqual([]);
    for (const level of [1, 2, 3, 4]) {
      guest.log.length = 0;
      expect(pin(guest, level, mfn)).toBe(EINVAL);
      expect(guest.log.join('\n')).toContain(`Bad type (saw e400000000000001 != exp ${level * 2}000000000000000)`);
    }
    expect(audit(guest)).toEqual([]);
  });
  test('cannot become a descriptor page, by set_gdt or as LDT', () => {
    const guest = new PvGuest();
    const mfn = make(guest);
    expect(setGdt(guest, mfn)).toBe(EINVAL);
    // as LDT it is looked at when a selector is loaded: #GP
    guest.ok(OP.updateVa, guest.page(9), (BigInt(mfn) << 12n) | 5n, 2);
    guest.mmuext(13, guest.page(9), 8);
    guest.handle({ 13: { at: HANDLER } });
    guest.set({ rax: 7 });
    guest.exec('8ed8'); // mov ds, eax
    expect(guest.traps.at(-1)).toMatchObject({ vector: 13, error: 4 });
    expect(audit(guest)).toEqual([]);
  });
  test('cannot be a page table by an entry of one, by mmu_update or by a root', () => {
    const guest = new PvGuest();
    const mfn = make(guest);
    const root = guest.cpu.get('cr3') & ~0xfffn;
    const update = guest.put(words(root + 8n, (BigInt(mfn) << 12n) | 0x27n));
    expect(guest.call(OP.mmuUpdate, update, 1, 0, SELF)).toBe(EINVAL);
    for (const command of [5, 15]) expect(guest.tryMmuext(command, mfn)).toBe(EINVAL);
    expect(audit(guest)).toEqual([]);
  });
});

describe('a ring page that the guest gives back', () => {
  const reservation = (guest: PvGuest, list: bigint): bigint =>
    guest.put(concat(words(list, 1), le(0, 4), le(0, 4), le(0x7ff0, 8)));
  test.each([
    ['xenstore', 0x38],
    ['console', 0x48],
  ] as const)('[D-28] the %s ring stays its page, and nobody else gets it', (_name, field) => {
    const guest = new PvGuest();
    const { frames, state } = guest.xen.mm.domain;
    const mfn = unmapped(guest, Number(guest.startInfoWord(field)));
    const pages = state.totPages;
    expect(guest.call(OP.memory, 1, reservation(guest, guest.put(words(mfn))))).toBe(1);
    expect([frames.owner(mfn), state.totPages]).toEqual([1, pages]);
    expect(audit(guest)).toEqual([]);
    for (let i = 0; i < 20; i++) {
      const list = guest.put(words(0));
      expect(guest.call(OP.memory, 0, reservation(guest, list))).toBe(1);
      expect(guest.u64(list)).not.toBe(BigInt(mfn));
    }
    // a second time there is nothing to give back
    expect(guest.call(OP.memory, 1, reservation(guest, guest.put(words(mfn))))).toBe(1);
    expect(audit(guest)).toEqual([]);
    expect(pin(guest, 1, mfn)).toBe(EINVAL);
  });
  test('[D-28] it cannot be exchanged', () => {
    const guest = new PvGuest();
    const mfn = unmapped(guest, Number(guest.startInfoWord(0x38)));
    const half = (list: bigint): Uint8Array => concat(words(list, 1), le(0, 4), le(0, 4), le(0x7ff0, 8));
    const exchange = guest.put(concat(half(guest.put(words(mfn))), half(guest.put(words(0))), words(0)));
    expect(guest.call(OP.memory, 11, exchange)).toBe(EINVAL);
    expect(guest.log.join('\n')).toContain('Bad steal mfn');
    expect(audit(guest)).toEqual([]);
  });
  test('[D-50] a reply goes into the ring and nowhere else', () => {
    const guest = new PvGuest();
    const mfn = Number(guest.startInfoWord(0x38));
    const ring = mapped(guest, mfn);
    const request = Frontend.message(XS_WRITE, 'data/x\0value', 7, 0);
    guest.write(ring, new Uint8Array(4096));
    guest.write(ring, request);
    guest.write(ring + 0x804n, le(request.length, 4));
    guest.ok(OP.updateVa, ring, 0n, 2);
    expect(pin(guest, 1, mfn)).toBe(EINVAL);
    expect(guest.event(4, Number(guest.startInfoWord(0x40) & 0xffffffffn)).rc).toBe(0);
    expect(contents(guest, mfn).subarray(0x400, 0x413)).toEqual(Frontend.message(XS_WRITE, 'OK\0', 7, 0));
    expect(audit(guest)).toEqual([]);
  });
});

/** A guest with an L1 table that says what `bytes` say: no entry is present. It is mapped read-only at the address. */
function withTable(bytes: Uint8Array = new Uint8Array(0)): { guest: PvGuest; table: bigint; untouched: () => void } {
  const guest = new PvGuest();
  const table = guest.page(8);
  guest.write(table, bytes);
  guest.readOnly(table);
  guest.mmuext(0, guest.mfn(table));
  const before = contents(guest, guest.mfn(table));
  return {
    guest,
    table,
    untouched: () => {
      expect(contents(guest, guest.mfn(table))).toEqual(before);
      expect(audit(guest)).toEqual([]);
    },
  };
}

describe("results of hypercalls go through the guest's own mapping: a page table is not written", () => {
  /** Call, its arguments, what the table says (the arguments of calls that answer in place), result. */
  type Row = readonly [
    string,
    number,
    (table: bigint, guest: PvGuest) => readonly (bigint | number)[],
    Uint8Array,
    number,
  ];
  const nothing = new Uint8Array(0);
  const self = le(0x7ff0, 4);
  const rows: readonly Row[] = [
    ['xen_version extraversion', OP.version, (t) => [1, t], nothing, EFAULT],
    ['xen_version compile_info', OP.version, (t) => [2, t], nothing, EFAULT],
    ['xen_version capabilities', OP.version, (t) => [3, t], nothing, EFAULT],
    ['xen_version changeset', OP.version, (t) => [4, t], nothing, EFAULT],
    ['xen_version platform_parameters', OP.version, (t) => [5, t], nothing, EFAULT],
    ['xen_version get_features', OP.version, (t) => [6, t], nothing, EFAULT],
    ['xen_version guest_handle', OP.version, (t) => [8, t], nothing, EFAULT],
    ['xen_version commandline', OP.version, (t) => [9, t], nothing, EFAULT],
    ['memory_map', OP.memory, (t) => [9, t], nothing, EFAULT],
    ['machphys_mapping', OP.memory, (t) => [12, t], nothing, EFAULT],
    [
      'increase_reservation, no extent',
      OP.memory,
      (t, g) => [0, g.put(concat(words(t, 1), le(0, 8), self, le(0, 4)))],
      nothing,
      0,
    ],
    [
      'populate_physmap, no extent',
      OP.memory,
      (t, g) => [6, g.put(concat(words(t, 1), le(0, 8), self, le(0, 4)))],
      nothing,
      0,
    ],
    ['get_runstate_info', OP.vcpu, (t) => [4, 0, t], nothing, EFAULT],
    ['console_io read', OP.consoleIo, (t) => [1, 16, t], nothing, EFAULT],
    ['bind_virq', OP.events, (t) => [1, t], nothing, EFAULT],
    ['bind_ipi', OP.events, (t) => [7, t], nothing, EFAULT],
    ['alloc_unbound', OP.events, (t) => [6, t], concat(le(0x7ff0, 2), le(0, 2)), EFAULT],
    ['status', OP.events, (t) => [5, t], concat(self, le(2, 4)), EFAULT],
    ['grant setup_table', OP.grants, (t) => [2, t, 1], self, EFAULT],
    ['grant query_size', OP.grants, (t) => [6, t, 1], self, EFAULT],
    ['grant dump_table', OP.grants, (t) => [3, t, 1], self, EFAULT],
    ['grant set_version', OP.grants, (t) => [8, t, 1], le(2, 4), EFAULT],
    ['grant get_version', OP.grants, (t) => [10, t, 1], self, EFAULT],
    ['multicall', OP.multicall, (t) => [t, 1], words(OP.vcpu, 0, 4), EFAULT],
    ['mmu_update, its count', OP.mmuUpdate, (t, g) => [g.put(words(0, 0)), 0, t, SELF], nothing, 0],
    ['mmuext_op, its count', OP.mmuext, (t, g) => [g.put(words(6, 0, 0)), 1, t, SELF], nothing, 0],
  ];
  test.each(rows)('[D-09] %s', (_name, op, args, bytes, result) => {
    const { guest, table, untouched } = withTable(bytes);
    guest.console.input(new Uint8Array(16).fill(0x41));
    guest.console.state.input = new Uint8Array(16).fill(0x41);
    expect(guest.call(op, ...args(table, guest))).toBe(result);
    untouched();
  });
  test('[D-48] the list of setup_table: GNTST_bad_virt_addr', () => {
    const { guest, table, untouched } = withTable();
    const at = guest.put(concat(self, le(1, 4), le(0x77, 8), words(table)));
    expect(guest.call(OP.grants, 2, at, 1)).toBe(0);
    expect(guest.u32(at + 8n) & 0xffff).toBe(0xfffb);
    untouched();
  });
  test('[D-21] calls that write a page by its frame want it writable', () => {
    const { guest, table, untouched } = withTable();
    const mfn = guest.mfn(table);
    expect(guest.tryMmuext(16, mfn)).toBe(EINVAL); // clear_page
    expect(guest.tryMmuext(17, mfn, guest.mfn(guest.page(0)))).toBe(EINVAL); // copy_page
    expect(guest.call(OP.updateDescriptor, BigInt(mfn) << 12n, 0x00cffa000000fffen)).toBe(EINVAL);
    expect(guest.call(OP.vcpu, 10, 0, guest.put(words(mfn, 0)))).toBe(EINVAL);
    expect(guest.call(33, 28, guest.put(words(mfn)))).toBe(EINVAL);
    untouched();
  });
  test("[D-27] a descriptor page is as little the guest's to change", () => {
    const guest = new PvGuest();
    const page = guest.page(8);
    const mfn = guest.mfn(page);
    guest.readOnly(page);
    expect(setGdt(guest, mfn)).toBe(0);
    expect(guest.call(OP.version, 1, page)).toBe(EFAULT);
    expect(guest.call(OP.vcpu, 10, 0, guest.put(words(mfn, 0)))).toBe(EINVAL);
    expect(guest.call(OP.mmuUpdate, guest.put(words(BigInt(mfn) << 12n, 0x00cffa000000fffen)), 1, 0, SELF)).toBe(
      EINVAL,
    );
    expect(guest.tryMmuext(16, mfn)).toBe(EINVAL);
    expect(pin(guest, 1, mfn)).toBe(EINVAL);
    expect(guest.call(OP.updateVa, page, (BigInt(mfn) << 12n) | 5n | RW, 2)).toBe(-16);
    expect(contents(guest, mfn)).toEqual(new Uint8Array(4096));
    expect(audit(guest)).toEqual([]);
  });
});

/** SCHEDOP_poll of no port, for a microsecond: the vCPU blocks and runs again. */
function sleep(guest: PvGuest): void {
  const until = guest.machine.now() + 1000;
  guest.call(OP.sched, 3, guest.put(words(0, 0, until)));
  while (guest.machine.now() <= until) guest.step();
}

describe('what Xen writes by itself', () => {
  test('[D-40] a runstate area in a page table is not updated, and nobody says so', () => {
    const { guest, table, untouched } = withTable();
    expect(guest.call(OP.vcpu, 5, 0, guest.put(words(table)))).toBe(0);
    untouched();
    sleep(guest);
    expect(guest.xen.vcpus[0]!.runstate.time[2]).toBeGreaterThan(0);
    untouched();
  });
  test('[D-40] a runstate area whose page becomes a page table is left alone from then on', () => {
    const guest = new PvGuest();
    const area = guest.page(8);
    expect(guest.call(OP.vcpu, 5, 0, guest.put(words(area)))).toBe(0);
    sleep(guest);
    // it has been updated: the time spent blocked
    expect(guest.u64(area + 0x20n)).toBeGreaterThan(0n);
    guest.write(area, new Uint8Array(48));
    guest.readOnly(area);
    guest.mmuext(0, guest.mfn(area));
    sleep(guest);
    expect(contents(guest, guest.mfn(area))).toEqual(new Uint8Array(4096));
    expect(audit(guest)).toEqual([]);
  });
  test("[D-40] a runstate area in Xen's own part of the address space is -EFAULT", () => {
    const guest = new PvGuest();
    expect(guest.call(OP.vcpu, 5, 0, guest.put(words(0xffff800000000000n)))).toBe(EFAULT);
    expect(guest.xen.vcpus[0]!.runstateArea).toBe(0n);
  });
  test.each([
    ['an exception', '0f0b', 0],
    ['an upcall', '90', 1],
    ['an INT', 'cd80', 0],
  ])('[D-30] the frame of %s does not go into a page table: the domain crashes', (_name, code, pending) => {
    const { guest, table, untouched } = withTable();
    guest.handle({ 6: { at: HANDLER }, 128: { at: HANDLER, flags: 3 } });
    guest.callbacks(HANDLER);
    guest.at(code);
    guest.setInfo(0, pending);
    guest.setInfo(1, 0);
    guest.machine.loop.deliveryDue = true;
    guest.cpu.rsp = table + 0x800n;
    expect(guest.stopped(3).message).toBe('domain_crash: create_bounce_frame');
    untouched();
  });
  test('[D-30] nor the frame of an entry from user mode, where stack_switch pointed into one', () => {
    const { guest, table, untouched } = withTable();
    guest.makeUserSpace();
    guest.handle({ 6: { at: HANDLER } });
    guest.ok(OP.stackSwitch, 0xe02b, table + 0x800n);
    guest.enterUser({ code: '0f0b' });
    expect(guest.stopped().message).toBe('domain_crash: create_bounce_frame');
    untouched();
  });
  test('[D-30] a frame that reaches from a writable page down into a page table writes nothing into it', () => {
    const { guest, table, untouched } = withTable();
    guest.handle({ 6: { at: HANDLER } });
    guest.at('0f0b');
    guest.cpu.rsp = table + 0x1010n;
    expect(guest.stopped().message).toBe('domain_crash: create_bounce_frame');
    untouched();
  });
  test('[D-27] the accessed bit goes into a page that is a descriptor page while it is one', () => {
    const guest = new PvGuest();
    const page = guest.page(8);
    guest.write(page, words(0, 0x00cff2000000ffffn));
    guest.readOnly(page);
    guest.mmuext(13, page, 2);
    guest.set({ rax: 15 });
    guest.exec('8ed8'); // mov ds, eax
    expect(guest.u64(page + 8n)).toBe(0x00cff3000000ffffn);
    expect(pin(guest, 1, guest.mfn(page))).toBe(EINVAL);
    expect(audit(guest)).toEqual([]);
    guest.mmuext(13, 0, 0);
    expect(audit(guest)).toEqual([]);
  });
});
