import { expect, it } from 'vitest';
import type { JournalEntry } from '../../src/timeline/trace-store.ts';
import { decodeBlock, encodeBlock } from '../../store/journal-codec.ts';
import { journalBlockCodec } from '../../store/messages.ts';

const entry = (tick: number, device: string, ...data: number[]): JournalEntry => ({
  ...{ tick, kind: 'input', device },
  data: Uint8Array.from(data),
});
const contents = (entries: readonly JournalEntry[]) => ({
  ...{ sequence: 0, firstTick: 0, lastTick: 100, entries, digests: [], stateHash: 5n },
  previous: new Uint8Array(16),
});

it('[X-02] each input has its device, whose name stands in a block once', () => {
  const entries = [entry(1, 'console', 1), entry(1, 'disk', 2, 3), entry(9, 'console'), entry(10, 'disk', 4)];
  const bytes = encodeBlock(contents(entries));
  expect(decodeBlock(bytes, 0).entries).toEqual(entries);
  expect(journalBlockCodec.decode(bytes)).toMatchObject({ texts: ['console', 'disk'], devices: [0, 1, 0, 1] });
});
it("[X-02] input of formats 3 and 4, which name no devices, is the console's", () => {
  const entries = [entry(1, 'console', 1), entry(2, 'console', 2, 3)];
  const block = journalBlockCodec.decode(encodeBlock(contents(entries)));
  const old = journalBlockCodec.encode({ ...block, texts: [], devices: [] });
  expect(decodeBlock(old, 0).entries).toEqual(entries);
});
