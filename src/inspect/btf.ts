/**
 * Layouts of structures out of BTF, the type information that Linux keeps in its image (section `.BTF`, CONFIG_DEBUG_INFO_BTF).
 *
 * Source: Documentation/bpf/btf.rst of Linux 6.1 ("BTF Type and String Encoding").
 */

const MAGIC = 0xeb9f;
const HEADER_BYTES = 24;
const TYPE_BYTES = 12;
const ARRAY = 3;
const STRUCT = 4;
const UNION = 5;
/** Kinds that stand for the type they name: typedef, volatile, const, restrict, type tag. */
const ALIASES: ReadonlySet<number> = new Set([8, 9, 10, 11, 18]);
/** Bytes behind a type, by kind from 0 (void) to 19 (enum of 64 bits): so many, and so many for each of its members. */
const FIXED = [0, 4, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 4, 0, 0];
const PER_MEMBER = [0, 0, 0, 0, 12, 12, 8, 0, 0, 0, 0, 0, 0, 8, 0, 12, 0, 0, 0, 12];
/** Aliases, and structures without a name inside each other, that are followed. */
const DEEPEST = 16;
/** Members that are looked at in all: a structure can hold itself very often. */
const MOST_MEMBERS = 1 << 16;

/** A member: its distance from the start of the outermost structure in bytes, the number of its type. */
export interface Member {
  readonly offset: number;
  readonly type: number;
}

/** The types of one image; numbers of types count from 1. Whatever does not fit its bounds is not there. */
export class Btf {
  readonly #bytes: DataView;
  /** Where each type stands. */
  readonly #types: readonly number[];
  readonly #strings: number;
  #looked = 0;

  private constructor(bytes: DataView, types: readonly number[], strings: number) {
    this.#bytes = bytes;
    this.#types = types;
    this.#strings = strings;
  }

  /** The types in a section's bytes; null where these are no BTF. */
  static read(section: Uint8Array): Btf | null {
    const bytes = new DataView(section.buffer, section.byteOffset, section.byteLength);
    if (bytes.byteLength < HEADER_BYTES || bytes.getUint16(0, true) !== MAGIC) return null;
    const [header, typesAt, typeBytes, stringsAt] = [4, 8, 12, 16].map((at) => bytes.getUint32(at, true));
    const end = Math.min(header! + typesAt! + typeBytes!, bytes.byteLength);
    const types = [0];
    for (let at = header! + typesAt!; at + TYPE_BYTES <= end; ) {
      types.push(at);
      const info = bytes.getUint32(at + 4, true);
      const kind = (info >>> 24) & 31;
      if (kind >= FIXED.length) break;
      at += TYPE_BYTES + FIXED[kind]! + PER_MEMBER[kind]! * (info & 0xffff);
    }
    return new Btf(bytes, types, header! + stringsAt!);
  }

  #u32(at: number): number {
    return at >= 0 && at + 4 <= this.#bytes.byteLength ? this.#bytes.getUint32(at, true) : 0;
  }
  #is(name: string, at: number): boolean {
    const start = this.#strings + this.#u32(at);
    if (start + name.length >= this.#bytes.byteLength || this.#bytes.getUint8(start + name.length) !== 0) return false;
    for (let i = 0; i < name.length; i++) if (this.#bytes.getUint8(start + i) !== name.charCodeAt(i)) return false;
    return true;
  }
  #kind(at: number): number {
    return (this.#u32(at + 4) >>> 24) & 31;
  }
  /** Where the type `number` stands, behind its aliases. */
  #resolved(number: number): number {
    for (let type = number, depth = 0; depth < DEEPEST; depth++) {
      const at = this.#types[type] ?? 0;
      if (at === 0 || !ALIASES.has(this.#kind(at))) return at;
      type = this.#u32(at + 8);
    }
    return 0;
  }

  /** The number of the structure called `name`, or null. */
  structure(name: string): number | null {
    const found = this.#types.findIndex((at) => at !== 0 && this.#kind(at) === STRUCT && this.#is(name, at));
    return found < 0 ? null : found;
  }

  /** Bytes of a structure; 0 where `type` is none. */
  size(type: number): number {
    const at = this.#resolved(type);
    return at !== 0 && this.#kind(at) === STRUCT ? this.#u32(at + 8) : 0;
  }

  /** The element of an array and how many there are, or null. */
  array(type: number): { readonly element: number; readonly length: number } | null {
    const at = this.#resolved(type);
    if (at === 0 || this.#kind(at) !== ARRAY) return null;
    return { element: this.#u32(at + TYPE_BYTES), length: this.#u32(at + TYPE_BYTES + 8) };
  }

  /** The member `name` of a structure, also where it stands in one without a name inside; null when there is none. */
  member(type: number, name: string, depth = 0): Member | null {
    const at = this.#resolved(type);
    if (at === 0 || depth > DEEPEST || ![STRUCT, UNION].includes(this.#kind(at))) return null;
    const info = this.#u32(at + 4);
    for (let i = 0; i < (info & 0xffff) && this.#looked++ < MOST_MEMBERS; i++) {
      const entry = at + TYPE_BYTES + 12 * i;
      // With bit 31 of the info a member's upper 8 bits are the size of a bit field.
      const bits = info >>> 31 === 1 ? this.#u32(entry + 8) & 0xff_ffff : this.#u32(entry + 8);
      const [offset, of] = [bits >>> 3, this.#u32(entry + 4)];
      if (this.#is(name, entry)) return { offset, type: of };
      const inside = this.#u32(entry) === 0 ? this.member(of, name, depth + 1) : null;
      if (inside !== null) return { offset: offset + inside.offset, type: inside.type };
    }
    return null;
  }
}
