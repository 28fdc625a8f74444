/**
 * Which code belongs to a region: what can be reached from some places without leaving it, as blocks in the order in which they are
 * written.
 */
import type { Program } from '../../ir/program.ts';
import type { CodeMode, DecodeFailure, Form, Insn } from '../../x86/form.ts';
import type { CodePage } from '../cold/higher-tier.ts';
import type { Step } from './block.ts';
import { forwardOrder, isInLoop } from './order.ts';

/** Blocks of a region at most. */
const MAX_BLOCKS = 96;
/** Instructions of a region at most. */
export const MAX_STEPS = 512;
/** Instructions of a block at most. */
const MAX_BLOCK_STEPS = 48;
/** Pages of a region at most. */
export const MAX_PAGES = 8;

/** A place in the pages of a region. */
export interface Place {
  /** Number in the list of pages. */
  readonly page: number;
  readonly offset: number;
}
/** A place in the pages of a region as one number. */
export const placeOf = ({ page, offset }: Place): number => page * 4096 + offset;
export const toPlace = (place: number): Place => ({ page: place >>> 12, offset: place & 4095 });
/** Where the search for a region's code begins, and further places where it is to be entered. */
export type Seeds = readonly [Place, ...Place[]];

/** What discovery asks of its surroundings. */
export interface CodeSource {
  readonly mode: CodeMode;
  /** The pages so far; discovery may add to them. */
  readonly pages: CodePage[];
  /** The instruction at a place; `second`: the page it runs on into, where there is one. */
  decode(place: Place, second: CodePage | null): Insn | DecodeFailure;
  programOf(form: Form): Program | null;
  /** True when code at this place has been decoded by the cold tier, and belongs to no other region. */
  isWanted(place: Place): boolean;
  /** The page of code that is mapped there now, if any. */
  pageAt(number: number): CodePage | null;
}

/** A block before it is translated. */
interface Plan extends Place {
  readonly steps: Step[];
  /** May be entered from outside: by a call, a return, an indirect jump, or from the cold tier at the head of a loop. */
  readonly entry: boolean;
  /** Its only instruction runs on into this page; -1. */
  readonly second: number;
}
/** The code of a region. */
export interface RegionPlan {
  readonly mode: CodeMode;
  readonly pages: readonly CodePage[];
  /** In the order they are written, see {@link forwardOrder}. */
  readonly blocks: readonly Plan[];
  readonly steps: number;
}

/** Number of the page `distance` pages from another in the list, -1: it has none. */
export function pageBeside(pages: readonly CodePage[], from: number, distance: number): number {
  return distance === 0 ? from : pages.findIndex((x) => x.number === pages[from]!.number + distance);
}

const readsSecondImmediate = (program: Program): boolean =>
  program.body.some((node) => node.op === 'field' && node.name === 'imm2');
const standsAlone = (program: Program): boolean =>
  program.commits.at(-1)?.op === 'repeat' || program.body.some((node) => node.op === 'complete');

interface FormPlan {
  readonly program: Program | null;
  readonly alone: boolean;
  readonly ends: boolean;
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
    };
    forms.set(form, plan);
  }
  return plan;
}

interface Found extends Step {
  /** It runs on into this page; -1. */
  readonly second: number;
}

class Discovery {
  readonly #source: CodeSource;
  readonly #found = new Map<number, Found | null>();
  readonly #leaders = new Set<number>();
  readonly #entries = new Set<number>();
  /** Where the search began. */
  readonly #start: number;
  readonly #work: number[] = [];
  #count = 0;

