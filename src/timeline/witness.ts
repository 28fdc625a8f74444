/**
 * Two machines run the same window, each in a tier of its own: the first instruction that they execute differently is found
 * by halving.
 *
 * Invariant: both start from the same checkpoint and hear the same journal, so that whatever differs is the engine's doing.
 */
import type { Tick, VirtAddr } from '../core/units.ts';
import { type Checkpoint, PageVersions } from './checkpoints.ts';
import type { ReplayDoor } from './journal.ts';
import { BREATH_TICKS, type Run } from './run.ts';

/** What two machines did differently. */
export interface Difference {
  /** The tick after the step that they execute differently. */
  readonly tick: Tick;
  /** Whose turn it was, and the place of the instruction. */
  readonly vcpu: number;
  readonly rip: VirtAddr;
  /** Key of the instruction's form; null where there is none to decode. */
  readonly form: string | null;
  /** Parts of the state that differ after it. */
  readonly components: readonly string[];
}

/** Lets the host's events happen, between two slices; throws where the work is to end. */
type Breathe = () => Promise<void>;

/** A machine that can be taken to any tick of a window. */
export class Track {
  readonly run: Run;
  readonly #versions: PageVersions;
  readonly #door: ReplayDoor;

  constructor(run: Run, versions: PageVersions, door: ReplayDoor) {
    this.run = run;
    this.#versions = versions;
    this.#door = door;
    run.machine.door = door;
  }
  /** A machine as built, which is given its states by {@link start}. */
  static of(run: Run, door: ReplayDoor): Track {
    return new Track(run, new PageVersions(run.tracker), door);
  }

  /** Puts the machine into a checkpoint's state, which may be another machine's. */
  start(checkpoint: Checkpoint): void {
    this.#versions.restore(checkpoint, true);
    this.#door.seek(checkpoint.tick);
  }
  take(): Checkpoint {
    return this.#versions.take();
  }
  /** Runs to `tick`; what keeps it from coming there, or null. A machine that is not the recorded one may come to anything. */
  async to(tick: Tick, breathe: Breathe): Promise<string | null> {
    for (;;) {
      const failure = this.#slice(tick);
      if (failure !== null || this.run.tick === tick) return failure;
      await breathe();
    }
  }
  /** Runs a slice of the way to `tick`; what keeps it from coming there, or null. */
  #slice(tick: Tick): string | null {
    try {
      const end = this.run.slice(Math.min(tick, this.run.tick + BREATH_TICKS));
      if (end.kind === 'limit' || this.run.tick === tick) return null;
      return end.kind === 'stop' ? `ended (${end.stop.verdict.kind})` : 'stood still';
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }
  /** Hashes of the parts of the state, or what kept the machine from `tick`. */
  async stateAt(tick: Tick, breathe: Breathe): Promise<ReadonlyMap<string, bigint | string>> {
    const failure = await this.to(tick, breathe);
    return failure === null ? this.run.tracker.componentHashes() : new Map([['run', failure]]);
  }
}

/** Parts in which two states differ. */
export function differing(
  one: ReadonlyMap<string, bigint | string>,
  other: ReadonlyMap<string, bigint | string>,
): string[] {
  const names = new Set([...one.keys(), ...other.keys()]);
  return [...names].filter((name) => one.get(name) !== other.get(name));
}

/**
 * The first difference between two tracks that agree at `good` and no longer at tick `bad`; null when they agree there too. Both
 * are left after it.
 */
export async function firstDifference(
  one: Track,
  other: Track,
  good: Checkpoint,
  bad: Tick,
  breathe: Breathe,
): Promise<Difference | null> {
  let [low, high] = [good.tick, bad];
  let starts: readonly [Checkpoint, Checkpoint] = [good, good];
  const compare = async (tick: Tick): Promise<string[]> => {
    one.start(starts[0]);
    other.start(starts[1]);
    return differing(await one.stateAt(tick, breathe), await other.stateAt(tick, breathe));
  };
  if ((await compare(high)).length === 0) return null;
  while (high - low > 1) {
    const middle = low + Math.floor((high - low) / 2);
    if ((await compare(middle)).length > 0) high = middle;
    else {
      low = middle;
      starts = [one.take(), other.take()];
    }
  }
  one.start(starts[0]);
  const { machine } = one.run;
  const { id: vcpu, rip } = machine.cpu;
  const here = machine.engine.instructionAt(machine.cpu, rip);
  const form = here === null || typeof here.insn === 'string' ? null : here.insn.form.key;
  return { tick: high, vcpu, rip, form, components: await compare(high) };
}
