/**
 * The regions of an engine: which instructions they have, at which records they are entered, and what drops them.
 *
 * Invariants:
 * - a region was made from what its bytes are now: a change of any of them drops it first ({@link Regions.invalidate}), and a
 *   running region never goes on after that, since the instruction that would do it is sent back (src/memory/mmu.ts);
 * - a record enters one region at most; an instruction may be part of several, and belongs to the one installed last;
 * - a translation is installed once at a time;
 * - nothing is installed or dropped while generated code runs, except through a slow path that is then sent back;
 * - a module is held while one of its regions exists: V8 frees it when none of its functions is in a table.
 */
import { assert } from '../../core/assert.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import type { TranslatedCode } from '../../memory/mmu.ts';
import { type CodeKey, KEYS } from '../../x86/code-key.ts';
import type { CodeCache } from '../cold/code-cache.ts';
import { HANDLER } from '../cold/exits.ts';
import type { CodePage } from '../cold/higher-tier.ts';
import { BLOCK_BITS } from '../cold/runtime.ts';
import { type Place, toPlace } from './discover.ts';
import { ENTRY, type TranslatedModule, type Translation, textOf } from './translations.ts';

interface Entry {
  readonly record: number;
  readonly region: Region;
  readonly tag: number;
  readonly handler: number;
}
/** A module with regions. */
export interface LiveModule {
  readonly module: TranslatedModule;
  /** Index in the table of regions, by number in the module. */
  readonly indices: readonly number[];
  readonly functions: readonly unknown[];
  /** Those that exist, by number. */
  readonly regions: Map<number, Region>;
}
export interface Region {
  readonly live: LiveModule;
  /** Number in the module. */
  readonly number: number;
  /** Index of its function in the table of regions. */
  readonly index: number;
  readonly translation: Translation;
  readonly pages: readonly CodePage[];
  readonly entries: Entry[];
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
const ownerKey = (slot: number, code: CodeKey): number => slot * KEYS + code;

export class Regions implements TranslatedCode {
  readonly #memory: GuestMemory;
  readonly #cache: CodeCache;
  readonly #table: WebAssembly.Table;
  readonly #byIndex = new Map<number, Region>();
  readonly #bySlot = new Map<number, Region[]>();
  /** Region of each translated instruction by slot and code key, then page offset. */
  readonly #owners = new Map<number, Map<number, Region>>();
  readonly #byRecord = new Map<number, Entry>();
  /** Modules with regions, in the order they came in. */
  readonly #modules = new Map<TranslatedModule, LiveModule>();
  /** Changes of code that dropped regions, by slot. */
  readonly #evicted = new Map<number, number>();
  #free: number[] = [];
  #next = 0;
  /** Indices in use. */
  indices = 0;
  /** Instructions of all regions. */
  steps = 0;
  /** Regions dropped so far. */
  evictions = 0;
  /** Modules that have lost their last region so far. */
  dead = 0;

