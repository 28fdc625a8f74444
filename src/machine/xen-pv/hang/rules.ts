/** How a guest of Xen's that gets nowhere is told from one that works (../../explanation.ts): what it asks Xen for, and its loops. */
import type { VirtAddr } from '../../../core/units.ts';
import { HYPERCALL, SCHEDOP } from '../../../xen/abi/numbers.ts';
import type { XenPv } from '../../../xen/pv/pv.ts';
import type { HangRules, Recurrence, ReentryLimits } from '../../explanation.ts';
import type { Machine } from '../../machine.ts';
import { recurrenceOf } from './recurrence.ts';
import { REENTRY, ReentryWatch } from './reentry.ts';

/** Xen's numbers lie below. */
const NUMBERS = 64;

export class XenHangRules implements HangRules {
  readonly #machine: Machine;
  readonly #reentry: ReentryWatch;
  readonly #calls = new Uint8Array(NUMBERS);
  #news = false;
  #yielded = false;

  constructor(machine: Machine, { stream }: XenPv, limits: ReentryLimits = REENTRY) {
    this.#machine = machine;
    this.#reentry = new ReentryWatch(machine, limits);
    stream.on('hypercall', ({ way, op, args }) => this.#called(way === 'I', op, args[0]!));
    stream.on('trap', (event) => this.#reentry.trapped(event));
    stream.on('upcall', ({ rip }) => this.#reentry.upcalled(rip));
  }

  #called(returns: boolean, op: number, command: bigint): void {
    if (returns) this.#reentry.returned();
    else this.#reentry.called();
    if (op < NUMBERS && this.#calls[op] === 0) {
      this.#calls[op] = 1;
      this.#news = true;
    }
    const schedules = op === HYPERCALL.sched_op || op === HYPERCALL.sched_op_compat;
    if (schedules && command === BigInt(SCHEDOP.yield)) this.#yielded = true;
  }
  tookNews(): boolean {
    const news = this.#news;
    this.#news = false;
    return news;
  }
  tookYields(): boolean {
    const yielded = this.#yielded;
    this.#yielded = false;
    return yielded;
  }
  stuck(nameOf: (address: VirtAddr) => string): string | null {
    const stuck = this.#reentry.stuck();
    return stuck === null ? null : this.#reentry.describe(stuck, nameOf);
  }
  recurrence(most: number): Recurrence {
    return recurrenceOf(this.#machine, most);
  }
}
