import { expect, test } from 'vitest';
import { doMemoryOp } from '../../../src/xen/memory-op.ts';
import { getM2p, INVALID_M2P } from '../../../src/xen/mm/m2p.ts';
import { shareXenPage } from '../../../src/xen/mm/refs.ts';
import { Guest, P, RW, SELF } from './guest.ts';

const ARG = 0x10100n;
const LIST = 0x11000n;

/** Writes a reservation at ARG + offset and its frame list. */
function reservation(
  g: Guest,
  frames: readonly number[],
  order = 0,
  flags = 0,
  offset = 0,
  list = LIST,
  domid = SELF,
): void {
  const view = new DataView(g.arguments.buffer);
  view.setBigUint64(0x100 + offset, list, true);
  view.setBigUint64(0x108 + offset, BigInt(frames.length), true);
  view.setUint32(0x110 + offset, order, true);
  view.setUint32(0x114 + offset, flags, true);
  view.setUint16(0x118 + offset, domid, true);
  for (const [i, frame] of frames.entries()) view.setBigUint64(Number(list - 0x10000n) + i * 8, BigInt(frame), true);
}
const listed = (g: Guest, count: number, list = LIST): number[] =>
  Array.from({ length: count }, (_, i) =>
    Number(new DataView(g.arguments.buffer).getBigUint64(Number(list - 0x10000n) + i * 8, true)),
  );

test('[D-17] reservations count pages, 1 MiB above the memory at most', () => {
  const g = new Guest(128);
  new DataView(g.arguments.buffer).setUint16(0x100, SELF, true);
  expect(doMemoryOp(g.d, 3, ARG)).toBe(128);
  // xl gives a domain of 0x2000 pages a limit of 0x2100 (mini-os on real Xen).
  expect(doMemoryOp(g.d, 4, ARG)).toBe(128 + 256);
  expect(doMemoryOp(g.d, 3, 0x20n)).toBe(-14);
  new DataView(g.arguments.buffer).setUint16(0x100, 5, true);
  expect(doMemoryOp(g.d, 3, ARG)).toBe(-3);
});

test('[D-17] memory_map is one entry of RAM, machphys_mapping the whole table', () => {
  const g = new Guest(128);
  const view = new DataView(g.arguments.buffer);
  view.setUint32(0x100, 8, true);
  view.setBigUint64(0x108, LIST, true);
  expect(doMemoryOp(g.d, 9, ARG)).toBe(0);
  expect(view.getUint32(0x100, true)).toBe(1);
  expect([view.getBigUint64(0x1000, true), view.getBigUint64(0x1008, true), view.getUint32(0x1010, true)]).toEqual([
    0n,
    128n * 4096n,
    1,
  ]);
  expect(doMemoryOp(g.d, 12, ARG)).toBe(0);
  expect([0, 8, 16].map((at) => view.getBigUint64(0x100 + at, true))).toEqual([
    0xffff800000000000n,
    0xffff804000000000n,
    0x7ffffffffn,
  ]);
  expect(doMemoryOp(g.d, 63, ARG)).toBe(-38);
  expect(doMemoryOp(g.d, 7, ARG)).toBe(-13);
});

test('[D-20] decrease gives frames back, populate takes the lowest free ones', () => {
  const g = new Guest(128);
  reservation(g, [g.mfn(5), g.mfn(9)]);
  expect(doMemoryOp(g.d, 1, ARG)).toBe(2);
  expect(g.d.state.totPages).toBe(126);
  expect(getM2p(g.d, g.mfn(5))).toBe(INVALID_M2P);
  // A frame that is gone stops the list; the count says where.
  reservation(g, [g.mfn(6), g.mfn(5), g.mfn(7)]);
  expect(doMemoryOp(g.d, 1, ARG)).toBe(1);
  expect(g.said()).toEqual([
    '(XEN) d1v0 Error mfn 01005: rd=d1 od=NULL caf=00000000 taf=0000000000000000',
    '(XEN) memory.c:404:d1v0 Bad page free for Dom1 GFN 1005',
  ]);
  reservation(g, [5, 6, 200]);
  expect(doMemoryOp(g.d, 6, ARG)).toBe(3);
  expect(listed(g, 3)).toEqual([g.mfn(5), g.mfn(6), g.mfn(9)]);
  expect(getM2p(g.d, g.mfn(9))).toBe(200n);
  expect(g.d.state.totPages).toBe(128);
});

