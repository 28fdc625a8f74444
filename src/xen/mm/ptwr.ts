/**
 * Stores of the guest kernel to its read-only L1 page tables, which Xen carries out after checking them like mmu_update.
 * Tables of the upper levels are not emulated: the store faults to the guest.
 *
 * Source: xen/arch/x86/pv/ro-page-fault.c, Xen 4.17.
 */
import { type MachineFrame, PAGE_SIZE, type PhysAddr } from '../../core/units.ts';
import { highWord, joinWords, lowWord } from '../../core/words.ts';
import type { Domain } from '../domain.ts';
import { gdprintk } from './messages.ts';
import { levelOf, OWNER, PGT } from './page-info.ts';
import { PTE, tableWords, writePte } from './pte.ts';
import { adjustL1High, adjustL1Low, getPageFromL1e, putPageFromL1e } from './types.ts';

/** What became of a store: done, refused (the guest gets its page fault), or a compare that did not match. */
export type PtwrResult = 'done' | 'refused' | { readonly mismatch: bigint };

/** Whether a store to the frame is Xen's to emulate: an L1 table in use that the domain owns. */
export function isWritableTable(d: Domain, mfn: MachineFrame): boolean {
  if (!d.frames.valid(mfn) || d.frames.owner(mfn) !== OWNER.domain) return false;
  const type = d.frames.type(mfn);
  return levelOf(type) === 1 && (type & PGT.countMask) !== 0 && (type & PGT.validated) !== 0;
}

/**
 * ptwr_emulated_update: stores the low `bytes` bytes of `value` at `address` inside an L1 table for which `isWritableTable`
 * holds; with `expected` only if the same bytes hold it (a CMPXCHG, or a read-modify-write of any kind). The stored entry
 * has Xen's own bits added.
 */
export function ptwrWrite(
  d: Domain,
  address: PhysAddr,
  bytes: number,
  value: bigint,
  expected: bigint | null = null,
): PtwrResult {
  if (bytes > 8 || (bytes & (bytes - 1)) !== 0 || bytes === 0) {
    gdprintk(d, 'ro-page-fault.c:236', `bad write size (addr=${address.toString(16)}, bytes=${bytes})`);
    return 'refused';
  }
  if (address % bytes !== 0) {
    const at = address.toString(16);
    gdprintk(d, 'ro-page-fault.c:100', `bad access (cr2=${at}, addr=${at}, bytes=${bytes})`);
    return 'refused';
  }
  const mfn = Math.floor(address / PAGE_SIZE);
  const index = Math.floor((address % PAGE_SIZE) / 8);
  const at = tableWords(d, mfn) + index * 2;
  const oldLo = d.memory.words[at]!;
  const oldHi = d.memory.words[at + 1]!;
  const old = joinWords(oldLo, oldHi);
  // A part of an entry becomes the whole: the other bytes stay.
  const shift = BigInt((address % 8) * 8);
  const mask = ((1n << BigInt(bytes * 8)) - 1n) << shift;
  const whole = (part: bigint): bigint => (old & ~mask) | ((part << shift) & mask);
  const next = whole(value);
  let lo = lowWord(next);
  let hi = highWord(next);
  if (lo & PTE.present) {
    if (getPageFromL1e(d, lo, hi) !== 0) {
      gdprintk(d, 'ro-page-fault.c:163', 'could not get_page_from_l1e()');
      return 'refused';
    }
    [lo, hi] = [adjustL1Low(d, lo, hi), adjustL1High(lo, hi)];
  }
  if (expected !== null && whole(expected) !== old) {
    putPageFromL1e(d, lo, hi);
    return { mismatch: (old & mask) >> shift };
  }
  writePte(d, mfn, index, lo, hi);
  putPageFromL1e(d, oldLo, oldHi);
  return 'done';
}
