/**
 * LZMA decoding, the part that LZMA2 chunks (xz) and the older `.lzma` files share: properties, state, literals and matches.
 *
 * Invariants: the output buffer is the dictionary (everything is decoded at once), so a match may reach back to the last
 * dictionary reset and no further; no byte is written behind the end that the caller names, and every turn of the loop
 * writes one or ends it. Anything else throws an `EmulatorError` E_IMAGE.
 *
 * Source: the LZMA specification of the LZMA SDK.
 */

import { corrupt } from './limits.ts';
import { RangeDecoder } from './range-decoder.ts';

const HALF = 1024;
const STATES = 12;
const POS_STATES = 16;
/** Layout of the one array of probabilities (offsets in entries). */
const IS_MATCH = 0;
const IS_REP = IS_MATCH + STATES * POS_STATES;
const IS_REP0 = IS_REP + STATES;
const IS_REP1 = IS_REP0 + STATES;
const IS_REP2 = IS_REP1 + STATES;
const IS_REP0_LONG = IS_REP2 + STATES;
const DIST_SLOT = IS_REP0_LONG + STATES * POS_STATES;
const DIST_SPECIAL = DIST_SLOT + 4 * 64;
const DIST_ALIGN = DIST_SPECIAL + 128;
/** A length coder: two choice bits, then low and mid trees by position, then the high tree. */
const LEN_CHOICE = 0;
const LEN_LOW = 2;
const LEN_MID = LEN_LOW + POS_STATES * 8;
const LEN_HIGH = LEN_MID + POS_STATES * 8;
const LEN_SIZE = LEN_HIGH + 256;
const MATCH_LEN = DIST_ALIGN + 16;
const REP_LEN = MATCH_LEN + LEN_SIZE;
const LITERAL = REP_LEN + LEN_SIZE;

/** A match takes as long as three literals. */
const MATCH_SYMBOLS = 3;
/** The distance that ends a stream of unknown size. */
const END_MARKER = 0xffffffff;

/** Symbols that a payload may still have: literals count one, matches three. */
export interface SymbolBudget {
  symbols: number;
}

/** LZMA state between calls; `inPos` and `outPos` say how far input and output have come. */
export class LzmaDecoder {
  readonly input: Uint8Array;
  readonly output: Uint8Array;
  inPos: number;
  outPos = 0;
  /** Output position of the last dictionary reset. */
  dictStart = 0;
  /** Probabilities; the literal coders are behind {@link LITERAL}. */
  readonly #probs = new Uint16Array(LITERAL + 0x300 * 16).fill(HALF);
  readonly #fail: (message: string) => never;
  #lc = 0;
  #lp = 0;
  #pb = 0;
  #state = 0;
  readonly #budget: SymbolBudget;
  /** Recent distances less 1, the last one first. */
  #rep0 = 0;
  #rep1 = 0;
  #rep2 = 0;
  #rep3 = 0;

  /** Reads `input` from `start` and fills `output`; `format` names the payload in errors. */
  constructor(format: 'xz' | 'lzma', input: Uint8Array, start: number, output: Uint8Array, budget: SymbolBudget) {
    this.#fail = corrupt(format);
    this.#budget = budget;
    this.input = input;
    this.inPos = start;
    this.output = output;
  }

  /** Sets every probability and the recent distances to their first values. */
  resetState(): void {
    this.#probs.fill(HALF);
    this.#state = 0;
    this.#rep0 = this.#rep1 = this.#rep2 = this.#rep3 = 0;
  }

