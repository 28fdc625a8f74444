import { describe, expect, test } from 'vitest';
import { readElf } from '../../src/elf/elf.ts';
import { SymbolTable, symbolsOfElf, symbolsOfImage, type Symbol as TableSymbol } from '../../src/inspect/symbols.ts';
import { unpackKernel } from '../../src/xen/loader/payload.ts';
import { ascii, buildElf, concat, symbol } from '../support/elf.ts';
import { guest, hasGuest, KNOWN_VMLINUZ, sha256 } from '../support/guests.ts';

const BASE = 0xffffffff81000000n;
const table = SymbolTable.of(
  [
    { address: BASE + 0x200n, name: 'panic', type: 'T' },
    { address: BASE, name: '_stext', type: 'T' },
    { address: BASE, name: '_text', type: 'T' },
    { address: 0x1000n, name: 'per_cpu_thing', type: 'A' },
    { address: BASE + 0x300n, name: 'panic', type: 't' },
  ],
  { start: BASE, end: BASE + 0x1000n },
);

describe('lookup', () => {
  test('[D-12] an address belongs to the nearest symbol at or below it; the first of equal ones names it', () => {
    expect(table.lookup(BASE)).toEqual({ name: '_stext', offset: 0 });
    expect(table.lookup(BASE + 0x1ffn)).toEqual({ name: '_stext', offset: 0x1ff });
    expect(table.lookup(BASE + 0x200n)).toEqual({ name: 'panic', offset: 0 });
    expect(table.lookup(BASE + 0xfffn)).toEqual({ name: 'panic', offset: 0xcff });
  });

  test('[D-12] addresses outside the range have no name, even behind an absolute symbol', () => {
    for (const address of [0n, 0x1000n, 0x401000n, BASE - 1n, BASE + 0x1000n, (1n << 64n) - 1n])
      expect(table.lookup(address)).toBeNull();
  });

  test('[D-12] names give the lowest address, their extent ends at the next higher symbol', () => {
    expect(table.address('panic')).toBe(BASE + 0x200n);
    expect(table.address('per_cpu_thing')).toBe(0x1000n);
    expect(table.address('nothing')).toBeNull();
    expect(table.extent('_text')).toEqual({ start: BASE, end: BASE + 0x200n });
    expect(table.extent('panic')).toEqual({ start: BASE + 0x200n, end: BASE + 0x300n });
    expect(SymbolTable.empty.lookup(0n)).toBeNull();
  });
});

describe('serialised form', () => {
  const all = (t: SymbolTable): TableSymbol[] => Array.from({ length: t.size }, (_, i) => t.at(i));
  test('[D-12] keeps everything', () => {
    for (const original of [table, SymbolTable.empty]) {
      const copy = SymbolTable.deserialise(original.serialise());
      expect(all(copy)).toEqual(all(original));
      expect(copy.range).toEqual(original.range);
    }
  });

  test('[D-12] a truncated or foreign one is a RangeError', () => {
    const bytes = table.serialise();
    for (let length = 0; length < bytes.length; length++)
      expect(() => SymbolTable.deserialise(bytes.subarray(0, length))).toThrow(RangeError);
    expect(() => SymbolTable.deserialise(concat(bytes, Uint8Array.of(0)))).toThrow(RangeError);
    const foreign = bytes.slice();
    foreign[0] = 9;
    expect(() => SymbolTable.deserialise(foreign)).toThrow(RangeError);
  });
});

/** An ELF file with a text and a data section and the symbols of `entries`: name, address, `info`, section. */
function elfWith(...entries: ReadonlyArray<readonly [string, bigint, number, number]>): Uint8Array {
  const strings = `\0${entries.map(([name]) => `${name}\0`).join('')}`;
  const symbols = entries.map(([name, value, info, section]) =>
    symbol(64, { name: strings.indexOf(`\0${name}\0`) + 1, value, info, section }),
  );
  return buildElf({
    segments: [{ vaddr: BASE, content: new Uint8Array(16), memsz: 0x100 }],
    sections: [
      { name: '.text', type: 1, flags: 6n, content: new Uint8Array(0) },
      { name: '.data', type: 1, flags: 3n, content: new Uint8Array(0) },
      { name: '.symtab', type: 2, link: 4, content: concat(symbol(64, { name: 0, value: 0n }), ...symbols) },
      { name: '.strtab', type: 3, content: ascii(strings) },
    ],
  });
}

test('[D-12] ELF symbols: files and undefined ones left out, a global name before a local one, nm letters', () => {
  const bytes = elfWith(
    ['local', BASE + 4n, 0x02, 1],
    ['global', BASE + 4n, 0x12, 1],
    ['data', BASE + 8n, 0x11, 2],
    ['abs', 0x33n, 0x10, 0xfff1],
    ['file', 0n, 0x04, 0xfff1],
    ['undefined', 0n, 0x10, 0],
  );
  const found = symbolsOfElf(readElf(bytes))!;
  expect(Array.from({ length: found.size }, (_, i) => `${found.at(i).type} ${found.at(i).name}`)).toEqual([
    'A abs',
    'T global',
    't local',
    'D data',
  ]);
  expect(found.lookup(BASE + 5n)).toEqual({ name: 'global', offset: 1 });
  expect(found.range).toEqual({ start: BASE, end: BASE + 0x100n });
  expect(symbolsOfImage(buildElf({})).size).toBe(0);
});

test('[D-12] a function or an object names its address, local or not, before a label, and that before the edge of a section', () => {
  const found = symbolsOfImage(
    elfWith(
      ['__text_start', BASE, 0x10, 1],
      ['start', BASE, 0x10, 1],
      ['__inittext_start', BASE + 0x20n, 0x10, 1],
      ['setup', BASE + 0x20n, 0x02, 1],
      ['__text_end', BASE + 0x80n, 0x10, 2],
      ['devices', BASE + 0x80n, 0x01, 2],
    ),
  );
  const nameAt = (offset: bigint): string => found.lookup(BASE + offset)!.name;
  expect([0x4n, 0x24n, 0xc0n].map(nameAt)).toEqual(['start', 'setup', 'devices']);
  expect(found.address('__text_end')).toBe(BASE + 0x80n);
});

describe.skipIf(!hasGuest('debian/vmlinuz'))("Debian's stripped kernel", () => {
  test('[D-13] kallsyms gives the names of addresses known otherwise', () => {
    const file = guest('debian/vmlinuz');
    const { elf } = unpackKernel(file);
    const symbols = symbolsOfImage(elf);
    if (sha256(file) === KNOWN_VMLINUZ) {
      // The ENTRY note, the section headers, and the address of every hypercall in the trace recorded on real Xen.
      expect(symbols.address('startup_xen')).toBe(0xffffffff830791c0n);
      expect(symbols.address('_etext')).toBe(0xffffffff81e01d32n);
      expect(symbols.address('__per_cpu_end')).toBe(0x35000n);
      expect(symbols.lookup(0xffffffff81a442b5n)?.name).toBe('xen_hypercall_pv');
    }
    expect(symbols.address('panic')).not.toBeNull();
    expect(symbols.lookup(0x401000n)).toBeNull();
    expect(symbols.size).toBeGreaterThan(90_000);
    const copy = SymbolTable.deserialise(symbols.serialise());
    expect(copy.address('panic')).toBe(symbols.address('panic'));
  });
});
