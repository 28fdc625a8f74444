/**
 * What one bit of a value comes from. Flags are bits of carry vectors (src/x86/semantics/flags.ts); where such a bit, or the
 * exclusive or of some, is what a comparison tells, conditions become that comparison.
 */
import type { BinaryOp } from '../../ir/program.ts';
import type { Graph, Item } from './graph.ts';

/** A bit of a value that is not followed further, or the borrow out of bit `bit` of a - b = result. */
interface Atom {
  readonly value: number;
  readonly bit: number;
  readonly borrow: { readonly a: number; readonly b: number; readonly result: number } | null;
}

/** Atoms whose exclusive or with `flip` is the bit. */
interface Sum {
  atoms: Atom[];
  flip: boolean;
}
/** Values passed on the way at most. */
const MAX_DEPTH = 24;

const SIGN_FROM: Readonly<Record<string, number>> = {
  'i64.extend8_s': 7,
  'i64.extend16_s': 15,
  'i64.extend32_s': 31,
};

class Finder {
  readonly #graph: Graph;
  readonly sum: Sum = { atoms: [], flip: false };

  constructor(graph: Graph) {
    this.#graph = graph;
  }

  #item(id: number): Item {
    return this.#graph.items[id]!;
  }
  #constant(id: number): number | null {
    const value = this.#graph.constantOf(id);
    return value === null ? null : Number(BigInt.asUintN(32, value));
  }
  #isZero(id: number, bit: number): boolean {
    const item = this.#item(id);
    if (item.bits <= bit) return true;
    if (item.kind === 'const') return ((item.value >> BigInt(bit)) & 1n) === 0n;
    if (item.kind !== 'op' || !item.name.endsWith('.and')) return false;
    const mask = this.#graph.constantOf(item.b);
    return mask !== null && ((mask >> BigInt(bit)) & 1n) === 0n;
  }
  #atom(atom: Atom): void {
    const { atoms } = this.sum;
    const same = atoms.findIndex((x) => x.value === atom.value && x.bit === atom.bit);
    if (same >= 0) atoms.splice(same, 1);
    else atoms.push(atom);
  }

  /** result ^ ((a ^ b) & (b ^ result)) where result = a - b. */
  #borrow(id: number, bit: number): boolean {
    const g = this.#graph;
    const item = this.#item(id);
    const mixed = this.#item(item.b);
    if (mixed.kind !== 'op' || mixed.name !== 'i64.and') return false;
    const left = this.#item(mixed.a);
    const right = this.#item(mixed.b);
    if (left.name !== 'i64.xor' || right.name !== 'i64.xor') return false;
    const result = item.a;
    for (const [a, b] of [
      [left.a, left.b],
      [left.b, left.a],
    ] as const) {
      if (!(right.a === b && right.b === result) && !(right.b === b && right.a === result)) continue;
      if (!g.isDifference(result, a, b)) continue;
      this.#atom({ value: id, bit, borrow: { a, b, result } });
      return true;
    }
    return false;
  }

  /** Adds a bit of a value to the sum. */
  follow(id: number, bit: number, depth = 0): void {
    if (this.#isZero(id, bit)) return;
    const item = this.#item(id);
    if (item.kind === 'const') {
      this.sum.flip = !this.sum.flip;
      return;
    }
    if (item.kind === 'op' && depth < MAX_DEPTH && this.#through(item, id, bit, depth + 1)) return;
    this.#atom({ value: id, bit, borrow: null });
  }
  #through(item: Item, id: number, bit: number, depth: number): boolean {
    const from = SIGN_FROM[item.name];
    if (from !== undefined) {
      this.follow(item.a, Math.min(bit, from), depth);
      return true;
    }
    switch (item.name) {
      case 'i32.wrap_i64':
      case 'i64.extend_i32_u':
        this.follow(item.a, bit, depth);
        return true;
      case 'i64.xor':
        if (this.#borrow(id, bit)) return true;
        this.follow(item.a, bit, depth);
        this.follow(item.b, bit, depth);
        return true;
      case 'i32.xor':
        this.follow(item.a, bit, depth);
        this.follow(item.b, bit, depth);
        return true;
      case 'i32.and':
      case 'i64.and':
        // a constant mask has the bit, or it would be zero
        if (this.#graph.constantOf(item.b) === null) return false;
        this.follow(item.a, bit, depth);
        return true;
      case 'i32.or':
      case 'i64.or':
        if (this.#isZero(item.a, bit)) this.follow(item.b, bit, depth);
        else if (this.#isZero(item.b, bit)) this.follow(item.a, bit, depth);
        else return false;
        return true;
      case 'i32.shl':
      case 'i64.shl': {
        const by = this.#constant(item.b);
        if (by === null || by >= 32) return false;
        if (bit >= by) this.follow(item.a, bit - by, depth);
        return true;
      }
      case 'i32.shr_u':
      case 'i64.shr_u': {
        const by = this.#constant(item.b);
        if (by === null || by >= 64) return false;
        if (bit + by < (item.type === 'i32' ? 32 : 64)) this.follow(item.a, bit + by, depth);
        return true;
      }
      default:
        return false;
    }
  }
}

/** The operands of a comparison of the low `bit` + 1 bits, with the type to compare in; null for other widths. */
function operands(g: Graph, a: number, b: number, bit: number, signed: boolean): [string, number, number] | null {
  if (bit === 63) return ['i64', a, b];
  if (bit === 31) return ['i32', g.unary('i32.wrap_i64', a), g.unary('i32.wrap_i64', b)];
  if (bit !== 15 && bit !== 7) return null;
  const narrow = (id: number): number =>
    signed
      ? g.unary(bit === 7 ? 'i64.extend8_s' : 'i64.extend16_s', id)
      : g.binary('i64.and', id, g.i64((2n << BigInt(bit)) - 1n));
  return ['i64', narrow(a), narrow(b)];
}

/** Bit `bit` of a value as a comparison (i32, 0 or 1), or null where there is none. */
export function bitAsComparison(g: Graph, id: number, bit: number): number | null {
  const finder = new Finder(g);
  finder.follow(id, bit);
  const { atoms, flip } = finder.sum;
  const turned = (value: number): number => (flip ? g.unary('i32.eqz', value) : value);
  if (atoms.length === 0) return g.i32(flip ? 1 : 0);
  const compare = (name: 'lt_u' | 'lt_s', a: number, b: number, at: number): number | null => {
    const found = operands(g, a, b, at, name === 'lt_s');
    return found === null ? null : turned(g.binary(`${found[0]}.${name}` as BinaryOp, found[1], found[2]));
  };
  if (atoms.length === 1) {
    const { borrow, bit: at, value } = atoms[0]!;
    if (borrow !== null) return compare('lt_u', borrow.a, borrow.b, at);
    // the sign of a value
    if (at !== 63 && at !== 31) return null;
    const narrow = g.items[value]!.type === 'i32';
    if (narrow ? at !== 31 : false) return null;
    if (narrow) return turned(g.binary('i32.lt_s', value, g.i32(0)));
    if (at === 63) return turned(g.binary('i64.lt_s', value, g.i64(0n)));
    return turned(g.binary('i32.lt_s', g.unary('i32.wrap_i64', value), g.i32(0)));
  }
  if (atoms.length !== 3) return null;
  // sign of the result ^ overflow
  const plain = atoms.find((x) => x.borrow === null);
  const [one, two] = atoms.filter((x) => x.borrow !== null).sort((x, y) => y.bit - x.bit);
  if (plain === undefined || one === undefined || two === undefined || one.value !== two.value) return null;
  if (one.bit !== plain.bit || two.bit !== one.bit - 1 || plain.value !== one.borrow!.result) return null;
  return compare('lt_s', one.borrow!.a, one.borrow!.b, one.bit);
}
