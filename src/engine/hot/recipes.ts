/**
 * Flags that are not computed yet. A recipe computes (flagsResult, flagsAux) from up to three operands; a region keeps the
 * number of a recipe and its operands in locals, and only when it is left are the flags computed and stored.
 *
 * Recipes are shared by all regions: each is a function in a table of the engine, under its number. Their modules hold nothing else,
 * since a function keeps its whole module alive.
 */
import { lowWord } from '../../core/words.ts';
import { STATE } from '../../x86/state.ts';
import { FunctionBody, type Signature } from '../wasm/encoder.ts';
import type { Instantiate } from '../wasm/instantiate.ts';
import { ModuleBuilder } from '../wasm/module.ts';
import type { Item } from './graph.ts';

/** (vCPU state, operands): stores the flags. */
export const RECIPE_SIGNATURE: Signature = { params: ['i32', 'i64', 'i64', 'i64'], results: [] };
/** Recipes there can be; number 0 means that the flags are in their homes. */
export const RECIPE_TABLE_SIZE = 2048;
/** Operands of a recipe. */
export const OPERANDS = 3;
const MAX_NODES = 48;

/** A recipe with the values to give it. */
export interface Cooking {
  readonly number: number;
  readonly operands: readonly number[];
}
/** Nodes, each behind those it is made of, and the two that are the flags. */
export interface Recipe {
  readonly number: number;
  readonly nodes: readonly Item[];
  readonly result: number;
  readonly aux: number;
}

/** A hash of nodes with one more: equal for equal recipes; different ones seldom share it. */
function hashWith(hash: number, { kind, name, value, a, b }: Item): number {
  const place = kind === 'const' || kind === 'home' ? lowWord(value) : a * 64 + b;
  const letters = name.length > 4 ? name.charCodeAt(4) * 256 + name.charCodeAt(name.length - 1) : 0;
  return Math.imul(hash ^ place ^ letters, 0x9e3779b1) ^ (hash >>> 15);
}

/** Copies what leads from operands to the flags, with dense numbers. */
class Copier {
  readonly nodes: Item[] = [];
  readonly operands: number[] = [];
  readonly #numbers = new Map<number, number>();
  readonly #items: readonly Item[];
  readonly #isOperand: (id: number) => boolean;
  /** See {@link hashWith}. */
  hash = 0;
  failed = false;

  constructor(items: readonly Item[], isOperand: (id: number) => boolean) {
    this.#items = items;
    this.#isOperand = isOperand;
  }
  #push(id: number, node: Item): number {
    const number = this.nodes.push(node) - 1;
    this.#numbers.set(id, number);
    this.hash = hashWith(this.hash, node);
    return number;
  }
  copy(id: number): number {
    if (id < 0 || this.failed) return -1;
    const known = this.#numbers.get(id);
    if (known !== undefined) return known;
    const item = this.#items[id]!;
    if (item.kind === 'const') return this.#push(id, item);
    if (this.#isOperand(id)) {
      if (item.type === 'v128' || this.operands.length === OPERANDS) {
        this.failed = true;
        return -1;
      }
      const place = this.operands.push(id) - 1;
      return this.#push(id, { ...item, kind: 'home', name: '', value: BigInt(place) });
    }
    if ((item.kind !== 'op' && item.kind !== 'select') || this.nodes.length > MAX_NODES) {
      this.failed = true;
      return -1;
    }
    const a = this.copy(item.a);
    const b = this.copy(item.b);
    const c = this.copy(item.c);
    return this.#push(id, { ...item, a, b, c });
  }
  /** What has been copied is `recipe`, with these two nodes as its results. */
  is(recipe: Recipe, result: number, aux: number): boolean {
    const { nodes } = recipe;
    if (nodes.length !== this.nodes.length || recipe.result !== result || recipe.aux !== aux) return false;
    for (let i = 0; i < nodes.length; i++) if (!isSame(nodes[i]!, this.nodes[i]!)) return false;
    return true;
  }
}

