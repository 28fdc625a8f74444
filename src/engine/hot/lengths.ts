/**
 * How long the general registers' values can be where a block begins, from the blocks that lead there: what a conversion has cut,
 * and what a comparison has told (`cmp eax, 7; ja` in front of a table of jumps). Nothing is known of entries.
 */
import type { BinaryOp } from '../../ir/program.ts';
import type { Block, Lengths } from './block.ts';

const REGISTERS = 16;
const ALL = 64;

/** A comparison with a constant that bounds its left side from above where it holds, or where it does not. */
const BOUNDS: Partial<Record<BinaryOp, { readonly holds: boolean; readonly less: bigint }>> = {
  'i32.lt_u': { holds: true, less: 1n },
  'i64.lt_u': { holds: true, less: 1n },
  'i32.le_u': { holds: true, less: 0n },
  'i64.le_u': { holds: true, less: 0n },
  'i32.ge_u': { holds: false, less: 1n },
  'i64.ge_u': { holds: false, less: 1n },
  'i32.gt_u': { holds: false, less: 0n },
  'i64.gt_u': { holds: false, less: 0n },
};

/** What is known where a block has been left; `taken`: the condition of its branch held. */
function lengthsBehind(block: Block, before: Lengths | null, taken: boolean | null): Lengths | null {
  // it may be left before its registers are set
  if (block.events.some((x) => x.kind === 'complete') || block.ending.kind === 'repeat') return null;
  const { graph, ending } = block;
  const values = Array.from({ length: REGISTERS }, (_, home) => block.valueOf(home));
  const lengths = values.map((id, home) => (id < 0 ? (before?.[home] ?? ALL) : graph.items[id]!.bits));
  if (taken === null || ending.kind !== 'branch') return lengths;
  const { kind, name, a, b } = graph.items[ending.cond]!;
  const bound = kind === 'op' ? BOUNDS[name as BinaryOp] : undefined;
  const limit = bound === undefined ? null : graph.constantOf(b);
  if (bound === undefined || limit === null || bound.holds !== taken) return lengths;
  const most = limit - bound.less;
  if (most < 0n) return lengths;
  const bits = most.toString(2).length;
  for (const [home, id] of values.entries())
    if (id >= 0 && graph.isWhole(id, a)) lengths[home] = Math.min(lengths[home]!, bits);
  return lengths;
}

/** Collects what is known where blocks begin. */
export class LengthsFinder {
  readonly #known: Array<Lengths | null | undefined>;

  constructor(blocks: number) {
    this.#known = new Array(blocks);
  }
  /** What is known where a block begins that all blocks which lead there have been added for. */
  at(id: number): Lengths | null {
    return this.#known[id] ?? null;
  }
  /** A block leads to another; `taken`: by its branch, which it has (true) or has not (false) taken. */
  add(from: number, block: Block, to: number, taken: boolean | null): void {
    const lengths = lengthsBehind(block, this.at(from), taken);
    const known = this.#known[to];
    if (known === undefined) this.#known[to] = lengths;
    else if (known !== null)
      this.#known[to] = lengths === null ? null : known.map((bits, home) => Math.max(bits, lengths[home]!));
  }
}
