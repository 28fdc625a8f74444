/**
 * One block of guest code as a graph of values and the events that have their place in its order: accesses, faults, stores,
 * register updates. Operands of the instructions are constant; registers and flags are values.
 */
import { assert } from '../../core/assert.ts';
import type { Node, Program, Shortcut, StateRef, Type, Width } from '../../ir/program.ts';
import type { CodeMode, Insn } from '../../x86/form.ts';
import { ATTR, segmentNumberOf } from '../../x86/record.ts';
import { SEG, STATE } from '../../x86/state.ts';
import type { TypeName } from '../wasm/encoder.ts';
import { Graph } from './graph.ts';

/** Numbers of the values that live in locals through a region: 0 to 15 are the general registers. */
export const HOME = { flagsResult: 16, flagsAux: 17, pageBase: 18, count: 19 } as const;
/** The homes of the flags, which have no locals in a region. */
export const FLAG_HOMES = [HOME.flagsResult, HOME.flagsAux] as const;
export const isFlagHome = (home: number): boolean => home === HOME.flagsResult || home === HOME.flagsAux;
export const homeType = (home: number): TypeName => (home === HOME.flagsAux ? 'i32' : 'i64');

/** Bits of each general register's value: it is below 2^bits. */
export type Lengths = readonly number[];

/** Values of the flags when an instruction is left. */
export interface FlagState {
  readonly result: number;
  readonly aux: number;
}

interface Leaving {
  /** Number of the instruction in its block. */
  readonly insn: number;
  readonly flags: FlagState;
}
export interface AccessEvent extends Leaving {
  readonly kind: 'load' | 'probe';
  readonly id: number;
  readonly address: number;
  readonly bytes: number;
  readonly align: boolean;
  /** Number of the segment (0 ES to 5 GS). */
  readonly segment: number;
}
export type Event =
  | AccessEvent
  | {
      readonly kind: 'peek';
      readonly id: number;
      readonly token: number;
      readonly offset: number;
      readonly width: Width;
    }
  | { readonly kind: 'read'; readonly id: number; readonly offset: number; readonly width: Width }
  | ({ readonly kind: 'raise'; readonly cond: number; readonly vector: number; readonly error: number } & Leaving)
  | {
      readonly kind: 'call';
      readonly id: number;
      readonly helper: string;
      readonly args: readonly number[];
      readonly shortcut: Shortcut | null;
    }
  | {
      readonly kind: 'store';
      readonly token: number;
      readonly offset: number;
      readonly width: Width;
      readonly value: number;
    }
  | { readonly kind: 'write'; readonly offset: number; readonly width: Width; readonly value: number }
  | { readonly kind: 'home'; readonly home: number; readonly value: number }
  /** Goes to the next block at once when `cond` holds. */
  | { readonly kind: 'complete'; readonly cond: number };

/** How a block ends. Offsets are those of blocks, or of places outside the region, relative to the page. */
type Ending =
  | { readonly kind: 'next'; readonly next: number }
  | { readonly kind: 'branch'; readonly cond: number; readonly target: bigint; readonly next: number }
  | { readonly kind: 'goto'; readonly target: bigint }
  | { readonly kind: 'jump'; readonly rip: number }
  | { readonly kind: 'repeat'; readonly cond: number; readonly self: number; readonly next: number };

/** An instruction with what it does. */
export interface Step {
  readonly insn: Insn;
  readonly program: Program;
}

/** The instruction that is being translated: values of its nodes so far, and what leaving it finds. */
interface Translating extends Step {
  readonly ids: readonly number[];
  readonly leaving: Leaving;
}
type TranslateNode<N extends Node> = (block: Block, node: N, at: Translating) => number;
/** Bits that a value of so many bytes has at most; undefined where nothing is known. */
const bitsOf = (type: Type, bytes: number): number | undefined =>
  type === 'i64' ? Math.min(64, bytes * 8) : undefined;

const GPR_END = STATE.gpr.offset + 128;
const SEGMENTS_END = STATE.segmentBase.offset + 64;
const U32 = 0xffff_ffffn;

