import { expect, test } from 'vitest';
import { INVALID_M2P } from '../../../src/xen/mm/m2p.ts';
import { isWritableTable, ptwrWrite } from '../../../src/xen/mm/ptwr.ts';
import { doMmuUpdate, doUpdateVaMapping } from '../../../src/xen/mm/update.ts';
import { A, Guest, P, RW, references, TABLE, US } from './guest.ts';

/** A guest that runs on the tree 0..3 with slot 0 of everything. */
const running = (): Guest => {
  const g = new Guest();
  g.tree(0);
  expect(g.ext(5, g.mfn(0))).toBe(0);
  return g;
};
const KERNEL = 1n << 52n;

test('[A-71] the number of updates done is written when one fails', () => {
  const g = running();
  expect(
    g.update([
      [3, 0, g.entry(9, P)],
      [3, 1, g.entry(9, P | 8n)],
      [3, 2, g.entry(9, P)],
    ]),
  ).toEqual({ rc: -22, done: 1 });
  expect(g.get(3, 0)).toBe(g.entry(9, P | US) | KERNEL);
  expect(g.get(3, 2)).toBe(0n);
  expect(g.update([])).toEqual({ rc: 0, done: 0 });
});

test('[A-71] 2048 updates in one call', () => {
  const g = running();
  const list = Array.from(
    { length: 1024 },
    (_, i) => [3, i & 511, g.entry(i & 63, P) | (BigInt(i >> 9) * 0x200n)] as const,
  );
  expect(g.update(list.slice(0, 2048))).toEqual({ rc: 0, done: 1024 });
  expect(g.get(3, 70)).toBe(g.entry(6, P | US | 0x200n) | KERNEL);
});

test('[D-06] commands and foreign domains of mmu_update have the results of Xen', () => {
  const g = running();
  const one = [[3, 0, g.entry(9, P)]] as const;
  expect(g.update(one, 4n).rc).toBe(-38);
  expect(g.update(one, 3n).rc).toBe(0);
  expect(g.update(one, 0n, 1)).toEqual({ rc: -3, done: 0 });
  expect(g.said()).toEqual(['(XEN) page_alloc.c:2671:d1v0 Cannot specify itself as foreign domain']);
  expect(g.update(one, 0n, 7).rc).toBe(-3);
  expect(g.update(one, 0n, 0).rc).toBe(-1);
  expect(g.update(one, 0n, 0x7ff0 | (2 << 16)).rc).toBe(0);
  expect(g.update(one, 0n, 0x7ff0 | (9 << 16)).rc).toBe(-3);
  expect(doMmuUpdate(g.d, 0xffff_8000_0000_0000n, 1, 0n, 0x7ff0)).toBe(-14);
  expect(doMmuUpdate(g.d, 0x1000n, 1, 0n, 0x7ff0)).toBe(-14);
  // A continuation that finished passes its result in place of the domain.
  expect(doMmuUpdate(g.d, 0n, 0x80000000, 0n, 0xffffffea)).toBe(-22);
});

test('[D-25] PRESERVE_AD keeps the accessed and dirty bits of the old entry', () => {
  const g = running();
  g.update([[3, 0, g.entry(9, P | RW | A | 0x40n)]]);
  expect(g.update([[3, 0, g.entry(9, P)]], 2n).rc).toBe(0);
  expect(g.get(3, 0)).toBe(g.entry(9, P | US | A | 0x40n) | KERNEL);
  expect(g.update([[3, 0, g.entry(9, P)]]).rc).toBe(0);
  expect(g.get(3, 0)).toBe(g.entry(9, P | US) | KERNEL);
});

test('[D-20] mmu_update of a page that is no table is a write where writing is allowed', () => {
  const g = running();
  expect(g.update([[30, 4, 0x1122334455667788n]]).rc).toBe(0);
  expect(g.get(30, 4)).toBe(0x1122334455667788n);
  expect(g.info(30)).toMatchObject({ count: 0, refs: 0 });
  g.tables.gdtFrames = [];
  expect(g.updateRaw([[BigInt(g.d.layout.m2p) * 4096n, 1n]]).rc).toBe(-22);
  expect(g.said().at(-1)).toBe('(XEN) mm.c:4114:d1v0 Could not get page for normal update');
});

test('[D-20] only an entry with its accessed bit set makes the MMU forget', () => {
  const g = running();
  const at = g.mfn(3) * 4096;
  g.update([
    [3, 0, g.entry(9, P)],
    [3, 0, g.entry(10, P | A)],
  ]);
  expect(g.changed).toEqual([]);
  g.update([
    [3, 0, g.entry(10, P | A)],
    [3, 0, g.entry(11, P | A)],
    [3, 0, 0n],
  ]);
  expect(g.changed).toEqual([at, at]);
});

test('[A-72] the M2P maps machine to physical frames, read-only, unused entries all ones', () => {
  const g = running();
  const { layout, memory } = g.d;
  const read = (mfn: number): bigint => memory.read64(layout.m2p * 4096 + mfn * 8);
  expect(read(g.mfn(5))).toBe(5n);
  expect(read(layout.spareBase)).toBe(INVALID_M2P);
  expect(read(0)).toBe(INVALID_M2P);
  expect(g.updateRaw([[(BigInt(g.mfn(5)) * 4096n) | 1n, 77n]]).rc).toBe(0);
  expect(read(g.mfn(5))).toBe(77n);
  expect(g.updateRaw([[(BigInt(layout.m2p) * 4096n) | 1n, 77n]]).rc).toBe(-22);
  expect(g.said().at(-1)).toBe('(XEN) mm.c:4238:d1v0 Could not get page for mach->phys update');
  // Walk 0xffff800000000000 + 8 * mfn through the L4 in use: slot 256, then 2 MiB of table pages, none of them writable.
  let table = Number(g.get(0, 256) >> 12n) & 0xffffff;
  expect(g.get(0, 256) & 0x8000000000000fffn).toBe(0x8000000000000025n);
  for (const index of [0, 0]) table = Number((memory.read64(table * 4096 + index * 8) >> 12n) & 0xffffffn);
  for (let i = 0; i < 512; i++) {
    const entry = memory.read64(table * 4096 + i * 8);
    expect(entry & 7n).toBe(5n);
    const page = Number((entry >> 12n) & 0xffffffffffn);
    if (i >= layout.m2pPages) expect(memory.read64(page * 4096)).toBe(INVALID_M2P);
    else expect(page).toBe(layout.m2p + i);
  }
});

