/**
 * Notices a guest that gets nowhere: it is stuck at one place, goes round a loop that it can never leave, both as its platform's rules
 * tell, or nothing new has come of it for the idle limit.
 *
 * News is console output, what the platform's rules take for news, and a page of memory that held what the builder put there until now.
 * An idle jump counts for a thirtieth of the limit at most: who sleeps for an hour is not hung when it wakes. A guest that has been
 * busy is hung only where the loop it is in does no more than count and wait; one that computes in silence goes on.
 *
 * Invariants: it looks at ticks that follow from ticks and counted work, and at nothing of the host or the tier; what it keeps is
 * bounded; between looks it costs a few comparisons an event.
 */
import { hex, type Tick, type VirtAddr } from '../core/units.ts';
import type { HangRules, Recurrence, ReentryLimits } from '../machine/explanation.ts';
import type { Decision } from '../machine/inputs.ts';
import type { Verdict } from '../x86/seam.ts';
import { type Run, SLICE_TICKS } from './run.ts';

/** When loops are looked at, in ticks or the hypervisor's work that takes as long. */
export interface LoopLimits {
  /** Between two looks at a loop that seems endless; the first comes after twice as much. */
  readonly work: number;
  /** Between two looks at most. */
  readonly mostWork: number;
}
/** A quarter of a second, and some seconds, of plain code. */
const LOOPS: LoopLimits = { work: 2 ** 28, mostWork: 2 ** 30 };

export interface HangLimits {
  /** Virtual ns without anything new before the run counts as hung. */
  readonly idleNs: number;
  /** From when on a place counts as one that cannot be left. */
  readonly reentry?: ReentryLimits;
  readonly loops?: LoopLimits;
  /** How messages name code; by number unless told otherwise. */
  readonly nameOf?: (address: VirtAddr) => string;
}

/** Idle jumps that the limit waits for at least. */
const JUMPS = 30;
/** Ticks between looks at least. */
const LEAST_TICKS = 2 ** 12;
/** Units of the hypervisor's work between looks, by the rate since the look before: some 50 ms. */
const UNITS_A_LOOK = 2 ** 18;
/** Steps of a round that is looked at first, and how much longer ones are the next time: a boot has loops that take a moment. */
const FIRST_STEPS = 2 ** 7;
const MORE_STEPS = 8;
/** Steps of the longest round that is looked at. */
export const ROUND_STEPS = 2 ** 12;
/** Pages of code that a loop is found in at most, looked at now and then. */
const LOOP_PAGES = 8;
const PAGE_SHIFT = 12n;
/** Ticks of plain code that take as long as a unit of the hypervisor's work, about. */
const UNIT_TICKS = 32;
/** How often within the limit, once it has passed, a loop that cannot be judged is looked at again, and for how many limits. */
const AGAIN = 8;
const PATIENCE = 10;
export class HangWatch {
  readonly #run: Run;
  readonly #limitNs: number;
  readonly #nameOf: (address: VirtAddr) => string;
  /** Null where the platform has none: only silence is noticed there. */
  readonly #rules: HangRules | null;
  #nextLook: Tick = LEAST_TICKS;
  #lookedAt: Tick = 0;
  /** The hypervisor's work until then. */
  #units = 0;
  // loops
  readonly #loops: LoopLimits;
  #work = 0;
  #untilLoop: number;
  #roundSteps = FIRST_STEPS;
  #idleNs = 0;
  /** Pages of code that the vCPU was found in. */
  readonly #pages = new Set<bigint>();
  /** The loop was endless when it was looked at last. */
  #endless = false;
  // news
  #written = 0;
  #quietSince = 0;
  #idleSince = 0;
  #judgeAt = 0;
  /** What idle jumps since then are not counted for. */
  #leaptNs = 0;
  /** By slot 1 where the page was as built when half of the limit had passed; null before. */
  #untouched: Uint8Array | null = null;

  constructor(run: Run, { idleNs, reentry, loops = LOOPS, nameOf = hex }: HangLimits) {
    this.#run = run;
    this.#limitNs = idleNs;
    this.#nameOf = nameOf;
    this.#loops = loops;
    this.#untilLoop = 2 * loops.work;
    this.#judgeAt = idleNs;
    this.#rules = run.explanation.hangRules(run.machine, reentry);
  }

  /** The machine has decided something by itself. */
  decided({ kind, detail }: Pick<Decision, 'kind' | 'detail'>): void {
    if (kind === 'idle') this.#leaptNs += Math.max(0, Number(detail) - this.#limitNs / JUMPS);
  }

  /** Whether the guest has yielded since the last time this was asked. */
  tookYields(): boolean {
    return this.#rules?.tookYields() ?? false;
  }

