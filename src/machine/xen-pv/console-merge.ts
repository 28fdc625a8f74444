/**
 * One text of the two ways to a guest's console. On Xen they end in two places: console_io in Xen's log, the ring in the domain's
 * console. A kernel that uses both (an early console, then the whole log again as the ring's driver comes up) says each line twice;
 * here it is told once, when it comes first.
 *
 * Invariants: a line is left out only where the same line has come by the other way before, each such line once; blank lines stay;
 * a line that may yet turn out to be one is held back until it differs or ends. What is remembered is bounded.
 */

/** How bytes came. */
export type ConsoleWay = 'call' | 'ring';

/** Lines that are remembered of each way, and the characters of one. */
const REMEMBERED = 1024;
const LONGEST_LINE = 1024;
const [CR, LF] = [13, 10];

/** Lines that have come by one way and not yet by the other. */
class Lines {
  /** As they came, and sorted. */
  readonly #lines: string[] = [];
  readonly #sorted: string[] = [];

  add(line: string): void {
    this.#lines.push(line);
    this.#sorted.splice(this.#place(line), 0, line);
    if (this.#lines.length > REMEMBERED) this.#sorted.splice(this.#place(this.#lines.shift()!), 1);
  }
  /** Forgets one line like this; false where there is none. */
  take(line: string): boolean {
    const at = this.#place(line);
    if (this.#sorted[at] !== line) return false;
    this.#sorted.splice(at, 1);
    this.#lines.splice(this.#lines.indexOf(line), 1);
    return true;
  }
  /** A line begins with `text`. */
  hasBeginning(text: string): boolean {
    return this.#sorted[this.#place(text)]?.startsWith(text) ?? false;
  }
  /** Index of the first line that does not come before `line`. */
  #place(line: string): number {
    let [low, high] = [0, this.#sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#sorted[middle]! < line) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** What has come by one way of the line that it is in. */
interface Line {
  /** Without carriage returns, up to the longest that is remembered. */
  text: string;
  /** The bytes held back, while the line may be one that has come; null: it is being told. */
  held: number[] | null;
}
const newLine = (): Line => ({ text: '', held: [] });

export class ConsoleMerge {
  readonly #lines: Readonly<Record<ConsoleWay, Lines>> = { call: new Lines(), ring: new Lines() };
  readonly #line: Record<ConsoleWay, Line> = { call: newLine(), ring: newLine() };

  /** What is to be told now that `bytes` have come. */
  add(way: ConsoleWay, bytes: Uint8Array): Uint8Array {
    const out: number[] = [];
    for (const byte of bytes) this.#take(way, byte, out);
    return Uint8Array.from(out);
  }
  /** What is held back, once nothing more comes. */
  rest(): Uint8Array {
    return Uint8Array.from((['call', 'ring'] as const).flatMap((way) => this.#line[way].held?.splice(0) ?? []));
  }

  #take(way: ConsoleWay, byte: number, out: number[]): void {
    const line = this.#line[way];
    const others = this.#lines[way === 'call' ? 'ring' : 'call'];
    if (byte === LF) {
      this.#line[way] = newLine();
      const says = line.text.trim() !== '';
      if (says && line.held !== null && others.take(line.text)) return;
      if (line.held !== null) out.push(...line.held);
      out.push(LF);
      if (says) this.#lines[way].add(line.text);
      return;
    }
    if (byte !== CR && line.text.length < LONGEST_LINE) line.text += String.fromCharCode(byte);
    if (line.held === null) {
      out.push(byte);
      return;
    }
    line.held.push(byte);
    if (line.text.length < LONGEST_LINE && others.hasBeginning(line.text)) return;
    out.push(...line.held);
    line.held = null;
  }
}
