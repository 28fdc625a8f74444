/**
 * Translates code to modules of regions, and makes functions of modules. It changes nothing but what it remembers; which regions
 * exist is the matter of {@link Regions}.
 */
import { assert } from '../../core/assert.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import type { Mmu } from '../../memory/mmu.ts';
import { EXEC_ENTRY } from '../../memory/tlb.ts';
import { type CodeKey, codeKey, KEYS, modeOf } from '../../x86/code-key.ts';
import type { Cpu } from '../../x86/cpu.ts';
import type { Form } from '../../x86/form.ts';
import { HELPERS } from '../../x86/helpers.ts';
import { RECORD } from '../../x86/record.ts';
import type { CodeCache } from '../cold/code-cache.ts';
import { HANDLER, REGION_TABLE_SIZE } from '../cold/exits.ts';
import type { Handlers } from '../cold/handlers.ts';
import { helperImport, helperSignature } from '../cold/helper-import.ts';
import type { CodePage } from '../cold/higher-tier.ts';
import { addJump, REGION_SIGNATURE, SLOW_SIGNATURE } from '../cold/runtime.ts';
import { FunctionBody } from '../wasm/encoder.ts';
import type { Instantiate } from '../wasm/instantiate.ts';
import { ModuleBuilder } from '../wasm/module.ts';
import { type CodeSource, discover, placeOf, type RegionPlan, type Seeds } from './discover.ts';
import { ACCESS_SIGNATURE, type RegionCallees } from './frame.ts';
import { RECIPE_SIGNATURE, RECIPE_TABLE_SIZE, RecipeTable } from './recipes.ts';
import { writeRegion } from './region.ts';
import type { Regions } from './regions.ts';
import { ENTRY, type TranslatedModule, type Translation, type Translations, textOf } from './translations.ts';

/** Instructions that a sample is led back through to the start of its run. */
const MAX_BACK = 64;

/** Code to be made a region of. */
export interface Candidate {
  readonly code: CodeKey;
  readonly pages: readonly CodePage[];
  /** Where the cold tier was found, from which the search for the region's start begins, and further entries. */
  readonly seeds: Seeds;
  /** Accesses may share a look into the TLB for so many bytes (spans.ts). */
  readonly spanBytes: number;
}

export class Translator {
  readonly #memory: GuestMemory;
  readonly #mmu: Mmu;
  readonly #cache: CodeCache;
  readonly #handlers: Handlers;
  readonly #regions: Regions;
  readonly #translations: Translations;
  readonly #table: WebAssembly.Table;
  readonly #makeInstance: Instantiate;
  readonly #recipes = new RecipeTable();
  /** Offsets of the instructions of the regions being made, by slot and code key. */
  readonly #taken = new Map<number, Set<number>>();
  /** Forms that have been translated. */
  readonly forms = new Set<Form>();
  /** Regions made so far. */
  count = 0;

  constructor(
    memory: GuestMemory,
    mmu: Mmu,
    cache: CodeCache,
    handlers: Handlers,
    regions: Regions,
    translations: Translations,
    table: WebAssembly.Table,
    instantiate: Instantiate,
  ) {
    this.#memory = memory;
    this.#mmu = mmu;
    this.#cache = cache;
    this.#handlers = handlers;
    this.#regions = regions;
    this.#translations = translations;
    this.#table = table;
    this.#makeInstance = instantiate;
  }

  // ---- plans --------------------------------------------------------------------------------------------------------

