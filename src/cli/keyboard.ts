/**
 * What is typed at a recorded guest: live from the terminal, from a file or a pipe while the guest waits, by rules that answer its
 * output. When it is typed is up to the recorder, which journals every byte.
 */
import { fstatSync } from 'node:fs';
import type { InputSource } from './backend.ts';
import type { TypeRule } from './parsers.ts';

const CTRL_C = 0x03;
/** Ctrl-]: the next key is for us, or itself. */
const ESCAPE = 0x1d;
/** Console output a rule may look back on. */
const REMEMBERED = 65_536;
/** Bytes from a pipe that are kept; then its writer waits. */
const KEPT = 65_536;
/** A line that is longer is typed in pieces. */
const LINE = 4096;
const NOTHING = new Uint8Array(0);

/** Text that is typed line by line, so that no guest is given more than it asked for. */
class Lines {
  #text: Uint8Array;
  constructor(text: Uint8Array) {
    this.#text = text;
  }
  get bytes(): number {
    return this.#text.length;
  }
  add(bytes: Uint8Array): void {
    this.#text = Buffer.concat([this.#text, bytes]);
  }
  /** The next line, or all there is where it has no end yet. */
  next(): Uint8Array {
    const end = this.#text.subarray(0, LINE).indexOf(0x0a);
    const line = this.#text.subarray(0, end < 0 ? LINE : end + 1);
    this.#text = this.#text.subarray(line.length);
    return line;
  }
}

/** Standard input that is no terminal and yet somebody's: a pipe, a file, a socket, but not /dev/null. */
export function isPiped(stdin: NodeJS.ReadStream & { readonly fd?: number }): boolean {
  if (stdin.isTTY) return false;
  if (stdin.fd === undefined) return true;
  try {
    const stats = fstatSync(stdin.fd);
    return stats.isFIFO() || stats.isFile() || stats.isSocket();
  } catch {
    return false;
  }
}

export class Keyboard implements InputSource {
  /** The rules that have not typed yet, in the order given. */
  readonly #rules: TypeRule[];
  readonly #file: Lines;
  readonly #pipe = new Lines(NOTHING);
  #open = false;
  /** Lets the writer of the pipe go on. */
  #more: () => void = () => {};
  #seen = '';
  #queue: number[] = [];
  #live = false;
  #wake: () => void = () => {};
  readonly #decoder = new TextDecoder();

  constructor(options: { readonly rules: readonly TypeRule[]; readonly file: Uint8Array | null }) {
    this.#rules = [...options.rules];
    this.#file = new Lines(options.file ?? NOTHING);
  }

  get live(): boolean {
    return this.#live;
  }
  get open(): boolean {
    return this.#open;
  }
  /** The rules that have typed nothing, as they were given. */
  get unmatched(): string[] {
    return this.#rules.map(({ rule }) => rule);
  }

  /** The guest wrote: the first rule left that matches types its text, once, and what came before is forgotten. */
  saw(bytes: Uint8Array): void {
    if (this.#rules.length === 0) return;
    this.#seen = (this.#seen + this.#decoder.decode(bytes, { stream: true })).slice(-REMEMBERED);
    for (let again = true; again; ) {
      again = false;
      for (const [i, { pattern, text }] of this.#rules.entries()) {
        const match = pattern.exec(this.#seen);
        if (match === null) continue;
        this.#rules.splice(i, 1);
        this.#seen = this.#seen.slice(match.index + Math.max(match[0].length, 1));
        this.press(new TextEncoder().encode(text));
        again = true;
        break;
      }
    }
  }

  /** Keys to type as soon as possible. */
  press(bytes: Uint8Array): void {
    for (const byte of bytes) this.#queue.push(byte);
    this.#wake();
  }

  take(waiting: boolean): Uint8Array {
    if (this.#queue.length === 0 && waiting) this.#queueLine();
    if (this.#queue.length === 0) return NOTHING;
    return Uint8Array.from(this.#queue.splice(0));
  }

  #queueLine(): void {
    const line = this.#file.bytes > 0 ? this.#file.next() : this.#pipe.next();
    for (const byte of line) this.#queue.push(byte);
    if (this.#pipe.bytes < KEPT) this.#more();
  }

  arrival(stop: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        stop.removeEventListener('abort', done);
        resolve();
      };
      if (stop.aborted || this.#queue.length > 0 || this.#pipe.bytes > 0) return resolve();
      stop.addEventListener('abort', done);
      this.#wake = done;
    });
  }

  /** Types what comes from a pipe or file, a line whenever the guest waits, until it ends or the result is called. */
  follow(stdin: NodeJS.ReadStream): () => void {
    this.#open = true;
    this.#more = () => stdin.resume();
    const onData = (data: Buffer): void => {
      this.#pipe.add(data);
      if (this.#pipe.bytes >= KEPT) stdin.pause();
      this.#wake();
    };
    const onEnd = (): void => {
      this.#open = false;
      this.#more = () => {};
      this.#wake();
    };
    stdin.on('data', onData);
    // a folder, a device that is gone: an end like another
    for (const event of ['end', 'close', 'error']) stdin.on(event, onEnd);
    stdin.resume();
    return () => {
      onEnd();
      stdin.off('data', onData);
      stdin.pause();
    };
  }

  /**
   * Types what comes from a terminal until the result is called. In raw mode: Ctrl-C calls `quit`; Ctrl-] then c types
   * a Ctrl-C, Ctrl-] then q calls `quit`, Ctrl-] twice types one.
   */
  attach(stdin: NodeJS.ReadStream, quit: () => void): () => void {
    this.#live = true;
    stdin.setRawMode(true);
    let escaped = false;
    const onData = (data: Buffer): void => {
      const keys: number[] = [];
      for (const byte of data) {
        if (escaped) {
          escaped = false;
          if (byte === ESCAPE) keys.push(ESCAPE);
          else if (byte === 0x63 || byte === CTRL_C) keys.push(CTRL_C);
          else if (byte === 0x71) quit();
        } else if (byte === ESCAPE) escaped = true;
        else if (byte === CTRL_C) quit();
        else keys.push(byte);
      }
      if (keys.length > 0) this.press(Uint8Array.from(keys));
    };
    stdin.on('data', onData);
    stdin.resume();
    return () => {
      this.#live = false;
      stdin.off('data', onData);
      stdin.setRawMode(false);
      stdin.pause();
      this.#wake();
    };
  }
}
