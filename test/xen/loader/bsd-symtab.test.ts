import { describe, expect, test } from 'vitest';
import { readElf, readSymbols } from '../../../src/elf/elf.ts';
import { buildBsdSymtab } from '../../../src/xen/loader/bsd-symtab.ts';
import { readXenImage } from '../../../src/xen/loader/image.ts';
import { ascii, buildElf, concat, pvNotes, symbol, xenNote } from '../../support/elf.ts';
import { errorOf } from '../../support/error.ts';

const BASE = 0xffffffff80000000n;
const kernel = (bits: 32 | 64, link = 2): Uint8Array =>
  buildElf({
    bits,
    segments: [
      { vaddr: BASE & (bits === 64 ? -1n : 0xffffffffn), paddr: 0n, content: new Uint8Array(0x1234), memsz: 0x2345 },
      { type: 4, content: pvNotes(BASE, BASE, xenNote(11, 'yes')) },
    ],
    sections: [
      {
        name: '.symtab',
        type: 2,
        link,
        content: concat(symbol(bits, { name: 0, value: 0n }), symbol(bits, { name: 1, value: 0x80000010n })),
      },
      { name: '.strtab', type: 3, content: ascii('\0ddb_enter\0') },
    ],
  });

describe('[D-12] layout of elf_load_bsdsyms', () => {
  // Offsets by sizeof(struct elf_sym_header): u32, Elf64_Ehdr (64), 3 Elf64_Shdr (192) = 260, rounded to 264 for ELF64.
  test('[D-12] ELF64: length, header, three section headers, both tables', () => {
    const { bytes, align } = buildBsdSymtab(readElf(kernel(64)))!;
    const view = new DataView(bytes.buffer);
    expect(align).toBe(8);
    // 264 + 48 bytes of symbols, 11 of strings; the length counts from the ELF header.
    expect(view.getUint32(0, true)).toBe(264 + 48 + 11 - 4);
    expect(bytes.length).toBe(264 + 48 + 16);
    expect([...bytes.subarray(4, 8)]).toEqual([0x7f, 0x45, 0x4c, 0x46]);
    expect(view.getBigUint64(4 + 0x20, true)).toBe(0n); // e_phoff
    expect(view.getBigUint64(4 + 0x28, true)).toBe(64n); // e_shoff
    const header = [0x34, 0x36, 0x38, 0x3a, 0x3c, 0x3e].map((at) => view.getUint16(4 + at, true));
    expect(header).toEqual([64, 0, 0, 64, 3, 0]);
    expect(bytes.subarray(68, 68 + 64).every((byte) => byte === 0)).toBe(true);
    const sections = [1, 2].map((i) => 68 + 64 * i);
    expect(sections.map((at) => view.getUint32(at + 4, true))).toEqual([2, 3]); // sh_type
    expect(sections.map((at) => view.getBigUint64(at + 0x18, true))).toEqual([260n, 308n]); // sh_offset
    expect(view.getUint32(sections[0]! + 0x28, true)).toBe(2); // sh_link
  });

  test('[D-12] ELF32: 32-bit headers at the same place, tables behind room for 64-bit ones', () => {
    const { bytes, align } = buildBsdSymtab(readElf(kernel(32)))!;
    const view = new DataView(bytes.buffer);
    expect(align).toBe(4);
    expect(view.getUint32(0, true)).toBe(260 + 32 + 11 - 4);
    expect(view.getUint32(4 + 0x20, true)).toBe(64); // e_shoff
    expect([0x28, 0x2e, 0x30].map((at) => view.getUint16(4 + at, true))).toEqual([52, 40, 3]);
    const sections = [1, 2].map((i) => 68 + 40 * i);
    expect(sections.map((at) => view.getUint32(at + 0x10, true))).toEqual([256, 288]);
    expect(view.getUint32(sections[0]! + 0x18, true)).toBe(2);
  });

  test.each([64, 32] as const)('[D-12] an ELF%i area reads back as the symbols of the kernel', (bits) => {
    const elf = readElf(kernel(bits));
    const { bytes } = buildBsdSymtab(elf)!;
    const area = bytes.subarray(4, 4 + new DataView(bytes.buffer).getUint32(0, true));
    expect(readSymbols(readElf(area)).map((s) => [s.name, s.value])).toEqual([['ddb_enter', 0x80000010n]]);
  });
});

test('[D-12] the area starts at the first multiple of 8 behind the kernel and extends it', () => {
  const image = readXenImage(kernel(64));
  expect(image.pieces.map((p) => p.offset)).toEqual([0, 0x2348]);
  expect(image.virtEnd).toBe(BASE + 0x2348n + 328n);
});

test('[D-12] without a symbol table there is no area, a wrong string table is E_IMAGE', () => {
  expect(buildBsdSymtab(readElf(buildElf({})))).toBeNull();
  expect(errorOf(() => buildBsdSymtab(readElf(kernel(64, 1))))).toBe(
    'E_IMAGE: sh_link of the symbol table (section 1) is 1, not a string table',
  );
});