  #isTaken(slot: number, code: CodeKey, offset: number): boolean {
    return this.#taken.get(slot * KEYS + code)?.has(offset) || this.#regions.at(slot, code, offset) !== undefined;
  }
  /** The candidate with its first seed led back to the start of the run of decoded instructions that it lies in. */
  #fromStart(candidate: Candidate): Candidate {
    const { code, pages, seeds } = candidate;
    const [{ page, offset }, ...more] = seeds;
    const { slot, table } = pages[page]!;
    const { view } = this.#memory;
    let at = offset;
    for (let count = 0; count < MAX_BACK; count++) {
      let before = -1;
      for (let length = 1; length <= 15 && length <= at; length++) {
        const record = this.#cache.recordAt(table, at - length);
        if (!this.#cache.isPlain(record) || view.getUint8(record + RECORD.place + 2) !== length) continue;
        if (view.getUint8(record + RECORD.place + 3) === 1 || this.#isTaken(slot, code, at - length)) continue;
        before = at - length;
        break;
      }
      if (before < 0) break;
      at = before;
    }
    return { ...candidate, seeds: [{ page, offset: at }, ...more] };
  }
  #plan(cpu: Cpu, { code, pages, seeds }: Candidate): RegionPlan | null {
    const mode = modeOf(code);
    const [{ page, offset }] = seeds;
    if (this.#isTaken(pages[page]!.slot, code, offset)) return null;
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
        const { slot, table } = source.pages[page]!;
        const record = cache.recordAt(table, offset);
        const crosses =
          record !== 0 && words[record >>> 2] === HANDLER.cross && words[(record + RECORD.link) >>> 2] !== 0;
        return (cache.isPlain(record) || (crosses && mode === 2)) && !this.#isTaken(slot, code, offset);
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
    return discover(source, seeds);
  }
  #translationOf({ code, seeds, spanBytes }: Candidate, { pages, blocks }: RegionPlan): Translation {
    const places = Uint16Array.from(
      blocks.flatMap((x) => x.steps.map(({ insn }) => placeOf({ page: x.page, offset: insn.pageOffset }))),
    );
    for (const place of places) {
      const key = pages[place >>> 12]!.slot * KEYS + code;
      const taken = this.#taken.get(key);
      if (taken === undefined) this.#taken.set(key, new Set([place & 4095]));
      else taken.add(place & 4095);
    }
    const stretches: Array<readonly [page: number, first: number, end: number]> = [];
    for (const { page, second, steps, offset } of blocks) {
      const last = steps.at(-1)!.insn;
      const end = last.pageOffset + last.length;
      stretches.push([page, offset, Math.min(end, 4096)]);
      if (second >= 0) stretches.push([second, 0, end - 4096]);
    }
    const ranges = Uint16Array.from(stretches.flat());
    return {
      code,
      pages: pages.map(({ number, slot }) => ({ number, slot })),
      seeds,
      spanBytes,
      blocks: Uint16Array.from(blocks, (x) => placeOf(x) | (x.entry ? ENTRY : 0)),
      places,
      ranges,
      text: textOf(this.#memory, pages, ranges),
    };
  }

  // ---- modules ------------------------------------------------------------------------------------------------------

  /** Makes regions of as many candidates as it can, and remembers them; null: of none. */
  translate(cpu: Cpu, candidates: readonly Candidate[]): TranslatedModule | null {
    const planned: Array<{ plan: RegionPlan; translation: Translation }> = [];
    for (const wanted of candidates) {
      const candidate = this.#fromStart(wanted);
      const plan = this.#plan(cpu, candidate);
      if (plan !== null) planned.push({ plan, translation: this.#translationOf(candidate, plan) });
    }
    this.#taken.clear();
    if (planned.length === 0) return null;
    this.count += planned.length;
    const builder = new ModuleBuilder();
    builder.importMemory('e', 'm', this.#memory.memory.buffer.byteLength / 65536);
    const recipeTable = builder.importTable('e', 'f', RECIPE_TABLE_SIZE);
    const regionTable = builder.importTable('e', 'r', REGION_TABLE_SIZE);
    const slow = ['slowLoad', 'slowProbe', 'slowSpan'].map((name) => builder.importFunction('e', name, SLOW_SIGNATURE));
    const indices = planned.map((_, number) => builder.importGlobal('i', String(number)));
    const helpers = [...new Set(planned.flatMap(({ plan }) => helpersOf(plan)))];
    const imported = new Map<string, number>();
    for (const name of helpers) {
      const helper = HELPERS[name];
      assert(helper, `no helper ${name}`);
      imported.set(name, builder.importFunction('h', name, helperSignature(helper)));
    }
    const callees: RegionCallees = {
      slowLoad: addAccess(builder, slow[0]!),
      slowProbe: addAccess(builder, slow[1]!),
      slowSpan: addAccess(builder, slow[2]!),
      jump: [addJump(builder, false), addJump(builder, true)],
      helper: (name) => imported.get(name)!,
      pageAddress: (slot) => this.#memory.slotAddress(slot),
      recipes: this.#translations.recipes,
      recipeTable,
      recipeType: builder.type(RECIPE_SIGNATURE),
      regionTable,
      regionType: builder.type(REGION_SIGNATURE),
    };
    for (const [number, { plan, translation }] of planned.entries()) {
      for (const { steps } of plan.blocks) for (const { insn } of steps) this.forms.add(insn.form);
      const frame = writeRegion(plan, indices[number]!, callees, translation.spanBytes);
      builder.add(frame, functionName(translation, number));
    }
    const module = { bytes: builder.encode(), helpers, regions: planned.map((x) => x.translation) };
    this.#translations.add(module);
    return module;
  }
  /** The functions of a module by number of the region, each to be told its index in the table of regions. */
  instantiate(module: TranslatedModule, indices: readonly number[]): readonly unknown[] {
    const { memory } = this.#memory;
    const instantiate = this.#makeInstance;
    this.#recipes.fill(this.#translations.recipes, memory, instantiate);
    const { slowLoad, slowProbe, slowSpan } = this.#mmu;
    const { exports } = instantiate(module.bytes, {
      e: { m: memory, f: this.#recipes.table, r: this.#table, slowLoad, slowProbe, slowSpan },
      h: Object.fromEntries(module.helpers.map((name) => [name, helperImport(HELPERS[name]!)])),
      i: Object.fromEntries(indices.entries()),
    });
    return module.regions.map((x, number) => (x === null ? null : exports[functionName(x, number)]));
  }
}

/** For profilers: slot and page offset of the region's first block. */
function functionName({ pages, ranges }: Translation, number: number): string {
  return `region ${number} ${pages[ranges[0]!]!.slot}+${ranges[1]!.toString(16)}`;
}
/** Names of the helpers that a region's instructions call, each as often as it is called. */
function helpersOf({ blocks }: RegionPlan): string[] {
  const names: string[] = [];
  for (const { steps } of blocks)
    for (const { program } of steps) for (const node of program.body) if (node.op === 'call') names.push(node.helper);
  return names;
}

/** (vCPU state, linear address, bytes and flags) -> address in linear memory or 0, over an imported slow path. */
function addAccess(module: ModuleBuilder, slow: number): number {
  const f = new FunctionBody(ACCESS_SIGNATURE);
  f.get(0).get(1).op('i32.wrap_i64').get(1).i64(32n).op('i64.shr_u').op('i32.wrap_i64').get(2).call(slow);
  return module.add(f);
}
