import { expect, test } from 'vitest';
import { setGdt } from '../../../src/xen/mm/descriptors.ts';
import { A, Guest, P, RW, references, TABLE, US } from './guest.ts';

const setGdtFrame = (g: Guest, pfn: number | null): number =>
  pfn === null ? setGdt(g.d, [], 0) : setGdt(g.d, [g.mfn(pfn)], 512);

// Types: 1-4 page tables, 5 descriptor page, 7 writable (xen/arch/x86/include/asm/mm.h).

test('[D-20] pinning an L4 validates the whole tree and counts each use', () => {
  const g = new Guest();
  g.put(3, 0, g.entry(10, P | RW));
  g.put(3, 1, g.entry(10, P | RW));
  g.put(3, 2, g.entry(11, P));
  g.tree(0);
  expect(g.info(0)).toEqual({ type: 4, count: 1, refs: 1, pinned: true });
  expect(g.info(1)).toEqual({ type: 3, count: 1, refs: 1, pinned: false });
  expect(g.info(2)).toEqual({ type: 2, count: 1, refs: 1, pinned: false });
  expect(g.info(3)).toEqual({ type: 1, count: 1, refs: 1, pinned: false });
  expect(g.info(10)).toMatchObject({ type: 7, count: 2, refs: 2 });
  expect(g.info(11)).toMatchObject({ type: 0, count: 0, refs: 1 });
  expect(g.said()).toEqual([]);
});

test('[D-20] a writable mapping of a page table is refused in the words of Xen', () => {
  const g = new Guest();
  g.tree(0);
  const before = references(g);
  // From a table already in use ...
  expect(g.update([[3, 5, g.entry(1, P | RW)]])).toEqual({ rc: -16, done: 0 });
  expect(g.said()).toEqual([
    '(XEN) mm.c:2940:d1v0 Bad type (saw 6400000000000001 != exp e000000000000000) for mfn 01001 (pfn 00001)',
    '(XEN) mm.c:1014:d1v0 Could not get page type PGT_writable_page',
    '(XEN) mm.c:1040:d1v0 Error getting mfn 01001 (pfn 00001) from L1 entry 0010000001001007 for l1e_owner d1, pg_owner d1',
  ]);
  expect(references(g)).toEqual(before);
  // ... and a page table that is mapped writable cannot become one.
  expect(g.update([[3, 5, g.entry(20, P | RW)]]).rc).toBe(0);
  expect(g.pin(1, 20)).toBe(-22);
  expect(g.said()).toEqual([
    '(XEN) mm.c:2940:d1v0 Bad type (saw e400000000000001 != exp 2000000000000000) for mfn 01014 (pfn 00014)',
    '(XEN) mm.c:3576:d1v0 Error -22 while pinning mfn 01014',
  ]);
});

test('[S01] [X-06] a writable mapping of a descriptor page makes a later pin fail', () => {
  const g = new Guest();
  const before = references(g);
  g.put(1, 7, g.entry(5, P | RW | A | 0x40n));
  expect(setGdtFrame(g, 5)).toBe(0);
  expect(g.pin(1, 1)).toBe(-16);
  expect(g.said()).toEqual([
    '(XEN) mm.c:2940:d1v0 Bad type (saw a400000000000001 != exp e000000000000000) for mfn 01005 (pfn 00005)',
    '(XEN) mm.c:1014:d1v0 Could not get page type PGT_writable_page',
    '(XEN) mm.c:1040:d1v0 Error getting mfn 01005 (pfn 00005) from L1 entry 0000000001005063 for l1e_owner d1, pg_owner d1',
    '(XEN) mm.c:1366:d1v0 Failure -16 in promote_l1_table: slot 0x7',
    '(XEN) mm.c:2649:d1v0 Error while validating mfn 01001 (pfn 00001) for type 2000000000000000: caf=8000000000000002 taf=2000000000000001',
    '(XEN) mm.c:3576:d1v0 Error -16 while pinning mfn 01001',
  ]);
  expect(setGdtFrame(g, null)).toBe(0);
  expect(references(g)).toEqual(before);
  // Read-only, the same mapping is fine.
  g.put(1, 7, g.entry(5, P | A));
  expect(setGdtFrame(g, 5)).toBe(0);
  expect(g.pin(1, 1)).toBe(0);
});

