/**
 * What Xen refused: the page-table entry, found by following the slots that Xen's own lines name, or the request itself.
 */
import { canonical, hex, PAGE_SIZE, type VirtAddr } from '../../core/units.ts';
import { ERRNO } from '../../xen/abi/errno.ts';
import { TYPE_NAMES } from '../../xen/mm/page-info.ts';
import type { Blame, Look, NamedEvent, Refusal } from '../explanation.ts';

/** Errors by which kernels find out what Xen can do; they kill nobody: -ENOSYS, -EOPNOTSUPP. */
const PROBES = new Set([-38n, -95n]);
/** Lines by which one refusal is passed up through the levels of page tables: the first and the last say it all. */
const CASCADE = /Failure -?\d+ in promote_l|Error while validating|Could not get page type/;
const ERRORS = 4096n;

/** A hypercall's negative result, probes aside. */
export const refusal = (event: NamedEvent): Refusal | null =>
  PROBES.has(event.fields.result ?? 0n) ? null : denial(event);
/** A hypercall's negative result. */
export function denial({ kind, fields: { result } }: NamedEvent): Refusal | null {
  if (kind !== 'hypercall' || result === undefined || result >= 0n || result <= -ERRORS) return null;
  const name = Object.entries(ERRNO).find(([, number]) => number === Number(-result))?.[0] ?? 'error';
  return { error: `${result} (${name})`, isCascade: (line) => CASCADE.test(line) };
}

const FRAME = 0x000ffffffffff000n;
const ENTRY_BYTES = 8;
const PRESENT = 1n;
const WRITABLE = 2n;
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
export function blameEntry(
  look: Look,
  log: readonly string[],
  nameOf: (address: VirtAddr) => string | null,
  typeOf: (frame: bigint) => string | null,
): Blame | null {
  const slots = failedSlots(log);
  let table = failedRoot(log);
  if (table === null || slots.size === 0) return null;
  const levels = [...slots.keys()].toSorted((a, b) => b - a);
  let [address, entry, linear, level] = [0n, 0n, 0n, 0];
  for (level of levels) {
    const slot = slots.get(level)!;
    address = table * BigInt(PAGE_SIZE) + slot * 8n;
    const found = look.read('ma', address, 8);
    if (found === null) return null;
    entry = found;
    linear |= slot << BigInt(3 + 9 * level);
    table = frameOf(entry);
  }
  const frame = frameOf(entry);
  const name = levels[0] === 4 ? nameOf(canonical(linear)) : null;
  const use = entry & WRITABLE ? 'writable' : 'read-only';
  const held = heldAs(log, frame) ?? typeOf(frame);
  const content = `${hex(entry)}, which maps mfn ${hex(frame)}${name === null ? '' : ` (${name})`} ${use}`;
  const rest = held === null ? '' : `, but Xen holds that frame as ${held}`;
  const slot = slots.get(level)!;
  return {
    place: { space: 'ma', address },
    bytes: ENTRY_BYTES,
    text: `L${level} entry ${hex(slot)} at machine address ${hex(address)} is ${content}${rest}`,
    guilty: ({ before }) => ((before ^ entry) & (FRAME | PRESENT | WRITABLE)) !== 0n,
  };
}

/** The type in use by the line "Bad type (saw a400000000000001 != exp e000000000000000) for mfn ...". */
function heldAs(log: readonly string[], frame: bigint): string | null {
  for (const line of log) {
    const match = /Bad type \(saw ([0-9a-f]{16}) != exp [0-9a-f]{16}\) for mfn ([0-9a-f]+)/.exec(line);
    if (match !== null && BigInt(`0x${match[2]}`) === frame) return TYPE_NAMES[Number(BigInt(`0x${match[1]}`) >> 61n)]!;
  }
  return null;
}

/** The refused request of mmu_update: an array of { u64 ptr, u64 val } whose failing member follows those done. */
export function blameRequest(look: Look, call: NamedEvent): Blame | null {
  const { arg0, arg2 } = call.fields;
  if (call.name !== 'mmu_update' || arg0 === undefined) return null;
  const done = arg2 === undefined || arg2 === 0n ? 0n : (look.read('va', arg2, 4) ?? 0n);
  for (const index of [done, 0n]) {
    const at = arg0 + index * 16n;
    const [pointer, value] = [look.read('va', at, 8), look.read('va', at + 8n, 8)];
    const [first, second] = [look.translate(at), look.translate(at + 8n)];
    if (pointer === null || value === null || first === null || second === null) continue;
    const text = `request ${index} asks for ${hex(value)} in the entry at machine address ${hex(pointer & ~7n)}`;
    const word = (address: bigint): Blame => ({
      place: { space: 'ma', address },
      ...{ bytes: ENTRY_BYTES, text, guilty: () => true },
    });
    return { ...word(second), or: word(first) };
  }
  return null;
}
