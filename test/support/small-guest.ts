/** Guests of a few instructions, for what no kernel of ours does. */
import type { MachineConfig } from '../../src/machine/config.ts';
import { buildElf, pvNotes, xenNote } from './elf.ts';
import { hexBytes } from './pv-guest.ts';
import { timeTravelGuest } from './time-travel.ts';

const BASE = 0xffffffff80000000n;
const KERNEL = BASE + 0x100000n;
/** Where the data of a small guest lie: a sign-extended 32-bit address. */
export const DATA = KERNEL + 0x1000n;

/** The hexadecimal digits of a little-endian 32-bit operand. */
export const hex32 = (value: bigint): string => hex(Uint32Array.of(Number(BigInt.asUintN(32, value))));
const hex = ({ buffer }: Uint32Array): string => Buffer.from(buffer as ArrayBuffer).toString('hex');

/**
 * A kernel of this code (hexadecimal, up to a page) and `data` at {@link DATA}, followed by zeros up to `dataBytes`; the last page of them
 * is the hypercall page.
 */
export function smallGuest(code: string, data: string, dataBytes: number): MachineConfig {
  const content = new Uint8Array(0x1000 + data.length);
  content.set(hexBytes(code));
  content.set(new TextEncoder().encode(data), 0x1000);
  const kernel = buildElf({
    entry: KERNEL,
    segments: [
      { vaddr: KERNEL, paddr: 0x100000n, content, memsz: 0x1000 + dataBytes },
      { type: 4, content: pvNotes(BASE, KERNEL, xenNote(2, KERNEL + BigInt(dataBytes))) },
    ],
  });
  return { ...timeTravelGuest(''), images: { kernel } };
}
