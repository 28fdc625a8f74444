/**
 * Linux's own symbol table, found in a stripped kernel image or in guest memory without any address known.
 *
 * The kernel's build stores names as strings of token numbers. The search starts from the token table, which its index
 * proves (256 offsets that must all agree), goes backwards over the markers (one offset into the names for every
 * 256 symbols) to the names, and finds the addresses in front of the names (kernels before 6.4) or behind the token
 * index (6.4 and later).
 *
 * Source: scripts/kallsyms.c (write_src), kernel/kallsyms.c (kallsyms_expand_symbol, kallsyms_sym_address) of Linux 6.1
 * and 6.6.
 */

/** Symbols as the kernel lists them, by rising addresses; `types` has the letters of nm(1). */
export interface Kallsyms {
  readonly addresses: BigUint64Array;
  readonly names: readonly string[];
  readonly types: string;
}

const TOKENS = 256;
/** The token of the character 0. */
const ZERO = 0x30;
/** Tokens are pieces of names, which are at most 512 long. */
const LONGEST_TOKEN = 512;
/** No kernel has more symbols than this. */
const LARGEST_COUNT = 1 << 20;
/** Bytes that all names may have together; those of Debian's kernel have 2 million. */
const LARGEST_NAMES = 64 << 20;
/**
 * Steps of a search: tokens, markers, names and places looked at. Debian's kernel takes 135,025; an image can be made so that
 * every place leads on to thousands of others.
 */
const MOST_STEPS = 20_000_000;

/** The table's position and its 256 tokens as text. */
interface TokenTable {
  readonly start: number;
  readonly indexEnd: number;
  readonly tokens: readonly string[];
}

/** Thrown where a search has taken too many steps. */
const TOO_LONG = new Error('the search for kallsyms takes too long');

