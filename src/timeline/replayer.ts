/**
 * Replays a recording from its start without any backend and compares as it goes: every decision at its tick, register
 * digests every {@link DIGEST_TICKS}, the hash of the whole state at every block.
 *
 * A mismatch is located before it is reported: the window since the last state known to be good is run again twice, the
 * second time by the oracle's evaluator, and what differs is named.
 */
import type { Tick } from '../core/units.ts';
import { Divergence } from '../machine/inputs.ts';
import { type Checkpoint, PageVersions } from './checkpoints.ts';
import { ReplayDoor } from './journal.ts';
import type { Run } from './run.ts';
import { BLOCK_TICKS } from './run.ts';
import type { JournalBlock, Recording } from './trace-store.ts';

export interface ReplayOutcome {
  readonly tick: Tick;
  /** Everything compared, equal to the end. False for a counterfactual run. */
  readonly verified: boolean;
  readonly stateHash: bigint;
  /** The journal was edited: the run follows it and proves nothing about the recorded one. */
  readonly counterfactual: boolean;
}

export interface ReplayHooks {
  breathe(): Promise<void>;
  progress(tick: Tick, of: Tick): void;
}

/** Something of the machine that tests change during replay, to see it caught. */
export type Saboteur = (run: Run, tick: Tick) => void;

export class Replayer {
  readonly #run: Run;
  readonly #recording: Recording;
  readonly #blocks: readonly JournalBlock[];
  readonly #versions: PageVersions;
  readonly #counterfactual: boolean;
  /** Called at every stop of the replay. */
  sabotage: Saboteur = () => {};

  constructor(run: Run, recording: Recording, options: { counterfactual?: boolean } = {}) {
    this.#run = run;
    this.#recording = recording;
    this.#counterfactual = options.counterfactual ?? recording.header.settings.edited !== undefined;
    this.#blocks = recording.blocks.map((b) => recording.block(b.sequence));
    this.#versions = new PageVersions(run.tracker);
    run.machine.door = new ReplayDoor(
      this.#blocks.flatMap((b) => b.entries),
      { compare: !this.#counterfactual },
    );
  }

  /** Replays to the recorded end; throws {@link Divergence} with the tick or window. */
  async replay(hooks: ReplayHooks): Promise<ReplayOutcome> {
    const { machine, tracker } = this.#run;
    const end = this.#blocks.at(-1)?.lastTick ?? 0;
    let good = this.#versions.take();
    for (const block of this.#blocks) {
      const stops = block.digests.map((d) => ({ tick: d.tick, digest: d.value as bigint | null }));
      if (stops.at(-1)?.tick !== block.lastTick) stops.push({ tick: block.lastTick, digest: null });
      for (const stop of stops) {
        this.#runTo(stop.tick, good);
        if (stop.digest !== null && !this.#counterfactual && tracker.registerDigest() !== stop.digest)
          this.#locate(good, stop.tick, 'the registers');
        hooks.progress(machine.tick, end);
        await hooks.breathe();
        this.sabotage(this.#run, machine.tick);
      }
      if (this.#counterfactual) continue;
      if (this.#run.stateHash() !== block.stateHash) this.#locate(good, block.lastTick, 'the state');
      if (block.lastTick - good.tick >= BLOCK_TICKS) good = this.#versions.take();
    }
    const stateHash = this.#run.stateHash();
    const expected = this.#recording.end?.stateHash ?? null;
    if (!this.#counterfactual && expected !== null && expected !== stateHash)
      this.#locate(good, end, 'the final state');
    return { tick: machine.tick, verified: !this.#counterfactual, stateHash, counterfactual: this.#counterfactual };
  }

  #runTo(tick: Tick, good: Checkpoint): void {
    const { machine } = this.#run;
    try {
      const end = this.#run.runTo(tick);
      if (machine.tick === tick || this.#counterfactual) return;
      const why = end.kind === 'stop' ? `ended (${end.stop.verdict.kind})` : 'stood still';
      throw new Divergence(machine.tick, `the replay ${why} at tick ${machine.tick}, the recording went on to ${tick}`);
    } catch (error) {
      if (error instanceof Divergence) throw error;
      throw new Divergence(
        machine.tick,
        `after tick ${good.tick}: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }

  /** Runs the window again to tell a fault of this run from a difference to the recording. */
  #locate(good: Checkpoint, bad: Tick, what: string): never {
    const { machine, tracker } = this.#run;
    const first = tracker.componentHashes();
    this.#versions.restore(good);
    const door = machine.door as ReplayDoor;
    door.seek(good.tick);
    machine.runTo(bad);
    const second = tracker.componentHashes();
    const differing = [...first].filter(([name, hash]) => second.get(name) !== hash).map(([name]) => name);
    const window = `between ticks ${good.tick} and ${bad}`;
    if (differing.length > 0)
      throw new Divergence(
        bad,
        `${what} differ from the recording ${window}; running the window again gives another result in ${differing.join(', ')}: this run was disturbed`,
        good.tick,
      );
    throw new Divergence(
      bad,
      `${what} differ from the recording ${window}; running the window again gives the same result`,
      good.tick,
    );
  }
}