  constructor(memory: GuestMemory, cache: CodeCache, table: WebAssembly.Table) {
    this.#memory = memory;
    this.#cache = cache;
    this.#table = table;
  }
  get size(): number {
    return this.#byIndex.size;
  }
  /** Modules with regions, the oldest first. */
  get modules(): ReadonlyMap<TranslatedModule, LiveModule> {
    return this.#modules;
  }
  /** Entries of all that grows with the code translated. */
  get kept(): number {
    const maps = [this.#byIndex, this.#bySlot, this.#owners, this.#byRecord, this.#modules];
    return maps.reduce(
      (sum, x) => sum + x.size,
      [...this.#owners.values()].reduce((sum, x) => sum + x.size, 0),
    );
  }

  // ---- looking ------------------------------------------------------------------------------------------------------

  /** The region that the instruction at a page offset belongs to. */
  at(slot: number, code: CodeKey, offset: number): Region | undefined {
    return this.#owners.get(ownerKey(slot, code))?.get(offset);
  }
  byIndex(index: number): Region | undefined {
    return this.#byIndex.get(index);
  }
  /** The entry that a record has become, with the place of its block. */
  entryAt(record: number): { readonly region: Region; readonly place: Place } {
    const { region, tag } = this.#entryOf(record);
    return { region, place: toPlace(region.translation.blocks[tag & ((1 << BLOCK_BITS) - 1)]! & ~ENTRY) };
  }
  /** Handler of a record as it was before it became an entry. */
  handlerOf(record: number): number {
    const handler = this.#memory.words[record >>> 2]!;
    return handler === HANDLER.hot ? this.#entryOf(record).handler : handler;
  }
  #entryOf(record: number): Entry {
    const entry = this.#byRecord.get(record);
    assert(entry, 'an entry has a region');
    return entry;
  }
  /** How often changes of a page's code have dropped regions. */
  evictionsIn(slot: number): number {
    return this.#evicted.get(slot) ?? 0;
  }

  // ---- coming -------------------------------------------------------------------------------------------------------

  /** Makes the functions of a module, none of whose regions exists yet. */
  load(
    module: TranslatedModule,
    instantiate: (module: TranslatedModule, indices: readonly number[]) => LiveModule['functions'],
  ): LiveModule {
    const indices = module.regions.map(() => this.#free.pop() ?? this.#next++);
    this.indices += indices.length;
    const live = { module, indices, functions: instantiate(module, indices), regions: new Map<number, Region>() };
    this.#modules.set(module, live);
    return live;
  }
  /** Gives a module up that has no region. */
  unload({ module, indices, regions }: LiveModule): void {
    assert(regions.size === 0, 'a module is held by its regions');
    this.#modules.delete(module);
    this.#free.push(...indices);
    this.indices -= indices.length;
    this.dead++;
  }
  /** The region of a module's translation, while it exists. */
  of(module: TranslatedModule, number: number): Region | undefined {
    return this.#modules.get(module)?.regions.get(number);
  }
  /**
   * Whether a translation of which there is no region fits what there is: the same bytes in the same pages, none of its instructions
   * with a pause or in a region, and room for the tables of its pages.
   */
  fits({ code, pages, places, ranges, text }: Translation): boolean {
    const fresh = pages.filter(({ slot }) => !this.#cache.hasTable(slot, code)).length;
    if (!this.#cache.hasRoomFor(fresh)) return false;
    const owners = pages.map(({ slot }) => this.#owners.get(ownerKey(slot, code)));
    for (const place of places) {
      if (owners[place >>> 12]?.has(place & 4095)) return false;
      if (this.#cache.pausesAt(pages[place >>> 12]!.slot, place & 4095)) return false;
    }
    return textOf(this.#memory, pages, ranges).every((byte, i) => byte === text[i]);
  }
  /** Makes a region of a translation that {@link Regions.fits}. It is entered at the records that are there by now. */
  install(live: LiveModule, number: number): Region {
    assert(!live.regions.has(number), 'a translation is installed once');
    const translation = live.module.regions[number]!;
    const { code, places, blocks } = translation;
    const region: Region = {
      live,
      number,
      index: live.indices[number]!,
      translation,
      pages: translation.pages.map((page) => ({ ...page, table: this.#cache.tableOf(page.slot, code) })),
      entries: [],
      missed: new Map(),
      misses: 0,
      missedSince: Number.NEGATIVE_INFINITY,
      refused: 0,
      refusedSince: Number.NEGATIVE_INFINITY,
      hops: new WeakMap(),
    };
    live.regions.set(number, region);
    this.#byIndex.set(region.index, region);
    this.#table.set(region.index, live.functions[number]);
    this.steps += places.length;
    for (const { slot } of region.pages) this.#bySlot.set(slot, [...(this.#bySlot.get(slot) ?? []), region]);
    for (const place of places) {
      const key = ownerKey(region.pages[place >>> 12]!.slot, code);
      let owners = this.#owners.get(key);
      if (owners === undefined) {
        owners = new Map();
        this.#owners.set(key, owners);
      }
      owners.set(place & 4095, region);
    }
    for (const block of blocks.keys()) this.enterAt(region, block);
    return region;
  }
  /** Lets a block take the place of its record, where it may be entered and there is one. */
  enterAt(region: Region, block: number): void {
    const place = region.translation.blocks[block]!;
    if ((place & ENTRY) === 0) return;
    const record = this.#cache.recordAt(region.pages[(place & ~ENTRY) >>> 12]!.table, place & 4095);
    if (!this.#cache.isPlain(record)) return;
    const tag = (region.index << BLOCK_BITS) | block;
    const entry = { record, region, tag, handler: this.#cache.enterRegion(record, tag) };
    region.entries.push(entry);
    this.#byRecord.set(record, entry);
  }

  // ---- going --------------------------------------------------------------------------------------------------------

  covers(slot: number, offset: number, bytes: number): boolean {
    return this.#bySlot.get(slot)?.some((region) => overlaps(region, slot, offset, bytes)) ?? false;
  }
  /** Bytes of a page are about to change: their regions go. */
  invalidate(slot: number, offset: number, length: number): void {
    const changed = this.#bySlot.get(slot)?.filter((region) => overlaps(region, slot, offset, length)) ?? [];
    if (changed.length === 0) return;
    for (const region of changed) this.drop(region);
    this.#evicted.set(slot, this.evictionsIn(slot) + 1);
  }
  drop(region: Region): void {
    const { live, translation, pages } = region;
    this.evictions++;
    for (const { record, tag, handler } of region.entries) {
      this.#cache.restore(record, tag, handler);
      this.#byRecord.delete(record);
    }
    for (const { slot } of pages) {
      const left = this.#bySlot.get(slot)!.filter((x) => x !== region);
      if (left.length > 0) this.#bySlot.set(slot, left);
      else this.#bySlot.delete(slot);
    }
    for (const place of translation.places) {
      const key = ownerKey(pages[place >>> 12]!.slot, translation.code);
      const owners = this.#owners.get(key);
      if (owners?.get(place & 4095) !== region) continue;
      owners.delete(place & 4095);
      if (owners.size === 0) this.#owners.delete(key);
    }
    this.#byIndex.delete(region.index);
    this.#table.set(region.index, null);
    this.steps -= translation.places.length;
    live.regions.delete(region.number);
    if (live.regions.size === 0) this.unload(live);
  }
  /** Drops every region. */
  reset(): void {
    for (const region of [...this.#byIndex.values()]) this.drop(region);
    this.#evicted.clear();
  }
}

function overlaps({ translation, pages }: Region, slot: number, offset: number, bytes: number): boolean {
  const { ranges } = translation;
  for (let i = 0; i < ranges.length; i += 3)
    if (pages[ranges[i]!]!.slot === slot && offset < ranges[i + 2]! && ranges[i + 1]! < offset + bytes) return true;
  return false;
}
