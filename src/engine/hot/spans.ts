/**
 * Accesses of a block that lie close together off one base (fields of a structure, slots of a stack frame) share one look
 * into the TLB: the first of them asks for the bytes of all, and the others add to the address it found.
 *
 * Nothing happens early by that: the look itself has no effects, and where it does not find what all of them need the
 * instruction is sent back (Mmu.slowSpan), so that the cold tier makes each access in its turn. It stays true to the end
 * of the block, since a slow path that takes write tags away from a page sends its instruction back as well.
 */
import type { AccessEvent, Event } from './block.ts';
import type { Item } from './graph.ts';

/** Bytes from the first to the last of a span: the more, the more often a page ends in between. */
const MAX_BYTES = 256;

/** Accesses that share a look. */
export interface Span {
  /** The value that their addresses are constants away from. */
  readonly base: number;
  /** The access in whose place the look stands. */
  readonly first: AccessEvent;
  /** Distance of the lowest byte from the base, and bytes from there to the end. */
  low: bigint;
  bytes: number;
  write: boolean;
  /** How many they are. */
  count: number;
}

/** An address as a value and a constant. */
export function distanceOf(items: readonly Item[], address: number): { base: number; distance: bigint } {
  const item = items[address]!;
  if (item.kind === 'op' && item.name === 'i64.add') {
    const known = items[item.b]!;
    if (known.kind === 'const') return { base: item.a, distance: BigInt.asIntN(64, known.value) };
  }
  return { base: address, distance: 0n };
}

/** The spans of a block, by their accesses. */
export function findSpans(items: readonly Item[], events: readonly Event[]): ReadonlyMap<AccessEvent, Span> {
  const spans = new Map<AccessEvent, Span>();
  const latest = new Map<number, Span>();
  for (const event of events) {
    if (event.kind !== 'load' && event.kind !== 'probe') continue;
    const { base, distance } = distanceOf(items, event.address);
    const end = distance + BigInt(event.bytes);
    const write = event.kind === 'probe';
    const known = latest.get(base);
    if (known !== undefined) {
      const low = distance < known.low ? distance : known.low;
      const knownEnd = known.low + BigInt(known.bytes);
      const bytes = Number((end > knownEnd ? end : knownEnd) - low);
      if (bytes <= MAX_BYTES) {
        known.low = low;
        known.bytes = bytes;
        known.write ||= write;
        known.count++;
        spans.set(event, known);
        continue;
      }
    }
    const span: Span = { base, first: event, low: distance, bytes: event.bytes, write, count: 1 };
    latest.set(base, span);
    spans.set(event, span);
  }
  for (const [event, { count }] of spans) if (count === 1) spans.delete(event);
  return spans;
}
