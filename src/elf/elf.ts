/**
 * ELF files, read: headers, segments, sections, notes, symbols.
 *
 * Invariants: every offset and length was checked against the file before it reaches a caller, so no accessor can read
 * outside; whatever does not fit throws an `EmulatorError` E_IMAGE whose sentence names the structure and the place.
 * Structures may overlap, so that a small file can hold very much of them: what is read of strings, notes and symbols is
 * counted against the numbers in `limits.ts`.
 * Only little-endian files exist here (both Xen guests are x86).
 *
 * Source: System V ABI, chapter 4 "Object Files" and chapter 5 "Program Loading".
 */

import { EmulatorError } from '../core/errors.ts';
import { hex } from '../core/units.ts';
import { LONGEST_STRING, MOST_NOTES, MOST_SYMBOLS, SYMBOL_NAMES_LIMIT_BYTES } from './limits.ts';

const ELFCLASS32 = 1;
const ELFCLASS64 = 2;
export const EM_386 = 3;
export const EM_X86_64 = 62;
export const PT_LOAD = 1;
const PT_NOTE = 4;
const SHT_SYMTAB = 2;
const SHT_STRTAB = 3;
const SHT_NOTE = 7;
const SHT_NOBITS = 8;
/** Bytes of a note's owner that are read; those that anyone asks for are shorter. */
const LONGEST_OWNER = 32;

/** A program header; `offset` and the sizes are bytes, `offset + filesz` lies inside the file. */
export interface ElfSegment {
  readonly index: number;
  readonly type: number;
  /** PF_X = 1, PF_W = 2, PF_R = 4. */
  readonly flags: number;
  readonly offset: number;
  readonly vaddr: bigint;
  readonly paddr: bigint;
  readonly filesz: number;
  readonly memsz: number;
  readonly align: number;
}

/** A section header; unless it is SHT_NOBITS, `offset + size` lies inside the file. */
export interface ElfSection {
  readonly index: number;
  /** Where its name starts in {@link Elf.sectionNames}. */
  readonly nameOffset: number;
  readonly type: number;
  readonly flags: bigint;
  readonly addr: bigint;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
  readonly info: number;
  readonly entsize: number;
  /** File offset of the header itself. */
  readonly headerOffset: number;
}

/** One note of a PT_NOTE segment or an SHT_NOTE section. */
export interface ElfNote {
  readonly owner: string;
  readonly type: number;
  readonly desc: Uint8Array;
}

/** One entry of a symbol table; `size` in bytes. */
export interface ElfSymbol {
  readonly name: string;
  readonly value: bigint;
  readonly size: bigint;
  /** STT_* (1 object, 2 function). */
  readonly type: number;
  /** STB_* (0 local, 1 global, 2 weak). */
  readonly binding: number;
  readonly section: number;
}

/** A parsed ELF file; `bytes` is the whole file. */
export interface Elf {
  readonly bytes: Uint8Array;
  readonly bits: 32 | 64;
  readonly machine: number;
  readonly type: number;
  readonly entry: bigint;
  readonly segments: readonly ElfSegment[];
  readonly sections: readonly ElfSection[];
  /** The string table of the sections' names. */
  readonly sectionNames: Uint8Array;
}

const fail = (message: string): never => {
  throw new EmulatorError('E_IMAGE', message);
};

/** Bounds-checked little-endian reads from one file. */
class Cursor {
  readonly #view: DataView;
  readonly length: number;
  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.length = bytes.length;
  }
  /** Throws E_IMAGE unless `size` bytes at `offset` are inside the file. */
  need(offset: number, size: number, what: string): void {
    if (offset + size > this.length)
      fail(`${what} needs ${size} bytes at ${hex(offset)}, the file ends at ${hex(this.length)}`);
  }
  u8 = (at: number): number => this.#view.getUint8(at);
  u16 = (at: number): number => this.#view.getUint16(at, true);
  u32 = (at: number): number => this.#view.getUint32(at, true);
  u64 = (at: number): bigint => this.#view.getBigUint64(at, true);
  /** The class-sized word at `at`. */
  word = (at: number, bits: 32 | 64): bigint => (bits === 64 ? this.u64(at) : BigInt(this.u32(at)));
  /** The class-sized word at `at` as an exact number; E_IMAGE above 2^53. */
  count(at: number, bits: 32 | 64, what: string): number {
    const value = this.word(at, bits);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) fail(`${what} is ${hex(value)}, larger than any file or memory`);
    return Number(value);
  }
}

