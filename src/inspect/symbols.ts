/**
 * Symbol tables: from an ELF file, from a BSD symbol area, from Linux's kallsyms; looked up by address or name.
 *
 * Invariants: symbols are sorted by address, equal addresses keep the order they were given in, and the first one names the address; a
 * lookup by address answers only inside the table's range, so that user-space addresses and per-CPU offsets (which
 * Linux lists as absolute symbols from 0) never get a kernel name. The serialised form is canonical.
 */

import { assert } from '../core/assert.ts';
import { Reader, Writer } from '../core/schema.ts';
import type { VirtAddr } from '../core/units.ts';
import { type Elf, PT_LOAD, readElf, readSymbols } from '../elf/elf.ts';
import { findKallsyms, type Kallsyms } from './kallsyms.ts';

/** One symbol; `type` is its letter in nm(1): upper case for a global one. */
export interface Symbol {
  readonly address: VirtAddr;
  readonly name: string;
  readonly type: string;
}

/** What an address is: `offset` bytes behind the start of `name`, which is one of `module`'s where there is one. */
export interface Location {
  readonly name: string;
  readonly offset: number;
  readonly module?: string;
}

/** Addresses that lookups answer for: `start` up to but not including `end`. */
export interface Range {
  readonly start: VirtAddr;
  readonly end: VirtAddr;
}

const KERNEL_HALF = 1n << 63n;
const FORMAT = 1;

/** An immutable sorted symbol table. */
export class SymbolTable {
  readonly #addresses: BigUint64Array;
  readonly #names: readonly string[];
  readonly #types: string;
  readonly range: Range;

  private constructor(addresses: BigUint64Array, names: readonly string[], types: string, range: Range) {
    this.#addresses = addresses;
    this.#names = names;
    this.#types = types;
    this.range = range;
  }

