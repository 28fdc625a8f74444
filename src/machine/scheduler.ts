/**
 * The scheduler socket: which vCPU takes the next step, and for how many it may.
 *
 * The loop asks on reaching a tick, behind timers and payloads: a switch takes no tick. A scheduler is pure: its choice follows
 * from the {@link Turn} in the loop's state and from which vCPUs can run, so that a replay comes to the same one. A machine of one
 * vCPU has nothing to choose and asks nobody.
 */
import { type Infer, integer, struct, u32 } from '../core/schema.ts';

/** Whose turn it is; part of the loop's state. */
export const turnState = struct({
  vcpu: u32,
  /** Steps until the scheduler is asked again; 0 before the first choice. */
  left: integer,
});
export type Turn = Infer<typeof turnState>;

export interface Scheduler {
  /** Whose turn is next, the present one having used its steps or being unable to run; null where nobody can run. */
  next(turn: Turn, runnable: (vcpu: number) => boolean): Turn | null;
}

/** Steps of a turn by {@link RoundRobin}: 50 us of virtual time. */
const QUANTUM_STEPS = 50_000;

/** One vCPU after the other, those that cannot run left out. */
export class RoundRobin implements Scheduler {
  readonly #vcpus: number;
  readonly #quantum: number;

  /** `quantum` steps for each of `vcpus` vCPUs. */
  constructor(vcpus: number, quantum = QUANTUM_STEPS) {
    this.#vcpus = vcpus;
    this.#quantum = quantum;
  }

  next({ vcpu }: Turn, runnable: (vcpu: number) => boolean): Turn | null {
    for (let i = 1; i <= this.#vcpus; i++) {
      const other = (vcpu + i) % this.#vcpus;
      if (runnable(other)) return { vcpu: other, left: this.#quantum };
    }
    return null;
  }
}
