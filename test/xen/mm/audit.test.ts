import { expect, test } from 'vitest';
import { setGdt } from '../../../src/xen/mm/descriptors.ts';
import { levelOf, OWNER, PGC, PGT } from '../../../src/xen/mm/page-info.ts';
import { ptwrWrite } from '../../../src/xen/mm/ptwr.ts';
import { Guest, P, RW, US } from './guest.ts';

/** Counts every reference anew from the tables themselves and compares with what the frame table says. */
function audit(g: Guest): void {
  const { frames, memory, layout } = g.d;
  const types = new Map<number, number>();
  const refs = new Map<number, number>();
  const add = (map: Map<number, number>, mfn: number): void => void map.set(mfn, (map.get(mfn) ?? 0) + 1);
  for (let table = layout.domainBase; table < layout.frameLimit; table++) {
    const info = frames.type(table);
    const level = levelOf(info);
    if (info & PGT.pinned) for (const map of [types, refs]) add(map, table);
    if (level === 0 || (info & PGT.countMask) === 0) continue;
    expect(info & PGT.validated).not.toBe(0);
    for (let i = 0; i < 512; i++) {
      if (level === 4 && i >= 256 && i <= 271) continue;
      const entry = memory.read64(table * 4096 + i * 8);
      if ((entry & P) === 0n) continue;
      expect(entry & US).toBe(US);
      const target = Number((entry >> 12n) & 0xffffffffffn);
      if (level > 1 && target === table) {
        expect(entry & RW).toBe(0n);
        continue;
      }
      add(refs, target);
      if (level > 1 || (entry & RW) !== 0n) add(types, target);
      const below = frames.type(target);
      if (level === 1 && (entry & RW) !== 0n) expect(below & PGT.typeMask).toBe(PGT.writable);
      if (level > 1) expect([level - 1, level]).toContain(levelOf(below));
    }
  }
  for (const root of [g.tables.kernelTable, g.tables.userTable, ...g.tables.gdtFrames])
    if (root !== 0) for (const map of [types, refs]) add(map, root);
  for (let mfn = layout.domainBase; mfn < layout.frameLimit; mfn++) {
    const owned = frames.owner(mfn) === OWNER.domain ? 1 : 0;
    expect([mfn, frames.type(mfn) & PGT.countMask]).toEqual([mfn, types.get(mfn) ?? 0]);
    expect([mfn, frames.count(mfn) & PGC.countMask]).toEqual([mfn, (refs.get(mfn) ?? 0) + owned]);
  }
}

/** xorshift32: the same numbers for ever. */
const random = (seed: number) => {
  let x = seed;
  return (below: number): number => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % below;
  };
};

test.each([1, 2, 3, 4])('[D-20] counts equal the references that exist after random operations (seed %i)', (seed) => {
  const g = new Guest(64);
  const pick = random(seed * 7919);
  // Trees to begin with, in which every operation can meet something.
  for (const l4 of [0, 8, 16]) g.tree(l4);
  g.ext(5, g.mfn(0));
  let succeeded = 0;
  for (let step = 0; step < 1500; step++) {
    const page = pick(28);
    const flags = [P, P | RW, P | US, P | RW | US, 0n, P | 8n][pick(6)]!;
    const slot = [0, 1, 2, 255, 300, 511][pick(6)]!;
    switch (pick(9)) {
      case 0:
      case 1:
      case 2:
      case 3:
        if (g.update([[page, slot, g.entry(pick(28), flags)]], BigInt(pick(2) * 2)).rc === 0) succeeded++;
        break;
      case 4:
        g.pin(1 + pick(4), page);
        break;
      case 5:
        g.unpin(page);
        break;
      case 6:
        if (pick(8) === 0) g.ext(pick(2) === 0 ? 5 : 15, g.mfn([0, 8, 16][pick(3)]!));
        break;
      case 7:
        if (pick(4) === 0) setGdt(g.d, [g.mfn(40 + pick(3))], 1);
        break;
      default: {
        const info = g.info(page);
        if (info.type === 1 && info.count > 0)
          ptwrWrite(g.d, g.mfn(page) * 4096 + slot * 8, 8, g.entry(pick(28), flags));
      }
    }
    if (step % 50 === 0) audit(g);
  }
  audit(g);
  expect(succeeded).toBeGreaterThan(50);
});
