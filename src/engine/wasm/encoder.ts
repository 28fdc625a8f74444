/** Function bodies of WebAssembly, in the binary format of the core specification, chapter 5. */
import { assert } from '../../core/assert.ts';
import { signed, signed64, unsigned } from './leb.ts';
import { LANE_OPS, MEMORY_OPS, type MemoryOp, NUMERIC, VECTOR_NUMERIC } from './opcodes.ts';

/** Value types, by their binary code. */
export const TYPE = { i32: 0x7f, i64: 0x7e, v128: 0x7b } as const;
export type TypeName = keyof typeof TYPE;

/** A function signature. */
export interface Signature {
  readonly params: readonly TypeName[];
  readonly results: readonly TypeName[];
}

/** The body of one function. Locals are typed and pooled: a released local is handed out again. */
export class FunctionBody {
  readonly code: number[] = [];
  readonly signature: Signature;
  #rest: number[] = [];
  #hints: number[] = [];
  #restHints: readonly number[] = [];
  /** Blocks that are open, and which of them `return` leaves while another function's body is written in line. */
  #open = 0;
  #returnsTo: number | null = null;
  readonly #locals: TypeName[] = [];
  readonly #free: Record<TypeName, number[]> = { i32: [], i64: [], v128: [] };

  constructor(signature: Signature) {
    this.signature = signature;
  }

  local(type: TypeName): number {
    const free = this.#free[type].pop();
    if (free !== undefined) return free;
    this.#locals.push(type);
    return this.signature.params.length + this.#locals.length - 1;
  }
  release(local: number): void {
    const type = this.#locals[local - this.signature.params.length];
    assert(type !== undefined, 'a parameter is not pooled');
    this.#free[type].push(local);
  }

