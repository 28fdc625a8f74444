/**
 * The values of one block of guest code as a graph without duplicates: what programs compute, over operands that are
 * constant here. Pure values fold and are shared; values with a place in the order of events are made by those events.
 *
 * Invariant: a value's operands have smaller ids than the value.
 */

import { highWord, lowWord } from '../../core/words.ts';
import { type Mnemonic, mnemonic } from '../../ir/mnemonic.ts';
import type { BinaryOp, Lane, UnaryOp } from '../../ir/program.ts';
import { evaluateBinary, evaluateUnary } from '../../ir/scalar.ts';
import type { TypeName } from '../wasm/encoder.ts';
import { bitAsComparison } from './bits.ts';

/** One value. Operands are ids, -1 where there is none. */
export interface Item {
  readonly kind: 'const' | 'home' | 'event' | 'op' | 'select' | 'extract' | 'replace' | 'shuffle' | 'segment';
  readonly type: TypeName;
  /** Mnemonic of an `op`, lane shape of `extract` and `replace`. */
  readonly name: string;
  readonly a: number;
  readonly b: number;
  readonly c: number;
  /** Value of a `const`; number of a `home`; lane; state offset of a `segment`. */
  readonly value: bigint;
  readonly lanes: readonly number[] | null;
  /** The value is known to be below 2^bits. */
  readonly bits: number;
}

const ALL_ONES = 0xffff_ffff_ffff_ffffn;
const U32 = 0xffff_ffffn;
/** Bits of a value below 2^128. */
function lengthOf(x: bigint): number {
  if (x > ALL_ONES) return 64 + lengthOf(x >> 64n);
  const high = highWord(x);
  return high === 0 ? 32 - Math.clz32(lowWord(x)) : 64 - Math.clz32(high);
}
/** Bits of a mask of ones from bit 0, else -1. */
const onesOf = (x: bigint): number => ((x & (x + 1n)) === 0n ? lengthOf(x) : -1);

const COMMUTES = new Set(['add', 'mul', 'and', 'or', 'xor', 'eq', 'ne']);
const OPPOSITE: Readonly<Record<string, string>> = {
  eq: 'ne',
  ne: 'eq',
  lt_u: 'ge_u',
  ge_u: 'lt_u',
  lt_s: 'ge_s',
  ge_s: 'lt_s',
  gt_u: 'le_u',
  le_u: 'gt_u',
  gt_s: 'le_s',
  le_s: 'gt_s',
};
const FULL: Record<TypeName, number> = { i32: 32, i64: 64, v128: 128 };
const NO_LANES = null;

export class Graph {
  readonly items: Item[] = [];
  readonly #constants: Record<TypeName, Map<bigint, number>> = { i32: new Map(), i64: new Map(), v128: new Map() };
  readonly #known = new Map<number, number>();
  readonly #homes = new Map<number, number>();
  readonly #segments = new Map<number, number>();
  readonly #kept = new Set<number>();

