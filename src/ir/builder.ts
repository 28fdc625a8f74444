/**
 * Records a {@link Program}. Semantics functions write as if every read happened before every write: reads see the
 * state before the instruction, writes are queued and happen in order at the end, so the commit rule holds by
 * construction. Constants fold while recording.
 */
import { assert } from '../core/assert.ts';
import { resultType } from './mnemonic.ts';
import type {
  BinaryOp,
  Commit,
  FieldName,
  Lane,
  Node,
  Program,
  StateRef,
  Type,
  UnaryOp,
  Value,
  Width,
} from './program.ts';

const BITS: Record<Type, number> = { i32: 32, i64: 64, v128: 128 };

/** A write-intent access to memory: probed where it was made, committed at the end. */
export interface WriteToken {
  readonly token: Value;
  readonly bytes: number;
}

export class Builder {
  readonly #body: Node[] = [];
  readonly #commits: Commit[] = [];
  #closed = false;

  #push(node: Node): Value {
    assert(!this.#closed, 'the program has ended with a jump, branch or repeat');
    this.#body.push(node);
    return { id: this.#body.length - 1, type: node.type };
  }
  #commit(commit: Commit): void {
    assert(!this.#closed, 'the program has ended with a jump, branch or repeat');
    this.#commits.push(commit);
  }
  #constant(value: Value): bigint | null {
    const node = this.#body[value.id]!;
    return node.op === 'const' ? node.value : null;
  }

  // ---- values -------------------------------------------------------------------------------------------------------

  const(type: Type, value: bigint | number): Value {
    return this.#push({ op: 'const', type, value: BigInt.asUintN(BITS[type], BigInt(value)) });
  }
  i32(value: number): Value {
    return this.const('i32', value);
  }
  i64(value: bigint | number): Value {
    return this.const('i64', value);
  }
  unary(name: UnaryOp, a: Value): Value {
    return this.#push({ op: 'unary', type: resultType(name), name, a: a.id });
  }
  binary(name: BinaryOp, a: Value, b: Value): Value {
    return this.#push({ op: 'binary', type: resultType(name), name, a: a.id, b: b.id });
  }
  /** `cond` (i32) not zero ? a : b. */
  select(cond: Value, a: Value, b: Value): Value {
    assert(cond.type === 'i32' && a.type === b.type, 'select takes an i32 and two values of one type');
    const known = this.#constant(cond);
    if (known !== null) return known !== 0n ? a : b;
    return this.#push({ op: 'select', type: a.type, cond: cond.id, a: a.id, b: b.id });
  }
  extract(shape: Lane, lane: number, a: Value): Value {
    return this.#push({ op: 'extract', type: shape === 'i64x2' ? 'i64' : 'i32', shape, lane, a: a.id });
  }
  replace(shape: Lane, lane: number, a: Value, b: Value): Value {
    return this.#push({ op: 'replace', type: 'v128', shape, lane, a: a.id, b: b.id });
  }
  shuffle(lanes: readonly number[], a: Value, b: Value): Value {
    assert(lanes.length === 16, 'a shuffle names 16 bytes');
    return this.#push({ op: 'shuffle', type: 'v128', lanes, a: a.id, b: b.id });
  }
  /** A helper's result; helpers are pure and listed in src/x86/helpers.ts. */
  call(helper: string, type: Type, ...args: Value[]): Value {
    return this.#push({ op: 'call', type, helper, args: args.map((x) => x.id), shortcut: null });
  }
  /** `value` where `when` (i32) is not zero, else the helper's result, which would be the same. */
  callUnless(when: Value, value: Value, helper: string, ...args: Value[]): Value {
    const shortcut = { when: when.id, value: value.id };
    return this.#push({ op: 'call', type: value.type, helper, args: args.map((x) => x.id), shortcut });
  }

  // ---- operands and state -------------------------------------------------------------------------------------------

