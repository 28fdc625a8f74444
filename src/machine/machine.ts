/**
 * The tick loop: one machine of vCPUs, engine, platform and input door, driven to a tick or to its end.
 *
 * Invariants (the determinism contract):
 * - the state after `runTo(n)` depends on n only, never on how the run was cut into calls;
 * - zero-width actions happen on reaching a tick in a fixed order: timers, then payloads; wherever `runTo` comes back, those of
 *   the tick reached have happened;
 * - upcalls are evaluated at delivery points only: after a platform event (hypercall, fault, emulated instruction), after a
 *   zero-width action, and every {@link DELIVERY_TICKS}; `deliveryDue` carries that across calls and is part of the state;
 *   an event behind which there is nothing to do does not end the engine's slice;
 * - nothing here is asynchronous and nothing knows the host; where a host that wants to be heard has `runTo` come back does not show.
 */

import { assert } from '../core/assert.ts';
import { bool, type Infer, optional, string, struct } from '../core/schema.ts';
import type { Tick } from '../core/units.ts';
import type { Engine } from '../engine/engine.ts';
import type { Cpu } from '../x86/cpu.ts';
import { isStop, type Outcome, type Platform, type Stop, stop, type Verdict } from '../x86/seam.ts';
import { clockState, NS_PER_TICK, nanoseconds, tickOf } from './clock.ts';
import { CLOSED_DOOR, type InputDoor } from './inputs.ts';
import type { StateSection } from './state.ts';

/** Upcalls made deliverable by plain memory writes are seen at multiples of this many ticks (65.5 us). */
export const DELIVERY_TICKS = 1 << 16;

/** A platform that schedules: what the tick loop asks beyond the CPU's seam. */
export interface MachinePlatform extends Platform {
  /** Counted work of all steps so far (src/xen/work.ts), so that a host is asked in time; no part of the state. */
  readonly work: { readonly total: number };
  /** State outside guest memory and vCPUs. */
  readonly sections: readonly StateSection[];
  attach(cpus: readonly Cpu[]): void;
  /** The state sections have been replaced. */
  restored(): void;
  readonly ended: Stop | null;
  runnable(vcpu: number): boolean;
  /** System time (ns) of the next expiry, Infinity when there is none. */
  nextDeadlineNs(): number;
  /** Applies what is due at `ns`; names what fired. */
  expire(ns: number): string[];
  /** True when {@link MachinePlatform.deliverPending} would take an upcall. */
  hasPending(cpu: Cpu): boolean;
  /** Takes one upcall if one is deliverable: a step. */
  deliverPending(cpu: Cpu): { outcome: Outcome } | null;
  /** Console input. */
  typed(bytes: Uint8Array): void;
}

/** How the guest ended: the step that ended it counts, and nothing follows. */
const endedState = struct({ kind: string, message: string });
export const loopState = struct({
  clock: clockState,
  deliveryDue: bool,
  /** The end that a zero-width action has decided; the next step takes it. */
  ending: optional(endedState),
  ended: optional(endedState),
});
export type LoopState = Infer<typeof loopState>;

/** Why `runTo` came back. */
export type RunEnd =
  /** The tick asked for, or before it where the host is to be asked. */
  | { readonly kind: 'limit' }
  /** The next step would lead behind the virtual time given. */
  | { readonly kind: 'time' }
  | { readonly kind: 'stop'; readonly stop: Stop }
  /** Every vCPU is blocked and no timer is set: only input can go on. */
  | { readonly kind: 'blocked' }
  /** Before an instruction at one of the engine's pause addresses. */
  | { readonly kind: 'pause' }
  /** Watched memory has just changed. */
  | { readonly kind: 'watch' };

/** No step count; no integer either, so that V8 takes what follows for floating point from the beginning, not from 2^31 on. */
const OUTSIDE = Number.NEGATIVE_INFINITY;

