import { describe, expect, test } from 'vitest';
import { readElf, sectionNamed } from '../../src/elf/elf.ts';
import { Btf } from '../../src/inspect/btf.ts';
import { functionName } from '../../src/inspect/caller.ts';
import { GuestSymbols } from '../../src/inspect/modules.ts';
import { symbolText } from '../../src/inspect/symbol-text.ts';
import { SymbolTable } from '../../src/inspect/symbols.ts';
import { type BtfMember, type BtfType, encodeBtf } from '../support/btf.ts';
import { ascii, buildElf, concat, le, symbol } from '../support/elf.ts';
import { guest, hasGuest } from '../support/guests.ts';
import { FakeMoment } from './fake-moment.ts';

const TEXT = 0xffffffff81000000n;
const MODULES = TEXT + 0x800n;
const kernel = SymbolTable.of(
  [
    { address: TEXT, name: '_stext', type: 'T' },
    { address: MODULES, name: 'modules', type: 'D' },
  ],
  { start: TEXT, end: TEXT + 0x1000n },
);

const at = (name: string, byte: number, type: number, fieldBits?: number): BtfMember => ({
  name,
  type,
  bits: 8 * byte,
  ...(fieldBits === undefined ? {} : { fieldBits }),
});
/** Types 1 to 7, which both kernels have; `struct module` is the eighth. */
const COMMON: readonly BtfType[] = [
  { kind: 'int', name: 'unsigned int', size: 4 },
  { kind: 'pointer', to: 0 },
  { kind: 'struct', name: 'list_head', size: 16, members: [at('next', 0, 2), at('prev', 8, 2)] },
  { kind: 'array', element: 1, length: 14 },
  { kind: 'struct', name: 'area', size: 24, members: [at('base', 8, 2), at('size', 16, 1)] },
  {
    kind: 'struct',
    name: 'mod_kallsyms',
    size: 32,
    members: [at('symtab', 0, 2), at('num_symtab', 8, 1), at('strtab', 16, 2), at('typetab', 24, 2)],
  },
  { kind: 'typedef', name: 'area_t', to: 5 },
];
/** `struct module` as of 6.1 (two members for its memory, one in a nameless structure) and as of 6.4 (an array). */
const KERNELS: ReadonlyArray<readonly [string, readonly BtfType[]]> = [
  [
    'two layouts',
    [
      ...COMMON,
      {
        kind: 'struct',
        name: 'module',
        size: 256,
        members: [at('state', 0, 1), at('list', 8, 3), at('name', 24, 4), at('', 96, 9), at('kallsyms', 200, 2)],
      },
      { kind: 'struct', name: '', size: 48, members: [at('core_layout', 0, 7), at('init_layout', 24, 7)] },
    ],
  ],
  [
    'an array of areas',
    [
      ...COMMON,
      {
        kind: 'struct',
        name: 'module',
        size: 256,
        members: [
          at('state', 0, 1, 4),
          at('list', 8, 3, 0),
          at('name', 24, 4, 0),
          at('mem', 96, 9, 0),
          at('kallsyms', 200, 2, 0),
        ],
      },
      { kind: 'array', element: 5, length: 2 },
    ],
  ],
];
const imageWith = (types: readonly BtfType[]): Uint8Array =>
  buildElf({ sections: [{ name: '.BTF', type: 1, content: encodeBtf(types) }] });

const AREA = 0xffffffffc0200000n;
/** Puts module `index` into memory: its text at AREA + index * 0x4000, its data 0x2000 behind; `next` follows in the list. */
function putModule(moment: FakeMoment, index: number, name: string, next: bigint): bigint {
  const text = AREA + BigInt(index) * 0x4000n;
  const module = 0xffffffffa0000000n + BigInt(index) * 0x1000n;
  const [kallsyms, symtab, strtab, types] = [0x400n, 0x500n, 0x800n, 0x900n].map((offset) => module + offset);
  moment.put(module, new Uint8Array(256));
  moment.put64(module + 8n, next).put(module + 24n, ascii(name));
  moment.put64(module + 104n, text).put(module + 112n, le(0x1000, 4));
  moment.put64(module + 128n, text + 0x2000n).put(module + 136n, le(0x1000, 4));
  moment.put64(module + 200n, kallsyms!);
  moment.put64(kallsyms!, symtab!).put64(kallsyms! + 8n, 5n);
  moment.put64(kallsyms! + 16n, strtab!).put64(kallsyms! + 24n, types!);
  moment.put(
    symtab!,
    concat(
      symbol(64, { name: 0, value: 0n, section: 0 }),
      symbol(64, { name: 1, value: text, info: 0 }),
      symbol(64, { name: 7, value: text, info: 2 }),
      symbol(64, { name: 12, value: text + 0x2010n, info: 1 }),
      symbol(64, { name: 18, value: text + 8n, section: 0 }),
    ),
  );
  moment.put(strtab!, concat(ascii('\0label\0work\0table\0printk\0'), new Uint8Array(600)));
  moment.put(types!, ascii('?rtdU'));
  return module + 8n;
}

