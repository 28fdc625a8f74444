import { describe, expect, test } from 'vitest';
import { CODE, DATA, HANDLER, PvGuest, SELF, USER_CODE, words } from '../../support/pv-guest.ts';
import { entryOf, FRAME_MASK, mappedEntry } from '../../support/pv-tables.ts';

const PAGE = 4096n;
const entry = (guest: PvGuest, address: bigint): bigint => guest.xen.memory.read64(entryOf(guest, address));
const faulting = (): PvGuest => {
  const guest = new PvGuest();
  guest.handle({ 14: { at: HANDLER } });
  return guest;
};

describe('stores to page tables', () => {
  test('[D-24] an aligned store to a read-only L1 entry is carried out and takes its effect', () => {
    const guest = faulting();
    const page = guest.page(9);
    guest.write(page, words(1));
    const other = BigInt(guest.mfn(guest.page(10)));
    guest.write(guest.page(10), words(2));
    guest.set({ rdi: mappedEntry(guest, page), rax: (other * PAGE) | 0x63n });
    guest.exec('48 89 07'); // mov [rdi], rax
    expect(guest.cpu.rip).toBe(CODE + 3n);
    expect(entry(guest, page) & FRAME_MASK).toBe(other * PAGE);
    guest.set({ rbx: page });
    guest.exec('48 8b 03');
    expect(guest.get('rax')).toBe(2n);
  });
  test('[D-24] [D-22] the stored entry has US and GUEST_KERNEL added, and reads back the same each time', () => {
    const guest = faulting();
    const page = guest.page(9);
    const value = (BigInt(guest.mfn(page)) * PAGE) | 0x3n;
    guest.set({ rdi: mappedEntry(guest, page), rax: value });
    guest.exec('48 89 07');
    const stored = entry(guest, page);
    expect(stored).toBe(value | 4n | (1n << 52n));
    guest.exec('48 89 07');
    expect(entry(guest, page)).toBe(stored);
  });
  test('[D-24] CMPXCHG, LOCK AND and XCHG work on an entry; a mismatch leaves it', () => {
    const guest = faulting();
    const page = guest.page(9);
    const at = mappedEntry(guest, page);
    const old = entry(guest, page);
    const next = (old & ~FRAME_MASK) | (BigInt(guest.mfn(guest.page(10))) * PAGE);
    guest.set({ rdi: at, rax: old, rbx: next });
    guest.exec('f0 48 0f b1 1f'); // lock cmpxchg [rdi], rbx
    expect(guest.cpu.rflags & 0x40).toBe(0x40);
    expect(entry(guest, page) & FRAME_MASK).toBe(next & FRAME_MASK);
    guest.set({ rax: 0x1234, rbx: old });
    guest.exec('f0 48 0f b1 1f');
    expect(guest.cpu.rflags & 0x40).toBe(0);
    expect(guest.get('rax')).toBe(entry(guest, page));
    guest.set({ rbx: ~2n });
    guest.exec('f0 48 21 1f'); // lock and [rdi], rbx: clears RW
    expect(entry(guest, page) & 2n).toBe(0n);
    guest.set({ rbx: page });
    guest.exec('48 89 03');
    expect(guest.cpu.rip).toBe(HANDLER);
    guest.set({ rdi: at, rbx: 0 });
    guest.exec('48 87 1f'); // xchg [rdi], rbx
    expect(entry(guest, page)).toBe(0n);
    expect(guest.get('rbx') & FRAME_MASK).toBe(next & FRAME_MASK);
  });
  test('[D-24] a part of an entry becomes the whole: the other bytes stay', () => {
    const guest = faulting();
    const page = guest.page(9);
    const before = entry(guest, page);
    guest.set({ rdi: mappedEntry(guest, page), rax: before & 0xfdn });
    guest.exec('88 07'); // mov [rdi], al: RW off
    expect(entry(guest, page)).toBe(before & ~2n);
    guest.set({ rax: before & 0xffff_ffffn });
    guest.exec('89 07');
    expect(entry(guest, page)).toBe(before);
  });
  test('[D-24] what mmu_update would refuse faults to the guest and leaves entry and registers', () => {
    const guest = faulting();
    const page = guest.page(9);
    const at = mappedEntry(guest, page);
    const before = entry(guest, page);
    const table = BigInt(Math.floor(entryOf(guest, page) / 4096));
    for (const bad of [(table * PAGE) | 0x63n, 0xff_ffff_f063n]) {
      guest.set({ rdi: at, rax: bad });
      guest.exec('48 89 07');
      expect(guest.cpu.rip).toBe(HANDLER);
      expect(guest.traps.at(-1)).toMatchObject({ vector: 14, error: 3, address: at });
      expect(entry(guest, page)).toBe(before);
      guest.set({ rbx: bad });
      guest.exec('48 87 1f');
      expect(guest.get('rbx')).toBe(bad);
    }
    // not aligned
    guest.set({ rdi: at + 4n, rax: 0 });
    guest.exec('48 89 07');
    expect(guest.cpu.rip).toBe(HANDLER);
  });
  test('[D-24] L2 to L4 are not emulated: the store faults', () => {
    const guest = faulting();
    const base = guest.startInfoWord(0x58); // the L4 is the first
    const index = (DATA >> 39n) & 511n;
    guest.set({ rdi: base + index * 8n, rax: guest.u64(base + index * 8n) });
    guest.exec('48 89 07');
    expect(guest.cpu.rip).toBe(HANDLER);
  });
  test('[D-24] an emulated store is one step', () => {
    const guest = faulting();
    const page = guest.page(9);
    guest.set({ rdi: mappedEntry(guest, page), rax: entry(guest, page) });
    guest.at('48 89 07');
    const { tick } = guest.machine;
    guest.step();
    expect([guest.machine.tick - tick, guest.cpu.rip]).toEqual([1, CODE + 3n]);
  });
});

