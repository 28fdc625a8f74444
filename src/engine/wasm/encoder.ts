/**
 * A small WebAssembly encoder: function bodies and modules, in the binary format of the core specification, chapter 5.
 */
import { assert } from '../../core/assert.ts';
import { signed, signed64, unsigned } from './leb.ts';
import { LANE_OPS, MEMORY_OPS, type MemoryOp, NUMERIC, VECTOR_NUMERIC } from './opcodes.ts';

/** Value types, by their binary code. */
export const TYPE = { i32: 0x7f, i64: 0x7e, v128: 0x7b } as const;
export type TypeName = keyof typeof TYPE;

/** The type of references: to functions, null included, or to functions of a type, which are not null. */
function reference(type: number | null): number[] {
  if (type === null) return [0x70];
  const bytes = [0x64];
  signed(bytes, type);
  return bytes;
}

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

interface Import {
  readonly module: string;
  readonly name: string;
  readonly bytes: readonly number[];
}

/** Pages of 64 KiB that a memory with addresses of 32 bits has at most. */
const MAX_MEMORY_PAGES = 65536;

/** A module: imports first, then functions; indices are handed out in that order. */
export class ModuleBuilder {
  readonly #types: string[] = [];
  readonly #typeBytes: number[][] = [];
  readonly #imports: Import[] = [];
  readonly #functions: FunctionBody[] = [];
  readonly #exports: Array<{ name: string; kind: number; index: number }> = [];
  readonly #globals: number[][] = [];
  readonly #tables: number[][] = [];
  readonly #segments: number[][] = [];
  readonly #names: Array<{ name: string; index: number }> = [];
  #importedFunctions = 0;
  #importedTables = 0;
  #importedGlobals = 0;

