/**
 * Replays a recording from its start without any backend and compares as it goes: every decision at its tick, register
 * digests every DIGEST_TICKS, the hash of the whole state at every block.
 *
 * A mismatch is located before it is reported: the window since the last state known to be good is run again, which tells
 * a disturbance of this run from a difference to the recording; then it is run on a machine of another tier, which tells an engine
 * that executes an instruction wrongly, and which one.
 */
import type { Tick } from '../core/units.ts';
import { Divergence } from '../machine/inputs.ts';
import { type Checkpoint, PageVersions } from './checkpoints.ts';
import { editedFrom } from './edit.ts';
import { ReplayDoor } from './journal.ts';
import type { Run } from './run.ts';
import { BLOCK_TICKS, BREATH_TICKS } from './run.ts';
import type { JournalBlock, Recording } from './trace-store.ts';
import { type Difference, differing, firstDifference, Track } from './witness.ts';

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

/** Makes a machine that executes in another way than the one that replays. */
export interface Witness {
  /** What a person calls that way: `cold tier`. */
  readonly name: string;
  make(): Run;
}

/** What the recording has at a tick: the hash of the state, the digest of the registers, or only that the run came there. */
type Recorded = { readonly hash: bigint } | { readonly digest: bigint } | null;

/** Ticks between hashes of everything anew, which find changes of memory that no write told of. */
const FRESH_TICKS = 2 ** 28;

export class Replayer {
  readonly #run: Run;
  readonly #recording: Recording;
  readonly #versions: PageVersions;
  /** From here on the journal is not the recorded one and nothing is compared. */
  readonly #editedFrom: Tick;
  /** The last state known to be the recorded one, and the last of them that was hashed anew. */
  #good: Checkpoint;
  #fresh: Checkpoint;
  readonly #track: Track;
  /** Called at every stop of the replay. */
  sabotage: Saboteur = () => {};
  /** Asked when this run and the recording differ and running again does not help. */
  witness: Witness | null = null;

  constructor(run: Run, recording: Recording) {
    this.#run = run;
    this.#recording = recording;
    this.#editedFrom = editedFrom(recording);
    this.#versions = new PageVersions(run.tracker);
    this.#track = new Track(run, this.#versions, this.#newDoor());
    // what has no width happens at tick 0 as well
    run.runTo(0);
    this.#good = this.#fresh = this.#versions.take();
  }

  #newDoor(): ReplayDoor {
    return new ReplayDoor(this.#recording, this.#editedFrom);
  }

