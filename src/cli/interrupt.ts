/**
 * What asks a verb to come to an end: signals, and a standard output that takes nothing any more.
 *
 * Signals keep their default, which ends the process at once wherever it is, until there is something to bring to an orderly
 * end: a recording, a prompt. From then on the first one asks. One Ctrl-C may arrive twice (from the terminal and passed on by the
 * process that started us), so only one that comes a second later ends the program at once.
 */
import { constants } from 'node:os';

const SECOND_MS = 1000;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
type Signal = (typeof SIGNALS)[number];

/** Exit status of what a signal ended, as shells count it. */
const statusOf = (signal: Signal | 'SIGPIPE'): number => 128 + constants.signals[signal];

export class Interrupt {
  readonly #controller = new AbortController();
  #first = 0;
  /** Exit status of a verb that has not come to its end. */
  status = statusOf('SIGINT');
  readonly #onSignal = (signal: Signal): void => this.request(statusOf(signal));

  get signal(): AbortSignal {
    return this.#controller.signal;
  }
  /** From here on signals ask for an orderly end. */
  arm(): void {
    for (const signal of SIGNALS) process.on(signal, this.#onSignal);
  }
  /** Somebody wants the work to end. */
  request(status = statusOf('SIGINT')): void {
    const now = performance.now();
    if (!this.signal.aborted) {
      this.#first = now;
      this.status = status;
      this.#controller.abort();
    } else if (now - this.#first > SECOND_MS) process.exit(status);
  }
  /** Standard output is closed: as if the signal that Node keeps from us had come. */
  unheard(): void {
    if (!this.signal.aborted) this.request(statusOf('SIGPIPE'));
  }
  /** Leaves the signals to their defaults again. */
  release(): void {
    for (const signal of SIGNALS) process.off(signal, this.#onSignal);
  }
}
