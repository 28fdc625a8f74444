/**
 * Where the program writes to, as the verbs see it: stdout belongs to the answer, with `--json` to exactly one JSON value;
 * console, progress and hints then go to stderr. Colours and progress bars appear on terminals only.
 *
 * Invariant: of what passes here, only the guest's console and our own colours can control a terminal.
 */
import { randomInt } from 'node:crypto';
import { inspect, styleText } from 'node:util';
import { type Paint, PLAIN } from '../inspect/render.ts';
import type { ReportProgress } from './backend.ts';
import { failureOf } from './exit.ts';
import { toJson } from './json.ts';
import type { Outlet } from './outlet.ts';
import { visible } from './visible.ts';

/** The streams a program runs on; tests hand in their own. */
export interface Streams {
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
}

const MAX_WIDTH = 110;

/** What begins a colour of ours on its way to the terminal: drawn by each process, so that nothing recorded before can contain it. */
const OWN = `\x1b[${randomInt(2 ** 47)};`;

/** A line as it is printed: our colours as they are, all else visible. */
function printed(line: string): string {
  const [first = '', ...rest] = line.split(OWN);
  const coloured = rest.map((part) => {
    const [code = ''] = /^\d+m/.exec(part) ?? [];
    return `\x1b[${code}${visible(part.slice(code.length))}`;
  });
  return visible(first) + coloured.join('');
}
const printedLines = (lines: readonly string[]): string => `${lines.map(printed).join('\n')}\n`;

const colours = (stream: NodeJS.WriteStream): Paint => {
  if (styleText('red', 'x', { stream }) === 'x') return PLAIN;
  const style = (name: keyof Paint): ((text: string) => string) => {
    const [on, off] = inspect.colors[name];
    return (text) => `${OWN}${on}m${text}${OWN}${off}m`;
  };
  return {
    bold: style('bold'),
    dim: style('dim'),
    red: style('red'),
    green: style('green'),
    yellow: style('yellow'),
    cyan: style('cyan'),
  };
};

export class Terminal {
  readonly stdin: NodeJS.ReadStream;
  readonly json: boolean;
  /** For the answer on stdout. */
  readonly paint: Paint;
  /** For what goes beside it. */
  readonly asidePaint: Paint;
  readonly #stdout: Outlet;
  readonly #stderr: Outlet;
  #answered = false;

  constructor(stdin: NodeJS.ReadStream, stdout: Outlet, stderr: Outlet, json: boolean) {
    this.stdin = stdin;
    this.json = json;
    this.#stdout = stdout;
    this.#stderr = stderr;
    this.paint = this.stdout.isTTY && !json ? colours(this.stdout) : PLAIN;
    this.asidePaint = this.#aside.stream.isTTY ? colours(this.#aside.stream) : PLAIN;
  }

  /** For who has to draw on it. */
  get stdout(): NodeJS.WriteStream {
    return this.#stdout.stream;
  }
  /** Nobody reads standard output any more. */
  get closed(): boolean {
    return this.#stdout.closed;
  }
  /** Where guest output goes. */
  get #aside(): Outlet {
    return this.json ? this.#stderr : this.#stdout;
  }
  get width(): number {
    // a terminal that was never told its size says 0
    return Math.min(this.stdout.columns || 100, MAX_WIDTH);
  }

  /** Prints the answer: `value` as JSON, or the lines for a person. */
  answer(value: unknown, lines: () => readonly string[]): void {
    this.#answered = true;
    this.#stdout.write(this.json ? toJson(value) : printedLines(lines()));
  }
  /**
   * Prints a long answer as it comes, waiting for the reader: the members of `head` and the list `name` as one JSON value, or lines
   * for a person. How many there were; a failure half-way ends the JSON with what it was.
   */
  async answerList<T>(
    head: object,
    name: string,
    batches: AsyncIterable<readonly T[]>,
    lines: (batch: readonly T[]) => readonly string[],
    stop: AbortSignal,
  ): Promise<number> {
    let count = 0;
    let end = ']}\n';
    try {
      for await (const batch of batches) {
        const items = batch.map((item) => toJson(item).trimEnd()).join(',');
        const open = count === 0 ? `${toJson(head).trimEnd().slice(0, -1)},${toJson(name).trimEnd()}:[` : ',';
        count += batch.length;
        this.#answered = true;
        this.#stdout.write(this.json ? open + items : printedLines(lines(batch)));
        await this.#stdout.ready(stop);
        if (this.closed) break;
      }
    } catch (error) {
      const { code, message } = failureOf(error);
      end = `],"error":${toJson({ code, message }).trimEnd()}}\n`;
      throw error;
    } finally {
      if (this.json && count > 0) this.#stdout.write(end);
    }
    if (count === 0) this.answer({ ...head, [name]: [] }, () => [`no such ${name.replace(/s$/, '')}`]);
    return count;
  }
  /** With --json every end prints a value, a failure too. */
  get answered(): boolean {
    return this.#answered;
  }

  /** Prints beside the answer: hints and the story of a demo. */
  aside(line: string): void {
    this.#aside.write(printedLines([line]));
  }
  /** Tells of something that went wrong, on stderr. */
  complain(line: string): void {
    this.#stderr.write(printedLines([line]));
  }
  /** Bytes the guest wrote to its console, passed on as they are: a live one, or the same again. */
  readonly guest = (bytes: Uint8Array): void => {
    this.#aside.write(bytes);
  };
  /** A line of Xen's console. */
  readonly log = (line: string): void => {
    this.aside(this.asidePaint.dim(line));
  };

  /** Resolves once what the guest wrote has been taken, or never will be, or `stop` aborts. */
  shown(stop: AbortSignal): Promise<void> {
    return this.#aside.ready(stop);
  }

  /** Runs `work` with a bar on stderr; without a terminal, silently. */
  async working<T>(label: string, work: (progress: ReportProgress) => Promise<T>): Promise<T> {
    const { stream } = this.#stderr;
    if (!stream.isTTY) return work(() => {});
    const { Presets, SingleBar } = (await import('cli-progress')).default;
    const bar = new SingleBar(
      {
        stream,
        format: `${label} {bar} {percentage}% {eta_formatted}`,
        clearOnComplete: true,
        etaBuffer: 20,
      },
      Presets.rect,
    );
    let started = false;
    try {
      return await work((done, total) => {
        if (total === null || total <= 0) return;
        if (!started) bar.start(total, 0);
        started = true;
        bar.setTotal(total);
        bar.update(Math.min(done, total));
      });
    } finally {
      if (started) bar.stop();
    }
  }
}