test('[D-20] a mapped frame that was given back is free only when it is unmapped', () => {
  const g = new Guest(128);
  g.tree(0);
  expect(g.update([[3, 0, g.entry(50, P)]]).rc).toBe(0);
  reservation(g, [g.mfn(50)]);
  expect(doMemoryOp(g.d, 1, ARG)).toBe(1);
  expect(g.d.state.totPages).toBe(128);
  expect(getM2p(g.d, g.mfn(50))).toBe(50n);
  expect(g.update([[3, 0, 0n]]).rc).toBe(0);
  expect(g.d.state.totPages).toBe(127);
  expect(g.update([[3, 0, g.entry(50, P)]]).rc).toBe(-16);
});

test('[D-20] increase stops at what the domain may own', () => {
  const g = new Guest(128);
  reservation(g, new Array(300).fill(0));
  expect(doMemoryOp(g.d, 0, ARG)).toBe(256);
  expect(g.said()[0]).toBe('(XEN) d1v0 Over-allocation for d1: 385 > 384');
  reservation(g, [0], 10);
  expect(doMemoryOp(g.d, 0, ARG)).toBe(0);
  reservation(g, [0], 0, 0, 0, LIST, 3);
  expect(doMemoryOp(g.d, 0, ARG)).toBe(0);
});

test('[D-20] exchange of eight frames for a contiguous run below an address', () => {
  const g = new Guest(128);
  const input = [3, 8, 20, 21, 40, 41, 60, 99].map((pfn) => g.mfn(pfn));
  reservation(g, input);
  const OUT = 0x12000n;
  reservation(g, [77], 3, 0, 32, OUT);
  const view = new DataView(g.arguments.buffer);
  view.setBigUint64(0x140, 0n, true);
  expect(doMemoryOp(g.d, 11, ARG)).toBe(0);
  expect(view.getBigUint64(0x140, true)).toBe(8n);
  const [first] = listed(g, 1, OUT) as [number];
  expect(first % 8).toBe(0);
  expect(first).toBeGreaterThanOrEqual(g.d.layout.spareBase);
  expect(Array.from({ length: 8 }, (_, i) => getM2p(g.d, first + i))).toEqual([77n, 78n, 79n, 80n, 81n, 82n, 83n, 84n]);
  expect(g.d.state.totPages).toBe(128);
  for (const mfn of input) expect(g.d.frames.owner(mfn)).toBe(0);
});

test('[D-20] an exchange that fails gives everything back', () => {
  const g = new Guest(128);
  g.tree(0);
  const view = new DataView(g.arguments.buffer);
  const run = (frames: number[], outOrder: number, outFrames: number[], flags = 0): ReturnType<typeof doMemoryOp> => {
    reservation(g, frames);
    reservation(g, outFrames, outOrder, flags, 32, 0x12000n);
    view.setBigUint64(0x140, 0n, true);
    return doMemoryOp(g.d, 11, ARG);
  };
  expect(run([g.mfn(30), g.mfn(3)], 1, [30])).toBe(-22);
  expect(g.said()).toEqual([
    '(XEN) mm.c:4454:d1v0 Bad steal mfn 01003 from d1 (owner d1) caf=8000000000000002 taf=2400000000000001',
  ]);
  expect(run([g.mfn(30), g.mfn(31)], 1, [30], 14)).toBe(-12);
  expect(run([g.mfn(30), g.mfn(31)], 0, [30])).toBe(-22);
  expect(run([g.mfn(30)], 10, [30])).toBe(-1);
  expect([30, 31].map((pfn) => g.info(pfn).refs)).toEqual([0, 0]);
  expect(g.d.frames.owner(g.mfn(30))).toBe(1);
  expect(getM2p(g.d, g.mfn(30))).toBe(30n);
  expect(g.d.state.totPages).toBe(128);
});

test('[D-27] a domain that gives a page of the Xen heap back loses it, and Xen does not', () => {
  const g = new Guest(128);
  g.tree(0);
  const page = shareXenPage(g.d, true)!;
  expect(g.update([[3, 0, BigInt(page) * 4096n + P + RW]]).rc).toBe(0);
  expect(g.update([[3, 0, 0n]]).rc).toBe(0);
  reservation(g, [page, page]);
  expect(doMemoryOp(g.d, 1, ARG)).toBe(1);
  expect(g.d.state.totPages).toBe(128);
  expect(g.update([[3, 0, BigInt(page) * 4096n + P + RW]]).rc).toBe(-16);
  expect(shareXenPage(g.d, true)).toBe(page + 1);
});
