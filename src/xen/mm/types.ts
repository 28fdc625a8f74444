/**
 * Page types: the rule that a frame has one use at a time, counted, and that page tables are validated before they are
 * used as such.
 *
 * Invariants:
 * - a type changes only while its count is 0; a page-table type is `validated` exactly while its count is above 0;
 * - an entry of a validated table holds a general reference and a type reference (a read-only L1 entry: a general one);
 * - a failed promotion leaves no reference behind. Real Xen can be preempted in it and undoes it later; here a promotion is never
 *   cut, so that partial validation does not exist.
 * Source: xen/arch/x86/mm.c (_get_page_type, _put_page_type, promote_*, demote_*, get_page_from_l*e), Xen 4.17.
 */
import { assert } from '../../core/assert.ts';
import type { MachineFrame } from '../../core/units.ts';
import { ERRNO } from '../abi/errno.ts';
import { FIRST_XEN_SLOT, LAST_XEN_SLOT } from '../abi/numbers.ts';
import type { Domain } from '../domain.ts';
import { fillRoMpt, zapRoMpt } from './m2p.ts';
import { frameText, gdprintk, hexText, mfnAndPfn, ownerId } from './messages.ts';
import { countInfoText, levelOf, OWNER, PGT, typeInfoText } from './page-info.ts';
import { PTE, PTE_HI, pteFlags, pteFrame, pteText, tableWords, writePte } from './pte.ts';
import { getOwnerAndReference, getPageFromMfn, putPage } from './refs.ts';
import { validateSegdescPage } from './segdesc.ts';

/** Cache attributes and, in a debug build, the grant bit: refused in an L1 entry of a domain without devices. */
const L1_DISALLOWED = PTE.pwt | PTE.pcd | PTE.pse;
const L1_DISALLOWED_HI = PTE_HI.gnttab;
/** Upper levels allow neither superpages nor global entries. */
const UPPER_DISALLOWED = PTE.pwt | PTE.pcd | PTE.pse | PTE.global;
/** A frame number of all ones, which no one is told of (INVALID_MFN in an entry). */
const ALL_ONES_FRAME = 2 ** 40 - 1;
const MAX_LINEAR = 0x7fff;
const TABLE_ENTRIES = 512;

/** Flags of an L1 entry that are refused, 0 when it is fine; logged as at `where`. */
export function badL1Flags(d: Domain, lo: number, hi: number, where: string): number {
  if ((lo & L1_DISALLOWED) === 0 && (hi & L1_DISALLOWED_HI) === 0) return 0;
  const bad = pteFlags(lo & L1_DISALLOWED, hi & L1_DISALLOWED_HI);
  gdprintk(d, where, `Bad L1 flags ${bad.toString(16)}`);
  return bad;
}
const BAD_FLAGS_AT = ['', '', 'mm.c:1134', 'mm.c:1157', 'mm.c:1181'] as const;
/** The same for an L2 to L4 entry. */
export function badUpperFlags(d: Domain, level: number, lo: number, where: string = BAD_FLAGS_AT[level]!): number {
  const bad = lo & UPPER_DISALLOWED;
  if (bad !== 0) gdprintk(d, where, `Bad L${level} flags ${bad.toString(16)}`);
  return bad;
}
/** Whether an L4 slot is the guest's. */
export const isGuestL4Slot = (slot: number): boolean => slot < FIRST_XEN_SLOT || slot > LAST_XEN_SLOT;

// ---- bits that Xen adds to what a guest stores (arch/x86/pv/mm.h) -----------------------------------------------------

/** Low half of a present L1 entry as Xen stores it; the high half is `adjustL1High`. */
export function adjustL1Low(d: Domain, lo: number, hi: number): number {
  if ((lo & PTE.user) === 0 || (hi & PTE_HI.guestKernel) !== 0) {
    if ((lo & PTE.global) !== 0 && (hi & PTE_HI.guestKernel) !== 0)
      gdprintk(d, 'mm.h:98', `Global bit is set in kernel page ${pteFrame(lo, hi).toString(16)}`);
    return lo | PTE.user;
  }
  return lo | PTE.global | PTE.user;
}
/** High half of a present L1 entry as Xen stores it: a page the kernel keeps from user mode is marked. */
export const adjustL1High = (lo: number, hi: number): number => ((lo & PTE.user) === 0 ? hi | PTE_HI.guestKernel : hi);
/** Low half of a present L2 to L4 entry as Xen stores it. */
export const adjustUpper = (level: number, lo: number): number =>
  level === 4 ? lo | PTE.user | PTE.accessed : lo | PTE.user;

