/**
 * Replays a recording from its start without any backend and compares as it goes: every decision at its tick, register
 * digests every DIGEST_TICKS, the hash of the whole state at every block.
 *
 * A mismatch is located before it is reported: the window since the last state known to be good is run again, which tells
 * a disturbance of this run from a difference to the recording.
 */
import type { Tick } from '../core/units.ts';
import { Divergence } from '../machine/inputs.ts';
import { type Checkpoint, PageVersions } from './checkpoints.ts';
import { editedFrom } from './edit.ts';
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

/** Ticks between hashes of everything anew, which find changes of memory that no write told of. */
const FRESH_TICKS = 2 ** 28;

export class Replayer {
  readonly #run: Run;
  readonly #recording: Recording;
  readonly #blocks: readonly JournalBlock[];
  readonly #versions: PageVersions;
  readonly #door: ReplayDoor;
  /** From here on the journal is not the recorded one and nothing is compared. */
  readonly #editedFrom: Tick;
  /** The last state known to be the recorded one, and the last of them that was hashed anew. */
  #good: Checkpoint;
  #fresh: Checkpoint;
  /** Called at every stop of the replay. */
  sabotage: Saboteur = () => {};

  constructor(run: Run, recording: Recording) {
    this.#run = run;
    this.#recording = recording;
    this.#editedFrom = editedFrom(recording);
    this.#blocks = recording.blocks.map((b) => recording.block(b.sequence));
    this.#versions = new PageVersions(run.tracker);
    this.#good = this.#fresh = this.#versions.take();
    this.#door = new ReplayDoor(
      this.#blocks.flatMap((b) => b.entries),
      this.#editedFrom,
    );
    run.machine.door = this.#door;
  }

  /** Replays to the recorded end; throws {@link Divergence} with the tick or window. */
  async replay(hooks: ReplayHooks): Promise<ReplayOutcome> {
    const { machine, tracker } = this.#run;
    const end = this.#blocks.at(-1)?.lastTick ?? 0;
    const counterfactual = this.#editedFrom !== Number.POSITIVE_INFINITY;
    for (const block of this.#blocks) {
      const stops = block.digests.map((d) => ({ tick: d.tick, digest: d.value as bigint | null }));
      if (stops.at(-1)?.tick !== block.lastTick) stops.push({ tick: block.lastTick, digest: null });
      for (const stop of stops) {
        this.#runTo(stop.tick);
        if (stop.digest !== null && this.#compares(stop.tick) && tracker.registerDigest() !== stop.digest)
          this.#locate(this.#good, stop.tick, 'the registers differ');
        hooks.progress(machine.tick, end);
        await hooks.breathe();
        this.sabotage(this.#run, machine.tick);
      }
      if (this.#compares(block.lastTick)) this.#compare(block, end);
    }
    const stateHash = this.#run.stateHash();
    const expected = this.#recording.end?.stateHash ?? null;
    if (!counterfactual && expected !== null && expected !== stateHash)
      throw new Divergence(end, 'the last state is the last one of the journal, but not the one in the end record');
    return { tick: machine.tick, verified: !counterfactual, stateHash, counterfactual };
  }
  #compares(tick: Tick): boolean {
    return tick < this.#editedFrom;
  }

  /** Compares the state at the end of a block. */
  #compare(block: JournalBlock, end: Tick): void {
    const { tracker } = this.#run;
    const tick = block.lastTick;
    if (tracker.stateHash() !== block.stateHash) this.#locate(this.#good, tick, 'the state differs');
    if (tick === end || tick - this.#fresh.tick >= FRESH_TICKS) {
      if (tracker.freshHash() !== block.stateHash)
        this.#locate(this.#fresh, tick, 'memory has changed without having been written');
      this.#fresh = this.#good = this.#versions.take();
    } else if (tick - this.#good.tick >= BLOCK_TICKS) this.#good = this.#versions.take();
  }

  #runTo(tick: Tick): void {
    const { machine } = this.#run;
    try {
      const end = this.#run.runTo(tick);
      if (machine.tick === tick || !this.#compares(tick)) return;
      const why = end.kind === 'stop' ? `ended (${end.stop.verdict.kind})` : 'stood still';
      throw new Divergence(
        machine.tick,
        `the replay ${why} at tick ${machine.tick}, the recording went on to ${tick}`,
        this.#good.tick,
      );
    } catch (error) {
      if (error instanceof Divergence) throw new Divergence(error.tick, error.message, this.#good.tick);
      // A machine that is not the recorded one may come to anything, also to what a sound one asserts against.
      const message = error instanceof Error ? error.message : String(error);
      throw new Divergence(machine.tick, `the replay broke down: ${message}`, this.#good.tick);
    }
  }

  /** Runs the window again to tell a disturbance of this run from a difference to the recording. */
  #locate(good: Checkpoint, bad: Tick, what: string): never {
    const { tracker } = this.#run;
    const first = tracker.componentHashes();
    this.#versions.restore(good, true);
    this.#door.seek(good.tick);
    this.#good = good;
    this.#runTo(bad);
    const second = tracker.componentHashes();
    const differing = [...first].filter(([name, hash]) => second.get(name) !== hash).map(([name]) => name);
    const again =
      differing.length > 0
        ? `running them again gives another result in ${differing.join(', ')}: this run was disturbed`
        : 'running them again gives the same result';
    throw new Divergence(bad, `${what} between ticks ${good.tick} and ${bad}; ${again}`, good.tick);
  }
}
