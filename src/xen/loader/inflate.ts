/**
 * Deflate, for hosts that bring nothing faster.
 *
 * Invariants: nothing is written behind the end of the output; a stream is read to the end of its last block and no further;
 * a block's tables take no more than the 320 lengths they are made of and 2^10 cells each, however many blocks there are.
 *
 * Source: RFC 1951.
 */

import { corrupt } from './limits.ts';

const fail = corrupt('gzip');

const LONGEST = 15;
/** Codes of up to so many bits are looked up, longer ones counted out bit by bit. */
const ROOT_BITS = 10;
const END_OF_BLOCK = 256;
/** In which order the lengths of the code length code come. */
const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** Bases of codes that follow each other without gaps, code n taking `bits[n]` further bits. */
function basesOf(first: number, bits: readonly number[]): Uint16Array {
  const bases = new Uint16Array(bits.length);
  for (let code = 0, base = first; code < bits.length; base += 1 << bits[code]!, code++) bases[code] = base;
  return bases;
}
const LENGTH_BITS = [0, 0, 0, 0, ...Array.from({ length: 24 }, (_, i) => i >> 2), 0];
const LENGTH_BASES = basesOf(3, LENGTH_BITS);
LENGTH_BASES[28] = 258;
const DISTANCE_BITS = [0, 0, ...Array.from({ length: 28 }, (_, i) => i >> 1)];
const DISTANCE_BASES = basesOf(1, DISTANCE_BITS);

/** A canonical Huffman code: how many codes each length has, their symbols in order, and the short ones by their bits. */
interface Code {
  readonly counts: Uint16Array;
  readonly symbols: Uint16Array;
  /** By the next {@link ROOT_BITS} bits: symbol * 16 + length; 0 for longer codes and for none. */
  readonly root: Uint16Array;
}

/** The code of `lengths`; only a code of one symbol, or none, may leave bits without meaning. */
function codeOf(lengths: Uint8Array, mayBeIncomplete: boolean): Code {
  const counts = new Uint16Array(LONGEST + 1);
  for (const length of lengths) counts[length]!++;
  counts[0] = 0;
  let left = 1;
  for (let length = 1; length <= LONGEST; length++) {
    left = 2 * left - counts[length]!;
    if (left < 0) fail('a Huffman code with too many short codes');
  }
  const isSmall = counts.every((count, length) => length === 1 || count === 0);
  if (left > 0 && !(mayBeIncomplete && isSmall)) fail('an incomplete Huffman code');
  const places = new Uint16Array(LONGEST + 2);
  const next = new Uint16Array(LONGEST + 2);
  for (let length = 1; length <= LONGEST; length++) {
    places[length + 1] = places[length]! + counts[length]!;
    next[length + 1] = (next[length]! + counts[length]!) << 1;
  }
  const symbols = new Uint16Array(lengths.length);
  const root = new Uint16Array(1 << ROOT_BITS);
  for (const [symbol, length] of lengths.entries()) {
    if (length === 0) continue;
    symbols[places[length]!++] = symbol;
    let code = next[length]!++;
    if (length > ROOT_BITS) continue;
    let reversed = 0;
    for (let i = 0; i < length; i++, code >>= 1) reversed = (reversed << 1) | (code & 1);
    for (let cell = reversed; cell < root.length; cell += 1 << length) root[cell] = (symbol << 4) | length;
  }
  return { counts, symbols, root };
}

const FIXED = {
  literals: codeOf(
    Uint8Array.from({ length: 288 }, (_, i) => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8)),
    false,
  ),
  distances: codeOf(new Uint8Array(32).fill(5), false),
};

/** Reads bits from the start of `bytes`, the lowest of each byte first. */
class Bits {
  readonly #bytes: Uint8Array;
  /** Position of the next bit. */
  at: number;

  constructor(bytes: Uint8Array, start: number) {
    this.#bytes = bytes;
    this.at = start * 8;
  }

  /** The next 16 bits without going on; zeroes behind the end. */
  peek(): number {
    const byte = this.at >>> 3;
    const bytes = this.#bytes;
    return ((bytes[byte]! | (bytes[byte + 1]! << 8) | (bytes[byte + 2]! << 16)) >>> (this.at & 7)) & 0xffff;
  }

  /** The next `count` bits, at most 16. */
  read(count: number): number {
    const value = this.peek() & ((1 << count) - 1);
    this.at += count;
    return value;
  }