export class Block {
  readonly graph = new Graph();
  readonly events: Event[] = [];
  readonly steps: readonly Step[];
  readonly #mode: CodeMode;
  readonly #lengths: Lengths | null;
  readonly #homes: number[] = new Array<number>(HOME.count).fill(-1);
  #number = 0;
  #flags: FlagState | null = null;
  ending: Ending;

  /** `lengths`: what is known of the registers where the block begins. */
  constructor(steps: readonly Step[], mode: CodeMode, lengths: Lengths | null) {
    this.#lengths = lengths;
    this.steps = steps;
    this.#mode = mode;
    const last = steps.at(-1)!.insn;
    this.ending = { kind: 'next', next: last.pageOffset + last.length };
    for (const [number, step] of steps.entries()) {
      this.#number = number;
      this.#flags = null;
      this.#translate(step);
    }
    this.#number = steps.length;
    this.#flags = null;
  }

  /** The values of the flags after the block. */
  get flags(): FlagState {
    return this.#flagState();
  }
  /** A home's value at the end, -1: the block did not need it. */
  valueOf(home: number): number {
    return this.#homes[home]!;
  }

  // ---- state --------------------------------------------------------------------------------------------------------

  #home(home: number): number {
    const id = this.#homes[home]!;
    if (id >= 0) return id;
    this.#homes[home] = this.graph.home(home, homeType(home), this.#lengths?.[home]);
    return this.#homes[home]!;
  }
  #flagState(): FlagState {
    this.#flags ??= { result: this.#home(HOME.flagsResult), aux: this.#home(HOME.flagsAux) };
    return this.#flags;
  }
  #offset(ref: StateRef, insn: Insn): number {
    return ref.kind === 'slot' ? ref.offset : insn[ref.field] + ref.delta;
  }
  /** Bits of a general register from `shift` on. */
  #part(home: number, shift: number, width: number): number {
    const g = this.graph;
    const whole = this.#home(home);
    const moved = shift === 0 ? whole : g.binary('i64.shr_u', whole, g.i64(BigInt(shift)));
    return width === 8 ? moved : g.binary('i64.and', moved, g.i64((1n << BigInt(width * 8)) - 1n));
  }
  #get(offset: number, width: Width, type: Type): number {
    const g = this.graph;
    if (offset < GPR_END && offset >= STATE.gpr.offset) {
      const at = offset - STATE.gpr.offset;
      const value = this.#part(at >> 3, (at & 7) * 8, width);
      return type === 'i32' ? g.unary('i32.wrap_i64', value) : value;
    }
    if (offset === STATE.flagsResult.offset) return this.#home(HOME.flagsResult);
    if (offset === STATE.flagsAux.offset) {
      const aux = this.#home(HOME.flagsAux);
      return type === 'i32' ? aux : g.unary('i64.extend_i32_u', aux);
    }
    if (offset === STATE.zero.offset) return g.i64(0n);
    if (offset === STATE.pageBase.offset) return this.#home(HOME.pageBase);
    if (width === 8 && offset >= STATE.segmentBase.offset && offset < SEGMENTS_END) return g.segment(offset);
    const id = g.event(type, bitsOf(type, width));
    this.events.push({ kind: 'read', id, offset, width });
    return id;
  }
  #set(offset: number, width: Width, value: number): void {
    const g = this.graph;
    if (offset < GPR_END && offset >= STATE.gpr.offset) {
      const at = offset - STATE.gpr.offset;
      const home = at >> 3;
      const wide = g.items[value]!.type === 'i32' ? g.unary('i64.extend_i32_u', value) : value;
      this.#update(home, width === 8 ? wide : this.#insert(home, (at & 7) * 8, width, wide));
      return;
    }
    if (offset === STATE.flagsResult.offset) {
      assert(width === 8, 'the flags are written as a whole');
      this.#homes[HOME.flagsResult] = value;
      return;
    }
    if (offset === STATE.flagsAux.offset) {
      this.#homes[HOME.flagsAux] = g.items[value]!.type === 'i64' ? g.unary('i32.wrap_i64', value) : value;
      return;
    }
    assert(
      offset !== STATE.zero.offset && offset !== STATE.pageBase.offset && offset !== STATE.rip.offset,
      'the engine writes this slot',
    );
    assert(offset < STATE.segmentBase.offset || offset >= SEGMENTS_END, 'segment bases are written by system code');
    this.events.push({ kind: 'write', offset, width, value });
  }
  #insert(home: number, shift: number, width: number, value: number): number {
    const g = this.graph;
    const ones = (1n << BigInt(width * 8)) - 1n;
    const kept = g.binary('i64.and', this.#home(home), g.i64(~(ones << BigInt(shift))));
    const part = g.binary('i64.and', value, g.i64(ones));
    return g.binary('i64.or', kept, shift === 0 ? part : g.binary('i64.shl', part, g.i64(BigInt(shift))));
  }
  #update(home: number, value: number): void {
    this.#homes[home] = value;
    this.graph.keep(value);
    this.events.push({ kind: 'home', home, value });
  }

  // ---- addresses ----------------------------------------------------------------------------------------------------

  #rip(offset: bigint): number {
    const g = this.graph;
    const rip = g.binary('i64.add', this.#home(HOME.pageBase), g.i64(offset));
    return this.#mode === 2 ? rip : g.binary('i64.and', rip, g.i64(U32));
  }
  #effective(insn: Insn, delta: number | null): number {
    const g = this.graph;
    const index = g.binary('i64.shl', this.#get(insn.index, 8, 'i64'), g.i64(BigInt(insn.scale)));
    let address = g.binary('i64.add', this.#get(insn.base, 8, 'i64'), index);
    address = g.binary('i64.add', address, g.i64(insn.disp));
    if (delta !== null) address = g.binary('i64.add', address, delta);
    const size = insn.attr & ATTR.addressMask;
    if (size === 0) return address;
    return g.binary('i64.and', address, g.i64(size & 1 ? U32 : 0xffffn));
  }
  #linear(insn: Insn, delta: number | null): number {
    const g = this.graph;
    const address = g.binary('i64.add', this.#effective(insn, delta), this.#get(insn.seg, 8, 'i64'));
    return this.#mode === 2 ? address : g.binary('i64.and', address, g.i64(U32));
  }

  // ---- instructions -------------------------------------------------------------------------------------------------

  #field(insn: Insn, name: string, type: TypeName): number {
    const g = this.graph;
    if (name === 'next') return g.i32(insn.pageOffset + insn.length);
    const value = BigInt(insn[name as 'disp']);
    return type === 'i64' ? g.i64(value) : g.i32(Number(BigInt.asIntN(32, value)));
  }

  #translate({ insn, program }: Step): void {
    const ids: number[] = [];
    const at: Translating = { insn, program, ids, leaving: { insn: this.#number, flags: this.#flagState() } };
    for (const node of program.body) ids.push((Block.#nodes[node.op] as TranslateNode<Node>)(this, node, at));
    this.#commits(insn, program, ids);
  }

  /**
   * What a node of a program becomes, as the number of its value; -1: it has none. One function for each kind: in a single one V8
   * would compile all anew whenever a kind comes up for the first time.
   */
  static readonly #nodes: { readonly [Op in Node['op']]: TranslateNode<Extract<Node, { op: Op }>> } = {
    const: ({ graph }, { type, value }) => graph.const(type, value),
    unary: ({ graph }, { name, a }, { ids }) => graph.unary(name, ids[a]!),
    binary: ({ graph }, { name, a, b }, { ids }) => graph.binary(name, ids[a]!, ids[b]!),
    select: ({ graph }, { cond, a, b }, { ids }) => graph.select(ids[cond]!, ids[a]!, ids[b]!),
    extract: ({ graph }, { shape, lane, a }, { ids }) => graph.extract(shape, lane, ids[a]!),
    replace: ({ graph }, { shape, lane, a, b }, { ids }) => graph.replace(shape, lane, ids[a]!, ids[b]!),
    shuffle: ({ graph }, { lanes, a, b }, { ids }) => graph.shuffle(lanes, ids[a]!, ids[b]!),
    field: (block, { name, type }, { insn }) => block.#field(insn, name, type),
    get: (block, { ref, width, type }, { insn }) => block.#get(block.#offset(ref, insn), width, type),
    offset: (block, _, { insn }) => block.#effective(insn, null),
    linear: (block, { delta }, { insn, ids }) => block.#linear(insn, delta === null ? null : ids[delta]!),
    nextRip: (block, _, { insn }) => block.#rip(BigInt(insn.pageOffset + insn.length)),
    targetRip: (block, _, { insn }) => block.#rip(insn.imm),
    load: (block, node, at) => block.#access(node, node.width, at),
    probe: (block, node, at) => block.#access(node, node.bytes, at),
    peek: ({ graph, events }, { type, token, offset, width }, { ids }) => {
      const id = graph.event(type, bitsOf(type, width));
      events.push({ kind: 'peek', id, token: ids[token]!, offset, width });
      return id;
    },
    raise: ({ graph, events }, { cond, vector, error }, { ids, leaving }) => {
      if (graph.constantOf(ids[cond]!) !== 0n)
        events.push({ kind: 'raise', cond: ids[cond]!, vector, error, ...leaving });
      return -1;
    },
    complete: ({ steps, events }, { cond }, { ids }) => {
      assert(steps.length === 1, 'an instruction that may complete early stands alone');
      events.push({ kind: 'complete', cond: ids[cond]! });
      return -1;
    },
    call: ({ graph, events }, { type, helper, args, shortcut }, { ids }) => {
      const id = graph.event(type);
      events.push({
        kind: 'call',
        id,
        helper,
        args: args.map((arg) => ids[arg]!),
        shortcut: shortcut && { when: ids[shortcut.when]!, value: ids[shortcut.value]! },
      });
      return id;
    },
  };
  #access(
    { op, type, addr, align, stack }: Extract<Node, { op: 'load' | 'probe' }>,
    bytes: number,
    { insn, program, ids, leaving }: Translating,
  ): number {
    const id = this.graph.event(type, bitsOf(type, bytes));
    const isOperand = program.body[addr]!.op === 'linear';
    const segment = isOperand ? segmentNumberOf(insn) : stack ? SEG.ss : SEG.es;
    this.events.push({ kind: op, id, address: ids[addr]!, bytes, align, segment, ...leaving });
    return id;
  }

  #commits(insn: Insn, program: Program, ids: readonly number[]): void {
    const g = this.graph;
    const next = insn.pageOffset + insn.length;
    const here = (): Leaving => {
      this.#flags = null;
      return { insn: this.#number, flags: this.#flagState() };
    };
    for (const commit of program.commits) {
      switch (commit.op) {
        case 'set':
          this.#set(this.#offset(commit.ref, insn), commit.width, ids[commit.value]!);
          break;
        case 'store':
          this.events.push({
            kind: 'store',
            token: ids[commit.token]!,
            offset: commit.offset,
            width: commit.width,
            value: ids[commit.value]!,
          });
          break;
        case 'raiseAfter': {
          const { vector, error } = commit;
          const cond = ids[commit.cond]!;
          if (g.constantOf(cond) !== 0n) this.events.push({ kind: 'raise', cond, vector, error, ...here() });
          break;
        }
        case 'jump': {
          this.ending = { kind: 'jump', rip: ids[commit.rip]! };
          break;
        }
        case 'branch': {
          const cond = commit.cond === null ? g.i32(1) : ids[commit.cond]!;
          const known = g.constantOf(cond);
          if (known === null) this.ending = { kind: 'branch', cond, target: insn.imm, next };
          else this.ending = known !== 0n ? { kind: 'goto', target: insn.imm } : { kind: 'next', next };
          break;
        }
        case 'repeat': {
          const cond = ids[commit.cond]!;
          this.ending = { kind: 'repeat', cond, self: insn.pageOffset, next };
          break;
        }
      }
    }
  }
}
