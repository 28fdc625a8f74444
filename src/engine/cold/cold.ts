/**
 * The cold tier: generated handlers over decoded records. It runs until its steps are used up or something needs the
 * platform: a fault, a system instruction, or bytes that are no instruction.
 *
 * Invariant: it fetches (and so sets accessed bits of code pages) only for a step that is about to be taken.
 */
import { joinWords } from '../../core/words.ts';
import type { Program } from '../../ir/program.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { ACCESS_SPEC, type Mmu } from '../../memory/mmu.ts';
import { BREAK_VECTOR, RETRY_VECTOR } from '../../memory/sent-back.ts';
import { EXEC_ENTRY } from '../../memory/tlb.ts';
import { accessFault, fetchRoom } from '../../x86/checks.ts';
import { type CodeKey, codeKey, KEY, modeOf, stackSizeOf } from '../../x86/code-key.ts';
import { Cpu } from '../../x86/cpu.ts';
import { decode } from '../../x86/decode/decode.ts';
import type { CpuPolicy, DecodeFailure, Form, Insn } from '../../x86/form.ts';
import { RECORD, RECORD_BYTES } from '../../x86/record.ts';
import { type Fault, fault, type Stop } from '../../x86/seam.ts';
import { SEG, STATE, VECTOR } from '../../x86/state.ts';
import { type Tier, type TierExit, type Tracer, unimplemented } from '../tier.ts';
import { CodeCache } from './code-cache.ts';
import { type Core, makeCore, makeTracedRun } from './core.ts';
import { EXIT, HANDLER } from './exits.ts';
import { type CheckAccess, handlerImports } from './handler-module.ts';
import { type HandlerHost, Handlers } from './handlers.ts';
import type { HigherTier } from './higher-tier.ts';

/** Generated code leaves at least this often, so that the host can replace the loop's code by a faster one. */
const SLICE = 1_000_000;
/** Without a higher tier nobody wants to know where the loop is. */
const NO_SAMPLES = { sampleHops: 0, sampleSteps: SLICE } as const;
/** Beside the exits of generated code: there is no record to go on with. */
const FAILED = -1;
const MAX_LENGTH = 15;
const PAGE = 4096;

export class ColdTier implements Tier {
  readonly #memory: GuestMemory;
  readonly #mmu: Mmu;
  readonly #words: Int32Array;
  #run: Core['run'];
  readonly #plainRun: Core['run'];
  /** Made when it is first asked for. */
  #tracedRun: Core['run'] | null = null;
  readonly #makeTracedRun: () => Core['run'];
  #tracer: Tracer | null = null;
  /** Of the slice in progress: the vCPU, and the steps that the run has taken when none of the slice's are left. */
  #sliceCpu: Cpu | null = null;
  #sliceEnd = 0;
  readonly handlers: Handlers;
  readonly cache: CodeCache;
  /** Table of the regions that a higher tier makes. */
  readonly regions: WebAssembly.Table;
  /** Null when everything is executed by handlers. */
  #higher: HigherTier | null = null;
  /** Leaves before an instruction that meets a data breakpoint; else these are only noted. */
  leavesAtBreakpoints = true;

  // where the last fetch led
  #slot = 0;
  #table = 0;
  #offset = 0;
  /** What the vCPU executes under during a run. */
  #key: CodeKey = 2;
  #lo = 0;
  #hi = 0;
  #failure: Fault | Stop = fault(VECTOR.ud);
  #fetched = false;
  #pauses: ReadonlySet<bigint> = new Set();
  #pausing = false;
  /** The same as offsets by number of the page, where the code segment begins at 0. */
  #pausePages: ReadonlyMap<number, ReadonlySet<number>> = new Map();
  /** Steps of the cold tier until the higher tier wants to know where it is, by vCPU. */
  readonly #untilSample: Int32Array;