  /** The next symbol of `code`. */
  symbol(code: Code): number {
    const bits = this.peek();
    const cell = code.root[bits & ((1 << ROOT_BITS) - 1)]!;
    if (cell !== 0) {
      this.at += cell & 15;
      return cell >> 4;
    }
    let [value, first, index] = [0, 0, 0];
    for (let length = 1; length <= LONGEST; length++) {
      value |= (bits >> (length - 1)) & 1;
      const count = code.counts[length]!;
      if (value - first < count) {
        this.at += length;
        return code.symbols[index + value - first]!;
      }
      index += count;
      first = (first + count) << 1;
      value <<= 1;
    }
    return fail('bits that are no code');
  }

  /** Whether more was read than there is. */
  get isBehindEnd(): boolean {
    return this.at > this.#bytes.length * 8;
  }
}

/** Unpacks the stream at `start` into `out`; returns where it ends and how much it wrote. E_IMAGE when it is corrupt or larger. */
export function inflate(bytes: Uint8Array, start: number, out: Uint8Array): { end: number; written: number } {
  const bits = new Bits(bytes, start);
  let to = 0;
  for (let isLast = false; !isLast; ) {
    isLast = bits.read(1) === 1;
    const type = bits.read(2);
    if (bits.isBehindEnd) fail(`it ends at byte ${bytes.length} without a last block`);
    if (type === 3) fail('a block of the reserved type');
    if (type === 0) {
      const at = (bits.at + 7) >>> 3;
      const length = bytes[at]! | (bytes[at + 1]! << 8);
      const end = at + 4 + length;
      if (end > bytes.length) fail(`the block at byte ${at} passes its end`);
      if ((length ^ (bytes[at + 2]! | (bytes[at + 3]! << 8))) !== 0xffff) fail(`the block at byte ${at} has no length`);
      if (to + length > out.length) fail(`it unpacks to more than ${out.length} bytes`);
      out.set(bytes.subarray(at + 4, end), to);
      to += length;
      bits.at = end * 8;
      continue;
    }
    const { literals, distances } = type === 1 ? FIXED : readCodes(bits);
    for (;;) {
      const symbol = bits.symbol(literals);
      if (symbol === END_OF_BLOCK) break;
      if (symbol < END_OF_BLOCK) {
        if (to >= out.length) fail(`it unpacks to more than ${out.length} bytes`);
        out[to++] = symbol;
        continue;
      }
      const index = symbol - 257;
      if (index >= LENGTH_BITS.length) fail(`the length code ${symbol}`);
      const length = LENGTH_BASES[index]! + bits.read(LENGTH_BITS[index]!);
      const code = bits.symbol(distances);
      if (code >= DISTANCE_BITS.length) fail(`the distance code ${code}`);
      const distance = DISTANCE_BASES[code]! + bits.read(DISTANCE_BITS[code]!);
      if (distance > to) fail(`a match reaches ${distance} bytes back from byte ${to}`);
      if (to + length > out.length) fail(`it unpacks to more than ${out.length} bytes`);
      for (let from = to - distance, end = to + length; to < end; ) out[to++] = out[from++]!;
    }
    if (bits.isBehindEnd) fail(`it ends at byte ${bytes.length} inside a block`);
  }
  return { end: (bits.at + 7) >>> 3, written: to };
}

/** The two codes at the start of a block that brings its own. */
function readCodes(bits: Bits): { literals: Code; distances: Code } {
  const literalCount = bits.read(5) + 257;
  const distanceCount = bits.read(5) + 1;
  const orderCount = bits.read(4) + 4;
  if (literalCount > 286 || distanceCount > 30) fail('a block with more codes than there are');
  const orderLengths = new Uint8Array(19);
  for (let i = 0; i < orderCount; i++) orderLengths[ORDER[i]!] = bits.read(3);
  const order = codeOf(orderLengths, false);
  const lengths = new Uint8Array(literalCount + distanceCount);
  for (let i = 0; i < lengths.length; ) {
    const symbol = bits.symbol(order);
    if (symbol < 16) {
      lengths[i++] = symbol;
      continue;
    }
    if (symbol === 16 && i === 0) fail('a block that repeats a length before the first');
    const repeated = symbol === 16 ? lengths[i - 1]! : 0;
    const count = symbol === 16 ? 3 + bits.read(2) : symbol === 17 ? 3 + bits.read(3) : 11 + bits.read(7);
    if (i + count > lengths.length) fail('a block with more lengths than codes');
    lengths.fill(repeated, i, i + count);
    i += count;
  }
  if (lengths[END_OF_BLOCK] === 0) fail('a block without an end');
  return {
    literals: codeOf(lengths.subarray(0, literalCount), true),
    distances: codeOf(lengths.subarray(literalCount), true),
  };
}
