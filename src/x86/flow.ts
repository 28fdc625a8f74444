/**
 * What one instruction writes, and which bytes that it reads carry over into what it writes: found by changing a byte that is read and
 * looking whether the byte asked for changes, on the values that the instruction meets.
 *
 * Values are followed, nothing else: the address that a value is loaded from and the condition that chooses between two values stand as
 * they were ({@link Flow.addressInputs} asks for the former). Where only the condition carries (a flag made into a number), it counts.
 * Nothing of the machine changes.
 */
import { type Environment, evaluateBody, evaluateNode } from '../ir/evaluate.ts';
import type { Commit, Node, Program, StateRef } from '../ir/program.ts';
import type { Cpu, LinearMemory } from './cpu.ts';
import { environmentOf } from './emulate.ts';
import type { Insn } from './form.ts';
import { ATTR } from './record.ts';
import type { Fault } from './seam.ts';
import { programOf } from './semantics/registry.ts';
import { STATE } from './state.ts';

/** Bytes of the vCPU's state (by offset) or of linear memory. */
export interface Span {
  readonly space: 'state' | 'memory';
  readonly at: bigint;
  readonly bytes: number;
}
/** What the instruction writes: the span, and the node whose value it is. */
export interface Effect extends Span {
  readonly value: number;
}

/** Changes tried on each byte. */
const PATTERNS = [0xff, 0x01, 0x80, 0x2a] as const;
/** Slots that hold nothing of the guest's. */
const NOTHING: ReadonlySet<number> = new Set([STATE.zero.offset, STATE.pageBase.offset]);
const ADDRESS_BITS = [64, 32, 16] as const;

/** One byte that is read, changed. */
interface Change {
  readonly space: Span['space'];
  readonly at: bigint;
  readonly xor: number;
}
interface Rules {
  /** Conditions of selections stand as they were. */
  readonly pinned: boolean;
  /** The memory operand's address is computed anew. */
  readonly addresses: boolean;
}

const covers = (at: bigint, bytes: number, byte: bigint): boolean => byte >= at && byte < at + BigInt(bytes);
/** `value`, which lies at `at`, with the change. */
const changed = (value: bigint, at: bigint, bytes: number, { at: byte, xor }: Change): bigint =>
  covers(at, bytes, byte) ? value ^ (BigInt(xor) << (8n * (byte - at))) : value;

export class Flow {
  /** In the order of the commits. */
  readonly effects: readonly Effect[];
  readonly #program: Program;
  readonly #env: Environment<Fault>;
  readonly #values: readonly bigint[];

  private constructor(program: Program, env: Environment<Fault>, values: readonly bigint[]) {
    this.#program = program;
    this.#env = env;
    this.#values = values;
    this.effects = this.#commits().flatMap((commit) => this.#effect(commit));
  }
  /** Of `insn` at `cpu.rip`, whose memory is read through `memory`; null where it writes nothing by itself: it faults, or is no program. */
  static of(cpu: Cpu, insn: Insn, memory: LinearMemory, program: Program | null = programOf(insn.form)): Flow | null {
    if (program === null) return null;
    const env = environmentOf(cpu, insn, memory);
    const values = evaluateBody(program, env);
    return values === null ? null : new Flow(program, env, values);
  }

