/**
 * The hot tier: code that the cold tier was often found in is translated to regions, whose entries take the place of
 * records.
 *
 * Invariants:
 * - a region was made from what its bytes are now: a change of any of them drops it first ({@link HotTier.invalidate}), and a
 *   running region never goes on after that, since the instruction that would do it is sent back (src/memory/mmu.ts);
 * - an instruction belongs to one region at most;
 * - nothing is compiled or dropped while generated code runs, except through a slow path that is then sent back;
 * - what it keeps is bounded: modules with regions by {@link MAX_MODULES}, modules without any by {@link DEAD_MODULES} (a module
 *   lives as long as one of its functions is in a table), maps by what regions there are or by the pages of memory.
 */

import { assert } from '../../core/assert.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import type { Mmu, TranslatedCode } from '../../memory/mmu.ts';
import { EXEC_ENTRY } from '../../memory/tlb.ts';
import { type CodeKey, codeKey, KEYS, modeOf } from '../../x86/code-key.ts';
import type { Cpu } from '../../x86/cpu.ts';
import type { Form } from '../../x86/form.ts';
import { HELPERS } from '../../x86/helpers.ts';
import { RECORD } from '../../x86/record.ts';
import type { CodeHost } from '../code-host.ts';
import type { CodeCache } from '../cold/code-cache.ts';
import { HANDLER, REGION_TABLE_SIZE } from '../cold/exits.ts';
import type { Handlers } from '../cold/handlers.ts';
import { helperImport, helperSignature } from '../cold/helper-import.ts';
import { addJump, BLOCK_BITS, REGION_SIGNATURE, SLOW_SIGNATURE } from '../cold/runtime.ts';
import { FunctionBody, ModuleBuilder } from '../wasm/encoder.ts';
import {
  type CodePage,
  type CodeSource,
  discover,
  MAX_PAGES,
  type Place,
  MAX_STEPS as REGION_STEPS,
  type RegionPlan,
} from './discover.ts';
import { ACCESS_SIGNATURE, type RegionCallees } from './frame.ts';
import { RECIPE_SIGNATURE, RECIPE_TABLE_SIZE, Recipes } from './recipes.ts';
import { writeRegion } from './region.ts';
import { SPAN_BYTES } from './spans.ts';

/** When code is translated. Unobservable. */
export interface Promotion {
  /** Steps between two looks at where the cold tier is. */
  readonly sampleSteps: number;
  /** Looks that find it in one bucket of code before that is translated. */
  readonly samples: number;
  /** Regions compiled together. */
  readonly batch: number;
  /** Looks after which fewer are. */
  readonly patience: number;
  /** Steps from region to region between two looks at which two they are. */
  readonly sampleHops: number;
  /** Looks that find the same two before they are made one. */
  readonly hops: number;
  /** Counts the steps that regions take (`regionSteps` of the vCPU). */
  readonly measured?: boolean;
}
export const PROMOTION: Promotion = {
  sampleSteps: 2039,
  samples: 32,
  batch: 16,
  patience: 400,
  sampleHops: 1021,
  hops: 64,
};
/** Evictions by changed code after which a page needs twice the heat, as a shift. */
const PATIENT_SHIFT = 2;
/** Where looking why a region is missed came to nothing, that many misses more lead to the next look. */
const LOOK_EVERY = 8;
/** Bytes of code a bucket, as a shift. */
const BUCKET_SHIFT = 8;
/** Instructions translated at most at a time, but for those of the module being made. */
const MAX_STEPS = 200_000;
/** Modules with regions at most. V8 gives up at some 32,000. */
const MAX_MODULES = 2048;
/** Modules left without regions after which the host is asked to collect them: hardly any of their memory is in V8's heap. */
const DEAD_MODULES = 1024;
/** Buckets of code with heat at most. */
const MAX_BUCKETS = 1 << 16;
/** Steps within which a region must be missed often enough; slices end inside blocks, so that every region is at times. */
const MISS_STEPS = 1 << 24;
/** Spans of a region that may be refused within so many steps. */
const REFUSALS = 256;
const REFUSAL_STEPS = 1 << 20;
/** Instructions that a sample is led back through to the start of its run. */
const MAX_BACK = 64;

