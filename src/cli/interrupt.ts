/**
 * Ctrl-C and SIGTERM: the first asks the work to come to an orderly end. One Ctrl-C may arrive twice (from the terminal and
 * passed on by the process that started us), so only one that comes a second later ends the program at once.
 */
const SECOND_MS = 1000;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export class Interrupt {
  readonly #controller = new AbortController();
  #first = 0;
  readonly #onSignal = (): void => this.request();

  constructor() {
    for (const signal of SIGNALS) process.on(signal, this.#onSignal);
  }
  get signal(): AbortSignal {
    return this.#controller.signal;
  }
  /** Somebody wants the work to end. */
  request(): void {
    const now = performance.now();
    if (!this.signal.aborted) {
      this.#first = now;
      this.#controller.abort();
    } else if (now - this.#first > SECOND_MS) process.exit(130);
  }
  /** Leaves the signals to their defaults again. */
  release(): void {
    for (const signal of SIGNALS) process.off(signal, this.#onSignal);
  }
}