  constructor(source: CodeSource, [start, ...entries]: Seeds) {
    this.#source = source;
    this.#start = placeOf(start);
    this.#lead(start.page, start.offset, false);
    for (const { page, offset } of entries) this.#lead(page, offset, true);
    while (this.#work.length > 0) this.#follow(this.#work.shift()!);
  }

  /** Number of the page `distance` pages from another; adds it where the source knows it. -1: none. */
  #page(from: number, distance: number): number {
    const { pages, mode } = this.#source;
    const known = pageBeside(pages, from, distance);
    if (known >= 0 || pages.length === MAX_PAGES || mode !== 2) return known;
    const page = this.#source.pageAt(pages[from]!.number + distance);
    return page === null || pages.some((x) => x.slot === page.slot) ? -1 : pages.push(page) - 1;
  }
  /** A block begins at an offset relative to a page; `far`: also in a page that is not one of the region. */
  #lead(from: number, offset: number, entry: boolean, far = false): void {
    const distance = Math.floor(offset / 4096);
    if (!far && pageBeside(this.#source.pages, from, distance) < 0) return;
    const page = this.#page(from, distance);
    if (page < 0) return;
    const place = page * 4096 + (offset & 4095);
    if (!this.#leaders.has(place)) {
      if (this.#leaders.size >= MAX_BLOCKS || !this.#source.isWanted({ page, offset: offset & 4095 })) return;
      this.#leaders.add(place);
      this.#work.push(place);
    }
    if (entry) this.#entries.add(place);
  }
  /** The instruction at a place, null where there is none to translate. */
  #decode(page: number, at: number): Found | null {
    const source = this.#source;
    let second = -1;
    let insn = source.decode({ page, offset: at }, null);
    if (insn === 'short') {
      second = this.#page(page, 1);
      if (second >= 0) insn = source.decode({ page, offset: at }, source.pages[second]!);
    }
    if (typeof insn === 'string') return null;
    const { program } = planOf(source, insn.form);
    // the cold tier comes back in behind it
    if (program === null) this.#lead(page, at + insn.length, true);
    return program === null ? null : { insn, program, second };
  }
  #follow(start: number): void {
    const page = start >>> 12;
    const source = this.#source;
    let at = start & 4095;
    for (let length = 0; at < 4096 && !this.#found.has(page * 4096 + at) && this.#count < MAX_STEPS; length++) {
      if (length === MAX_BLOCK_STEPS) {
        this.#lead(page, at, false);
        return;
      }
      const step = this.#decode(page, at);
      this.#found.set(page * 4096 + at, step);
      if (step === null) return;
      this.#count++;
      const { insn } = step;
      const plan = planOf(source, insn.form);
      const next = at + insn.length;
      const last = plan.program!.commits.at(-1);
      if (plan.alone || step.second >= 0) {
        this.#lead(page, at, false);
        this.#lead(page, next, false, true);
      }
      if (last?.op === 'branch') {
        const target = Number(BigInt.asIntN(64, insn.imm));
        this.#lead(page, target, insn.form.call, !insn.form.call);
        if (last.cond !== null) this.#lead(page, next, false, true);
      }
      if (insn.form.call) this.#lead(page, next, true);
      if (plan.ends) return;
      at = next;
    }
    if (at >= 4096) this.#lead(page, at, false, true);
  }

  plan(): RegionPlan | null {
    const source = this.#source;
    const blocks: Plan[] = [];
    let count = 0;
    for (const place of [...this.#leaders].sort((a, b) => a - b)) {
      const page = place >>> 12;
      const steps: Step[] = [];
      let second = -1;
      for (let at = place & 4095; at < 4096 && steps.length < MAX_BLOCK_STEPS; ) {
        const step = this.#found.get(page * 4096 + at);
        if (!step) break;
        const { alone, ends } = planOf(source, step.insn.form);
        const single = alone || step.second >= 0;
        if (single && steps.length > 0) break;
        steps.push(step);
        second = step.second;
        at += step.insn.length;
        if (ends || single || this.#leaders.has(page * 4096 + at)) break;
      }
      if (steps.length === 0) continue;
      blocks.push({ page, offset: place & 4095, steps, entry: this.#entries.has(place), second });
      count += steps.length;
    }
    if (blocks.length === 0) return null;
    return { mode: source.mode, pages: source.pages, blocks: this.#inOrder(blocks), steps: count };
  }
  /**
   * Blocks in the order that lets control flow forwards; what follows a call comes behind it. Heads of loops become entries, and
   * where the search began, unless that lies in a loop which would have no other entry but its head: the cold tier comes to the head
   * soon, and an entry behind it would leave no loop.
   */
  #inOrder(blocks: readonly Plan[]): Plan[] {
    const source = this.#source;
    const numbers = new Map(blocks.map((block, id) => [placeOf(block), id]));
    const successors = blocks.map(({ page, steps }) => {
      const { insn, program } = steps.at(-1)!;
      const last = program.commits.at(-1);
      const { ends } = planOf(source, insn.form);
      const { call } = insn.form;
      const places: number[] = [];
      if (!ends || call || last?.op === 'repeat' || (last?.op === 'branch' && last.cond !== null))
        places.push(insn.pageOffset + insn.length);
      if (last?.op === 'branch' && !call) places.push(Number(BigInt.asIntN(64, insn.imm)));
      return places
        .map((x) => numbers.get(pageBeside(source.pages, page, Math.floor(x / 4096)) * 4096 + (x & 4095)))
        .filter((x) => x !== undefined);
    });
    const { order, heads } = forwardOrder(successors);
    const entries = order.map((id) => heads.has(id) || blocks[id]!.entry);
    const start = order.findIndex((id) => placeOf(blocks[id]!) === this.#start);
    if (start >= 0 && !isInLoop(order, successors, entries, start)) entries[start] = true;
    return order.map((id, at) => ({ ...blocks[id]!, entry: entries[at]! }));
  }
}

/** Finds the blocks reachable from `seeds`, of which all but the first are entries; null when there is nothing to translate. */
export function discover(source: CodeSource, seeds: Seeds): RegionPlan | null {
  return new Discovery(source, seeds).plan();
}
