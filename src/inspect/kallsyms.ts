/**
 * Linux's own symbol table, found in a stripped kernel image or in guest memory without any address known.
 *
 * The kernel's build stores names as strings of token numbers. The search starts from the token table, which its index
 * proves (256 offsets that must all agree), and tries each format of `kallsyms-formats.ts`: it goes backwards over the markers (one offset
 * into the names for every 256 symbols) to the names and their number, and from there to the addresses.
 *
 * Source: kernel/kallsyms.c (kallsyms_expand_symbol) of Linux 6.1, and that of the formats.
 */

import { type AddressOf, readAddresses } from './kallsyms-addresses.ts';
import { FORMATS, type Format } from './kallsyms-formats.ts';
import { alignUp, SearchedImage, TOO_LONG } from './kallsyms-image.ts';

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
/** Bytes of 256 names, within which the last marker's names end. */
const LARGEST_CHUNK = 256 * 1024;

/** The table's position, where its strings end, where its index stands, and its 256 tokens as text. */
interface TokenTable {
  readonly start: number;
  readonly end: number;
  readonly index: number;
  readonly tokens: readonly string[];
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
function tokenTable(image: SearchedImage, digits: number): TokenTable | null {
  const { bytes } = image;
  image.spend(TOKENS);
  let end = digits;
  for (let i = ZERO; i < TOKENS; i++) {
    const nul = bytes.indexOf(0, end);
    if (nul < 0 || nul - end > LONGEST_TOKEN) return null;
    end = nul + 1;
  }
  for (const align of [8, 4]) {
    const index = alignUp(end, align);
    const start = digits - image.u16(index + 2 * ZERO);
    const tokens = image.u16(index) === 0 && start >= 0 ? readTokens(image, start, index) : null;
    if (tokens !== null) return { start, end, index, tokens };
  }
  return null;
}

/** The tokens at `start`, if each begins where `index` says. */
function readTokens(image: SearchedImage, start: number, index: number): string[] | null {
  const tokens: string[] = [];
  let at = start;
  for (let i = 0; i < TOKENS; i++) {
    const end = image.bytes.indexOf(0, at);
    if (end < 0 || end - at > LONGEST_TOKEN || image.u16(index + 2 * i) !== at - start) return null;
    tokens.push(String.fromCharCode(...image.bytes.subarray(at, end)));
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
function markersAt(image: SearchedImage, start: number, count: number, bytes: 8 | 4): Markers | null {
  if (count < 2 || image.word(start, bytes) !== 0) return null;
  const values = [0];
  while (values.length < count) {
    image.spend(1);
    const value = image.word(start + bytes * values.length, bytes);
    if (value <= values.at(-1)!) return null;
    values.push(value);
  }
  return { start, values };
}

/** Places that can be the markers of a format whose markers stand in front of `end`, but for the bytes that align it. */
function* markersBefore(image: SearchedImage, end: number, bytes: 8 | 4): Generator<Markers> {
  for (let count = 1, at = end - bytes; at >= 0 && count <= LARGEST_COUNT / 256 + 1; at -= bytes, count++) {
    image.spend(1);
    if (image.word(at, bytes) !== 0) continue;
    const found = markersAt(image, at, count, bytes) ?? markersAt(image, at, count - 1, bytes);
    if (found !== null) yield found;
    if (count > 2) break;
  }
}

/**
 * Places that can be the markers in front of a table of 3 bytes a symbol that ends at `end`; its length says how many markers there
 * must be.
 */
function* markersBeforeOrder(image: SearchedImage, end: number, { marker, align }: Format): Generator<Markers> {
  for (let size = align; size < 3 * LARGEST_COUNT && size < end; size += align) {
    image.spend(1);
    const fewest = Math.ceil((size - align + 1) / 3 / 256);
    const most = Math.ceil(size / 3 / 256);
    for (let count = fewest; count <= most; count++) {
      const found = markersAt(image, end - size - alignUp(marker * count, align), count, marker);
      if (found !== null) yield found;
    }
  }
}

/** Length of the compressed name at `at`: its header bytes and its tokens. */
function nameLength(bytes: Uint8Array, at: number, longest: 1 | 2): { header: number; tokens: number } {
  const first = bytes[at]!;
  if (longest === 1 || first < 0x80) return { header: 1, tokens: first };
  return { header: 2, tokens: (first & 0x7f) | (bytes[at + 1]! << 7) };
}

/** Where the number of symbols stands and where their names start. */
interface NameTable {
  readonly countAt: number;
  readonly start: number;
  readonly count: number;
}

/** The names, which the markers confirm, and the number of them in front. */
function findNames(image: SearchedImage, markers: Markers, { align, length }: Format): NameTable | null {
  const { bytes } = image;
  const chunks = markers.values.length;
  const highest = markers.start - markers.values.at(-1)!;
  for (let start = highest - (highest % align); start > highest - LARGEST_CHUNK && start >= align; start -= align) {
    image.spend(1);
    const countAt = start - align;
    const count = image.u32(countAt);
    if (Math.ceil(count / 256) !== chunks) continue;
    let at = start;
    let i = 0;
    for (; i < count && at < markers.start; i++) {
      if (i % 256 === 0 && at - start !== markers.values[i / 256]) break;
      const { header, tokens } = nameLength(bytes, at, length);
      if (tokens === 0) break;
      at += header + tokens;
    }
    image.spend(i);
    if (i === count && alignUp(at, align) === markers.start) return { countAt, start, count };
  }
  return null;
}

/**
 * Expands all names, null when they are too long; the first letter of each is the symbol's type. They are written as bytes and become
 * text together: pieced together one by one they would keep the garbage collector busy.
 */
function expandNames(
  bytes: Uint8Array,
  { start, count }: NameTable,
  tokens: readonly string[],
  longest: 1 | 2,
): [string[], string] | null {
  const pieces = tokens.map((token) => Uint8Array.from(token, (letter) => letter.charCodeAt(0)));
  const types = new Uint8Array(count);
  let names = new Uint8Array(LONGEST_TOKEN + count * 32);
  let length = 0;
  for (let i = 0, at = start; i < count; i++) {
    const { header, tokens: tokenCount } = nameLength(bytes, at, longest);
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

/**
 * Finds the kernel's symbols in `image`: the ELF file of a kernel or a flat copy of the memory it is loaded in. Without `addressOf`
 * those of Linux 7.0 and later are not found; only what is kept in one of `formats` is. Null when there are none (not Linux, or built
 * without KALLSYMS) and when the search takes too many steps.
 */
export function findKallsyms(
  image: Uint8Array,
  addressOf: AddressOf = () => null,
  formats: readonly Format[] = FORMATS,
): Kallsyms | null {
  try {
    return search(new SearchedImage(image), addressOf, formats);
  } catch (error) {
    if (error !== TOO_LONG) throw error;
    return null;
  }
}

function search(image: SearchedImage, addressOf: AddressOf, formats: readonly Format[]): Kallsyms | null {
  for (const digits of digitRuns(image.bytes)) {
    const table = tokenTable(image, digits);
    if (table === null) continue;
    for (const format of formats) {
      const found = searchFormat(image, table, format, addressOf);
      if (found !== null) return found;
    }
  }
  return null;
}

/** The symbols whose tokens are those of `table`, if they are kept in `format`. */
function searchFormat(image: SearchedImage, table: TokenTable, format: Format, addressOf: AddressOf): Kallsyms | null {
  const { start, end, index, tokens } = table;
  if (index !== alignUp(end, format.align)) return null;
  const places = format.orderBeforeTokens
    ? markersBeforeOrder(image, start, format)
    : markersBefore(image, start, format.marker);
  for (const markers of places) {
    const names = findNames(image, markers, format);
    if (names === null) continue;
    const { countAt, count } = names;
    const addresses = readAddresses(image, format, { front: countAt, behind: index + 2 * TOKENS, count }, addressOf);
    const expanded = addresses === null ? null : expandNames(image.bytes, names, tokens, format.length);
    if (addresses !== null && expanded !== null) return { addresses, names: expanded[0], types: expanded[1] };
  }
  return null;
}
