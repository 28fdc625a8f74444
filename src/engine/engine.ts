/**
 * The engine: runs vCPUs for an exact number of steps over a machine's memory.
 *
 * A step is a retired instruction, one REP iteration (a count of 0 is one), or the delivery of an exception. How steps
 * are executed (tier, caches, slices) is unobservable. Everything here that is not in guest memory or in the
 * architectural slots of the vCPU state is derived and rebuilt by {@link Engine.reset}.
 */
import { assert } from '../core/assert.ts';
import type { Program } from '../ir/program.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { Mmu, type MmuOptions } from '../memory/mmu.ts';
import { BREAK_VECTOR, WATCH_VECTOR } from '../memory/sent-back.ts';
import type { WatchRange } from '../memory/watches.ts';
import { breakpointAddresses, instructionBreakpoints } from '../x86/checks.ts';
import { hasBreakpoints, hasDataBreakpoints } from '../x86/code-key.ts';
import { Cpu } from '../x86/cpu.ts';
import type { CpuPolicy, DecodeFailure, Form, Insn } from '../x86/form.ts';
import { type EventKind, type Fault, fault, isFault, isStop, type Platform, type Stop } from '../x86/seam.ts';
import { programOf } from '../x86/semantics/registry.ts';
import { FLAG, SEG, STATE, TRAP, VECTOR } from '../x86/state.ts';
import { executeContained, executeSystem } from '../x86/system/execute.ts';
import { type CodeHost, plainHost } from './code-host.ts';
import { ColdTier } from './cold/cold.ts';
import { HotTier } from './hot/hot.ts';
import { PROMOTION, type Promotion } from './hot/promotion.ts';
import { fetchInstruction, OracleTier } from './oracle.ts';
import type { Tier, TierExit, Tracer } from './tier.ts';

/** How a run ended; `steps` have been taken. */
export type RunExit =
  /** Exactly the budget. */
  | { readonly kind: 'budget'; readonly steps: number }
  /** After a system instruction or a delivery, which are points where the machine evaluates its events. */
  | { readonly kind: 'event'; readonly steps: number }
  | { readonly kind: 'stop'; readonly steps: number; readonly stop: Stop }
  /** Before an instruction at one of the addresses of {@link Engine.pauseAt}; `event`: right after an event that was passed over. */
  | { readonly kind: 'pause'; readonly steps: number; readonly event: boolean }
  /** After a step that met what is watched ({@link Engine.watch}, {@link Engine.takeMet}); `event` as for that kind. */
  | { readonly kind: 'watch'; readonly steps: number; readonly event: boolean };

export interface EngineOptions {
  /** Which instructions exist; x86-64-v1 by default. */
  readonly policy?: CpuPolicy;
  /** How instructions are executed: by handlers (the default), by handlers and regions, by the evaluator. Unobservable. */
  readonly tier?: 'cold' | 'hot' | 'oracle';
  readonly promotion?: Promotion;
  /** What the host does for generated code; nothing by default. */
  readonly host?: Partial<CodeHost>;
  readonly mmu?: MmuOptions;
  /** The semantics of forms; those of src/x86/semantics by default. */
  readonly programOf?: (form: Form) => Program | null;
}

/** An instruction as a debugger sees it. */
interface InstructionView {
  readonly bytes: Uint8Array;
  readonly insn: Insn | DecodeFailure;
}

const always = (): boolean => true;
/** An access to watched bytes was refused: the instruction at `rip` is to be executed by the oracle. */
const isWatched = (exit: TierExit): boolean => exit.kind === 'fault' && exit.fault.vector === WATCH_VECTOR;
/** An access would have met a data breakpoint: the instruction at `rip` is to be executed by itself. */
const isBreak = (exit: TierExit): boolean => exit.kind === 'fault' && exit.fault.vector === BREAK_VECTOR;
/** Bits of RFLAGS that make an instruction be executed by itself. */
const SINGLY = FLAG.tf | FLAG.rf;
const DR6_BS = 1n << 14n;
/** The code mode of a 64-bit segment. */
const LONG_MODE = 2;
/** The interrupt shadow of MOV SS and POP SS. */
const STACK_SHADOW = 2;

const NOWHERE: ReadonlySet<bigint> = new Set();

