/**
 * Symbols of the modules a Linux guest has loaded, read from its memory at the tick a session stands at.
 *
 * The kernel chains `struct module` from the list `modules`; where its members stand says the image's BTF, and without BTF modules have no
 * names. What memory says is the guest's word: lists, counts and lengths are bounded, and what cannot be read is left out.
 *
 * Source: include/linux/module.h and kernel/module/kallsyms.c (find_kallsyms_symbol) of Linux 6.1 and 6.12: up to 6.3 a module's
 * memory is `core_layout` and `init_layout`, then the array `mem`.
 */

import { type Tick, u64, type VirtAddr } from '../core/units.ts';
import { readElf, sectionNamed } from '../elf/elf.ts';
import { Btf } from './btf.ts';
import type { Symbolizer } from './disassembly.ts';
import { type Location, type Range, SymbolTable, type Symbol as TableSymbol } from './symbols.ts';

/** What is asked of a moment. */
interface Source {
  readonly tick: Tick;
  bytes(address: VirtAddr, bytes: number): Uint8Array;
}

const MOST_MODULES = 1024;
const MOST_AREAS = 16;
const MOST_SYMBOLS = 1 << 16;
const LONGEST_NAME = 512;
/** Bytes of a string that are read at a time: most names are shorter. */
const STRING_PIECE = 32;
/** Bytes of a module's own name (MODULE_NAME_LEN) and of an Elf64_Sym. */
const NAME_BYTES = 56;
const SYMBOL_BYTES = 24;
const KERNEL_HALF = 1n << 63n;

/** Offsets in bytes from the start of `struct module`, and of its `struct mod_kallsyms`. */
interface Layout {
  readonly list: number;
  readonly name: number;
  readonly areas: ReadonlyArray<{ readonly base: number; readonly size: number }>;
  readonly kallsyms: number;
  readonly symtab: number;
  readonly count: number;
  readonly strtab: number;
  readonly types: number;
}

/** One of a module's areas of memory; its symbols are read when an address in it is first asked for. */
interface Area extends Range {
  readonly module: string;
  /** Address of the `struct module`. */
  readonly owner: VirtAddr;
  symbols: SymbolTable | null;
}

/** The layout as the BTF of a kernel's ELF file gives it; null without BTF or where a member is missing. */
function layoutOf(image: Uint8Array): Layout | null {
  const elf = readElf(image);
  const section = sectionNamed(elf, '.BTF');
  const btf = section === null ? null : Btf.read(elf.bytes.subarray(section.offset, section.offset + section.size));
  const module = btf?.structure('module') ?? null;
  const kallsyms = btf?.structure('mod_kallsyms') ?? null;
  if (btf === null || module === null || kallsyms === null) return null;
  const offsets = [
    ...['list', 'name', 'kallsyms'].map((name) => btf.member(module, name)?.offset),
    ...['symtab', 'num_symtab', 'strtab', 'typetab'].map((name) => btf.member(kallsyms, name)?.offset),
  ];
  const areas = areasOf(btf, module);
  if (offsets.includes(undefined) || areas.length === 0) return null;
  const [list, name, pointer, symtab, count, strtab, types] = offsets as number[];
  return {
    list: list!,
    name: name!,
    areas,
    kallsyms: pointer!,
    symtab: symtab!,
    count: count!,
    strtab: strtab!,
    types: types!,
  };
}

/** Where a `struct module` says which memory it has. */
function areasOf(btf: Btf, module: number): Array<{ base: number; size: number }> {
  const starts: Array<{ offset: number; type: number }> = [];
  const mem = btf.member(module, 'mem');
  const array = mem === null ? null : btf.array(mem.type);
  if (mem !== null && array !== null)
    for (let i = 0; i < Math.min(array.length, MOST_AREAS); i++)
      starts.push({ offset: mem.offset + i * btf.size(array.element), type: array.element });
  for (const name of ['core_layout', 'init_layout']) {
    const member = btf.member(module, name);
    if (member !== null) starts.push(member);
  }
  return starts.flatMap(({ offset, type }) => {
    const [base, size] = [btf.member(type, 'base'), btf.member(type, 'size')];
    return base === null || size === null ? [] : [{ base: offset + base.offset, size: offset + size.offset }];
  });
}

