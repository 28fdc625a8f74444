/**
 * The hot tier: code that the cold tier was often found in is translated to regions, whose entries take the place of
 * records. Here is decided what is translated and when; what has been translated before (translations.ts) comes as soon as the
 * cold tier decodes one of its entries.
 *
 * Invariants:
 * - nothing is compiled or dropped while generated code runs, except through a slow path that is then sent back;
 * - what it keeps is bounded: modules with regions by {@link MAX_MODULES}, modules without any by {@link DEAD_MODULES} (a module
 *   lives as long as one of its functions is in a table), maps by what regions there are or by the pages of memory.
 */
import type { GuestMemory } from '../../memory/guest-memory.ts';
import type { Mmu } from '../../memory/mmu.ts';
import { type CodeKey, KEYS, modeOf } from '../../x86/code-key.ts';
import type { Cpu } from '../../x86/cpu.ts';
import type { Form } from '../../x86/form.ts';
import type { ColdTier } from '../cold/cold.ts';
import { REGION_TABLE_SIZE } from '../cold/exits.ts';
import type { CodePage, HigherTier } from '../cold/higher-tier.ts';
import type { Instantiate } from '../wasm/instantiate.ts';
import { MAX_PAGES, type Place, placeOf, MAX_STEPS as REGION_STEPS, toPlace } from './discover.ts';
import type { Promotion } from './promotion.ts';
import { type LiveModule, type Region, Regions } from './regions.ts';
import { SPAN_BYTES } from './spans.ts';
import { ENTRY, type TranslatedModule, type Translations } from './translations.ts';
import { type Candidate, Translator } from './translator.ts';

/** Evictions by changed code after which a page needs twice the heat, as a shift. */
const PATIENT_SHIFT = 2;
/** Evictions by changed code after which a page's old translations do not come back by themselves. */
const MAX_RETURNS = 16;
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

const isSamePlace = (x: Place, y: Place): boolean => x.page === y.page && x.offset === y.offset;

/** What a host does for regions. */
export interface RegionHost {
  readonly instantiate: Instantiate;
  /** Called when much memory outside the JavaScript heap waits for a collection of garbage: may start one. */
  readonly collectGarbage: () => void;
}

export class HotTier implements HigherTier {
  readonly #regions: Regions;
  readonly #translations: Translations;
  readonly #translator: Translator;
  readonly #host: RegionHost;
  readonly #heat = new Map<number, number>();
  #pending: Candidate[] = [];
  #waited = 0;
  /** Entries of earlier translations that have been decoded. */
  #met: Array<{ readonly slot: number; readonly code: CodeKey; readonly offset: number }> = [];
  readonly promotion: Promotion;
  clock = 0;

  // measurements
  merged = 0;
  samples = 0;
  covered = 0;
  /** Regions that came back. */
  returned = 0;