export class Machine {
  readonly engine: Engine;
  readonly platform: MachinePlatform;
  readonly tscKhz: number;
  loop: LoopState = { clock: { tick: 0, idleNs: 0 }, deliveryDue: true, ending: null, ended: null };
  door: InputDoor = CLOSED_DOOR;
  /** Units of the platform's work after which `runTo` comes back before its tick, as if it had been asked to run no further. */
  workLimit = Number.POSITIVE_INFINITY;
  /** The platform's work at which the run in progress comes back. */
  #workEnd = Number.POSITIVE_INFINITY;
  /** Asked every {@link DELIVERY_TICKS}: whether `runTo` is to come back here, as if it had been asked to run no further. */
  wanted: () => boolean = () => false;
  #leaves = false;
  /** The vCPU's step count at the start of the engine slice or delivery in progress, {@link OUTSIDE} of both. */
  #sliceStart = OUTSIDE;
  /** What the slice in progress ends before: as the platform and the door told when it began. */
  #deadline = Number.POSITIVE_INFINITY;
  #nextPayload: Tick = Number.POSITIVE_INFINITY;
  /**
   * After an event inside a slice: whether the loop has anything to do before the next step. Timers and payloads are not due
   * while they are where the slice found them, since it ends before them.
   */
  readonly #isDue = (): boolean => {
    const { platform, door } = this;
    return (
      platform.work.total >= this.#workEnd ||
      platform.hasPending(this.cpu) ||
      !platform.runnable(0) ||
      platform.nextDeadlineNs() !== this.#deadline ||
      door.nextPayload(this.loop.clock.tick) !== this.#nextPayload
    );
  };

  constructor(engine: Engine, platform: MachinePlatform, tscKhz: number) {
    this.engine = engine;
    this.platform = platform;
    this.tscKhz = tscKhz;
    platform.attach(engine.cpus);
  }

  get tick(): Tick {
    return this.loop.clock.tick;
  }
  get cpu(): Cpu {
    return this.engine.cpus[0]!;
  }
  /** System time in ns, exact to the step also while the engine calls the platform. */
  now(): number {
    const { clock } = this.loop;
    return nanoseconds(
      clock,
      this.#sliceStart === OUTSIDE ? clock.tick : clock.tick + this.cpu.steps - this.#sliceStart,
    );
  }

  /** The first tick whose state shows what happens now: the next one while an instruction executes. */
  get visibleAt(): Tick {
    const { tick } = this.loop.clock;
    return this.#sliceStart === OUTSIDE ? tick : tick + this.cpu.steps - this.#sliceStart + 1;
  }
  /** The state has been replaced: lets the platform rebuild what follows from it. */
  restored(): void {
    this.platform.restored();
  }

  /**
   * Runs until tick `until`, the last tick whose system time is at most `untilNs`, the end of the guest, or a standstill; earlier
   * where the engine was told to pause or watch, and after `workLimit` or where it is `wanted`. `resume`: does not pause before
   * the first instruction.
   */
  runTo(until: Tick, resume = false, untilNs = Number.POSITIVE_INFINITY): RunEnd {
    const { platform, loop } = this;
    let skip = resume;
    this.#workEnd = platform.work.total + this.workLimit;
    this.#leaves = false;
    if (loop.ended !== null) return { kind: 'stop', stop: this.verdict() };
    for (;;) {
      this.#zeroWidth();
      if (this.#watchHit()) return { kind: 'watch' };
      if (loop.clock.tick >= until) return { kind: 'limit' };
      if (this.now() >= untilNs) return { kind: 'time' };
      if (this.#leaves || platform.work.total >= this.#workEnd) return { kind: 'limit' };
      if (loop.ending !== null) return this.#end(stop(loop.ending.kind as Verdict['kind'], loop.ending.message));
      if (!platform.runnable(0)) {
        const refused = this.#idle(untilNs);
        if (refused !== null) return refused;
        continue;
      }
      const { deliveryDue } = loop;
      if (deliveryDue && this.#deliver()) continue;
      const from = loop.clock.tick;
      const end = this.#slice(Math.min(until, tickOf(loop.clock, untilNs)), skip);
      // A pause before the first step has changed nothing.
      if (loop.clock.tick === from) loop.deliveryDue = deliveryDue;
      skip = false;
      if (end !== null) return end;
    }
  }
  /** The step that ends the run: nothing follows it. */
  #end(end: Stop): RunEnd {
    const { kind, message } = end.verdict;
    this.loop.ended = { kind, message };
    this.loop.clock.tick++;
    return { kind: 'stop', stop: end };
  }
  /** The end of the run as the state has it. */
  verdict(): Stop {
    const { ended } = this.loop;
    assert(ended !== null, 'the run has not ended');
    return stop(ended.kind as Verdict['kind'], ended.message);
  }
  /** Memory that is watched has changed outside the engine. */
  #watchHit(): boolean {
    const { mmu } = this.engine;
    const hit = mmu.watchHit;
    mmu.watchHit = false;
    return hit;
  }

  /** Timers, then payloads; doing it again at the same tick does nothing. */
  #zeroWidth(): void {
    const { platform, loop, door } = this;
    if (loop.ending !== null) return;
    const ns = this.now();
    if (platform.nextDeadlineNs() <= ns) {
      const fired = platform.expire(ns);
      door.decided({ tick: this.tick, kind: 'timer', detail: fired.join(' ') });
      loop.deliveryDue = true;
      if (platform.ended !== null) {
        const { kind, message } = platform.ended.verdict;
        loop.ending = { kind, message };
      }
    }
    for (const payload of door.take(this.tick)) {
      platform.typed(payload.data);
      loop.deliveryDue = true;
    }
  }

  /**
   * All vCPUs are blocked: one step that moves time to the next timer, or just one tick on where only input can come. Not taken
   * where nothing will come, or where it leads behind `untilNs`: a jump is never cut, since the state after it knows no limit.
   */
  #idle(untilNs: number): RunEnd | null {
    const { platform, door } = this;
    const { clock } = this.loop;
    const deadline = platform.nextDeadlineNs();
    const timed = deadline !== Number.POSITIVE_INFINITY;
    if (!timed && door.nextPayload(clock.tick) === Number.POSITIVE_INFINITY) return { kind: 'blocked' };
    const jump = timed ? Math.max(0, deadline - this.now() - NS_PER_TICK) : 0;
    if (this.now() + jump + NS_PER_TICK > untilNs) return { kind: 'time' };
    door.decided({ tick: clock.tick, kind: 'idle', detail: String(jump) });
    clock.tick++;
    clock.idleNs += jump;
    this.loop.deliveryDue = true;
    return null;
  }

  /** Takes an upcall as a step where one is deliverable. */
  #deliver(): boolean {
    const { platform, loop } = this;
    loop.deliveryDue = false;
    this.#sliceStart = this.cpu.steps;
    const taken = platform.deliverPending(this.cpu);
    this.#sliceStart = OUTSIDE;
    if (taken === null) return false;
    if (isStop(taken.outcome)) {
      const { kind, message } = taken.outcome.verdict;
      loop.ending = { kind, message };
    } else loop.clock.tick++;
    return true;
  }

  #slice(until: Tick, resume: boolean): RunEnd | null {
    const { platform, loop, door, engine } = this;
    const { clock } = loop;
    const boundary = (Math.floor(clock.tick / DELIVERY_TICKS) + 1) * DELIVERY_TICKS;
    this.#deadline = platform.nextDeadlineNs();
    this.#nextPayload = door.nextPayload(clock.tick);
    const target = Math.min(until, boundary, tickOf(clock, this.#deadline), this.#nextPayload);
    this.#sliceStart = this.cpu.steps;
    // at most DELIVERY_TICKS, and an integer for V8 as well: from 2^31 on ticks are floating point, and what is reckoned with them
    const budget = (target - clock.tick) | 0;
    const exit = engine.run(this.cpu, budget, platform, resume, this.#isDue);
    this.#sliceStart = OUTSIDE;
    clock.tick += exit.steps;
    if (exit.kind === 'stop') return this.#end(exit.stop);
    // a pause or a watched store right behind an event: upcalls are looked for before the next step
    const event = exit.kind === 'event' || ((exit.kind === 'watch' || exit.kind === 'pause') && exit.event);
    if (event || clock.tick === boundary) loop.deliveryDue = true;
    if (clock.tick === boundary) this.#leaves = this.wanted();
    // The loop tells a hit once the zero-width actions have happened.
    if (exit.kind === 'watch') engine.mmu.watchHit = true;
    return exit.kind === 'pause' ? { kind: 'pause' } : null;
  }
}
