/**
 * The page walker: SDM vol. 3A chapter 4 over the guest's own tables, for 4-level, PAE, 32-bit and no paging.
 *
 * A walk reads the tables and checks the access; nothing changes until {@link Walker.commit} sets the accessed and dirty
 * bits of the path. Results are fields of the walker, so that a walk allocates nothing.
 */
import type { PhysAddr } from '../core/units.ts';
import { joinWords } from '../core/words.ts';
import { STATE } from '../x86/state.ts';
import { FRAME, type GuestMemory } from './guest-memory.ts';

/** What an access wants. */
export const ACCESS = { read: 0, write: 1, exec: 2 } as const;
export type Access = 0 | 1 | 2;

/** Bits of a page-table entry. */
export const PTE = { p: 1, rw: 2, us: 4, a: 0x20, d: 0x40, ps: 0x80 } as const;
/** Bits of a page-fault error code. */
const PF = { p: 1, w: 2, u: 4, rsvd: 8, i: 16 } as const;

const CR0_WP = 1 << 16;
const CR0_PG = 1 << 31;
const CR4_PSE = 1 << 4;
const CR4_PAE = 1 << 5;
const EFER_LMA = 1 << 10;
const EFER_NXE = 1 << 11;
const NX = 1 << 31;
/** Bits of the high word that are neither address, NX nor ignored: none below bit 52 but the frame itself. */
const FRAME_HIGH = 0xfffff;
/** Reserved bits of PAE paging outside long mode: 62 to 52 of any entry; 8 to 5, 2 and 1 of a directory pointer. */
const PAE_RESERVED_HIGH = 0x7ff00000;
const POINTER_RESERVED = 0x1e6;

/** Why a walk fails, as bits of the error code; {@link NONE}: it does not. */
const ABSENT = 0;
const DENIED = PF.p;
const RESERVED = PF.p | PF.rsvd;
const NONE = -1;

/** An entry on the way of a walk. */
export interface WalkedEntry {
  readonly address: PhysAddr;
  readonly bytes: 4 | 8;
  /** 4 to 1; tables of level 1 hold the entries of 4 KiB pages. */
  readonly level: number;
  readonly value: bigint;
}

/** Offset in its table, in bytes, of the entry for hi:lo; `top` is the level of the root that CR3 names. */
function entryOffset(level: number, top: number, cr3: number, lo: number, hi: number): number {
  if (top === 2) return ((lo >>> (level === 2 ? 22 : 12)) & 1023) * 4;
  if (level === 4) return ((hi >>> 7) & 511) * 8;
  if (level === 3 && top === 4) return (((hi & 0x7f) << 2) | (lo >>> 30)) * 8;
  // the four PAE directory pointers start at any 32-byte boundary
  if (level === 3) return (cr3 & 0xfe0) + (lo >>> 30) * 8;
  return ((lo >>> (level === 2 ? 21 : 12)) & 511) * 8;
}

export class Walker {
  readonly #memory: GuestMemory;
  readonly #words: Int32Array;
  readonly #ram: number;
  readonly #frameLimit: number;
  /** Word index of each entry that was read, slot of its table and level, by depth; the last one may not be present. */
  readonly #path = new Int32Array(4);
  readonly #pathSlot = new Int32Array(4);
  readonly #pathLevel = new Uint8Array(4);
  #depth = 0;
  /** Its entries have 8 bytes, not 4. */
  #wide = false;

  /** Error code of the page fault when {@link Walker.walk} returned false. */
  error = 0;
  /** Machine frame of the 4 KiB page. */
  frame = 0;
  /** Slot of that frame. */
  slot = 0;
  /** The translation permits writes at this privilege and its dirty bit is set (or need not be). */
  writable = false;

