/**
 * Segment descriptors of a PV guest: Xen checks and corrects every one before a page may hold any.
 *
 * Source: xen/arch/x86/pv/descriptor-tables.c.
 */
import { type MachineFrame, PAGE_SIZE } from '../../core/units.ts';
import { highWord, joinWords, lowWord } from '../../core/words.ts';
import { ERRNO } from '../abi/errno.ts';
import { FIRST_RESERVED_GDT_ENTRY, FLAT } from '../abi/numbers.ts';
import type { Domain } from '../domain.ts';
import { tableWords } from './pte.ts';

/** Bits of a descriptor's high word (arch/x86 desc.h). */
const SEGMENT = { type: 0xf << 8, system: 1 << 12, dpl: 3 << 13, present: 1 << 15 } as const;
const CALL_GATE = 0xc00;
const KERNEL_RPL = 3;

/**
 * check_descriptor: the descriptor as Xen stores it (privilege level raised to 3, call gates closed), or null when a guest
 * may not have it.
 */
export function checkDescriptor(descriptor: bigint): bigint | null {
  let a = lowWord(descriptor);
  let b = highWord(descriptor);
  // What is not present always faults.
  if ((b & SEGMENT.present) === 0) return descriptor;
  const dpl = Math.max((b >>> 13) & 3, KERNEL_RPL);
  b = (b & ~SEGMENT.dpl) | (dpl << 13);
  if (b & SEGMENT.system) return joinWords(a, b);
  // Type 0 is the second half of a call gate and does nothing by itself.
  if ((b & SEGMENT.type) === 0) return descriptor;
  if ((b & SEGMENT.type) !== CALL_GATE) return null;
  const selector = a >>> 16;
  const guest = selector >>> 3 < FIRST_RESERVED_GDT_ENTRY || selector === FLAT.ring3Cs64 || (selector & 4) !== 0;
  if (!guest) return null;
  // Privilege level 0, so that every use faults and can be emulated; the guest's level goes into the selector.
  b &= ~SEGMENT.dpl;
  a = (a & 0xffff) | (((selector & ~3) | dpl) << 16);
  return b & 0xff ? null : joinWords(a, b);
}

/** validate_segdesc_page: checks and corrects 512 descriptors; 0 or -EINVAL. */
export function validateSegdescPage(d: Domain, mfn: MachineFrame): number {
  const { words } = d.memory;
  const base = tableWords(d, mfn);
  for (let i = 0; i < 512; i++) {
    const lo = words[base + i * 2]!;
    const hi = words[base + i * 2 + 1]!;
    if ((hi & SEGMENT.present) === 0) continue;
    const before = joinWords(lo, hi);
    const after = checkDescriptor(before);
    if (after === null) return -ERRNO.EINVAL;
    if (after !== before) d.memory.write64(mfn * PAGE_SIZE + i * 8, after);
  }
  return 0;
}