// ---- L1 entries ---------------------------------------------------------------------------------------------------------

/**
 * get_page_from_l1e: takes the references of a present L1 entry of the domain. 0 or a negated error. `pgOwner` is whose
 * pages the entry may name (the domain, or dom_io by mmu_update's argument).
 */
export function getPageFromL1e(d: Domain, lo: number, hi: number, pgOwner: number = OWNER.domain): number {
  const { frames } = d;
  const mfn = pteFrame(lo, hi);
  if (badL1Flags(d, lo, hi, 'mm.c:877') !== 0) return -ERRNO.EINVAL;
  if (pgOwner === OWNER.domain && frames.takeMapping(mfn, (lo & PTE.rw) !== 0)) return 0;
  const valid = frames.valid(mfn);
  const owner = valid ? getOwnerAndReference(d, mfn) : OWNER.none;
  if (!valid || owner === OWNER.io) {
    if (valid) putPage(d, mfn);
    if (mfn === ALL_ONES_FRAME) return -ERRNO.EINVAL;
    gdprintk(d, 'mm.c:901', `d${d.id} non-privileged attempt to map MMIO space ${frameText(mfn)}`);
    return -ERRNO.EPERM;
  }
  if (owner === pgOwner) {
    if ((lo & PTE.rw) === 0 || getPageType(d, mfn, PGT.writable) === 0) return 0;
    gdprintk(d, 'mm.c:1014', 'Could not get page type PGT_writable_page');
  } else {
    const ids = `pg_owner d${ownerId(d, pgOwner)} l1e_owner d${d.id}`;
    gdprintk(d, 'mm.c:988', `${ids}, but real_pg_owner d${ownerId(d, owner)}`);
  }
  gdprintk(
    d,
    'mm.c:1040',
    `Error getting ${mfnAndPfn(d, mfn)} from L1 entry ${pteText(lo, hi)} ` +
      `for l1e_owner d${d.id}, pg_owner d${ownerId(d, pgOwner)}`,
  );
  if (owner !== OWNER.none) putPage(d, mfn);
  return -ERRNO.EBUSY;
}

/** put_page_from_l1e: drops the references of an L1 entry; one that is not present has none. */
export function putPageFromL1e(d: Domain, lo: number, hi: number): void {
  if ((lo & PTE.present) === 0) return;
  const mfn = pteFrame(lo, hi);
  const writable = (lo & PTE.rw) !== 0;
  if (d.frames.dropMapping(mfn, writable)) return;
  if (writable) putPageType(d, mfn);
  putPage(d, mfn);
}

function promoteL1(d: Domain, table: MachineFrame): number {
  const { words } = d.memory;
  const base = tableWords(d, table);
  for (let i = 0; i < 512; i++) {
    const lo = words[base + i * 2]!;
    if ((lo & PTE.present) === 0) continue;
    const hi = words[base + i * 2 + 1]!;
    const rc = getPageFromL1e(d, lo, hi);
    if (rc < 0) {
      gdprintk(d, 'mm.c:1366', `Failure ${rc} in promote_l1_table: slot ${hexText(i)}`);
      while (i-- > 0) putPageFromL1e(d, words[base + i * 2]!, words[base + i * 2 + 1]!);
      return rc;
    }
    writePte(d, table, i, adjustL1Low(d, lo, hi), adjustL1High(lo, hi));
  }
  return 0;
}

function demoteL1(d: Domain, table: MachineFrame): void {
  const { words } = d.memory;
  const base = tableWords(d, table);
  for (let i = 0; i < 1024; i += 2) putPageFromL1e(d, words[base + i]!, words[base + i + 1]!);
}

// ---- upper levels -------------------------------------------------------------------------------------------------------

/** get_page_and_type_from_mfn: both references, or neither. */
export function getPageAndType(d: Domain, mfn: MachineFrame, type: number): number {
  if (!getPageFromMfn(d, mfn)) return -ERRNO.EINVAL;
  const rc = getPageType(d, mfn, type);
  if (rc !== 0) putPage(d, mfn);
  return rc;
}
/** Drops a type and a general reference (put_page_and_type). */
export function putPageAndType(d: Domain, mfn: MachineFrame): void {
  putPageType(d, mfn);
  putPage(d, mfn);
}