  constructor(memory: GuestMemory) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#ram = memory.map.ram;
    this.#frameLimit = memory.map.shape.frameLimit;
  }

  #slotOf(frame: number): number {
    return frame < this.#frameLimit ? this.#memory.frameSlots[frame]! : -1;
  }

  /**
   * Translates the linear address hi:lo with the paging state of the vCPU at `base`. A frame that does not exist is a
   * reserved-bit violation: it lies above the physical-address width.
   */
  walk(base: number, lo: number, hi: number, access: Access, user: boolean): boolean {
    const cause = this.#find(base, lo, hi, access, user);
    if (cause === NONE) return true;
    this.error |= cause;
    return false;
  }
  /**
   * Finds the page: {@link NONE}, or the bits of the error code that tell why not, beside those of the access in `error`. One place
   * makes an error of them, or V8 would compile all of this anew for each cause that comes up.
   */
  #find(base: number, lo: number, hi: number, access: Access, user: boolean): number {
    const words = this.#words;
    const cr0 = words[(base + STATE.cr0.offset) >>> 2]!;
    this.#depth = 0;
    if ((cr0 & CR0_PG) === 0) return this.#findUnpaged(lo);
    const cr4 = words[(base + STATE.cr4.offset) >>> 2]!;
    const efer = words[(base + STATE.efer.offset) >>> 2]!;
    const nxe = (efer & EFER_NXE) !== 0;
    this.error = (access === ACCESS.write ? PF.w : 0) | (user ? PF.u : 0) | (access === ACCESS.exec && nxe ? PF.i : 0);
    const cr3 = (base + STATE.cr3.offset) >>> 2;
    const long = (efer & EFER_LMA) !== 0;
    const wide = long || (cr4 & CR4_PAE) !== 0;
    this.#wide = wide;
    const top = long ? 4 : wide ? 3 : 2;

    let table = (long ? (words[cr3 + 1]! & FRAME_HIGH) * 0x100000 : 0) + (words[cr3]! >>> 12);
    let rights = PTE.rw | PTE.us;
    let noExecute = 0;
    let low = 0;
    let leafSize = 1;
    for (let level = top; ; level--) {
      const tableSlot = this.#slotOf(table);
      if (tableSlot < 0) return RESERVED;
      const at = (this.#ram + tableSlot * 4096 + entryOffset(level, top, words[cr3]!, lo, hi)) >>> 2;
      low = words[at]!;
      const high = wide ? words[at + 1]! : 0;
      const depth = this.#depth++;
      this.#path[depth] = at;
      this.#pathSlot[depth] = tableSlot;
      this.#pathLevel[depth] = level;
      if ((low & PTE.p) === 0) return ABSENT;
      const pointer = top === 3 && level === 3;
      // PAE entries have no ignored bits below NX, and directory pointers no rights (SDM vol. 3A figure 4-7)
      if (top === 3 && (high & PAE_RESERVED_HIGH || (pointer && low & POINTER_RESERVED))) return RESERVED;
      if (high < 0 && !nxe) return RESERVED;
      if (!pointer) {
        rights &= low;
        noExecute |= high & NX;
      }
      table = (high & FRAME_HIGH) * 0x100000 + (low >>> 12);
      if (level === 1) break;
      if ((low & PTE.ps) === 0 || pointer) continue;
      if (level === 4) return RESERVED;
      if (!wide) {
        if ((cr4 & CR4_PSE) === 0) continue;
        leafSize = 1024;
        table = (low >>> 22) * 1024 + ((low >>> 13) & 0xff) * 0x100000;
      } else {
        leafSize = level === 2 ? 512 : 512 * 512;
        // bit 12 is PAT; the address bits below the page size must be zero
        if ((low >>> 13) & ((leafSize >>> 1) - 1)) return RESERVED;
        table -= table % 2; // PAT
      }
      break;
    }
    if (leafSize > 1) table += (lo >>> 12) % leafSize;
    this.frame = table;
    this.slot = this.#slotOf(table);
    // reserved bits are checked before rights
    if (this.slot < 0) return RESERVED;
    const mayWrite = (rights & PTE.rw) !== 0 || (!user && (cr0 & CR0_WP) === 0);
    if (user && (rights & PTE.us) === 0) return DENIED;
    if (access === ACCESS.write && !mayWrite) return DENIED;
    if (access === ACCESS.exec && noExecute) return DENIED;
    this.writable = mayWrite && (access === ACCESS.write || (low & PTE.d) !== 0);
    return NONE;
  }

  #findUnpaged(lo: number): number {
    this.frame = lo >>> 12;
    this.slot = this.#slotOf(this.frame);
    this.writable = true;
    this.error = 0;
    return this.slot >= 0 ? NONE : RESERVED;
  }

  /** The entries that the last walk read, from the root on; without paging there are none. */
  entries(): WalkedEntry[] {
    return Array.from({ length: this.#depth }, (_, depth) => {
      const at = this.#path[depth]!;
      const bytes = this.#wide ? 8 : 4;
      const low = this.#words[at]!;
      return {
        address: this.#memory.slotFrames[this.#pathSlot[depth]!]! * 4096 + ((at * 4) & 4095),
        bytes,
        level: this.#pathLevel[depth]!,
        value: bytes === 8 ? joinWords(low, this.#words[at + 1]!) : BigInt(low >>> 0),
      };
    });
  }

  /**
   * Sets the accessed bits of the last successful walk, and the dirty bit of its leaf for a write. `marked` is told of
   * every table of the path.
   */
  commit(access: Access, marked: (slot: number, level: number) => void): void {
    const memory = this.#memory;
    const words = this.#words;
    const leaf = this.#depth - 1;
    for (let depth = 0; depth <= leaf; depth++) {
      const slot = this.#pathSlot[depth]!;
      const level = this.#pathLevel[depth]!;
      const at = this.#path[depth]!;
      const old = words[at]!;
      const bits = accessBits(access, level, depth, leaf);
      if ((old & bits) !== bits) {
        const flags = memory.slotFlags[slot]!;
        if (flags & FRAME.code) memory.onCodeWrite(slot, (at * 4) & 4095, 4);
        memory.markDirty(slot);
        words[at] = old | bits;
      }
      marked(slot, level);
    }
  }

  /** True when committing the last successful walk would set no bit, and `isMarked` knows every table of its path. */
  isSettled(access: Access, isMarked: (slot: number, level: number) => boolean): boolean {
    const leaf = this.#depth - 1;
    for (let depth = 0; depth <= leaf; depth++) {
      const level = this.#pathLevel[depth]!;
      const bits = accessBits(access, level, depth, leaf);
      if ((this.#words[this.#path[depth]!]! & bits) !== bits || !isMarked(this.#pathSlot[depth]!, level)) return false;
    }
    return true;
  }
}

/** The bits that an access sets in the entry at `depth` of a path; PAE directory pointers have neither. */
function accessBits(access: Access, level: number, depth: number, leaf: number): number {
  if (level === 3 && depth === 0) return 0;
  return access === ACCESS.write && depth === leaf ? PTE.a | PTE.d : PTE.a;
}
