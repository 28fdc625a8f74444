/** Modules of WebAssembly, in the binary format of the core specification, chapter 5. */
import { assert } from '../../core/assert.ts';
import { type FunctionBody, type Signature, TYPE } from './encoder.ts';
import { signed, unsigned } from './leb.ts';

/** The type of references: to functions, null included, or to functions of a type, which are not null. */
function reference(type: number | null): number[] {
  if (type === null) return [0x70];
  const bytes = [0x64];
  signed(bytes, type);
  return bytes;
}

interface Import {
  readonly module: string;
  readonly name: string;
  readonly bytes: readonly number[];
}

/** Pages of 64 KiB that a memory with addresses of 32 bits has at most. */
const MAX_MEMORY_PAGES = 65536;

function text(value: string): number[] {
  const bytes = [...new TextEncoder().encode(value)];
  return [...indexed([], bytes.length), ...bytes];
}
/** A number behind other bytes. */
function indexed(before: readonly number[], index: number): number[] {
  const bytes = [...before];
  unsigned(bytes, index);
  return bytes;
}
const lengthOf = (pieces: readonly number[][]): number => pieces.reduce((sum, piece) => sum + piece.length, 0);

/** The sections of a module, one after the other. */
class Sections {
  readonly #out: number[][] = [[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]];

  add(id: number, pieces: readonly number[][]): void {
    this.#out.push(indexed([id], lengthOf(pieces)), ...pieces);
  }
  /** A section of so many items, which may be in more pieces; none where there are none. */
  vector(id: number, items: readonly number[][], pieces: readonly number[][] = items): void {
    if (items.length > 0) this.add(id, [indexed([], items.length), ...pieces]);
  }
  bytes(): Uint8Array {
    const bytes = new Uint8Array(lengthOf(this.#out));
    let at = 0;
    for (const piece of this.#out) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  }
}

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
    const sections = new Sections();
    const typeIndices = this.#functions.map((f) => indexed([], this.type(f.signature)));
    const imports = this.#imports.map((x) => [...text(x.module), ...text(x.name), ...x.bytes]);
    const exports = this.#exports.map((x) => indexed([...text(x.name), x.kind], x.index));
    sections.vector(1, this.#typeBytes);
    sections.vector(2, imports);
    sections.vector(3, typeIndices);
    sections.vector(4, this.#tables);
    sections.vector(6, this.#globals);
    sections.vector(7, exports);
    sections.vector(9, this.#segments);
    const hinted = this.#hinted();
    if (hinted.length > 0) sections.add(0, [text('metadata.code.branch_hint'), indexed([], hinted.length), ...hinted]);
    const bodies = this.#functions.flatMap((f) => f.encode());
    sections.vector(10, typeIndices, bodies);
    // the names of functions, for profilers (core specification, appendix 7.4.1)
    const names = this.#names.map((x) => [...indexed([], x.index), ...text(x.name)]);
    const list = [indexed([], names.length), ...names].flat();
    sections.add(0, [text('name'), indexed([1], list.length), list]);
    return sections.bytes();
  }
  /** Branch hints (WebAssembly branch hinting proposal): a vector of functions, each with a vector of (offset, 1, value). */
  #hinted(): number[][] {
    const hinted: number[][] = [];
    for (const [i, f] of this.#functions.entries()) {
      const hints = f.hints();
      if (hints.length === 0) continue;
      const bytes = indexed(indexed([], this.#importedFunctions + i), hints.length);
      for (const hint of hints) {
        unsigned(bytes, hint);
        bytes.push(1, 0);
      }
      hinted.push(bytes);
    }
    return hinted;
  }
}
