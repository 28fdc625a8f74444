/** The Wasm function of a region while it is written: locals that last through the region, depths of its labels. */

import { assert } from '../../core/assert.ts';
import type { CodeMode } from '../../x86/form.ts';
import { STATE } from '../../x86/state.ts';
import { REGION_SIGNATURE } from '../cold/runtime.ts';
import { FunctionBody, type Signature, type TypeName } from '../wasm/encoder.ts';
import { HOME, homeType, isFlagHome } from './block.ts';
import { type Cooking, OPERANDS, type Recipes } from './recipes.ts';

/** (vCPU state, linear address, bytes and flags) -> address in linear memory, or 0. */
export const ACCESS_SIGNATURE: Signature = { params: ['i32', 'i64', 'i32'], results: ['i32'] };

/** Parameters of a region's function. */
export const PARAM = { cpu: 0, block: 1, budget: 2 } as const;

/** The word of a stop: place in the page or the next, steps to give back, exit. */
const PLACE = 8191;
const REFUND_SHIFT = 13;
const EXIT_SHIFT = 20;

/** Function indices of what a region calls. */
export interface RegionCallees {
  readonly slowLoad: number;
  readonly slowProbe: number;
  readonly slowSpan: number;
  /** (vCPU state, rip) -> record, or an exit: {@link addJump}, by code mode. */
  readonly jump: readonly [number, number];
  helper(name: string): number;
  /** Address of a page in linear memory, by its slot. */
  pageAddress(slot: number): number;
  readonly recipes: Recipes;
  /** The table of recipes and the type of its functions. */
  readonly recipeTable: number;
  readonly recipeType: number;
  /** The table of regions and the type of its functions. */
  readonly regionTable: number;
  readonly regionType: number;
}

export class Frame extends FunctionBody {
  readonly mode: CodeMode;
  readonly callees: RegionCallees;
  depth = 0;
  /** Locals of the homes, those of the flags aside, which stay in the state; never pooled. */
  readonly homes: readonly number[];
  readonly used: boolean[] = new Array<boolean>(HOME.count).fill(false);
  readonly dirty: boolean[] = new Array<boolean>(HOME.count).fill(false);
  readonly tlb: number;
  /** What `stop` says, see {@link Frame.stop}. */
  readonly word: number;
  readonly exit: number;
  readonly rip: number;
  /** Number of the recipe whose flags wait, 0: they are in their homes; its operands. */
  readonly recipe: number;
  readonly operands: readonly number[];
  /** A recipe is used somewhere. */
  cooks = false;
  /** Depth of the labels: `stop` takes `word` apart; `out` spills and returns. */
  stopDepth = 0;
  outDepth = 0;

  constructor(mode: CodeMode, callees: RegionCallees) {
    super(REGION_SIGNATURE);
    this.mode = mode;
    this.callees = callees;
    this.homes = Array.from({ length: HOME.count }, (_, home) => (isFlagHome(home) ? -1 : this.local('i64')));
    this.tlb = this.local('i32');
    this.word = this.local('i32');
    this.exit = this.local('i32');
    this.rip = this.local('i64');
    this.recipe = this.local('i32');
    this.operands = Array.from({ length: OPERANDS }, () => this.local('i64'));
  }

  /** The local of a home. */
  home(home: number): number {
    assert(!isFlagHome(home), 'flags have no local');
    this.used[home] = true;
    return this.homes[home]!;
  }

  override block(result: TypeName | null = null): this {
    this.depth++;
    return super.block(result);
  }
  override loop(): this {
    this.depth++;
    return super.loop();
  }
  override if(result: TypeName | null = null): this {
    this.depth++;
    return super.if(result);
  }
  override end(): this {
    this.depth--;
    return super.end();
  }
  /** Branches to the label that was opened as number `depth`. */
  to(depth: number): this {
    return this.br(this.depth - depth);
  }

  /** Leaves at `place` in the page with `exit`, giving `refund` steps back. */
  stop(place: number, refund: number, exit: number): void {
    assert(place >= 0 && place <= PLACE && refund < 1 << (EXIT_SHIFT - REFUND_SHIFT), 'a stop fits into its word');
    this.i32(place | (refund << REFUND_SHIFT) | (exit << EXIT_SHIFT)).set(this.word);
    this.to(this.stopDepth);
  }
  /** The code behind the label `stop`. */
  takeApart(): void {
    this.get(PARAM.budget).get(this.word).i32(REFUND_SHIFT).op('i32.shr_u');
    this.i32((1 << (EXIT_SHIFT - REFUND_SHIFT)) - 1).op('i32.and');
    this.op('i32.add').set(PARAM.budget);
    this.get(this.home(HOME.pageBase)).get(this.word).i32(PLACE).op('i32.and').op('i64.extend_i32_u').op('i64.add');
    if (this.mode !== 2) this.i64(0xffff_ffffn).op('i64.and');
    this.set(this.rip);
    this.get(this.word).i32(EXIT_SHIFT).op('i32.shr_u').set(this.exit);
  }
  /** Notes that the flags wait to be computed; `push` pushes an operand as i64. */
  wait({ number, operands }: Cooking, push: (id: number) => void): void {
    for (const [i, id] of operands.entries()) {
      push(id);
      this.set(this.operands[i]!);
    }
    this.i32(number).set(this.recipe);
    this.cooks = true;
  }
  /** Stores the flags that wait; the homes have been stored. */
  cook(): void {
    if (!this.cooks) return;
    this.get(this.recipe).if();
    this.#cookNow();
    this.end();
  }
  #cookNow(): void {
    this.get(PARAM.cpu);
    for (const operand of this.operands) this.get(operand);
    this.get(this.recipe).callIndirect(this.callees.recipeType, this.callees.recipeTable);
  }
  /** Puts flags that wait into their homes. */
  settle(): void {
    this.get(this.recipe).seldom().if();
    this.#cookNow();
    this.i32(0).set(this.recipe).end();
  }

  /** Pushes the rip of a place in the page. */
  ripOf(place: bigint): this {
    this.get(this.home(HOME.pageBase)).i64(place).op('i64.add');
    if (this.mode !== 2) this.i64(0xffff_ffffn).op('i64.and');
    return this;
  }

  /** Pushes the state's value of a home. */
  loadHome(home: number): void {
    this.get(PARAM.cpu).memory(homeType(home) === 'i32' ? 'i32.load' : 'i64.load', homeOffset(home));
  }
  /** Stores what `push` pushes as the state's value of a home. */
  storeHome(home: number, push: () => void): void {
    this.get(PARAM.cpu);
    push();
    this.memory(homeType(home) === 'i32' ? 'i32.store' : 'i64.store', homeOffset(home));
  }
}

function homeOffset(home: number): number {
  if (home === HOME.flagsResult) return STATE.flagsResult.offset;
  if (home === HOME.flagsAux) return STATE.flagsAux.offset;
  if (home === HOME.pageBase) return STATE.pageBase.offset;
  return STATE.gpr.offset + home * 8;
}