describe('translations', () => {
  test('[D-25] accessed and dirty are set in tables that are mapped read-only; mmu_update can preserve them', () => {
    const guest = new PvGuest();
    const page = guest.page(9);
    const clean = entry(guest, page) & ~0x60n;
    guest.ok(14, page, clean, 2);
    guest.set({ rbx: page });
    guest.exec('48 8b 03');
    expect(entry(guest, page) & 0x60n).toBe(0x20n);
    guest.exec('48 89 03');
    expect(entry(guest, page) & 0x60n).toBe(0x60n);
    const at = BigInt(entryOf(guest, page));
    expect(guest.call(1, guest.put(words(at | 2n, clean)), 1, 0, SELF)).toBe(0);
    expect(entry(guest, page) & 0x60n).toBe(0x60n);
    expect(guest.call(1, guest.put(words(at, clean)), 1, 0, SELF)).toBe(0);
    expect(entry(guest, page) & 0x60n).toBe(0n);
  });
  test('[D-26] [A-72] the M2P is readable at its place for every frame, and read-only', () => {
    const guest = faulting();
    const m2p = 0xffff_8000_0000_0000n;
    const mfn = guest.mfn(guest.page(9));
    guest.set({ rbx: m2p + BigInt(mfn * 8) });
    guest.exec('48 8b 03');
    expect(guest.cpu.rip).toBe(CODE + 3n);
    const pfn = guest.get('rax');
    const list = guest.startInfoWord(0x68); // mfn_list
    expect(guest.u64(list + pfn * 8n)).toBe(BigInt(mfn));
    guest.set({ rbx: m2p });
    guest.exec('48 8b 03');
    expect(guest.cpu.rip).toBe(CODE + 3n);
    guest.exec('48 89 03');
    expect(guest.cpu.rip).toBe(HANDLER);
    // machphys_mapping says where
    const at = guest.page(10);
    expect(guest.call(12, 12, at)).toBe(0);
    expect(guest.u64(at)).toBe(m2p);
  });
  test('[D-26] user mode reads the M2P, unless m2p_strict', () => {
    const guest = new PvGuest();
    guest.handle({ 14: { at: HANDLER } });
    guest.makeUserSpace();
    guest.enterUser({ code: '48 8b 03' });
    guest.set({ rbx: 0xffff_8000_0000_0000n });
    guest.step();
    const open = guest.cpu.rip !== HANDLER;
    const strict = new PvGuest();
    strict.handle({ 14: { at: HANDLER } });
    strict.ok(21, 0, 32);
    strict.makeUserSpace();
    strict.enterUser({ code: '48 8b 03' });
    strict.set({ rbx: 0xffff_8000_0000_0000n });
    strict.step();
    expect([open, strict.cpu.rip === HANDLER]).toEqual([true, true]);
  });
  test('[D-27] a frame of the machine that is not the domain’s cannot be mapped', () => {
    const guest = new PvGuest();
    expect(guest.call(14, guest.page(9), 0x1063n, 2)).toBe(-1);
    expect(guest.call(14, 0xffff_8000_0000_0000n, 0x63n, 2)).toBe(-22);
    expect(guest.call(14, 0x1000n, 0n, 2)).toBe(-22); // no L1 there
  });
  test('[D-29] an update without a flush is seen by the next access', () => {
    const guest = new PvGuest();
    const [a, b] = [guest.page(9), guest.page(10)];
    guest.write(a, words(1));
    guest.write(b, words(2));
    guest.set({ rbx: a });
    guest.exec('48 8b 03');
    expect(guest.get('rax')).toBe(1n);
    guest.ok(14, a, (BigInt(guest.mfn(b)) * PAGE) | 0x63n, 0);
    guest.set({ rbx: a });
    guest.exec('48 8b 03');
    expect(guest.get('rax')).toBe(2n);
  });
  test('[A-73] flushes by mask, for all and local are accepted; INVLPG too', () => {
    const guest = new PvGuest();
    const mask = guest.put(words(1));
    for (const cmd of [6, 10]) guest.mmuext(cmd, 0);
    for (const cmd of [7, 11]) guest.mmuext(cmd, guest.page(9));
    guest.mmuext(8, 0, mask);
    guest.mmuext(9, guest.page(9), mask);
    expect(guest.tryMmuext(8, 0, 0x1000)).toBe(-22);
    expect(guest.tryMmuext(12, 0)).toBe(-13); // FLUSH_CACHE needs a device
  });
  test('[X-09] code written through one mapping runs through another', () => {
    const guest = new PvGuest();
    const page = guest.page(9);
    const code = CODE + 0x9000n;
    guest.ok(14, page, (BigInt(guest.mfn(code)) * PAGE) | 0x63n, 2);
    guest.exec('48 c7 c0 01 00 00 00', code); // mov rax, 1
    expect(guest.get('rax')).toBe(1n);
    guest.set({ rbx: page + 3n });
    guest.exec('c6 03 07'); // mov byte [rbx], 7
    guest.cpu.rip = code;
    guest.step();
    expect(guest.get('rax')).toBe(7n);
  });
  test('[X-09] an instruction that changes the one behind it is seen by that one', () => {
    const guest = new PvGuest();
    guest.set({ rbx: CODE + 4n, rax: 0 });
    guest.at('c6 03 42 b0 00'); // mov byte [rbx], 0x42; mov al, 0
    guest.step(2);
    expect(guest.get('rax')).toBe(0x42n);
  });
});

