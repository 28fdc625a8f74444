/**
 * Notices a guest that goes on without getting anywhere: no new console output, no new kind of hypercall and no new page of
 * code for the idle limit of virtual time.
 */
import type { Verdict } from '../x86/seam.ts';
import { HYPERCALL } from '../xen/abi/numbers.ts';
import type { Run } from './run.ts';

export class HangWatch {
  readonly #run: Run;
  readonly #limitNs: number;
  #lastNews = 0;
  #written = 0;
  #codePages = 0;
  readonly #calls = new Set<number>();
  #callsSeen = 0;
  #yielded = false;

  constructor(run: Run, limitNs: number) {
    this.#run = run;
    this.#limitNs = limitNs;
    const { xen } = run;
    const before = xen.observer;
    xen.observer = {
      ...before,
      hypercall: (event) => {
        this.#calls.add(event.op);
        const schedules = event.op === HYPERCALL.sched_op || event.op === HYPERCALL.sched_op_compat;
        if (schedules && event.args[0] === 0n) this.#yielded = true;
        before.hypercall?.(event);
      },
    };
  }

  /** Whether the guest has yielded since the last time this was asked. */
  tookYields(): boolean {
    const yielded = this.#yielded;
    this.#yielded = false;
    return yielded;
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
