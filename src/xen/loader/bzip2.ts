/**
 * bzip2: the one stream that the kernel's build packs a kernel in.
 *
 * Invariants: a block holds at most 900,000 symbols, and all blocks no more than the output can be made of (five for every
 * four bytes) and than any kernel has; nothing is written behind the end of the output; the CRC of every block and of the
 * stream are verified.
 *
 * Source: the bzip2 program's documentation and the format description by Joe Tsai (bzip2-format-specification).
 */

import { BZIP2_LIMIT_SYMBOLS, corrupt } from './limits.ts';

const fail = corrupt('bzip2');

const BLOCK_MAGIC = 0x314159265359;
const END_MAGIC = 0x177245385090;
const LONGEST = 20;
const GROUP = 50;
const RUN_A = 0;
const RUN_B = 1;
/** Up to here moving bytes one by one is faster than a call. */
const SHORT_MOVE = 24;
/** A run of this many equal bytes is followed by a count of further ones. */
const RUN = 4;

/** CRC-32 with the highest bit first, polynomial 04c11db7. */
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 24;
  for (let bit = 0; bit < 8; bit++) crc = crc < 0 ? (crc << 1) ^ 0x04c11db7 : crc << 1;
  return crc;
});

/** Whether `bytes` starts with the magic of bzip2. */
export const isBzip2 = (bytes: Uint8Array): boolean => bytes[0] === 0x42 && bytes[1] === 0x5a && bytes[2] === 0x68;

/** Reads bits, the highest of each byte first. */
class Bits {
  readonly #bytes: Uint8Array;
  #at: number;

  constructor(bytes: Uint8Array, start: number) {
    this.#bytes = bytes;
    this.#at = start * 8;
  }

