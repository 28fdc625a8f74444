/**
 * Flags that are not computed yet. A recipe computes (flagsResult, flagsAux) from up to three operands; a region keeps the
 * number of a recipe and its operands in locals, and only when it is left are the flags computed and stored.
 *
 * Recipes are shared by all regions of an engine: each is a function in a table. Their modules hold nothing else, since a
 * function keeps its whole module alive.
 */

import { STATE } from '../../x86/state.ts';
import type { Instantiate } from '../code-host.ts';
import { FunctionBody, ModuleBuilder, type Signature } from '../wasm/encoder.ts';
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
interface Recipe {
  readonly number: number;
  readonly nodes: readonly Item[];
  readonly result: number;
  readonly aux: number;
}

/** Copies what leads from operands to the flags, with dense numbers. */
class Copier {
  readonly nodes: Item[] = [];
  readonly operands: number[] = [];
  readonly #numbers = new Map<number, number>();
  readonly #items: readonly Item[];
  readonly #isOperand: (id: number) => boolean;
  key = '';
  failed = false;

  constructor(items: readonly Item[], isOperand: (id: number) => boolean) {
    this.#items = items;
    this.#isOperand = isOperand;
  }
  #push(id: number, node: Item, key: string): number {
    const number = this.nodes.push(node) - 1;
    this.#numbers.set(id, number);
    this.key += key;
    return number;
  }
  copy(id: number): number {
    if (id < 0 || this.failed) return -1;
    const known = this.#numbers.get(id);
    if (known !== undefined) return known;
    const item = this.#items[id]!;
    if (item.kind === 'const') return this.#push(id, item, `${item.type}=${item.value};`);
    if (this.#isOperand(id)) {
      if (item.type === 'v128' || this.operands.length === OPERANDS) {
        this.failed = true;
        return -1;
      }
      const place = this.operands.push(id) - 1;
      return this.#push(id, { ...item, kind: 'home', value: BigInt(place) }, `${item.type}:${place};`);
    }
    if ((item.kind !== 'op' && item.kind !== 'select') || this.nodes.length > MAX_NODES) {
      this.failed = true;
      return -1;
    }
    const a = this.copy(item.a);
    const b = this.copy(item.b);
    const c = this.copy(item.c);
    return this.#push(id, { ...item, a, b, c }, `${item.kind}${item.name}${item.type},${a},${b},${c};`);
  }
}

export class Recipes {
  readonly #numbers = new Map<string, Recipe>();
  #new: Recipe[] = [];

  /** A recipe for two values over the operands found; null when it takes too many. */
  find(items: readonly Item[], result: number, aux: number, isOperand: (id: number) => boolean): Cooking | null {
    const copier = new Copier(items, isOperand);
    const first = copier.copy(result);
    const second = copier.copy(aux);
    if (copier.failed) return null;
    const key = `${copier.key}${first},${second}`;
    let recipe = this.#numbers.get(key);
    if (recipe === undefined) {
      const number = this.#numbers.size + 1;
      if (number >= RECIPE_TABLE_SIZE) return null;
      recipe = { number, nodes: copier.nodes, result: first, aux: second };
      this.#numbers.set(key, recipe);
      this.#new.push(recipe);
    }
    return { number: recipe.number, operands: copier.operands };
  }

  /** Puts the recipes found since the last call into a table. */
  compile(memory: WebAssembly.Memory, table: WebAssembly.Table, instantiate: Instantiate): void {
    if (this.#new.length === 0) return;
    const module = new ModuleBuilder();
    module.importMemory('e', 'm', memory.buffer.byteLength / 65536);
    for (const recipe of this.#new) module.add(write(recipe), `flags ${recipe.number}`);
    const { exports } = instantiate(module.encode(), { e: { m: memory } });
    for (const { number } of this.#new) table.set(number, exports[`flags ${number}`]);
    this.#new = [];
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
