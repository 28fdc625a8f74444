/**
 * Standard output or standard error, which may stop taking anything at any time: closed by its reader, on a full disk, a terminal
 * that is gone. Then nothing more is written, and whoever wants to know is told; it is never an exception.
 */

/** A reader that has had enough, as `head` has: no failure of the host. */
const CLOSED = new Set(['EPIPE', 'ECONNRESET']);

export class Outlet {
  readonly stream: NodeJS.WriteStream;
  #failure: NodeJS.ErrnoException | null = null;
  #used = false;
  /** Called when it has stopped taking anything. */
  onFailure: () => void = () => {};

  constructor(stream: NodeJS.WriteStream) {
    this.stream = stream;
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (this.#failure !== null) return;
      this.#failure = error;
      this.onFailure();
    });
  }

  /** Nobody reads any more. */
  get closed(): boolean {
    return this.#failure !== null && CLOSED.has(this.#failure.code ?? '');
  }
  /** Why the host does not take what is written; null while it does, and when it is only closed. */
  get failure(): NodeJS.ErrnoException | null {
    return this.closed ? null : this.#failure;
  }

  write(data: string | Uint8Array): void {
    if (this.#failure !== null) return;
    this.#used = true;
    this.stream.write(data);
  }

  /** Resolves once so much has been taken that more may follow, or never will be, or `stop` aborts. */
  ready(stop: AbortSignal): Promise<void> {
    const { stream } = this;
    if (this.#failure !== null || !stream.writableNeedDrain || stop.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        for (const event of ['drain', 'error', 'close']) stream.off(event, done);
        stop.removeEventListener('abort', done);
        resolve();
      };
      for (const event of ['drain', 'error', 'close']) stream.on(event, done);
      stop.addEventListener('abort', done);
    });
  }
  /** Resolves once everything written has been taken, or never will be. */
  flushed(): Promise<void> {
    // /dev/full refuses even nothing
    if (this.#failure !== null || !this.#used) return Promise.resolve();
    return new Promise((resolve) => this.stream.write('', () => resolve()));
  }
}
