/**
 * Ways to break a lowering, as changes of its source: `node tools/run.mjs fuzz-tiers --mutate` shows that each is found. A test checks
 * that their texts still stand in the source; where code has moved on, the mutation moves with it.
 */
import type { Mutation } from '../../../tools/fuzz/mutate.ts';

const GRAPH = 'engine/hot/graph.ts';
const BLOCK = 'engine/hot/block.ts';
const EMIT = 'engine/hot/emit.ts';
const LOOK = 'engine/hot/look.ts';
const SPANS = 'engine/hot/spans.ts';
const LENGTHS = 'engine/hot/lengths.ts';
const REGION = 'engine/hot/region.ts';
const REGIONS = 'engine/hot/regions.ts';
const LOWER = 'engine/cold/lower.ts';
const RUNTIME = 'engine/cold/runtime.ts';
const MODULE = 'engine/cold/handler-module.ts';
const MMU = 'memory/mmu.ts';
const TLBS = 'memory/tlbs.ts';

const of = (file: string, name: string, find: string, replace: string): Mutation => ({ name, file, find, replace });

export const MUTATIONS: readonly Mutation[] = [
  of(GRAPH, 'hot: operands swapped that do not commute', 'COMMUTES.has(suffix)', '!COMMUTES.has(suffix)'),
  of(
    GRAPH,
    'hot: x - constant is one off',
    'BigInt.asUintN(FULL[type], -known)',
    'BigInt.asUintN(FULL[type], 1n - known)',
  ),
  of(
    GRAPH,
    'hot: carry out of an addition forgotten',
    'Math.min(64, Math.max(x.bits, y.bits) + 1)',
    'Math.max(x.bits, y.bits)',
  ),
  of(GRAPH, 'hot: length after a shift one off', 'Math.max(0, x.bits - Number(', 'Math.max(0, x.bits - 1 - Number('),
  of(
    GRAPH,
    'hot: x xor x is x',
    "if (suffix === 'xor' || suffix === 'sub') return",
    "if (suffix === 'xor') return left;\n      if (suffix === 'sub') return",
  ),
  of(
    GRAPH,
    'hot: zero test of a 16-bit result sees 8 bits',
    "return this.unary('i64.eqz', this.binary('i64.and', item.a, this.i64(0xffffn)));",
    "return this.unary('i64.eqz', this.binary('i64.and', item.a, this.i64(0xffn)));",
  ),
  of(
    BLOCK,
    'hot: high-byte register read as low byte',
    'this.#part(at >> 3, (at & 7) * 8, width)',
    'this.#part(at >> 3, 0, width)',
  ),
  of(BLOCK, 'hot: a part of a register written in the wrong place', '~(ones << BigInt(shift))', '~ones'),
  of(BLOCK, 'hot: scale 8 is scale 2', 'g.i64(BigInt(insn.scale))', 'g.i64(BigInt(insn.scale & 1))'),
  of(BLOCK, 'hot: segment base forgotten', "this.#get(insn.seg, 8, 'i64')", 'g.i64(0n)'),
  of(BLOCK, 'hot: 16-bit addresses are 32-bit', 'size & 1 ? U32 : 0xffffn', 'size & 3 ? U32 : 0xffffn'),
  of(
    BLOCK,
    'hot: return address of the call itself',
    'nextRip: (block, _, { insn }) => block.#rip(BigInt(insn.pageOffset + insn.length)),',
    'nextRip: (block, _, { insn }) => block.#rip(BigInt(insn.pageOffset)),',
  ),
  of(
    BLOCK,
    'hot: faults after commits forgotten',
    "if (g.constantOf(cond) !== 0n) this.events.push({ kind: 'raise', cond, vector, error, ...here() });",
    'assert(cond + vector + error + here().insn >= 0);',
  ),
  of(
    EMIT,
    'hot: a span looks for its first byte only',
    'bytes, write, slow: f.callees.slowSpan',
    'bytes: 1, write, slow: f.callees.slowSpan',
  ),
  of(
    EMIT,
    'hot: a span looks for reading only',
    'bytes, write, slow: f.callees.slowSpan',
    'bytes, write: false, slow: f.callees.slowSpan',
  ),
  of(SPANS, 'hot: a table is looked for without its last entry', 'Number(most) + event.bytes', 'Number(most)'),
  of(
    SPANS,
    'hot: a scale of an index forgotten',
    'greatest(items, item.a) << (by.value & 63n)',
    'greatest(items, item.a)',
  ),
  of(EMIT, 'hot: an index forgotten', "f.op('i32.wrap_i64').get(found)", "f.op('i64.eqz').get(found)"),
  of(
    LENGTHS,
    'hot: a comparison bounds its value where it does not hold',
    'bound.holds !== taken',
    'bound.holds === taken',
  ),
  of(LENGTHS, 'hot: what is known on one of two ways to a block', 'Math.max(bits, ', 'Math.min(bits, '),
  of(LENGTHS, 'hot: half of what a comparison says', 'limit - bound.less;', '(limit - bound.less) / 2n;'),
  of(LOOK, 'hot: two bytes over the end of a page', 'if (look.bytes > 1)', 'if (look.bytes > 2)'),
  of(
    LOOK,
    'hot: stores by the tag for reads',
    'write ? TLB_ENTRY.write : TLB_ENTRY.read',
    'write ? TLB_ENTRY.read : TLB_ENTRY.read',
  ),
  of(
    EMIT,
    'hot: alignment not checked',
    'if (event.align) this.#checkAlignment',
    'if (event.align && bytes < 16) this.#checkAlignment',
  ),
  of(
    EMIT,
    'hot: a fault gives one step too few back',
    'steps.length - event.insn, EXIT.hotFault',
    'steps.length - event.insn - 1, EXIT.hotFault',
  ),
  of(
    REGION,
    'hot: a budget is asked for too few steps',
    'Math.max(reach[id]!, blocks[id]!.steps.length + reach[to]!)',
    'Math.max(reach[id]!, reach[to]!)',
  ),
  of(EMIT, 'hot: 32-bit stores of 64 bits', 'f.memory(STORES[width]', 'f.memory(STORES[width === 4 ? 8 : width]'),
  of(EMIT, 'hot: 16-bit loads of 8 bits', 'f.memory(LOADS[width]', 'f.memory(LOADS[width === 2 ? 1 : width]'),
  of(
    EMIT,
    'hot: carries are not updated on the way out by a fault',
    'if (this.#resident[home] === id) this.#consume(id);',
    'if (this.#resident[home] === id || (this.#cold && home === HOME.flagsAux)) this.#consume(id);',
  ),
  of(
    EMIT,
    'hot: an entry takes flags that wait for settled ones',
    'if (this.settlesFlags) f.settle();',
    'if (this.settlesFlags && reach === null) f.settle();',
  ),
  of(
    REGION,
    'hot: a jump is led by its hash alone',
    ".i64(keys[i]!)\n        .op('i64.ne')",
    ".i64(0n)\n        .op('i64.lt_s')",
  ),
  of(
    REGIONS,
    'hot: an eviction misses the first byte of a block',
    'offset < ranges[i + 2]! && ranges[i + 1]! < offset + bytes',
    'offset < ranges[i + 2]! && ranges[i + 1]! < offset',
  ),
  of(
    REGIONS,
    'hot: a region comes back over code that it was not made of',
    '.every((byte, i) => byte === text[i])',
    '.every((byte, i) => byte === text[i] || i > 1)',
  ),
  of(
    MMU,
    'a page-table entry that changes goes unseen',
    'return this.entriesChanged || this.translated?.evictions !== evictions ? 1 : 0;',
    'return 0;',
  ),
  of(
    TLBS,
    'translations of an entry that changed are kept',
    'this.#drop(index, 1, 512);',
    'this.#drop(index + 1, 1, 512);',
  ),
  of(
    RUNTIME,
    'cold: page of a jump found by one bit too few',
    "f.get(CPU).get(linear).i64(-4096n).op('i64.and');",
    "f.get(CPU).get(linear).i64(-8192n).op('i64.and');",
  ),
  of(
    MODULE,
    'cold: the loop has the second handler in the place of the first',
    'const inline = kinds.slice(0, loop.inline)',
    'const inline = kinds.slice(1, loop.inline)',
  ),
  of(
    LOWER,
    'cold: arithmetic shift as a logical one',
    'this.#value(node.b);\n        f.op(node.name);',
    "this.#value(node.b);\n        f.op(node.name === 'i64.shr_s' ? 'i64.shr_u' : node.name);",
  ),
  of(
    LOWER,
    'cold: operands of a difference swapped',
    'this.#value(node.a);\n        this.#value(node.b);\n        f.op(node.name);',
    "if (node.name === 'i64.sub') [node.b, node.a].forEach((x) => this.#value(x));\n        else [node.a, node.b].forEach((x) => this.#value(x));\n        f.op(node.name);",
  ),
  of(
    LOWER,
    'cold: lanes of a shuffle off by one',
    'f.shuffle(node.lanes)',
    'f.shuffle(node.lanes.map((x) => (x + 1) & 31))',
  ),
  of(
    LOWER,
    'cold: targets outside 64-bit mode are not cut',
    "memory('i64.load', RECORD.imm).op('i64.add');\n    if (this.#addressing === ADDRESSING.legacy)",
    "memory('i64.load', RECORD.imm).op('i64.add');\n    if (this.#addressing === ADDRESSING.flat)",
  ),
  of(
    LOWER,
    'cold: accesses of the stack segment raise #GP',
    'this.#attribute(7 << ATTR.segmentShift);',
    'this.#attribute(0);',
  ),
];
