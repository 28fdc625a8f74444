/** Page-table entries of a PV guest of the tests. */
import type { PvGuest } from './pv-guest.ts';

const PAGE = 4096n;
/** The frame in an entry. */
export const FRAME_MASK = 0x000f_ffff_ffff_f000n;

/** Machine address of the L1 entry that maps `address`, by the kernel's tables. */
export function entryOf(guest: PvGuest, address: bigint, level = 1): number {
  let table = Number(guest.cpu.get('cr3') >> 12n);
  for (let l = 4; ; l--) {
    const at = table * 4096 + Number((address >> BigInt(3 + 9 * l)) & 511n) * 8;
    if (l === level) return at;
    table = Number((guest.xen.memory.read64(at) & FRAME_MASK) >> 12n);
  }
}
/** Where the kernel sees the L1 entry that maps `address`: the tables are mapped read-only. */
export function mappedEntry(guest: PvGuest, address: bigint): bigint {
  const at = entryOf(guest, address);
  const base = guest.startInfoWord(0x58); // pt_base
  const frames = guest.startInfoWord(0x60);
  for (let i = 0n; i < frames; i++)
    if (guest.mfn(base + i * PAGE) === Math.floor(at / 4096)) return base + i * PAGE + BigInt(at % 4096);
  throw new Error('the table is not mapped');
}
