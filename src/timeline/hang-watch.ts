/**
 * Notices a guest that goes on without getting anywhere: no new console output, no new kind of hypercall and no new page of
 * code for the idle limit of virtual time.
 */
import type { Verdict } from '../x86/seam.ts';
import type { Run } from './run.ts';

export class HangWatch {
  readonly #run: Run;
  readonly #limitNs: number;
  #lastNews = 0;
  #written = 0;
  #codePages = 0;
  readonly #calls = new Set<number>();
  #callsSeen = 0;

  constructor(run: Run, limitNs: number) {
    this.#run = run;
    this.#limitNs = limitNs;
    const { xen } = run;
    const before = xen.observer;
    xen.observer = {
      ...before,
      hypercall: (event) => {
        this.#calls.add(event.op);
        before.hypercall?.(event);
      },
    };
  }

  /** The verdict when the limit has passed, else null. */
  look(): Verdict | null {
    const { machine, xen } = this.#run;
    const now = machine.now();
    const written = xen.console.state.written;
    const codePages = machine.engine.cold?.cache.pages ?? 0;
    if (written !== this.#written || codePages !== this.#codePages || this.#calls.size !== this.#callsSeen) {
      this.#written = written;
      this.#codePages = codePages;
      this.#callsSeen = this.#calls.size;
      this.#lastNews = now;
      return null;
    }
    if (now - this.#lastNews < this.#limitNs) return null;
    return { kind: 'hang', message: `nothing new for ${(this.#limitNs / 1e9).toFixed(0)} s of virtual time` };
  }
}
