/** Addresses as a person reads them. Apart from the disassembler, so that a verb that only names places does not load one. */
import { hex, type VirtAddr } from '../core/units.ts';
import type { Symbolizer } from './disassembly.ts';

/** Offsets beyond this say that the address is in no function, only behind one. */
const LARGEST_OFFSET = 1 << 24;

/** `address` as `symbol+0x1f`, in a module as Linux has it, `symbol+0x1f [module]`; null when no symbol covers it. */
export function symbolText(symbols: Symbolizer, address: VirtAddr): string | null {
  const found = symbols.lookup(address);
  if (found === null || found.offset > LARGEST_OFFSET) return null;
  const place = found.offset === 0 ? found.name : `${found.name}+${hex(found.offset)}`;
  return found.module === undefined ? place : `${place} [${found.module}]`;
}