test("[D-17] the slots of Xen in an L4 are not the guest's", () => {
  const g = running();
  for (const slot of [256, 271]) {
    expect(g.update([[0, slot, g.entry(1, TABLE)]]).rc).toBe(-22);
    expect(g.said()).toEqual([`(XEN) mm.c:2389:d1v0 L4 update in Xen-private area, slot 0x${slot.toString(16)}`]);
  }
  expect(g.update([[0, 272, g.entry(1, TABLE)]]).rc).toBe(0);
});

test('[D-26] m2p_strict hides the M2P from the user root and shows it in the kernel root', () => {
  const g = running();
  g.m2pStrict = true;
  g.tree(10);
  expect(g.get(10, 256)).toBe(0n);
  expect(g.ext(15, g.mfn(10))).toBe(0);
  expect(g.ext(15, g.mfn(0))).toBe(0);
  expect(g.get(0, 256)).toBe(0n);
  g.m2pStrict = false;
  expect(g.ext(5, g.mfn(10))).toBe(0);
  expect(g.get(10, 256)).not.toBe(0n);
});

test('[A-70] update_va_mapping changes the entry that maps an address', () => {
  const g = running();
  expect(doUpdateVaMapping(g.d, 0x5000n, g.entry(9, P | RW), 2n)).toBe(0);
  expect(g.get(3, 5)).toBe(g.entry(9, P | RW | US) | KERNEL);
  expect(doUpdateVaMapping(g.d, 0x5000n, g.entry(3, P | RW), 2n)).toBe(-16);
  // No L1 table there, Xen's area, and not canonical.
  for (const va of [0x200000n, 0x8000000000n, 0xffff800000000000n, 0x800000000000n])
    expect(doUpdateVaMapping(g.d, va, g.entry(9, P), 0n)).toBe(-22);
  expect(doUpdateVaMapping(g.d, 0x5000n, 0n, 0x2n | 0x10000n)).toBe(0);
  expect(doUpdateVaMapping(g.d, 0x5000n, 0n, 0x2n | 0x8n)).toBe(-14);
});

test('[D-24] a store to a read-only L1 table is checked and carried out', () => {
  const g = running();
  const at = g.mfn(3) * 4096;
  expect([0, 1, 2, 3, 9].map((pfn) => isWritableTable(g.d, g.mfn(pfn)))).toEqual([false, false, false, true, false]);
  expect(ptwrWrite(g.d, at + 8, 8, g.entry(9, P | RW))).toBe('done');
  expect(g.get(3, 1)).toBe(g.entry(9, P | RW | US) | KERNEL);
  expect(g.info(9)).toMatchObject({ type: 7, count: 1, refs: 1 });
  // A page table may not become writable; nothing changes.
  const before = references(g);
  expect(ptwrWrite(g.d, at + 8, 8, g.entry(2, P | RW))).toBe('refused');
  expect(g.said().at(-1)).toBe('(XEN) ro-page-fault.c:163:d1v0 could not get_page_from_l1e()');
  expect(g.get(3, 1)).toBe(g.entry(9, P | RW | US) | KERNEL);
  expect(references(g)).toEqual(before);
  // Part of an entry: the low byte without RW; then the high half.
  expect(ptwrWrite(g.d, at + 8, 1, P | US)).toBe('done');
  expect(g.get(3, 1)).toBe(g.entry(9, P | US) | KERNEL);
  expect(g.info(9)).toMatchObject({ count: 0, refs: 1 });
  expect(ptwrWrite(g.d, at + 12, 4, 0x80100000n)).toBe('done');
  expect(g.get(3, 1)).toBe(g.entry(9, P | US) | KERNEL | (1n << 63n));
  expect(ptwrWrite(g.d, at + 9, 2, 0n)).toBe('refused');
  expect(ptwrWrite(g.d, at + 8, 16, 0n)).toBe('refused');
  expect(g.said().map((line) => line.replace(/.*d1v0 /, '').replace(/=[0-9a-f]+/g, '='))).toEqual([
    'bad access (cr2=, addr=, bytes=)',
    'bad write size (addr=, bytes=)',
  ]);
});

test('[D-24] a compare-and-exchange on an L1 entry', () => {
  const g = running();
  const at = g.mfn(3) * 4096;
  ptwrWrite(g.d, at, 8, g.entry(9, P));
  const current = g.get(3, 0);
  const before = references(g);
  expect(ptwrWrite(g.d, at, 8, g.entry(10, P | RW), current | A)).toEqual({ mismatch: current });
  expect(references(g)).toEqual(before);
  expect(ptwrWrite(g.d, at, 8, g.entry(10, P | RW), current)).toBe('done');
  expect(g.info(9)).toMatchObject({ refs: 0 });
  expect(g.info(10)).toMatchObject({ type: 7, count: 1, refs: 1 });
  expect(ptwrWrite(g.d, at + 4, 4, 0n, 0x123n)).toEqual({ mismatch: g.get(3, 0) >> 32n });
});