/**
 * A read-only entry of a table for a table of the same level: itself, which needs no reference, or one that is validated
 * already. A table is then either the user or the used, never both, so that no chain can form (`linear_pt_count`).
 */
function getLinear(d: Domain, lo: number, hi: number, table: MachineFrame, level: number): boolean {
  const { frames } = d;
  if (lo & PTE.rw) {
    gdprintk(d, 'mm.c:697', 'Attempt to create linear p.t. with write perms');
    return false;
  }
  const mfn = pteFrame(lo, hi);
  if (mfn === table) return true;
  if (!getPageFromMfn(d, mfn)) return false;
  const type = frames.type(mfn);
  const usable =
    frames.linear(table) >= 0 &&
    frames.linear(table) < MAX_LINEAR &&
    frames.linear(mfn) <= 0 &&
    frames.linear(mfn) > -MAX_LINEAR &&
    (type & (PGT.typeMask | PGT.validated)) === ((level << 29) | PGT.validated) &&
    (type & PGT.countMask) !== PGT.countMask;
  if (!usable) {
    putPage(d, mfn);
    return false;
  }
  frames.setLinear(table, frames.linear(table) + 1);
  frames.setLinear(mfn, frames.linear(mfn) - 1);
  frames.setType(mfn, type + 1);
  return true;
}

/** get_page_from_l2e to l4e: takes the references of a present entry of the level's table. 0 or a negated error. */
export function getPageFromUpper(d: Domain, lo: number, hi: number, table: MachineFrame, level: number): number {
  if (badUpperFlags(d, level, lo) !== 0) return -ERRNO.EINVAL;
  const rc = getPageAndType(d, pteFrame(lo, hi), (level - 1) << 29);
  return rc === -ERRNO.EINVAL && getLinear(d, lo, hi, table, level) ? 0 : rc;
}
/** put_page_from_l2e to l4e. */
export function putPageFromUpper(d: Domain, lo: number, hi: number, table: MachineFrame): void {
  const mfn = pteFrame(lo, hi);
  if ((lo & PTE.present) === 0 || mfn === table) return;
  putPageType(d, mfn, table);
  putPage(d, mfn);
}

const FAILURE_AT = ['', '', 'mm.c:1474', 'mm.c:1593', 'mm.c:1784'] as const;

/** Promotes an L2, L3 or L4 table; 0, or the negated error with every reference undone. */
function promoteUpper(d: Domain, table: MachineFrame, level: number): number {
  const { words } = d.memory;
  const base = tableWords(d, table);
  for (let i = 0; i < 512; i++) {
    if (level === 4 && !isGuestL4Slot(i)) continue;
    const lo = words[base + i * 2]!;
    if ((lo & PTE.present) === 0) continue;
    const hi = words[base + i * 2 + 1]!;
    const rc = getPageFromUpper(d, lo, hi, table, level);
    if (rc < 0) {
      gdprintk(d, FAILURE_AT[level]!, `Failure ${rc} in promote_l${level}_table: slot ${hexText(i)}`);
      failedValidation(d, table, level);
      dropEntries(d, table, level, i);
      // Xen tears down what it had validated later, which leaves the type; with nothing validated it clears it.
      d.frames.setType(table, i === 0 ? PGT.none : level << 29);
      return rc;
    }
    writePte(d, table, i, adjustUpper(level, lo), hi);
  }
  if (level === 4) {
    initXenL4Slots(d, table);
    d.state.l4Pages++;
  }
  return 0;
}

/** Drops the references of the entries below `end`, last first. */
function dropEntries(d: Domain, table: MachineFrame, level: number, end: number): void {
  const { words } = d.memory;
  const base = tableWords(d, table);
  for (let i = end - 1; i >= 0; i--) {
    if (level === 4 && !isGuestL4Slot(i)) continue;
    putPageFromUpper(d, words[base + i * 2]!, words[base + i * 2 + 1]!, table);
  }
}

