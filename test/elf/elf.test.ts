import { describe, expect, test } from 'vitest';
import { EmulatorError } from '../../src/core/errors.ts';
import { fileNotes, readElf, readSymbols, sectionNamed } from '../../src/elf/elf.ts';
import { ascii, buildElf, concat, le, note, symbol } from '../support/elf.ts';
import { errorOf } from '../support/error.ts';

const sample = (bits: 32 | 64): Uint8Array =>
  buildElf({
    bits,
    entry: 0x1234n,
    segments: [
      { vaddr: 0xc0000000n, paddr: 0x100000n, content: ascii('kernel text'), memsz: 0x4000 },
      { type: 4, content: note('GNU', 3, Uint8Array.of(0xde, 0xad, 0x0b)) },
    ],
    sections: [
      { name: '.text', type: 1, content: ascii('kernel text'), flags: 6n, addr: 0xc0000000n },
      {
        name: '.symtab',
        type: 2,
        link: 3,
        content: concat(
          symbol(bits, { name: 0, value: 0n }),
          symbol(bits, { name: 1, value: 0xc0000004n, size: 7, info: 0x12 }),
          symbol(bits, { name: 6, value: 0xc0000008n, info: 0x01 }),
        ),
      },
      { name: '.strtab', type: 3, content: ascii('\0start\0') },
    ],
  });

describe.each([64, 32] as const)('ELF%i', (bits) => {
  test('[D-10] headers, segments and sections say what the file says', () => {
    const elf = readElf(sample(bits));
    expect(elf).toMatchObject({ bits, machine: bits === 64 ? 62 : 3, type: 2, entry: 0x1234n });
    expect(elf.segments[0]).toMatchObject({
      type: 1,
      flags: 7,
      vaddr: 0xc0000000n,
      paddr: 0x100000n,
      filesz: 11,
      memsz: 0x4000,
    });
    expect(elf.sections.map(({ type }) => type)).toEqual([0, 1, 2, 3, 3]);
    expect(sectionNamed(elf, '.text')).toMatchObject({ addr: 0xc0000000n, size: 11, flags: 6n });
    expect(sectionNamed(elf, '.data')).toBeNull();
  });

  test('[D-12] symbols carry value, size, type and binding', () => {
    expect(readSymbols(readElf(sample(bits)))).toEqual([
      { name: 'start', value: 0xc0000004n, size: 7n, type: 2, binding: 1, section: 1 },
      { name: '', value: 0xc0000008n, size: 0n, type: 1, binding: 0, section: 1 },
    ]);
  });

  test('[D-10] every truncation is refused with E_IMAGE', () => {
    const whole = sample(bits);
    // The last byte belongs to the section headers, so no shorter file is complete.
    for (let length = 0; length < whole.length; length++)
      expect(errorOf(() => readElf(whole.subarray(0, length)))).toMatch(/^E_IMAGE: /);
  });

  test('[D-10] a changed byte anywhere never escapes as another error', () => {
    const whole = sample(bits);
    let refused = 0;
    for (let at = 0; at < whole.length; at++) {
      for (const value of [0, 0xff, 0x80]) {
        const bad = whole.slice();
        bad[at] = value;
        try {
          const elf = readElf(bad);
          fileNotes(elf);
          readSymbols(elf);
        } catch (error) {
          expect(error).toBeInstanceOf(EmulatorError);
          refused++;
        }
      }
    }
    expect(refused).toBeGreaterThan(50);
  });
});

/** `sample` with `bytes` at `at`. */
const patched = (at: number, bytes: Uint8Array): Uint8Array => {
  const out = sample(64);
  out.set(bytes, at);
  return out;
};

test.each([
  ['not an ELF file', new Uint8Array(100), 'not an ELF file: the magic 7f 45 4c 46 is missing at offset 0x0'],
  ['unknown class', patched(4, le(3, 1)), 'class 3 at offset 0x4'],
  ['big-endian', patched(5, le(2, 1)), 'data encoding 2 at offset 0x5'],
  [
    'program headers outside',
    patched(0x20, le(0x10000, 8)),
    'the table of 2 program headers needs 112 bytes at 0x10000',
  ],
  ['small program header', patched(0x36, le(8, 2)), 'e_phentsize is 8, less than a program header'],
  ['segment outside', patched(64 + 8, le(0x9999, 8)), 'the content of program header 0 needs 11 bytes at 0x9999'],
  ['absurd offset', patched(64 + 8, le(2n ** 63n, 8)), 'p_offset of program header 0 is 0x8000000000000000'],
  ['more file than memory', patched(64 + 40, le(1, 8)), 'program header 0 has p_filesz 0xb above p_memsz 0x1'],
  [
    'section headers outside',
    patched(0x28, le(0x20000, 8)),
    'the table of 5 section headers needs 320 bytes at 0x20000',
  ],
  ['bad section names', patched(0x3e, le(1, 2)), 'e_shstrndx is 1, which is not a string table'],
])('[D-10] E_IMAGE names the place: %s', (_, bytes, message) => {
  const error = errorOf(() => readElf(bytes));
  expect(error).toMatch(/^E_IMAGE: /);
  expect(error).toContain(message);
});

test('[D-10] a note that runs past its segment is refused, one cut by the end of the file is not', () => {
  const long = concat(le(4000, 4), le(4, 4), le(1, 4), ascii('Xen\0'));
  expect(errorOf(() => fileNotes(readElf(buildElf({ segments: [{ type: 4, content: long }] }))))).toBe(
    'E_IMAGE: note 0 at 0x78 runs past the end of program header 0 at 0x88',
  );
  const cut = concat(le(4, 4), le(12, 4), le(9, 4), ascii('Xen\0'), ascii('yes\0'));
  const whole = buildElf({ segments: [{ type: 4, content: cut }] });
  const [found] = fileNotes(readElf(whole.subarray(0, 64 + 56 + cut.length)));
  expect(found).toMatchObject({ owner: 'Xen', type: 9 });
  expect([...found!.desc]).toEqual([...ascii('yes\0')]);
});
