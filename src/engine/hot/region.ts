/**
 * A region: blocks of one page of code as one Wasm function. Direct branches between its blocks are branches there; returns
 * and indirect jumps come back in through the page's table of records when they lead to one of its entries.
 */
import { assert } from '../../core/assert.ts';
import type { Program } from '../../ir/program.ts';
import type { CodeMode, DecodeFailure, Form, Insn } from '../../x86/form.ts';
import { RECORD } from '../../x86/record.ts';
import { STATE } from '../../x86/state.ts';
import { EXIT, HANDLER } from '../cold/exits.ts';
import { BLOCK_BITS } from '../cold/runtime.ts';
import { Block, HOME, type Step } from './block.ts';
import { BlockEmitter, type Successors } from './emit.ts';
import { Frame, PARAM, type RegionCallees } from './frame.ts';
import { type Part, shapeOf } from './shape.ts';

/** Blocks and instructions of a region at most. */
const MAX_BLOCKS = 96;
const MAX_STEPS = 512;
/** Instructions of a block at most. */
const MAX_BLOCK_STEPS = 48;

/** What discovery asks of its surroundings. */
export interface CodeSource {
  readonly mode: CodeMode;
  decode(offset: number): Insn | DecodeFailure;
  programOf(form: Form): Program | null;
  /** True when code at this offset has been decoded by the cold tier, and belongs to no other region. */
  isWanted(offset: number): boolean;
}

/** A block before it is translated. */
interface Plan {
  readonly offset: number;
  readonly steps: Step[];
  /** May be entered from outside: by a call, a return, an indirect jump, or from the cold tier at the head of a loop. */
  entry: boolean;
}
export interface RegionPlan {
  readonly mode: CodeMode;
  /** In address order. */
  readonly blocks: readonly Plan[];
  readonly steps: number;
}

const readsSecondImmediate = (program: Program): boolean =>
  program.body.some((node) => node.op === 'field' && node.name === 'imm2');
const standsAlone = (program: Program): boolean =>
  program.commits.at(-1)?.op === 'repeat' || program.body.some((node) => node.op === 'complete');

interface FormPlan {
  readonly program: Program | null;
  readonly alone: boolean;
  readonly ends: boolean;
  /** It pushes its return address: what follows is entered by a return. */
  readonly calls: boolean;
}
const forms = new WeakMap<Form, FormPlan>();

function planOf(source: CodeSource, form: Form): FormPlan {
  let plan = forms.get(form);
  if (plan === undefined) {
    let program = form.system ? null : source.programOf(form);
    if (program !== null && readsSecondImmediate(program)) program = null;
    const last = program?.commits.at(-1)?.op;
    plan = {
      program,
      alone: program !== null && standsAlone(program),
      ends: last === 'jump' || last === 'branch' || last === 'repeat',
      calls: form.name.startsWith('call'),
    };
    forms.set(form, plan);
  }
  return plan;
}

/** Finds the blocks reachable from `seeds` inside the page; null when there is nothing to translate. */
export function discover(source: CodeSource, seeds: readonly number[]): RegionPlan | null {
  const found = new Map<number, Step | null>();
  const leaders = new Set<number>();
  const entries = new Set<number>(seeds);
  const work: number[] = [];
  let count = 0;
  const lead = (offset: number, entry: boolean): void => {
    if (offset < 0 || offset >= 4096) return;
    if (!leaders.has(offset)) {
      if (leaders.size >= MAX_BLOCKS || !source.isWanted(offset)) return;
      leaders.add(offset);
      work.push(offset);
    }
    if (entry) entries.add(offset);
  };
  for (const seed of seeds) lead(seed, true);
  while (work.length > 0) {
    let at = work.shift()!;
    for (let length = 0; at < 4096 && !found.has(at) && count < MAX_STEPS; length++) {
      if (length === MAX_BLOCK_STEPS) {
        lead(at, false);
        break;
      }
      const insn = source.decode(at);
      const plan = typeof insn === 'string' ? null : planOf(source, insn.form);
      if (typeof insn === 'string' || plan === null || plan.program === null) {
        found.set(at, null);
        // the cold tier comes back in behind it
        if (typeof insn !== 'string') lead(at + insn.length, true);
        break;
      }
      found.set(at, { insn, program: plan.program });
      count++;
      const next = at + insn.length;
      const last = plan.program.commits.at(-1);
      if (plan.alone) {
        lead(at, false);
        lead(next, false);
      }
      if (last?.op === 'branch') {
        const target = Number(BigInt.asIntN(52, insn.imm));
        lead(target, plan.calls || target <= at);
        if (last.cond !== null) lead(next, false);
      }
      if (plan.calls) lead(next, true);
      if (plan.ends) break;
      at = next;
    }
  }
  const blocks: Plan[] = [];
  let steps = 0;
  for (const offset of [...leaders].sort((a, b) => a - b)) {
    const block: Plan = { offset, steps: [], entry: entries.has(offset) };
    for (let at = offset; block.steps.length < MAX_BLOCK_STEPS; ) {
      const step = found.get(at);
      if (!step) break;
      const { alone, ends } = planOf(source, step.insn.form);
      if (alone && block.steps.length > 0) break;
      block.steps.push(step);
      at += step.insn.length;
      if (ends || alone || leaders.has(at)) break;
    }
    if (block.steps.length > 0) blocks.push(block);
    steps += block.steps.length;
  }
  return blocks.length === 0 ? null : { mode: source.mode, blocks, steps };
}