export class Engine {
  readonly memory: GuestMemory;
  readonly mmu: Mmu;
  readonly cpus: readonly Cpu[];
  readonly #policy: CpuPolicy;
  readonly #words: Int32Array;
  readonly #tier: Tier;
  /** Who is told of every step. */
  #tracer: Tracer | null = null;
  /** Surrounds the run in progress. */
  #platform: Platform | null = null;
  #pauses = NOWHERE;
  #standing = NOWHERE;
  /** Instruction breakpoints that the guest has enabled, at which the tier pauses as well. */
  #guestPoints = NOWHERE;
  /** Executes what accesses watched bytes: access by access. */
  readonly #oracle: OracleTier;
  /** The cold tier, for measurements; null in an oracle engine. */
  readonly cold: ColdTier | null = null;
  /** The tier above it; null where everything is executed by handlers. */
  readonly hot: HotTier | null = null;

  constructor(memory: GuestMemory, options: EngineOptions = {}) {
    this.memory = memory;
    this.#words = memory.words;
    this.#policy = options.policy ?? 'x86-64-v1';
    this.mmu = new Mmu(memory, options.mmu);
    const programs = options.programOf ?? programOf;
    this.#oracle = new OracleTier(memory, this.mmu, this.#policy, programs);
    if (options.tier === 'oracle') this.#tier = this.#oracle;
    else {
      const host = { ...plainHost(), ...options.host };
      const promotion = options.tier === 'hot' ? (options.promotion ?? PROMOTION) : null;
      const cold = new ColdTier(memory, this.mmu, this.#policy, programs, host, promotion?.measured ?? false);
      this.#tier = this.cold = cold;
      cold.execute = (cpu, insn) => executeContained(cpu, insn, this.#platform!);
      if (promotion !== null) {
        const translations = host.translations(`${this.#policy} ${JSON.stringify(memory.map.shape)}`);
        this.hot = new HotTier(memory, this.mmu, cold, promotion, translations, host);
      }
    }
    const { vcpus } = memory.map.shape;
    this.cpus = Array.from({ length: vcpus }, (_, id) => {
      const cpu = new Cpu(memory.view, memory.map.vcpuBase + id * memory.map.vcpuStride, id, this.mmu);
      cpu.clear();
      this.mmu.selectSpace(cpu, 0);
      return cpu;
    });
  }

  /** Forgets all derived state: after a snapshot has been restored into memory and vCPUs. */
  reset(): void {
    this.mmu.reset();
    this.#tier.reset();
    for (const cpu of this.cpus) this.mmu.sync(cpu);
  }

  // ---- running ------------------------------------------------------------------------------------------------------

  /**
   * Has `run` return before every step that begins with the instruction at one of these values of `rip`, also where it cannot be fetched
   * or decoded, and before each iteration of one that repeats; none ends that. Where `rip` is one of `standing`, also before a step that
   * is a debug trap.
   */
  pauseAt(addresses: ReadonlySet<bigint>, standing: ReadonlySet<bigint> = NOWHERE): void {
    this.#pauses = addresses;
    this.#standing = standing;
    this.#tier.pauseAt(this.#guestPoints.size === 0 ? addresses : addresses.union(this.#guestPoints));
  }
  /** Has the tier pause at the instruction breakpoints of the vCPU. */
  #followBreakpoints(cpu: Cpu): void {
    const points = hasBreakpoints(cpu) ? breakpointAddresses(cpu) : NOWHERE;
    if (points.size === this.#guestPoints.size && points.isSubsetOf(this.#guestPoints)) return;
    this.#guestPoints = points;
    this.#tier.pauseAt(points.size === 0 ? this.#pauses : this.#pauses.union(points));
  }
  /** Whether the next step of `cpu` begins with an instruction that `run` pauses before. */
  isBeforePause(cpu: Cpu): boolean {
    if (!this.#pauses.has(cpu.rip)) return false;
    return !this.#isTrapDue(cpu) && this.#breakpointsMet(cpu) === 0;
  }
  /** Has `run` return after every step that accesses bytes in these ranges of machine addresses; none ends that. */
  watch(ranges: readonly WatchRange[]): void {
    this.mmu.watch(ranges);
  }
  /** Has every step told to `tracer`, in an engine that is no oracle; null ends that. */
  trace(tracer: Tracer | null): void {
    assert(this.cold !== null, 'an oracle tells nothing');
    this.#tracer = tracer;
    this.cold.trace(tracer);
  }
  /** The step of `cpu` in which `act` happens, which is no instruction's, as whoever traces is told of it. */
  told<T>(cpu: Cpu, act: () => T): T {
    this.#tracer?.begins(cpu, null);
    const result = act();
    this.#tracer?.ends(cpu);
    return result;
  }
  /** Numbers of the watched ranges that have been met since the last call, by steps and otherwise, ascending. */
  takeMet(): readonly number[] {
    return this.mmu.watches.take();
  }

  /**
   * Executes up to `budget` steps of `cpu`; ends before it only after an event, unless the machine has nothing to do then, for a
   * pause or something watched, or when the run stops. `resume`: does not pause before the first instruction. `isDue`: asked after
   * an event whether the machine has anything to do before the next step.
   */
  run(cpu: Cpu, budget: number, platform: Platform, resume = false, isDue: () => boolean = always): RunExit {
    if (this.mmu.watches.met) this.mmu.watches.take();
    this.#platform = platform;
    const exit = this.#run(cpu, budget, platform, resume, isDue);
    if (exit.kind === 'stop' || !this.mmu.watches.met) return exit;
    return { kind: 'watch', steps: exit.steps, event: exit.kind === 'event' };
  }
  #run(cpu: Cpu, budget: number, platform: Platform, resume: boolean, isDue: () => boolean): RunExit {
    let steps = 0;
    /** Steps after which an event was passed over. */
    let passed = -1;
    /** The next instruction is to be executed by itself, for what a breakpoint may make of it. */
    let alone = false;
    this.mmu.sync(cpu);
    this.#followBreakpoints(cpu);
    while (steps < budget) {
      const single = this.#isSingle(cpu);
      if (single || alone || this.#mayBreak(cpu)) {
        const came = this.#single(cpu, platform, resume && steps === 0);
        if (came === 'pause') return { kind: 'pause', steps, event: passed === steps };
        if (isStop(came)) return { kind: 'stop', steps, stop: came };
        steps++;
        if (single || came === 'event' || this.mmu.watches.met) return { kind: 'event', steps };
        alone = false;
        continue;
      }
      let exit = this.#tier.run(cpu, budget - steps, resume && steps === 0);
      steps += exit.steps;
      this.#count(cpu, exit.steps);
      if (exit.kind === 'pause') {
        if (this.#guestPoints.has(cpu.rip)) continue;
        return { kind: 'pause', steps, event: passed === steps };
      }
      if (isBreak(exit) || (exit.kind !== 'steps' && exit.kind !== 'stop' && hasDataBreakpoints(cpu))) {
        alone = true;
        continue;
      }
      if (isWatched(exit)) {
        exit = this.#oracle.run(cpu, 1, true);
        steps += exit.steps;
        this.#count(cpu, exit.steps);
        if (exit.kind === 'steps' && !this.mmu.watches.met) continue;
      }
      if (exit.kind === 'steps') break;
      const ripAt = (cpu.base + STATE.rip.offset) >>> 2;
      const low = this.#words[ripAt]! >>> 0;
      const high = this.#words[ripAt + 1]! >>> 0;
      const stopped = this.#event(cpu, exit, platform);
      if (stopped) return { kind: 'stop', steps, stop: stopped };
      this.#count(cpu, 1);
      steps++;
      // Where it retired by itself nothing of the platform has changed.
      const retired = exit.kind === 'system' && exit.insn.form.quiet && this.#isAt(ripAt, low + exit.insn.length, high);
      if (retired && !this.mmu.watches.met) continue;
      if (retired) break;
      if (steps >= budget || this.mmu.watches.met || isDue()) return { kind: 'event', steps };
      passed = steps;
      this.mmu.sync(cpu);
      this.#followBreakpoints(cpu);
    }
    return { kind: 'budget', steps };
  }
  /** True when the 64-bit word there is high:low, where `low` may have carried. */
  #isAt(at: number, low: number, high: number): boolean {
    const carry = low > 0xffffffff ? 1 : 0;
    return this.#words[at] === (low | 0) && this.#words[at + 1]! >>> 0 === high + carry;
  }
  #count(cpu: Cpu, steps: number): void {
    const at = (cpu.base + STATE.steps.offset) >>> 2;
    const low = (this.#words[at]! >>> 0) + steps;
    this.#words[at] = low;
    if (low > 0xffffffff) this.#words[at + 1]! += Math.floor(low / 0x100000000);
  }

  /** What the tier could not do by itself; null when it came to one step. */
  #event(cpu: Cpu, exit: TierExit, platform: Platform): Stop | null {
    if (this.#tracer === null) return this.#happen(cpu, exit, platform);
    this.#tracer.begins(cpu, exit.kind === 'system' ? exit.insn : null);
    const stopped = this.#happen(cpu, exit, platform);
    this.#tracer.ends(cpu);
    return stopped;
  }
  #happen(cpu: Cpu, exit: TierExit, platform: Platform): Stop | null {
    switch (exit.kind) {
      case 'system': {
        const outcome = executeSystem(cpu, exit.insn, platform);
        if (isStop(outcome)) return outcome;
        if (outcome !== null) return this.#deliver(cpu, 'fault', outcome, exit.insn, platform);
        return null;
      }
      case 'fault': {
        const wanted = exit.fetched && (this.#tracer !== null || platform.wantsInstruction(cpu, exit.fault));
        const here = wanted ? this.instructionAt(cpu, cpu.rip) : null;
        const insn = here === null || typeof here.insn === 'string' ? null : here.insn;
        return this.#deliver(cpu, 'fault', exit.fault, insn, platform);
      }
      case 'stop':
        return exit.stop;
      case 'steps':
      case 'pause':
        return null;
    }
  }
  #deliver(cpu: Cpu, kind: EventKind, event: Fault, insn: Insn | null, platform: Platform): Stop | null {
    this.mmu.watches.forgetReads();
    this.#tracer?.begins(cpu, insn);
    let outcome = platform.deliver(cpu, kind, event, insn);
    while (isFault(outcome)) outcome = platform.deliver(cpu, 'fault', outcome, insn);
    this.#tracer?.ends(cpu);
    if (outcome !== null) return outcome;
    cpu.interruptShadow = 0;
    return null;
  }

  // ---- steps by themselves ------------------------------------------------------------------------------------------

  #isSingle(cpu: Cpu): boolean {
    const { bytes } = this.memory;
    return (
      (this.#words[(cpu.base + STATE.rflags.offset) >>> 2]! & SINGLY) !== 0 ||
      bytes[cpu.base + STATE.interruptShadow.offset] !== 0 ||
      bytes[cpu.base + STATE.pendingTrap.offset] !== 0
    );
  }
  /**
   * The next instruction is one that an enabled breakpoint may be met by where the tier does not tell: at an instruction breakpoint, in a code
   * segment that begins elsewhere than at 0, and at every one in the oracle, which looks at no access before it executes.
   */
  #mayBreak(cpu: Cpu): boolean {
    if (!hasBreakpoints(cpu)) return false;
    if (this.#guestPoints.has(cpu.rip)) return true;
    if (this.cold === null && hasDataBreakpoints(cpu)) return true;
    return cpu.codeMode !== LONG_MODE && cpu.get('segmentBase', SEG.cs) !== 0n;
  }

  /** The next step delivers a debug trap. */
  #isTrapDue(cpu: Cpu): boolean {
    return cpu.num('pendingTrap') !== 0 && cpu.num('interruptShadow') !== STACK_SHADOW;
  }
  /** Bits B0 to B3 of the instruction breakpoints that the next step raises #DB for. */
  #breakpointsMet(cpu: Cpu): number {
    return cpu.systemFlags & FLAG.rf || !hasBreakpoints(cpu) ? 0 : instructionBreakpoints(cpu);
  }
  /** Delivers the debug trap that is due; that is a step. */
  #trap(cpu: Cpu, platform: Platform, trap: number): Stop | null {
    cpu.set('pendingTrap', 0);
    const met = BigInt((trap & TRAP.breakpoints) >> TRAP.breakpointShift);
    cpu.set('dr', cpu.get('dr', 6) | met | (trap & TRAP.step ? DR6_BS : 0n), 6);
    if (trap & TRAP.resume) cpu.set('rflags', cpu.systemFlags | FLAG.rf);
    const stopped = this.#deliver(cpu, 'debug', fault(VECTOR.db), null, platform);
    if (!stopped) this.#count(cpu, 1);
    return stopped;
  }
  /**
   * One step under TF, RF, breakpoints, an interrupt shadow or with a trap due (SDM vol. 3B 18.3.1, vol. 3A 6.8.3): whether it was an event, or
   * has one follow.
   */
  #single(cpu: Cpu, platform: Platform, resume: boolean): Stop | 'pause' | 'event' | 'plain' {
    const trap = cpu.num('pendingTrap');
    const shadow = cpu.num('interruptShadow');
    const pauses = !resume && this.#standing.has(cpu.rip);
    if (this.#isTrapDue(cpu)) return pauses ? 'pause' : (this.#trap(cpu, platform, trap) ?? 'event');
    const flags = cpu.systemFlags;
    const met = this.#breakpointsMet(cpu);
    if (met !== 0) {
      if (pauses) return 'pause';
      cpu.set('dr', cpu.get('dr', 6) | BigInt(met), 6);
      const stopped = this.#deliver(cpu, 'fault', fault(VECTOR.db), null, platform);
      if (!stopped) this.#count(cpu, 1);
      return stopped ?? 'event';
    }
    cpu.set('rflags', flags & ~FLAG.rf);
    cpu.set('breakpoints', 0);
    const start = cpu.rip;
    const exit = this.#execute(cpu, resume || !this.#pauses.has(start));
    if (exit.kind === 'pause') {
      cpu.set('rflags', flags);
      return 'pause';
    }
    let retired = exit.kind === 'steps';
    let traps = (flags & FLAG.tf) !== 0;
    if (exit.kind === 'system') {
      const { insn } = exit;
      this.#tracer?.begins(cpu, insn);
      const outcome = executeSystem(cpu, insn, platform);
      this.#tracer?.ends(cpu);
      if (isStop(outcome)) return outcome;
      if (exit.insn.form.newTf) traps = (cpu.systemFlags & FLAG.tf) !== 0;
      retired = outcome === null;
      if (outcome !== null) {
        cpu.set('rflags', cpu.systemFlags | (flags & FLAG.rf));
        const stopped = this.#deliver(cpu, 'fault', outcome, exit.insn, platform);
        if (stopped) return stopped;
      }
    } else if (exit.kind !== 'steps') {
      cpu.set('rflags', flags);
      const stopped = this.#event(cpu, exit, platform);
      if (stopped) return stopped;
    }
    this.#count(cpu, 1);
    if (!retired) return 'event';
    const shadowNow = cpu.num('interruptShadow');
    if (shadow !== 0 && shadowNow === shadow) cpu.set('interruptShadow', 0);
    // MOV SS and POP SS hold a single-step trap off, and breakpoints they meet back
    const holds = shadow === 0 && shadowNow === STACK_SHADOW;
    let due = trap | (cpu.num('breakpoints') << TRAP.breakpointShift) | (traps && !holds ? TRAP.step : 0);
    if (due !== 0 && exit.kind === 'steps' && cpu.rip === start && this.#repeats(cpu)) due |= TRAP.resume;
    cpu.set('pendingTrap', due);
    return exit.kind === 'steps' && due === 0 ? 'plain' : 'event';
  }
  /** One step of the tier, which notes what breakpoints it meets. */
  #execute(cpu: Cpu, resume: boolean): TierExit {
    const { cold } = this;
    if (cold !== null) cold.leavesAtBreakpoints = false;
    const exit = this.#tier.run(cpu, 1, resume);
    if (cold !== null) cold.leavesAtBreakpoints = true;
    return isWatched(exit) ? this.#oracle.run(cpu, 1, true) : exit;
  }

  /** True when the instruction at `rip` has a REP prefix: it goes on with its next iteration. */
  #repeats(cpu: Cpu): boolean {
    const here = this.instructionAt(cpu, cpu.rip);
    return here !== null && typeof here.insn !== 'string' && here.insn.form.rep !== 0;
  }

  // ---- looking ------------------------------------------------------------------------------------------------------

  /** The instruction at `rip` of a vCPU, without side effects; null when its bytes are not mapped. */
  instructionAt(cpu: Cpu, rip: bigint): InstructionView | null {
    const held = cpu.rip;
    cpu.rip = rip;
    const found = fetchInstruction(cpu, this.#policy, (linear) => {
      const pa = this.mmu.translate(cpu, linear);
      return pa === null ? fault(VECTOR.pf) : this.memory.page(Math.floor(pa / 4096));
    });
    cpu.rip = held;
    return isFault(found) ? null : found;
  }
}
