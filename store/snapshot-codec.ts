/**
 * What a snapshot consists of, to bytes and back: slots and the pages they hold as runs (proto/recording.proto). Format 3 has no
 * lengths: each slot is a run.
 */
import type { Tick } from '../src/core/units.ts';
import type { SlotRun } from '../src/timeline/trace-store.ts';
import { bigOfBytes, bytesOfBig, snapshotCodec } from './messages.ts';

/** No guest has more pages: they lie in one 32-bit linear memory. */
const SLOTS_MAX = 2 ** 20;
/** Page numbers are kept in 32 bits. */
const PAGES_MAX = 2 ** 31;

export interface SnapshotContents {
  readonly sequence: number;
  readonly tick: Tick;
  readonly stateHash: bigint;
  /** Sequence of the base plus one; 0 for the machine as built. */
  readonly base: number;
  readonly dirty: readonly SlotRun[];
  readonly storedBytes: number;
}

export function encodeSnapshot(snapshot: SnapshotContents): Uint8Array {
  const { dirty, stateHash, ...rest } = snapshot;
  const slotDeltas: number[] = [];
  const pageDeltas: number[] = [];
  let [slot, page] = [0, 0];
  for (const run of dirty) {
    slotDeltas.push(run.slot - slot);
    pageDeltas.push(run.page - page);
    slot = run.slot + run.length - 1;
    page = run.page + run.length - 1;
  }
  const runLengths = dirty.map((run) => run.length);
  return snapshotCodec.encode({ ...rest, stateHash: bytesOfBig(stateHash, 16), slotDeltas, pageDeltas, runLengths });
}

/** Throws RangeError on anything malformed. */
export function decodeSnapshot(bytes: Uint8Array): SnapshotContents {
  const { slotDeltas, pageDeltas, runLengths, stateHash, ...rest } = snapshotCodec.decode(bytes);
  const dirty: SlotRun[] = [];
  const lengths = runLengths.length === 0 ? slotDeltas.map(() => 1) : runLengths;
  if (pageDeltas.length !== slotDeltas.length || lengths.length !== slotDeltas.length)
    throw new RangeError('runs of a snapshot lack a part');
  let [slot, page] = [0, 0];
  for (const [i, length] of lengths.entries()) {
    const isNext = i === 0 || slotDeltas[i]! > 0;
    slot += slotDeltas[i]!;
    page += pageDeltas[i]!;
    if (length < 1 || !isNext || slot + length > SLOTS_MAX)
      throw new RangeError('a run of a snapshot is no run of slots');
    if (page < 0 || page + length > PAGES_MAX) throw new RangeError('a run of a snapshot is no run of pages');
    dirty.push({ slot, page, length });
    slot += length - 1;
    page += length - 1;
  }
  return { ...rest, stateHash: bigOfBytes(stateHash, 16), dirty };
}