interface Entry {
  readonly record: number;
  readonly tag: number;
  readonly handler: number;
}
/** Bytes of a page that a region was made from. */
interface Range {
  readonly slot: number;
  readonly first: number;
  readonly end: number;
}
interface Region {
  readonly index: number;
  /** The regions of its module that are left. */
  readonly module: Set<Region>;
  readonly ranges: readonly Range[];
  readonly entries: Entry[];
  readonly candidate: Candidate;
  readonly pages: readonly CodePage[];
  readonly blocks: ReadonlyArray<Place & { readonly entry: boolean }>;
  /** Its instructions: number in the list of pages * 4096 + page offset. */
  readonly places: Uint16Array;
  /** Samples of the cold tier inside the region by place, and the step from which on they count. */
  readonly missed: Map<number, number>;
  /** Sum of `missed`. */
  misses: number;
  missedSince: number;
  /** Spans of accesses that were refused, and the step from which on they count. */
  refused: number;
  refusedSince: number;
  /** Samples of steps from here to other regions. */
  readonly hops: WeakMap<Region, number>;
}
interface Candidate {
  readonly code: CodeKey;
  readonly pages: readonly CodePage[];
  /** Where the region begins, and further entries. */
  readonly seeds: readonly Place[];
  /** Accesses may share a look into the TLB for so many bytes (spans.ts). */
  readonly spanBytes: number;
}
const ownerKey = (slot: number, code: CodeKey): number => slot * KEYS + code;