/** Whether `bytes` starts with the ELF magic. */
export const isElf = (bytes: Uint8Array): boolean =>
  bytes.length >= 4 && bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;

/** `bytes` as text, one character a byte; meant for some thousand bytes at most. */
export const latin1 = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

/**
 * The strings of one table: each is read once, cut at {@link LONGEST_STRING} bytes, and all of them together are held against
 * a limit, since strings at different offsets may be the same bytes.
 */
class StringTable {
  readonly #bytes: Uint8Array;
  readonly #known = new Map<number, string>();
  #left = SYMBOL_NAMES_LIMIT_BYTES;
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }
  /** The string at `offset`; E_IMAGE, which calls it `what`, when it does not end in the table. */
  at(offset: number, what: () => string): string {
    const known = this.#known.get(offset);
    if (known !== undefined) return known;
    const rest = this.#bytes.subarray(offset, offset + LONGEST_STRING);
    const end = rest.indexOf(0);
    if (end < 0 && rest.length < LONGEST_STRING)
      fail(`${what()} is not a terminated string at ${hex(offset)} of its table`);
    const text = latin1(end < 0 ? rest : rest.subarray(0, end));
    this.#left -= text.length;
    if (this.#left < 0) fail(`the names of its symbols have more than ${SYMBOL_NAMES_LIMIT_BYTES} bytes`);
    this.#known.set(offset, text);
    return text;
  }
}

/** Parses the headers of an ELF file; E_IMAGE names whatever is malformed or lies outside the file. */
export function readElf(bytes: Uint8Array): Elf {
  if (!isElf(bytes)) fail('not an ELF file: the magic 7f 45 4c 46 is missing at offset 0x0');
  const at = new Cursor(bytes);
  at.need(0, 52, 'the ELF header');
  const elfClass = at.u8(4);
  if (elfClass !== ELFCLASS32 && elfClass !== ELFCLASS64) fail(`the ELF header has class ${elfClass} at offset 0x4`);
  if (at.u8(5) !== 1) fail(`the ELF header has data encoding ${at.u8(5)} at offset 0x5; only little-endian is x86`);
  const bits = elfClass === ELFCLASS64 ? 64 : 32;
  if (bits === 64) at.need(0, 64, 'the ELF header');
  const wide = bits === 64;
  const phoff = at.count(wide ? 0x20 : 0x1c, bits, 'e_phoff');
  const shoff = at.count(wide ? 0x28 : 0x20, bits, 'e_shoff');
  const tail = wide ? 0x36 : 0x2a;
  const [phentsize, phnum] = [at.u16(tail), at.u16(tail + 2)];
  const [shentsize, shnum, shstrndx] = [at.u16(tail + 4), at.u16(tail + 6), at.u16(tail + 8)];
  const sections = shnum === 0 ? [] : readSections(at, bits, shoff, shentsize, shnum);
  return {
    bytes,
    bits,
    type: at.u16(0x10),
    machine: at.u16(0x12),
    entry: at.word(0x18, bits),
    segments: phnum === 0 ? [] : readSegments(at, bits, phoff, phentsize, phnum),
    sections,
    sectionNames: sectionNames(bytes, sections, shstrndx),
  };
}