  /** Sets lc, lp and pb from their byte; E_IMAGE unless lc + lp is at most 4, as in LZMA2 and in every kernel. */
  setProperties(byte: number): void {
    if (byte > 224) this.#fail(`LZMA properties ${byte} before byte ${this.inPos}`);
    this.#lc = byte % 9;
    const rest = (byte - this.#lc) / 9;
    this.#lp = rest % 5;
    this.#pb = (rest - this.#lp) / 5;
    if (this.#lc + this.#lp > 4) this.#fail(`LZMA properties lc ${this.#lc}, lp ${this.#lp} before byte ${this.inPos}`);
  }

  /**
   * Decodes `size` bytes from at most `packed` bytes of input. With `'exact'` all input must be used up by then; with
   * `'marker'` an end marker must follow; with `'open'` what follows is left alone.
   */
  decode(size: number, packed: number, ending: 'exact' | 'marker' | 'open'): void {
    const fail = this.#fail;
    const coder = this.#coder(packed);
    const inEnd = this.inPos + packed;
    const outEnd = this.outPos + size;
    if (outEnd > this.output.length) fail(`it unpacks to more than ${this.output.length} bytes`);
    // one more symbol where it must be the marker
    const loopEnd = ending === 'marker' ? outEnd + 1 : outEnd;
    const posMask = (1 << this.#pb) - 1;
    const budget = this.#budget;
    let isMarked = false;
    while (this.outPos < loopEnd && budget.symbols > 0) {
      const posState = (this.outPos - this.dictStart) & posMask;
      if (coder.bit(IS_MATCH + (this.#state << 4) + posState) === 0) {
        budget.symbols--;
        this.#literal(coder);
        continue;
      }
      budget.symbols -= MATCH_SYMBOLS;
      const isNew = coder.bit(IS_REP + this.#state) === 0;
      const length = isNew ? this.#match(coder, posState) : this.#repeat(coder, posState);
      isMarked = ending === 'marker' && this.#rep0 === END_MARKER;
      if (isMarked) break;
      this.#copy(length, outEnd);
    }
    if (budget.symbols <= 0) fail('it has more symbols than any kernel');
    if (ending === 'marker' && !isMarked) fail(`it unpacks to more than ${outEnd} bytes`);
    const isEmpty = coder.finish();
    if (coder.at > inEnd || (ending === 'exact' && coder.at < inEnd) || (ending !== 'open' && !isEmpty))
      fail(`the data that ends at byte ${inEnd} does not end where its header says`);
    this.inPos = coder.at;
  }

  /** The range decoder of `packed` bytes of input, which begin with a 0. */
  #coder(packed: number): RangeDecoder {
    const { input, inPos } = this;
    const inEnd = inPos + packed;
    if (inEnd > input.length) this.#fail(`it ends at byte ${input.length} inside a chunk that reaches to ${inEnd}`);
    if (packed < 5 || input[inPos] !== 0) this.#fail(`the range coder at byte ${inPos} does not start with 0`);
    return new RangeDecoder(input, inPos + 5, this.#probs);
  }
  #literal(coder: RangeDecoder): void {
    const { output: out, outPos: pos } = this;
    const from = pos - this.dictStart;
    const previous = from > 0 ? out[pos - 1]! : 0;
    const context = ((from & ((1 << this.#lp) - 1)) << this.#lc) + (previous >> (8 - this.#lc));
    const base = LITERAL + 0x300 * context;
    const state = this.#state;
    let symbol = 1;
    if (state >= 7) {
      // behind a match the byte that it would have gone on with takes part, up to the first bit that differs
      let match = out[pos - this.#rep0 - 1]!;
      let offset = 0x100;
      while (symbol < 0x100) {
        match <<= 1;
        const matchBit = match & offset;
        const bit = coder.bit(base + offset + matchBit + symbol);
        symbol = (symbol << 1) | bit;
        offset = bit === 0 ? offset & ~matchBit : offset & matchBit;
      }
    } else while (symbol < 0x100) symbol = (symbol << 1) | coder.bit(base + symbol);
    out[pos] = symbol;
    this.outPos = pos + 1;
    this.#state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
  }
  /** A match at a new distance, which becomes the first of the recent ones; its length. */
  #match(coder: RangeDecoder, posState: number): number {
    this.#rep3 = this.#rep2;
    this.#rep2 = this.#rep1;
    this.#rep1 = this.#rep0;
    this.#state = this.#state < 7 ? 7 : 10;
    const length = lengthOf(coder, MATCH_LEN, posState);
    const slot = coder.tree(DIST_SLOT + (Math.min(length - 2, 3) << 6), 6);
    this.#rep0 = slot;
    if (slot < 4) return length;
    const bits = (slot >> 1) - 1;
    const base = (2 | (slot & 1)) << bits;
    if (slot < 14) this.#rep0 = base + coder.reverseTree(DIST_SPECIAL + base - slot, bits);
    else this.#rep0 = (base + (coder.direct(bits - 4) << 4) + coder.reverseTree(DIST_ALIGN, 4)) >>> 0;
    return length;
  }
  /** A match at one of the recent distances, which becomes the first; its length. */
  #repeat(coder: RangeDecoder, posState: number): number {
    const state = this.#state;
    if (coder.bit(IS_REP0 + state) === 0) {
      if (coder.bit(IS_REP0_LONG + (state << 4) + posState) === 0) {
        this.#state = state < 7 ? 9 : 11;
        return 1;
      }
    } else {
      let distance = this.#rep1;
      if (coder.bit(IS_REP1 + state) === 1) {
        distance = this.#rep2;
        if (coder.bit(IS_REP2 + state) === 1) {
          distance = this.#rep3;
          this.#rep3 = this.#rep2;
        }
        this.#rep2 = this.#rep1;
      }
      this.#rep1 = this.#rep0;
      this.#rep0 = distance;
    }
    this.#state = state < 7 ? 8 : 11;
    return lengthOf(coder, REP_LEN, posState);
  }
  /** Copies `length` bytes from the first recent distance; none behind `outEnd`. */
  #copy(length: number, outEnd: number): void {
    const { output: out, outPos: pos } = this;
    const distance = this.#rep0 + 1;
    const end = pos + length;
    if (distance > pos - this.dictStart) this.#fail(`a match reaches ${distance} bytes back from byte ${pos}`);
    if (end > outEnd) this.#fail(`a match of ${length} bytes at byte ${pos} passes the end of its chunk at ${outEnd}`);
    for (let to = pos, from = pos - distance; to < end; ) out[to++] = out[from++]!;
    this.outPos = end;
  }
}

function lengthOf(coder: RangeDecoder, base: number, posState: number): number {
  if (coder.bit(base + LEN_CHOICE) === 0) return 2 + coder.tree(base + LEN_LOW + (posState << 3), 3);
  if (coder.bit(base + LEN_CHOICE + 1) === 0) return 10 + coder.tree(base + LEN_MID + (posState << 3), 3);
  return 18 + coder.tree(base + LEN_HIGH, 8);
}
