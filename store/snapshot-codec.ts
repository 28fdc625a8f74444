/**
 * What a snapshot consists of, to bytes and back: slots and the pages they hold as runs (proto/recording.proto). Pages are
 * numbered as they are stored, by ascending slots: 17,000 of them make 300 runs. Format 3 has no lengths: each slot is a run.
 */
import type { Tick } from '../src/core/units.ts';
import { bigOfBytes, bytesOfBig, snapshotCodec } from './messages.ts';

/** No guest has more pages: they lie in one 32-bit linear memory. */
const SLOTS_MAX = 2 ** 20;

export interface SnapshotContents {
  readonly sequence: number;
  readonly tick: Tick;
  readonly stateHash: bigint;
  /** Sequence of the base plus one; 0 for the machine as built. */
  readonly base: number;
  /** Ascending. */
  readonly dirtySlots: readonly number[];
  /** The number of the page that each of the slots holds. */
  readonly pageNumbers: readonly number[];
  readonly storedBytes: number;
}

export function encodeSnapshot(snapshot: SnapshotContents): Uint8Array {
  const { dirtySlots, pageNumbers, stateHash, ...rest } = snapshot;
  const slotDeltas: number[] = [];
  const pageDeltas: number[] = [];
  const runLengths: number[] = [];
  let slot = 0;
  let page = 0;
  for (let i = 0; i < dirtySlots.length; ) {
    slotDeltas.push(dirtySlots[i]! - slot);
    pageDeltas.push(pageNumbers[i]! - page);
    const from = i;
    do {
      slot = dirtySlots[i]!;
      page = pageNumbers[i++]!;
    } while (dirtySlots[i] === slot + 1 && pageNumbers[i] === page + 1);
    runLengths.push(i - from);
  }
  return snapshotCodec.encode({ ...rest, stateHash: bytesOfBig(stateHash, 16), slotDeltas, pageDeltas, runLengths });
}

/** Throws RangeError on anything malformed. */
export function decodeSnapshot(bytes: Uint8Array): SnapshotContents {
  const { slotDeltas, pageDeltas, runLengths, stateHash, ...rest } = snapshotCodec.decode(bytes);
  const dirtySlots: number[] = [];
  const pageNumbers: number[] = [];
  const lengths = runLengths.length === 0 ? slotDeltas.map(() => 1) : runLengths;
  if (pageDeltas.length !== slotDeltas.length || lengths.length !== slotDeltas.length)
    throw new RangeError('runs of a snapshot lack a part');
  let [slot, page] = [0, 0];
  for (const [run, length] of lengths.entries()) {
    slot += slotDeltas[run]!;
    page += pageDeltas[run]!;
    if (length < 1 || slot + length > SLOTS_MAX) throw new RangeError('a run of a snapshot is no run of slots');
    dirtySlots.push(slot);
    pageNumbers.push(page);
    for (let left = length - 1; left > 0; left--) {
      dirtySlots.push(++slot);
      pageNumbers.push(++page);
    }
  }
  return { ...rest, stateHash: bigOfBytes(stateHash), dirtySlots, pageNumbers };
}