  constructor(
    memory: GuestMemory,
    mmu: Mmu,
    cold: ColdTier,
    promotion: Promotion,
    translations: Translations,
    host: RegionHost,
  ) {
    const { cache, handlers, regions: table } = cold;
    this.#regions = new Regions(memory, cache, table);
    this.#translations = translations;
    this.#translator = new Translator(
      memory,
      mmu,
      cache,
      handlers,
      this.#regions,
      translations,
      table,
      host.instantiate,
    );
    this.#host = host;
    this.promotion = promotion;
    mmu.translated = this.#regions;
    cold.promoteTo(this);
    cache.onInvalidate = (slot, offset, length) => {
      if (slot < 0) this.reset();
      else this.#regions.invalidate(slot, offset, length);
    };
    cache.onDecoded = (slot, code, first, end) => {
      for (const offset of translations.entriesIn(slot, code)?.keys() ?? [])
        if (offset >= first && offset < end) this.#met.push({ slot, code, offset });
    };
  }

  /** Regions that exist. */
  get live(): number {
    return this.#regions.size;
  }
  /** Modules with regions. */
  get liveModules(): number {
    return this.#regions.modules.size;
  }
  /** Entries of all that grows with the code that regions exist of. */
  get kept(): number {
    return this.#regions.kept + this.#heat.size;
  }
  /** Regions translated. */
  get compiled(): number {
    return this.#translator.count;
  }
  get evictions(): number {
    return this.#regions.evictions;
  }
  /** Forms that have been translated. */
  get forms(): ReadonlySet<Form> {
    return this.#translator.forms;
  }
  handlerOf(record: number): number {
    return this.#regions.handlerOf(record);
  }

  // ---- heat ---------------------------------------------------------------------------------------------------------

  sample(cpu: Cpu, code: CodeKey, page: CodePage, offset: number): void {
    this.samples++;
    this.#return();
    if (this.#pending.length > 0 && ++this.#waited > this.promotion.patience) this.#compile(cpu);
    const region = this.#regions.at(page.slot, code, offset);
    if (region === undefined) this.#warm(cpu, code, page, offset);
    else {
      this.covered++;
      this.#miss(cpu, region, page.slot, offset);
    }
  }
  #warm(cpu: Cpu, code: CodeKey, page: CodePage, offset: number): void {
    const bucket = (page.slot * KEYS + code) * 64 + (offset >>> BUCKET_SHIFT);
    const heat = (this.#heat.get(bucket) ?? 0) + 1;
    this.#heat.set(bucket, heat);
    if (this.#heat.size > MAX_BUCKETS) this.#cool();
    // code that keeps changing is not worth translating
    if (heat < this.promotion.samples << Math.min(this.#regions.evictionsIn(page.slot) >> PATIENT_SHIFT, 10)) return;
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
  /** Drops a region that something better will take the place of. */
  #giveUp(region: Region): void {
    this.#translations.forget(region.live.module, region.number);
    this.#regions.drop(region);
  }

  /**
   * The cold tier was found inside a region: it should be entered at that block, or, where it is and the cold tier came in behind
   * its start, at the first place where it was found.
   */
  #miss(cpu: Cpu, region: Region, slot: number, offset: number): void {
    const page = region.pages.findIndex((x) => x.slot === slot);
    const now = this.clock;
    if (now - region.missedSince > MISS_STEPS) {
      region.missed.clear();
      region.misses = 0;
      region.missedSince = now;
    }
    const place = placeOf({ page, offset });
    region.missed.set(place, (region.missed.get(place) ?? 0) + 1);
    const beyond = ++region.misses - this.promotion.misses;
    if (beyond < 0 || beyond % LOOK_EVERY !== 0) return;
    const { code, blocks, seeds, spanBytes } = region.translation;
    // where the cold tier came in, by block
    const found = new Map<number, { place: number; count: number }>();
    for (const [at, count] of [...region.missed].sort(([a], [b]) => a - b)) {
      let block = -1;
      for (const x of blocks) {
        const start = x & ~ENTRY;
        if (start >>> 12 === at >>> 12 && start <= at && (block < 0 || start >= (block & ~ENTRY))) block = x;
      }
      if (block < 0) continue;
      const known = found.get(block);
      if (known !== undefined) known.count += count;
      else found.set(block, { place: block & ENTRY ? at : block, count });
    }
    const most = Math.max(0, ...[...found.values()].map((x) => x.count));
    if (most < this.promotion.misses) return;
    const more = [...found.values()]
      .filter(({ count }) => count * 4 >= most)
      .map((x) => toPlace(x.place))
      .filter((x) => !seeds.some((y) => isSamePlace(x, y)));
    // an entry that did not help will not help again
    if (more.length === 0) return;
    this.#giveUp(region);
    this.#want(cpu, { code, pages: region.pages, seeds: [...seeds, ...more], spanBytes });
  }
  /**
   * A span of accesses, of so many bytes, was refused at an offset of a page of code. Where that happens often, since a page ends in
   * between or since stores to it have to be seen, spans are shorter from then on, or each access looks for itself.
   */
  refuse(cpu: Cpu, code: CodeKey, slot: number, offset: number, bytes: number): void {
    const region = this.#regions.at(slot, code, offset);
    if (region === undefined) return;
    const now = this.clock;
    if (region.refused === 0 || now - region.refusedSince > REFUSAL_STEPS) {
      region.refused = 0;
      region.refusedSince = now;
    }
    if (++region.refused < REFUSALS) return;
    const { seeds, spanBytes } = region.translation;
    const shorter = SPAN_BYTES.find((x) => x < Math.min(bytes, spanBytes))!;
    this.#giveUp(region);
    this.#want(cpu, { code, pages: region.pages, seeds, spanBytes: shorter });
  }

  /** A region was left for another, to be entered at `record`: where that happens often the two become one. */
  hop(cpu: Cpu, from: number, record: number): void {
    const left = this.#regions.byIndex(from);
    const { region: entered, place } = this.#regions.entryAt(record);
    if (left === undefined || left === entered) return;
    const count = (left.hops.get(entered) ?? 0) + 1;
    left.hops.set(entered, count);
    const [ours, theirs] = [left.translation, entered.translation];
    if (count !== this.promotion.hops || ours.places.length + theirs.places.length > REGION_STEPS) return;
    const { code } = ours;
    if (code !== theirs.code) return;
    const pages = [...left.pages];
    const numbers = entered.pages.map((page) => {
      const known = pages.findIndex((x) => x.slot === page.slot);
      return known >= 0 ? known : pages.push(page) - 1;
    });
    if (pages.length > MAX_PAGES || (modeOf(code) !== 2 && pages.length > 1)) return;
    const seeds: [Place, ...Place[]] = [...ours.seeds];
    for (const { page, offset } of [...theirs.seeds, place]) {
      const seed = { page: numbers[page]!, offset };
      if (!seeds.some((x) => isSamePlace(x, seed))) seeds.push(seed);
    }
    this.#giveUp(left);
    this.#giveUp(entered);
    this.merged++;
    this.#pending.push({ code, pages, seeds, spanBytes: Math.min(ours.spanBytes, theirs.spanBytes) });
    this.#compile(cpu);
  }

  // ---- regions ------------------------------------------------------------------------------------------------------

  #compile(cpu: Cpu): void {
    const candidates = this.#pending;
    this.#pending = [];
    this.#waited = 0;
    this.#makeRoom(candidates.length);
    const module = this.#translator.translate(cpu, candidates);
    if (module === null) return;
    const live = this.#load(module);
    for (const number of live.indices.keys()) this.#regions.install(live, number);
  }
  #load(module: TranslatedModule): LiveModule {
    return (
      this.#regions.modules.get(module) ??
      this.#regions.load(module, (x, indices) => this.#translator.instantiate(x, indices))
    );
  }
  /** Has regions come back whose entries have been decoded, and enters those that have come back already. */
  #return(): void {
    if (this.#met.length === 0) return;
    const met = this.#met;
    this.#met = [];
    for (const { slot, code, offset } of met) {
      const known = this.#translations.entriesIn(slot, code)?.get(offset) ?? [];
      for (const { module, number, block } of known.toReversed()) {
        const region = this.#regions.of(module, number);
        if (region !== undefined) this.#regions.enterAt(region, block);
        else if (this.#regions.at(slot, code, offset) === undefined) this.#comeBack(module, number);
      }
    }
  }
  #comeBack(module: TranslatedModule, number: number): void {
    const translation = module.regions[number]!;
    if (translation.pages.some(({ slot }) => this.#regions.evictionsIn(slot) >= MAX_RETURNS)) return;
    if (!this.#regions.fits(translation)) return;
    this.#makeRoom(module.regions.length);
    this.returned++;
    this.#regions.install(this.#load(module), number);
  }
  /** Drops the oldest modules until there is room for one of so many regions, and has dead ones collected. */
  #makeRoom(regions: number): void {
    for (const { regions: oldest } of this.#regions.modules.values()) {
      const room = REGION_TABLE_SIZE - this.#regions.indices;
      if (this.liveModules < MAX_MODULES && this.#regions.steps <= MAX_STEPS && room >= regions) break;
      for (const region of oldest.values()) this.#regions.drop(region);
    }
    if (this.#regions.dead < DEAD_MODULES) return;
    this.#regions.dead = 0;
    this.#host.collectGarbage();
  }

  /** Drops every region. */
  reset(): void {
    this.#regions.reset();
    this.#heat.clear();
    this.#pending = [];
    this.#waited = 0;
    this.#met = [];
  }
}
