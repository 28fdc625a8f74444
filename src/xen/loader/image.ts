/**
 * A kernel image ready to be placed: its Xen description, what to copy where, and the range it covers.
 *
 * Segments are placed by physical address (`p_paddr`), never by `p_vaddr`: Linux has a per-CPU segment at virtual
 * address 0. A physical address is `PADDR_OFFSET` ahead of its distance from `VIRT_BASE`.
 *
 * Source: xen/common/libelf/libelf-loader.c (elf_parse_binary), libelf-dominfo.c (elf_xen_addr_calc_check).
 */

import { EmulatorError } from '../../core/errors.ts';
import { hex, PAGE_SIZE, u64, type VirtAddr } from '../../core/units.ts';
import { type Elf, PT_LOAD, readElf, segmentBytes } from '../../elf/elf.ts';
import { type BsdSymtab, buildBsdSymtab } from './bsd-symtab.ts';
import { readXenInfo, requireAmd64Pv, type XenImageInfo } from './notes.ts';

/** One piece of the image: `content`, then zeroes up to `memsz`, `offset` bytes behind the start of the kernel region. */
export interface LoadPiece {
  readonly offset: number;
  readonly content: Uint8Array;
  readonly memsz: number;
}

/** A loadable image; the kernel region is `virtStart` .. `virtEnd`. */
export interface XenImage {
  readonly elf: Elf;
  readonly info: XenImageInfo;
  /** Virtual address of the lowest loaded byte. */
  readonly virtStart: VirtAddr;
  /** First virtual address behind the kernel and its BSD symbol area. */
  readonly virtEnd: VirtAddr;
  readonly pieces: readonly LoadPiece[];
}

/** How often segments may cover what they cover, as in elf_load_binary. */
const MOST_COPIES = 2;
const ADDRESS_SPACE = 1n << 64n;

const fail = (message: string): never => {
  throw new EmulatorError('E_IMAGE', message);
};

/**
 * Reads an unpacked ELF image that can start as an amd64 PV domain; E_PLATFORM for another platform's image, E_IMAGE for
 * one that is malformed or that Xen's builder refuses.
 */
export function readXenImage(bytes: Uint8Array): XenImage {
  const elf = readElf(bytes);
  const info = readXenInfo(elf);
  requireAmd64Pv(elf, info);
  const loads = elf.segments.filter((segment) => segment.type === PT_LOAD && (segment.flags & 7) !== 0);
  if (loads.length === 0) fail('the image has no loadable segment');
  let [physStart, physEnd] = [loads[0]!.paddr, 0n];
  for (const { paddr, memsz } of loads) {
    const end = paddr + BigInt(memsz);
    if (paddr < physStart) physStart = paddr;
    if (end > physEnd) physEnd = end;
  }
  const size = Number(physEnd - physStart);
  if (size > 1 << 30) fail(`the segments spread from ${hex(physStart)} to ${hex(physEnd)}, more than 1 GiB`);
  const total = loads.reduce((sum, { memsz }) => sum + memsz, 0);
  if (total > MOST_COPIES * Math.ceil(size / PAGE_SIZE) * PAGE_SIZE)
    fail(`the segments have ${total} bytes together, more than twice the ${size} bytes they cover`);
  const pieces: LoadPiece[] = loads.map((segment) => ({
    offset: Number(segment.paddr - physStart),
    content: segmentBytes(elf, segment),
    memsz: segment.memsz,
  }));
  const symbols = info.bsdSymtab ? buildBsdSymtab(elf) : null;
  const end = symbols === null ? size : addSymbols(pieces, physEnd, physStart, symbols);
  const virtStart = u64(physStart + info.virtBase - info.paddrOffset);
  const virtEnd = virtStart + BigInt(end);
  checkAddresses(info, virtStart, virtEnd);
  return { elf, info, virtStart, virtEnd, pieces };
}

/** Appends the BSD symbol area; returns the new size of the kernel region. */
function addSymbols(pieces: LoadPiece[], physEnd: bigint, physStart: bigint, symbols: BsdSymtab): number {
  const align = BigInt(symbols.align);
  const offset = Number(((physEnd + align - 1n) / align) * align - physStart);
  pieces.push({ offset, content: symbols.bytes, memsz: symbols.bytes.length });
  return offset + symbols.bytes.length;
}

/** The bounds that Xen's builder checks. */
function checkAddresses(info: XenImageInfo, virtStart: VirtAddr, virtEnd: VirtAddr): void {
  const range = `${hex(virtStart)} .. ${hex(virtEnd)}`;
  if (virtEnd >= ADDRESS_SPACE) fail(`the kernel at ${range} reaches the end of the address space`);
  if (info.virtBase > virtStart) fail(`VIRT_BASE ${hex(info.virtBase)} is above the kernel at ${range}`);
  if (info.entry < virtStart || info.entry > virtEnd) fail(`the entry ${hex(info.entry)} is outside ${range}`);
  if ((virtStart & 4095n) !== 0n) fail(`the kernel starts at ${hex(virtStart)}, not at a page`);
  if (info.initP2m !== null && info.initP2m >= virtStart && info.initP2m < virtEnd)
    fail(`INIT_P2M ${hex(info.initP2m)} is inside the kernel at ${range}`);
  if (info.hypercallPage !== null && info.hypercallPage < info.virtBase)
    fail(`HYPERCALL_PAGE ${hex(info.hypercallPage)} is not behind VIRT_BASE ${hex(info.virtBase)}`);
}
