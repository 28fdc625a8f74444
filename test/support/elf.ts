/** Builds small ELF files for tests: headers, segments, sections, notes and symbol tables, laid out back to back. */

export interface SegmentSpec {
  readonly type?: number;
  readonly flags?: number;
  readonly vaddr?: bigint;
  readonly paddr?: bigint;
  readonly content: Uint8Array;
  readonly memsz?: number;
}

export interface SectionSpec {
  readonly name: string;
  readonly type: number;
  readonly content: Uint8Array;
  readonly flags?: bigint;
  readonly addr?: bigint;
  readonly link?: number;
  readonly entsize?: number;
}

export interface ElfSpec {
  readonly bits?: 32 | 64;
  readonly machine?: number;
  readonly entry?: bigint;
  readonly segments?: readonly SegmentSpec[];
  /** Without the null section and `.shstrtab`, which are added; the first one is section 1. */
  readonly sections?: readonly SectionSpec[];
}

export const ascii = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const pad = (bytes: Uint8Array, align: number): Uint8Array =>
  concat(bytes, new Uint8Array(-bytes.length & (align - 1)));

/** `value` as little-endian bytes. */
export function le(value: bigint | number, size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => Number((BigInt(value) >> BigInt(8 * i)) & 255n));
}

/** One ELF note, padded to 4 bytes. */
export const note = (owner: string, type: number, desc: Uint8Array): Uint8Array =>
  concat(le(owner.length + 1, 4), le(desc.length, 4), le(type, 4), pad(ascii(`${owner}\0`), 4), pad(desc, 4));

/** A note of owner Xen; a string gets its NUL, a number the size of a class-64 word. */
export const xenNote = (type: number, value: string | bigint): Uint8Array =>
  note('Xen', type, typeof value === 'string' ? ascii(`${value}\0`) : le(value, 8));

/** One entry of a 64- or 32-bit symbol table. */
export function symbol(
  bits: 32 | 64,
  s: { name: number; value: bigint; size?: number; info?: number; section?: number },
): Uint8Array {
  const [info, section] = [s.info ?? 0x12, s.section ?? 1];
  return bits === 64
    ? concat(le(s.name, 4), le(info, 1), le(0, 1), le(section, 2), le(s.value, 8), le(s.size ?? 0, 8))
    : concat(le(s.name, 4), le(s.value, 4), le(s.size ?? 0, 4), le(info, 1), le(0, 1), le(section, 2));
}

/** The file: header, program headers, contents, section headers. */
export function buildElf(spec: ElfSpec): Uint8Array {
  const bits = spec.bits ?? 64;
  const wide = bits === 64;
  const word = wide ? 8 : 4;
  const segments = spec.segments ?? [];
  let names = '\0';
  const sections = [...(spec.sections ?? [])];
  if (sections.length > 0) sections.push({ name: '.shstrtab', type: 3, content: new Uint8Array(0) });
  const nameOffsets = sections.map(({ name }) => {
    const at = names.length;
    names += `${name}\0`;
    return at;
  });
  if (sections.length > 0) sections.push({ ...sections.pop()!, content: ascii(names) });
  const [ehsize, phsize, shsize] = wide ? [64, 56, 64] : [52, 32, 40];
  let offset = ehsize + phsize * segments.length;
  const contents: Uint8Array[] = [];
  const place = (content: Uint8Array): number => {
    const at = offset;
    contents.push(pad(content, 8));
    offset += pad(content, 8).length;
    return at;
  };
  const phdrs = segments.map((s) => {
    const at = place(s.content);
    const [type, flags] = [le(s.type ?? 1, 4), le(s.flags ?? 7, 4)];
    const vaddr = s.vaddr ?? 0n;
    const words = [at, vaddr, s.paddr ?? vaddr, s.content.length, s.memsz ?? s.content.length].map((v) => le(v, word));
    return wide ? concat(type, flags, ...words, le(4096, 8)) : concat(type, ...words, flags, le(4096, 4));
  });
  const shdrs = sections.map((s, i) =>
    concat(
      le(nameOffsets[i]!, 4),
      le(s.type, 4),
      le(s.flags ?? 0n, word),
      le(s.addr ?? 0n, word),
      le(place(s.content), word),
      le(s.content.length, word),
      le(s.link ?? 0, 4),
      le(0, 4),
      le(1, word),
      le(s.entsize ?? 0, word),
    ),
  );
  const shnum = sections.length === 0 ? 0 : sections.length + 1;
  const header = concat(
    Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    le(2, 2),
    le(spec.machine ?? (wide ? 62 : 3), 2),
    le(1, 4),
    le(spec.entry ?? 0n, word),
    le(segments.length === 0 ? 0 : ehsize, word),
    le(shnum === 0 ? 0 : offset, word),
    le(0, 4),
    ...[ehsize, phsize, segments.length, shsize, shnum, shnum === 0 ? 0 : shnum - 1].map((v) => le(v, 2)),
  );
  const nullSection = shnum === 0 ? new Uint8Array(0) : new Uint8Array(shsize);
  return concat(header, ...phdrs, ...contents, nullSection, ...shdrs);
}

/** The notes a Linux-like PV kernel at `virtBase` carries, and more in `extra`. */
export const pvNotes = (virtBase: bigint, entry: bigint, ...extra: readonly Uint8Array[]): Uint8Array =>
  concat(
    xenNote(6, 'linux'),
    xenNote(5, 'xen-3.0'),
    xenNote(8, 'generic'),
    xenNote(3, virtBase),
    xenNote(1, entry),
    ...extra,
  );
