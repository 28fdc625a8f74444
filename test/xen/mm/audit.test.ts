import { expect, test } from 'vitest';
import { setGdt } from '../../../src/xen/mm/descriptors.ts';
import { PGT } from '../../../src/xen/mm/page-info.ts';
import { ptwrWrite } from '../../../src/xen/mm/ptwr.ts';
import { auditFrames } from '../../support/frame-audit.ts';
import type { HeldReference } from '../../support/held-references.ts';
import { Guest, P, RW, US } from './guest.ts';

/** The references a domain without a processor holds outside of its tables. */
function held(g: Guest): HeldReference[] {
  const { kernelTable, userTable, gdtFrames } = g.tables;
  const roots = [kernelTable, userTable].filter((frame) => frame !== 0);
  return [
    ...roots.map((frame): HeldReference => ({ frame, type: PGT.l4, general: true, holder: 'root' })),
    ...gdtFrames.map((frame): HeldReference => ({ frame, type: PGT.segDesc, general: true, holder: 'GDT' })),
  ];
}
const audit = (g: Guest): void => expect(auditFrames(g.d, held(g))).toEqual([]);

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