/** Names addresses of the kernel by its table and those of modules by what memory says at the moment's tick. */
export class GuestSymbols implements Symbolizer {
  /** The kernel's own, which hold at every tick. */
  readonly kernel: SymbolTable;
  readonly #image: Uint8Array;
  readonly #memory: Source;
  /** Undefined until an address outside the kernel is asked for. */
  #layout: Layout | null | undefined;
  #tick = -1;
  #areas: readonly Area[] = [];

  constructor(kernel: SymbolTable, image: Uint8Array, memory: Source) {
    this.kernel = kernel;
    this.#image = image;
    this.#memory = memory;
  }

  /** The symbol that `address` lies in, or null; with the module's name where it is in one. */
  lookup(address: VirtAddr): Location | null {
    const found = this.kernel.lookup(address);
    if (found !== null || address < KERNEL_HALF) return found;
    const area = this.#loaded().find(({ start, end }) => address >= start && address < end);
    if (area === undefined) return null;
    area.symbols ??= SymbolTable.of(this.#symbolsOf(area.owner), area);
    const inside = area.symbols.lookup(address);
    return inside && { ...inside, module: area.module };
  }

  #loaded(): readonly Area[] {
    if (this.#tick !== this.#memory.tick) {
      this.#tick = this.#memory.tick;
      this.#areas = [...this.#walk()];
    }
    return this.#areas;
  }

  *#walk(): Generator<Area> {
    const head = this.kernel.address('modules');
    if (head === null) return;
    if (this.#layout === undefined) this.#layout = layoutOf(this.#image);
    const layout = this.#layout;
    if (layout === null) return;
    let next = this.#u64(head);
    for (let i = 0; i < MOST_MODULES && next !== head && next >= KERNEL_HALF; i++, next = this.#u64(next)) {
      const owner = u64(next - BigInt(layout.list));
      const module = this.#text(owner + BigInt(layout.name), NAME_BYTES);
      for (const { base, size } of layout.areas) {
        const start = this.#u64(owner + BigInt(base));
        yield { start, end: start + BigInt(this.#u32(owner + BigInt(size))), module, owner, symbols: null };
      }
    }
  }

  #symbolsOf(module: VirtAddr): readonly TableSymbol[] {
    const layout = this.#layout!;
    const kallsyms = this.#u64(module + BigInt(layout.kallsyms));
    const field = (offset: number): bigint => this.#u64(kallsyms + BigInt(offset));
    const count = Math.min(this.#u32(kallsyms + BigInt(layout.count)), MOST_SYMBOLS);
    const table = this.#memory.bytes(field(layout.symtab), count * SYMBOL_BYTES);
    const types = this.#memory.bytes(field(layout.types), count);
    const strings = field(layout.strtab);
    const view = new DataView(table.buffer, table.byteOffset, table.byteLength);
    const symbols: TableSymbol[] = [];
    for (let i = 0; (i + 1) * SYMBOL_BYTES <= table.length && i < types.length; i++) {
      const entry = i * SYMBOL_BYTES;
      if (view.getUint16(entry + 6, true) === 0) continue;
      const name = this.#text(strings + BigInt(view.getUint32(entry, true)), LONGEST_NAME);
      if (name !== '')
        symbols.push({ address: view.getBigUint64(entry + 8, true), name, type: String.fromCharCode(types[i]!) });
    }
    // Where several share an address, a function's name says more.
    const rank = ({ type }: TableSymbol): number => Number(type !== 't' && type !== 'T');
    return symbols.sort((a, b) => rank(a) - rank(b));
  }

  #u64(address: VirtAddr): bigint {
    const bytes = this.#memory.bytes(address, 8);
    return bytes.length < 8 ? 0n : new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  }
  #u32(address: VirtAddr): number {
    return Number(this.#u64(address) & 0xffff_ffffn);
  }
  /** The string at `address` up to its NUL or `longest` bytes. */
  #text(address: VirtAddr, longest: number): string {
    let text = '';
    for (let at = 0; at < longest; at += STRING_PIECE) {
      const bytes = this.#memory.bytes(address + BigInt(at), Math.min(STRING_PIECE, longest - at));
      const end = bytes.indexOf(0);
      text += String.fromCharCode(...bytes.subarray(0, end < 0 ? bytes.length : end));
      if (end >= 0 || bytes.length < STRING_PIECE) break;
    }
    return text;
  }
}