describe('descriptor tables', () => {
  const code = 0x00af_fb00_0000_ffffn;
  const data = 0x00cf_f300_0000_ffffn;
  test('[A-14] [A-15] [A-25] set_gdt takes read-only pages, as many as hold the entries', () => {
    const guest = new PvGuest();
    const page = guest.page(9);
    guest.write(page, words(0, code, data));
    const frames = guest.page(10);
    guest.write(frames, words(guest.mfn(page), ...Array.from({ length: 15 }, () => 0xdead_dead_dead)));
    expect(guest.call(2, frames, 512)).toBe(-22); // writable
    guest.readOnly(page);
    expect(guest.call(2, frames, 512)).toBe(0);
    expect(guest.call(2, frames, 7169)).toBe(-22);
    expect(guest.call(2, frames, 513)).toBe(-22);
    expect(guest.call(2, 0x1000, 1)).toBe(-14);
    // the guest's own segment loads, Xen's flat ones stay
    guest.set({ rax: 0x13 });
    guest.exec('8e d8'); // mov ds, eax
    expect(guest.cpu.selector('ds')).toBe(0x13);
    guest.set({ rax: 0xe02b });
    guest.exec('8e d8');
    expect(guest.cpu.selector('ds')).toBe(0xe02b);
    // and a writable mapping of it is refused from now on
    expect(guest.call(14, page, (BigInt(guest.mfn(page)) * PAGE) | 0x63n, 2)).toBe(-16);
  });
  test('[D-05] update_descriptor checks and corrects', () => {
    const guest = new PvGuest();
    const page = guest.page(9);
    guest.readOnly(page);
    guest.write(guest.page(10), words(guest.mfn(page)));
    guest.ok(2, guest.page(10), 512);
    const at = BigInt(guest.pa(page)) + 16n;
    guest.ok(10, at, 0x00cf_9300_0000_ffffn); // DPL 0
    expect(guest.u64(page + 16n)).toBe(data);
    expect(guest.call(10, at + 1n, data)).toBe(-22);
    expect(guest.call(10, at, 0x0000_8900_0000_0067n)).toBe(-22); // a TSS
  });
  test('[A-29] the LDT is taken page by page on the first use of a selector in it', () => {
    const guest = new PvGuest();
    guest.handle({ 13: { at: HANDLER } });
    const page = guest.page(9);
    guest.write(page, words(0, data));
    guest.readOnly(page);
    guest.mmuext(13, page, 2);
    guest.set({ rax: 0xf });
    guest.exec('8e d8');
    expect(guest.cpu.selector('ds')).toBe(0xf);
    guest.set({ rax: 0x17 }); // behind its end
    guest.exec('8e d8');
    expect(guest.cpu.rip).toBe(HANDLER);
    expect(guest.u64(guest.cpu.rsp + 16n)).toBe(0x14n);
    expect(guest.tryMmuext(13, page + 8n, 2)).toBe(-22);
    expect(guest.tryMmuext(13, page, 8193)).toBe(-22);
    guest.mmuext(13, 0, 0);
  });
});