/** Two nodes compute the same; constants and operands by their value. */
function isSame(x: Item, y: Item): boolean {
  if (x.kind !== y.kind || x.type !== y.type) return false;
  if (x.kind === 'const' || x.kind === 'home') return x.value === y.value;
  return x.name === y.name && x.a === y.a && x.b === y.b && x.c === y.c;
}

export class Recipes {
  readonly #all: Recipe[] = [];
  readonly #byHash = new Map<number, Recipe[]>();

  constructor(known: readonly Recipe[] = []) {
    for (const recipe of known) this.#add(recipe, recipe.nodes.reduce(hashWith, 0));
  }
  /** In the order of their numbers, from 1 on. */
  get all(): readonly Recipe[] {
    return this.#all;
  }
  #add(recipe: Recipe, hash: number): void {
    this.#all.push(recipe);
    const same = this.#byHash.get(hash);
    if (same === undefined) this.#byHash.set(hash, [recipe]);
    else same.push(recipe);
  }

  /** A recipe for two values over the operands found; null when it takes too many. */
  find(items: readonly Item[], result: number, aux: number, isOperand: (id: number) => boolean): Cooking | null {
    const copier = new Copier(items, isOperand);
    const first = copier.copy(result);
    const second = copier.copy(aux);
    if (copier.failed) return null;
    let recipe = this.#byHash.get(copier.hash)?.find((x) => copier.is(x, first, second));
    if (recipe === undefined) {
      const number = this.#all.length + 1;
      if (number >= RECIPE_TABLE_SIZE) return null;
      recipe = { number, nodes: copier.nodes, result: first, aux: second };
      this.#add(recipe, copier.hash);
    }
    return { number: recipe.number, operands: copier.operands };
  }
}

/** The recipes of one engine as functions. */
export class RecipeTable {
  readonly table = new WebAssembly.Table({
    element: 'anyfunc',
    initial: RECIPE_TABLE_SIZE,
    maximum: RECIPE_TABLE_SIZE,
  });
  #compiled = 0;

  /** Puts those that are not there yet into the table. */
  fill({ all }: Recipes, memory: WebAssembly.Memory, instantiate: Instantiate): void {
    if (this.#compiled === all.length) return;
    const fresh = all.slice(this.#compiled);
    this.#compiled = all.length;
    const module = new ModuleBuilder();
    module.importMemory('e', 'm', memory.buffer.byteLength / 65536);
    for (const recipe of fresh) module.add(write(recipe), `flags ${recipe.number}`);
    const { exports } = instantiate(module.encode(), { e: { m: memory } });
    for (const { number } of fresh) this.table.set(number, exports[`flags ${number}`]);
  }
}

function write({ nodes, result, aux }: Recipe): FunctionBody {
  const f = new FunctionBody(RECIPE_SIGNATURE);
  const CPU = 0;
  const locals = new Map<number, number>();
  const value = (number: number): void => {
    const node = nodes[number]!;
    const known = locals.get(number);
    if (known !== undefined) {
      f.get(known);
      return;
    }
    if (node.kind === 'const') {
      if (node.type === 'i32') f.i32(Number(BigInt.asIntN(32, node.value)));
      else f.i64(node.value);
      return;
    }
    if (node.kind === 'home') {
      f.get(1 + Number(node.value));
      if (node.type === 'i32') f.op('i32.wrap_i64');
      return;
    }
    for (const operand of [node.a, node.b, node.c]) if (operand >= 0) value(operand);
    if (node.kind === 'select') f.select(node.type);
    else f.op(node.name);
    const local = f.local(node.type);
    locals.set(number, local);
    f.tee(local);
  };
  f.get(CPU);
  value(result);
  f.memory('i64.store', STATE.flagsResult.offset).get(CPU);
  value(aux);
  return f.memory('i32.store', STATE.flagsAux.offset);
}
