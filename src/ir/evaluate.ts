/**
 * Runs a {@link Program} directly on BigInts: the oracle of the tests, and the way one instruction is emulated when its
 * store must be validated before anything commits.
 *
 * Invariants: a fault leaves the state untouched; stores commit before state, so that a store callback can still refuse.
 */
import { assert } from '../core/assert.ts';
import type { Commit, FieldName, Node, Program, StateRef, Width } from './program.ts';
import { evaluateBinary, evaluateUnary, isScalar } from './scalar.ts';
import { evaluateVectorBinary, evaluateVectorUnary, LANE_BITS, lanesOf, vectorOf } from './vector.ts';

/** What memory accesses are told besides address and width. */
export interface AccessHints {
  /** A non-canonical address raises #SS instead of #GP. */
  readonly stack: boolean;
  /** The address is the instruction's memory operand. */
  readonly operand: boolean;
  /** A misaligned address raises #GP; it does so first. */
  readonly align: boolean;
}

/** A result that is either a value or a fault of the caller's type. */
export type OrFault<T, F> = { readonly value: T } | { readonly fault: F };

/** What a program sees of the machine. `F` is the caller's representation of a fault. */
export interface Environment<F> {
  /** The bytes that hold the vCPU state, which starts at `base`. */
  readonly view: DataView;
  readonly base: number;
  /** A record field; `disp` and `imm` are taken modulo 2^64, the others modulo 2^32. */
  field(name: FieldName): bigint;
  /** The effective address, truncated to the address size. */
  offset(): bigint;
  /** The linear address of the memory operand, `delta` added to the effective address. */
  linear(delta: bigint): bigint;
  /** True when the memory operand lies in the stack segment. */
  readonly operandInStack: boolean;
  /** The fault that an access raises before paging; null when it may go on. */
  access(address: bigint, bytes: number, write: boolean, hints: AccessHints): F | null;
  nextRip(): bigint;
  targetRip(): bigint;
  load(address: bigint, width: Width, hints: AccessHints): OrFault<bigint, F>;
  /** Checks `bytes` bytes at `address` for writing. */
  probe(address: bigint, bytes: number, hints: AccessHints): OrFault<null, F>;
  /** The old value behind a probe that has succeeded. */
  peek(address: bigint, width: Width): bigint;
  /** Writes; a fault refuses the whole instruction, before any register has changed. */
  store(address: bigint, width: Width, value: bigint): OrFault<null, F>;
  /** The fault of continuing at `rip` instead of the next instruction, before anything has changed; null when it may. */
  transfer(rip: bigint): F | null;
  fault(vector: number, error: number): F;
  helper(name: string, args: readonly bigint[]): bigint;
}

/** How the instruction ended. */
export type Completion<F> =
  /** It retired and falls through. */
  | { readonly kind: 'next' }
  /** It retired and continues at `rip`. */
  | { readonly kind: 'jump'; readonly rip: bigint }
  /** One REP iteration is done; the same instruction is next. */
  | { readonly kind: 'repeat' }
  | { readonly kind: 'fault'; readonly fault: F };

const BITS = { i32: 32, i64: 64, v128: 128 } as const;
/** #GP: the vector of misaligned accesses. */
const GENERAL_PROTECTION = 13;

/** Nodes whose value follows from those of other nodes alone. */
export type PureNode = Extract<
  Node,
  { readonly op: 'const' | 'unary' | 'binary' | 'select' | 'extract' | 'replace' | 'shuffle' }
>;

