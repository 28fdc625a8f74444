/** Where generated code finds the entry of a linear address in the software TLBs (memory/layout.ts): one text for both tiers. */
import { EXEC_ENTRIES, EXEC_ENTRY_BYTES, TLB_ENTRIES, TLB_ENTRY_BYTES } from '../memory/layout.ts';
import type { FunctionBody } from './wasm/encoder.ts';

const PAGE_SHIFT = 12;

/** Pushes number of the page modulo `entries`, times `bytes`; both are powers of 2. */
function pushOffset(f: FunctionBody, address: number, entries: number, bytes: number): void {
  f.get(address)
    .i64(BigInt(PAGE_SHIFT - Math.log2(bytes)))
    .op('i64.shr_u')
    .op('i32.wrap_i64');
  f.i32((entries - 1) * bytes).op('i32.and');
}
/** Pushes the offset in its TLB of the data entry for the linear address in a local. */
export const pushDataEntry = (f: FunctionBody, address: number): void =>
  pushOffset(f, address, TLB_ENTRIES, TLB_ENTRY_BYTES);
/** The same for code, from EXEC_OFFSET on. */
export const pushCodeEntry = (f: FunctionBody, address: number): void =>
  pushOffset(f, address, EXEC_ENTRIES, EXEC_ENTRY_BYTES);