  /** Replays to the recorded end; throws {@link Divergence} with the tick or window. */
  async replay(hooks: ReplayHooks): Promise<ReplayOutcome> {
    const { machine, tracker } = this.#run;
    const end = this.#recording.blocks.at(-1)?.lastTick ?? 0;
    const counterfactual = this.#editedFrom !== Number.POSITIVE_INFINITY;
    for (const { sequence } of this.#recording.blocks) {
      const block = this.#recording.block(sequence);
      const stops = block.digests.map((d) => ({ tick: d.tick, digest: d.value as bigint | null }));
      if (stops.at(-1)?.tick !== block.lastTick) stops.push({ tick: block.lastTick, digest: null });
      for (const stop of stops) {
        await this.#runTo(stop.tick, hooks);
        if (stop.digest !== null && this.#compares(stop.tick) && tracker.registerDigest() !== stop.digest)
          await this.#locate(this.#good, stop.tick, 'the registers differ', { digest: stop.digest }, hooks);
        hooks.progress(machine.tick, end);
        await hooks.breathe();
        this.sabotage(this.#run, machine.tick);
      }
      if (this.#compares(block.lastTick)) await this.#compare(block, end, hooks);
    }
    this.#run.endOfOutput();
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
  async #compare(block: JournalBlock, end: Tick, hooks: ReplayHooks): Promise<void> {
    const { tracker } = this.#run;
    const tick = block.lastTick;
    const recorded = { hash: block.stateHash };
    if (tracker.stateHash() !== block.stateHash)
      await this.#locate(this.#good, tick, 'the state differs', recorded, hooks);
    if (tick === end || tick - this.#fresh.tick >= FRESH_TICKS) {
      if (tracker.freshHash() !== block.stateHash)
        await this.#locate(this.#fresh, tick, 'memory has changed without having been written', recorded, hooks);
      this.#fresh = this.#good = this.#versions.take();
    } else if (tick - this.#good.tick >= BLOCK_TICKS) this.#good = this.#versions.take();
  }

  async #runTo(tick: Tick, hooks: ReplayHooks): Promise<void> {
    while (!(await this.#slice(tick, hooks))) await hooks.breathe();
  }
  /** Runs a slice of the way to `tick`; true where that has been reached. */
  async #slice(tick: Tick, hooks: ReplayHooks): Promise<boolean> {
    const { machine } = this.#run;
    try {
      const end = this.#run.slice(Math.min(tick, machine.tick + BREATH_TICKS));
      if (end.kind === 'limit') return machine.tick === tick;
      if (machine.tick === tick || !this.#compares(tick)) return true;
      const why = end.kind === 'stop' ? `ended (${end.stop.verdict.kind})` : 'stood still';
      const message = `the replay ${why} at tick ${machine.tick}, the recording went on to ${tick}`;
      throw new Divergence(machine.tick, message, this.#good.tick);
    } catch (error) {
      this.#run.endOfOutput();
      // A machine that is not the recorded one may come to anything, also to what a sound one asserts against.
      const message = error instanceof Error ? error.message : String(error);
      const told = error instanceof Divergence ? message : `the replay broke down: ${message}`;
      const blame = await this.#ask(this.#good, tick, null, hooks);
      if (blame !== null) throw blame(told);
      throw new Divergence(error instanceof Divergence ? error.tick : machine.tick, told, this.#good.tick);
    }
  }

  /** Runs the window again to tell a disturbance of this run from a difference to the recording. */
  async #locate(good: Checkpoint, bad: Tick, what: string, recorded: Recorded, hooks: ReplayHooks): Promise<never> {
    this.#run.endOfOutput();
    const first = this.#run.tracker.componentHashes();
    this.#good = good;
    this.#track.start(good);
    const changed = differing(first, await this.#track.stateAt(bad, hooks.breathe));
    const told = `${what} between ticks ${good.tick} and ${bad}`;
    if (changed.length > 0) {
      const again = `running them again gives another result in ${changed.join(', ')}: this run was disturbed`;
      throw new Divergence(bad, `${told}; ${again}`, good.tick);
    }
    const blame = await this.#ask(good, bad, recorded, hooks);
    if (blame !== null) throw blame(told);
    const too = this.witness === null ? '' : `, in the ${this.witness.name} too`;
    throw new Divergence(bad, `${told}; running them again gives the same result${too}`, good.tick);
  }

  /** Runs the window on the witness: where that comes out differently, what to say of it. */
  async #ask(
    good: Checkpoint,
    bad: Tick,
    recorded: Recorded,
    { breathe }: ReplayHooks,
  ): Promise<((told: string) => Divergence) | null> {
    const { witness } = this;
    if (witness === null) return null;
    const other = Track.of(witness.make(), this.#newDoor());
    other.start(good);
    const failure = await other.to(bad, breathe);
    const { tracker } = other.run;
    const agrees =
      failure === null &&
      (recorded === null ||
        ('hash' in recorded ? tracker.stateHash() === recorded.hash : tracker.registerDigest() === recorded.digest));
    const difference = await firstDifference(this.#track, other, good, bad, breathe);
    if (difference === null) return null;
    const verdict = agrees ? 'goes on as recorded' : 'does something else again';
    return (told) =>
      new Divergence(
        difference.tick,
        `${told}; the ${witness.name} ${verdict}: ${nameOf(difference)}`,
        difference.tick,
      );
  }
}

function nameOf({ vcpu, rip, form, components }: Difference): string {
  const instruction = form === null ? 'the step' : `the instruction "${form}"`;
  return `${instruction} at 0x${rip.toString(16)} of vCPU ${vcpu} is the first that they execute differently (${components.join(', ')})`;
}
