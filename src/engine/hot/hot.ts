/**
 * The hot tier: code that the cold tier was often found in is translated to regions, whose entries take the place of
 * records.
 *
 * Invariants:
 * - a region was made from what its bytes are now: a change of any of them drops it first ({@link HotTier.invalidate}), and a
 *   running region never goes on after that, since the instruction that would do it is sent back (src/memory/mmu.ts);
 * - an instruction belongs to one region at most;
 * - nothing is compiled or dropped while generated code runs, except through a slow path that is then sent back.
 */
import { assert } from '../../core/assert.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import type { Mmu, TranslatedCode } from '../../memory/mmu.ts';
import { type CodeKey, KEYS, modeOf } from '../../x86/code-key.ts';
import { HELPERS } from '../../x86/helpers.ts';
import { RECORD } from '../../x86/record.ts';
import type { CodeCache } from '../cold/code-cache.ts';
import { HANDLER, REGION_TABLE_SIZE } from '../cold/exits.ts';
import type { Handlers } from '../cold/handlers.ts';
import { helperImport, helperSignature } from '../cold/helper-import.ts';
import { addJump, BLOCK_BITS, COMMIT_SIGNATURE, SLOW_SIGNATURE } from '../cold/runtime.ts';
import { FunctionBody, ModuleBuilder } from '../wasm/encoder.ts';
import { ACCESS_SIGNATURE, type RegionCallees } from './frame.ts';
import { type CodeSource, discover, type RegionPlan, writeRegion } from './region.ts';

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
}
export const PROMOTION: Promotion = { sampleSteps: 2039, samples: 16, batch: 16, patience: 400 };
/** Evictions by changed code after which a page needs twice the heat, as a shift. */
const PATIENT_SHIFT = 2;
/** Bytes of code a bucket, as a shift. */
const BUCKET_SHIFT = 8;
/** Instructions translated at most at a time: all are dropped when there are more. */
const MAX_STEPS = 200_000;
/** Instructions that a sample is led back through to the start of its run. */
const MAX_BACK = 64;

interface Entry {
  readonly record: number;
  readonly tag: number;
  readonly handler: number;
}
interface Region {
  readonly index: number;
  readonly slot: number;
  readonly key: number;
  /** First byte, byte behind the last, for each block. */
  readonly ranges: ReadonlyArray<readonly [number, number]>;
  /** Page offsets of its instructions. */
  readonly offsets: readonly number[];
  readonly steps: number;
  readonly entries: Entry[];
  readonly candidate: Candidate;
  /** Page offsets of its blocks, ascending. */
  readonly blocks: readonly number[];
  /** Samples of the cold tier inside the region, by block. */
  readonly missed: Map<number, number>;
}
interface Candidate {
  readonly slot: number;
  readonly code: CodeKey;
  readonly table: number;
  /** Where the region begins, and further entries. */
  readonly seeds: readonly number[];
}

export class HotTier implements TranslatedCode {
  readonly #memory: GuestMemory;
  readonly #mmu: Mmu;
  readonly #cache: CodeCache;
  readonly #table: WebAssembly.Table;
  readonly #handlers: Handlers;
  readonly #regions = new Map<number, Region>();
  readonly #bySlot = new Map<number, Region[]>();
  /** Region of each translated instruction by slot and code key, then page offset. */
  readonly #owners = new Map<number, Map<number, Region>>();
  readonly #originals = new Map<number, Entry>();
  readonly #heat = new Map<number, number>();
  readonly #evicted = new Map<number, number>();
  #pending: Candidate[] = [];
  #waited = 0;
  #free: number[] = [];
  #next = 0;
  #steps = 0;
  readonly promotion: Promotion;

  // measurements
  evictions = 0;
  compiled = 0;
  modules = 0;
  samples = 0;
  covered = 0;
  translatedSteps = 0;
  wasmBytes = 0;

  constructor(
    memory: GuestMemory,
    mmu: Mmu,
    cache: CodeCache,
    table: WebAssembly.Table,
    handlers: Handlers,
    promotion: Promotion,
  ) {
    this.#memory = memory;
    this.#mmu = mmu;
    this.#cache = cache;
    this.#table = table;
    this.#handlers = handlers;
    this.promotion = promotion;
    mmu.translated = this;
    cache.onInvalidate = (slot, offset, length) => this.invalidate(slot, offset, length);
  }

