/**
 * Accesses of a block that lie close together off one base (fields of a structure, slots of a stack frame) share one look
 * into the TLB: the first of them asks for the bytes of all, and the others add to the address it found. An index that is known to
 * be small (a byte, some bits of a word) asks for the whole table: its look needs the base alone, so that nothing waits for it where
 * one index comes from what the one before has found, as in a checksum or an interpreter.
 *
 * Nothing happens early by that: the look itself has no effects, and where it does not find what all of them need the
 * instruction is sent back (Mmu.slowSpan), so that the cold tier makes each access in its turn. It stays true to the end
 * of the block, since a slow path that takes write tags away from a page sends its instruction back as well.
 */
import type { AccessEvent, Event } from './block.ts';
import type { Item } from './graph.ts';

/** Most bytes of a span, by what a region may still try: the more, the more often a page ends in between. */
export const SPAN_BYTES = [2048, 256, 0] as const;
/** Bytes from the first to the last of accesses that only have the base in common. */
const SHARED_BYTES = 256;
/** The base of addresses that are constant, or a constant and an index. */
export const NO_BASE = -1;

/** An address as base + index + distance. */
export interface Place {
  readonly base: number;
  /** A value that is known to be small, -1: there is none; the most it can be. */
  readonly index: number;
  readonly most: bigint;
  readonly distance: bigint;
}

/** Accesses that share a look. */
export interface Span {
  /** The value that their addresses are an index and a constant away from, or {@link NO_BASE}. */
  readonly base: number;
  /** The access in whose place the look stands. */
  readonly first: AccessEvent;
  /** Distance of the lowest byte from the base, and bytes from there to the end. */
  low: bigint;
  bytes: number;
  write: boolean;
  /** One of them has an index. */
  indexed: boolean;
  /** How many they are. */
  count: number;
}

/** The most that a value can be. */
function greatest(items: readonly Item[], id: number): bigint {
  const item = items[id]!;
  if (item.kind === 'const') return item.value;
  const most = (1n << BigInt(item.bits)) - 1n;
  if (item.kind !== 'op' || item.name !== 'i64.shl') return most;
  const by = items[item.b]!;
  if (by.kind !== 'const') return most;
  const shifted = greatest(items, item.a) << (by.value & 63n);
  return shifted < most ? shifted : most;
}
/** Takes an access's address apart; an index reaches over `limit` bytes at most. */
export function placeOf(items: readonly Item[], { address, bytes }: AccessEvent, limit: number): Place {
  const room = limit - bytes;
  let base = address;
  let distance = 0n;
  let item = items[base]!;
  if (item.kind === 'op' && item.name === 'i64.add' && items[item.b]!.kind === 'const') {
    distance = BigInt.asIntN(64, items[item.b]!.value);
    base = item.a;
    item = items[base]!;
  }
  if (item.kind === 'const') return { base: NO_BASE, index: -1, most: 0n, distance: BigInt.asIntN(64, item.value) };
  const whole = greatest(items, base);
  if (whole <= room) return { base: NO_BASE, index: base, most: whole, distance };
  if (item.kind === 'op' && item.name === 'i64.add')
    for (const [other, index] of [
      [item.a, item.b],
      [item.b, item.a],
    ] as const) {
      const most = greatest(items, index);
      if (most <= room) return { base: other, index, most, distance };
    }
  return { base, index: -1, most: 0n, distance };
}

/** The spans of a block, of at most so many bytes, by their accesses. */
export function findSpans(
  items: readonly Item[],
  events: readonly Event[],
  limit: number,
): ReadonlyMap<AccessEvent, Span> {
  const spans = new Map<AccessEvent, Span>();
  const latest = new Map<number, Span>();
  for (const event of events) {
    if (event.kind !== 'load' && event.kind !== 'probe') continue;
    const { base, index, most, distance } = placeOf(items, event, limit);
    const own = Number(most) + event.bytes;
    const end = distance + BigInt(own);
    const write = event.kind === 'probe';
    const indexed = index >= 0;
    const known = latest.get(base);
    if (known !== undefined) {
      const low = distance < known.low ? distance : known.low;
      const knownEnd = known.low + BigInt(known.bytes);
      const bytes = Number((end > knownEnd ? end : knownEnd) - low);
      if (bytes <= Math.max(SHARED_BYTES, known.bytes, own) && !(base === NO_BASE && endsPage(low, bytes))) {
        known.low = low;
        known.bytes = bytes;
        known.write ||= write;
        known.indexed ||= indexed;
        known.count++;
        spans.set(event, known);
        continue;
      }
    }
    if (base === NO_BASE && endsPage(distance, own)) continue;
    const span: Span = { base, first: event, low: distance, bytes: own, write, indexed, count: 1 };
    latest.set(base, span);
    spans.set(event, span);
  }
  for (const [event, { count, indexed }] of spans) if (count === 1 && !indexed) spans.delete(event);
  return spans;
}
/** Whether a page ends between the first and the last of some bytes. */
function endsPage(low: bigint, bytes: number): boolean {
  return Number(BigInt.asUintN(12, low)) + bytes > 4096;
}