function readSegments(at: Cursor, bits: 32 | 64, phoff: number, phentsize: number, phnum: number): ElfSegment[] {
  const wide = bits === 64;
  if (phentsize < (wide ? 56 : 32)) fail(`e_phentsize is ${phentsize}, less than a program header`);
  at.need(phoff, phentsize * phnum, `the table of ${phnum} program headers`);
  return Array.from({ length: phnum }, (_, index) => {
    const base = phoff + index * phentsize;
    const name = (field: string): string => `${field} of program header ${index}`;
    const segment: ElfSegment = wide
      ? {
          index,
          type: at.u32(base),
          flags: at.u32(base + 4),
          offset: at.count(base + 8, bits, name('p_offset')),
          vaddr: at.u64(base + 16),
          paddr: at.u64(base + 24),
          filesz: at.count(base + 32, bits, name('p_filesz')),
          memsz: at.count(base + 40, bits, name('p_memsz')),
          align: at.count(base + 48, bits, name('p_align')),
        }
      : {
          index,
          type: at.u32(base),
          flags: at.u32(base + 24),
          offset: at.u32(base + 4),
          vaddr: BigInt(at.u32(base + 8)),
          paddr: BigInt(at.u32(base + 12)),
          filesz: at.u32(base + 16),
          memsz: at.u32(base + 20),
          align: at.u32(base + 28),
        };
    at.need(segment.offset, segment.filesz, `the content of program header ${index}`);
    if (segment.type === PT_LOAD && segment.filesz > segment.memsz)
      fail(`program header ${index} has p_filesz ${hex(segment.filesz)} above p_memsz ${hex(segment.memsz)}`);
    return segment;
  });
}

function readSections(at: Cursor, bits: 32 | 64, shoff: number, shentsize: number, shnum: number): ElfSection[] {
  const wide = bits === 64;
  if (shentsize < (wide ? 64 : 40)) fail(`e_shentsize is ${shentsize}, less than a section header`);
  at.need(shoff, shentsize * shnum, `the table of ${shnum} section headers`);
  return Array.from({ length: shnum }, (_, index): ElfSection => {
    const base = shoff + index * shentsize;
    const name = (field: string): string => `${field} of section header ${index}`;
    const type = at.u32(base + 4);
    const word = wide ? 8 : 4;
    const section = {
      index,
      nameOffset: at.u32(base),
      type,
      flags: at.word(base + 8, bits),
      addr: at.word(base + 8 + word, bits),
      offset: at.count(base + 8 + 2 * word, bits, name('sh_offset')),
      size: at.count(base + 8 + 3 * word, bits, name('sh_size')),
      link: at.u32(base + 8 + 4 * word),
      info: at.u32(base + 12 + 4 * word),
      entsize: at.count(base + 16 + 5 * word, bits, name('sh_entsize')),
      headerOffset: base,
    };
    if (type !== 0 && type !== SHT_NOBITS) at.need(section.offset, section.size, `the content of section ${index}`);
    return section;
  });
}

/** The string table that `e_shstrndx` names; empty without one. */
function sectionNames(bytes: Uint8Array, sections: readonly ElfSection[], shstrndx: number): Uint8Array {
  if (sections.length === 0 || shstrndx === 0) return new Uint8Array(0);
  const strings = sections[shstrndx];
  if (strings === undefined || strings.type !== SHT_STRTAB)
    return fail(`e_shstrndx is ${shstrndx}, which is not a string table of the ${sections.length} sections`);
  return bytes.subarray(strings.offset, strings.offset + strings.size);
}

/** The file content of a segment (`filesz` bytes, without the zeroes up to `memsz`). */
export const segmentBytes = (elf: Elf, segment: ElfSegment): Uint8Array =>
  elf.bytes.subarray(segment.offset, segment.offset + segment.filesz);

/** The content of a section; empty for SHT_NOBITS. */
export const sectionBytes = (elf: Elf, section: ElfSection): Uint8Array =>
  section.type === SHT_NOBITS ? new Uint8Array(0) : elf.bytes.subarray(section.offset, section.offset + section.size);

/** The first section called `name`, or null. */
export function sectionNamed(elf: Elf, name: string): ElfSection | null {
  const wanted = Uint8Array.from(`${name}\0`, (letter) => letter.charCodeAt(0));
  const isIt = ({ nameOffset }: ElfSection): boolean =>
    wanted.every((byte, i) => elf.sectionNames[nameOffset + i] === byte);
  return elf.sections.find((section, i) => i > 0 && isIt(section)) ?? null;
}

/** How many notes may still be read of a file. */
interface NoteBudget {
  notes: number;
}

