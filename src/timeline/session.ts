/**
 * A recording opened for moving about: any tick, forwards and backwards.
 *
 * Going back is restoring the nearest state before and running forward. States come from three places: checkpoints in memory,
 * stored snapshots, the machine as built. While running to a tick, checkpoints are left behind at doubling distances before it, so
 * that the steps that usually follow (one back, one back again) cost little.
 *
 * Invariant: the state at a tick is the same whatever the path there.
 */
import { EmulatorError } from '../core/errors.ts';
import { PAGE_SIZE, type PhysAddr, type Tick } from '../core/units.ts';
import { Divergence, type Payload } from '../machine/inputs.ts';
import type { RunEnd, RunOptions } from '../machine/machine.ts';
import { type Hit, StopClients, type StopSet } from '../machine/stops.ts';
import { type Checkpoint, PageVersions } from './checkpoints.ts';
import { editedFrom } from './edit.ts';
import { ReplayDoor } from './journal.ts';
import { BREATH_TICKS, type Run } from './run.ts';
import type { Recording } from './trace-store.ts';

/** Distances before the target at which checkpoints are left. */
const TRAIL = [2 ** 12, 2 ** 15, 2 ** 18, 2 ** 20, 2 ** 22, 2 ** 24, 2 ** 26];
/** Checkpoints kept in memory at most. */
const MAX_CHECKPOINTS = 40;

export class Session {
  readonly run: Run;
  readonly recording: Recording;
  /** What clients of the session want to be stopped for; nothing but what is given them makes the session's moves stop. */
  readonly stops = new StopClients();
  #endTick: Tick;
  readonly #versions: PageVersions;
  /** Pages of the machine as built. */
  readonly #built: readonly Uint8Array[];
  readonly #start: Checkpoint;
  readonly #door: ReplayDoor;
  #checkpoints: Checkpoint[] = [];
  /** The first snapshot that was taken for a state of the machine: its hash is right, but nobody has replayed what led to it. */
  #unproven: Tick | null = null;

  /** From this tick on the run need not be the recorded one. */
  readonly #edited: Tick;

  /** `edited`: from when on the run may be another one than the recorded; as the recording says, unless given. */
  constructor(run: Run, recording: Recording, edited: Tick = editedFrom(recording)) {
    this.run = run;
    this.recording = recording;
    this.#edited = edited;
    this.#endTick = recording.blocks.at(-1)?.lastTick ?? 0;
    this.#versions = new PageVersions(run.tracker);
    this.#built = this.#versions.take().pages;
    this.#door = new ReplayDoor(recording, edited);
    run.machine.door = this.#door;
    // what has no width happens at tick 0 as well
    run.runTo(0);
    this.#start = this.#versions.take();
    this.#checkpoints = [this.#start];
    // The last snapshot knows the console best; an edited run writes its own.
    const last = recording.snapshots.findLast((s) => s.tick <= edited);
    if (last !== undefined) run.recall(recording.snapshot(last.tick));
  }

  get tick(): Tick {
    return this.run.tick;
  }
  /** Last tick that can be gone to. */
  get endTick(): Tick {
    return this.#endTick;
  }

  /**
   * Makes the state the one at `tick`; E_TICK outside the recording. A counterfactual run may end before the recorded one did:
   * its end is then gone to. Where `breathe` throws, between two slices, the state is one on the way.
   */
  async goto(tick: Tick, breathe: () => Promise<void> = async () => {}): Promise<void> {
    if (!Number.isSafeInteger(tick) || tick < 0 || tick > this.endTick)
      throw new EmulatorError('E_TICK', `tick ${tick} is outside the recording, which has ticks 0 to ${this.endTick}`);
    this.#settle(tick);
    for (const distance of TRAIL.toReversed()) {
      const at = tick - distance;
      if (at <= this.run.tick) continue;
      await this.#advance(at, breathe);
      this.#keep();
    }
    await this.#advance(tick, breathe);
  }