export class HotTier implements TranslatedCode {
  readonly #memory: GuestMemory;
  readonly #mmu: Mmu;
  readonly #cache: CodeCache;
  readonly #table: WebAssembly.Table;
  readonly #handlers: Handlers;
  readonly #host: CodeHost;
  readonly #regions = new Map<number, Region>();
  readonly #bySlot = new Map<number, Region[]>();
  /** Region of each translated instruction by slot and code key, then page offset. */
  readonly #owners = new Map<number, Map<number, Region>>();
  readonly #originals = new Map<number, Entry>();
  /** Modules with regions, in the order they were made in. */
  readonly #modules = new Set<Set<Region>>();
  #dead = 0;
  readonly #heat = new Map<number, number>();
  readonly #evicted = new Map<number, number>();
  readonly #recipes = new Recipes();
  readonly #recipeTable = new WebAssembly.Table({
    element: 'anyfunc',
    initial: RECIPE_TABLE_SIZE,
    maximum: RECIPE_TABLE_SIZE,
  });
  #pending: Candidate[] = [];
  #waited = 0;
  #free: number[] = [];
  #next = 0;
  #steps = 0;
  readonly promotion: Promotion;

  // measurements
  evictions = 0;
  merged = 0;
  compiled = 0;
  modules = 0;
  samples = 0;
  covered = 0;
  translatedSteps = 0;
  wasmBytes = 0;
  /** Forms that have been translated. */
  readonly forms = new Set<Form>();

  constructor(
    memory: GuestMemory,
    mmu: Mmu,
    cache: CodeCache,
    table: WebAssembly.Table,
    handlers: Handlers,
    promotion: Promotion,
    host: CodeHost,
  ) {
    this.#memory = memory;
    this.#mmu = mmu;
    this.#cache = cache;
    this.#table = table;
    this.#handlers = handlers;
    this.promotion = promotion;
    this.#host = host;
    mmu.translated = this;
    cache.onInvalidate = (slot, offset, length) => this.invalidate(slot, offset, length);
  }

  /** Regions that exist. */
  get live(): number {
    return this.#regions.size;
  }
  /** Modules with regions. */
  get liveModules(): number {
    return this.#modules.size;
  }
  /** Entries of all that grows with the code translated. */
  get kept(): number {
    const maps = [this.#regions, this.#bySlot, this.#owners, this.#originals, this.#heat, this.#modules];
    return maps.reduce(
      (sum, x) => sum + x.size,
      [...this.#owners.values()].reduce((sum, x) => sum + x.size, 0),
    );
  }
  /** Handler of a record as it was before it became an entry. */
  handlerOf(record: number): number {
    const handler = this.#memory.words[record >>> 2]!;
    if (handler !== HANDLER.hot) return handler;
    const entry = this.#originals.get(record);
    assert(entry, 'an entry has a region');
    return entry.handler;
  }

  // ---- heat ---------------------------------------------------------------------------------------------------------

  /** The cold tier was found at an offset of a page of code. */
  sample(cpu: Cpu, code: CodeKey, page: CodePage, offset: number): void {
    this.samples++;
    if (this.#pending.length > 0 && ++this.#waited > this.promotion.patience) this.#compile(cpu);
    const key = ownerKey(page.slot, code);
    const owner = this.#owners.get(key)?.get(offset);
    if (owner !== undefined) {
      this.covered++;
      this.#miss(cpu, owner, page.slot, offset);
      return;
    }
    const bucket = key * 64 + (offset >>> BUCKET_SHIFT);
    const heat = (this.#heat.get(bucket) ?? 0) + 1;
    this.#heat.set(bucket, heat);
    if (this.#heat.size > MAX_BUCKETS) this.#cool();
    // code that keeps changing is not worth translating
    if (heat < this.promotion.samples << Math.min((this.#evicted.get(page.slot) ?? 0) >> PATIENT_SHIFT, 10)) return;
    this.#heat.delete(bucket);
    this.#want(cpu, { code, pages: [page], seeds: [{ page: 0, offset }], spanBytes: SPAN_BYTES[0] });
  }
  /** Halves all heat and forgets what was met once. */
  #cool(): void {
    for (const [bucket, heat] of this.#heat)
      if (heat > 1) this.#heat.set(bucket, heat >> 1);
      else this.#heat.delete(bucket);
  }
  #want(cpu: Cpu, candidate: Candidate): void {
    this.#pending.push(candidate);
    if (this.#pending.length >= this.promotion.batch) this.#compile(cpu);
  }

  /**
   * The cold tier was found inside a region: it should be entered at that block, or, where it is and the cold tier came in behind
   * its start, at the first place where it was found.
   */
  #miss(cpu: Cpu, region: Region, slot: number, offset: number): void {
    const page = region.pages.findIndex((x) => x.slot === slot);
    const now = cpu.steps;
    if (now - region.missedSince > MISS_STEPS) {
      region.missed.clear();
      region.misses = 0;
      region.missedSince = now;
    }
    const place = page * 4096 + offset;
    region.missed.set(place, (region.missed.get(place) ?? 0) + 1);
    const beyond = ++region.misses - this.promotion.samples;
    if (beyond < 0 || beyond % LOOK_EVERY !== 0) return;
    // where the cold tier came in, by block
    const found = new Map<Region['blocks'][number], { place: number; count: number }>();
    for (const [at, count] of [...region.missed].sort(([a], [b]) => a - b)) {
      let block: Region['blocks'][number] | undefined;
      for (const x of region.blocks)
        if (x.page === at >>> 12 && x.offset <= (at & 4095) && x.offset >= (block?.offset ?? 0)) block = x;
      if (block === undefined) continue;
      const known = found.get(block);
      if (known !== undefined) known.count += count;
      else found.set(block, { place: block.entry ? at : block.page * 4096 + block.offset, count });
    }
    const most = Math.max(0, ...[...found.values()].map((x) => x.count));
    if (most < this.promotion.samples) return;
    const { pages } = region;
    const { code, spanBytes } = region.candidate;
    // the first seed is where the search for the region's start begins, no entry
    const [first, ...known] = region.candidate.seeds;
    const more = [...found.values()]
      .filter(({ count }) => count * 4 >= most)
      .map((x) => ({ page: x.place >>> 12, offset: x.place & 4095 }))
      .filter((x) => !known.some((y) => x.page === y.page && x.offset === y.offset));
    // an entry that did not help will not help again
    if (more.length === 0) return;
    this.#drop(region);
    this.#want(cpu, { code, pages, seeds: [first!, ...known, ...more], spanBytes });
  }
  /**
   * A span of accesses, of so many bytes, was refused at an offset of a page of code. Where that happens often, since a page ends in
   * between or since stores to it have to be seen, spans are shorter from then on, or each access looks for itself.
   */
  refuse(cpu: Cpu, code: CodeKey, slot: number, offset: number, bytes: number): void {
    const region = this.#owners.get(ownerKey(slot, code))?.get(offset);
    if (region === undefined) return;
    const now = cpu.steps;
    if (region.refused === 0 || now - region.refusedSince > REFUSAL_STEPS) {
      region.refused = 0;
      region.refusedSince = now;
    }
    if (++region.refused < REFUSALS) return;
    const spanBytes = SPAN_BYTES.find((x) => x < Math.min(bytes, region.candidate.spanBytes))!;
    this.#drop(region);
    this.#want(cpu, { ...region.candidate, pages: region.pages, spanBytes });
  }

  /** A region was left for another, to be entered at `record`: where that happens often the two become one. */
  hop(cpu: Cpu, from: number, record: number): void {
    const left = this.#regions.get(from);
    const entered = this.#regions.get(this.#originals.get(record)!.tag >>> BLOCK_BITS);
    if (left === undefined || entered === undefined || left === entered) return;
    const count = (left.hops.get(entered) ?? 0) + 1;
    left.hops.set(entered, count);
    if (count !== this.promotion.hops || left.places.length + entered.places.length > REGION_STEPS) return;
    const { code } = left.candidate;
    if (code !== entered.candidate.code) return;
    const spanBytes = Math.min(left.candidate.spanBytes, entered.candidate.spanBytes);
    const pages = [...left.pages];
    const numbers = entered.pages.map((page) => {
      const known = pages.findIndex((x) => x.slot === page.slot);
      return known >= 0 ? known : pages.push(page) - 1;
    });
    if (pages.length > MAX_PAGES || (modeOf(code) !== 2 && pages.length > 1)) return;
    const { page, offset } = entered.blocks[this.#originals.get(record)!.tag & ((1 << BLOCK_BITS) - 1)]!;
    const seeds = [...left.candidate.seeds];
    const theirs = entered.candidate.seeds.map((x) => ({ ...x, page: numbers[x.page]! }));
    for (const seed of [...theirs, { page: numbers[page]!, offset }])
      if (!seeds.some((x) => x.page === seed.page && x.offset === seed.offset)) seeds.push(seed);
    this.#drop(left);
    this.#drop(entered);
    this.merged++;
    this.#pending.push({ code, pages, seeds, spanBytes });
    this.#compile(cpu);
  }

  // ---- translation --------------------------------------------------------------------------------------------------

  /** True when a record may become an entry. */
  #isPlain(record: number): boolean {
    return record !== 0 && this.#memory.words[record >>> 2]! >= HANDLER.firstForm;
  }
  /** The start of the run of decoded instructions that leads to an offset. */
  #startOf(code: CodeKey, { slot, table }: CodePage, offset: number): number {
    const { view } = this.#memory;
    const owners = this.#owners.get(ownerKey(slot, code));
    let at = offset;
    for (let count = 0; count < MAX_BACK; count++) {
      let before = -1;
      for (let length = 1; length <= 15 && length <= at; length++) {
        const record = this.#cache.recordAt(table, at - length);
        if (!this.#isPlain(record) || view.getUint8(record + RECORD.place + 2) !== length) continue;
        if (view.getUint8(record + RECORD.place + 3) === 1 || owners?.has(at - length)) continue;
        before = at - length;
        break;
      }
      if (before < 0) break;
      at = before;
    }
    return at;
  }
  #plan(cpu: Cpu, { code, pages, seeds }: Candidate): RegionPlan | null {
    const mode = modeOf(code);
    const owned = (page: CodePage, at: number): boolean =>
      this.#owners.get(ownerKey(page.slot, code))?.has(at) ?? false;
    const first = pages[seeds[0]!.page]!;
    if (owned(first, seeds[0]!.offset)) return null;
    const cache = this.#cache;
    const { words, map } = this.#memory;
    const source: CodeSource = {
      mode,
      pages: [...pages],
      decode: ({ page, offset }, second) => {
        const { slot } = source.pages[page]!;
        if (cache.pausesAt(slot, offset)) return 'outside';
        const insn =
          second === null ? cache.decodeAt(slot, offset, code) : cache.decodeAcross(slot, second.slot, offset, code);
        return typeof insn !== 'string' && this.#handlers.isChecked(insn, code) ? 'outside' : insn;
      },
      programOf: (form) => this.#handlers.info(form).program,
      isWanted: ({ page, offset }) => {
        const here = source.pages[page]!;
        const record = cache.recordAt(here.table, offset);
        const crosses =
          record !== 0 && words[record >>> 2] === HANDLER.cross && words[(record + RECORD.link) >>> 2] !== 0;
        return (this.#isPlain(record) || (crosses && mode === 2)) && !owned(here, offset);
      },
      pageAt: (number) => {
        // the tables of the code TLB are those of the key the vCPU is under now
        if (codeKey(cpu) !== code) return null;
        const entry = this.#mmu.tlb(cpu).findCode((number << 12) | 0, Math.floor(number / 0x100000) | 0);
        if (entry === 0) return null;
        const slot = ((words[entry + (EXEC_ENTRY.page >>> 2)]! >>> 0) - map.ram) >>> 12;
        return { number, slot, table: words[entry + (EXEC_ENTRY.code >>> 2)]! };
      },
    };
    const [seed, ...more] = seeds;
    return discover(source, [{ page: seed!.page, offset: this.#startOf(code, first, seed!.offset) }, ...more]);
  }

  #compile(cpu: Cpu): void {
    const candidates = this.#pending;
    this.#pending = [];
    this.#waited = 0;
    this.#makeRoom(candidates.length);
    const module = new ModuleBuilder();
    module.importMemory('e', 'm', this.#memory.memory.buffer.byteLength / 65536);
    const recipeTable = module.importTable('e', 'f', RECIPE_TABLE_SIZE);
    const regionTable = module.importTable('e', 'r', REGION_TABLE_SIZE);
    const slow = ['slowLoad', 'slowProbe', 'slowSpan'].map((name) => module.importFunction('e', name, SLOW_SIGNATURE));
    const made: Array<{ region: Region; plan: RegionPlan }> = [];
    const regions = new Set<Region>();
    for (const candidate of candidates) {
      const plan = this.#plan(cpu, candidate);
      if (plan !== null) made.push({ region: this.#enter(candidate, plan, regions), plan });
    }
    if (made.length === 0) return;
    const helpers = new Map<string, number>();
    const imports: Record<string, WebAssembly.ImportValue> = {};
    for (const name of new Set(made.flatMap(({ plan }) => helpersOf(plan)))) {
      const helper = HELPERS[name];
      assert(helper, `no helper ${name}`);
      helpers.set(name, module.importFunction('h', name, helperSignature(helper)));
      imports[name] = helperImport(helper);
    }
    const callees: RegionCallees = {
      slowLoad: addAccess(module, slow[0]!),
      slowProbe: addAccess(module, slow[1]!),
      slowSpan: addAccess(module, slow[2]!),
      jump: [addJump(module, false), addJump(module, true)],
      helper: (name) => helpers.get(name)!,
      recipes: this.#recipes,
      recipeTable,
      recipeType: module.type(RECIPE_SIGNATURE),
      regionTable,
      regionType: module.type(REGION_SIGNATURE),
    };
    for (const { region, plan } of made)
      module.add(writeRegion(plan, region.index, callees, region.candidate.spanBytes), nameOf(region));
    this.#recipes.compile(this.#memory.memory, this.#recipeTable, this.#host.instantiate);
    const { slowLoad, slowProbe, slowSpan } = this.#mmu;
    const bytes = module.encode();
    this.wasmBytes += bytes.length;
    const instance = this.#host.instantiate(bytes, {
      e: { m: this.#memory.memory, f: this.#recipeTable, r: this.#table, slowLoad, slowProbe, slowSpan },
      h: imports,
    });
    this.modules++;
    this.#modules.add(regions);
    for (const { region } of made) {
      this.#table.set(region.index, instance.exports[nameOf(region)]);
      this.#attach(region);
    }
  }
  /** Drops the oldest modules until there is room for one of so many regions, and has dead ones collected. */
  #makeRoom(regions: number): void {
    for (const module of this.#modules) {
      const room = REGION_TABLE_SIZE - this.#regions.size;
      if (this.#modules.size < MAX_MODULES && this.#steps <= MAX_STEPS && room >= regions) break;
      for (const region of module) this.#drop(region);
    }
    if (this.#dead < DEAD_MODULES) return;
    this.#dead = 0;
    this.#host.collectGarbage();
  }
  /** Takes the region's instructions. */
  #enter(candidate: Candidate, plan: RegionPlan, module: Set<Region>): Region {
    const { blocks, pages, steps } = plan;
    const ranges: Range[] = [];
    for (const { page, second, steps: insns, offset } of blocks) {
      const last = insns.at(-1)!.insn;
      const end = last.pageOffset + last.length;
      ranges.push({ slot: pages[page]!.slot, first: offset, end: Math.min(end, 4096) });
      if (second >= 0) ranges.push({ slot: pages[second]!.slot, first: 0, end: end - 4096 });
    }
    const region: Region = {
      index: this.#free.pop() ?? this.#next++,
      module,
      ranges,
      entries: [],
      candidate,
      pages,
      // what it was planned with, a decoded form of every instruction, is not kept
      blocks: blocks.map(({ page, offset, entry }) => ({ page, offset, entry })),
      places: Uint16Array.from(blocks.flatMap((x) => x.steps.map(({ insn }) => x.page * 4096 + insn.pageOffset))),
      missed: new Map(),
      misses: 0,
      missedSince: 0,
      refused: 0,
      refusedSince: 0,
      hops: new WeakMap(),
    };
    module.add(region);
    this.#regions.set(region.index, region);
    for (const block of blocks) for (const { insn } of block.steps) this.forms.add(insn.form);
    this.#steps += steps;
    this.compiled++;
    this.translatedSteps += steps;
    for (const slot of new Set(ranges.map((x) => x.slot)))
      this.#bySlot.set(slot, [...(this.#bySlot.get(slot) ?? []), region]);
    for (const place of region.places) {
      const key = ownerKey(pages[place >>> 12]!.slot, candidate.code);
      let owners = this.#owners.get(key);
      if (owners === undefined) {
        owners = new Map();
        this.#owners.set(key, owners);
      }
      owners.set(place & 4095, region);
    }
    return region;
  }
  /** Lets the region's entries take the place of their records. */
  #attach(region: Region): void {
    const { blocks, pages } = region;
    for (const [block, { page, offset, entry }] of blocks.entries()) {
      const record = this.#cache.recordAt(pages[page]!.table, offset);
      if (!entry || !this.#isPlain(record)) continue;
      const tag = (region.index << BLOCK_BITS) | block;
      const made = { record, tag, handler: this.#cache.enterRegion(record, tag) };
      region.entries.push(made);
      this.#originals.set(record, made);
    }
  }

  // ---- eviction -----------------------------------------------------------------------------------------------------

  covers(slot: number, offset: number, bytes: number): boolean {
    const regions = this.#bySlot.get(slot);
    return regions?.some((region) => overlaps(region, slot, offset, bytes)) ?? false;
  }
  /** Bytes of a page are about to change: their regions go. Slot -1: all go, and their records with them. */
  invalidate(slot: number, offset: number, length: number): void {
    if (slot < 0) {
      this.reset();
      return;
    }
    const regions = this.#bySlot.get(slot);
    if (regions === undefined) return;
    const changed = regions.filter((region) => overlaps(region, slot, offset, length));
    if (changed.length === 0) return;
    for (const region of changed) this.#drop(region);
    this.#evicted.set(slot, (this.#evicted.get(slot) ?? 0) + 1);
  }
  #drop(region: Region): void {
    this.evictions++;
    for (const { record, tag, handler } of region.entries) {
      this.#cache.restore(record, tag, handler);
      this.#originals.delete(record);
    }
    for (const slot of new Set(region.ranges.map((x) => x.slot))) {
      const left = this.#bySlot.get(slot)!.filter((x) => x !== region);
      if (left.length > 0) this.#bySlot.set(slot, left);
      else this.#bySlot.delete(slot);
    }
    for (const place of region.places) {
      const key = ownerKey(region.pages[place >>> 12]!.slot, region.candidate.code);
      const owners = this.#owners.get(key);
      if (owners?.get(place & 4095) !== region) continue;
      owners.delete(place & 4095);
      if (owners.size === 0) this.#owners.delete(key);
    }
    this.#regions.delete(region.index);
    this.#table.set(region.index, null);
    this.#free.push(region.index);
    this.#steps -= region.places.length;
    region.module.delete(region);
    if (region.module.size === 0 && this.#modules.delete(region.module)) this.#dead++;
  }
  /** Drops every region. */
  reset(): void {
    for (const region of [...this.#regions.values()]) this.#drop(region);
    this.#owners.clear();
    this.#heat.clear();
    this.#evicted.clear();
    this.#pending = [];
    this.#waited = 0;
  }
}

/** For profilers: frame slot and page offset of the region's first block. */
function nameOf({ index, ranges }: Region): string {
  return `region ${index} ${ranges[0]!.slot}+${ranges[0]!.first.toString(16)}`;
}
/** Names of the helpers that a region's instructions call, each as often as it is called. */
function helpersOf({ blocks }: RegionPlan): string[] {
  const names: string[] = [];
  for (const { steps } of blocks)
    for (const { program } of steps) for (const node of program.body) if (node.op === 'call') names.push(node.helper);
  return names;
}
function overlaps({ ranges }: Region, slot: number, offset: number, bytes: number): boolean {
  return ranges.some((x) => x.slot === slot && offset < x.end && x.first < offset + bytes);
}

/** (vCPU state, linear address, bytes and flags) -> address in linear memory or 0, over an imported slow path. */
function addAccess(module: ModuleBuilder, slow: number): number {
  const f = new FunctionBody(ACCESS_SIGNATURE);
  f.get(0).get(1).op('i32.wrap_i64').get(1).i64(32n).op('i64.shr_u').op('i32.wrap_i64').get(2).call(slow);
  return module.add(f);
}