/** The value of a node that asks nothing of the machine; `of` gives those that it uses. */
export function evaluateNode(node: PureNode, of: (id: number) => bigint): bigint {
  switch (node.op) {
    case 'const':
      return node.value;
    case 'unary':
      return (isScalar(node.name) ? evaluateUnary : evaluateVectorUnary)(node.name, of(node.a));
    case 'binary':
      return (isScalar(node.name) ? evaluateBinary : evaluateVectorBinary)(node.name, of(node.a), of(node.b));
    case 'select':
      return of(node.cond) !== 0n ? of(node.a) : of(node.b);
    case 'extract':
      return lanesOf(of(node.a), LANE_BITS[node.shape])[node.lane]!;
    case 'replace': {
      const bits = LANE_BITS[node.shape];
      return vectorOf(lanesOf(of(node.a), bits).with(node.lane, of(node.b)), bits);
    }
    case 'shuffle': {
      const bytes = [...lanesOf(of(node.a), 8), ...lanesOf(of(node.b), 8)];
      return vectorOf(
        node.lanes.map((lane) => bytes[lane]!),
        8,
      );
    }
  }
}

class Run<F> {
  readonly #program: Program;
  readonly #env: Environment<F>;
  readonly #values: bigint[] = [];

  constructor(program: Program, env: Environment<F>) {
    this.#program = program;
    this.#env = env;
  }