  /** Goes to the latest known state at or before `tick`, unless the present one is as good. */
  #settle(tick: Tick): void {
    const near = this.#nearest(tick);
    const stored = this.recording.snapshotBefore(tick);
    const here = this.run.tick <= tick ? this.run.tick : -1;
    const best = Math.max(near.tick, stored?.tick ?? 0);
    if (here >= best) return;
    if (stored !== null && stored.tick > near.tick) {
      const snapshot = this.recording.snapshot(stored.tick);
      this.#unproven ??= stored.tick;
      try {
        this.run.restore(snapshot, (slot) => this.#built[slot]!);
      } catch (error) {
        this.restore(this.#start);
        throw error;
      }
      this.#door.seek(stored.tick);
      this.#keep();
    } else this.restore(near);
  }
  #nearest(tick: Tick): Checkpoint {
    let best = this.#start;
    for (const c of this.#checkpoints) if (c.tick <= tick && c.tick > best.tick) best = c;
    return best;
  }
  restore(checkpoint: Checkpoint): void {
    this.#versions.restore(checkpoint);
    this.#door.seek(checkpoint.tick);
  }
  /** The present state, to come back to. */
  checkpoint(): Checkpoint {
    return this.#versions.take();
  }

  async #advance(tick: Tick, breathe: () => Promise<void>): Promise<void> {
    while (this.run.tick < tick) {
      const { kind } = this.#slice(Math.min(tick, this.run.tick + BREATH_TICKS));
      if (kind === 'stop' || kind === 'blocked') return;
      await breathe();
    }
  }
  /**
   * Runs a slice of the way to `tick`. A counterfactual run may end before; another one that stands still has parted from its recording, and what breaks
   * down behind a state that nobody has proven may be the recording's fault.
   */
  #slice(tick: Tick, options: RunOptions = {}): RunEnd {
    let end: RunEnd;
    try {
      end = this.run.slice(tick, options);
    } catch (error) {
      if (this.#unproven === null || error instanceof EmulatorError || error instanceof Divergence) throw error;
      throw new EmulatorError(
        'E_RECORDING',
        `from the snapshot at tick ${this.#unproven} on the run breaks down: ${(error as Error).message}; ` +
          'where hindsight replay verifies the recording, this is a mistake of Hindsight',
        { cause: error },
      );
    }
    const at = this.run.tick;
    if ((end.kind !== 'stop' && end.kind !== 'blocked') || at >= tick) return end;
    if (this.#edited < tick) this.#endTick = at;
    else throw new Divergence(at, `the run ends at tick ${at}, the recording goes on to ${this.endTick}`);
    return end;
  }
  #keep(): void {
    const { tick } = this.run;
    if (this.#checkpoints.some((c) => c.tick === tick)) return;
    this.#checkpoints.push(this.#versions.take());
    if (this.#checkpoints.length <= MAX_CHECKPOINTS) return;
    // Of the oldest ones, not counting the machine as built, the one closest to its predecessor says least.
    const sorted = this.#checkpoints.toSorted((a, b) => a.tick - b.tick);
    let drop = 1;
    for (let i = 2; i < sorted.length - 1; i++)
      if (
        sorted[i]!.tick !== tick &&
        sorted[i + 1]!.tick - sorted[i - 1]!.tick < sorted[drop + 1]!.tick - sorted[drop - 1]!.tick
      )
        drop = i;
    sorted.splice(drop, 1);
    this.#checkpoints = sorted;
  }

  /** Runs forward towards `tick`, to a hit of the stops it is given, or a slice's work. */
  forward(tick: Tick, options: RunOptions = {}): RunEnd {
    return this.#slice(Math.min(tick, this.endTick), options);
  }

  /**
   * Runs on to `tick`, or to the first tick on the way where conditions of `stops` are met: what is met there, or nothing. `resume`
   * as in {@link RunOptions}. Where `breathe` throws, the state is one on the way; so with {@link Session.back}.
   */
  async advance(
    tick: Tick,
    stops: StopSet,
    resume: boolean,
    breathe: () => Promise<void> = async () => {},
  ): Promise<readonly Hit[]> {
    const from = this.tick;
    while (this.tick < Math.min(tick, this.endTick)) {
      const until = Math.min(tick, this.tick + BREATH_TICKS);
      const end = this.forward(until, { stops, resume: resume && this.tick === from });
      if (end.kind === 'hit') return end.hits;
      if (end.kind === 'stop' || end.kind === 'blocked') break;
      await breathe();
    }
    return [];
  }
  /**
   * Goes back to the last tick before the present one where conditions of `stops` are met, and tells what is met there: what a forward
   * run that comes by comes back with. To the start, with nothing, where there is none. Looks at one segment between known states after
   * the other, backwards.
   */
  async back(stops: StopSet, breathe: () => Promise<void> = async () => {}): Promise<readonly Hit[]> {
    const before = this.tick;
    let last = before - 1;
    for (const start of this.startsBefore(before)) {
      let found: { tick: Tick; hits: readonly Hit[] } | null = null;
      await this.goto(start, breathe);
      for (let resume = false; this.tick <= last; resume = true) {
        const hits = await this.advance(last + 1, stops, resume, breathe);
        if (hits.length === 0 || this.tick > last) break;
        // what is met at a segment's start belongs to the one before it, which has come there
        if (this.tick > start || start === 0) found = { tick: this.tick, hits };
      }
      if (found !== null) {
        await this.goto(found.tick, breathe);
        return found.hits;
      }
      last = start;
    }
    await this.goto(0, breathe);
    return [];
  }

  /** One step on, where the run has one. */
  step(): void {
    const to = this.tick + 1;
    while (this.tick < to) {
      const { kind } = this.forward(to);
      if (kind === 'stop' || kind === 'blocked') return;
    }
  }

  /**
   * Whether the page of a machine address may have been written between two states, by what the snapshots say. The first one leaves out
   * pages that are again as they were built, and so says nothing.
   */
  mayHaveWritten(address: PhysAddr, start: Tick, end: Tick): boolean {
    const slot = this.run.machine.engine.memory.frameSlots[Math.floor(address / PAGE_SIZE)]!;
    const inside = this.recording.snapshots.filter((s) => s.tick > start && (s.base ?? 0) < end);
    if (inside.some((s) => s.base === null)) return true;
    const covered = inside.some((s) => s.base! <= start) && inside.some((s) => s.tick >= end);
    return !covered || inside.some((s) => s.dirty.some((run) => slot >= run.slot && slot < run.slot + run.length));
  }

  /** What comes in from outside on reaching `tick`. */
  payloadsAt(tick: Tick): readonly Payload[] {
    return this.#door.payloadsAt(tick);
  }

  /** Places to start from when looking backwards: ticks of known states before `tick`, descending. */
  startsBefore(tick: Tick, atMost = Number.POSITIVE_INFINITY): Tick[] {
    const ticks = new Set([0, ...this.#checkpoints.map((c) => c.tick), ...this.recording.snapshots.map((s) => s.tick)]);
    return [...ticks].filter((t) => t < tick && t <= atMost).sort((a, b) => b - a);
  }
}
