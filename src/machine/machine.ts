/**
 * The tick loop: one machine of vCPUs, engine, platform and input door, driven to a tick or to its end.
 *
 * What plugs into it: a platform (platform.ts) says what surrounds the vCPUs, a scheduler (scheduler.ts) whose turn it is, stops
 * (stops.ts) where a run comes back, the door (inputs.ts) what comes from outside. What a platform knows for people
 * (explanation.ts) plugs in beside it; the loop has no use for that.
 *
 * Invariants (the determinism contract):
 * - the state after `runTo(n)` depends on n only, never on how the run was cut into calls;
 * - zero-width actions happen on reaching a tick in a fixed order: timers, payloads, switch of the vCPU; wherever `runTo` comes
 *   back, those of the tick reached have happened;
 * - events are delivered at delivery points only: after a platform event (hypercall, fault, emulated instruction), after a
 *   zero-width action, and at the platform's polling ticks; `deliveryDue` carries that across calls and is part of the state;
 *   an event behind which there is nothing to do does not end the engine's slice;
 * - nothing here is asynchronous and nothing knows the host; where a host that wants to be heard has `runTo` come back does not show.
 */

import { assert } from '../core/assert.ts';
import { bool, type Infer, optional, string, struct } from '../core/schema.ts';
import type { Tick } from '../core/units.ts';
import type { Engine } from '../engine/engine.ts';
import type { Cpu } from '../x86/cpu.ts';
import { isStop, type Stop, stop, type Verdict } from '../x86/seam.ts';
import { clockState, NS_PER_TICK, nanoseconds, tickOf } from './clock.ts';
import { CLOSED_DOOR, type InputDoor } from './inputs.ts';
import type { MachinePlatform } from './platform.ts';
import { RoundRobin, type Scheduler, turnState } from './scheduler.ts';
import { type Hit, isAddress, StopSet, type Watchpoint } from './stops.ts';

/** Ticks at whose multiples the loop looks up from the engine. */
export const SLICE_TICKS = 1 << 16;

/** How the guest ended: the step that ended it counts, and nothing follows. */
const endedState = struct({ kind: string, message: string });
export const loopState = struct({
  clock: clockState,
  deliveryDue: bool,
  /** Whose turn it is. */
  turn: turnState,
  /** The end that a zero-width action has decided; the next step takes it. */
  ending: optional(endedState),
  ended: optional(endedState),
});
export type LoopState = Infer<typeof loopState>;

/** How a run goes; nothing of it shows in the state. */
export interface RunOptions {
  /** Does not stop for an address before the first step: it has been stopped for. */
  readonly resume?: boolean;
  /** The run ends at the last tick whose system time (ns) is at most this. */
  readonly untilNs?: number;
  /** Units of the platform's work after which the run comes back before its tick, as if it had been asked to run no further. */
  readonly workLimit?: number;
  /** Where the run comes back beside. */
  readonly stops?: StopSet;
}

/** Why `runTo` came back. */
export type RunEnd =
  /** The tick asked for, or before it where the host is to be asked. */
  | { readonly kind: 'limit' }
  /** The next step would lead behind the virtual time given. */
  | { readonly kind: 'time' }
  | { readonly kind: 'stop'; readonly stop: Stop }
  /** Every vCPU is blocked and no timer is set: only input can go on. */
  | { readonly kind: 'blocked' }
  /** Conditions of the run's stops are met: all that are at this tick. */
  | { readonly kind: 'hit'; readonly hits: readonly Hit[] };

/** The run came back before an instruction whose address it was to stop for: it goes on with {@link RunOptions.resume}. */
export const isBefore = (end: RunEnd): boolean => end.kind === 'hit' && isAddress(end.hits);

/** No step count; no integer either, so that V8 takes what follows for floating point from the beginning, not from 2^31 on. */
const OUTSIDE = Number.NEGATIVE_INFINITY;

