/**
 * zstd: the one frame that the kernel's build packs a kernel in.
 *
 * Invariants: the output has the size that the build appends to the frame, whatever the frame says of itself; every block,
 * literal and match is held against what is left of it before it is written, and the sequences are counted; a checksum is
 * verified where there is one.
 *
 * Source: RFC 8878, section 3.1.1.
 */

import { corrupt, UNPACK_LIMIT_SYMBOLS } from './limits.ts';
import { xxh64 } from './xxh64.ts';
import {
  backwardBits,
  bitsAt,
  type FseTable,
  fseTable,
  type HuffmanTable,
  readFseTable,
  readHuffmanStream,
  readHuffmanTable,
  singleSymbol,
} from './zstd-entropy.ts';

const MAGIC = [0x28, 0xb5, 0x2f, 0xfd];
const CHECKSUM_FLAG = 4;
const BLOCK = 1 << 17;
/** A sequence costs about as much as three symbols of other formats. */
const SEQUENCE_SYMBOLS = 3;

const fail = corrupt('zstd');

/** Whether `bytes` starts with the magic of a zstd frame. */
export const isZstd = (bytes: Uint8Array): boolean => MAGIC.every((byte, i) => bytes[i] === byte);

/** A kind of code in a sequence: its table's limits, its default table, and what a code means (base and further bits). */
interface CodeKind {
  readonly maxLog: number;
  readonly fallback: FseTable;
  readonly bases: Uint32Array;
  readonly bits: Uint8Array;
}

/** The meanings of codes: `first` and those that follow each other without gaps, code n taking `bits[n]` further bits. */
function codeKind(maxLog: number, log: number, counts: readonly number[], first: number, bits: number[]): CodeKind {
  const bases = new Uint32Array(bits.length);
  for (let code = 0, base = first; code < bits.length; base += 2 ** bits[code]!, code++) bases[code] = base;
  return { maxLog, fallback: fseTable(counts, log), bases, bits: Uint8Array.from(bits) };
}

const zeroes = (count: number): number[] => new Array(count).fill(0);
const ones = (count: number): number[] => new Array(count).fill(1);
const rising = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

const LITERAL_LENGTHS = codeKind(
  9,
  6,
  [4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1],
  0,
  [...zeroes(16), 1, 1, 1, 1, 2, 2, 3, 3, 4, ...rising(6, 16)],
);
const MATCH_LENGTHS = codeKind(9, 6, [1, 4, 3, 2, 2, 2, 2, 2, 2, ...ones(37), -1, -1, -1, -1, -1, -1, -1], 3, [
  ...zeroes(32),
  1,
  1,
  1,
  1,
  2,
  2,
  3,
  3,
  4,
  4,
  5,
  ...rising(7, 16),
]);
/** Code n stands for 2^n and n further bits. */
const OFFSETS = codeKind(
  8,
  5,
  [1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1],
  1,
  rising(0, 31),
);

/** Unpacks one frame to exactly `size` bytes; E_IMAGE when it is corrupt or holds another size. */
export function unpackZstd(bytes: Uint8Array, size: number): Uint8Array {
  const header = readFrameHeader(bytes);
  if (header.contentSize !== null && header.contentSize !== BigInt(size))
    fail(`its header promises ${header.contentSize} bytes instead of ${size}`);
  const frame = new Frame(new Uint8Array(size));
  let at = header.end;
  for (let isLast = false; !isLast; ) {
    if (at + 3 > bytes.length) fail(`it ends at byte ${bytes.length} without a last block`);
    const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16);
    isLast = (word & 1) !== 0;
    const type = (word >> 1) & 3;
    const length = word >> 3;
    const end = at + 3 + (type === 1 ? 1 : length);
    if (end > bytes.length) fail(`the block at byte ${at} passes its end`);
    frame.block(type, length, bytes.subarray(at + 3, end));
    at = end;
  }
  if (frame.written !== size) fail(`it unpacks to ${frame.written} bytes instead of ${size}`);
  const end = at + (header.isChecked ? 4 : 0);
  if (end !== bytes.length) fail(`its frame ends at byte ${end} of ${bytes.length}`);
  if (header.isChecked) {
    const stored = new DataView(bytes.buffer, bytes.byteOffset + at).getUint32(0, true);
    if (Number(xxh64(frame.out) & 0xffffffffn) !== stored) fail('it fails its checksum');
  }
  return frame.out;
}

