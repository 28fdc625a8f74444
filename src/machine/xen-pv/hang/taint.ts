/**
 * Which bytes of a vCPU's state and of memory follow from which others: taint goes from a set of bytes through the micro-ops of one
 * instruction after the other.
 *
 * It is conservative: an operation's result is tainted when an operand is, a select's also when its condition is. What decides where
 * the guest goes (a branch, a jump, a fault, the end of a REP) and what says where it reads and writes are noted apart.
 */
import type { Node, Program, StateRef } from '../../../ir/program.ts';
import type { Insn } from '../../../x86/form.ts';
import { STATE_BYTES } from '../../../x86/state.ts';

const PAGE = 4096;

/** Bytes of memory, by machine address. */
class ByteSet {
  readonly #pages = new Map<number, Uint8Array>();
  size = 0;

  has(pa: number, bytes: number): boolean {
    for (let at = pa; at < pa + bytes; at++) if (this.#pages.get(Math.floor(at / PAGE))?.[at % PAGE] === 1) return true;
    return false;
  }
  set(pa: number, bytes: number, on: boolean): void {
    for (let at = pa; at < pa + bytes; at++) {
      const number = Math.floor(at / PAGE);
      let page = this.#pages.get(number);
      if (page === undefined) {
        if (!on) continue;
        page = new Uint8Array(PAGE);
        this.#pages.set(number, page);
      }
      const value = on ? 1 : 0;
      this.size += value - page[at % PAGE]!;
      page[at % PAGE] = value;
    }
  }
  fork(): ByteSet {
    const copy = new ByteSet();
    for (const [number, page] of this.#pages) copy.#pages.set(number, page.slice());
    copy.size = this.size;
    return copy;
  }
  *[Symbol.iterator](): Generator<number> {
    for (const [number, page] of this.#pages)
      for (let at = page.indexOf(1); at >= 0; at = page.indexOf(1, at + 1)) yield number * PAGE + at;
  }
}

/** Bytes from a machine address on. */
export interface Piece {
  readonly pa: number;
  readonly bytes: number;
}
/** What loads and probes reached, in the order of the program's nodes: one piece a page. */
export type Reached = ReadonlyArray<readonly Piece[]>;

export class Taint {
  readonly state = new Uint8Array(STATE_BYTES);
  memory = new ByteSet();
  /** Memory that is tainted whatever is written there. */
  readonly #sources: readonly Piece[];
  /** Tainted bytes have decided a conditional branch. */
  branches = false;
  /** They have decided otherwise where the guest goes, or what the platform is asked. */
  decides = false;
  /** Tainted bytes have been part of an address. */
  addresses = false;

  constructor(sources: readonly Piece[]) {
    this.#sources = sources;
  }
  /** The same with other sources. */
  fork(sources = this.#sources): Taint {
    const copy = new Taint(sources);
    copy.state.set(this.state);
    copy.memory = this.memory.fork();
    copy.branches = this.branches;
    copy.decides = this.decides;
    copy.addresses = this.addresses;
    return copy;
  }
  #has({ pa, bytes }: Piece): boolean {
    return this.memory.has(pa, bytes) || this.#sources.some((s) => pa < s.pa + s.bytes && s.pa < pa + bytes);
  }
  /** One of the pieces is tainted. */
  has(pieces: readonly Piece[]): boolean {
    return pieces.some((piece) => this.#has(piece));
  }
  get(offset: number, bytes: number): boolean {
    for (let i = 0; i < bytes; i++) if (this.state[offset + i] === 1) return true;
    return false;
  }
  set(offset: number, bytes: number, on: boolean): void {
    this.state.fill(on ? 1 : 0, offset, offset + bytes);
  }

  /** One instruction, or one REP iteration, that has retired; `reached` by its loads and probes as far as it got. */
  retire(program: Program, insn: Insn, reached: Reached): void {
    const values: boolean[] = [];
    /** By id of a probe what it reached. */
    const probes = new Map<number, Reached[number]>();
    let accesses = 0;
    for (const [id, node] of program.body.entries()) {
      if (node.op === 'load' || node.op === 'probe') {
        const pieces = reached[accesses++];
        if (pieces === undefined) return;
        if (values[node.addr]) this.addresses = true;
        if (node.op === 'probe') probes.set(id, pieces);
        values.push(node.op === 'load' && this.has(pieces));
      } else if (node.op === 'peek') {
        values.push(this.has(piecesOf(probes.get(node.token)!, node.offset, node.width)));
      } else values.push(this.#node(node, values, insn));
    }
    for (const commit of program.commits)
      switch (commit.op) {
        case 'set':
          this.set(offsetOf(commit.ref, insn), commit.width, values[commit.value]!);
          break;
        case 'store':
          for (const { pa, bytes } of piecesOf(probes.get(commit.token)!, commit.offset, commit.width))
            this.memory.set(pa, bytes, values[commit.value]!);
          break;
        case 'jump':
          if (values[commit.rip]) this.decides = true;
          break;
        case 'branch':
          if (commit.cond !== null && values[commit.cond]) this.branches = true;
          break;
        default:
          if (values[commit.cond]) this.decides = true;
      }
  }

  #node(node: Exclude<Node, { op: 'load' | 'probe' | 'peek' }>, values: readonly boolean[], insn: Insn): boolean {
    switch (node.op) {
      case 'unary':
      case 'extract':
        return values[node.a]!;
      case 'binary':
      case 'replace':
      case 'shuffle':
        return values[node.a]! || values[node.b]!;
      case 'select':
        return values[node.cond]! || values[node.a]! || values[node.b]!;
      case 'get':
        return this.get(offsetOf(node.ref, insn), node.width);
      case 'offset':
        return this.get(insn.base, 8) || this.get(insn.index, 8);
      case 'linear':
        return (
          this.get(insn.base, 8) ||
          this.get(insn.index, 8) ||
          this.get(insn.seg, 8) ||
          (node.delta !== null && values[node.delta]!)
        );
      case 'raise':
      case 'complete':
        if (values[node.cond]) this.decides = true;
        return false;
      case 'call':
        return node.args.some((id) => values[id]);
      case 'const':
      case 'field':
      case 'nextRip':
      case 'targetRip':
        return false;
    }
  }
}

const offsetOf = (ref: StateRef, insn: Insn): number =>
  ref.kind === 'slot' ? ref.offset : insn[ref.field] + ref.delta;

/** `width` bytes from `offset` on of what a probe reached. */
function piecesOf(pieces: Reached[number], offset: number, width: number): Piece[] {
  const out: Piece[] = [];
  let from = 0;
  for (const { pa, bytes } of pieces) {
    const start = Math.max(offset, from);
    const end = Math.min(offset + width, from + bytes);
    if (start < end) out.push({ pa: pa + start - from, bytes: end - start });
    from += bytes;
  }
  return out;
}
