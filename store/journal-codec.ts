/**
 * Journal blocks to bytes and back: entries as columns (proto/recording.proto).
 */
import { hash128 } from '../src/core/hash128.ts';
import type { JournalBlock, JournalEntry, RegisterDigest } from '../src/timeline/trace-store.ts';
import { bigOfBytes, bytesOfBig, type JournalHeadMessage, journalBlockCodec, journalHeadCodec } from './messages.ts';
import { plain } from './sealed.ts';

const KINDS = ['input', 'timer', 'idle', 'switch'] as const;
/** All input was for it in formats 3 and 4. */
const ONLY_DEVICE = 'console';

/** A block about to be closed. */
export interface BlockContents {
  readonly sequence: number;
  readonly firstTick: number;
  readonly lastTick: number;
  readonly entries: readonly JournalEntry[];
  readonly digests: readonly RegisterDigest[];
  readonly stateHash: bigint;
  readonly previous: Uint8Array;
}

/** The hash that chains journal blocks: 16 bytes. */
export const chainHash = (block: Uint8Array): Uint8Array => bytesOfBig(hash128(block, 0), 16);

/** `text` is the decimal form of a number that doubled is still exact. */
const isNumber = (text: string): boolean =>
  /^(0|[1-9]\d{0,14})$/.test(text) && Number.isSafeInteger(2 * Number(text) + 1);

const deltas = (ticks: readonly number[], from: number): number[] =>
  ticks.map((tick, i) => tick - (i === 0 ? from : ticks[i - 1]!));

/** Running sums of `differences`, from `from` up to `to`. */
function sums(differences: readonly number[], from: number, to: number): number[] {
  let value = from;
  const all = differences.map((difference) => (value += difference));
  if (value > to) throw new RangeError('a block goes on behind its end');
  return all;
}

export function encodeBlock(block: BlockContents): Uint8Array {
  const texts = new Map<string, number>();
  const textNumber = (text: string): number => {
    if (!texts.has(text)) texts.set(text, texts.size);
    return texts.get(text)!;
  };
  const payload: Uint8Array[] = [];
  const devices: number[] = [];
  const details = block.entries.map((entry) => {
    if (entry.kind !== 'input')
      return isNumber(entry.detail) ? 2 * Number(entry.detail) : 2 * textNumber(entry.detail) + 1;
    payload.push(entry.data);
    devices.push(textNumber(entry.device));
    return entry.data.length;
  });
  const digests = new Uint8Array(8 * block.digests.length);
  const view = new DataView(digests.buffer);
  block.digests.forEach((digest, i) => {
    view.setBigUint64(8 * i, digest.value, true);
  });
  return journalBlockCodec.encode({
    sequence: block.sequence,
    firstTick: block.firstTick,
    lastTick: block.lastTick,
    tickDeltas: deltas(
      block.entries.map((entry) => entry.tick),
      block.firstTick,
    ),
    kinds: Uint8Array.from(block.entries, (entry) => KINDS.indexOf(entry.kind)),
    details,
    texts: [...texts.keys()],
    payload: Buffer.concat(payload),
    digestTickDeltas: deltas(
      block.digests.map((digest) => digest.tick),
      block.firstTick,
    ),
    digests,
    stateHash: bytesOfBig(block.stateHash, 16),
    previous: block.previous,
    devices,
  });
}

/** What the chain needs of a block, without its entries; throws RangeError on anything malformed. */
export function decodeBlockHead(bytes: Uint8Array): Omit<JournalHeadMessage, 'stateHash'> & { stateHash: bigint } {
  const head = journalHeadCodec.decode(bytes);
  if (head.lastTick < head.firstTick) throw new RangeError('a block ends before it begins');
  const { tickDeltas, details, digestTickDeltas, devices, texts, kinds } = head;
  if ([tickDeltas, details, digestTickDeltas, devices].some((pieces) => pieces > 1))
    throw new RangeError('a column of a block is in pieces');
  if (texts > kinds.length) throw new RangeError('a block has more texts than entries');
  return { ...head, stateHash: bigOfBytes(head.stateHash, 16) };
}

/** Throws RangeError on anything malformed. */
export function decodeBlock(bytes: Uint8Array, storedBytes: number): JournalBlock {
  const block = journalBlockCodec.decode(bytes);
  const { firstTick, lastTick, kinds, details, texts, tickDeltas, digestTickDeltas, devices } = block;
  if (kinds.length !== tickDeltas.length || details.length !== tickDeltas.length)
    throw new RangeError('entries of a block lack a part');
  if (block.digests.length !== 8 * digestTickDeltas.length) throw new RangeError('digests of a block lack a part');
  const payload = plain(block.payload);
  let at = 0;
  let inputs = 0;
  const entries = sums(tickDeltas, firstTick, lastTick).map((tick, i): JournalEntry => {
    const kind = KINDS[kinds[i]!];
    const detail = details[i]!;
    if (kind === undefined) throw new RangeError(`an entry has the unknown kind ${kinds[i]}`);
    if (kind === 'input') {
      at += detail;
      if (at > payload.length) throw new RangeError('an entry has more input than there is');
      const device = devices.length === 0 ? ONLY_DEVICE : texts[devices[inputs++]!];
      if (device === undefined) throw new RangeError('an input names no device');
      return { tick, kind, device, data: payload.slice(at - detail, at) };
    }
    const text = detail % 2 === 0 ? String(detail / 2) : texts[(detail - 1) / 2];
    if (text === undefined) throw new RangeError('an entry has no text');
    return { tick, kind, detail: text };
  });
  if (inputs !== devices.length) throw new RangeError('a block names more devices than it has inputs');
  const view = new DataView(block.digests.buffer, block.digests.byteOffset, block.digests.byteLength);
  const digests = sums(digestTickDeltas, firstTick, lastTick).map((tick, i) => ({
    tick,
    value: view.getBigUint64(8 * i, true),
  }));
  return {
    sequence: block.sequence,
    firstTick,
    lastTick,
    stateHash: bigOfBytes(block.stateHash, 16),
    storedBytes,
    entries,
    digests,
  };
}
