/**
 * Numbers and strings in LevelDB's files, little-endian; varints as in leveldb/util/coding.h.
 */

/** Bytes that are not what the format says. */
export class Malformed extends Error {
  override name = 'Malformed';
}
/** Throws {@link Malformed} where the bytes do not say what they must. */
export function need(condition: boolean, why: string): asserts condition {
  if (!condition) throw new Malformed(why);
}

/** Reads from part of a buffer; anything out of its bounds is malformed. */
export class Cursor {
  readonly #bytes: Buffer;
  at: number;
  readonly end: number;

  constructor(bytes: Buffer, at = 0, end = bytes.length) {
    need(at >= 0 && at <= end && end <= bytes.length, 'a part lies outside of it');
    this.#bytes = bytes;
    this.at = at;
    this.end = end;
  }
  get done(): boolean {
    return this.at >= this.end;
  }
  /** A varint below 2^53: nothing that is counted here exceeds that. */
  varint(): number {
    let value = 0;
    for (let scale = 1; scale < 2 ** 63; scale *= 128) {
      need(this.at < this.end, 'a number is cut short');
      const byte = this.#bytes[this.at++]!;
      value += (byte & 127) * scale;
      if (byte < 128) {
        need(Number.isSafeInteger(value), 'a number is too large');
        return value;
      }
    }
    throw new Malformed('a number is too long');
  }
  take(count: number): Buffer {
    need(this.at + count <= this.end, 'a string is cut short');
    this.at += count;
    return this.#bytes.subarray(this.at - count, this.at);
  }
  /** A string with its length before it. */
  string(): Buffer {
    return this.take(this.varint());
  }
  u8(): number {
    return this.take(1)[0]!;
  }
  u32(): number {
    return this.take(4).readUInt32LE();
  }
}
