import { expect, test } from 'vitest';
import { doUpdateDescriptor, mapLdtPage, setGdt } from '../../../src/xen/mm/descriptors.ts';
import { doMmuextOp } from '../../../src/xen/mm/mmuext.ts';
import { checkDescriptor } from '../../../src/xen/mm/segdesc.ts';
import { A, Guest, P, RW, SELF } from './guest.ts';

const running = (): Guest => {
  const g = new Guest();
  g.tree(0);
  expect(g.ext(5, g.mfn(0))).toBe(0);
  return g;
};

test('[D-20] results of the operations that do nothing here', () => {
  const g = running();
  expect(g.ext(12)).toBe(-13);
  expect(g.ext(18)).toBe(-22);
  expect([19, 20].map((cmd) => g.ext(cmd))).toEqual([-95, -95]);
  expect([14, 21, 99].map((cmd) => g.ext(cmd))).toEqual([-38, -38, -38]);
  expect([6, 7, 10, 11].map((cmd) => g.ext(cmd, 0x1000))).toEqual([0, 0, 0, 0]);
  expect([8, 9].map((cmd) => g.ext(cmd, 0x1000, 0x10000))).toEqual([0, 0]);
  expect([8, 9].map((cmd) => g.ext(cmd, 0x1000, 0x10))).toEqual([-22, -22]);
  expect(doMmuextOp(g.d, 0x10100n, 1, 0n, 0)).toBe(-1);
  expect(doMmuextOp(g.d, 0x10100n, 1, 0n, 1)).toBe(-3);
});

test("[D-20] pins of frames that are not the domain's", () => {
  const g = running();
  expect(g.ext(0, g.d.layout.frameLimit)).toBe(-22);
  expect(g.said()).toEqual([]);
  expect(g.ext(0, g.d.layout.m2p)).toBe(-22);
  expect(g.said()).toEqual(['(XEN) d1v0 Error mfn 00104: rd=d1 od=d[XEN] caf=c000000000000001 taf=0400000000000001']);
  expect(g.ext(4, g.d.layout.frameLimit)).toBe(-22);
  expect(g.said()).toEqual(['(XEN) mm.c:3632:d1v0 mfn 01280 bad, or bad owner d1']);
});

test('[A-17] a root that is no L4 is refused and the old one stays', () => {
  const g = running();
  expect(g.ext(5, g.mfn(1))).toBe(-22);
  expect(g.said().at(-1)).toBe('(XEN) mm.c:3346:d1v0 Error while installing new baseptr 01001');
  expect(g.tables.kernelTable).toBe(g.mfn(0));
  expect(g.ext(15, g.mfn(2))).toBe(-22);
  expect(g.said().at(-1)).toBe('(XEN) mm.c:3708:d1v0 Error -22 installing new mfn 01002');
  expect(g.info(0)).toMatchObject({ count: 2 });
});

test('[A-31] the user root may be none', () => {
  const g = running();
  g.tree(10);
  expect(g.ext(15, g.mfn(10))).toBe(0);
  expect(g.info(10)).toMatchObject({ count: 2 });
  expect(g.ext(15, 0)).toBe(0);
  expect(g.tables.userTable).toBe(0);
  expect(g.info(10)).toMatchObject({ count: 1 });
});

test('[A-76] clearing and copying pages needs them writable', () => {
  const g = running();
  g.put(30, 0, 5n);
  expect(g.ext(17, g.mfn(31), g.mfn(30))).toBe(0);
  expect(g.get(31, 0)).toBe(5n);
  expect(g.ext(16, g.mfn(30))).toBe(0);
  expect(g.get(30, 0)).toBe(0n);
  expect(g.ext(16, g.mfn(3))).toBe(-22);
  expect(g.said().at(-1)).toBe('(XEN) mm.c:3865:d1v0 Error clearing mfn 01003');
  expect(g.ext(17, g.mfn(3), g.mfn(30))).toBe(-22);
  expect(g.said().at(-1)).toBe('(XEN) mm.c:3913:d1v0 Error copying to mfn 01003');
  // Reading a table is allowed.
  expect(g.ext(17, g.mfn(30), g.mfn(3))).toBe(0);
  for (const pfn of [30, 31]) expect(g.info(pfn)).toMatchObject({ count: 0, refs: 0 });
});

