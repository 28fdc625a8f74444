import { describe, expect, it } from 'vitest';
import { SlotRuns } from '../../src/timeline/snapshot-tables.ts';
import type { SlotRun } from '../../src/timeline/trace-store.ts';
import { bytesOfBig, snapshotCodec } from '../../store/messages.ts';
import { decodeSnapshot, encodeSnapshot, type SnapshotContents } from '../../store/snapshot-codec.ts';
import { pseudoRandom } from '../support/time-travel.ts';

const runsOf = (slots: number[], pages: number[]): readonly SlotRun[] => {
  const runs = new SlotRuns();
  for (const [i, slot] of slots.entries()) runs.add(slot, pages[i]!);
  return runs.all;
};
const contents = (dirty: readonly SlotRun[]): SnapshotContents => ({
  sequence: 2,
  tick: 2 ** 40,
  stateHash: 5n << 100n,
  base: 1,
  dirty,
  storedBytes: 9,
});

describe('what a snapshot consists of', () => {
  it('[X-02] comes back, whatever slots and pages follow each other', () => {
    const random = pseudoRandom(7);
    for (let round = 0; round < 500; round++) {
      const slots: number[] = [];
      const pages: number[] = [];
      let [slot, page] = [random(3), random(1000)];
      for (let i = random(200); i > 0; i--) {
        slots.push(slot);
        pages.push(page);
        slot += random(4) === 0 ? 2 + random(500) : 1;
        page = random(5) === 0 ? random(100_000) : page + 1;
      }
      const runs = runsOf(slots, pages);
      expect(decodeSnapshot(encodeSnapshot(contents(runs)))).toEqual(contents(runs));
      expect(runs.flatMap(({ slot, length }) => Array.from({ length }, (_, k) => slot + k))).toEqual(slots);
      expect(runs.flatMap(({ page, length }) => Array.from({ length }, (_, k) => page + k))).toEqual(pages);
    }
  });
  it('takes a byte or two for a slot alone and next to nothing for neighbours', () => {
    const slots = Array.from({ length: 20_000 }, (_, i) => i + 5);
    expect(encodeSnapshot(contents(runsOf(slots, slots))).length).toBeLessThan(60);
  });
  it('[X-02] is read from recordings of format 3, in which each slot is a run', () => {
    const bytes = snapshotCodec.encode({
      sequence: 2,
      tick: 2 ** 40,
      stateHash: bytesOfBig(5n << 100n, 16),
      base: 1,
      slotDeltas: [4, 1, 7],
      pageDeltas: [10, 1, -11],
      storedBytes: 9,
      runLengths: [],
    });
    expect(decodeSnapshot(bytes)).toEqual(
      contents([
        { slot: 4, page: 10, length: 1 },
        { slot: 5, page: 11, length: 1 },
        { slot: 12, page: 0, length: 1 },
      ]),
    );
  });
  it.each([
    ['lacks a page', [4, 1], [10], [1, 1]],
    ['lacks a length', [4, 1], [10, 1], [1]],
    ['is empty', [4], [10], [0]],
    ['goes on for ever', [4], [10], [2 ** 50]],
  ])('[X-02] is refused where a run %s', (_, slotDeltas, pageDeltas, runLengths) => {
    const rest = { sequence: 0, tick: 1, stateHash: bytesOfBig(0n, 16), base: 0, storedBytes: 0 };
    const bytes = snapshotCodec.encode({ ...rest, slotDeltas, pageDeltas, runLengths });
    expect(() => decodeSnapshot(bytes)).toThrow(RangeError);
  });
});
