/**
 * A region: blocks of some pages of code as one Wasm function. Direct branches between its blocks are branches there, behind a
 * look into the code TLB where they lead to another page. Returns and indirect jumps come back in, by a hash of the entries of
 * their page or else through the table of records of the page they lead to.
 */
import { assert } from '../../core/assert.ts';
import { EXEC_OFFSET } from '../../memory/layout.ts';
import { EXEC_ENTRY } from '../../memory/tlb.ts';
import type { Form } from '../../x86/form.ts';
import { RECORD } from '../../x86/record.ts';
import { STATE } from '../../x86/state.ts';
import { EXIT, HANDLER } from '../cold/exits.ts';
import { BLOCK_BITS } from '../cold/runtime.ts';
import { pushCodeEntry } from '../tlb-entry.ts';
import { Block, HOME } from './block.ts';
import { pageBeside, type RegionPlan } from './discover.ts';
import { BlockEmitter, type Successors } from './emit.ts';
import { Frame, PARAM, type RegionCallees } from './frame.ts';
import { perfectHash } from './hash.ts';
import { LengthsFinder } from './lengths.ts';
import { type Part, shapeOf } from './shape.ts';

/** Steps between two questions whether the budget has them. */
const MAX_REACH = 64;

/** A place where a block goes on by itself, relative to its page; `taken`: as its branch is taken, or is not. */
interface WayOut {
  readonly place: bigint;
  readonly taken: boolean | null;
}
function waysOut({ ending }: Block): WayOut[] {
  switch (ending.kind) {
    case 'next':
      return [{ place: BigInt(ending.next), taken: null }];
    case 'goto':
      return [{ place: ending.target, taken: null }];
    case 'branch':
      return [
        { place: BigInt(ending.next), taken: false },
        { place: ending.target, taken: true },
      ];
    case 'repeat':
      return [ending.next, ending.self].map((x) => ({ place: BigInt(x), taken: null }));
    case 'jump':
      return [];
  }
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
  /** The global with the number of its function in the table of regions. */
  readonly #index: number;
  readonly #blocks: readonly Block[];
  readonly #emitters: readonly BlockEmitter[];
  readonly #byPlace = new Map<number, number>();
  /** Steps that the budget must have at each block, null: it has been asked before. */
  readonly #reaches: ReadonlyArray<number | null>;
  /** Page of the block that is being written. */
  #page = 0;
  readonly #levels: Level[] = [];

  constructor(plan: RegionPlan, index: number, callees: RegionCallees, spanBytes: number) {
    this.#plan = plan;
    this.#index = index;
    this.#frame = new Frame(plan.mode, callees);
    for (const [id, { page, offset }] of plan.blocks.entries()) this.#byPlace.set(page * 4096 + offset, id);
    this.#blocks = this.#translate();
    this.#emitters = this.#blocks.map((block) => new BlockEmitter(this.#frame, block, spanBytes));
    this.#wantFlags();
    this.#reaches = this.#checkpoints();
  }
  #translate(): readonly Block[] {
    const { blocks, mode } = this.#plan;
    const lengths = new LengthsFinder(blocks.length);
    return blocks.map(({ steps, page }, id) => {
      // an instruction that repeats comes from itself, too
      const repeats = steps.at(-1)!.program.commits.at(-1)?.op === 'repeat';
      const block = new Block(steps, mode, repeats ? null : lengths.at(id));
      for (const { place, taken } of waysOut(block)) {
        const to = this.#blockAt(page, place);
        if (to === undefined || to === id || blocks[to]!.entry) continue;
        assert(to > id, 'control flow leads back to entries only');
        lengths.add(id, block, to, taken);
      }
      return block;
    });
  }
  /**
   * The budget is asked at entries, at the heads of loops, and where more than {@link MAX_REACH} steps could be taken
   * since; there for all steps up to the next such block.
   */
  #checkpoints(): Array<number | null> {
    const { blocks } = this.#plan;
    const successors = blocks.map((_, id) => this.#successors(id));
    const checks = blocks.map((x) => x.entry);
    for (const [from, list] of successors.entries()) for (const to of list) if (to <= from) checks[to] = true;
    const since = blocks.map(() => 0);
    for (const [id, { steps }] of blocks.entries()) {
      if (since[id]! + steps.length > MAX_REACH) checks[id] = true;
      const here = (checks[id] ? 0 : since[id]!) + steps.length;
      for (const to of successors[id]!) since[to] = Math.max(since[to]!, here);
    }
    const reach = blocks.map((x) => x.steps.length);
    for (let id = blocks.length - 1; id >= 0; id--)
      for (const to of successors[id]!)
        if (!checks[to]) reach[id] = Math.max(reach[id]!, blocks[id]!.steps.length + reach[to]!);
    return reach.map((x, id) => (checks[id] ? x : null));
  }
  /** Finds the blocks behind which flags are read that they made. Entries see to flags that wait themselves. */
  #wantFlags(): void {
    const successors = this.#blocks.map((_, id) => this.#successors(id));
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
    for (const [id, { entry }] of this.#plan.blocks.entries()) this.#emitters[id]!.settlesFlags = entry && reads[id]!;
  }

  /** The block at a place relative to a page, or undefined. */
  #blockAt(from: number, place: bigint): number | undefined {
    const { pages } = this.#plan;
    const offset = Number(BigInt.asIntN(64, place));
    const distance = Math.floor(offset / 4096);
    const page = pageBeside(pages, from, distance);
    return page < 0 ? undefined : this.#byPlace.get(page * 4096 + (offset - distance * 4096));
  }
  #successors(id: number): number[] {
    const { page } = this.#plan.blocks[id]!;
    return waysOut(this.#blocks[id]!)
      .map(({ place }) => this.#blockAt(page, place))
      .filter((x) => x !== undefined);
  }
  /** The target of a call is reached by dispatch: a call back does not make a loop. */
  #loopSuccessors(id: number): number[] {
    const calls = this.#lastForm(id).call;
    return this.#successors(id).filter((to) => !(calls && to <= id));
  }

  // ---- successors ---------------------------------------------------------------------------------------------------

  goto(place: bigint): void {
    const id = this.#blockAt(this.#page, place);
    const f = this.#frame;
    if (id === undefined) {
      if (place >= 0n && place < 8192n) f.stop(Number(place), 0, 0);
      else f.ripOf(place).set(f.rip).i32(0).set(f.exit).to(f.outDepth);
      return;
    }
    const to = this.#plan.blocks[id]!.page;
    if (to === this.#page) {
      this.#enter(id);
      return;
    }
    const base = f.local('i64');
    f.ripOf(place & ~4095n).set(base);
    this.#isMapped(base, to);
    f.if().get(base).set(f.home(HOME.pageBase));
    this.#enter(id);
    f.end();
    f.get(base)
      .i64(place & 4095n)
      .op('i64.add')
      .set(f.rip)
      .i32(0)
      .set(f.exit)
      .to(f.outDepth);
    f.release(base);
  }
  /** Pushes whether the code TLB has a page of the region at the linear address in `base`. */
  #isMapped(base: number, page: number): void {
    const f = this.#frame;
    const entry = f.local('i32');
    pushCodeEntry(f, base);
    f.get(f.tlb)
      .op('i32.add')
      .tee(entry)
      .memory('i64.load', EXEC_OFFSET + EXEC_ENTRY.tag)
      .get(base)
      .op('i64.eq');
    f.get(entry).memory('i32.load', EXEC_OFFSET + EXEC_ENTRY.page);
    f.i32(f.callees.pageAddress(this.#plan.pages[page]!.slot)).op('i32.eq').op('i32.and');
    f.release(entry);
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
  /** The block parameter names the page, see {@link RegionWriter.#lookUp}. */
  dispatch(): void {
    this.#frame.i32(this.#blocks.length + this.#page).set(PARAM.block);
    this.#frame.to(this.#levels[0]!.loop);
  }
  /** The entries to which a jump may lead: returns lead behind calls, other jumps elsewhere. */
  #targets(): number[] {
    const jumps = this.#blocks.flatMap(({ ending }, id) => (ending.kind === 'jump' ? [this.#lastForm(id)] : []));
    const returns = jumps.some((x) => x.ret);
    const others = jumps.some((x) => !x.ret);
    const behindCalls = new Set(
      this.#plan.blocks.flatMap(({ page, steps }, id) => {
        const { pageOffset, length } = steps.at(-1)!.insn;
        return this.#lastForm(id).call ? [page * 4096 + pageOffset + length] : [];
      }),
    );
    return this.#plan.blocks.flatMap(({ page, offset, entry }, id) =>
      entry && (behindCalls.has(page * 4096 + offset) ? returns : others) ? [id] : [],
    );
  }
  #lastForm(id: number): Form {
    return this.#plan.blocks[id]!.steps.at(-1)!.insn.form;
  }
  /**
   * Goes to the entry at `rip`, behind the jump of a block of the page whose number follows the blocks' in the block parameter.
   * Entries of that page are told by a hash without collisions; for all others the code TLB is asked.
   */
  #lookUp(): void {
    const targets = this.#targets();
    if (targets.length > 0) this.#lookHere(targets);
    this.#lookElsewhere();
  }
  #lookHere(targets: readonly number[]): void {
    const f = this.#frame;
    const { blocks, pages } = this.#plan;
    const pageNumber = (page: number): bigint => (pages.length === 1 ? 0n : BigInt(blocks.length + page) << 48n);
    const keys = targets.map((id) => pageNumber(blocks[id]!.page) + BigInt(blocks[id]!.offset));
    const { multiplier, bits, slots } = perfectHash(keys);
    const key = f.local('i64');
    f.block();
    const elsewhere = f.depth;
    const labels = targets.map(() => {
      f.block();
      return f.depth;
    });
    f.get(f.rip).get(f.home(HOME.pageBase)).op('i64.sub');
    if (f.mode !== 2) f.i64(0xffff_ffffn).op('i64.and');
    // canonical addresses differ in their low 48 bits or not at all
    if (pages.length > 1) f.get(PARAM.block).op('i64.extend_i32_u').i64(48n).op('i64.shl').op('i64.add');
    f.tee(key)
      .i64(multiplier)
      .op('i64.mul')
      .i64(BigInt(64 - bits))
      .op('i64.shr_u')
      .op('i32.wrap_i64');
    f.brTable(
      slots.map((slot) => f.depth - (slot === null ? elsewhere : labels[slot]!)),
      f.depth - elsewhere,
    );
    for (let i = targets.length - 1; i >= 0; i--) {
      f.end();
      f.get(key)
        .i64(keys[i]!)
        .op('i64.ne')
        .seldom()
        .brIf(f.depth - elsewhere);
      this.#enter(targets[i]!);
    }
    f.end();
    f.release(key);
  }
  #lookElsewhere(): void {
    const f = this.#frame;
    const record = f.local('i32');
    f.get(PARAM.cpu)
      .get(f.rip)
      .call(f.callees.jump[f.mode === 2 ? 0 : 1])
      .set(record);
    f.get(PARAM.cpu).memory('i64.load', STATE.pageBase.offset).set(f.home(HOME.pageBase));
    // exits lie in the first page of linear memory, which holds no such handler
    f.get(record).memory('i32.load', RECORD.handler).i32(HANDLER.hot).op('i32.eq');
    f.get(record)
      .memory('i32.load', RECORD.imm2)
      .tee(PARAM.block)
      .i32(BLOCK_BITS)
      .op('i32.shr_u')
      .globalGet(this.#index)
      .op('i32.eq');
    f.op('i32.and').if();
    f.get(PARAM.block)
      .i32((1 << BLOCK_BITS) - 1)
      .op('i32.and')
      .set(PARAM.block);
    f.to(this.#levels[0]!.loop);
    f.end();
    f.get(record).set(f.exit).to(f.outDepth);
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
      const looksUp = this.#levels.length === 1 && this.#blocks.some((x) => x.ending.kind === 'jump');
      if (looksUp) f.block();
      const targets: number[] = [];
      for (const [i, part] of parts.entries())
        for (let n = part.first; n <= part.last; n++) targets.push(f.depth - level.labels[i]!);
      f.get(PARAM.block).i32(first).op('i32.sub').brTable(targets, 0);
      if (looksUp) {
        f.end();
        this.#lookUp();
      }
    }
    for (const [i, part] of parts.entries()) {
      f.end();
      level.current = i;
      if (!part.loop) this.#block(part.first);
      else {
        f.loop();
        this.#level(part.parts, part.first, part.last, part.dispatches);
        f.end();
      }
    }
    this.#levels.pop();
  }

  #block(id: number): void {
    const f = this.#frame;
    const { page, offset, second } = this.#plan.blocks[id]!;
    this.#page = page;
    if (second >= 0) {
      const base = f.local('i64');
      f.ripOf(4096n).set(base);
      this.#isMapped(base, second);
      f.op('i32.eqz').seldom().if();
      f.stop(offset, 0, EXIT.lookup);
      f.end();
      f.release(base);
    }
    this.#emitters[id]!.run(this, this.#reaches[id]!);
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
    f.takeApart();
    f.end();
    this.#epilogue();
    f.setAside();
    this.#prologue();
    return f;
  }
  #prologue(): void {
    const f = this.#frame;
    f.get(PARAM.cpu).memory('i32.load', STATE.tlbBase.offset).set(f.tlb);
    for (const [home, used] of f.used.entries())
      if (used) {
        f.loadHome(home);
        f.set(f.homes[home]!);
      }
  }
  #epilogue(): void {
    const f = this.#frame;
    for (const [home, dirty] of f.dirty.entries()) if (dirty) f.storeHome(home, () => f.get(f.homes[home]!));
    f.cook();
    f.get(f.exit).op('i32.eqz').if();
    f.get(PARAM.cpu)
      .get(f.rip)
      .call(f.callees.jump[f.mode === 2 ? 0 : 1])
      .set(f.exit);
    f.end();
    this.#chain();
    f.get(PARAM.cpu).get(PARAM.budget).memory('i32.store', STATE.budget.offset);
    f.get(PARAM.cpu).globalGet(this.#index).memory('i32.store', STATE.hopFrom.offset);
    f.get(PARAM.cpu).get(f.rip).memory('i64.store', STATE.rip.offset).get(f.exit);
  }
  /** Goes on in the region that the record in `exit` enters, unless this way is to be looked at. */
  #chain(): void {
    const f = this.#frame;
    const hops = f.local('i32');
    f.get(f.exit).memory('i32.load', RECORD.handler).i32(HANDLER.hot).op('i32.eq');
    f.get(PARAM.cpu).memory('i32.load', STATE.untilHop.offset).i32(1).op('i32.sub').tee(hops);
    f.i32(0).op('i32.gt_s').op('i32.and').if();
    f.get(PARAM.cpu).get(hops).memory('i32.store', STATE.untilHop.offset);
    f.get(PARAM.cpu);
    f.get(f.exit).memory('i32.load', RECORD.imm2).tee(hops);
    f.i32((1 << BLOCK_BITS) - 1).op('i32.and');
    f.get(PARAM.budget).get(hops).i32(BLOCK_BITS).op('i32.shr_u');
    f.returnCallIndirect(f.callees.regionType, f.callees.regionTable);
    f.end();
    f.release(hops);
  }
}

/** The function of a region; `index`: the global with its number; `spanBytes`: accesses may share a look into the TLB for so many bytes. */
export function writeRegion(plan: RegionPlan, index: number, callees: RegionCallees, spanBytes: number): Frame {
  assert(EXIT.budget === 0, 'exit 0 of a region means to look the next record up');
  return new RegionWriter(plan, index, callees, spanBytes).run();
}