  /** Makes what has been written the end of the body; what is written from now on comes before it. */
  setAside(): void {
    this.#rest = this.code.splice(0);
    this.#restHints = this.#hints;
    this.#hints = [];
  }
  /** Tells the compiler that the condition of the `if` or `br_if` that comes next seldom holds. */
  seldom(): this {
    this.#hints.push(this.code.length);
    return this;
  }
  i32(value: number): this {
    this.code.push(0x41);
    signed(this.code, value);
    return this;
  }
  i64(value: bigint): this {
    this.code.push(0x42);
    signed64(this.code, value);
    return this;
  }
  v128(value: bigint): this {
    this.code.push(0xfd, 0x0c);
    for (let i = 0n; i < 128n; i += 8n) this.code.push(Number((value >> i) & 0xffn));
    return this;
  }
  get(local: number): this {
    this.code.push(0x20);
    unsigned(this.code, local);
    return this;
  }
  set(local: number): this {
    this.code.push(0x21);
    unsigned(this.code, local);
    return this;
  }
  tee(local: number): this {
    this.code.push(0x22);
    unsigned(this.code, local);
    return this;
  }
  globalGet(index: number): this {
    this.code.push(0x23);
    unsigned(this.code, index);
    return this;
  }
  globalSet(index: number): this {
    this.code.push(0x24);
    unsigned(this.code, index);
    return this;
  }
  /** A numeric instruction by its mnemonic. */
  op(name: string): this {
    const code = NUMERIC[name];
    if (code !== undefined) {
      this.code.push(code);
      return this;
    }
    const vector = VECTOR_NUMERIC[name];
    assert(vector !== undefined, `no opcode for ${name}`);
    this.code.push(0xfd);
    unsigned(this.code, vector);
    return this;
  }
  /** A load or store; the address, and the value of a store, are on the stack. */
  memory(name: MemoryOp, offset: number): this {
    this.code.push(MEMORY_OPS[name], 0);
    unsigned(this.code, offset);
    return this;
  }
  loadV128(offset: number): this {
    this.code.push(0xfd, 0x00, 0);
    unsigned(this.code, offset);
    return this;
  }
  storeV128(offset: number): this {
    this.code.push(0xfd, 0x0b, 0);
    unsigned(this.code, offset);
    return this;
  }
  extract(shape: keyof typeof LANE_OPS, lane: number): this {
    this.code.push(0xfd, LANE_OPS[shape].extract, lane);
    return this;
  }
  replace(shape: keyof typeof LANE_OPS, lane: number): this {
    this.code.push(0xfd, LANE_OPS[shape].replace, lane);
    return this;
  }
  shuffle(lanes: readonly number[]): this {
    this.code.push(0xfd, 0x0d, ...lanes);
    return this;
  }
  select(type: TypeName): this {
    if (type === 'v128') this.code.push(0x1c, 1, TYPE.v128);
    else this.code.push(0x1b);
    return this;
  }
  drop(): this {
    this.code.push(0x1a);
    return this;
  }
  block(result: TypeName | null = null): this {
    this.#open++;
    this.code.push(0x02, result === null ? 0x40 : TYPE[result]);
    return this;
  }
  loop(): this {
    this.#open++;
    this.code.push(0x03, 0x40);
    return this;
  }
  if(result: TypeName | null = null): this {
    this.#open++;
    this.code.push(0x04, result === null ? 0x40 : TYPE[result]);
    return this;
  }
  else(): this {
    this.code.push(0x05);
    return this;
  }
  end(): this {
    this.#open--;
    this.code.push(0x0b);
    return this;
  }
  br(depth: number): this {
    this.code.push(0x0c);
    unsigned(this.code, depth);
    return this;
  }
  brIf(depth: number): this {
    this.code.push(0x0d);
    unsigned(this.code, depth);
    return this;
  }
  /** Branches to `depths[i]` for the i32 on the stack, to `otherwise` beyond them. */
  brTable(depths: readonly number[], otherwise: number): this {
    this.code.push(0x0e);
    unsigned(this.code, depths.length);
    for (const depth of depths) unsigned(this.code, depth);
    unsigned(this.code, otherwise);
    return this;
  }
  return(): this {
    if (this.#returnsTo !== null) return this.br(this.#open - this.#returnsTo);
    this.code.push(0x0f);
    return this;
  }
  /**
   * Leaves one value on the stack: the result of the body whose number `selector` gives as an i32, or of `otherwise` for other numbers.
   * Bodies are those of functions whose parameters are the first locals of this one; where they return they come here.
   */
  inline(result: TypeName, selector: () => void, bodies: ReadonlyArray<() => void>, otherwise: () => void): this {
    this.block(result);
    const outside = this.#open;
    for (let i = 0; i <= bodies.length; i++) this.block();
    selector();
    this.brTable([...bodies.keys()], bodies.length);
    for (const body of bodies) {
      this.end();
      this.#returnsTo = outside;
      body();
      this.return();
      this.#returnsTo = null;
    }
    this.end();
    otherwise();
    return this.end();
  }
  unreachable(): this {
    this.code.push(0x00);
    return this;
  }
  call(index: number): this {
    this.code.push(0x10);
    unsigned(this.code, index);
    return this;
  }
  callIndirect(type: number, table: number): this {
    this.code.push(0x11);
    unsigned(this.code, type);
    unsigned(this.code, table);
    return this;
  }
  /** Leaves the function for one of the same results. */
  returnCallIndirect(type: number, table: number): this {
    this.code.push(0x13);
    unsigned(this.code, type);
    unsigned(this.code, table);
    return this;
  }

  #head(): number[] {
    const head: number[] = [];
    const runs: Array<[TypeName, number]> = [];
    for (const type of this.#locals) {
      const last = runs.at(-1);
      if (last && last[0] === type) last[1]++;
      else runs.push([type, 1]);
    }
    unsigned(head, runs.length);
    for (const [type, count] of runs) {
      unsigned(head, count);
      head.push(TYPE[type]);
    }
    return head;
  }
  /** Offsets in the body of the branches that are seldom taken. */
  hints(): number[] {
    const head = this.#head().length;
    const rest = head + this.code.length;
    return [...this.#hints.map((x) => head + x), ...this.#restHints.map((x) => rest + x)];
  }
  /** The body as the code section holds it, in pieces. */
  encode(): number[][] {
    const head = this.#head();
    const size: number[] = [];
    unsigned(size, head.length + this.code.length + this.#rest.length + 1);
    return [size, head, this.code, this.#rest, [0x0b]];
  }
}