  /** The next `count` bits, at most 24, without going on; zeroes behind the end. */
  peek(count: number): number {
    const bytes = this.#bytes;
    const byte = this.#at >>> 3;
    const word =
      ((bytes[byte]! << 24) | (bytes[byte + 1]! << 16) | (bytes[byte + 2]! << 8) | bytes[byte + 3]!) << (this.#at & 7);
    return word >>> (32 - count);
  }

  /** Goes on by `count` bits. */
  skip(count: number): void {
    this.#at += count;
    if (this.#at > this.#bytes.length * 8) fail(`it ends at byte ${this.#bytes.length} inside a block`);
  }

  /** The next `count` bits, 1 to 24. */
  read(count: number): number {
    const value = this.peek(count);
    this.skip(count);
    return value;
  }
}

/** A canonical Huffman code: for each length the first code behind its own, and where its symbols stand. */
interface Code {
  readonly shortest: number;
  readonly ends: Int32Array;
  readonly offsets: Int32Array;
  readonly symbols: Uint16Array;
}

function codeOf(lengths: Uint8Array): Code {
  const counts = new Int32Array(LONGEST + 1);
  for (const length of lengths) counts[length]!++;
  const ends = new Int32Array(LONGEST + 1);
  const offsets = new Int32Array(LONGEST + 1);
  const places = new Int32Array(LONGEST + 1);
  for (let length = 1, code = 0, index = 0; length <= LONGEST; length++) {
    offsets[length] = index - code;
    places[length] = index;
    code += counts[length]!;
    index += counts[length]!;
    if (code > 1 << length) fail('a Huffman code with too many short codes');
    ends[length] = code;
    code <<= 1;
  }
  const symbols = new Uint16Array(lengths.length);
  for (const [symbol, length] of lengths.entries()) symbols[places[length]!++] = symbol;
  return { shortest: lengths.reduce((least, length) => Math.min(least, length)), ends, offsets, symbols };
}

function readSymbol(bits: Bits, code: Code): number {
  const next = bits.peek(LONGEST);
  for (let length = code.shortest; length <= LONGEST; length++) {
    const value = next >> (LONGEST - length);
    if (value >= code.ends[length]!) continue;
    bits.skip(length);
    return code.symbols[code.offsets[length]! + value]!;
  }
  return fail('bits that are no code');
}

/** Reads the codes of a block, 2 to 6, for `count` symbols each. */
function readCodes(bits: Bits, codeCount: number, count: number): Code[] {
  return Array.from({ length: codeCount }, () => {
    const lengths = new Uint8Array(count);
    let length = bits.read(5);
    for (let i = 0; i < count; i++) {
      while (bits.read(1) === 1) {
        length += bits.read(1) === 0 ? 1 : -1;
        if (length < 1 || length > LONGEST) fail(`a code length of ${length}`);
      }
      if (length < 1 || length > LONGEST) fail(`a code length of ${length}`);
      lengths[i] = length;
    }
    return codeOf(lengths);
  });
}

/** The bytes that a block uses, in order. */
function readAlphabet(bits: Bits): number[] {
  const used: number[] = [];
  const ranges = bits.read(16);
  for (let range = 0; range < 16; range++) {
    if (((ranges >> (15 - range)) & 1) === 0) continue;
    const members = bits.read(16);
    for (let i = 0; i < 16; i++) if ((members >> (15 - i)) & 1) used.push(range * 16 + i);
  }
  if (used.length === 0) fail('a block of no bytes');
  return used;
}

/** Which code each group of symbols uses. */
function readSelectors(bits: Bits, codeCount: number): Uint8Array {
  const selectors = new Uint8Array(bits.read(15));
  const recent = Array.from({ length: codeCount }, (_, i) => i);
  for (let i = 0; i < selectors.length; i++) {
    let place = 0;
    while (bits.read(1) === 1) if (++place >= codeCount) fail('a selector of a code which there is not');
    const [code] = recent.splice(place, 1);
    recent.unshift(code!);
    selectors[i] = code!;
  }
  return selectors;
}

/** Reads a block's symbols into `block`, in the low bytes of its words; returns how many there are, at most `most`. */
function readBlock(bits: Bits, block: Uint32Array, most: number): number {
  const alphabet = Uint8Array.from(readAlphabet(bits));
  const codeCount = bits.read(3);
  if (codeCount < 2 || codeCount > 6) fail(`a block of ${codeCount} codes`);
  const selectors = readSelectors(bits, codeCount);
  const codes = readCodes(bits, codeCount, alphabet.length + 2);
  const endSymbol = alphabet.length + 1;
  let count = 0;
  let run = 0;
  let bit = 1;
  for (let group = 0; ; group++) {
    const code = codes[selectors[group] ?? fail('a block of more symbols than its selectors are for')]!;
    for (let i = 0; i < GROUP; i++) {
      const symbol = readSymbol(bits, code);
      if (symbol <= RUN_B) {
        run += symbol === RUN_A ? bit : 2 * bit;
        bit *= 2;
        if (run > most) fail(`a block of more than ${most} symbols`);
        continue;
      }
      if (run > 0) {
        if (count + run > most) fail(`a block of more than ${most} symbols`);
        block.fill(alphabet[0]!, count, count + run);
        count += run;
        run = 0;
        bit = 1;
      }
      if (symbol === endSymbol) return count;
      if (count >= most) fail(`a block of more than ${most} symbols`);
      const place = symbol - 1;
      const byte = alphabet[place]!;
      if (place < SHORT_MOVE) for (let j = place; j > 0; j--) alphabet[j] = alphabet[j - 1]!;
      else alphabet.copyWithin(1, 0, place);
      alphabet[0] = byte;
      block[count++] = byte;
    }
  }
}

/** Links the symbols in `block` so that the upper 24 bits of each word say where the one behind it stands. */
function link(block: Uint32Array, count: number): void {
  const places = new Uint32Array(257);
  for (let i = 0; i < count; i++) places[(block[i]! & 255) + 1]!++;
  for (let byte = 1; byte < 257; byte++) places[byte]! += places[byte - 1]!;
  for (let i = 0; i < count; i++) block[places[block[i]! & 255]!++]! |= i << 8;
}

/** Unpacks a stream to exactly `size` bytes; E_IMAGE when it is corrupt or of another size. */
export function unpackBzip2(bytes: Uint8Array, size: number): Uint8Array {
  const level = (bytes[3] ?? 0) - 0x30;
  if (level < 1 || level > 9) fail('its header names no block size');
  const out = new Uint8Array(size);
  const bits = new Bits(bytes, 4);
  const crcNext = (): number => bits.read(16) * 0x10000 + bits.read(16);
  let written = 0;
  let streamCrc = 0;
  let symbolsLeft = Math.min(BZIP2_LIMIT_SYMBOLS, Math.ceil(size * 1.25));
  const block = new Uint32Array(Math.min(level * 100_000, symbolsLeft));
  for (;;) {
    const magic = bits.read(24) * 0x1000000 + bits.read(24);
    const stored = crcNext();
    if (magic === END_MAGIC) {
      if (stored !== streamCrc >>> 0) fail('it fails its CRC');
      if (written !== size) fail(`it unpacks to ${written} bytes instead of ${size}`);
      return out;
    }
    if (magic !== BLOCK_MAGIC) fail('a block without its magic');
    if (bits.read(1) === 1) fail('a randomised block, which no program has made since 1999');
    const first = bits.read(24);
    const count = readBlock(bits, block, Math.min(block.length, symbolsLeft));
    symbolsLeft -= count;
    if (first >= count) fail(`a block of ${count} symbols that starts at ${first}`);
    link(block, count);
    const { end, crc } = unrun(block, count, first, out, written);
    written = end;
    if (crc !== stored) fail('a block fails its CRC');
    streamCrc = ((streamCrc << 1) | (streamCrc >>> 31)) ^ crc;
  }
}

/** Writes the linked block out from `first`, runs expanded; returns the new end of the output and the CRC of what it wrote. */
function unrun(
  block: Uint32Array,
  count: number,
  first: number,
  out: Uint8Array,
  start: number,
): { end: number; crc: number } {
  let place = block[first]! >>> 8;
  let crc = -1;
  let to = start;
  let last = -1;
  let run = 0;
  for (let i = 0; i < count; i++) {
    const word = block[place]!;
    place = word >>> 8;
    const byte = word & 255;
    if (run === RUN) {
      run = 0;
      if (to + byte > out.length) fail(`it unpacks to more than ${out.length} bytes`);
      for (const end = to + byte; to < end; crc = (crc << 8) ^ CRC_TABLE[(crc >>> 24) ^ last]!) out[to++] = last;
      last = -1;
      continue;
    }
    run = byte === last ? run + 1 : 1;
    last = byte;
    if (to >= out.length) fail(`it unpacks to more than ${out.length} bytes`);
    out[to++] = byte;
    crc = (crc << 8) ^ CRC_TABLE[(crc >>> 24) ^ byte]!;
  }
  return { end: to, crc: ~crc >>> 0 };
}