  #commits(): readonly Commit[] {
    const { commits } = this.#program;
    const end = commits.findIndex((c) => c.op === 'raiseAfter' && this.#values[c.cond] !== 0n);
    return end < 0 ? commits : commits.slice(0, end);
  }
  #effect(commit: Commit): Effect[] {
    if (commit.op === 'set')
      return [{ space: 'state', at: BigInt(this.#offset(commit.ref)), bytes: commit.width, value: commit.value }];
    if (commit.op !== 'store') return [];
    const at = this.#values[commit.token]! + BigInt(commit.offset);
    return [{ space: 'memory', at, bytes: commit.width, value: commit.value }];
  }
  #offset(ref: StateRef): number {
    return ref.kind === 'slot' ? ref.offset : Number(this.#env.field(ref.field)) + ref.delta;
  }

  // ---- what is read -------------------------------------------------------------------------------------------------

  /** Everything that the nodes read. */
  #reads(rules: Rules): Span[] {
    const out: Span[] = [];
    const state = (offset: number, bytes: number): void => {
      if (!NOTHING.has(offset)) out.push({ space: 'state', at: BigInt(offset), bytes });
    };
    const field = (name: 'base' | 'index' | 'seg'): number => Number(this.#env.field(name));
    for (const node of this.#program.body) {
      if (node.op === 'get') state(this.#offset(node.ref), node.width);
      else if (node.op === 'load') out.push({ space: 'memory', at: this.#values[node.addr]!, bytes: node.width });
      else if (node.op === 'peek') out.push({ space: 'memory', at: this.#peeked(node), bytes: node.width });
      else if (node.op === 'offset' || (node.op === 'linear' && rules.addresses)) {
        state(field('base'), 8);
        state(field('index'), 8);
        if (node.op === 'linear') state(field('seg'), 8);
      }
    }
    return out;
  }
  #peeked(node: Node & { op: 'peek' }): bigint {
    return this.#values[node.token]! + BigInt(node.offset);
  }

  // ---- trying -------------------------------------------------------------------------------------------------------

  #state(offset: number, bytes: number, change: Change): bigint {
    let value = 0n;
    for (let i = bytes - 1; i >= 0; i--)
      value = (value << 8n) | BigInt(this.#env.view.getUint8(this.#env.base + offset + i));
    return change.space === 'state' ? changed(value, BigInt(offset), bytes, change) : value;
  }
  /** The effective address (with the segment's base where `linear`) after the change. */
  #address(node: Node & { op: 'offset' | 'linear' }, change: Change, of: (id: number) => bigint): bigint {
    const env = this.#env;
    const at = (name: 'base' | 'index' | 'seg'): bigint => this.#state(Number(env.field(name)), 8, change);
    const attr = Number(env.field('attr'));
    const delta = node.op === 'linear' && node.delta !== null ? of(node.delta) : 0n;
    const sum = at('base') + (at('index') << env.field('scale')) + env.field('disp') + delta;
    const effective = BigInt.asUintN(ADDRESS_BITS[attr & ATTR.addressMask]!, sum);
    if (node.op === 'offset') return effective;
    return BigInt.asUintN(attr & ATTR.linear32 ? 32 : 64, effective + at('seg'));
  }
  /** The value of node `target` after a change. */
  #after(target: number, change: Change, rules: Rules): bigint {
    const values: bigint[] = [];
    const of = (id: number): bigint => values[id]!;
    const { body } = this.#program;
    for (let id = 0; id <= target; id++) values.push(this.#node(body[id]!, id, change, rules, of));
    return values[target]!;
  }
  #node(node: Node, id: number, change: Change, rules: Rules, of: (id: number) => bigint): bigint {
    const before = this.#values[id]!;
    switch (node.op) {
      case 'get':
        return this.#state(this.#offset(node.ref), node.width, change);
      case 'load':
        return change.space === 'memory' ? changed(before, this.#values[node.addr]!, node.width, change) : before;
      case 'peek':
        return change.space === 'memory' ? changed(before, this.#peeked(node), node.width, change) : before;
      case 'offset':
        return this.#address(node, change, of);
      case 'linear':
        return rules.addresses ? this.#address(node, change, of) : before;
      case 'select':
        return evaluateNode(node, (x) => (rules.pinned && x === node.cond ? this.#values[x]! : of(x)));
      case 'const':
      case 'unary':
      case 'binary':
      case 'extract':
      case 'replace':
      case 'shuffle':
        return evaluateNode(node, of);
      case 'call':
        return this.#env.helper(
          node.helper,
          node.args.map((x) => of(x)),
        );
      default:
        return before;
    }
  }

  /** The bytes read that carry into the bytes of `mask` (bit i is byte i) of a node's value; spans of bytes that follow each other. */
  #carriers(target: number, mask: number, rules: Rules): Span[] {
    const wanted = bytesOf(mask);
    const base = this.#values[target]! & wanted;
    const tried = new Map<string, boolean>();
    const out: Span[] = [];
    for (const { space, at, bytes } of this.#reads(rules)) {
      for (let i = 0; i < bytes; i++) {
        const byte = at + BigInt(i);
        const key = `${space}${byte}`;
        if (tried.has(key)) continue;
        const carries = PATTERNS.some((xor) => this.#differs(target, { space, at: byte, xor }, rules, wanted, base));
        tried.set(key, carries);
        if (carries) append(out, { space, at: byte, bytes: 1 });
      }
    }
    return out;
  }
  #differs(target: number, change: Change, rules: Rules, wanted: bigint, base: bigint): boolean {
    try {
      return (this.#after(target, change, rules) & wanted) !== base;
    } catch (error) {
      // a division that the change makes impossible
      if (error instanceof RangeError) return true;
      throw error;
    }
  }
  /** What carries into the bytes of `mask` of a node's value. */
  #inputs(target: number, mask: number, addresses: boolean): readonly Span[] {
    const pinned = this.#carriers(target, mask, { pinned: true, addresses });
    return pinned.length > 0 ? pinned : this.#carriers(target, mask, { pinned: false, addresses });
  }

  /** What carries into the bytes of `mask` (bit i is byte i) of an effect; nothing where they are a constant of the instruction. */
  inputs(effect: Effect, mask: number): readonly Span[] {
    return this.#inputs(effect.value, mask, false);
  }
  /** What carries into the addresses of what the instruction loads from, or into that of a store. */
  addressInputs(effect: Effect | null): readonly Span[] {
    const out: Span[] = [];
    const of = (id: number): void => {
      for (const span of this.#inputs(id, 0xff, true)) append(out, span);
    };
    for (const commit of this.#commits())
      if (effect !== null && commit.op === 'store' && commit.value === effect.value) {
        const token = this.#program.body[commit.token]!;
        if (token.op === 'probe') of(token.addr);
      }
    if (effect === null) for (const node of this.#program.body) if (node.op === 'load') of(node.addr);
    return out;
  }
}

/** Ones in the bytes of a mask. */
function bytesOf(mask: number): bigint {
  let out = 0n;
  for (let i = 0; i < 16; i++) if (mask & (1 << i)) out |= 0xffn << BigInt(8 * i);
  return out;
}
/** Adds a span, to the last one where it follows that. */
function append(spans: Span[], span: Span): void {
  const last = spans.at(-1);
  if (last !== undefined && last.space === span.space && last.at + BigInt(last.bytes) === span.at)
    spans[spans.length - 1] = { ...last, bytes: last.bytes + span.bytes };
  else spans.push(span);
}