  /** Regions that exist. */
  get live(): number {
    return this.#regions.size;
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

  /** The cold tier was found at an offset of a page. */
  sample(slot: number, code: CodeKey, table: number, offset: number): void {
    this.samples++;
    if (this.#pending.length > 0 && ++this.#waited > this.promotion.patience) this.#compile();
    const key = slot * KEYS + code;
    const owner = this.#owners.get(key)?.get(offset);
    if (owner !== undefined) {
      this.covered++;
      this.#miss(owner, offset);
      return;
    }
    const bucket = key * 64 + (offset >>> BUCKET_SHIFT);
    const heat = (this.#heat.get(bucket) ?? 0) + 1;
    this.#heat.set(bucket, heat);
    // code that keeps changing is not worth translating
    if (heat < this.promotion.samples << Math.min((this.#evicted.get(slot) ?? 0) >> PATIENT_SHIFT, 10)) return;
    this.#heat.set(bucket, 0);
    this.#want({ slot, code, table, seeds: [offset] });
  }
  #want(candidate: Candidate): void {
    this.#pending.push(candidate);
    if (this.#pending.length >= this.promotion.batch) this.#compile();
  }

  /** The cold tier was found inside a region: it should be entered at that block. */
  #miss(region: Region, offset: number): void {
    const block = region.blocks.findLast((first) => first <= offset);
    if (block === undefined) return;
    const count = (region.missed.get(block) ?? 0) + 1;
    region.missed.set(block, count);
    if (count !== this.promotion.samples) return;
    const { candidate } = region;
    if (candidate.seeds.includes(block)) return;
    this.#drop(region);
    this.#want({ ...candidate, seeds: [...candidate.seeds, block] });
  }

  // ---- translation --------------------------------------------------------------------------------------------------

  /** True when a record may become an entry. */
  #isPlain(record: number): boolean {
    return record !== 0 && this.#memory.words[record >>> 2]! >= HANDLER.firstForm;
  }
  /** The start of the run of decoded instructions that leads to an offset. */
  #startOf({ slot, code, table }: Candidate, offset: number): number {
    const { view } = this.#memory;
    const owners = this.#owners.get(slot * KEYS + code);
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
  #plan(candidate: Candidate): RegionPlan | null {
    const { slot, code, table, seeds } = candidate;
    const owners = this.#owners.get(slot * KEYS + code);
    if (owners?.has(seeds[0]!)) return null;
    const cache = this.#cache;
    const source: CodeSource = {
      mode: modeOf(code),
      decode: (at) => {
        if (cache.pauses.has(at)) return 'outside';
        const insn = cache.decodeAt(slot, at, code);
        return typeof insn !== 'string' && this.#handlers.isHandlersOwn(insn, code) ? 'outside' : insn;
      },
      programOf: (form) => this.#handlers.info(form).program,
      isWanted: (at) => this.#isPlain(cache.recordAt(table, at)) && !owners?.has(at),
    };
    const [first, ...more] = seeds;
    return discover(source, [this.#startOf(candidate, first!), ...more]);
  }

  #compile(): void {
    const candidates = this.#pending;
    this.#pending = [];
    this.#waited = 0;
    if (this.#steps > MAX_STEPS || this.#regions.size + candidates.length > REGION_TABLE_SIZE) {
      this.reset();
      return;
    }
    const module = new ModuleBuilder();
    module.importMemory('e', 'm', this.#memory.memory.buffer.byteLength / 65536);
    const slow = ['slowLoad', 'slowProbe'].map((name) => module.importFunction('e', name, SLOW_SIGNATURE));
    const commitScratch = module.importFunction('e', 'commitScratch', COMMIT_SIGNATURE);
    const made: Array<{ region: Region; candidate: Candidate; plan: RegionPlan }> = [];
    for (const candidate of candidates) {
      const plan = this.#plan(candidate);
      if (plan !== null) made.push({ region: this.#enter(candidate, plan), candidate, plan });
    }
    if (made.length === 0) return;
    const helpers = new Map<string, number>();
    const imports: Record<string, WebAssembly.ImportValue> = {};
    for (const { plan } of made)
      for (const { steps } of plan.blocks)
        for (const { program } of steps)
          for (const node of program.body) {
            if (node.op !== 'call' || helpers.has(node.helper)) continue;
            const helper = HELPERS[node.helper];
            assert(helper, `no helper ${node.helper}`);
            helpers.set(node.helper, module.importFunction('h', node.helper, helperSignature(helper)));
            imports[node.helper] = helperImport(helper);
          }
    const callees: RegionCallees = {
      slowLoad: addAccess(module, slow[0]!),
      slowProbe: addAccess(module, slow[1]!),
      commitScratch,
      jump: [addJump(module, false), addJump(module, true)],
      helper: (name) => helpers.get(name)!,
    };
    for (const { region, candidate, plan } of made)
      module.add(writeRegion(plan, { index: region.index, table: candidate.table }, callees), nameOf(region));
    const { slowLoad, slowProbe } = this.#mmu;
    const bytes = module.encode();
    this.wasmBytes += bytes.length;
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
      e: { m: this.#memory.memory, slowLoad, slowProbe, commitScratch: this.#mmu.commitScratch },
      h: imports,
    });
    this.modules++;
    for (const { region, candidate, plan } of made) {
      this.#table.set(region.index, instance.exports[nameOf(region)]);
      this.#attach(region, candidate, plan);
    }
  }
  /** Takes the region's instructions. */
  #enter(candidate: Candidate, { blocks, steps }: RegionPlan): Region {
    const { slot, code } = candidate;
    const key = slot * KEYS + code;
    const insns = blocks.flatMap((block) => block.steps.map((step) => step.insn));
    const region: Region = {
      index: this.#free.pop() ?? this.#next++,
      slot,
      key,
      ranges: blocks.map((block) => {
        const last = block.steps.at(-1)!.insn;
        return [block.offset, last.pageOffset + last.length];
      }),
      offsets: insns.map((insn) => insn.pageOffset),
      steps,
      entries: [],
      candidate,
      blocks: blocks.map((block) => block.offset),
      missed: new Map(),
    };
    this.#regions.set(region.index, region);
    this.#steps += steps;
    this.compiled++;
    this.translatedSteps += steps;
    this.#bySlot.set(slot, [...(this.#bySlot.get(slot) ?? []), region]);
    let owners = this.#owners.get(key);
    if (owners === undefined) {
      owners = new Map();
      this.#owners.set(key, owners);
    }
    for (const offset of region.offsets) owners.set(offset, region);
    return region;
  }
  /** Lets the region's entries take the place of their records. */
  #attach(region: Region, { table }: Candidate, { blocks }: RegionPlan): void {
    for (const [block, { offset, entry }] of blocks.entries()) {
      const record = this.#cache.recordAt(table, offset);
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
    return regions?.some((region) => overlaps(region, offset, bytes)) ?? false;
  }
  /** Bytes of a page are about to change: their regions go. Slot -1: all go, and their records with them. */
  invalidate(slot: number, offset: number, length: number): void {
    if (slot < 0) {
      this.reset();
      return;
    }
    const regions = this.#bySlot.get(slot);
    if (regions === undefined) return;
    const changed = regions.filter((region) => overlaps(region, offset, length));
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
    const left = this.#bySlot.get(region.slot)!.filter((x) => x !== region);
    if (left.length > 0) this.#bySlot.set(region.slot, left);
    else this.#bySlot.delete(region.slot);
    const owners = this.#owners.get(region.key)!;
    for (const offset of region.offsets) if (owners.get(offset) === region) owners.delete(offset);
    this.#regions.delete(region.index);
    this.#table.set(region.index, null);
    this.#free.push(region.index);
    this.#steps -= region.steps;
  }
  /** Drops every region. */
  reset(): void {
    for (const region of [...this.#regions.values()]) this.#drop(region);
    this.#owners.clear();
    this.#heat.clear();
    this.#pending = [];
  }
}

/** For profilers: frame slot and page offset of the region's first block. */
function nameOf(region: Region): string {
  return `region ${region.index} ${region.slot}+${region.ranges[0]![0].toString(16)}`;
}
function overlaps(region: Region, offset: number, bytes: number): boolean {
  return region.ranges.some(([first, end]) => offset < end && first < offset + bytes);
}

/** (vCPU state, linear address, bytes and flags) -> address in linear memory or 0, over an imported slow path. */
function addAccess(module: ModuleBuilder, slow: number): number {
  const f = new FunctionBody(ACCESS_SIGNATURE);
  f.get(0).get(1).op('i32.wrap_i64').get(1).i64(32n).op('i64.shr_u').op('i32.wrap_i64').get(2).call(slow);
  return module.add(f);
}