describe('user space', () => {
  test('[A-31] an L4 in use takes updates, and what is stored is the same for the same value', () => {
    const guest = new PvGuest();
    guest.makeUserSpace();
    const l4 = BigInt(guest.pa(guest.page(0)));
    const value = guest.u64(guest.page(0));
    const update = (v: bigint): number => guest.call(1, guest.put(words(l4 + 8n, v)), 1, 0, SELF);
    const l3 = BigInt(guest.mfn(guest.page(1)));
    expect(update((l3 * PAGE) | 0x3n)).toBe(0);
    const stored = guest.u64(guest.page(0) + 8n);
    expect(stored & 4n).toBe(4n);
    expect(update((l3 * PAGE) | 0x3n)).toBe(0);
    expect(guest.u64(guest.page(0) + 8n)).toBe(stored);
    expect(update(0n)).toBe(0);
    expect(guest.u64(guest.page(0))).toBe(value);
    guest.mmuext(15, 0); // no user tables
    expect(guest.xen.vcpus[0]!.userTable).toBe(0);
  });
  test('[A-58] NX may stand in an upper entry, and nothing below it executes', () => {
    const guest = new PvGuest();
    guest.handle({ 14: { at: HANDLER } });
    guest.makeUserSpace();
    const nx = 1n << 63n;
    const at = BigInt(guest.pa(guest.page(0)));
    expect(guest.call(1, guest.put(words(at, guest.u64(guest.page(0)) | nx)), 1, 0, SELF)).toBe(0);
    expect(guest.u64(guest.page(0)) & nx).toBe(nx);
    guest.enterUser({ code: '90' });
    guest.step();
    expect(guest.cpu.rip).toBe(HANDLER);
    expect(guest.traps.at(-1)).toMatchObject({ vector: 14, error: 0x15, address: USER_CODE });
  });
  test('[A-16] [A-17] a frame that is no table cannot become a root', () => {
    const guest = new PvGuest();
    expect(guest.tryMmuext(5, guest.mfn(guest.page(9)))).toBe(-22);
    expect(guest.tryMmuext(15, guest.mfn(guest.page(9)))).toBe(-22);
    expect(guest.tryMmuext(5, 0xfffffff)).toBe(-22);
  });
  test('[A-76] CLEAR_PAGE and COPY_PAGE need a page that can be written', () => {
    const guest = new PvGuest();
    const [a, b] = [guest.page(9), guest.page(10)];
    guest.write(a, words(1, 2));
    guest.mmuext(17, guest.mfn(b), guest.mfn(a));
    expect(guest.quads(b, 2)).toEqual([1n, 2n]);
    guest.mmuext(16, guest.mfn(b));
    expect(guest.quads(b, 2)).toEqual([0n, 0n]);
    expect(guest.tryMmuext(16, Number(guest.cpu.get('cr3') >> 12n))).toBe(-22);
  });
});