export class Machine {
  readonly engine: Engine;
  readonly platform: MachinePlatform;
  readonly tscKhz: number;
  readonly scheduler: Scheduler;
  loop: LoopState = {
    clock: { tick: 0, idleNs: 0 },
    deliveryDue: true,
    turn: { vcpu: 0, left: 0 },
    ending: null,
    ended: null,
  };
  door: InputDoor = CLOSED_DOOR;
  /** Asked every {@link SLICE_TICKS}: whether `runTo` is to come back here, as if it had been asked to run no further. */
  wanted: () => boolean = () => false;
  readonly #alone: boolean;
  /** The platform's work at which the run in progress comes back. */
  #workEnd = Number.POSITIVE_INFINITY;
  /** The run in progress comes back behind the present step. */
  #leaves = false;
  /** The vCPU's step count at the start of the engine slice or delivery in progress, {@link OUTSIDE} of both. */
  #sliceStart = OUTSIDE;
  /** What the slice in progress ends before: as the platform and the door told when it began. */
  #deadline = Number.POSITIVE_INFINITY;
  #nextPayload: Tick = Number.POSITIVE_INFINITY;
  /** What the engine looks out for. */
  #armed = StopSet.NONE;
  /** What has been met since the run began. */
  #hits: Hit[] = [];
  readonly #isRunnable = (vcpu: number): boolean => this.platform.runnable(vcpu);
  /**
   * After an event inside a slice: whether the loop has anything to do before the next step. Timers and payloads are not due
   * while they are where the slice found them, since it ends before them.
   */
  readonly #isDue = (): boolean => {
    const { platform, door } = this;
    return (
      platform.work.total >= this.#workEnd ||
      this.#leaves ||
      this.#hits.length > 0 ||
      platform.hasPending(this.cpu) ||
      !platform.runnable(this.loop.turn.vcpu) ||
      platform.nextDeadlineNs() !== this.#deadline ||
      door.nextPayload(this.loop.clock.tick) !== this.#nextPayload
    );
  };

  constructor(engine: Engine, platform: MachinePlatform, tscKhz: number, scheduler?: Scheduler) {
    this.engine = engine;
    this.platform = platform;
    this.tscKhz = tscKhz;
    this.#alone = engine.cpus.length === 1;
    this.scheduler = scheduler ?? new RoundRobin(engine.cpus.length);
    platform.attach(engine.cpus);
  }

  get tick(): Tick {
    return this.loop.clock.tick;
  }
  /** The vCPU whose turn it is. */
  get cpu(): Cpu {
    return this.engine.cpus[this.loop.turn.vcpu]!;
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
  /** Has the run in progress come back behind the present step, as if it had been asked to run no further. */
  leave(): void {
    this.#leaves = true;
  }

  /**
   * Runs until tick `until`, the end of the guest, or a standstill; earlier where `options` say so, and where it is `wanted`.
   */
  runTo(until: Tick, options: RunOptions = {}): RunEnd {
    const { stops = StopSet.NONE, workLimit = Number.POSITIVE_INFINITY } = options;
    this.#workEnd = this.platform.work.total + workLimit;
    this.#leaves = false;
    // what was met outside of a run, by a state put into place, is nobody's
    this.engine.takeMet();
    if (this.loop.ended !== null) return { kind: 'stop', stop: this.verdict() };
    this.#arm(stops);
    const undo = stops.events.map((point) => this.#listen(point));
    try {
      return this.#run(until, stops, options.resume ?? false, options.untilNs ?? Number.POSITIVE_INFINITY);
    } finally {
      for (const end of undo) end();
      this.#hits = [];
    }
  }
  #run(until: Tick, stops: StopSet, resume: boolean, untilNs: number): RunEnd {
    const { platform, loop } = this;
    /** The tick at which no address is stopped for. */
    let passed = resume ? loop.clock.tick : -1;
    const wantedTick = stops.nextTick(loop.clock.tick);
    for (;;) {
      if (loop.ended === null) this.#zeroWidth();
      this.#collect(stops, wantedTick);
      if (this.#hits.length > 0) return { kind: 'hit', hits: [...this.#hits, ...this.#coming(stops)] };
      if (loop.ended !== null) return { kind: 'stop', stop: this.verdict() };
      if (loop.clock.tick >= until) return { kind: 'limit' };
      if (this.now() >= untilNs) return { kind: 'time' };
      if (this.#leaves || platform.work.total >= this.#workEnd) return { kind: 'limit' };
      if (stops.addresses.length > 0 && loop.clock.tick !== passed && !this.#executes()) {
        const hits = this.#atAddress(stops);
        if (hits.length > 0) return { kind: 'hit', hits };
      }
      if (loop.ending !== null) {
        this.#end(loop.ending);
        continue;
      }
      if (!platform.runnable(loop.turn.vcpu)) {
        const refused = this.#idle(untilNs);
        if (refused !== null) return refused;
        continue;
      }
      const { deliveryDue } = loop;
      if (deliveryDue && this.#deliver()) continue;
      const from = loop.clock.tick;
      const paused = this.#slice(stops, Math.min(until, wantedTick, tickOf(loop.clock, untilNs)), from === passed);
      // A pause before the first step has changed nothing.
      if (loop.clock.tick === from) loop.deliveryDue = deliveryDue;
      if (!paused) continue;
      const hits = this.#atAddress(stops);
      if (hits.length > 0) return { kind: 'hit', hits };
      // somebody else's instruction
      passed = loop.clock.tick;
    }
  }
  /** The step that ends the run: nothing follows it. */
  #end({ kind, message }: Infer<typeof endedState>): void {
    this.loop.ended = { kind, message };
    this.loop.clock.tick++;
  }
  /** The end of the run as the state has it. */
  verdict(): Stop {
    const { ended } = this.loop;
    assert(ended !== null, 'the run has not ended');
    return stop(ended.kind as Verdict['kind'], ended.message);
  }

  // ---- stops --------------------------------------------------------------------------------------------------------

  /** Has the engine look out for what `stops` ask of it, and for nothing else. */
  #arm(stops: StopSet): void {
    const armed = this.#armed;
    if (stops === armed) return;
    this.#armed = stops;
    const { engine } = this;
    if (stops.addresses.length + armed.addresses.length > 0) engine.pauseAt(stops.pauses, stops.standing);
    if (stops.accesses.length + armed.accesses.length > 0) engine.watch(stops.accesses.map((p) => p.condition));
  }
  #listen(point: StopSet['events'][number]): () => void {
    const { event, matches, vcpu } = point.condition;
    return this.platform.stream.on(event, (happened) => {
      if (vcpu !== undefined && vcpu !== this.loop.turn.vcpu) return;
      if (matches === undefined || matches(happened)) this.#hit(point);
    });
  }
  /** Notes a condition that is met, once for the tick. */
  #hit({ client, condition }: Watchpoint): void {
    if (this.#hits.some((hit) => hit.condition === condition && hit.client === client)) return;
    this.#hits.push({ client, condition, vcpu: this.loop.turn.vcpu });
  }
  /** Notes which accesses have been met by the vCPU whose turn it is, or during its turn. */
  #accessed({ accesses }: StopSet): void {
    for (const number of this.engine.takeMet()) {
      const point = accesses[number]!;
      if ((point.condition.vcpu ?? this.loop.turn.vcpu) === this.loop.turn.vcpu) this.#hit(point);
    }
  }
  /** What has been met on the way to the tick reached. */
  #collect(stops: StopSet, wantedTick: Tick): void {
    if (stops.accesses.length > 0) this.#accessed(stops);
    const { tick } = this.loop.clock;
    if (tick < wantedTick) return;
    for (const point of stops.ticks) if (point.condition.tick === tick) this.#hit(point);
  }
  /** Whose address the next step begins at. */
  #coming(stops: StopSet): Hit[] {
    return stops.addresses.length === 0 || this.loop.ended !== null ? [] : this.#atAddress(stops);
  }
  /** Whether the next step is the engine's: no end, no idling, no event. */
  #executes(): boolean {
    const { platform, loop, cpu } = this;
    return loop.ending === null && platform.runnable(cpu.id) && !(loop.deliveryDue && platform.hasPending(cpu));
  }
  /** Whose address the vCPU stands at. */
  #atAddress({ addresses }: StopSet): Hit[] {
    const { cpu } = this;
    const executes = this.#executes() && this.engine.isBeforePause(cpu);
    const root = Number((cpu.get('cr3') >> 12n) & 0xffffffffffn);
    const met = addresses.filter(
      ({ condition: c }) =>
        (executes || c.standing) &&
        c.address === cpu.rip &&
        (c.vcpu ?? cpu.id) === cpu.id &&
        (c.root === undefined || c.root === root),
    );
    return met.map(({ client, condition }) => ({ client, condition, vcpu: cpu.id }));
  }

  // ---- zero-width actions -------------------------------------------------------------------------------------------

  /** Timers, then payloads, then the switch; doing it again at the same tick does nothing. */
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
      platform.input(payload.device, payload.data);
      loop.deliveryDue = true;
    }
    if (!this.#alone) this.#schedule();
  }
  /** Passes the turn on where it is over. */
  #schedule(): void {
    const { loop, platform, engine } = this;
    const { turn } = loop;
    if (turn.left > 0 && platform.runnable(turn.vcpu)) return;
    const next = this.scheduler.next(turn, this.#isRunnable);
    if (next === null) return;
    loop.turn = next;
    if (next.vcpu === turn.vcpu) return;
    this.door.decided({ tick: this.tick, kind: 'switch', detail: String(next.vcpu) });
    platform.switched(engine.cpus[turn.vcpu]!, engine.cpus[next.vcpu]!);
    loop.deliveryDue = true;
  }

  // ---- steps --------------------------------------------------------------------------------------------------------

  /**
   * No vCPU can run: one step that moves time to the next timer, or just one tick on where only input can come. Not taken
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

  /** Takes an event as a step where one is deliverable. */
  #deliver(): boolean {
    const { platform, loop } = this;
    loop.deliveryDue = false;
    this.#sliceStart = this.cpu.steps;
    const taken = this.engine.told(this.cpu, () => platform.deliverPending(this.cpu));
    this.#sliceStart = OUTSIDE;
    if (taken === null) return false;
    if (isStop(taken.outcome)) {
      const { kind, message } = taken.outcome.verdict;
      loop.ending = { kind, message };
    } else this.#took(1);
    return true;
  }
  #took(steps: number): void {
    const { loop } = this;
    loop.clock.tick += steps;
    if (!this.#alone) loop.turn.left -= steps;
  }

  /** Lets the engine run; true where it has paused before an address. */
  #slice(stops: StopSet, until: Tick, resume: boolean): boolean {
    const { platform, loop, door, engine } = this;
    const { clock, turn } = loop;
    const boundary = (Math.floor(clock.tick / SLICE_TICKS) + 1) * SLICE_TICKS;
    this.#deadline = platform.nextDeadlineNs();
    this.#nextPayload = door.nextPayload(clock.tick);
    let target = Math.min(until, boundary, tickOf(clock, this.#deadline), this.#nextPayload);
    if (!this.#alone) target = Math.min(target, clock.tick + turn.left);
    this.#sliceStart = this.cpu.steps;
    // at most SLICE_TICKS, and an integer for V8 as well: from 2^31 on ticks are floating point, and what is reckoned with them
    const budget = (target - clock.tick) | 0;
    const exit = engine.run(this.cpu, budget, platform, resume, this.#isDue);
    this.#sliceStart = OUTSIDE;
    this.#took(exit.steps);
    // the turn may pass on before the loop collects what has been met
    if (stops.accesses.length > 0) this.#accessed(stops);
    if (exit.kind === 'stop') {
      this.#end(exit.stop.verdict);
      return false;
    }
    // a pause or a watched access right behind an event: events are looked for before the next step
    const event = exit.kind === 'event' || ((exit.kind === 'watch' || exit.kind === 'pause') && exit.event);
    if (event) loop.deliveryDue = true;
    if (clock.tick === boundary) {
      if (clock.tick % platform.pollTicks === 0) loop.deliveryDue = true;
      if (this.wanted()) this.#leaves = true;
    }
    return exit.kind === 'pause';
  }
}
