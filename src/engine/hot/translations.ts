/**
 * What has been translated: the code that regions were made of, and their Wasm. It says nothing of an engine or its memory but
 * the slots of pages, so that what was translated once comes back wherever the same bytes stand in the same pages: behind a
 * snapshot, in another engine of the same shape, and, where the host keeps it, in the next process.
 */
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { type CodeKey, KEYS } from '../../x86/code-key.ts';
import type { Seeds } from './discover.ts';
import { RECIPE_TABLE_SIZE, type Recipe, Recipes } from './recipes.ts';

/** Bytes of modules that are remembered at most; the oldest are forgotten first. */
const MAX_BYTES = 16 << 20;
/** Translations of different code that are remembered for one place at most. */
const MAX_AT_PLACE = 4;

/** Flag of a block: it may be entered from outside. */
export const ENTRY = 0x8000;

/** Code that one region was made of. */
export interface Translation {
  readonly code: CodeKey;
  /** Linear page numbers, of which only the distances count, and slots. */
  readonly pages: ReadonlyArray<{ readonly number: number; readonly slot: number }>;
  readonly seeds: Seeds;
  /** Accesses share a look into the TLB for so many bytes (spans.ts). */
  readonly spanBytes: number;
  /** Places of the blocks by number, with {@link ENTRY}. */
  readonly blocks: Uint16Array;
  /** Places of the instructions. */
  readonly places: Uint16Array;
  /** Its bytes: number in the list of pages, first offset, end, for each stretch of them. */
  readonly ranges: Uint16Array;
  /** What the bytes were, one stretch after the other. */
  readonly text: Uint8Array;
}
/** Regions that are compiled together. */
export interface TranslatedModule {
  readonly bytes: Uint8Array;
  /** Helpers that the module imports. */
  readonly helpers: readonly string[];
  /** By number of the function; null: something better has been made since. */
  readonly regions: Array<Translation | null>;
}
/** A block that may be entered at some place. */
interface KnownEntry {
  readonly module: TranslatedModule;
  /** Number of the region in the module. */
  readonly number: number;
  /** Number of the block in the region. */
  readonly block: number;
}
/** Recipes after which nothing is handed on: the next process begins anew, so that it does not run out of them. */
const MAX_RECIPES = (RECIPE_TABLE_SIZE * 3) / 4;

/** All of it as plain values. */
export interface TranslationsData {
  readonly recipes: readonly Recipe[];
  readonly modules: readonly TranslatedModule[];
}

type Pages = ReadonlyArray<{ readonly slot: number }>;
/** What stands now in the ranges of a translation. */
export function textOf(memory: GuestMemory, pages: Pages, ranges: Uint16Array): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let i = 0; i < ranges.length; i += 3) {
    const page = memory.slotAddress(pages[ranges[i]!]!.slot);
    parts.push(memory.bytes.subarray(page + ranges[i + 1]!, page + ranges[i + 2]!));
  }
  const text = new Uint8Array(parts.reduce((sum, x) => sum + x.length, 0));
  let at = 0;
  for (const part of parts) {
    text.set(part, at);
    at += part.length;
  }
  return text;
}

export class Translations {
  readonly recipes: Recipes;
  readonly #modules = new Set<TranslatedModule>();
  /** By slot and code key, then page offset. */
  readonly #entries = new Map<number, Map<number, KnownEntry[]>>();
  #bytes = 0;
  /** Modules added and regions forgotten so far. */
  changes = 0;

  constructor({ recipes, modules }: TranslationsData = { recipes: [], modules: [] }) {
    this.recipes = new Recipes(recipes);
    for (const module of modules) this.add(module);
    this.changes = 0;
  }
  get data(): TranslationsData {
    if (this.recipes.all.length > MAX_RECIPES) return { recipes: [], modules: [] };
    return { recipes: this.recipes.all, modules: [...this.#modules] };
  }

  /** Blocks that may be entered in a page, by offset. */
  entriesIn(slot: number, code: CodeKey): ReadonlyMap<number, readonly KnownEntry[]> | undefined {
    return this.#entries.get(slot * KEYS + code);
  }

  add(module: TranslatedModule): void {
    this.changes++;
    this.#modules.add(module);
    this.#bytes += module.bytes.length;
    for (const [number, region] of module.regions.entries())
      if (region !== null)
        this.#eachEntry(region, (entries, offset, block) => {
          const known = entries.get(offset) ?? [];
          entries.set(offset, [...known, { module, number, block }]);
          if (known.length === MAX_AT_PLACE) this.forget(known[0]!.module, known[0]!.number);
        });
    for (const oldest of this.#modules) {
      if (this.#bytes <= MAX_BYTES) break;
      for (const number of oldest.regions.keys()) this.forget(oldest, number);
    }
  }
  /** Something better has been made than a region of a module. */
  forget(module: TranslatedModule, number: number): void {
    const region = module.regions[number];
    if (region === null || region === undefined || !this.#modules.has(module)) return;
    this.changes++;
    this.#eachEntry(region, (entries, offset) => {
      const left = entries.get(offset)?.filter((x) => x.module !== module || x.number !== number) ?? [];
      if (left.length > 0) entries.set(offset, left);
      else entries.delete(offset);
    });
    module.regions[number] = null;
    if (module.regions.some((x) => x !== null)) return;
    this.#modules.delete(module);
    this.#bytes -= module.bytes.length;
  }
  #eachEntry(
    { code, pages, blocks }: Translation,
    visit: (entries: Map<number, KnownEntry[]>, offset: number, block: number) => void,
  ): void {
    for (const [block, place] of blocks.entries()) {
      if ((place & ENTRY) === 0) continue;
      const key = pages[(place & ~ENTRY) >>> 12]!.slot * KEYS + code;
      let entries = this.#entries.get(key);
      if (entries === undefined) {
        entries = new Map();
        this.#entries.set(key, entries);
      }
      visit(entries, place & 4095, block);
      if (entries.size === 0) this.#entries.delete(key);
    }
  }
}
