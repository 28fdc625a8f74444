/**
 * What the guest wrote to its console and when: an index that predicates on the console are answered from. It is observed,
 * not state: no hash covers it, and a replay makes it again.
 *
 * Invariants: the log has a bounded size whatever a guest prints: of a long output its beginning and its end are kept, with a
 * line in between that says so; what is kept has the tick of each of its bytes; the text at a tick begins with the text at
 * every tick before.
 */
import { bytes, decode, encode, integer, struct, Writer } from '../core/schema.ts';
import type { Tick } from '../core/units.ts';

/** Bytes kept of the output's beginning and of its end. */
export const HEAD_BYTES = 1 << 19;
export const TAIL_BYTES = 1 << 19;
/** The end lies behind the beginning in memory, with room to grow before it has to be moved. */
const MOST_BYTES = HEAD_BYTES + 2 * TAIL_BYTES;

const schema = struct({
  knownTo: integer,
  /** Bytes written, and the first tick whose state has more than the beginning. */
  written: integer,
  pastHead: integer,
  head: bytes,
  tail: bytes,
  /** For each tick at which output became visible: ticks and bytes since the one before, seven bits a byte. */
  marks: bytes,
});

/** Name of the snapshot section that carries the log; not a state section. */
export const CONSOLE_SECTION = 'observed console';

export class ConsoleLog {
  /** The beginning, and from HEAD_BYTES on the end from before `#tailStart` to `#used`. */
  #bytes = new Uint8Array(4096);
  #used = 0;
  #tailStart = HEAD_BYTES;
  #written = 0;
  #knownTo: Tick = 0;
  /** The ticks at which output became visible, ascending, and the bytes written up to each. */
  #ticks: Tick[] = [];
  #ends: number[] = [];
  /** How many of them end in the beginning, and the tick of the next one, 0 while there is none. */
  #headMarks = 0;
  #pastHead: Tick = 0;
  /** The text made last, up to which byte, and of how many. */
  #text = '';
  #textEnd = 0;
  #textOf = 0;

