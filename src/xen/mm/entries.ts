/**
 * Replacing one entry of a validated page table: take the references of the new value, write it, drop those of the old.
 *
 * Source: xen/arch/x86/mm.c (mod_l1_entry to mod_l4_entry), Xen 4.17.
 */
import type { MachineFrame } from '../../core/units.ts';
import { ERRNO } from '../abi/errno.ts';
import type { Domain } from '../domain.ts';
import { gdprintk, hexText } from './messages.ts';
import { OWNER } from './page-info.ts';
import { PTE, tableWords, writePte } from './pte.ts';
import {
  adjustL1High,
  adjustL1Low,
  adjustUpper,
  badL1Flags,
  badUpperFlags,
  getPageFromL1e,
  getPageFromUpper,
  isGuestL4Slot,
  putPageFromL1e,
  putPageFromUpper,
} from './types.ts';

const AD = PTE.accessed | PTE.dirty;
/** A change outside these bits needs the references taken anew: frame, P, RW and the cache attributes. */
const CHECKED_LOW = ~0xfff | PTE.present | PTE.rw | PTE.pwt | PTE.pcd | PTE.pse;
const CHECKED_HIGH = 0xfffff;

/** How an entry is replaced. */
export interface EntryChange {
  /** Keep the accessed and dirty bits of the old value too (MMU_PT_UPDATE_PRESERVE_AD). */
  readonly preserveAd: boolean;
  /** Whose pages the entry may name: OWNER.domain, or OWNER.io. */
  readonly pgOwner: number;
}
export const NORMAL_CHANGE: EntryChange = { preserveAd: false, pgOwner: OWNER.domain };

/** mod_l1_entry: 0 or a negated error, then the entry is as it was. */
export function modL1Entry(
  d: Domain,
  table: MachineFrame,
  index: number,
  newLo: number,
  newHi: number,
  change: EntryChange = NORMAL_CHANGE,
): number {
  const at = tableWords(d, table) + index * 2;
  const oldLo = d.memory.words[at]!;
  const oldHi = d.memory.words[at + 1]!;
  let lo = newLo;
  let hi = newHi;
  if (newLo & PTE.present) {
    if (badL1Flags(d, lo, hi, 'mm.c:2160') !== 0) return -ERRNO.EINVAL;
    lo = adjustL1Low(d, newLo, newHi);
    hi = adjustL1High(newLo, newHi);
    if (((oldLo ^ lo) & CHECKED_LOW) === 0 && ((oldHi ^ hi) & CHECKED_HIGH) === 0) {
      writePte(d, table, index, change.preserveAd ? lo | (oldLo & AD) : lo, hi);
      return 0;
    }
    const rc = getPageFromL1e(d, lo, hi, change.pgOwner);
    if (rc < 0) return rc;
  }
  writePte(d, table, index, change.preserveAd ? lo | (oldLo & AD) : lo, hi);
  putPageFromL1e(d, oldLo, oldHi);
  return 0;
}

const BAD_FLAGS_AT = ['', '', 'mm.c:2276', 'mm.c:2338', 'mm.c:2400'] as const;

/** mod_l2_entry to mod_l4_entry. */
export function modUpperEntry(
  d: Domain,
  table: MachineFrame,
  index: number,
  newLo: number,
  hi: number,
  level: number,
  preserveAd = false,
): number {
  if (level === 4 && !isGuestL4Slot(index)) {
    gdprintk(d, 'mm.c:2389', `L4 update in Xen-private area, slot ${hexText(index)}`);
    return -ERRNO.EINVAL;
  }
  const at = tableWords(d, table) + index * 2;
  const oldLo = d.memory.words[at]!;
  const oldHi = d.memory.words[at + 1]!;
  let lo = newLo;
  if (newLo & PTE.present) {
    if (badUpperFlags(d, level, lo, BAD_FLAGS_AT[level]!) !== 0) return -ERRNO.EINVAL;
    lo = adjustUpper(level, lo);
    if (((oldLo ^ lo) & CHECKED_LOW) === 0 && ((oldHi ^ hi) & CHECKED_HIGH) === 0) {
      writePte(d, table, index, preserveAd ? lo | (oldLo & AD) : lo, hi);
      return 0;
    }
    const rc = getPageFromUpper(d, lo, hi, table, level);
    if (rc < 0) return rc;
  }
  writePte(d, table, index, preserveAd ? lo | (oldLo & AD) : lo, hi);
  putPageFromUpper(d, oldLo, oldHi, table);
  return 0;
}