test('[A-14] a GDT page must not be mapped writable', () => {
  const g = running();
  expect(g.update([[3, 0, g.entry(40, P | RW)]]).rc).toBe(0);
  expect(setGdt(g.d, [g.mfn(40)], 16)).toBe(-22);
  expect(g.said()[0]).toBe(
    '(XEN) mm.c:2940:d1v0 Bad type (saw e400000000000001 != exp a000000000000000) for mfn 01028 (pfn 00028)',
  );
  expect(g.update([[3, 0, g.entry(40, P)]]).rc).toBe(0);
  expect(setGdt(g.d, [g.mfn(40)], 16)).toBe(0);
  expect(g.tables).toMatchObject({ gdtFrames: [g.mfn(40)], gdtEntries: 16 });
  expect(g.info(40)).toMatchObject({ type: 5, count: 1 });
});

test('[A-25] [A-15] set_gdt takes 7168 entries at most, and only the frames they need', () => {
  const g = running();
  const frames = Array.from({ length: 16 }, (_, i) => (i < 14 ? g.mfn(40 + i) : 0xdead));
  expect(setGdt(g.d, frames, 7169)).toBe(-22);
  expect(setGdt(g.d, frames, 7168)).toBe(0);
  expect(setGdt(g.d, [g.mfn(40), 0xdead], 1)).toBe(0);
  expect(g.info(41)).toMatchObject({ count: 0, refs: 0 });
  // A failure in the middle gives the frames before it back and keeps the old GDT.
  expect(setGdt(g.d, [g.mfn(50), g.mfn(3)], 1024)).toBe(-22);
  expect(g.info(50)).toMatchObject({ count: 0, refs: 0 });
  expect(g.tables.gdtFrames).toEqual([g.mfn(40)]);
});

test('[D-31] descriptors are corrected or refused', () => {
  const FLAT_DPL0 = 0x00af9b000000ffffn;
  expect(checkDescriptor(FLAT_DPL0)).toBe(0x00affb000000ffffn);
  expect(checkDescriptor(0n)).toBe(0n);
  // Not present is anything; system types other than a call gate are refused.
  expect(checkDescriptor(0x00000900_00000000n)).toBe(0x00000900_00000000n);
  expect(checkDescriptor(0x00008900_00000000n)).toBeNull();
  expect(checkDescriptor(0x00008e00_00000000n)).toBeNull();
  // A call gate to a guest segment: level 0 in the gate, the guest's level in the selector.
  expect(checkDescriptor(0x0000ec00_00081234n)).toBe(0x00008c00_000b1234n);
  expect(checkDescriptor(0x0000ec00_e0081234n)).toBeNull();
  const g = running();
  expect(doUpdateDescriptor(g.d, BigInt(g.mfn(40) * 4096 + 8), FLAT_DPL0)).toBe(0);
  expect(g.get(40, 1)).toBe(0x00affb000000ffffn);
  expect(doUpdateDescriptor(g.d, BigInt(g.mfn(40) * 4096 + 4), FLAT_DPL0)).toBe(-22);
  expect(doUpdateDescriptor(g.d, BigInt(g.mfn(3) * 4096), FLAT_DPL0)).toBe(-22);
  g.put(41, 3, 0x00008900_00000000n);
  expect(setGdt(g.d, [g.mfn(41)], 512)).toBe(-22);
});

test('[A-29] an LDT page becomes a descriptor page when it is first used', () => {
  const g = running();
  expect(g.ext(13, 0x1001, 1)).toBe(-22);
  expect(g.said()).toEqual(['(XEN) mm.c:3837:d1v0 Bad args to SET_LDT: ptr=1001, ents=1']);
  expect(g.ext(13, 0x1000, 8193)).toBe(-22);
  expect(g.update([[3, 1, g.entry(60, P | RW | A)]]).rc).toBe(0);
  expect(g.ext(13, 0x1000, 512)).toBe(0);
  expect(g.tables).toMatchObject({ ldtBase: 0x1000n, ldtEntries: 512 });
  expect(mapLdtPage(g.d, 8)).toBeNull();
  expect(g.update([[3, 1, g.entry(60, P | A)]]).rc).toBe(0);
  expect(mapLdtPage(g.d, 8)).toBe(g.mfn(60));
  expect(g.info(60)).toMatchObject({ type: 5, count: 1, refs: 2 });
  expect(g.ext(13, 0, 0)).toBe(0);
  expect(g.info(60)).toMatchObject({ count: 0, refs: 1 });
});

test('[D-20] the count of operations done is written when one fails', () => {
  const g = running();
  const view = new DataView(g.arguments.buffer);
  for (const [i, cmd] of [6, 12, 6].entries()) view.setUint32(0x100 + i * 24, cmd, true);
  expect(doMmuextOp(g.d, 0x10100n, 3, 0x10000n, SELF)).toBe(-13);
  expect(view.getUint32(0, true)).toBe(1);
});
