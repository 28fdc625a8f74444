/**
 * Records a run: drives the machine, writes the journal, keeps sparse snapshots, decides how the run ended.
 *
 * Invariants: nothing here moves a tick; the journal is closed in blocks, every {@link BLOCK_TICKS} and whenever the host wants
 * what there is on disk, so that what reached it always replays; a tick at which a slice ended is sealed, so that what was
 * hashed stays as it was; the host is asked through {@link RecorderHost} only, between slices.
 */
import type { Tick } from '../core/units.ts';
import { isBefore, type RunEnd } from '../machine/machine.ts';
import { StopSet } from '../machine/stops.ts';
import type { Verdict } from '../x86/seam.ts';
import { type HangLimits, HangWatch } from './hang-watch.ts';
import { isPayload, RecordingDoor } from './journal.ts';
import { KeptState } from './kept-state.ts';
import { BLOCK_TICKS, DIGEST_TICKS, type Run, SLICE_TICKS } from './run.ts';
import { type JournalEntry, type NewRecording, QUEUE_BYTES } from './trace-store.ts';

/** Ticks between snapshots while recording; a background pass makes them denser afterwards. */
const SNAPSHOT_TICKS = 2 ** 31;
/** Entries from which on a block is closed behind the slice: what is held in memory, and how long a block is, is bounded. */
const BLOCK_ENTRIES = 1 << 17;
/** A state less than this part of the spacing behind a stored one is not worth being kept: a second's replay leads there. */
const KEPT_FROM = 1 / 4;

/** A guest that is silent for so much virtual time (ns) without idling is taken to poll for input. */
const POLLING_NS = 250_000_000;

/** The world outside, as recording sees it. */
export interface RecorderHost {
  /** Lets the host's own events happen; resolves at once otherwise. Called after every slice; `waiting`: the guest seems to wait for input. */
  breathe(waiting: boolean): Promise<void>;
  /**
   * The guest waits and only input can go on (`ns` null), or it has idled for `ns` of virtual time. Resolves when there is
   * input or enough real time has passed; false when no input will ever come.
   */
  idle(ns: number | null): Promise<boolean>;
  /** True when the host wants to be asked now, in the midst of a slice whose ticks take long. */
  wanted?(): boolean;
  /** Ticks after which the host wants to be asked again, at most {@link SLICE_TICKS}. */
  readonly strideTicks: number;
  /** True when enough real time has passed for the journal's open block to be closed and sent off. */
  readonly flushDue: boolean;
  /** A block has been sent off. */
  flushed(): void;
  /** True once the user asked to stop. */
  readonly stopped: boolean;
  /** True when the guest's virtual time should not run ahead of the user's. */
  readonly live: boolean;
  progress(tick: Tick): void;
  /** The guest stands at one of the addresses of the limits' stops. */
  paused?(): void;
}

export interface RecorderLimits extends HangLimits {
  readonly ticks: Tick | null;
  /** The run ends at the last tick whose virtual time is at most this (ns). */
  readonly timeNs: number | null;
  readonly snapshotTicks?: number;
  readonly blockEntries?: number;
  /** Addresses whose instructions matter ({@link RecorderHost.paused}). */
  readonly stops?: StopSet;
}

export interface RecordOutcome {
  readonly verdict: Verdict;
  readonly tick: Tick;
  readonly stateHash: bigint | null;
  readonly snapshots: number;
}

export class Recorder {
  readonly #run: Run;
  /** Null: nothing is stored or hashed (the yardstick of the overhead). */
  readonly #recording: NewRecording | null;
  readonly #host: RecorderHost;
  readonly #limits: RecorderLimits;
  readonly #hang: HangWatch;
  readonly door: RecordingDoor;
  readonly #kept: KeptState;
  #lastSnapshot: Tick | null = null;
  #snapshots = 0;
  #landmarked = false;
  #written = 0;
  #silentSince = 0;
  /** The guest seemed to wait for input when it was last looked at. */
  #waits = false;
  /** Where the journal's last block ended. */
  #blockEnd: Tick = 0;
  /** Entries since then. */
  #openEntries = 0;

  constructor(run: Run, recording: NewRecording | null, host: RecorderHost, limits: RecorderLimits) {
    this.#run = run;
    this.#recording = recording;
    this.#host = host;
    this.#limits = limits;
    this.#hang = new HangWatch(run, limits);
    this.#kept = new KeptState(run);
    this.door = new RecordingDoor(run.terminal.device, (entry: JournalEntry) => {
      if (!isPayload(entry)) this.#hang.decided(entry);
      recording?.append(entry);
      this.#openEntries++;
    });
    run.machine.door = this.door;
    run.machine.wanted = () => host.wanted?.() ?? false;
  }