/** init_xen_l4_slots: Xen's slots hold the M2P and nothing else, as there is no hypervisor to map. */
function initXenL4Slots(d: Domain, table: MachineFrame): void {
  for (let slot = FIRST_XEN_SLOT + 1; slot <= LAST_XEN_SLOT; slot++) writePte(d, table, slot, 0, 0);
  zapRoMpt(d, table);
  if (!d.host.m2pStrict) fillRoMpt(d, table);
}

// ---- types --------------------------------------------------------------------------------------------------------------

/** What Xen says when a page is not fit for the type numbered `type`. */
function failedValidation(d: Domain, mfn: MachineFrame, type: number): void {
  const { frames } = d;
  gdprintk(
    d,
    'mm.c:2649',
    `Error while validating ${mfnAndPfn(d, mfn)} for type ${typeInfoText(type << 29)}: ` +
      `caf=${countInfoText(frames.count(mfn))} taf=${typeInfoText(frames.type(mfn))}`,
  );
}

function validate(d: Domain, mfn: MachineFrame, type: number): number {
  const level = levelOf(type);
  d.work.charge(TABLE_ENTRIES);
  if (level >= 2) {
    const rc = promoteUpper(d, mfn, level);
    if (rc === 0) d.frames.setType(mfn, d.frames.type(mfn) | PGT.validated);
    return rc;
  }
  const rc = level === 1 ? promoteL1(d, mfn) : validateSegdescPage(d, mfn);
  if (rc === 0) d.frames.setType(mfn, d.frames.type(mfn) | PGT.validated);
  else {
    failedValidation(d, mfn, type >>> 29);
    d.frames.setType(mfn, PGT.none);
  }
  return rc;
}

/**
 * get_page_type: takes a type reference to a frame on which the caller holds a general one, validating the page when
 * its use begins. 0 or a negated error.
 */
export function getPageType(d: Domain, mfn: MachineFrame, type: number): number {
  const { frames } = d;
  const x = frames.type(mfn);
  const count = x & PGT.countMask;
  if (count === PGT.countMask) {
    gdprintk(d, 'mm.c:2899', `Type count overflow on mfn ${frameText(mfn)}`);
    return -ERRNO.EINVAL;
  }
  let next = x + 1;
  if (count === 0) {
    if ((x & PGT.typeMask) !== type) next = (next & ~(PGT.typeMask | PGT.validated)) | type;
  } else if ((x & PGT.typeMask) !== type) {
    // What may be a recursive mapping is not reported: the caller may yet allow it.
    const level = levelOf(x);
    if (level >= 2 && levelOf(type) === level - 1) return -ERRNO.EINVAL;
    const types = `(saw ${typeInfoText(x)} != exp ${typeInfoText(type)})`;
    gdprintk(d, 'mm.c:2940', `Bad type ${types} for ${mfnAndPfn(d, mfn)}`);
    return -ERRNO.EINVAL;
  } else assert((x & PGT.validated) !== 0, 'a frame is in use before it is validated');
  if (next & PGT.validated) {
    frames.setType(mfn, next);
    return 0;
  }
  if (type === PGT.writable) {
    frames.setType(mfn, next | PGT.validated);
    return 0;
  }
  frames.setType(mfn, next);
  frames.setLinear(mfn, 0);
  return validate(d, mfn, type);
}

/** put_page_type: drops a type reference; `table` is the page table whose entry held it, where one did. */
export function putPageType(d: Domain, mfn: MachineFrame, table: MachineFrame = -1): void {
  const { frames } = d;
  const x = frames.type(mfn);
  assert((x & PGT.countMask) !== 0 && (x & PGT.validated) !== 0, 'put of the type of a frame that has none');
  const level = levelOf(x);
  if ((x & PGT.countMask) === 1 && level !== 0) {
    d.work.charge(TABLE_ENTRIES);
    frames.setType(mfn, x & ~PGT.validated);
    if (level === 1) demoteL1(d, mfn);
    else dropEntries(d, mfn, level, 512);
    if (level === 4) d.state.l4Pages--;
    frames.setType(mfn, frames.type(mfn) - 1);
  } else frames.setType(mfn, x - 1);
  if (table >= 0 && ((x ^ frames.type(table)) & PGT.typeMask) === 0) {
    frames.setLinear(mfn, frames.linear(mfn) + 1);
    frames.setLinear(table, frames.linear(table) - 1);
  }
}