  /** Everything up to this tick is in the log. */
  get knownTo(): Tick {
    return this.#knownTo;
  }
  /** Notes output that the state at `tick` has first; what is known already is passed over. */
  add(tick: Tick, data: Uint8Array): void {
    if (tick <= this.#knownTo || data.length === 0) return;
    const inHead = Math.min(data.length, Math.max(0, HEAD_BYTES - this.#written));
    this.#append(data.subarray(0, inHead));
    for (let at = inHead; at < data.length; at += TAIL_BYTES) this.#append(data.subarray(at, at + TAIL_BYTES));
    this.#mark(tick);
  }
  /** The run has come to `tick`: nothing more will be added for states up to it. */
  reached(tick: Tick): void {
    this.#knownTo = Math.max(this.#knownTo, tick);
  }

  /** Appends at most TAIL_BYTES. */
  #append(data: Uint8Array): void {
    if (this.#used + data.length > MOST_BYTES) this.#moveTail();
    if (this.#used + data.length > this.#bytes.length) {
      const bigger = new Uint8Array(Math.min(MOST_BYTES, Math.max(this.#used + data.length, this.#bytes.length * 2)));
      bigger.set(this.#bytes);
      this.#bytes = bigger;
    }
    this.#bytes.set(data, this.#used);
    this.#used += data.length;
    this.#written += data.length;
    this.#tailStart = Math.max(this.#tailStart, this.#used - TAIL_BYTES);
  }
  /** Moves the end to the front of its room and drops the marks of what is not kept. */
  #moveTail(): void {
    this.#bytes.copyWithin(HEAD_BYTES, this.#tailStart, this.#used);
    this.#used -= this.#tailStart - HEAD_BYTES;
    this.#tailStart = HEAD_BYTES;
    const count = this.#firstKept() - this.#headMarks;
    this.#ticks.splice(this.#headMarks, count);
    this.#ends.splice(this.#headMarks, count);
  }
  #mark(tick: Tick): void {
    const last = this.#ticks.length - 1;
    if (this.#ticks[last] === tick) this.#ends[last] = this.#written;
    else {
      this.#ticks.push(tick);
      this.#ends.push(this.#written);
    }
    if (this.#written <= HEAD_BYTES) this.#headMarks = this.#ticks.length;
    else if (this.#pastHead === 0) {
      this.#headMarks = this.#ticks.length - 1;
      this.#pastHead = tick;
    }
  }

  /** Position of the first byte of the end that is kept. */
  get #tailFrom(): number {
    return this.#written - (Math.max(this.#used, this.#tailStart) - this.#tailStart);
  }
  /** Index of the first mark behind the beginning that some kept byte has. */
  #firstKept(): number {
    const from = this.#tailFrom;
    let [low, high] = [this.#headMarks, this.#ends.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#ends[middle]! <= from) low = middle + 1;
      else high = middle;
    }
    return low;
  }
  /** Bytes that the state at `tick` has, as far as the marks tell. */
  #endAt(tick: Tick): number {
    let [low, high] = [0, this.#ticks.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#ticks[middle]! <= tick) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? 0 : this.#ends[low - 1]!;
  }

  /** Bytes left out between beginning and end. */
  get leftOut(): number {
    return Math.max(0, this.#tailFrom - HEAD_BYTES);
  }
  /** The text written up to the state at `tick`; bytes that are no UTF-8 become U+FFFD, a character at its end has come whole. */
  textAt(tick: Tick): string {
    const past = this.leftOut > 0 && tick >= this.#pastHead;
    const end = past ? Math.max(this.#endAt(tick), this.#tailFrom) : this.#endAt(tick);
    if (end !== this.#textEnd || this.#textOf !== this.#written) {
      this.#text = this.#textTo(end);
      this.#textEnd = end;
      this.#textOf = this.#written;
    }
    return this.#text;
  }
  #textTo(end: number): string {
    const decoder = new TextDecoder();
    const head = decoder.decode(this.#bytes.subarray(0, Math.min(end, HEAD_BYTES, this.#used)), { stream: true });
    if (end <= HEAD_BYTES) return head;
    const from = this.#tailFrom;
    const tail = this.#bytes.subarray(this.#tailStart, this.#tailStart + end - from);
    if (this.leftOut === 0) return head + decoder.decode(tail, { stream: true });
    const note = `\n[${this.leftOut} bytes of console output are not kept]\n`;
    return head + note + new TextDecoder().decode(tail, { stream: true });
  }
  /** The ticks at which output that is kept became visible, ascending. */
  get ticks(): Tick[] {
    const tail = this.#ticks.slice(this.#firstKept());
    const gap = this.leftOut > 0 && tail[0] !== this.#pastHead ? [this.#pastHead] : [];
    return [...this.#ticks.slice(0, this.#headMarks), ...gap, ...tail];
  }

  /** The log as bytes, at most about 3 MiB. */
  encode(): Uint8Array {
    const first = this.#firstKept();
    const marks = new Writer();
    let [tick, end] = [0, 0];
    for (let i = 0; i < this.#ticks.length; i++) {
      if (i >= this.#headMarks && i < first) continue;
      putNumber(marks, this.#ticks[i]! - tick);
      putNumber(marks, this.#ends[i]! - end);
      [tick, end] = [this.#ticks[i]!, this.#ends[i]!];
    }
    return encode(schema, {
      knownTo: this.#knownTo,
      written: this.#written,
      pastHead: this.#pastHead,
      head: this.#bytes.subarray(0, Math.min(this.#used, HEAD_BYTES)),
      tail: this.#bytes.subarray(this.#tailStart, Math.max(this.#used, this.#tailStart)),
      marks: marks.finish(),
    });
  }
  /** Takes over a stored log when it knows more; RangeError for bytes that are none. */
  load(data: Uint8Array): void {
    const { knownTo, written, pastHead, head, tail, marks } = decode(schema, data);
    if (knownTo <= this.#knownTo) return;
    const whole = tail.length === 0 ? head.length <= HEAD_BYTES : head.length === HEAD_BYTES;
    if (!whole || tail.length > TAIL_BYTES || head.length + tail.length > written)
      throw new RangeError('the console log is no console log');
    this.#bytes = new Uint8Array(tail.length > 0 ? HEAD_BYTES + tail.length : Math.max(head.length, 1));
    this.#bytes.set(head);
    if (tail.length > 0) this.#bytes.set(tail, HEAD_BYTES);
    this.#used = tail.length > 0 ? HEAD_BYTES + tail.length : head.length;
    this.#tailStart = HEAD_BYTES;
    [this.#knownTo, this.#written, this.#pastHead] = [knownTo, written, pastHead];
    [this.#ticks, this.#ends, this.#headMarks] = [[], [], 0];
    let [tick, end] = [0, 0];
    for (const at = { at: 0 }; at.at < marks.length; ) {
      tick += getNumber(marks, at);
      end += getNumber(marks, at);
      this.#ticks.push(tick);
      this.#ends.push(end);
      if (end <= HEAD_BYTES) this.#headMarks++;
    }
    this.#textEnd = -1;
  }
}

/** Appends a number below 2^53, seven bits a byte, the lowest first. */
function putNumber(out: Writer, value: number): void {
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) out.u8((rest % 128) | 128);
  out.u8(rest);
}
/** Reads what {@link putNumber} wrote and moves `at`. */
function getNumber(from: Uint8Array, at: { at: number }): number {
  let [value, weight] = [0, 1];
  for (;;) {
    const byte = from[at.at++];
    if (byte === undefined || weight > 2 ** 49) throw new RangeError('a number of the console log has no end');
    value += (byte & 127) * weight;
    if (byte < 128) return value;
    weight *= 128;
  }
}