  /** The tick at which {@link HangWatch.look} wants to be called next. */
  get nextLook(): Tick {
    return this.#nextLook;
  }

  /**
   * The verdict where the guest is hung, else null; to be called at each {@link HangWatch.nextLook}. `awaited`: input may come that
   * makes a silent guest go on.
   */
  look(awaited: boolean): Verdict | null {
    this.#plan();
    const message = this.#rules?.stuck(this.#nameOf) ?? null;
    if (message !== null) return { kind: 'hang', message };
    return awaited ? this.#hear() : (this.#loop() ?? this.#silence());
  }

  /** The next look: sooner where much happens, since events take long. */
  #plan(): void {
    const { tick, machine } = this.#run;
    const { total } = machine.platform.work;
    const ticks = tick - this.#lookedAt;
    const units = total - this.#units;
    this.#lookedAt = tick;
    this.#units = total;
    this.#work += ticks + UNIT_TICKS * units;
    let stride = SLICE_TICKS;
    while (stride > LEAST_TICKS && (stride / Math.max(ticks, 1)) * units > UNITS_A_LOOK) stride /= 2;
    this.#nextLook = (Math.floor(tick / stride) + 1) * stride;
  }

  /** A guest that never idles and is found in few places may be in a loop without an end. */
  #loop(): Verdict | null {
    const { machine } = this.#run;
    const { idleNs } = machine.loop.clock;
    this.#pages.add(machine.cpu.rip >> PAGE_SHIFT);
    if (idleNs !== this.#idleNs || this.#pages.size > LOOP_PAGES) {
      this.#idleNs = idleNs;
      this.#pages.clear();
      this.#work = 0;
      this.#roundSteps = FIRST_STEPS;
      this.#untilLoop = 2 * this.#loops.work;
      this.#endless = false;
    }
    if (this.#work < this.#untilLoop) return null;
    this.#work = 0;
    const found = this.#recurrence(this.#roundSteps);
    const again = this.#endless;
    this.#endless = found.kind === 'endless';
    if (!this.#endless) this.#roundSteps = Math.min(this.#roundSteps * MORE_STEPS, ROUND_STEPS);
    this.#untilLoop = this.#endless ? this.#loops.work : Math.min(2 * this.#untilLoop, this.#loops.mostWork);
    if (found.kind !== 'endless' || !again) return null;
    const round = `${found.count} ${found.of}${found.count === 1 ? '' : 's'}`;
    return {
      kind: 'hang',
      message: `endless loop: ${round} at ${this.#nameOf(found.rip)}, which nothing leads out of`,
    };
  }

  #silence(): Verdict | null {
    const { machine, terminal } = this.#run;
    const { written } = terminal;
    if (this.#tookNews() || written !== this.#written) {
      this.#written = written;
      return this.#hear();
    }
    const quietNs = machine.now() - this.#quietSince - this.#leaptNs;
    if (quietNs >= this.#limitNs / 2) this.#untouched ??= this.#asBuilt();
    if (quietNs < this.#judgeAt) return null;
    if (this.#touched()) return this.#hear();
    const idledNs = machine.loop.clock.idleNs - this.#idleSince;
    if (2 * idledNs < machine.now() - this.#quietSince) {
      const { kind } = this.#recurrence(ROUND_STEPS);
      if (kind === 'working') return this.#hear();
      this.#judgeAt += this.#limitNs / AGAIN;
      if (kind === 'unknown' && quietNs < PATIENCE * this.#limitNs) return null;
    }
    return { kind: 'hang', message: `nothing new for ${this.#limitNs / 1e9} s of virtual time` };
  }
  #tookNews(): boolean {
    return this.#rules?.tookNews() ?? false;
  }
  /** Where nothing can follow the loop, nobody knows what it does. */
  #recurrence(most: number): Recurrence {
    return this.#rules?.recurrence(most) ?? { kind: 'unknown' };
  }
  /** Something has come from outside. */
  heard(): void {
    this.#hear();
  }
  /** There is news now. */
  #hear(): null {
    const { machine } = this.#run;
    this.#tookNews();
    this.#quietSince = machine.now();
    this.#idleSince = machine.loop.clock.idleNs;
    this.#judgeAt = this.#limitNs;
    this.#leaptNs = 0;
    this.#untouched = null;
    return null;
  }
  #asBuilt(): Uint8Array {
    this.#run.tracker.sync();
    return this.#run.untouched();
  }
  /** A page that had never changed has changed in the second half of the limit. */
  #touched(): boolean {
    const before = this.#untouched;
    if (before === null) return true;
    return this.#asBuilt().some((untouched, slot) => untouched === 0 && before[slot] === 1);
  }
}
