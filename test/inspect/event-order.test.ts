import { expect, test } from 'vitest';
import { EVENTS_AT_ONCE, journalEvents, Merge } from '../../src/inspect/event-order.ts';
import type { RunEvent } from '../../src/inspect/investigate.ts';
import type { JournalSource } from '../../src/timeline/journal.ts';
import type { JournalEntry } from '../../src/timeline/trace-store.ts';

const event = (tick: number, name: string): RunEvent => ({
  ...{ tick, vcpu: 0, rip: 0n, kind: 'trap', name },
  ...{ fields: {}, text: null },
});
/** A journal of blocks of 1000 ticks with `entries`; `reads` counts the blocks read. */
function journal(entries: readonly JournalEntry[], end: number): JournalSource & { reads: number } {
  const blocks = Array.from({ length: end / 1000 }, (_, sequence) => ({
    ...{ sequence, firstTick: sequence * 1000, lastTick: (sequence + 1) * 1000 },
    ...{ stateHash: 0n, storedBytes: 0 },
  }));
  return {
    reads: 0,
    blocks,
    block(sequence) {
      this.reads++;
      const { firstTick, lastTick } = blocks[sequence]!;
      const inside = entries.filter((e) => e.tick > firstTick && e.tick <= lastTick);
      return { ...blocks[sequence]!, entries: inside, digests: [] };
    },
  };
}
const timer = (tick: number): JournalEntry => ({ tick, kind: 'timer', detail: 'singleshot:0' });
const texts = (parts: Iterable<readonly RunEvent[]>): string[] => [...parts].flat().map((e) => `${e.tick} ${e.name}`);

test('of one tick, what the machine did stands before what the journal has', () => {
  const merge = new Merge(journalEvents(journal([5, 10, 20, 30].map(timer), 1000), 0, 1000));
  expect(texts(merge.upTo(11, [event(5, 'a'), event(7, 'b'), event(10, 'c')]))).toEqual([
    '5 a',
    '5 timer',
    '7 b',
    '10 c',
    '10 timer',
  ]);
  // a step from tick 20 may yet tell something
  expect(texts(merge.upTo(20, []))).toEqual([]);
  expect(texts(merge.upTo(25, [event(20, 'd')]))).toEqual(['20 d', '20 timer']);
  expect(texts(merge.upTo(Infinity, []))).toEqual(['30 timer']);
});
test('only the blocks of the range are read', () => {
  const source = journal([500, 1500, 2500, 3500].map(timer), 4000);
  expect([...journalEvents(source, 1001, 2600)].map((e) => e.tick)).toEqual([1500, 2500]);
  expect(source.reads).toBe(2);
});
test('a guest that only idles is told in parts of at most 1024 events, block by block', () => {
  const entries = Array.from({ length: 9000 }, (_, i) => timer(i + 1));
  const source = journal(entries, 9000);
  let seen = 0;
  for (const part of new Merge(journalEvents(source, 0, 9000)).upTo(Infinity, [])) {
    expect(part.length).toBeLessThanOrEqual(EVENTS_AT_ONCE);
    seen += part.length;
    expect(source.reads).toBe(Math.min(Math.floor(seen / 1000) + 1, 9));
  }
  expect(seen).toBe(9000);
});
test('input is told under the name of its device', () => {
  const input: JournalEntry = { tick: 7, kind: 'input', device: 'console', data: new TextEncoder().encode('ls') };
  expect([...journalEvents(journal([input], 1000), 0, 1000)]).toEqual([
    { tick: 7, vcpu: 0, rip: 0n, kind: 'input', name: 'console', fields: {}, text: 'ls' },
  ]);
});
