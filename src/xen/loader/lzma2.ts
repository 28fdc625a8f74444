/**
 * LZMA2 decoding: a chunked stream of LZMA, as an xz block carries it.
 *
 * Invariants: the output buffer is the dictionary (a whole block is decoded at once), so a match may reach back to the
 * last dictionary reset and no further; a chunk never writes past the length its header states. Anything else throws
 * an `EmulatorError` E_IMAGE. Literals and matches are decoded in one loop over local variables, because this is
 * where unpacking a kernel spends its time.
 *
 * Source: the LZMA specification and `xz-file-format.txt` of XZ Utils (LZMA2 is described in its source only).
 */

import { EmulatorError } from '../../core/errors.ts';

const fail = (message: string): never => {
  throw new EmulatorError('E_IMAGE', `the xz payload is corrupt: ${message}`);
};

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

/** Decodes one LZMA2 stream at a time; `position` of input and output is kept between chunks. */
export class Lzma2Decoder {
  readonly #in: Uint8Array;
  readonly #out: Uint8Array;
  /** Probabilities; the literal coders are behind {@link LITERAL}. */
  #probs = new Uint16Array(LITERAL + 0x300 * 16).fill(HALF);
  #inPos: number;
  #outPos = 0;
  /** Where the last dictionary reset happened. */
  #dictStart = 0;
  #lc = 0;
  #lp = 0;
  #pb = 0;
  #state = 0;
  #reps: [number, number, number, number] = [0, 0, 0, 0];

  /** Reads `input` from `start` and fills `output`. */
  constructor(input: Uint8Array, start: number, output: Uint8Array) {
    this.#in = input;
    this.#inPos = start;
    this.#out = output;
  }

  /** Bytes written so far. */
  get written(): number {
    return this.#outPos;
  }

  #byte(): number {
    if (this.#inPos >= this.#in.length) fail(`it ends at byte ${this.#in.length} inside an LZMA2 chunk`);
    return this.#in[this.#inPos++]!;
  }

  #resetState(): void {
    this.#probs.fill(HALF);
    this.#state = 0;
    this.#reps = [0, 0, 0, 0];
  }

  #setProperties(byte: number): void {
    if (byte > 224) fail(`LZMA properties ${byte} at byte ${this.#inPos - 1}`);
    this.#lc = byte % 9;
    const rest = (byte - this.#lc) / 9;
    this.#lp = rest % 5;
    this.#pb = (rest - this.#lp) / 5;
    if (this.#lc + this.#lp > 4) fail(`LZMA properties lc ${this.#lc}, lp ${this.#lp} at byte ${this.#inPos - 1}`);
  }

  /** Decodes all chunks and returns the input position behind the end marker. */
  run(): number {
    let needDict = true;
    let needProperties = true;
    let needState = true;
    for (;;) {
      const control = this.#byte();
      if (control === 0) return this.#inPos;
      if (control >= 0xe0 || control === 1) {
        this.#dictStart = this.#outPos;
        needDict = false;
      } else if (needDict) fail(`the first chunk at byte ${this.#inPos - 1} does not reset the dictionary`);
      if (control >= 0x80) {
        const size = ((control & 0x1f) << 16) + (this.#byte() << 8) + this.#byte() + 1;
        const packed = (this.#byte() << 8) + this.#byte() + 1;
        if (control >= 0xc0) {
          this.#setProperties(this.#byte());
          needProperties = false;
        } else if (needProperties) fail(`the chunk at byte ${this.#inPos} has no properties`);
        if (control >= 0xa0) {
          this.#resetState();
          needState = false;
        } else if (needState) fail(`the chunk at byte ${this.#inPos} does not reset the state`);
        this.#lzma(size, packed);
      } else {
        if (control > 2) fail(`chunk type ${control} at byte ${this.#inPos - 1}`);
        this.#copy((this.#byte() << 8) + this.#byte() + 1);
        needState = needState || control === 1;
      }
    }
  }

  #copy(size: number): void {
    if (this.#inPos + size > this.#in.length) fail(`it ends inside an uncompressed chunk at byte ${this.#inPos}`);
    if (this.#outPos + size > this.#out.length) fail(`it unpacks to more than ${this.#out.length} bytes`);
    this.#out.set(this.#in.subarray(this.#inPos, this.#inPos + size), this.#outPos);
    this.#inPos += size;
    this.#outPos += size;
  }

  /** One LZMA chunk: `size` bytes of output from `packed` bytes of input. */
  #lzma(size: number, packed: number): void {
    const input = this.#in;
    const out = this.#out;
    const probs = this.#probs;
    const inEnd = this.#inPos + packed;
    if (inEnd > input.length) fail(`it ends at byte ${input.length} inside a chunk that reaches to ${inEnd}`);
    if (packed < 5 || input[this.#inPos] !== 0) fail(`the range coder at byte ${this.#inPos} does not start with 0`);
    const outEnd = this.#outPos + size;
    if (outEnd > out.length) fail(`it unpacks to more than ${out.length} bytes`);
    const posMask = (1 << this.#pb) - 1;
    const literalMask = (1 << this.#lp) - 1;
    const lc = this.#lc;
    const dictStart = this.#dictStart;
    let pos = this.#outPos;
    let state = this.#state;
    let [rep0, rep1, rep2, rep3] = this.#reps;

    // The range coder. `range` and `code` are int32 with unsigned meaning; reads past the input give undefined = 0
    // and are caught at the end of the chunk, where the position must equal `inEnd`.
    let at = this.#inPos + 5;
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

    while (pos < outEnd) {
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
        state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
        continue;
      }
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
    if (range >>> 0 < 0x1000000) {
      range <<= 8;
      code = (code << 8) | input[at++]!;
    }
    if (at !== inEnd || code !== 0) fail(`the chunk that ends at byte ${inEnd} does not end where its header says`);
    this.#inPos = inEnd;
    this.#outPos = pos;
    this.#state = state;
    this.#reps = [rep0, rep1, rep2, rep3];
  }
}