  /** Runs to the end of the guest or a limit. */
  async record(): Promise<RecordOutcome> {
    const { machine } = this.#run;
    const limit = this.#limits.ticks ?? Number.POSITIVE_INFINITY;
    const timeNs = this.#limits.timeNs ?? Number.POSITIVE_INFINITY;
    let verdict: Verdict | null = null;
    let resume = false;
    while (verdict === null) {
      const next = (Math.floor(machine.tick / SLICE_TICKS) + 1) * SLICE_TICKS;
      const idleBefore = machine.loop.clock.idleNs;
      const until = Math.min(next, limit, this.#hang.nextLook, machine.tick + this.#host.strideTicks);
      const end = this.#run.slice(until, { resume, untilNs: timeNs, stops: this.#limits.stops ?? StopSet.NONE });
      resume = isBefore(end);
      this.door.seal(machine.tick);
      if (resume) {
        this.#host.paused?.();
        this.#landmark();
        // the guest may come here again and again
        await this.#host.breathe(false);
        verdict = this.#stopped();
        continue;
      }
      if (end.kind === 'limit' && machine.tick % DIGEST_TICKS === 0) {
        this.#recording?.digest(machine.tick, this.#run.tracker.registerDigest());
        if (machine.tick % BLOCK_TICKS === 0) this.#closeBlock();
      }
      if (this.#host.flushDue || this.#openEntries >= (this.#limits.blockEntries ?? BLOCK_ENTRIES)) this.#closeBlock();
      verdict = await this.#judge(end, limit);
      if (verdict !== null) break;
      await this.#between(machine.loop.clock.idleNs - idleBefore);
    }
    this.#run.endOfOutput();
    // The state of a block ago first: most that is asked for lies shortly before the end.
    if (machine.tick !== this.#blockEnd) this.#snapshot();
    this.#snapshotHere();
    const stateHash = this.#recording === null ? null : this.#run.stateHash();
    return { verdict, tick: machine.tick, stateHash, snapshots: this.#snapshots };
  }

  async #between(idledNs: number): Promise<void> {
    this.#host.progress(this.#run.tick);
    this.#waits = this.#awaitsInput(idledNs);
    await this.#host.breathe(this.#waits);
    if (this.#host.live && idledNs > 0) await this.#host.idle(idledNs);
    if (this.#recording !== null && this.#recording.queuedBytes > QUEUE_BYTES) await this.#recording.drained();
  }

  /**
   * The guest has read all that was typed and writes nothing, while it idles or yields, or for so long that it must be polling:
   * as if at a prompt.
   */
  #awaitsInput(idledNs: number): boolean {
    const { terminal, machine } = this.#run;
    const { written } = terminal;
    const now = machine.now();
    const yields = this.#hang.tookYields();
    const silent = written === this.#written;
    if (!silent || this.door.waiting || !terminal.drained) {
      this.#written = written;
      this.#silentSince = now;
      return false;
    }
    return yields || idledNs > 0 || now - this.#silentSince > POLLING_NS;
  }

  #stopped(): Verdict | null {
    return this.#host.stopped ? { kind: 'stopped', message: 'stopped by the user' } : null;
  }
  /** The verdict, where the run has come to one. */
  async #judge(end: RunEnd, limit: Tick): Promise<Verdict | null> {
    const { machine } = this.#run;
    if (end.kind === 'stop') return end.stop.verdict;
    const stopped = this.#stopped();
    if (stopped !== null) return stopped;
    if (machine.tick >= limit) return { kind: 'limit', message: `reached the limit of ${limit} ticks` };
    if (end.kind === 'time')
      return { kind: 'limit', message: `reached the limit of ${this.#limits.timeNs! / 1e9} s of virtual time` };
    if (end.kind === 'blocked') {
      if (this.door.waiting) return null;
      this.#closeBlock();
      if (await this.#host.idle(null)) return null;
      return { kind: 'hang', message: 'every vCPU is blocked and nothing can wake one' };
    }
    if (machine.tick < this.#hang.nextLook) return null;
    const hung = this.#hang.look(this.#host.live);
    if (hung === null || !this.#waits || !(await this.#host.idle(null))) return hung;
    this.#hang.heard();
    return null;
  }

  #closeBlock(): void {
    const { machine } = this.#run;
    if (this.#recording === null || machine.tick === this.#blockEnd) return;
    const stateHash = this.#run.stateHash();
    this.#recording.endBlock(machine.tick, stateHash);
    this.#blockEnd = machine.tick;
    this.#openEntries = 0;
    this.#host.flushed();
    const spacing = this.#limits.snapshotTicks ?? SNAPSHOT_TICKS;
    const ticks = machine.tick - (this.#lastSnapshot ?? 0);
    if (ticks >= spacing * KEPT_FROM) this.#kept.keep(stateHash);
    if (ticks >= spacing) this.#snapshot();
  }
  /** The entry of a panic, which everybody will ask for: the first one is kept, so that going there is quick. */
  #landmark(): void {
    if (this.#landmarked) return;
    this.#landmarked = true;
    this.#snapshotHere();
  }
  /** Stores the present state. */
  #snapshotHere(): void {
    if (this.#recording === null) return;
    this.#closeBlock();
    const { tick } = this.#run;
    if (this.#kept.tick !== tick && this.#lastSnapshot !== tick) this.#kept.keep(this.#run.stateHash());
    this.#snapshot();
  }
  /** Stores the kept state, unless it has been. */
  #snapshot(): void {
    const { tick } = this.#kept;
    this.#kept.store(this.#lastSnapshot, (snapshot) => {
      this.#recording?.putSnapshot(snapshot);
      this.#lastSnapshot = tick;
      this.#snapshots++;
    });
  }
}