/**
 * The notes in `start` .. `end` of the file, 4-byte aligned, until `budget` is used up, where libelf stops too; `where` names the
 * place in the E_IMAGE of a bad one.
 *
 * A note's header and owner must lie inside the range; a description is cut at the end of the file, since the i386
 * images of GRUB end in the middle of their last one, and Xen takes them.
 */
function readNotes(file: Uint8Array, start: number, end: number, where: string, budget: NoteBudget): ElfNote[] {
  const at = new Cursor(file);
  const notes: ElfNote[] = [];
  for (let offset = start; offset + 12 <= end && budget.notes > 0; budget.notes--) {
    const [namesz, descsz] = [at.u32(offset), at.u32(offset + 4)];
    const desc = offset + 12 + Math.ceil(namesz / 4) * 4;
    if (desc > end) fail(`note ${notes.length} at ${hex(offset)} runs past the end of ${where} at ${hex(end)}`);
    const name = file.subarray(offset + 12, offset + 12 + Math.min(namesz, LONGEST_OWNER));
    const nul = name.indexOf(0);
    notes.push({
      owner: latin1(nul < 0 ? name : name.subarray(0, nul)),
      type: at.u32(offset + 8),
      desc: file.subarray(desc, desc + descsz),
    });
    offset = desc + Math.ceil(descsz / 4) * 4;
  }
  return notes;
}

/** The file's symbol table and its string table, or null when it has none. */
export function symbolSections(elf: Elf): { symtab: ElfSection; strtab: ElfSection } | null {
  const symtab = elf.sections.find((section) => section.type === SHT_SYMTAB);
  if (symtab === undefined) return null;
  const strtab = elf.sections[symtab.link];
  if (strtab === undefined || strtab.type !== SHT_STRTAB)
    return fail(`sh_link of the symbol table (section ${symtab.index}) is ${symtab.link}, not a string table`);
  return { symtab, strtab };
}

/** The symbols of SHT_SYMTAB in file order without the null symbol; empty when the file is stripped. */
export function readSymbols(elf: Elf): ElfSymbol[] {
  const found = symbolSections(elf);
  if (found === null) return [];
  const bytes = sectionBytes(elf, found.symtab);
  const strings = new StringTable(sectionBytes(elf, found.strtab));
  const at = new Cursor(bytes);
  const wide = elf.bits === 64;
  const entry = wide ? 24 : 16;
  if (bytes.length / entry > MOST_SYMBOLS) fail(`its symbol table has more than ${MOST_SYMBOLS} entries`);
  const symbols: ElfSymbol[] = [];
  for (let base = entry; base + entry <= bytes.length; base += entry) {
    const info = at.u8(base + (wide ? 4 : 12));
    symbols.push({
      name: strings.at(at.u32(base), () => `the name of symbol ${base / entry}`),
      value: wide ? at.u64(base + 8) : BigInt(at.u32(base + 4)),
      size: wide ? at.u64(base + 16) : BigInt(at.u32(base + 8)),
      type: info & 15,
      binding: info >> 4,
      section: at.u16(base + (wide ? 6 : 14)),
    });
  }
  return symbols;
}

/** All notes of the file: those of PT_NOTE segments or, when there are none, of SHT_NOTE sections. */
export function fileNotes(elf: Elf): ElfNote[] {
  const budget = { notes: MOST_NOTES };
  const fromSegments = elf.segments
    .filter((segment) => segment.type === PT_NOTE && segment.offset !== 0)
    .flatMap(({ offset, filesz, index }) =>
      readNotes(elf.bytes, offset, offset + filesz, `program header ${index}`, budget),
    );
  return fromSegments.length > 0 ? fromSegments : sectionNotes(elf);
}

/** The notes of all SHT_NOTE sections. */
export function sectionNotes(elf: Elf): ElfNote[] {
  const budget = { notes: MOST_NOTES };
  return elf.sections
    .filter((section) => section.type === SHT_NOTE)
    .flatMap(({ offset, size, index }) => readNotes(elf.bytes, offset, offset + size, `section ${index}`, budget));
}