function readFrameHeader(bytes: Uint8Array): { end: number; contentSize: bigint | null; isChecked: boolean } {
  if (bytes.length < 18) fail(`it has only ${bytes.length} bytes`);
  const descriptor = bytes[4]!;
  if ((descriptor & 0x0b) !== 0) fail('it needs a dictionary or an unknown feature');
  const isSingle = (descriptor & 0x20) !== 0;
  const at = isSingle ? 5 : 6;
  const width = [isSingle ? 1 : 0, 2, 4, 8][descriptor >> 6]!;
  let contentSize: bigint | null = width === 0 ? null : 0n;
  for (let i = width - 1; i >= 0; i--) contentSize = (contentSize! << 8n) | BigInt(bytes[at + i]!);
  if (width === 2) contentSize! += 256n;
  return { end: at + width, contentSize, isChecked: (descriptor & CHECKSUM_FLAG) !== 0 };
}

/** What the blocks of a frame share: the output, tables that later blocks may repeat, the last three offsets. */
class Frame {
  readonly out: Uint8Array;
  written = 0;
  readonly #literals = new Uint8Array(BLOCK);
  #huffman: HuffmanTable | null = null;
  #tables: (FseTable | null)[] = [null, null, null];
  #offsets: [number, number, number] = [1, 4, 8];
  #symbolsLeft = UNPACK_LIMIT_SYMBOLS;

  constructor(out: Uint8Array) {
    this.out = out;
  }

  /** Takes in one block of `type` (0 raw, 1 one repeated byte, 2 compressed), `length` as its header has it. */
  block(type: number, length: number, content: Uint8Array): void {
    if (length > BLOCK) fail(`a block of ${length} bytes`);
    if (type === 3) fail('a block of the reserved type');
    if (type === 0) this.#append(content);
    else if (type === 1) this.#append(this.#literals.subarray(0, length).fill(content[0]!));
    else this.#compressed(content);
  }

  #compressed(block: Uint8Array): void {
    const { literals, end } = this.#readLiterals(block);
    let at = end;
    let count = block[at++] ?? fail('a block without sequences');
    if (count > 127) {
      if (at + 2 > block.length) fail('a block that ends inside its number of sequences');
      count = count === 255 ? block[at]! + (block[at + 1]! << 8) + 0x7f00 : ((count - 128) << 8) + block[at]!;
      at += count >= 0x7f00 ? 2 : 1;
    }
    if (count === 0) {
      this.#append(literals);
      return;
    }
    const modes = block[at++] ?? fail('a block without modes');
    if ((modes & 3) !== 0) fail('a block with reserved modes');
    const kinds = [LITERAL_LENGTHS, OFFSETS, MATCH_LENGTHS];
    for (const [i, kind] of kinds.entries()) at = this.#readTable(i, kind, (modes >> (6 - 2 * i)) & 3, block, at);
    if ((this.#symbolsLeft -= count * SEQUENCE_SYMBOLS) < 0) fail('it has more sequences than any kernel');
    this.#sequences(count, literals, block.subarray(at));
  }

  #append(content: Uint8Array): void {
    const end = this.written + content.length;
    if (end > this.out.length) fail(`it unpacks to more than ${this.out.length} bytes`);
    this.out.set(content, this.written);
    this.written = end;
  }

  /** The table of one kind of code: 0 the default one, 1 a single code, 2 a new table, 3 the one of the last block. */
  #readTable(index: number, kind: CodeKind, mode: number, block: Uint8Array, at: number): number {
    if (mode === 0) this.#tables[index] = kind.fallback;
    if (mode === 3 && this.#tables[index] === null) fail('a block that repeats a table which there is not');
    if (mode === 1) {
      const code = block[at]!;
      if (at >= block.length || code >= kind.bits.length) fail(`a block of the one code ${code}`);
      this.#tables[index] = singleSymbol(code);
      return at + 1;
    }
    if (mode !== 2) return at;
    const { table, end } = readFseTable(block, at, kind.maxLog, kind.bits.length - 1);
    this.#tables[index] = table;
    return end;
  }

  /** The literals section at the start of a block. */
  #readLiterals(block: Uint8Array): { literals: Uint8Array; end: number } {
    const head = [0, 1, 2, 3, 4].map((i) => block[i] ?? 0);
    const type = head[0]! & 3;
    const format = (head[0]! >> 2) & 3;
    // sizes are a number of `width` bits behind the type and the format, little-endian
    const word = head.reduce((sum, byte, i) => sum + byte * 256 ** i, 0);
    const field = (shift: number, width: number): number => Math.floor(word / 2 ** shift) % 2 ** width;
    if (type < 2) {
      const [headSize, size] = format === 1 ? [2, field(4, 12)] : format === 3 ? [3, field(4, 20)] : [1, field(3, 5)];
      const end = headSize + (type === 1 ? 1 : size);
      if (size > BLOCK || end > block.length) fail(`${size} literals do not fit their block`);
      if (type === 0) return { literals: block.subarray(headSize, end), end };
      return { literals: this.#literals.subarray(0, size).fill(block[headSize]!), end };
    }
    const [headSize, width] = format < 2 ? [3, 10] : format === 2 ? [4, 14] : [5, 18];
    const size = field(4, width);
    const end = headSize + field(4 + width, width);
    if (size > BLOCK || end > block.length) fail(`${size} literals do not fit their block`);
    let at = headSize;
    if (type === 2) {
      const read = readHuffmanTable(block.subarray(0, end), at);
      this.#huffman = read.table;
      at = read.end;
    }
    const table = this.#huffman ?? fail('a block that repeats a table which there is not');
    const literals = this.#literals.subarray(0, size);
    if (format === 0) readHuffmanStream(block.subarray(at, end), table, literals);
    else readFourStreams(block.subarray(at, end), table, literals);
    return { literals, end };
  }

