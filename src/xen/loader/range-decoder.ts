/**
 * The range decoder of LZMA: bits by probabilities that learn, and bits of even chance. Reads past the input give 0; whoever decodes
 * compares {@link RangeDecoder.at} with the input's end.
 *
 * Source: the LZMA specification of the LZMA SDK.
 */

/** Below this `range` takes another byte in. */
const TOP = 0x1000000;
/** A probability has 11 bits and moves by a 32nd of what it lacks. */
const PROBABILITY_BITS = 11;
const MOVE_BITS = 5;

export class RangeDecoder {
  readonly #input: Uint8Array;
  readonly #probs: Uint16Array;
  /** Position in the input. */
  at: number;
  /** Int32 with unsigned meaning, as is the code. */
  #range = -1;
  #code: number;

  /** The code's four bytes stand before `at`; indices of bits are those of `probs`. */
  constructor(input: Uint8Array, at: number, probs: Uint16Array) {
    this.#input = input;
    this.#probs = probs;
    this.at = at;
    this.#code = (input[at - 4]! << 24) | (input[at - 3]! << 16) | (input[at - 2]! << 8) | input[at - 1]!;
  }

  #normalize(): void {
    if (this.#range >>> 0 >= TOP) return;
    this.#range <<= 8;
    this.#code = (this.#code << 8) | this.#input[this.at++]!;
  }
  bit(index: number): number {
    this.#normalize();
    const probs = this.#probs;
    const p = probs[index]!;
    const bound = (this.#range >>> PROBABILITY_BITS) * p;
    if (this.#code >>> 0 < bound) {
      this.#range = bound | 0;
      probs[index] = p + (((1 << PROBABILITY_BITS) - p) >> MOVE_BITS);
      return 0;
    }
    this.#range = (this.#range - bound) | 0;
    this.#code = (this.#code - bound) | 0;
    probs[index] = p - (p >> MOVE_BITS);
    return 1;
  }
  /** `bits` bits, the highest first, each by a probability that those before it choose. */
  tree(base: number, bits: number): number {
    let symbol = 1;
    for (let i = 0; i < bits; i++) symbol = (symbol << 1) | this.bit(base + symbol);
    return symbol - (1 << bits);
  }
  /** The same, the lowest bit first. */
  reverseTree(base: number, bits: number): number {
    let symbol = 1;
    let value = 0;
    for (let i = 0; i < bits; i++) {
      const bit = this.bit(base + symbol);
      symbol = (symbol << 1) | bit;
      value |= bit << i;
    }
    return value;
  }
  /** `bits` bits of even chance, the highest first. */
  direct(bits: number): number {
    let value = 0;
    for (let i = 0; i < bits; i++) {
      this.#normalize();
      this.#range >>>= 1;
      const over = this.#code >>> 0 >= this.#range >>> 0 ? 1 : 0;
      if (over) this.#code = (this.#code - this.#range) | 0;
      value = (value << 1) | over;
    }
    return value;
  }
  /** Takes in what belongs to the last bit; whether nothing of the code is left, as at the end of a stream. */
  finish(): boolean {
    this.#normalize();
    return this.#code === 0;
  }
}
