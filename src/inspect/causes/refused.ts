/**
 * What Xen refused: the page-table entry, found by following the slots that Xen's own lines name, or the request itself.
 */
import { canonical, hex, PAGE_SIZE } from '../../core/units.ts';
import type { Symbolizer } from '../disassembly.ts';
import type { Place, RunEvent, Write } from '../investigate.ts';
import type { Moment } from '../moment.ts';
import { symbolText } from '../symbol-text.ts';

/** A word in memory that Xen refused. */
export interface Blame {
  readonly place: Place;
  readonly text: string;
  /** Tells the write that brought the refused content from later ones that kept it. */
  readonly guilty: (write: Write) => boolean;
}

const FRAME = 0x000ffffffffff000n;
const PRESENT = 1n;
const WRITABLE = 2n;
/** Names of Xen's types by number (PGT_* of xen/arch/x86/include/asm/mm.h). */
const TYPES = ['none', 'l1', 'l2', 'l3', 'l4', 'segdesc', 'shared', 'writable'];
const frameOf = (entry: bigint): bigint => (entry & FRAME) >> 12n;

/** Slots by level as the lines "Failure -22 in promote_l1_table: slot 0x10e" name them. */
function failedSlots(log: readonly string[]): Map<number, bigint> {
  const slots = new Map<number, bigint>();
  for (const line of log) {
    const match = /in (?:promote|alloc)_l([1-4])_table: (?:slot|entry) (0x[0-9a-f]+|\d+)/.exec(line);
    if (match !== null) slots.set(Number(match[1]), BigInt(match[2]!));
  }
  return slots;
}

/** The table that was to be pinned or loaded. */
function failedRoot(log: readonly string[]): bigint | null {
  for (const line of log) {
    const match = /(?:while pinning mfn|installing new baseptr|installing new mfn) ([0-9a-f]+)/.exec(line);
    if (match !== null) return BigInt(`0x${match[1]}`);
  }
  return null;
}

/** The lowest entry on the path that Xen could not validate; null when its lines tell no path. */
export function blameEntry(moment: Moment, log: readonly string[], symbols: Symbolizer): Blame | null {
  const slots = failedSlots(log);
  let table = failedRoot(log);
  if (table === null || slots.size === 0) return null;
  const levels = [...slots.keys()].toSorted((a, b) => b - a);
  let [address, entry, linear, level] = [0n, 0n, 0n, 0];
  for (level of levels) {
    const slot = slots.get(level)!;
    address = table * BigInt(PAGE_SIZE) + slot * 8n;
    const found = moment.read('ma', address, 8);
    if (found === null) return null;
    entry = found;
    linear |= slot << BigInt(3 + 9 * level);
    table = frameOf(entry);
  }
  const frame = frameOf(entry);
  const name = levels[0] === 4 ? symbolText(symbols, canonical(linear)) : null;
  const use = entry & WRITABLE ? 'writable' : 'read-only';
  const held = heldAs(log, frame) ?? moment.frameType(frame);
  const content = `${hex(entry)}, which maps mfn ${hex(frame)}${name === null ? '' : ` (${name})`} ${use}`;
  const rest = held === null ? '' : `, but Xen holds that frame as ${held}`;
  const slot = slots.get(level)!;
  return {
    place: { space: 'ma', address },
    text: `L${level} entry ${hex(slot)} at machine address ${hex(address)} is ${content}${rest}`,
    guilty: ({ before }) => ((before ^ entry) & (FRAME | PRESENT | WRITABLE)) !== 0n,
  };
}

/** The type in use by the line "Bad type (saw a400000000000001 != exp e000000000000000) for mfn ...". */
function heldAs(log: readonly string[], frame: bigint): string | null {
  for (const line of log) {
    const match = /Bad type \(saw ([0-9a-f]{16}) != exp [0-9a-f]{16}\) for mfn ([0-9a-f]+)/.exec(line);
    if (match !== null && BigInt(`0x${match[2]}`) === frame) return TYPES[Number(BigInt(`0x${match[1]}`) >> 61n)]!;
  }
  return null;
}

/** The refused request of mmu_update: an array of { u64 ptr, u64 val } whose failing member follows those done. */
export function blameRequest(moment: Moment, call: RunEvent): Blame | null {
  const { arg0, arg2 } = call.fields;
  if (call.name !== 'mmu_update' || arg0 === undefined) return null;
  const done = arg2 === undefined || arg2 === 0n ? 0n : (moment.read('va', arg2, 4) ?? 0n);
  for (const index of [done, 0n]) {
    const at = arg0 + index * 16n;
    const [pointer, value] = [moment.read('va', at, 8), moment.read('va', at + 8n, 8)];
    const address = moment.translate(at + 8n);
    if (pointer === null || value === null || address === null) continue;
    return {
      place: { space: 'ma', address },
      text: `request ${index} asks for ${hex(value)} in the entry at machine address ${hex(pointer & ~7n)}`,
      guilty: () => true,
    };
  }
  return null;
}
