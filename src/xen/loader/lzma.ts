/**
 * LZMA decoding, the part that LZMA2 chunks (xz) and the older `.lzma` files share: properties, state, range decoder.
 *
 * Invariants: the output buffer is the dictionary (everything is decoded at once), so a match may reach back to the last
 * dictionary reset and no further; no byte is written behind the end that the caller names, and every turn of the loop
 * writes one or ends it. Anything else throws an `EmulatorError` E_IMAGE. Literals and matches are decoded in one loop
 * over local variables, because this is where unpacking a kernel spends its time.
 *
 * Source: the LZMA specification of the LZMA SDK.
 */

import { corrupt } from './limits.ts';

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
  #reps: [number, number, number, number] = [0, 0, 0, 0];

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
    this.#reps = [0, 0, 0, 0];
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
    const input = this.input;
    const out = this.output;
    const probs = this.#probs;
    const inEnd = this.inPos + packed;
    if (inEnd > input.length) fail(`it ends at byte ${input.length} inside a chunk that reaches to ${inEnd}`);
    if (packed < 5 || input[this.inPos] !== 0) fail(`the range coder at byte ${this.inPos} does not start with 0`);
    const outEnd = this.outPos + size;
    if (outEnd > out.length) fail(`it unpacks to more than ${out.length} bytes`);
    // one more symbol where it must be the marker
    const loopEnd = ending === 'marker' ? outEnd + 1 : outEnd;
    let isMarked = false;
    const posMask = (1 << this.#pb) - 1;
    const literalMask = (1 << this.#lp) - 1;
    const lc = this.#lc;
    const dictStart = this.dictStart;
    let pos = this.outPos;
    let state = this.#state;
    let symbolsLeft = this.#budget.symbols;
    let [rep0, rep1, rep2, rep3] = this.#reps;

    // The range coder. `range` and `code` are int32 with unsigned meaning; reads past the input give undefined = 0
    // and are caught at the end, where the position may not be behind `inEnd`.
    let at = this.inPos + 5;
    let range = -1;
    let code = (input[at - 4]! << 24) | (input[at - 3]! << 16) | (input[at - 2]! << 8) | input[at - 1]!;
    const bit = (index: number): number => {
      if (range >>> 0 < 0x1000000) {
        range <<= 8;
        code = (code << 8) | input[at++]!;
      }
      const p = probs[index]!;
      const bound = (range >>> 11) * p;
      if (code >>> 0 < bound) {
        range = bound | 0;
        probs[index] = p + ((2048 - p) >> 5);
        return 0;
      }
      range = (range - bound) | 0;
      code = (code - bound) | 0;
      probs[index] = p - (p >> 5);
      return 1;
    };
    const tree = (base: number, bits: number): number => {
      let symbol = 1;
      for (let i = 0; i < bits; i++) symbol = (symbol << 1) | bit(base + symbol);
      return symbol - (1 << bits);
    };
    const reverseTree = (base: number, bits: number): number => {
      let symbol = 1;
      let value = 0;
      for (let i = 0; i < bits; i++) {
        const b = bit(base + symbol);
        symbol = (symbol << 1) | b;
        value |= b << i;
      }
      return value;
    };
    const length = (base: number, posState: number): number => {
      if (bit(base + LEN_CHOICE) === 0) return 2 + tree(base + LEN_LOW + (posState << 3), 3);
      if (bit(base + LEN_CHOICE + 1) === 0) return 10 + tree(base + LEN_MID + (posState << 3), 3);
      return 18 + tree(base + LEN_HIGH, 8);
    };

    while (pos < loopEnd && symbolsLeft > 0) {
      const posState = (pos - dictStart) & posMask;
      if (bit(IS_MATCH + (state << 4) + posState) === 0) {
        const previous = pos > dictStart ? out[pos - 1]! : 0;
        const base = LITERAL + 0x300 * ((((pos - dictStart) & literalMask) << lc) + (previous >> (8 - lc)));
        let symbol = 1;
        if (state >= 7) {
          let match = out[pos - rep0 - 1]!;
          let offset = 0x100;
          while (symbol < 0x100) {
            match <<= 1;
            const matchBit = match & offset;
            if (bit(base + offset + matchBit + symbol) === 0) {
              symbol <<= 1;
              offset &= ~matchBit;
            } else {
              symbol = (symbol << 1) | 1;
              offset &= matchBit;
            }
          }
        } else while (symbol < 0x100) symbol = (symbol << 1) | bit(base + symbol);
        out[pos++] = symbol;
        symbolsLeft--;
        state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
        continue;
      }
      symbolsLeft -= MATCH_SYMBOLS;
      let len: number;
      if (bit(IS_REP + state) === 0) {
        rep3 = rep2;
        rep2 = rep1;
        rep1 = rep0;
        state = state < 7 ? 7 : 10;
        len = length(MATCH_LEN, posState);
        const slot = tree(DIST_SLOT + (len < 6 ? (len - 2) << 6 : 3 << 6), 6);
        if (slot < 4) rep0 = slot;
        else {
          const bits = (slot >> 1) - 1;
          rep0 = (2 | (slot & 1)) << bits;
          if (slot < 14) rep0 += reverseTree(DIST_SPECIAL + rep0 - slot, bits);
          else {
            let direct = 0;
            for (let i = bits - 4; i > 0; i--) {
              if (range >>> 0 < 0x1000000) {
                range <<= 8;
                code = (code << 8) | input[at++]!;
              }
              range >>>= 1;
              const over = code >>> 0 >= range >>> 0 ? 1 : 0;
              if (over) code = (code - range) | 0;
              direct = (direct << 1) | over;
            }
            rep0 = (rep0 + (direct << 4) + reverseTree(DIST_ALIGN, 4)) >>> 0;
            if (rep0 === END_MARKER && ending === 'marker') {
              isMarked = true;
              break;
            }
          }
        }
      } else {
        if (bit(IS_REP0 + state) === 0) {
          if (bit(IS_REP0_LONG + (state << 4) + posState) === 0) {
            state = state < 7 ? 9 : 11;
            if (rep0 >= pos - dictStart) fail(`a match reaches ${rep0 + 1} bytes back from byte ${pos}`);
            out[pos] = out[pos - rep0 - 1]!;
            pos++;
            continue;
          }
        } else {
          let distance = rep1;
          if (bit(IS_REP1 + state) === 1) {
            distance = rep2;
            if (bit(IS_REP2 + state) === 1) {
              distance = rep3;
              rep3 = rep2;
            }
            rep2 = rep1;
          }
          rep1 = rep0;
          rep0 = distance;
        }
        state = state < 7 ? 8 : 11;
        len = length(REP_LEN, posState);
      }
      if (rep0 >= pos - dictStart) fail(`a match reaches ${rep0 + 1} bytes back from byte ${pos}`);
      if (pos + len > outEnd) fail(`a match of ${len} bytes at byte ${pos} passes the end of its chunk at ${outEnd}`);
      for (let from = pos - rep0 - 1, end = pos + len; pos < end; ) out[pos++] = out[from++]!;
    }
    if (symbolsLeft <= 0) fail('it has more symbols than any kernel');
    if (ending === 'marker' && !isMarked) fail(`it unpacks to more than ${outEnd} bytes`);
    if (range >>> 0 < 0x1000000) {
      range <<= 8;
      code = (code << 8) | input[at++]!;
    }
    if (at > inEnd || (ending === 'exact' && at < inEnd) || (ending !== 'open' && code !== 0))
      fail(`the data that ends at byte ${inEnd} does not end where its header says`);
    this.inPos = at;
    this.outPos = pos;
    this.#state = state;
    this.#budget.symbols = symbolsLeft;
    this.#reps = [rep0, rep1, rep2, rep3];
  }
}
