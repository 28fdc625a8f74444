/**
 * The two entropy coders of zstd: finite state entropy (FSE) and Huffman, their tables and the streams that are read backwards.
 *
 * Invariants: a table has at most 2^9 (FSE) or 2^11 (Huffman) cells; a stream is used up to its first bit exactly, and no bit
 * before it is ever read as data.
 *
 * Source: RFC 8878, sections 4.1 (FSE) and 4.2 (Huffman).
 */

import { corrupt } from './limits.ts';

const fail = corrupt('zstd');

const HUFFMAN_BITS = 11;
const WEIGHTS_LOG = 6;

/** A decoding table: state to symbol, and how many bits with which base make the next state. */
export interface FseTable {
  readonly log: number;
  readonly symbols: Uint8Array;
  readonly bits: Uint8Array;
  readonly bases: Uint16Array;
}

/** A decoding table: the next `bits` bits to a symbol and to how many of them it takes. */
export interface HuffmanTable {
  readonly bits: number;
  readonly symbols: Uint8Array;
  readonly lengths: Uint8Array;
}

const log2 = (value: number): number => 31 - Math.clz32(value);

/** The table of a distribution; -1 stands for "less than 1". The counts must add up to `1 << log`. */
export function fseTable(counts: readonly number[], log: number): FseTable {
  const size = 1 << log;
  const symbols = new Uint8Array(size);
  const next = new Uint16Array(counts.length);
  let high = size;
  for (const [symbol, count] of counts.entries()) {
    next[symbol] = Math.abs(count);
    if (count < 0) symbols[--high] = symbol;
  }
  const step = (size >> 1) + (size >> 3) + 3;
  let at = 0;
  for (const [symbol, count] of counts.entries()) {
    for (let i = 0; i < count; i++) {
      symbols[at] = symbol;
      do at = (at + step) & (size - 1);
      while (at >= high);
    }
  }
  const bits = new Uint8Array(size);
  const bases = new Uint16Array(size);
  for (let cell = 0; cell < size; cell++) {
    const state = next[symbols[cell]!]!++;
    bits[cell] = log - log2(state);
    bases[cell] = (state << bits[cell]!) - size;
  }
  return { log, symbols, bits, bases };
}

/** The table that gives one symbol and reads nothing. */
export const singleSymbol = (symbol: number): FseTable => ({
  log: 0,
  symbols: Uint8Array.of(symbol),
  bits: new Uint8Array(1),
  bases: new Uint16Array(1),
});

/** Reads a table's description at `start`; E_IMAGE above `maxLog` or with a symbol above `maxSymbol`. */
export function readFseTable(
  bytes: Uint8Array,
  start: number,
  maxLog: number,
  maxSymbol: number,
): { table: FseTable; end: number } {
  let pos = start * 8;
  const peek = (count: number): number => {
    const at = pos >> 3;
    return ((bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16)) >> (pos & 7)) & ((1 << count) - 1);
  };
  const log = peek(4) + 5;
  pos += 4;
  if (log > maxLog) fail(`an FSE table of accuracy ${log}`);
  const counts: number[] = [];
  let left = 1 << log;
  while (left > 0) {
    if (counts.length > maxSymbol) fail('an FSE table of too many symbols');
    // values up to `left` + 1; the small ones among them take a bit less
    const width = log2(left + 1) + 1;
    const small = (1 << width) - 2 - left;
    let value = peek(width - 1);
    if (value < small) pos += width - 1;
    else {
      value = peek(width);
      pos += width;
      if (value >= 1 << (width - 1)) value -= small;
    }
    const count = value - 1;
    counts.push(count);
    left -= Math.abs(count);
    for (let more = count === 0 ? 3 : 0; more === 3; ) {
      more = peek(2);
      pos += 2;
      for (let i = 0; i < more; i++) counts.push(0);
      if (counts.length > maxSymbol + 1) fail('an FSE table of too many symbols');
    }
  }
  if (left < 0) fail('an FSE table whose counts exceed its size');
  const end = (pos + 7) >> 3;
  if (end > bytes.length) fail(`an FSE table at byte ${start} passes the end of its block`);
  return { table: fseTable(counts, log), end };
}