describe('modules of a Linux guest', () => {
  test.each(KERNELS)('[D-13] an address in one is named with it; their memory as %s', (_, types) => {
    const moment = new FakeMoment();
    moment.put64(MODULES, putModule(moment, 0, 'first', putModule(moment, 1, 'second', MODULES)));
    const symbols = new GuestSymbols(kernel, imageWith(types), moment);
    const text = (address: bigint): string | null => symbolText(symbols, address);
    expect(text(TEXT + 4n)).toBe('_stext+0x4');
    expect(text(AREA)).toBe('work [first]');
    expect(text(AREA + 0x4010n)).toBe('work+0x10 [second]');
    expect(text(AREA + 0x6012n)).toBe('table+0x2 [second]');
    // in front of all symbols of its area, behind an area, in the user's half
    for (const address of [AREA + 0x2000n, AREA + 0x1000n, 0x401000n]) expect(text(address)).toBeNull();
    expect(functionName({ rip: AREA, symbol: text(AREA + 0x4010n) })).toBe('work');
  });

  test('[D-13] they are those of the tick the session stands at', () => {
    const moment = new FakeMoment();
    moment.put64(MODULES, putModule(moment, 0, 'first', MODULES));
    const symbols = new GuestSymbols(kernel, imageWith(KERNELS[0]![1]), moment);
    expect(symbols.lookup(AREA)?.module).toBe('first');
    moment.put64(MODULES, MODULES);
    moment.tick = 1;
    expect(symbols.lookup(AREA)).toBeNull();
  });

  test('[D-13] without BTF there are none; a list that never ends does', () => {
    const moment = new FakeMoment();
    const first = putModule(moment, 0, 'first', 0n);
    moment.put64(MODULES, first).put64(first, first);
    expect(new GuestSymbols(kernel, buildElf({}), moment).lookup(AREA)).toBeNull();
    const image = imageWith(KERNELS[0]![1]);
    expect(new GuestSymbols(kernel, image, moment).lookup(AREA + 0x3fffn)).toBeNull();
    expect(new GuestSymbols(kernel, image, new FakeMoment()).lookup(AREA)).toBeNull();
  });

  test('[D-13] structures inside each other end', () => {
    const members = Array.from({ length: 1000 }, () => at('', 0, 1));
    const btf = Btf.read(encodeBtf([{ kind: 'struct', name: 'module', size: 8, members }]))!;
    expect(btf.member(1, 'list')).toBeNull();
  });

  test('[D-13] damaged BTF gives something or nothing', () => {
    const section = encodeBtf(KERNELS[0]![1]);
    expect(Btf.read(section.subarray(0, 20))).toBeNull();
    for (let i = 2; i < section.length; i++) {
      const bad = section.slice();
      bad[i] = bad[i]! ^ 0xff;
      const btf = Btf.read(bad)!;
      expect(() => btf.member(btf.structure('module') ?? 0, 'core_layout')).not.toThrow();
    }
  });
});

test.skipIf(!hasGuest('debian/vmlinux'))("[D-13] BTF of Debian's kernel: sizes and offsets that its ABI gives", () => {
  const elf = readElf(guest('debian/vmlinux'));
  const { offset, size } = sectionNamed(elf, '.BTF')!;
  const btf = Btf.read(elf.bytes.subarray(offset, offset + size))!;
  expect(btf.size(btf.structure('list_head')!)).toBe(16);
  expect(btf.size(btf.structure('page')!)).toBe(64);
  expect(btf.member(btf.structure('pt_regs')!, 'orig_ax')?.offset).toBe(15 * 8);
  expect(btf.member(btf.structure('module')!, 'core_layout')).not.toBeNull();
});