  /** Copies literals and matches as `count` sequences of `stream` say, then the literals that are left. */
  #sequences(count: number, literals: Uint8Array, stream: Uint8Array): void {
    const out = this.out;
    const [lengths, offsets, matches] = this.#tables as [FseTable, FseTable, FseTable];
    const most = Math.min(out.length, this.written + BLOCK);
    let [first, second, third] = this.#offsets;
    let bits = backwardBits(stream);
    let lengthState = bitsAt(stream, (bits -= lengths.log), lengths.log);
    let offsetState = bitsAt(stream, (bits -= offsets.log), offsets.log);
    let matchState = bitsAt(stream, (bits -= matches.log), matches.log);
    let to = this.written;
    let from = 0;
    for (let left = count; left > 0; left--) {
      let width = offsets.symbols[offsetState]!;
      bits -= width;
      const low = bitsAt(stream, bits, Math.min(width, 16));
      const value =
        width > 16 ? 2 ** width + bitsAt(stream, bits + 16, width - 16) * 0x10000 + low : (1 << width) + low;
      const matchCode = matches.symbols[matchState]!;
      width = MATCH_LENGTHS.bits[matchCode]!;
      const match = MATCH_LENGTHS.bases[matchCode]! + bitsAt(stream, (bits -= width), width);
      const lengthCode = lengths.symbols[lengthState]!;
      width = LITERAL_LENGTHS.bits[lengthCode]!;
      const length = LITERAL_LENGTHS.bases[lengthCode]! + bitsAt(stream, (bits -= width), width);
      if (left > 1) {
        width = lengths.bits[lengthState]!;
        lengthState = lengths.bases[lengthState]! + bitsAt(stream, (bits -= width), width);
        width = matches.bits[matchState]!;
        matchState = matches.bases[matchState]! + bitsAt(stream, (bits -= width), width);
        width = offsets.bits[offsetState]!;
        offsetState = offsets.bases[offsetState]! + bitsAt(stream, (bits -= width), width);
      }
      if (bits < 0) fail('a block with more sequences than bits');
      let offset = first;
      // 1 to 3 name one of the last three offsets, after no literals the one behind it
      const index = value > 3 ? 3 : value - (length === 0 ? 0 : 1);
      if (index > 0) {
        offset = value > 3 ? value - 3 : index === 1 ? second : index === 2 ? third : first - 1;
        if (index > 1) third = second;
        second = first;
        first = offset;
      }
      if (from + length > literals.length || to + length + match > most) fail('a sequence that does not fit');
      for (const end = to + length; to < end; ) out[to++] = literals[from++]!;
      if (offset === 0 || offset > to) fail(`a match reaches ${offset} bytes back from byte ${to}`);
      for (let source = to - offset, end = to + match; to < end; ) out[to++] = out[source++]!;
    }
    if (bits !== 0) fail('a block with more bits than sequences');
    if (to + literals.length - from > most) fail('a block that does not fit');
    out.set(literals.subarray(from), to);
    this.written = to + literals.length - from;
    this.#offsets = [first, second, third];
  }
}

/** Four Huffman streams behind the sizes of three of them; each but the last has a quarter of the literals. */
function readFourStreams(bytes: Uint8Array, table: HuffmanTable, literals: Uint8Array): void {
  if (bytes.length < 6) fail('four Huffman streams without sizes');
  const quarter = (literals.length + 3) >> 2;
  let at = 6;
  for (let i = 0; i < 4; i++) {
    const end = i === 3 ? bytes.length : at + bytes[2 * i]! + (bytes[2 * i + 1]! << 8);
    if (end > bytes.length) fail('a Huffman stream that passes the end of its block');
    const part = literals.subarray(
      Math.min(i * quarter, literals.length),
      i === 3 ? literals.length : (i + 1) * quarter,
    );
    readHuffmanStream(bytes.subarray(at, end), table, part);
    at = end;
  }
}