/** How many bits of data `bytes` holds: they are read from the end, below the last byte's highest 1. */
export function backwardBits(bytes: Uint8Array): number {
  const last = bytes.at(-1) || fail('a bit stream without an end mark');
  return (bytes.length - 1) * 8 + log2(last);
}

/** `count` bits, at most 24, that start at bit `from`; who counts down must see to it that `from` is not negative. */
export function bitsAt(bytes: Uint8Array, from: number, count: number): number {
  const at = from >> 3;
  const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
  return (word >>> (from & 7)) & ((1 << count) - 1);
}

/** The weights that FSE packs into `bytes`: two states take turns until the bits are used up. */
function readWeights(bytes: Uint8Array): number[] {
  const { table, end } = readFseTable(bytes, 0, WEIGHTS_LOG, HUFFMAN_BITS + 1);
  const stream = bytes.subarray(end);
  let left = backwardBits(stream) - 2 * table.log;
  if (left < 0) fail('a Huffman table that is too short');
  const states = [bitsAt(stream, left + table.log, table.log), bitsAt(stream, left, table.log)];
  const weights: number[] = [];
  for (let turn = 0; ; turn ^= 1) {
    const state = states[turn]!;
    weights.push(table.symbols[state]!);
    if (weights.length > 254) fail('a Huffman table of too many weights');
    left -= table.bits[state]!;
    if (left < 0) {
      weights.push(table.symbols[states[turn ^ 1]!]!);
      return weights;
    }
    states[turn] = table.bases[state]! + bitsAt(stream, left, table.bits[state]!);
  }
}

/** Reads a Huffman table's description at `start`. */
export function readHuffmanTable(bytes: Uint8Array, start: number): { table: HuffmanTable; end: number } {
  const header = bytes[start] ?? fail('a Huffman table behind the end of its block');
  const packed = header < 128 ? header : (header - 127 + 1) >> 1;
  const end = start + 1 + packed;
  if (end > bytes.length) fail(`a Huffman table at byte ${start} passes the end of its block`);
  const body = bytes.subarray(start + 1, end);
  const weights =
    header < 128
      ? readWeights(body)
      : Array.from({ length: header - 127 }, (_, i) => (i & 1 ? body[i >> 1]! & 15 : body[i >> 1]! >> 4));
  const sum = weights.reduce((total, weight) => total + (weight > 0 ? 1 << (weight - 1) : 0), 0);
  if (sum === 0) fail('a Huffman table without weights');
  const bits = log2(sum) + 1;
  const rest = (1 << bits) - sum;
  if (bits > HUFFMAN_BITS || (rest & (rest - 1)) !== 0) fail('a Huffman table whose weights do not add up');
  weights.push(log2(rest) + 1);
  const symbols = new Uint8Array(1 << bits);
  const lengths = new Uint8Array(1 << bits);
  let at = 0;
  for (let weight = 1; weight <= bits; weight++)
    for (const [symbol, own] of weights.entries()) {
      if (own !== weight) continue;
      const to = at + (1 << (weight - 1));
      symbols.fill(symbol, at, to);
      lengths.fill(bits + 1 - weight, at, to);
      at = to;
    }
  if (at !== 1 << bits) fail('a Huffman table whose weights do not add up');
  return { table: { bits, symbols, lengths }, end };
}

/** Decodes one Huffman stream into the whole of `out`. */
export function readHuffmanStream(bytes: Uint8Array, table: HuffmanTable, out: Uint8Array): void {
  const { bits, symbols, lengths } = table;
  const mask = (1 << bits) - 1;
  let left = backwardBits(bytes);
  for (let to = 0; to < out.length; to++) {
    // in front of the first bit there are zeroes
    const from = left - bits;
    let cell: number;
    if (from >= 0) {
      const at = from >> 3;
      cell = ((bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16)) >>> (from & 7)) & mask;
    } else cell = left > 0 ? ((bytes[0]! | (bytes[1]! << 8)) << -from) & mask : 0;
    out[to] = symbols[cell]!;
    left -= lengths[cell]!;
    if (left < 0) fail('a Huffman stream that is too short');
  }
  if (left !== 0) fail('a Huffman stream that is too long');
}
