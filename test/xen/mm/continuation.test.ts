/** A call that is cut after each of its entries comes to what it comes to in one go, failures included. */
import { expect, test } from 'vitest';
import { doMemoryOp } from '../../../src/xen/memory-op.ts';
import { getM2p } from '../../../src/xen/mm/m2p.ts';
import { doMmuextOp } from '../../../src/xen/mm/mmuext.ts';
import { doMmuUpdate } from '../../../src/xen/mm/update.ts';
import { isContinuation, STEP_WORK } from '../../../src/xen/work.ts';
import { pseudoRandom } from '../../support/time-travel.ts';
import { Guest, P, RW, references, SELF } from './guest.ts';

const DONE = 0x10000n;
const LIST = 0x10100n;

type Call = (g: Guest, args: readonly bigint[]) => ReturnType<typeof doMemoryOp>;
const mmuUpdate: Call = (g, [list, count, done, domain]) =>
  doMmuUpdate(g.d, list!, Number(count), done!, Number(domain));
const mmuextOp: Call = (g, [list, count, done, domain]) => doMmuextOp(g.d, list!, Number(count), done!, Number(domain));
const memoryOp: Call = (g, [cmd, arg]) => doMemoryOp(g.d, Number(cmd), arg!);

/** Carries a call out, one entry a step where it is `cut`; its result and the number of steps. */
function complete(
  g: Guest,
  call: Call,
  first: readonly bigint[],
  cut: boolean,
): { rc: number | bigint; steps: number } {
  let args = first;
  for (let steps = 1; ; steps++) {
    g.d.work.begin();
    if (cut) g.d.work.charge(STEP_WORK);
    const rc = call(g, args);
    if (!isContinuation(rc)) return { rc, steps };
    args = args.map((value, i) => rc.goesOnWith[i] ?? value);
  }
}
/** Everything that a call may have changed. */
const left = (g: Guest): unknown => ({
  references: references(g),
  memory: Array.from({ length: 128 }, (_, pfn) => Array.from(g.d.memory.page(g.mfn(pfn)).slice(0, 256)).join()),
  arguments: g.arguments.join(),
  m2p: Array.from({ length: g.d.frames.limit }, (_, mfn) => getM2p(g.d, mfn)),
  said: g.said(),
  pages: g.d.state.totPages,
});
const word = (g: Guest, at: number, value: bigint): void =>
  new DataView(g.arguments.buffer).setBigUint64(at, value, true);

/** A guest with two trees of tables, in which frames 40 to 60 are the guest's to use. */
function guest(): Guest {
  const g = new Guest(128);
  g.tree(0);
  g.put(10, 0, g.entry(11, P | RW | 0x24n));
  g.put(11, 0, g.entry(12, P | RW | 0x24n));
  return g;
}

test('[D-06] mmu_update', () => {
  const random = pseudoRandom(1);
  let cuts = 0;
  for (let round = 0; round < 40; round++) {
    const entries = Array.from({ length: 30 }, () => {
      const table = [1, 2, 3, 3, 3, 50][random(6)]!;
      const flags = [0n, P, P | RW, P | RW | 0x24n][random(4)]!;
      // seldom a frame that is none, so that most lists get far
      return { table, index: random(20) + 1, pfn: random(40) === 0 ? 5_000 : 40 + random(20), flags };
    });
    const run = (cut: boolean): unknown => {
      const g = guest();
      entries.forEach(({ table, index, pfn, flags }, i) => {
        word(g, 0x100 + i * 16, BigInt(g.mfn(table) * 4096 + index * 8));
        word(g, 0x108 + i * 16, table < 3 && flags !== 0n ? 0n : g.entry(pfn, flags));
      });
      const { rc, steps } = complete(g, mmuUpdate, [LIST, BigInt(entries.length), DONE, BigInt(SELF)], cut);
      if (cut) cuts += steps - 1;
      return { rc, ...(left(g) as object) };
    };
    expect(run(true)).toEqual(run(false));
  }
  expect(cuts).toBeGreaterThan(300);
});

test('[D-06] mmuext_op: pins, unpins, roots, copies, and what fails', () => {
  const random = pseudoRandom(2);
  let cuts = 0;
  for (let round = 0; round < 40; round++) {
    const entries = Array.from({ length: 20 }, () => ({
      cmd: [3, 3, 4, 5, 16, 17, 6, 0][random(8)]!,
      one: [0, 10, 10, 50, 51, 12][random(6)]!,
      other: 52 + random(3),
    }));
    const run = (cut: boolean): unknown => {
      const g = guest();
      entries.forEach(({ cmd, one, other }, i) => {
        word(g, 0x100 + i * 24, BigInt(cmd));
        word(g, 0x108 + i * 24, BigInt(g.mfn(one)));
        word(g, 0x110 + i * 24, BigInt(g.mfn(other)));
      });
      const { rc, steps } = complete(g, mmuextOp, [LIST, BigInt(entries.length), DONE, BigInt(SELF)], cut);
      if (cut) cuts += steps - 1;
      return { rc, ...(left(g) as object), root: g.tables.kernelTable };
    };
    expect(run(true)).toEqual(run(false));
  }
  expect(cuts).toBeGreaterThan(50);
});

/** A reservation at {@link LIST} for `frames`, whose list lies behind it. */
function reserve(g: Guest, frames: readonly bigint[]): void {
  word(g, 0x100, LIST + 0x100n);
  word(g, 0x108, BigInt(frames.length));
  word(g, 0x110, 0n);
  word(g, 0x118, BigInt(SELF));
  frames.forEach((frame, i) => {
    word(g, 0x200 + i * 8, frame);
  });
}

test.each([
  ['increase_reservation', 0, (_: Guest, i: number) => BigInt(i)],
  ['decrease_reservation', 1, (g: Guest, i: number) => BigInt(g.mfn(40 + i))],
  ['decrease_reservation of a frame twice', 1, (g: Guest, i: number) => BigInt(g.mfn(40 + (i % 7)))],
  ['populate_physmap', 6, (_: Guest, i: number) => BigInt(200 + i)],
])('[D-06] %s counts extents in its command', (_name, cmd, frame) => {
  const run = (cut: boolean): object => {
    const g = guest();
    const frames = Array.from({ length: 10 }, (_, i) => frame(g, i));
    reserve(g, frames);
    if (cut) {
      g.d.work.charge(STEP_WORK);
      expect(memoryOp(g, [BigInt(cmd), LIST])).toEqual({ goesOnWith: [BigInt(cmd + (1 << 6)), LIST] });
      const again = complete(g, memoryOp, [BigInt(cmd + (1 << 6)), LIST], true);
      expect(again.steps).toBeGreaterThan(5);
      return { rc: again.rc, ...(left(g) as object) };
    }
    return { rc: complete(g, memoryOp, [BigInt(cmd), LIST], false).rc, ...(left(g) as object) };
  };
  expect(run(true)).toEqual(run(false));
});