  /** A table of `symbols` in any order that answers for addresses in `range`. */
  static of(symbols: readonly Symbol[], range: Range): SymbolTable {
    const sorted = symbols.toSorted((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
    const addresses = BigUint64Array.from(sorted, (symbol) => symbol.address);
    const types = sorted.map((symbol) => symbol.type).join('');
    assert(types.length === sorted.length, 'a symbol type is one letter');
    return new SymbolTable(
      addresses,
      sorted.map((symbol) => symbol.name),
      types,
      range,
    );
  }

  /** A table of kallsyms, which are sorted. */
  static ofKallsyms({ addresses, names, types }: Kallsyms, range: Range): SymbolTable {
    return new SymbolTable(addresses, names, types, range);
  }

  /** A table that knows nothing. */
  static readonly empty = SymbolTable.of([], { start: 0n, end: 0n });

  /** Number of symbols. */
  get size(): number {
    return this.#names.length;
  }

  /** The `index`-th symbol by address. */
  at(index: number): Symbol {
    assert(index >= 0 && index < this.size, `symbol ${index} of ${this.size}`);
    return { address: this.#addresses[index]!, name: this.#names[index]!, type: this.#types[index]! };
  }

  /** Index of the last symbol at or below `address`, -1 without one. */
  #indexOf(address: VirtAddr): number {
    let [low, high] = [0, this.size];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#addresses[middle]! <= address) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** The symbol that `address` lies in: the first listed of those nearest below it; null outside the range. */
  lookup(address: VirtAddr): Location | null {
    if (address < this.range.start || address >= this.range.end) return null;
    let index = this.#indexOf(address);
    if (index < 0 || this.#addresses[index]! < this.range.start) return null;
    while (index > 0 && this.#addresses[index - 1] === this.#addresses[index]) index--;
    return { name: this.#names[index]!, offset: Number(address - this.#addresses[index]!) };
  }

  /** The address of the first symbol called `name`, or null. */
  address(name: string): VirtAddr | null {
    const index = this.#names.indexOf(name);
    return index < 0 ? null : this.#addresses[index]!;
  }

  /** The half-open range from `name` to the next higher symbol address, or null; for predicates like `rip in func`. */
  extent(name: string): Range | null {
    const index = this.#names.indexOf(name);
    if (index < 0) return null;
    const start = this.#addresses[index]!;
    const next = this.#indexOf(start) + 1;
    return { start, end: next < this.size ? this.#addresses[next]! : this.range.end };
  }

  /** The canonical bytes that {@link SymbolTable.deserialise} reads: addresses as differences, names with NULs between. */
  serialise(): Uint8Array {
    const w = new Writer();
    w.u8(FORMAT);
    w.u32(this.size);
    w.u64(this.range.start);
    w.u64(this.range.end);
    let previous = 0n;
    for (const address of this.#addresses) {
      let rest = address - previous;
      for (; rest > 127n; rest >>= 7n) w.u8(Number(rest & 127n) | 128);
      w.u8(Number(rest));
      previous = address;
    }
    w.bytes(new TextEncoder().encode(this.#types));
    const names = new TextEncoder().encode(this.#names.join('\0'));
    w.u32(names.length);
    w.bytes(names);
    return w.finish();
  }

  /** The table of `data`; throws RangeError when the bytes are not a table of this format. */
  static deserialise(data: Uint8Array): SymbolTable {
    const r = new Reader(data);
    const format = r.u8();
    if (format !== FORMAT) throw new RangeError(`symbol table of format ${format}`);
    const size = r.u32();
    if (size > data.length) throw new RangeError(`symbol table of ${size} symbols in ${data.length} bytes`);
    const range = { start: r.u64(), end: r.u64() };
    const addresses = new BigUint64Array(size);
    let previous = 0n;
    for (let i = 0; i < size; i++) {
      for (let shift = 0n, more = true; more; shift += 7n) {
        const byte = r.u8();
        previous += BigInt(byte & 127) << shift;
        more = byte > 127;
      }
      addresses[i] = previous;
    }
    const types = new TextDecoder().decode(r.bytes(size));
    const text = new TextDecoder().decode(r.bytes(r.u32()));
    const names = size === 0 ? [] : text.split('\0');
    if (names.length !== size || types.length !== size || !r.done)
      throw new RangeError(`symbol table of ${size} symbols has ${names.length} names`);
    return new SymbolTable(addresses, names, types, range);
  }
}

/** The letter of nm(1) for an ELF symbol of a section with `flags` (SHF_WRITE 1, SHF_EXECINSTR 4). */
function letter(type: number, binding: number, section: number, flags: bigint): string {
  const lower = section === 0xfff1 ? 'a' : type === 2 || (flags & 4n) !== 0n ? 't' : (flags & 1n) !== 0n ? 'd' : 'r';
  return binding === 0 ? lower : lower.toUpperCase();
}

/** Names that linker scripts give to the edges of sections, as Linux's scripts/kallsyms.c (compare_symbols) knows them. */
const EDGE = /^__(start|stop|end)_|^__.*_(start|end)$/;

/**
 * Of several names for one address the lowest rank says most: functions before objects before labels before the edges of sections, and
 * among equals a global one. Where `.data` begins, `__text_end` ends what nobody asks about.
 */
function rank(type: number, binding: number, name: string): number {
  const kind = type === 2 ? 0 : type === 1 ? 1 : EDGE.test(name) ? 3 : 2;
  return 2 * kind + Number(binding === 0);
}

/** The symbols of an ELF file's SHT_SYMTAB (functions, objects and plain labels); null when it is stripped. */
export function symbolsOfElf(elf: Elf): SymbolTable | null {
  const found: Array<Symbol & { readonly rank: number }> = [];
  for (const { name, value, type, binding, section } of readSymbols(elf)) {
    // Sections and files name no address; an undefined symbol (section 0) has none.
    if (type > 2 || section === 0 || name === '') continue;
    const nm = letter(type, binding, section, elf.sections[section]?.flags ?? 0n);
    found.push({ address: value, name, type: nm, rank: rank(type, binding, name) });
  }
  if (found.length === 0) return null;
  const symbols = found.sort((a, b) => a.rank - b.rank);
  const loads = elf.segments.filter((segment) => segment.type === PT_LOAD);
  const areas = loads.map((s) => ({ start: s.vaddr, end: s.vaddr + BigInt(s.memsz) }));
  return SymbolTable.of(symbols, rangeOf(areas, symbols));
}

/** The span of `areas`, or of the symbols when there are none; only the kernel half when anything lies there. */
function rangeOf(areas: readonly Range[], symbols: readonly Symbol[]): Range {
  const all = areas.length > 0 ? areas : symbols.map(({ address }) => ({ start: address, end: address + 1n }));
  const upper = all.filter((area) => area.start >= KERNEL_HALF);
  let { start, end } = upper[0] ?? all[0]!;
  for (const area of upper.length > 0 ? upper : all) {
    if (area.start < start) start = area.start;
    if (area.end > end) end = area.end;
  }
  return { start, end };
}

/** The address that the byte at `offset` of the file is loaded at, null when it is not. */
function addressInFile(elf: Elf, offset: number): VirtAddr | null {
  const at = elf.segments.find((s) => s.type === PT_LOAD && offset >= s.offset && offset < s.offset + s.filesz);
  return at === undefined ? null : at.vaddr + BigInt(offset - at.offset);
}

/** Linux's kallsyms out of a kernel's ELF file; null when there are none. */
export function symbolsOfKallsyms(elf: Elf): SymbolTable | null {
  const found = findKallsyms(elf.bytes, (offset) => addressInFile(elf, offset));
  if (found === null) return null;
  const { addresses, names } = found;
  const first = addresses.findIndex((address) => address >= KERNEL_HALF);
  if (first < 0) return null;
  const last = names.lastIndexOf('_end');
  const end = last >= first ? addresses[last]! : addresses.at(-1)! + 1n;
  return SymbolTable.ofKallsyms(found, { start: addresses[first]!, end });
}

/** The best table of an unpacked kernel image: its symbol table, else kallsyms, else an empty one. */
export function symbolsOfImage(image: Uint8Array): SymbolTable {
  const elf = readElf(image);
  return symbolsOfElf(elf) ?? symbolsOfKallsyms(elf) ?? SymbolTable.empty;
}