test('[D-20] a promotion that fails deep down leaves no reference behind', () => {
  const g = new Guest();
  for (const slot of [0, 1, 2]) g.put(0, slot, g.entry(1, TABLE));
  g.put(0, 300, g.entry(4, TABLE));
  g.put(1, 0, g.entry(2, TABLE));
  g.put(2, 0, g.entry(3, TABLE));
  for (let i = 0; i < 20; i++) g.put(3, i, g.entry(30 + i, P | RW));
  g.put(4, 0, g.entry(5, TABLE));
  g.put(5, 0, g.entry(3, TABLE));
  g.put(5, 9, g.entry(6, TABLE));
  g.put(6, 0, g.entry(31, P | RW));
  g.put(6, 500, g.entry(5, P | RW));
  const before = references(g);
  expect(g.pin(4, 0)).toBe(-16);
  expect(references(g)).toEqual(before);
  const said = g.said();
  // The L1 table's -EBUSY is not -EINVAL, so that no linear mapping is tried on the way up.
  expect(said).toContain('(XEN) mm.c:1366:d1v0 Failure -16 in promote_l1_table: slot 0x1f4');
  expect(said).toContain('(XEN) mm.c:1474:d1v0 Failure -16 in promote_l2_table: slot 0x9');
  expect(said.at(-1)).toMatch(/Error -16 while pinning mfn 01000$/);
});

test('[A-33] a table may map itself read-only, and never writable', () => {
  const g = new Guest();
  g.put(0, 510, g.entry(0, P | US | A));
  g.tree(0);
  expect(g.info(0)).toMatchObject({ type: 4, count: 1, refs: 1 });
  expect(g.update([[0, 509, g.entry(0, P | RW | US | A)]]).rc).toBe(-22);
  expect(g.said()).toEqual(['(XEN) mm.c:697:d1v0 Attempt to create linear p.t. with write perms']);
  const other = new Guest();
  other.put(0, 510, other.entry(0, TABLE));
  expect(other.pin(4, 0)).toBe(-22);
  expect(other.said().slice(0, 2)).toEqual([
    '(XEN) mm.c:697:d1v0 Attempt to create linear p.t. with write perms',
    '(XEN) mm.c:1784:d1v0 Failure -22 in promote_l4_table: slot 0x1fe',
  ]);
});

test('[A-33] an L4 may map another validated L4 read-only, but no chain forms', () => {
  const g = new Guest();
  g.tree(0);
  g.tree(10);
  g.tree(20);
  expect(g.update([[0, 400, g.entry(10, P | US | A)]]).rc).toBe(0);
  expect(g.info(10)).toMatchObject({ type: 4, count: 2, refs: 2 });
  // 10 is used, so it may not use; 0 uses, so it may not be used.
  expect(g.update([[10, 400, g.entry(20, P | US | A)]]).rc).toBe(-22);
  expect(g.update([[20, 400, g.entry(0, P | US | A)]]).rc).toBe(-22);
  // A page that is no table yet becomes an L3 by an L4's entry; an unvalidated L4 does not exist.
  expect(g.update([[0, 400, 0n]]).rc).toBe(0);
  expect(g.info(10)).toMatchObject({ type: 4, count: 1, refs: 1 });
  expect(g.update([[10, 400, g.entry(20, P | US | A)]]).rc).toBe(0);
  expect(g.unpin(10)).toBe(0);
  expect(g.info(20)).toMatchObject({ count: 1, refs: 1 });
  expect([0, 10, 20].map((pfn) => g.d.frames.linear(g.mfn(pfn)))).toEqual([0, 0, 0]);
});

test('[A-70] after unpin and base switch the old tables may be mapped writable', () => {
  const g = new Guest();
  g.put(3, 0, g.entry(0, P));
  g.tree(0);
  expect(g.ext(5, g.mfn(0))).toBe(0);
  expect(g.info(0)).toMatchObject({ count: 2 });
  g.tree(10);
  expect(g.ext(5, g.mfn(10))).toBe(0);
  expect(g.tables.kernelTable).toBe(g.mfn(10));
  expect(g.unpin(0)).toBe(0);
  for (const pfn of [0, 1, 2, 3]) expect(g.info(pfn)).toMatchObject({ count: 0, refs: 0 });
  expect(g.update([0, 1, 2, 3].map((pfn) => [13, pfn, g.entry(pfn, P | RW)] as const))).toEqual({ rc: 0, done: 4 });
  expect(g.info(2)).toMatchObject({ type: 7, count: 1 });
  expect(g.said()).toEqual([]);
});

test('[D-20] the table in use stays one while it is unpinned', () => {
  const g = new Guest();
  g.tree(0);
  g.ext(5, g.mfn(0));
  expect(g.unpin(0)).toBe(0);
  expect(g.info(0)).toEqual({ type: 4, count: 1, refs: 1, pinned: false });
  expect(g.unpin(0)).toBe(-22);
  expect(g.said()).toEqual(['(XEN) mm.c:3642:d1v0 mfn 01000 not pinned']);
  expect(g.pin(4, 0)).toBe(0);
  expect(g.pin(4, 0)).toBe(-22);
  expect(g.said()).toEqual(['(XEN) mm.c:3588:d1v0 mfn 01000 already pinned']);
});