/** Bounds-checked little-endian reads; past the end they give -1, which no table contains. Counts the steps of a search. */
class Memory {
  readonly bytes: Uint8Array;
  #steps = 0;
  readonly #view: DataView;
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  /** Counts `steps`. */
  spend(steps: number): void {
    this.#steps += steps;
    if (this.#steps > MOST_STEPS) throw TOO_LONG;
  }
  u16 = (at: number): number => (at < 0 || at + 2 > this.bytes.length ? -1 : this.#view.getUint16(at, true));
  u32 = (at: number): number => (at < 0 || at + 4 > this.bytes.length ? -1 : this.#view.getUint32(at, true));
  s32 = (at: number): number => this.#view.getInt32(at, true);
  u64 = (at: number): bigint => (at < 0 || at + 8 > this.bytes.length ? 0n : this.#view.getBigUint64(at, true));
}

/** Finds all places where the strings "0" .. "9" follow each other, as they do in every token table. */
function* digitRuns(bytes: Uint8Array): Generator<number> {
  const end = bytes.length - 20;
  for (let at = bytes.indexOf(0x30); at >= 0 && at < end; at = bytes.indexOf(0x30, at + 1)) {
    if (bytes[at + 1] !== 0 || bytes[at + 2] !== 0x31) continue;
    let i = 1;
    while (i < 10 && bytes[at + 2 * i] === 0x30 + i && bytes[at + 2 * i + 1] === 0) i++;
    if (i === 10) yield at;
  }
}

/** The token table around a run of digits, which are tokens 48 and up; its index says where it starts and must agree. */
function tokenTable(memory: Memory, digits: number): TokenTable | null {
  const { bytes } = memory;
  memory.spend(TOKENS);
  let end = digits;
  for (let i = ZERO; i < TOKENS; i++) {
    const nul = bytes.indexOf(0, end);
    if (nul < 0 || nul - end > LONGEST_TOKEN) return null;
    end = nul + 1;
  }
  for (const align of [8, 4]) {
    const index = Math.ceil(end / align) * align;
    const start = digits - memory.u16(index + 2 * ZERO);
    const tokens = memory.u16(index) === 0 && start >= 0 ? readTokens(memory, start, index) : null;
    if (tokens !== null) return { start, indexEnd: index + 2 * TOKENS, tokens };
  }
  return null;
}

/** The tokens at `start`, if each begins where `index` says. */
function readTokens(memory: Memory, start: number, index: number): string[] | null {
  const tokens: string[] = [];
  let at = start;
  for (let i = 0; i < TOKENS; i++) {
    const end = memory.bytes.indexOf(0, at);
    if (end < 0 || end - at > LONGEST_TOKEN || memory.u16(index + 2 * i) !== at - start) return null;
    tokens.push(String.fromCharCode(...memory.bytes.subarray(at, end)));
    at = end + 1;
  }
  return tokens;
}

/** Offsets into the names, one for every 256 symbols, and where they stand. */
interface Markers {
  readonly start: number;
  readonly values: readonly number[];
}

/** The `count` markers at `start`, if they rise from 0. */
function markersAt(memory: Memory, start: number, count: number): Markers | null {
  if (count < 2 || memory.u32(start) !== 0) return null;
  const values = [0];
  while (values.length < count) {
    memory.spend(1);
    const value = memory.u32(start + 4 * values.length);
    if (value <= values.at(-1)!) return null;
    values.push(value);
  }
  return { start, values };
}

/**
 * Places that can be the markers: directly in front of the token table, or (6.2, 6.3 and some stable kernels) in front
 * of a table of 3 bytes a symbol that stands between them, whose length says how many markers there must be.
 */
function* markersBefore(memory: Memory, tokensStart: number): Generator<Markers> {
  for (let count = 2, at = tokensStart - 8; at >= 0 && count <= LARGEST_COUNT / 256; at -= 4, count++) {
    memory.spend(1);
    if (memory.u32(at) !== 0) continue;
    const found = markersAt(memory, at, count) ?? markersAt(memory, at, count - 1);
    if (found !== null) yield found;
    if (count > 2) break;
  }
  for (let size = 8; size < 3 * LARGEST_COUNT && size < tokensStart; size += 8) {
    memory.spend(1);
    const fewest = Math.ceil((size - 7) / 3 / 256);
    const most = Math.ceil(size / 3 / 256);
    for (let count = fewest; count <= most; count++) {
      const found = markersAt(memory, tokensStart - size - Math.ceil(count / 2) * 8, count);
      if (found !== null) yield found;
    }
  }
}

/** Length of the compressed name at `at`: its header bytes and its tokens. */
function nameLength(bytes: Uint8Array, at: number): { header: number; tokens: number } {
  const first = bytes[at]!;
  return first < 0x80 ? { header: 1, tokens: first } : { header: 2, tokens: (first & 0x7f) | (bytes[at + 1]! << 7) };
}

/** Where the number of symbols stands and where their names start. */
interface NameTable {
  readonly countAt: number;
  readonly start: number;
  readonly count: number;
}

/** The names: a count (8-byte aligned, older kernels 4), then the names themselves, which the markers confirm. */
function findNames(memory: Memory, markers: Markers): NameTable | null {
  const { bytes } = memory;
  const lastMarker = markers.values.at(-1)!;
  const chunks = markers.values.length;
  const highest = markers.start - lastMarker;
  for (let start = highest - (highest % 4); start > highest - 256 * 1024 && start >= 8; start -= 4) {
    memory.spend(1);
    for (const countAt of [start - 8, start - 4]) {
      const count = memory.u32(countAt);
      if (Math.ceil(count / 256) !== chunks) continue;
      let at = start;
      let i = 0;
      for (; i < count && at < markers.start; i++) {
        if (i % 256 === 0 && at - start !== markers.values[i / 256]) break;
        const { header, tokens } = nameLength(bytes, at);
        if (tokens === 0) break;
        at += header + tokens;
      }
      memory.spend(i);
      if (i === count && at <= markers.start && markers.start - at < 8) return { countAt, start, count };
    }
  }
  return null;
}

/**
 * Expands all names, null when they are too long; the first letter of each is the symbol's type. They are written as bytes and become text together: pieced
 * together one by one they would keep the garbage collector busy.
 */
function expandNames(
  bytes: Uint8Array,
  start: number,
  count: number,
  tokens: readonly string[],
): [string[], string] | null {
  const pieces = tokens.map((token) => Uint8Array.from(token, (letter) => letter.charCodeAt(0)));
  const types = new Uint8Array(count);
  let names = new Uint8Array(LONGEST_TOKEN + count * 32);
  let length = 0;
  for (let i = 0, at = start; i < count; i++) {
    const { header, tokens: tokenCount } = nameLength(bytes, at);
    at += header;
    const first = length;
    for (const end = at + tokenCount; at < end; at++) {
      const piece = pieces[bytes[at]!]!;
      if (length + piece.length >= names.length) {
        if (names.length > LARGEST_NAMES) return null;
        names = grown(names);
      }
      for (let j = 0; j < piece.length; j++) names[length++] = piece[j]!;
    }
    // the type's place goes to the NUL between this name and the one before
    types[i] = names[first]!;
    names[first] = 0;
  }
  const decoder = new TextDecoder('latin1');
  return [decoder.decode(names.subarray(1, length)).split('\0'), decoder.decode(types)];
}
function grown(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(bytes.length * 2);
  larger.set(bytes);
  return larger;
}

const KERNEL_HALF = 1n << 63n;

/**
 * The addresses from a table of 32-bit offsets and its base: without absolute symbols `base + offset`; with them an offset
 * of 0 and above is the value itself and one below means `base - 1 - offset`. Null unless they rise as the kernel sorts
 * them.
 */
function readAddresses(memory: Memory, offsetsAt: number, baseAt: number, count: number): BigUint64Array | null {
  const base = memory.u64(baseAt);
  if (offsetsAt < 0 || base < KERNEL_HALF || offsetsAt + 4 * count > memory.bytes.length) return null;
  let absolute = false;
  for (let i = 0; i < count && !absolute; i++) absolute = memory.s32(offsetsAt + 4 * i) < 0;
  const addresses = new BigUint64Array(count);
  // by their halves: so many BigInts take their time
  const halves = new Uint32Array(addresses.buffer);
  const baseLow = Number(base & 0xffff_ffffn);
  const baseHigh = Number(base >> 32n);
  let previous = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < count; i++) {
    const at = offsetsAt + 4 * i;
    const offset = memory.s32(at);
    const isValue = absolute && offset >= 0;
    // relative to the base, or, below all of those, to 0
    const distance = isValue ? offset - 2 ** 32 : absolute ? -1 - offset : memory.u32(at);
    if (distance < previous) return null;
    previous = distance;
    const low = isValue ? offset : baseLow + distance;
    halves[2 * i] = low;
    halves[2 * i + 1] = isValue ? 0 : baseHigh + Math.floor(low / 2 ** 32);
  }
  return addresses;
}

/**
 * Finds the kernel's symbols in `image`: the ELF file of a kernel or a flat copy of the memory it is loaded in. Null
 * when there are none (not Linux, or built without KALLSYMS_BASE_RELATIVE) and when the search takes too many steps.
 */
export function findKallsyms(image: Uint8Array): Kallsyms | null {
  try {
    return search(new Memory(image));
  } catch (error) {
    if (error !== TOO_LONG) throw error;
    return null;
  }
}

function search(memory: Memory): Kallsyms | null {
  for (const digits of digitRuns(memory.bytes)) {
    const table = tokenTable(memory, digits);
    if (table === null) continue;
    for (const markers of markersBefore(memory, table.start)) {
      const names = findNames(memory, markers);
      const found = names === null ? null : readTables(memory, table, names);
      if (found !== null) return found;
    }
  }
  return null;
}

/** Reads addresses and names once the names are found; null when no address table fits them. */
function readTables(memory: Memory, table: TokenTable, names: NameTable): Kallsyms | null {
  const { countAt, start, count } = names;
  const offsetsSize = Math.ceil((4 * count) / 8) * 8;
  const places = [
    { offsets: countAt - 8 - offsetsSize, base: countAt - 8 },
    { offsets: table.indexEnd, base: table.indexEnd + offsetsSize },
  ];
  for (const place of places) {
    const addresses = readAddresses(memory, place.offsets, place.base, count);
    if (addresses === null) continue;
    const expanded = expandNames(memory.bytes, start, count, table.tokens);
    return expanded === null ? null : { addresses, names: expanded[0], types: expanded[1] };
  }
  return null;
}