  /** `measured`: counts the steps that regions take. */
  constructor(
    memory: GuestMemory,
    mmu: Mmu,
    policy: CpuPolicy,
    programOf: (form: Form) => Program | null,
    host: HandlerHost,
    measured: boolean,
  ) {
    this.#memory = memory;
    this.#mmu = mmu;
    this.#words = memory.words;
    this.#untilSample = new Int32Array(memory.map.shape.vcpus);
    const core = makeCore(memory.memory, this.#contained, host.instantiate, measured);
    const check = accessCheck(memory, mmu, () => this.leavesAtBreakpoints);
    this.handlers = new Handlers(handlerImports(memory.memory, core, mmu, check, this.#contained), programOf, host);
    this.#run = this.#plainRun = this.handlers.run ?? core.run;
    this.#makeTracedRun = () => makeTracedRun(memory.memory, core, host.instantiate, this.#next);
    this.cache = new CodeCache(memory, mmu, this.handlers, policy);
    this.regions = core.regions;
  }
  /** Has a tier above this one told what it asks to be told. */
  promoteTo(higher: HigherTier): void {
    this.#higher = higher;
  }

  // ---- contained instructions ---------------------------------------------------------------------------------------

  /** Executes a contained instruction, but for `rip`; false when it faults, with nothing changed. Set by the engine. */
  execute: (cpu: Cpu, insn: Insn) => boolean = () => false;
  /** Executes one from within the loop, with the count of steps that it would have found outside. */
  readonly #contained = (base: number, record: number, left: number): number => {
    const insn = this.cache.systemInsn(record);
    if (!insn.form.contained || insn.pageOffset + insn.length > PAGE || (this.#key & KEY.checked) !== 0)
      return EXIT.system;
    const words = this.#words;
    const at = (base + STATE.steps.offset) >>> 2;
    const low = words[at]!;
    const high = words[at + 1]!;
    const now = (low + this.#sliceEnd - left) | 0;
    words[at] = now;
    if (now >>> 0 < low >>> 0) words[at + 1] = high + 1;
    const done = this.execute(this.#sliceCpu!, insn);
    words[at] = low;
    words[at + 1] = high;
    return done ? record + RECORD_BYTES : EXIT.system;
  };

  // ---- tracing ------------------------------------------------------------------------------------------------------

  trace(tracer: Tracer | null): void {
    this.#tracer = tracer;
    if (tracer !== null) this.#tracedRun ??= this.#makeTracedRun();
    this.#run = tracer === null ? this.#plainRun : this.#tracedRun!;
  }
  /** Tells of a step and gives the handler that executes it. */
  readonly #next = (record: number, left: number, handler: number): number => {
    const own = handler === HANDLER.hot ? this.#higher!.handlerOf(record) : handler;
    if (own >= HANDLER.firstForm) this.#tracer!.executes(this.#sliceCpu!, record, own, this.#sliceEnd - left);
    return own;
  };

  // ---- rip and records ----------------------------------------------------------------------------------------------

  /** Sets `rip` to the place of a record in the present page. */
  #setRip(cpu: Cpu, record: number): void {
    const words = this.#words;
    const at = cpu.base >>> 2;
    const pageBase = at + (STATE.pageBase.offset >>> 2);
    const rip = at + (STATE.rip.offset >>> 2);
    const place = words[(record + RECORD.place) >>> 2]! & 0xffff;
    const low = (words[pageBase]! >>> 0) + place;
    words[rip] = low | 0;
    const long = words[at + (STATE.codeMode.offset >>> 2)] === 2;
    words[rip + 1] = long ? (words[pageBase + 1]! + (low > 0xffffffff ? 1 : 0)) | 0 : 0;
  }

  /** Fetches at `rip` as the hardware would; false with the fault noted. Sets `pageBase`. */
  #fetch(cpu: Cpu): boolean {
    const words = this.#words;
    const at = cpu.base >>> 2;
    const key = this.#key;
    const mode = modeOf(key);
    const rip = at + (STATE.rip.offset >>> 2);
    let lo = words[rip]!;
    let hi = words[rip + 1]!;
    let codeBase = 0;
    if (mode !== 2) {
      codeBase = words[at + ((STATE.segmentBase.offset + SEG.cs * 8) >>> 2)]!;
      words[rip + 1] = 0;
      lo = (lo + codeBase) | 0;
      hi = 0;
      if (key & KEY.checked && fetchRoom(cpu) === 0) return this.#outOfCode();
    }
    this.cache.reserve();
    const tlb = this.#mmu.tlb(cpu);
    if (tlb.codeKey !== key) {
      tlb.codeKey = key;
      tlb.flushCode();
    }
    const entry = tlb.findCode(lo, hi);
    let page: number;
    if (entry !== 0) {
      page = words[entry + (EXEC_ENTRY.page >>> 2)]! >>> 0;
      this.#table = words[entry + (EXEC_ENTRY.code >>> 2)]!;
    } else {
      page = this.#fetchPage(cpu, lo, hi, key);
      if (page === 0) return false;
    }
    this.#slot = (page - this.#memory.map.ram) >>> 12;
    this.#offset = lo & 4095;
    this.#lo = lo;
    this.#hi = hi;
    const base = mode === 2 ? lo & ~4095 : ((lo & ~4095) >>> 0) - (codeBase >>> 0);
    const pageBase = at + (STATE.pageBase.offset >>> 2);
    words[pageBase] = base | 0;
    words[pageBase + 1] = mode === 2 ? hi : base < 0 ? -1 : 0;
    return true;
  }
  /** The code segment ends before the instruction does. */
  #outOfCode(): false {
    this.#failure = fault(VECTOR.gp);
    this.#fetched = false;
    return false;
  }
  /** Enters a code translation; returns the page's address in linear memory, or 0 with the fault noted. */
  #fetchPage(cpu: Cpu, lo: number, hi: number, key: CodeKey): number {
    const page = this.#mmu.fetch(cpu, lo, hi);
    if (page === 0) {
      this.#failure = this.#mmu.lastFault;
      this.#fetched = false;
      return 0;
    }
    const slot = (page - this.#memory.map.ram) >>> 12;
    if (this.#pausePages.size > 0) this.#pauseIn(cpu, lo, hi, slot);
    this.#table = this.cache.tableOf(slot, key);
    this.#mmu.tlb(cpu).fillCode(lo, hi, page, this.#table);
    return page;
  }
  /** A page of code has been found at a linear address where pauses may have been asked for. */
  #pauseIn(cpu: Cpu, lo: number, hi: number, slot: number): void {
    const codeBase = modeOf(this.#key) === 2 ? 0n : cpu.get('segmentBase', SEG.cs);
    const page = pageNumber(lo, hi);
    const offsets = codeBase === 0n ? this.#pausePages.get(page) : byPage(this.#pauses, codeBase).get(page);
    if (offsets !== undefined) this.cache.pauseAt(slot, offsets);
  }

  /** The record where the last fetch led, or 0 with the failure noted. */
  #record(cpu: Cpu): number {
    const known = this.cache.recordAt(this.#table, this.#offset);
    if (known !== 0) return known;
    const decoded = this.cache.decodeRun(this.#slot, this.#key, this.#offset);
    return typeof decoded === 'number' ? decoded : this.#fail(cpu, decoded, this.#slot);
  }
  #fail(cpu: Cpu, why: DecodeFailure, second: number): 0 {
    this.#fetched = true;
    const room = this.#key & KEY.checked ? fetchRoom(cpu) : MAX_LENGTH;
    // what makes the bytes no instruction may lie behind the end of the code segment
    if (room < MAX_LENGTH && isShort(this.#bytesHere(second), room, this.#key)) {
      this.#outOfCode();
      return 0;
    }
    if (why === 'invalid') this.#failure = fault(VECTOR.ud);
    else if (why === 'outside') this.#failure = unimplemented(cpu, this.#bytesHere(second));
    else this.#failure = fault(VECTOR.gp);
    return 0;
  }
  #bytesHere(second: number): Uint8Array {
    const { bytes } = this.#memory;
    const at = this.#memory.slotAddress(this.#slot) + this.#offset;
    const inside = Math.min(15, 4096 - this.#offset);
    const rest = this.#memory.slotAddress(second);
    return new Uint8Array([...bytes.subarray(at, at + inside), ...bytes.subarray(rest, rest + 15 - inside)]);
  }

  /** Resolves the CROSS record where the last fetch led; false with the failure noted. */
  #cross(cpu: Cpu, record: number): boolean {
    if (this.#key & KEY.checked && fetchRoom(cpu) <= 4096 - this.#offset) return this.#outOfCode();
    const next = ((this.#lo & ~4095) + 4096) | 0;
    const hi = next === 0 && modeOf(this.#key) === 2 ? (this.#hi + 1) | 0 : this.#hi;
    const page = this.#fetchPage(cpu, next, hi, this.#key);
    if (page === 0) return false;
    const second = (page - this.#memory.map.ram) >>> 12;
    const failed = this.cache.resolveCrossing(record, this.#slot, second, this.#key);
    if (failed === null) return true;
    this.#fail(cpu, failed, second);
    return false;
  }

  /** The record to continue with after generated code has left, or 0 with the failure noted. */
  #continue(cpu: Cpu, code: number, left: number): number {
    const words = this.#words;
    const { generation } = this.cache;
    const pageBase = (cpu.base + STATE.pageBase.offset) >>> 2;
    const lo = words[pageBase]!;
    const hi = words[pageBase + 1]!;
    if (!this.#fetch(cpu)) return 0;
    const same = generation === this.cache.generation && !this.#mmu.entriesChanged;
    this.#mmu.entriesChanged = false;
    if (code === EXIT.stale && same && this.cache.redecode(left, this.#slot, this.#key)) return left;
    const record = this.#record(cpu);
    if (record === 0) return 0;
    if (code === EXIT.cross) {
      const crossing = words[record >>> 2] === HANDLER.pause ? record + RECORD_BYTES : record;
      if (words[crossing >>> 2] === HANDLER.cross) return this.#cross(cpu, crossing) ? crossing : 0;
    }
    if (!same || record === left) return record;
    if (code === EXIT.stale || code === EXIT.end) this.cache.linkTo(left, record);
    else if (code === EXIT.lookup && words[pageBase] === lo && words[pageBase + 1] === hi)
      this.cache.linkBranch(left, this.#offset, record);
    return record;
  }

  // ---- running ------------------------------------------------------------------------------------------------------

  #failed(steps: number): TierExit {
    const failure = this.#failure;
    if ('stop' in failure) return { kind: 'stop', steps, stop: failure };
    return { kind: 'fault', steps, fault: failure, fetched: this.#fetched };
  }

  pauseAt(addresses: ReadonlySet<bigint>): void {
    this.#pauses = addresses;
    this.#pausing = addresses.size > 0;
    this.#pausePages = byPage(addresses, 0n);
    this.cache.forgetPauses();
    this.reset();
  }

  #isPause(cpu: Cpu): boolean {
    if (!this.#pausing) return false;
    // by words: most that is asked about is no pause
    const at = (cpu.base + STATE.rip.offset) >>> 2;
    const lo = this.#words[at]!;
    return this.#pausePages.get(pageNumber(lo, this.#words[at + 1]!))?.has(lo & 4095) ?? false;
  }

  run(cpu: Cpu, steps: number, resume = false): TierExit {
    const paused = this.#isPause(cpu);
    if (paused && !resume) return { kind: 'pause', steps: 0 };
    const words = this.#words;
    const { base, id } = cpu;
    const recordAt = (base + STATE.record.offset) >>> 2;
    const budgetAt = (base + STATE.budget.offset) >>> 2;
    const lastAt = (base + STATE.lastRecord.offset) >>> 2;
    const untilAt = (base + STATE.untilSample.offset) >>> 2;
    const untilHop = (base + STATE.untilHop.offset) >>> 2;
    const higher = this.#higher;
    const { sampleHops, sampleSteps } = higher?.promotion ?? NO_SAMPLES;
    if (words[untilHop] === 0) words[untilHop] = sampleHops;
    this.#sliceCpu = cpu;
    const untilSample = this.#untilSample;
    let left = steps;
    /** The instruction resumed at is executed by itself: it may repeat, and pauses again then. */
    let single = paused;
    /** Handler to use for the first record, -1: its own. */
    let handler = -1;
    this.#key = codeKey(cpu);
    let record = this.#fetch(cpu) ? this.#record(cpu) : 0;
    /** How generated code has left. */
    let exit: number;
    for (;;) {
      exit = FAILED;
      if (record === 0) break;
      if (untilSample[id]! <= 0) untilSample[id] = sampleSteps;
      const slice = single ? 1 : Math.min(left, SLICE);
      const cold = Math.min(slice, untilSample[id]!);
      this.#sliceEnd = steps - left + slice - 1;
      exit = this.#run(base, record, cold, handler < 0 ? words[record >>> 2]! : handler, slice - cold);
      handler = -1;
      const free = exit !== EXIT.lookup && exit !== EXIT.budget && exit < EXIT.hotFault ? 1 : 0;
      left -= slice - words[budgetAt]! - free;
      untilSample[id]! -= cold - words[untilAt]! - free;
      record = words[recordAt]!;
      if ((exit !== EXIT.lookup && exit !== EXIT.lookupFree && exit < EXIT.hotFault) || exit === EXIT.hop)
        this.#setRip(cpu, record);
      if (exit === EXIT.system || exit === EXIT.fault) break;
      const retry = exit === EXIT.hotFault && cpu.num('faultVector') === RETRY_VECTOR;
      if (exit === EXIT.hotFault && !retry) break;
      if (exit === EXIT.budget && untilSample[id] === 0 && higher !== null) this.#sample(cpu, words[lastAt]!);
      if (left === 0) {
        exit = EXIT.budget;
        break;
      }
      if (left < steps && (single || exit !== EXIT.budget)) {
        single = false;
        if (this.#isPause(cpu)) {
          exit = EXIT.pause;
          break;
        }
      }
      if (exit === EXIT.hotFault || exit === EXIT.hotBudget) {
        // the tail of the budget, and an instruction that was sent back, are for the handlers
        const exhausted = !retry && (left === words[budgetAt] || words[budgetAt] === slice);
        record = this.#leaveRegion(cpu);
        if (record !== 0 && (retry || exhausted)) handler = higher!.handlerOf(record);
      } else if (exit === EXIT.hop) {
        words[untilHop] = sampleHops;
        higher!.hop(cpu, words[(base + STATE.hopFrom.offset) >>> 2]!, record);
      } else if (exit === EXIT.pause) {
        // resumed at, or asked for at another address of the page
        record += RECORD_BYTES;
      } else if (exit !== EXIT.budget) record = this.#continue(cpu, exit, record);
    }
    if (higher !== null) higher.clock += steps - left;
    return this.#ended(cpu, exit, record, steps - left);
  }
  /** What ends a run. Apart from the loop, for V8: it compiles all of a function anew when a part of it is reached for the first time. */
  #ended(cpu: Cpu, exit: number, record: number, steps: number): TierExit {
    switch (exit) {
      case FAILED:
        return this.#failed(steps);
      case EXIT.system: {
        const insn = this.cache.systemInsn(record);
        if ((this.#key & KEY.checked) === 0 || fetchRoom(cpu) >= insn.length) return { kind: 'system', steps, insn };
        this.#outOfCode();
        return this.#failed(steps);
      }
      case EXIT.fault:
      case EXIT.hotFault:
        return this.#raised(cpu, steps);
      case EXIT.pause:
        return { kind: 'pause', steps };
      default:
        return { kind: 'steps', steps };
    }
  }
  /** The record where a region has been left for the handlers, or 0 with the failure noted; a span that was refused is reported. */
  #leaveRegion(cpu: Cpu): number {
    const record = this.#fetch(cpu) ? this.#record(cpu) : 0;
    if (this.#mmu.refusedSpan > 0) {
      this.#higher!.refuse(cpu, this.#key, this.#slot, this.#offset, this.#mmu.refusedSpan);
      this.#mmu.refusedSpan = 0;
    }
    return record;
  }
  /**
   * Tells the higher tier of a record in the page of `rip` that the cold tier has executed. Not of the next one: where the cold tier
   * takes a single step between regions that would always be an entry.
   */
  #sample(cpu: Cpu, record: number): void {
    const words = this.#words;
    const at = cpu.base >>> 2;
    if (this.#key & KEY.checked || words[record >>> 2]! < HANDLER.firstForm) return;
    const rip = at + (STATE.rip.offset >>> 2);
    const legacy = modeOf(this.#key) !== 2;
    const lo = legacy ? (words[rip]! + words[at + ((STATE.segmentBase.offset + SEG.cs * 8) >>> 2)]!) | 0 : words[rip]!;
    const hi = legacy ? 0 : words[rip + 1]!;
    const entry = this.#mmu.tlb(cpu).findCode(lo, hi);
    if (entry === 0) return;
    const table = words[entry + (EXEC_ENTRY.code >>> 2)]!;
    const offset = words[(record + RECORD.place) >>> 2]! & 0xffff;
    if (offset > 4095 || this.cache.recordAt(table, offset) !== record) return;
    const page = words[entry + (EXEC_ENTRY.page >>> 2)]! >>> 0;
    const slot = (page - this.#memory.map.ram) >>> 12;
    this.#higher!.sample(cpu, this.#key, { number: pageNumber(lo, hi), slot, table }, offset);
  }
  /** Samples the code at `rip`; with one sample a promotion, and batches of one, it is translated now. For tests. */
  promote(cpu: Cpu): void {
    this.#key = codeKey(cpu);
    const record = this.#fetch(cpu) ? this.#record(cpu) : 0;
    if (record !== 0 && this.#higher !== null) this.#sample(cpu, record);
  }
  #raised(cpu: Cpu, steps: number): TierExit {
    this.#mmu.abandonScratch();
    const vector = cpu.num('faultVector');
    return {
      kind: 'fault',
      steps,
      fault: fault(vector, cpu.num('faultError'), vector === VECTOR.pf ? cpu.get('faultAddress') : 0n),
      fetched: true,
    };
  }

  reset(): void {
    this.cache.flush();
    this.#untilSample.fill(0);
  }
}

/** Number of the page that a 64-bit address lies in. */
const pageNumber = (lo: number, hi: number): number => (hi >>> 0) * 0x100000 + (lo >>> 12);

/** Offsets by number of the page of addresses in a segment. */
function byPage(addresses: ReadonlySet<bigint>, base: bigint): Map<number, Set<number>> {
  const pages = new Map<number, Set<number>>();
  for (const address of addresses) {
    const linear = base === 0n ? address : (address + base) & 0xffff_ffffn;
    const page = Number(linear >> 12n);
    pages.set(page, (pages.get(page) ?? new Set()).add(Number(linear & 4095n)));
  }
  return pages;
}

/** True when `room` bytes do not tell what the instruction is. */
function isShort(bytes: Uint8Array, room: number, key: CodeKey): boolean {
  return decode(bytes, 0, room, 0, modeOf(key), 'x86-64-v2', stackSizeOf(key)) === 'short';
}

/** The checks of an access as generated code calls them. */
function accessCheck(memory: GuestMemory, mmu: Mmu, leavesAtBreakpoints: () => boolean): CheckAccess {
  const cpus = new Map<number, Cpu>();
  return (base, lo, hi, spec) => {
    let cpu = cpus.get(base);
    if (cpu === undefined) {
      cpu = new Cpu(memory.view, base, (base - memory.map.vcpuBase) / memory.map.vcpuStride, mmu);
      cpus.set(base, cpu);
    }
    const segment = (spec >> ACCESS_SPEC.segmentShift) & 7;
    const write = (spec & ACCESS_SPEC.write) !== 0;
    const failed = accessFault(cpu, segment, joinWords(lo, hi), spec & ACCESS_SPEC.bytes, write);
    if (failed === null) {
      if (cpu.num('breakpoints') === 0 || !leavesAtBreakpoints()) return 1;
      cpu.set('breakpoints', 0);
      cpu.set('faultVector', BREAK_VECTOR);
      return 0;
    }
    cpu.set('faultVector', failed.vector);
    cpu.set('faultError', failed.error);
    cpu.set('faultAddress', failed.address);
    return 0;
  };
}