  field(name: FieldName): Value {
    return this.#push({ op: 'field', type: name === 'disp' || name === 'imm' ? 'i64' : 'i32', name });
  }
  /** Reads state: i64 zero-extended for widths 1 to 8, v128 for 16. */
  get(ref: StateRef, width: Width): Value {
    return this.#push({ op: 'get', type: width === 16 ? 'v128' : 'i64', ref, width });
  }
  /** Reads a 32-bit state slot as i32. */
  get32(ref: StateRef): Value {
    return this.#push({ op: 'get', type: 'i32', ref, width: 4 });
  }
  /** Queues a write of the low `width` bytes of `value` to the state. */
  set(ref: StateRef, width: Width, value: Value): void {
    assert(width === 16 ? value.type === 'v128' : value.type !== 'v128', 'value does not fit the width');
    this.#commit({ op: 'set', ref, width, value: value.id });
  }
  offset(): Value {
    return this.#push({ op: 'offset', type: 'i64' });
  }
  /** The linear address of the memory operand, `delta` (i64) added to its effective address. */
  linear(delta: Value | null = null): Value {
    return this.#push({ op: 'linear', type: 'i64', delta: delta === null ? null : delta.id });
  }
  nextRip(): Value {
    return this.#push({ op: 'nextRip', type: 'i64' });
  }
  targetRip(): Value {
    return this.#push({ op: 'targetRip', type: 'i64' });
  }

  // ---- memory -------------------------------------------------------------------------------------------------------

  /** `stack`: an implicit stack access, whose non-canonical address raises #SS. */
  load(addr: Value, width: Width, align = false, stack = false): Value {
    assert(addr.type === 'i64', 'an address is an i64');
    return this.#push({ op: 'load', type: width === 16 ? 'v128' : 'i64', addr: addr.id, width, align, stack });
  }
  /** Probes `bytes` (1 to 64) bytes for writing. */
  probe(addr: Value, bytes: number, align = false, stack = false): WriteToken {
    assert(addr.type === 'i64' && bytes >= 1 && bytes <= 64, 'a probe takes an i64 address and 1 to 64 bytes');
    return { token: this.#push({ op: 'probe', type: 'i32', addr: addr.id, bytes, align, stack }), bytes };
  }
  /** The old value behind a write probe. */
  peek(token: WriteToken, width: Width, offset = 0): Value {
    assert(offset + width <= token.bytes, 'peek outside the probed bytes');
    return this.#push({ op: 'peek', type: width === 16 ? 'v128' : 'i64', token: token.token.id, offset, width });
  }
  /** Queues a store through a write probe. */
  storeAt(token: WriteToken, width: Width, value: Value, offset = 0): void {
    assert(offset + width <= token.bytes, 'store outside the probed bytes');
    this.#commit({ op: 'store', token: token.token.id, offset, width, value: value.id });
  }
  /** Probes now, stores at the end. */
  store(addr: Value, width: Width, value: Value, align = false, stack = false): void {
    this.storeAt(this.probe(addr, width, align, stack), width, value);
  }

  // ---- faults and control -------------------------------------------------------------------------------------------

  /** Raises `vector` with `error` (an error code; 0 where the vector pushes none) before anything commits. */
  raiseIf(cond: Value, vector: number, error = 0): void {
    this.#push({ op: 'raise', type: 'i32', cond: cond.id, vector, error });
  }
  /** Completes the instruction without committing anything when `cond` holds; ends nothing while recording. */
  completeIf(cond: Value): void {
    this.#push({ op: 'complete', type: 'i32', cond: cond.id });
  }
  /** Raises after what has been queued so far; what is queued later does not happen then. */
  raiseAfterIf(cond: Value, vector: number, error = 0): void {
    this.#commit({ op: 'raiseAfter', cond: cond.id, vector, error });
  }
  jump(rip: Value): void {
    this.#commit({ op: 'jump', rip: rip.id });
    this.#closed = true;
  }
  branch(cond: Value | null): void {
    this.#commit({ op: 'branch', cond: cond === null ? null : cond.id });
    this.#closed = true;
  }
  repeatIf(cond: Value): void {
    this.#commit({ op: 'repeat', cond: cond.id });
    this.#closed = true;
  }

  finish(): Program {
    return { body: this.#body, commits: this.#commits };
  }
}