/** How a region is known to the dispatch loop. */
export interface RegionPlace {
  /** Number of its function in the table of regions. */
  readonly index: number;
  /** Address of the page's table of records. */
  readonly table: number;
}

interface Level {
  readonly parts: readonly Part[];
  readonly first: number;
  readonly last: number;
  /** Depth of each part's label: a branch there goes to the part. */
  readonly labels: number[];
  current: number;
  /** Depth of the loop around. */
  readonly loop: number;
  readonly dispatches: boolean;
}

class RegionWriter implements Successors {
  readonly #frame: Frame;
  readonly #plan: RegionPlan;
  readonly #place: RegionPlace;
  readonly #blocks: readonly Block[];
  readonly #emitters: readonly BlockEmitter[];
  readonly #byOffset = new Map<number, number>();
  readonly #levels: Level[] = [];

  constructor(plan: RegionPlan, place: RegionPlace, callees: RegionCallees) {
    this.#plan = plan;
    this.#place = place;
    this.#frame = new Frame(plan.mode, callees);
    this.#blocks = plan.blocks.map((x) => new Block(x.steps, plan.mode));
    for (const [id, { offset }] of plan.blocks.entries()) this.#byOffset.set(offset, id);
    this.#emitters = this.#blocks.map((block) => new BlockEmitter(this.#frame, block));
    this.#wantFlags();
  }
  /** Finds the blocks behind which flags are read that they made. */
  #wantFlags(): void {
    const entries = this.#plan.blocks.flatMap((block, id) => (block.entry ? [id] : []));
    const successors = this.#blocks.map((block, id) => (block.ending.kind === 'jump' ? entries : this.#successors(id)));
    const reads = this.#emitters.map((x) => x.readsFlags);
    for (let changed = true; changed; ) {
      changed = false;
      for (let id = reads.length - 1; id >= 0; id--) {
        const emitter = this.#emitters[id]!;
        if (emitter.flagsWanted || !successors[id]!.some((to) => reads[to])) continue;
        emitter.flagsWanted = true;
        changed = true;
        if (emitter.passesFlags) reads[id] = true;
      }
    }
  }

  #successors(id: number): number[] {
    const { ending } = this.#blocks[id]!;
    const places: Array<bigint | number> = [];
    if (ending.kind !== 'jump') {
      if (ending.kind !== 'goto') places.push(ending.next);
      if (ending.kind === 'branch' || ending.kind === 'goto') places.push(ending.target);
      if (ending.kind === 'repeat') places.push(ending.self);
    }
    return places.map((x) => this.#byOffset.get(Number(x))).filter((x) => x !== undefined);
  }
  /** The target of a call is reached by dispatch: a call back does not make a loop. */
  #loopSuccessors(id: number): number[] {
    const last = this.#plan.blocks[id]!.steps.at(-1)!.insn;
    const calls = last.form.name.startsWith('call');
    return this.#successors(id).filter((to) => !(calls && to <= id));
  }

  // ---- successors ---------------------------------------------------------------------------------------------------

  goto(place: bigint): void {
    const id = place >= 0n && place < 4096n ? this.#byOffset.get(Number(place)) : undefined;
    const f = this.#frame;
    if (id !== undefined) {
      this.#enter(id);
      return;
    }
    f.ripOf(place).set(f.rip).i32(0).set(f.exit).to(f.outDepth);
  }
  #enter(id: number): void {
    const f = this.#frame;
    for (const level of this.#levels.toReversed()) {
      for (let i = level.current + 1; i < level.parts.length; i++) {
        const part = level.parts[i]!;
        if (id < part.first || id > part.last) continue;
        if (part.dispatches) f.i32(id).set(PARAM.block);
        f.to(level.labels[i]!);
        return;
      }
      if (id < level.first || id > level.last) continue;
      if (level.dispatches) f.i32(id).set(PARAM.block);
      else if (id !== level.first) continue;
      f.to(level.loop);
      return;
    }
    assert(false, 'a block of the region is reached from everywhere');
  }
  dispatch(): void {
    const f = this.#frame;
    const offset = f.local('i64');
    const record = f.local('i32');
    f.get(f.rip).get(f.home(HOME.pageBase)).op('i64.sub');
    if (f.mode !== 2) f.i64(0xffff_ffffn).op('i64.and');
    f.tee(offset).i64(4096n).op('i64.lt_u').if();
    f.get(offset).op('i32.wrap_i64').i32(2).op('i32.shl').memory('i32.load', this.#place.table).tee(record);
    f.memory('i32.load', RECORD.handler).i32(HANDLER.hot).op('i32.eq');
    f.get(record)
      .memory('i32.load', RECORD.imm2)
      .tee(PARAM.block)
      .i32(BLOCK_BITS)
      .op('i32.shr_u')
      .i32(this.#place.index)
      .op('i32.eq');
    f.op('i32.and').if();
    f.get(PARAM.block)
      .i32((1 << BLOCK_BITS) - 1)
      .op('i32.and')
      .set(PARAM.block);
    f.to(this.#levels[0]!.loop);
    f.end().end();
    f.i32(0).set(f.exit).to(f.outDepth);
    f.release(offset);
    f.release(record);
  }

  // ---- structure ----------------------------------------------------------------------------------------------------

  #level(parts: readonly Part[], first: number, last: number, dispatches: boolean): void {
    const f = this.#frame;
    const level: Level = { parts, first, last, labels: [], current: -1, loop: f.depth, dispatches };
    this.#levels.push(level);
    for (let i = parts.length - 1; i >= 0; i--) {
      f.block();
      level.labels[i] = f.depth;
    }
    if (dispatches) {
      const targets: number[] = [];
      for (const [i, part] of parts.entries())
        for (let n = part.first; n <= part.last; n++) targets.push(f.depth - level.labels[i]!);
      f.get(PARAM.block).i32(first).op('i32.sub').brTable(targets, 0);
    }
    for (const [i, part] of parts.entries()) {
      f.end();
      level.current = i;
      if (!part.loop) this.#emitters[part.first]!.run(this);
      else {
        f.loop();
        this.#level(part.parts, part.first, part.last, part.dispatches);
        f.end();
      }
    }
    this.#levels.pop();
  }

  run(): Frame {
    const f = this.#frame;
    const vertices = this.#plan.blocks.map((x, id) => ({ successors: this.#loopSuccessors(id), entry: x.entry }));
    f.block();
    f.outDepth = f.depth;
    f.block();
    f.stopDepth = f.depth;
    f.loop();
    this.#level(shapeOf(vertices), 0, vertices.length - 1, true);
    f.end().end();
    f.get(PARAM.budget).get(f.refund).op('i32.add').set(PARAM.budget);
    f.get(f.home(HOME.pageBase)).get(f.place).op('i64.extend_i32_u').op('i64.add');
    if (f.mode !== 2) f.i64(0xffff_ffffn).op('i64.and');
    f.set(f.rip).end();
    this.#epilogue();
    f.setAside();
    this.#prologue();
    return f;
  }
  #prologue(): void {
    const f = this.#frame;
    f.get(PARAM.cpu).memory('i32.load', STATE.tlbBase.offset).set(f.tlb);
    for (const [home, used] of f.used.entries()) if (used) f.loadHome(home);
  }
  #epilogue(): void {
    const f = this.#frame;
    for (const [home, dirty] of f.dirty.entries()) if (dirty) f.storeHome(home);
    f.cook();
    f.get(PARAM.cpu).get(PARAM.budget).memory('i32.store', STATE.budget.offset);
    f.get(f.exit).op('i32.eqz').if();
    f.get(PARAM.cpu)
      .get(f.rip)
      .call(f.callees.jump[f.mode === 2 ? 0 : 1])
      .return();
    f.end();
    f.get(PARAM.cpu).get(f.rip).memory('i64.store', STATE.rip.offset).get(f.exit);
  }
}

/** The function of a region. */
export function writeRegion(plan: RegionPlan, place: RegionPlace, callees: RegionCallees): Frame {
  assert(EXIT.budget === 0, 'exit 0 of a region means to look the next record up');
  return new RegionWriter(plan, place, callees).run();
}
