/** The door of a replay reads a journal block by block and stands where a machine's state says. */
import { describe, expect, test } from 'vitest';
import { Divergence } from '../../src/machine/inputs.ts';
import { type JournalSource, ReplayDoor } from '../../src/timeline/journal.ts';
import type { JournalBlock, JournalEntry } from '../../src/timeline/trace-store.ts';

/** A journal whose blocks are made when they are asked for, `reads` tells which. */
function journal(blocks: readonly (readonly [number, readonly JournalEntry[]])[]): JournalSource & { reads: number[] } {
  const reads: number[] = [];
  const summaries = blocks.map(([lastTick], sequence) => ({
    sequence,
    firstTick: blocks[sequence - 1]?.[0] ?? 0,
    lastTick,
    stateHash: 0n,
    storedBytes: 0,
  }));
  const block = (sequence: number): JournalBlock => {
    reads.push(sequence);
    return { ...summaries[sequence]!, entries: blocks[sequence]![1].map((e) => ({ ...e })), digests: [] };
  };
  return { blocks: summaries, block, reads };
}
const timer = (tick: number): JournalEntry => ({ tick, kind: 'timer', detail: `t${tick}` });
const idle = (tick: number): JournalEntry => ({ tick, kind: 'idle', detail: `i${tick}` });
const typed = (tick: number): JournalEntry => ({ tick, kind: 'input', device: 'console', data: Uint8Array.of(tick) });

const ENTRIES: readonly (readonly [number, readonly JournalEntry[]])[] = [
  [100, [timer(10), typed(20), idle(50), timer(100)]],
  [200, [idle(100), timer(150)]],
  [300, []],
  [400, [typed(310), timer(350), idle(400)]],
];
const ALL = ENTRIES.flatMap(([, entries]) => entries);
const decisions = ALL.filter((e) => e.kind !== 'input');
const decide = (door: ReplayDoor, entry: JournalEntry): void => {
  if (entry.kind !== 'input') door.decided({ ...entry });
};

describe('a replay door', () => {
  test('compares decisions across blocks, each of which is read once', () => {
    const source = journal(ENTRIES);
    const door = new ReplayDoor(source);
    source.reads.length = 0;
    for (const entry of decisions) decide(door, entry);
    expect(source.reads).toEqual([0, 1, 2, 3]);
    // nothing is known behind the end
    decide(door, timer(999));
  });
  test('after a seek goes on with what is to come, an idle jump at the tick included', () => {
    for (let tick = 0; tick <= 450; tick += 10) {
      const door = new ReplayDoor(journal(ENTRIES));
      for (const entry of decisions) decide(door, entry);
      door.seek(tick);
      for (const e of decisions) if (e.tick > tick || (e.tick === tick && e.kind === 'idle')) decide(door, e);
      door.seek(tick);
      expect(door.nextPayload()).toBe(ALL.find((e) => e.kind === 'input' && e.tick > tick)?.tick ?? Infinity);
    }
  });
  test('tells what differs', () => {
    const door = new ReplayDoor(journal(ENTRIES));
    door.seek(120);
    expect(() => decide(door, timer(151))).toThrow(Divergence);
  });
  test('of a guest whose timer fires at every tick has one block in memory', () => {
    const blocks = Array.from({ length: 50 }, (_, b): [number, JournalEntry[]] => [
      (b + 1) * 1000,
      Array.from({ length: 1000 }, (_, i) => timer(b * 1000 + i + 1)),
    ]);
    const source = journal(blocks);
    const door = new ReplayDoor(source);
    source.reads.length = 0;
    for (let tick = 1; tick <= 50_000; tick++) {
      decide(door, timer(tick));
      expect(source.reads.length).toBe(Math.ceil(tick / 1000));
    }
    door.seek(25_500);
    decide(door, timer(25_501));
    expect(source.reads.slice(50)).toEqual([25]);
  });
});