  #push(item: Item): number {
    return this.items.push(item) - 1;
  }
  #item(
    kind: Item['kind'],
    type: TypeName,
    name: string,
    a: number,
    b: number,
    c: number,
    value: bigint,
    bits: number,
    lanes: readonly number[] | null = NO_LANES,
  ): number {
    return this.#push({ kind, type, name, a, b, c, value, lanes, bits });
  }

  const(type: TypeName, value: bigint): number {
    const known = this.#constants[type].get(value);
    if (known !== undefined) return known;
    const id = this.#item('const', type, '', -1, -1, -1, value, lengthOf(value));
    this.#constants[type].set(value, id);
    return id;
  }
  i64(value: bigint): number {
    return this.const('i64', BigInt.asUintN(64, value));
  }
  i32(value: number): number {
    return this.const('i32', BigInt(value >>> 0));
  }
  /** The value that a home local has when the block begins, known to be below 2^bits. */
  home(number: number, type: TypeName, bits = FULL[type]): number {
    let id = this.#homes.get(number);
    if (id === undefined) {
      id = this.#item('home', type, '', -1, -1, -1, BigInt(number), bits);
      this.#homes.set(number, id);
    }
    return id;
  }
  /** Whether a value is what a home has when the block begins. */
  isHome(id: number, number: number): boolean {
    return this.#homes.get(number) === id;
  }
  /** A 64-bit state slot that no instruction of a region changes. */
  segment(offset: number): number {
    let id = this.#segments.get(offset);
    if (id === undefined) {
      id = this.#item('segment', 'i64', '', -1, -1, -1, BigInt(offset), 64);
      this.#segments.set(offset, id);
    }
    return id;
  }
  /** The result of an event. */
  event(type: TypeName, bits = FULL[type]): number {
    return this.#item('event', type, '', -1, -1, -1, 0n, bits);
  }
  /** A register keeps the value, so that using it costs nothing. */
  keep(id: number): void {
    this.#kept.add(id);
    const item = this.items[id]!;
    if (item.kind === 'op' && item.name === 'i64.and' && this.items[item.b]!.kind === 'const') this.#kept.add(item.a);
  }
  /** Whether `result` = a - b, by how it or `a` was made. */
  isDifference(result: number, a: number, b: number): boolean {
    const made = this.items[result]!;
    if (made.kind === 'op' && made.name === 'i64.sub') return made.a === a && made.b === b;
    const negative = this.constantOf(b);
    if (made.kind === 'op' && made.name === 'i64.add' && negative !== null && made.a === a)
      return this.constantOf(made.b) === BigInt.asUintN(64, -negative);
    const sum = this.items[a]!;
    if (sum.kind !== 'op' || sum.name !== 'i64.add') return false;
    return (sum.a === result && sum.b === b) || (sum.b === result && sum.a === b);
  }
  /** Whether `part` is the 64-bit value `id`, or its low word where that is all of it. */
  isWhole(id: number, part: number): boolean {
    const word = this.items[part]!;
    if (word.kind !== 'op' || word.name !== 'i32.wrap_i64') return id === part;
    const value = this.items[id]!;
    if (word.a === id) return value.bits <= 32;
    return value.kind === 'op' && value.name === 'i64.and' && value.a === word.a && this.constantOf(value.b) === U32;
  }
  constantOf(id: number): bigint | null {
    const item = this.items[id]!;
    return item.kind === 'const' ? item.value : null;
  }

  /** The operation on these operands that there is already, or the one that is made now. */
  #shared(op: Mnemonic, name: string, a: number, b: number): number {
    const key = (op.number * 0x100000 + a) * 0x100000 + b + 1;
    let id = this.#known.get(key);
    if (id === undefined) {
      const bits = op.compares ? 1 : b < 0 ? this.#unaryBits(name, op, a) : this.#bits(name, op, a, b);
      id = this.#item('op', op.result, name, a, b, -1, 0n, bits);
      this.#known.set(key, id);
    }
    return id;
  }
  #unaryBits(name: string, { result }: Mnemonic, a: number): number {
    const narrow = name === 'i64.extend_i32_u' || name === 'i32.wrap_i64';
    return narrow ? Math.min(32, this.items[a]!.bits) : FULL[result];
  }
  #isOp(id: number, name: string): Item | null {
    const item = this.items[id]!;
    return item.kind === 'op' && item.name === name ? item : null;
  }

  // ---- unary --------------------------------------------------------------------------------------------------------

  unary(name: UnaryOp, a: number): number {
    const item = this.items[a]!;
    const op = mnemonic(name);
    if (item.kind === 'const' && op.scalar) return this.const(op.result, evaluateUnary(name, item.value));
    return this.#simpleUnary(name, a, item) ?? this.#shared(op, name, a, -1);
  }
  #simpleUnary(name: UnaryOp, id: number, item: Item): number | null {
    if (item.kind !== 'op') return null;
    switch (name) {
      case 'i32.wrap_i64': {
        if (item.name === 'i64.extend_i32_u' || item.name === 'i64.extend_i32_s') return item.a;
        if (item.name === 'i64.extend32_s') return this.unary(name, item.a);
        if (item.name !== 'i64.and') return null;
        const mask = this.constantOf(item.b);
        return mask !== null && (mask & U32) === U32 ? this.unary(name, item.a) : null;
      }
      case 'i64.extend32_s': {
        if (item.name !== 'i64.and') return null;
        const mask = this.constantOf(item.b);
        return mask !== null && (mask & U32) === U32 ? this.unary(name, item.a) : null;
      }
      case 'i64.extend16_s':
      case 'i64.extend8_s': {
        if (item.name !== 'i64.and') return null;
        const low = name === 'i64.extend8_s' ? 0xffn : 0xffffn;
        const mask = this.constantOf(item.b);
        return mask !== null && (mask & low) === low ? this.unary(name, item.a) : null;
      }
      case 'i64.eqz':
        if (item.name === 'i64.extend32_s') return this.unary('i32.eqz', this.unary('i32.wrap_i64', item.a));
        if (item.name === 'i64.extend_i32_u') return this.unary('i32.eqz', item.a);
        if (item.name === 'i64.extend8_s')
          return this.unary('i64.eqz', this.binary('i64.and', item.a, this.i64(0xffn)));
        if (item.name === 'i64.extend16_s')
          return this.unary('i64.eqz', this.binary('i64.and', item.a, this.i64(0xffffn)));
        return this.#equality(id);
      case 'i32.eqz': {
        if (item.name === 'i32.wrap_i64') return this.#equality(item.a, true);
        if (item.name === 'i32.eqz') return this.items[item.a]!.bits <= 1 ? item.a : null;
        if (item.name === 'i64.eqz') return this.binary('i64.ne', item.a, this.i64(0n));
        const opposite = OPPOSITE[item.name.slice(4)];
        if (opposite !== undefined)
          return this.binary(`${item.name.slice(0, 4)}${opposite}` as BinaryOp, item.a, item.b);
        return null;
      }
      default:
        return null;
    }
  }

  /** A difference is 0: its operands are equal. Not where the difference is there anyway. */
  #equality(id: number, low = false): number | null {
    const difference = this.items[id]!;
    if (difference.name !== 'i64.sub' && difference.name !== 'i64.add') return null;
    if (difference.kind !== 'op' || this.#kept.has(id)) return null;
    const known = this.constantOf(difference.b);
    if (difference.name === 'i64.add' && known === null) return null;
    const other = difference.name === 'i64.add' ? this.i64(-known!) : difference.b;
    if (!low) return this.binary('i64.eq', difference.a, other);
    return this.binary('i32.eq', this.unary('i32.wrap_i64', difference.a), this.unary('i32.wrap_i64', other));
  }

  // ---- binary -------------------------------------------------------------------------------------------------------

  binary(name: BinaryOp, a: number, b: number): number {
    const op = mnemonic(name);
    if (!op.scalar) return this.#shared(op, name, a, b);
    const { suffix } = op;
    let left = a;
    let right = b;
    if (this.items[left]!.kind === 'const' && this.items[right]!.kind !== 'const' && COMMUTES.has(suffix))
      [left, right] = [right, left];
    const known = this.constantOf(right);
    if (known !== null) {
      const first = this.constantOf(left);
      const divides = suffix.startsWith('div') || suffix.startsWith('rem');
      if (first !== null && !divides) return this.const(op.result, evaluateBinary(name, first, known));
      const simple = this.#withConstant(name, suffix, left, known);
      if (simple !== null) return simple;
      if (name === 'i32.shr_u' && known === 31n) {
        const comparison = bitAsComparison(this, left, 31);
        if (comparison !== null) return comparison;
      }
    } else if (left === right) {
      if (suffix === 'xor' || suffix === 'sub') return this.const(op.result, 0n);
      if (suffix === 'and' || suffix === 'or') return left;
    } else if (name === 'i32.or') {
      const joined = this.#orEqual(left, right);
      if (joined !== null) return joined;
    }
    return this.#shared(op, name, left, right);
  }
  /** a < b or a = b, in one. */
  #orEqual(left: number, right: number): number | null {
    const less = this.items[left]!;
    const equal = this.items[right]!;
    if (less.kind !== 'op' || equal.kind !== 'op') return null;
    const match = /^(i32|i64)\.lt_([us])$/.exec(less.name);
    if (match === null) return null;
    const [, type, sign] = match;
    const same =
      equal.name === `${type}.eq`
        ? equal.a === less.a && equal.b === less.b
        : equal.name === `${type}.eqz` && equal.a === less.a && this.constantOf(less.b) === 0n;
    return same ? this.binary(`${type}.le_${sign}` as BinaryOp, less.a, less.b) : null;
  }
  #bits(name: string, { result }: Mnemonic, a: number, b: number): number {
    const x = this.items[a]!;
    const y = this.items[b]!;
    switch (name) {
      case 'i32.and':
      case 'i64.and':
        return Math.min(x.bits, y.bits);
      case 'i32.or':
      case 'i64.or':
      case 'i32.xor':
      case 'i64.xor':
        return Math.max(x.bits, y.bits);
      case 'i32.shr_u':
      case 'i64.shr_u':
        return y.kind === 'const' ? Math.max(0, x.bits - Number(y.value & BigInt(FULL[result] - 1))) : x.bits;
      case 'i32.shl':
      case 'i64.shl':
        return y.kind === 'const'
          ? Math.min(FULL[result], x.bits + Number(y.value & BigInt(FULL[result] - 1)))
          : FULL[result];
      case 'i64.add':
        return Math.min(64, Math.max(x.bits, y.bits) + 1);
      default:
        return FULL[result];
    }
  }

  /** `left` with a constant at its right. */
  #withConstant(name: BinaryOp, suffix: string, left: number, known: bigint): number | null {
    const item = this.items[left]!;
    const type = item.type;
    switch (suffix) {
      case 'add':
      case 'or':
      case 'xor':
      case 'shl':
      case 'shr_u':
      case 'shr_s':
        if (known === 0n) return left;
        break;
      case 'sub':
        return this.binary(`${type}.add` as BinaryOp, left, this.const(type, BigInt.asUintN(FULL[type], -known)));
      case 'and':
        return this.#masked(name, left, item, known);
      case 'eq':
        return known === 0n ? this.unary(`${type}.eqz` as UnaryOp, left) : null;
      default:
        return null;
    }
    if (suffix !== 'add' && suffix !== 'xor' && suffix !== 'or') return null;
    if (item.kind !== 'op' || item.name !== name) return null;
    const inner = this.constantOf(item.b);
    if (inner === null) return null;
    return this.binary(name, item.a, this.const(type, evaluateBinary(name, inner, known)));
  }
  #masked(name: BinaryOp, left: number, item: Item, mask: bigint): number | null {
    if (mask === 0n) return this.const(item.type, 0n);
    if (mask === (item.type === 'i64' ? ALL_ONES : U32)) return left;
    const ones = onesOf(mask);
    if (ones >= item.bits) return left;
    if (item.kind !== 'op') return null;
    if (item.name === name) {
      const inner = this.constantOf(item.b);
      if (inner !== null) return this.binary(name, item.a, this.const(item.type, inner & mask));
    }
    if (item.name === 'i64.or') {
      // a part of a register that was put together
      const low = this.#isOp(item.a, 'i64.and');
      const kept = low === null ? null : this.constantOf(low.b);
      if (kept !== null && (kept & mask) === 0n) return this.binary(name, item.b, this.i64(mask));
    }
    if (ones === 32 && item.name === 'i64.extend32_s') return this.binary(name, item.a, this.i64(mask));
    return null;
  }

  // ---- the rest -----------------------------------------------------------------------------------------------------

  select(cond: number, a: number, b: number): number {
    const known = this.constantOf(cond);
    if (known !== null) return known !== 0n ? a : b;
    if (a === b) return a;
    const { type } = this.items[a]!;
    const bits = Math.max(this.items[a]!.bits, this.items[b]!.bits);
    return this.#item('select', type, '', a, b, cond, 0n, bits);
  }
  extract(shape: Lane, lane: number, a: number): number {
    return this.#item('extract', shape === 'i64x2' ? 'i64' : 'i32', shape, a, -1, -1, BigInt(lane), 64);
  }
  replace(shape: Lane, lane: number, a: number, b: number): number {
    return this.#item('replace', 'v128', shape, a, b, -1, BigInt(lane), 128);
  }
  shuffle(lanes: readonly number[], a: number, b: number): number {
    return this.#item('shuffle', 'v128', '', a, b, -1, 0n, 128, lanes);
  }
}
