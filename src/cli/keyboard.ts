/**
 * What is typed at a recorded guest: live from the terminal, from a file while the guest waits, by rules that answer its
 * output. When it is typed is up to the recorder, which journals every byte.
 */
import type { InputSource } from './backend.ts';
import type { TypeRule } from './parsers.ts';

const CTRL_C = 0x03;
/** Ctrl-]: the next key is for us, or itself. */
const ESCAPE = 0x1d;
/** Console output a rule may look back on. */
const REMEMBERED = 65_536;
const NOTHING = new Uint8Array(0);

export class Keyboard implements InputSource {
  /** The rules that have not typed yet, in the order given. */
  readonly #rules: TypeRule[];
  readonly #file: Uint8Array;
  #fileAt = 0;
  #seen = '';
  #queue: number[] = [];
  #live = false;
  #wake: () => void = () => {};
  readonly #decoder = new TextDecoder();

  constructor(options: { readonly rules: readonly TypeRule[]; readonly file: Uint8Array | null }) {
    this.#rules = [...options.rules];
    this.#file = options.file ?? NOTHING;
  }

  get live(): boolean {
    return this.#live;
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

  /** The file goes in line by line, so that no guest is given more than it asked for. */
  #queueLine(): void {
    const end = this.#file.indexOf(0x0a, this.#fileAt);
    const next = end < 0 ? this.#file.length : end + 1;
    for (const byte of this.#file.subarray(this.#fileAt, next)) this.#queue.push(byte);
    this.#fileAt = next;
  }

  arrival(stop: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        stop.removeEventListener('abort', done);
        resolve();
      };
      if (stop.aborted || this.#queue.length > 0) return resolve();
      stop.addEventListener('abort', done);
      this.#wake = done;
    });
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