  #of(id: number): bigint {
    const value = this.#values[id];
    assert(value !== undefined, `value ${id} is used before its definition`);
    return value;
  }

  #address(ref: StateRef): number {
    if (ref.kind === 'slot') return this.#env.base + ref.offset;
    return this.#env.base + Number(this.#env.field(ref.field)) + ref.delta;
  }
  #get(ref: StateRef, width: Width): bigint {
    const at = this.#address(ref);
    let value = 0n;
    for (let i = width - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#env.view.getUint8(at + i));
    return value;
  }
  #set(ref: StateRef, width: Width, value: bigint): void {
    const at = this.#address(ref);
    for (let i = 0; i < width; i++) this.#env.view.setUint8(at + i, Number((value >> BigInt(8 * i)) & 0xffn));
  }

  #hints(addr: number, stack: boolean, align: boolean): AccessHints {
    const operand = this.#program.body[addr]!.op === 'linear';
    return { stack: stack || (operand && this.#env.operandInStack), operand, align };
  }
  /** The fault of an access that comes before paging. */
  #refused(address: bigint, bytes: number, write: boolean, hints: AccessHints): F | null {
    if (hints.align && address % BigInt(bytes) !== 0n) return this.#env.fault(GENERAL_PROTECTION, 0);
    return this.#env.access(address, bytes, write, hints);
  }

  /** The node's value, or how the instruction ends here. */
  #node(node: Node): bigint | Completion<F> {
    const env = this.#env;
    switch (node.op) {
      case 'const':
      case 'unary':
      case 'binary':
      case 'select':
      case 'extract':
      case 'replace':
      case 'shuffle':
        return evaluateNode(node, (id) => this.#of(id));
      case 'field':
        return BigInt.asUintN(BITS[node.type], env.field(node.name));
      case 'get':
        return this.#get(node.ref, node.width);
      case 'offset':
        return env.offset();
      case 'linear':
        return env.linear(node.delta === null ? 0n : this.#of(node.delta));
      case 'nextRip':
        return env.nextRip();
      case 'targetRip':
        return env.targetRip();
      case 'load': {
        const address = this.#of(node.addr);
        const hints = this.#hints(node.addr, node.stack, node.align);
        const refused = this.#refused(address, node.width, false, hints);
        if (refused !== null) return { kind: 'fault', fault: refused };
        const loaded = env.load(address, node.width, hints);
        return 'fault' in loaded ? { kind: 'fault', fault: loaded.fault } : loaded.value;
      }
      case 'probe': {
        const address = this.#of(node.addr);
        const hints = this.#hints(node.addr, node.stack, node.align);
        const refused = this.#refused(address, node.bytes, true, hints);
        if (refused !== null) return { kind: 'fault', fault: refused };
        const probed = env.probe(address, node.bytes, hints);
        return 'fault' in probed ? { kind: 'fault', fault: probed.fault } : address;
      }
      case 'peek':
        return env.peek(this.#of(node.token) + BigInt(node.offset), node.width);
      case 'raise':
        if (this.#of(node.cond) === 0n) return 0n;
        return { kind: 'fault', fault: env.fault(node.vector, node.error) };
      case 'complete':
        return this.#of(node.cond) === 0n ? 0n : { kind: 'next' };
      case 'call':
        return this.#call(node);
    }
  }
  /** The helper's result, with which a shortcut has to agree. */
  #call({ type, helper, args, shortcut }: Node & { op: 'call' }): bigint {
    const values = args.map((id) => this.#of(id));
    const value = BigInt.asUintN(BITS[type], this.#env.helper(helper, values));
    assert(
      shortcut === null || this.#of(shortcut.when) === 0n || this.#of(shortcut.value) === value,
      `${helper}(${values.join(', ')}) is not what its shortcut says`,
    );
    return value;
  }

  #finish(commit: Commit): Completion<F> | null {
    switch (commit.op) {
      case 'set':
        this.#set(commit.ref, commit.width, this.#of(commit.value));
        return null;
      case 'store':
      case 'raiseAfter':
        return null;
      case 'jump':
        return { kind: 'jump', rip: this.#of(commit.rip) };
      case 'branch':
        if (commit.cond !== null && this.#of(commit.cond) === 0n) return { kind: 'next' };
        return { kind: 'jump', rip: this.#env.targetRip() };
      case 'repeat':
        return this.#of(commit.cond) !== 0n ? { kind: 'repeat' } : { kind: 'next' };
    }
  }

  /** Where the program's last commit transfers control to; null when it does not. */
  #target(): bigint | null {
    const { body, commits } = this.#program;
    const last = commits.at(-1);
    if (last?.op === 'jump') {
      const rip = body[last.rip]!;
      const stays = rip.op === 'select' && body[rip.b]!.op === 'nextRip' && this.#of(rip.cond) === 0n;
      return stays ? null : this.#of(last.rip);
    }
    if (last?.op !== 'branch' || (last.cond !== null && this.#of(last.cond) === 0n)) return null;
    return this.#env.targetRip();
  }

  /** Computes the body; how the instruction ends in it, or null with the values of all nodes. */
  body(): Completion<F> | null {
    for (const node of this.#program.body) {
      const value = this.#node(node);
      if (typeof value !== 'bigint') return value;
      this.#values.push(value);
    }
    return null;
  }
  get values(): readonly bigint[] {
    return this.#values;
  }

  run(): Completion<F> {
    const { commits } = this.#program;
    const early = this.body();
    if (early !== null) return early;
    const target = this.#target();
    const refused = target === null ? null : this.#env.transfer(target);
    if (refused !== null) return { kind: 'fault', fault: refused };
    // A commit reads the record's fields and values only, so the order of stores against state is free.
    const raising = commits.find((x) => x.op === 'raiseAfter' && this.#of(x.cond) !== 0n);
    const live = raising ? commits.slice(0, commits.indexOf(raising)) : commits;
    for (const commit of live) {
      if (commit.op !== 'store') continue;
      const stored = this.#env.store(
        this.#of(commit.token) + BigInt(commit.offset),
        commit.width,
        BigInt.asUintN(commit.width * 8, this.#of(commit.value)),
      );
      if ('fault' in stored) return { kind: 'fault', fault: stored.fault };
    }
    let completion: Completion<F> = { kind: 'next' };
    for (const commit of live) completion = this.#finish(commit) ?? completion;
    if (raising?.op === 'raiseAfter') return { kind: 'fault', fault: this.#env.fault(raising.vector, raising.error) };
    return completion;
  }
}

/** Runs one instruction (or one REP iteration) to its end; on a fault nothing has changed, except what `raiseAfter` keeps. */
export function evaluate<F>(program: Program, env: Environment<F>): Completion<F> {
  return new Run(program, env).run();
}

/** Values of all nodes of the body, nothing of which commits; null where the instruction ends in it. */
export function evaluateBody<F>(program: Program, env: Environment<F>): readonly bigint[] | null {
  const run = new Run(program, env);
  return run.body() === null ? run.values : null;
}