  type(signature: Signature): number {
    const bytes = [0x60, signature.params.length, ...signature.params.map((x) => TYPE[x])];
    bytes.push(signature.results.length, ...signature.results.map((x) => TYPE[x]));
    const key = bytes.join();
    const known = this.#types.indexOf(key);
    if (known >= 0) return known;
    this.#types.push(key);
    this.#typeBytes.push(bytes);
    return this.#types.length - 1;
  }
  importFunction(module: string, name: string, signature: Signature): number {
    assert(this.#functions.length === 0, 'imports come before functions');
    const bytes = [0];
    unsigned(bytes, this.type(signature));
    this.#imports.push({ module, name, bytes });
    return this.#importedFunctions++;
  }
  /** A memory of as many pages of 64 KiB; of any number of them where that is null. */
  importMemory(module: string, name: string, pages: number | null): void {
    const bytes = [2, 1];
    unsigned(bytes, pages ?? 0);
    unsigned(bytes, pages ?? MAX_MEMORY_PAGES);
    this.#imports.push({ module, name, bytes });
  }
  /** A table of as many references to functions; `type`: of that type alone, so that calls need not compare types. Returns its index. */
  importTable(module: string, name: string, elements: number, type: number | null = null): number {
    const bytes = [1, ...reference(type), 1];
    unsigned(bytes, elements);
    unsigned(bytes, elements);
    this.#imports.push({ module, name, bytes });
    return this.#importedTables++;
  }
  /** An i32 global that does not change. Returns its index. */
  importGlobal(module: string, name: string): number {
    assert(this.#globals.length === 0, 'imports come before globals');
    this.#imports.push({ module, name, bytes: [3, TYPE.i32, 0] });
    return this.#importedGlobals++;
  }
  /** A mutable i64 global, initially 0. */
  global64(): number {
    return this.#importedGlobals + this.#globals.push([TYPE.i64, 1, 0x42, 0, 0x0b]) - 1;
  }
  exportGlobal(name: string, index: number): void {
    this.#exports.push({ name, kind: 3, index });
  }
  /**
   * A table as {@link ModuleBuilder.importTable} describes it, exported, whose references are all to the function `first` gives at
   * first. Returns its index; imports come before.
   */
  table(type: number, elements: number, first: number, name: string): number {
    const bytes = [0x40, 0, ...reference(type), 1];
    unsigned(bytes, elements);
    unsigned(bytes, elements);
    bytes.push(0xd2);
    unsigned(bytes, first);
    bytes.push(0x0b);
    const index = this.#importedTables + this.#tables.push(bytes) - 1;
    this.#exports.push({ name, kind: 1, index });
    return index;
  }
  /** Puts functions into table 0, whose references are to functions of `type`, from element `first` on when the module is instantiated. */
  fill(type: number, first: number, functions: readonly number[]): void {
    const bytes = [6, 0, 0x41];
    signed(bytes, first);
    bytes.push(0x0b, ...reference(type));
    unsigned(bytes, functions.length);
    for (const index of functions) {
      bytes.push(0xd2);
      unsigned(bytes, index);
      bytes.push(0x0b);
    }
    this.#segments.push(bytes);
  }
  /** Adds a function, exports it by its name when it has one unless told not to, and returns its index. */
  add(body: FunctionBody, name: string | null = null, exported = name !== null): number {
    this.type(body.signature);
    const index = this.#importedFunctions + this.#functions.push(body) - 1;
    if (exported && name !== null) this.#exports.push({ name, kind: 0, index });
    if (name !== null) this.#names.push({ name, index });
    return index;
  }

  encode(): Uint8Array {
    const out: number[][] = [[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]];
    const sized = (id: number, pieces: readonly number[][]): void => {
      const head = [id];
      unsigned(
        head,
        pieces.reduce((sum, piece) => sum + piece.length, 0),
      );
      out.push(head, ...pieces);
    };
    const section = (id: number, items: readonly number[][], pieces: readonly number[][] = items): void => {
      if (items.length === 0) return;
      const count: number[] = [];
      unsigned(count, items.length);
      sized(id, [count, ...pieces]);
    };
    const text = (value: string): number[] => {
      const bytes = [...new TextEncoder().encode(value)];
      const head: number[] = [];
      unsigned(head, bytes.length);
      return [...head, ...bytes];
    };
    const indexed = (before: readonly number[], index: number): number[] => {
      const bytes = [...before];
      unsigned(bytes, index);
      return bytes;
    };
    const typeIndices = this.#functions.map((f) => indexed([], this.type(f.signature)));
    section(1, this.#typeBytes);
    section(
      2,
      this.#imports.map((x) => [...text(x.module), ...text(x.name), ...x.bytes]),
    );
    section(3, typeIndices);
    section(4, this.#tables);
    section(6, this.#globals);
    section(
      7,
      this.#exports.map((x) => indexed([...text(x.name), x.kind], x.index)),
    );
    section(9, this.#segments);
    // branch hints (WebAssembly branch hinting proposal): a vector of functions, each with a vector of (offset, 1, value)
    const hinted: number[][] = [];
    for (const [i, f] of this.#functions.entries()) {
      const hints = f.hints();
      if (hints.length === 0) continue;
      const bytes: number[] = [];
      unsigned(bytes, this.#importedFunctions + i);
      unsigned(bytes, hints.length);
      for (const hint of hints) {
        unsigned(bytes, hint);
        bytes.push(1, 0);
      }
      hinted.push(bytes);
    }
    if (hinted.length > 0) {
      const count: number[] = [];
      unsigned(count, hinted.length);
      sized(0, [text('metadata.code.branch_hint'), count, ...hinted]);
    }
    section(
      10,
      typeIndices,
      this.#functions.flatMap((f) => f.encode()),
    );
    // the names of functions, for profilers (core specification, appendix 7.4.1)
    const names = this.#names.map((x) => [...indexed([], x.index), ...text(x.name)]);
    const head: number[] = [];
    unsigned(head, names.length);
    const list = [head, ...names].flat();
    sized(0, [text('name'), indexed([1], list.length), list]);
    return join(out);
  }
}

function join(pieces: readonly number[][]): Uint8Array {
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
