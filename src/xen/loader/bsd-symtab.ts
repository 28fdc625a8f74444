/**
 * BSD_SYMTAB: the symbol table placed behind the kernel in memory, where NetBSD's debugger looks for it.
 *
 * Layout, from the first aligned address behind the kernel: a u32 length, a made-up ELF header, three section headers
 * (null, symbol table, string table), the symbol table, the string table. Offsets inside count from the ELF header.
 * Xen reserves room for the 64-bit headers also in a 32-bit image, so its tables start at the same distance.
 *
 * Source: xen/common/libelf/libelf-loader.c (elf_parse_bsdsyms, elf_load_bsdsyms).
 */

import { type Elf, sectionBytes, symbolSections } from '../../elf/elf.ts';

/** Bytes of Xen's elf_sym_header: the length, an Elf64_Ehdr, three Elf64_Shdr. */
const EHDR_OFFSET = 4;
const SHDRS_OFFSET = EHDR_OFFSET + 64;
const TABLES_OFFSET = SHDRS_OFFSET + 3 * 64;

const roundUp = (value: number, align: number): number => Math.ceil(value / align) * align;

/** The symbol area of an image: `bytes` go to the first address behind the kernel that is a multiple of `align`. */
export interface BsdSymtab {
  readonly bytes: Uint8Array;
  readonly align: number;
}

/** Builds the symbol area of `elf`; null when the file has no symbol table. */
export function buildBsdSymtab(elf: Elf): BsdSymtab | null {
  const found = symbolSections(elf);
  if (found === null) return null;
  const wide = elf.bits === 64;
  const align = wide ? 8 : 4;
  const [ehdrSize, shdrSize] = wide ? [64, 64] : [52, 40];
  const symtab = sectionBytes(elf, found.symtab);
  const strtab = sectionBytes(elf, found.strtab);
  const symtabAt = roundUp(TABLES_OFFSET, align);
  const strtabAt = roundUp(symtabAt + symtab.length, align);
  const bytes = new Uint8Array(roundUp(strtabAt + strtab.length, align));
  const view = new DataView(bytes.buffer);
  const word = (at: number, value: number): void =>
    wide ? view.setBigUint64(at, BigInt(value), true) : view.setUint32(at, value, true);

  view.setUint32(0, strtabAt + strtab.length - EHDR_OFFSET, true);
  bytes.set(elf.bytes.subarray(0, ehdrSize), EHDR_OFFSET);
  view.setUint32(EHDR_OFFSET + 0x14, 1, true); // e_version = EV_CURRENT
  word(EHDR_OFFSET + (wide ? 0x20 : 0x1c), 0); // e_phoff
  word(EHDR_OFFSET + (wide ? 0x28 : 0x20), SHDRS_OFFSET - EHDR_OFFSET); // e_shoff
  const tail = EHDR_OFFSET + (wide ? 0x34 : 0x28);
  for (const [i, value] of [ehdrSize, 0, 0, shdrSize, 3, 0].entries()) view.setUint16(tail + 2 * i, value, true);

  const copyHeader = (index: number, headerOffset: number, at: number): number => {
    const to = SHDRS_OFFSET + index * shdrSize;
    bytes.set(elf.bytes.subarray(headerOffset, headerOffset + shdrSize), to);
    word(to + (wide ? 0x18 : 0x10), at - EHDR_OFFSET); // sh_offset
    return to;
  };
  const symtabHeader = copyHeader(1, found.symtab.headerOffset, symtabAt);
  view.setUint32(symtabHeader + (wide ? 0x28 : 0x18), 2, true); // sh_link
  copyHeader(2, found.strtab.headerOffset, strtabAt);
  bytes.set(symtab, symtabAt);
  bytes.set(strtab, strtabAt);
  return { bytes, align };
}