test('[D-21] disallowed bits of an entry', () => {
  const g = new Guest();
  g.tree(0);
  for (const [bits, text] of [
    [8n, '8'],
    [0x10n, '10'],
    [0x80n, '80'],
    [1n << 62n, '400000'],
  ] as const) {
    expect(g.update([[3, 0, g.entry(9, P) | bits]]).rc).toBe(-22);
    expect(g.said()).toEqual([`(XEN) mm.c:2160:d1v0 Bad L1 flags ${text}`]);
  }
  for (const [table, level, line] of [
    [2, 2, 2276],
    [1, 3, 2338],
    [0, 4, 2400],
  ] as const)
    for (const [bits, text] of [
      [0x80n, '80'],
      [0x100n, '100'],
      [8n, '8'],
    ] as const) {
      expect(g.update([[table, 1, g.entry(9, P) | bits]]).rc).toBe(-22);
      expect(g.said()).toEqual([`(XEN) mm.c:${line}:d1v0 Bad L${level} flags ${text}`]);
    }
  // Available and no-execute bits are the guest's.
  expect(g.update([[3, 0, g.entry(9, P | 0xe00n) | (1n << 63n) | (1n << 58n)]]).rc).toBe(0);
});

test('[D-22] [A-31] bits that Xen adds, and stores the same for the same write', () => {
  const g = new Guest();
  g.tree(0);
  const KERNEL = 1n << 52n;
  expect(
    g.update([
      [3, 0, g.entry(9, P | RW)],
      [3, 1, g.entry(9, P | US)],
      [3, 2, 0x123450n],
    ]).rc,
  ).toBe(0);
  expect(g.get(3, 0)).toBe(g.entry(9, P | RW | US) | KERNEL);
  expect(g.get(3, 1)).toBe(g.entry(9, P | US | 0x100n));
  expect(g.get(3, 2)).toBe(0x123450n);
  // What was read back can be written again without a change.
  const read = [0, 1].map((i) => [3, i, g.get(3, i)] as const);
  expect(g.update(read).rc).toBe(0);
  expect([0, 1].map((i) => g.get(3, i))).toEqual(read.map(([, , value]) => value));
  // Upper levels get the user bit; an L4 entry the accessed bit too.
  expect(
    g.update([
      [2, 5, g.entry(40, P | RW)],
      [1, 5, g.entry(41, P | RW)],
      [0, 5, g.entry(42, P | RW)],
    ]).rc,
  ).toBe(0);
  expect(g.get(2, 5)).toBe(g.entry(40, P | RW | US));
  expect(g.get(1, 5)).toBe(g.entry(41, P | RW | US));
  expect(g.get(0, 5)).toBe(g.entry(42, P | RW | US | A));
  // Validation adjusts what is there already.
  g.put(50, 0, g.entry(9, P));
  expect(g.pin(1, 50)).toBe(0);
  expect(g.get(50, 0)).toBe(g.entry(9, P | US) | KERNEL);
});

test('[D-27] shared_info may be mapped writable; I/O space and Xen pages may not be mapped', () => {
  const g = new Guest();
  g.tree(0);
  const { layout } = g.d;
  g.d.frames.setOwner(layout.heapBase, 1);
  const map = (mfn: number): unknown => g.update([[3, 8, BigInt(mfn) * 4096n + P + RW]]).rc;
  g.d.frames.setType(layout.heapBase, (7 << 29) | (1 << 26) | 1);
  expect(map(layout.heapBase)).toBe(0);
  expect(map(0xb8)).toBe(-1);
  expect(g.said()).toEqual(['(XEN) mm.c:901:d1v0 d1 non-privileged attempt to map MMIO space 000b8']);
  expect(map(layout.frameLimit)).toBe(-1);
  g.said();
  expect(map(layout.m2p)).toBe(-16);
  expect(g.said()[0]).toBe('(XEN) mm.c:988:d1v0 pg_owner d1 l1e_owner d1, but real_pg_owner d32754');
  expect(map(layout.spareBase)).toBe(-16);
  expect(g.said()[0]).toBe('(XEN) mm.c:988:d1v0 pg_owner d1 l1e_owner d1, but real_pg_owner d-1');
});

test('[D-20] the chunk of a changed record is marked, and records survive a snapshot', () => {
  const g = new Guest();
  g.d.frames.dirtyChunks.fill(0);
  g.tree(0);
  const chunks = [...g.d.frames.dirtyChunks.keys()].filter((i) => g.d.frames.dirtyChunks[i]);
  expect(chunks).toEqual([g.mfn(0) >> 8]);
  const copy = new Guest();
  copy.d.restore(structuredClone(g.d.state), g.d.frames.bytes.slice());
  expect(copy.info(0)).toEqual(g.info(0));
});
