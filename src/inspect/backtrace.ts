/**
 * Who called whom, from a stack that may have no frame pointers.
 *
 * A chain of frame pointers is believed when at least two of its return addresses follow a call. Otherwise (Linux with ORC,
 * and most kernels since) the stack is scanned for words that point behind a call instruction in known text; a call whose
 * target is the very function the frame below lies in is preferred to what may be left over from an earlier call.
 */
import { type Tick, u64, type VirtAddr } from '../core/units.ts';
import { type Symbolizer, symbolText } from './disassembly.ts';
import type { Moment } from './moment.ts';

/** One frame; `rip` of an outer frame is its return address. */
export interface Frame {
  readonly rip: VirtAddr;
  /** `name+0x1f`, null where no symbol covers it. */
  readonly symbol: string | null;
}

/** The parts of a moment that a backtrace reads. */
export type StackSource = Pick<Moment, 'register' | 'read' | 'bytes'> & { readonly tick: Tick };

/** Most bytes of stack looked at: the size of a kernel stack of Linux on amd64 (THREAD_SIZE without KASAN). */
const STACK_BYTES = 16384;
const MAX_FRAMES = 64;
/** How far a direct call of the current function is looked for before another candidate is taken. */
const FRAME_BYTES = 1024;
/** Longest form of CALL r/m64. */
const LONGEST_CALL = 8;

/** The innermost frame first; at least the current instruction. `vcpu` null means the one that runs. */
export function backtrace(moment: StackSource, symbols: Symbolizer, vcpu: number | null = null): Frame[] {
  const rip = moment.register('rip', vcpu) ?? 0n;
  const rsp = moment.register('rsp', vcpu) ?? 0n;
  const first: Frame = { rip, symbol: symbolText(symbols, rip) };
  const stack = new Stack(moment, symbols, rsp);
  const chain = stack.framePointers(moment.register('rbp', vcpu) ?? 0n);
  const addresses = chain.length >= 2 ? chain : stack.scan(rip);
  return [first, ...addresses.map((at): Frame => ({ rip: at, symbol: returnSymbol(symbols, at) }))];
}

/** A return address may lie behind the end of its function, when the call was of one that never returns. */
function returnSymbol(symbols: Symbolizer, address: VirtAddr): string | null {
  const at = symbols.lookup(address - 1n);
  return at === null ? null : `${at.name}+0x${(at.offset + 1).toString(16)}`;
}

interface Candidate {
  readonly address: VirtAddr;
  /** Target of the direct call in front of it, null for an indirect call. */
  readonly target: VirtAddr | null;
}

class Stack {
  readonly #moment: StackSource;
  readonly #symbols: Symbolizer;
  readonly #rsp: VirtAddr;
  readonly #words: BigUint64Array;

  constructor(moment: StackSource, symbols: Symbolizer, rsp: VirtAddr) {
    this.#moment = moment;
    this.#symbols = symbols;
    this.#rsp = rsp & ~7n;
    const bytes = moment.bytes(this.#rsp, STACK_BYTES);
    this.#words = new BigUint64Array(bytes.slice(0, bytes.length & ~7).buffer);
  }

  /** Return addresses along RBP, as long as each is one; empty when it is not a frame pointer. */
  framePointers(rbp: VirtAddr): VirtAddr[] {
    const found: VirtAddr[] = [];
    for (let at = rbp; found.length < MAX_FRAMES; ) {
      const index = Number(at - this.#rsp) / 8;
      if (at < this.#rsp || !Number.isInteger(index) || index + 1 >= this.#words.length) break;
      const address = this.#words[index + 1]!;
      if (this.#candidate(address) === null) break;
      found.push(address);
      const next = this.#words[index]!;
      if (next <= at) break;
      at = next;
    }
    return found;
  }

  /** Return addresses found by looking at every word. */
  scan(rip: VirtAddr): VirtAddr[] {
    const found: VirtAddr[] = [];
    let inside = rip;
    for (let index = 0; index < this.#words.length && found.length < MAX_FRAMES; ) {
      const next = this.#next(index, inside);
      if (next === null) break;
      found.push(next.candidate.address);
      inside = next.candidate.address - 1n;
      index = next.index + 1;
    }
    return found;
  }

  /** The best return address at or above `index` for a frame whose code is at `inside`. */
  #next(from: number, inside: VirtAddr): { index: number; candidate: Candidate } | null {
    const callee = this.#symbols.lookup(inside);
    const entry = callee === null ? null : inside - BigInt(callee.offset);
    let fallback: { index: number; candidate: Candidate } | null = null;
    for (let index = from; index < this.#words.length; index++) {
      if (fallback !== null && index - from > FRAME_BYTES / 8) break;
      const candidate = this.#candidate(this.#words[index]!);
      if (candidate === null) continue;
      if (entry !== null && candidate.target === entry) return { index, candidate };
      fallback ??= { index, candidate };
    }
    return fallback;
  }

  /** `address` as a return address: in known text and right behind a call. */
  #candidate(address: VirtAddr): Candidate | null {
    if (this.#symbols.lookup(address - 1n) === null) return null;
    const before = this.#moment.bytes(u64(address - BigInt(LONGEST_CALL)), LONGEST_CALL);
    return before.length === LONGEST_CALL ? callBefore(before, address) : null;
  }
}

/** The call instruction that ends `before`, which ends at `address`; null when none does (SDM vol. 2A "CALL"). */
function callBefore(before: Uint8Array, address: VirtAddr): Candidate | null {
  const end = before.length;
  if (before[end - 5] === 0xe8) {
    const relative = new DataView(before.buffer, before.byteOffset + end - 4, 4).getInt32(0, true);
    return { address, target: u64(address + BigInt(relative)) };
  }
  for (let length = 2; length <= 7; length++) {
    const opcode = end - length;
    const modrm = before[opcode + 1]!;
    if (before[opcode] === 0xff && ((modrm >> 3) & 7) === 2 && modrmLength(modrm, before[opcode + 2]) === length)
      return { address, target: null };
  }
  return null;
}

/** Length of opcode FF with this ModRM byte in 64-bit mode, by SDM vol. 2A table 2-2. */
function modrmLength(modrm: number, sib: number | undefined): number {
  const [mod, rm] = [modrm >> 6, modrm & 7];
  if (mod === 3) return 2;
  const base = 2 + (rm === 4 ? 1 : 0);
  if (mod === 1) return base + 1;
  if (mod === 2) return base + 4;
  return rm === 5 || (rm === 4 && ((sib ?? 0) & 7) === 5) ? base + 4 : base;
}
