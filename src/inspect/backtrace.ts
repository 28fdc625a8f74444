/**
 * Who called whom, from a stack that may have no frame pointers.
 *
 * A chain of frame pointers is believed when at least two of its return addresses follow a call. Otherwise (Linux with ORC,
 * and most kernels since) the stack is scanned for words that point behind a call instruction in known text. A call whose
 * target is the very function the frame below lies in, or one that jumps to it (a tail call), is certain. Else the nearest word
 * counts that is behind a call through a pointer, or whose own function was called by something above it: others are
 * left from earlier calls. Below the entry of an exception the interrupted frame is found by what the processor pushed.
 */
import { type Tick, u64, type VirtAddr } from '../core/units.ts';
import type { Symbolizer } from './disassembly.ts';
import type { Moment } from './moment.ts';
import { symbolText } from './symbol-text.ts';

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
/** Longest function that is searched for tail calls, and how many of them may follow each other. */
const FUNCTION_BYTES = 2048;
const TAIL_CALLS = 3;
/** Functions at which exceptions enter Linux and NetBSD. */
const EXCEPTION_ENTRY = /^(xen_)?asm_(exc|sysvec|common)_|^(alltraps|calltrap|error_entry)$/;
/** Functions through which a compiler calls by pointer where speculation is kept in check. */
const THUNK = /^__(x86|llvm)_(indirect_thunk|retpoline)/;
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
  return [first, ...addresses];
}

interface Candidate {
  readonly address: VirtAddr;
  /** Target of the direct call in front of it, null for an indirect call. */
  readonly target: VirtAddr | null;
}

/** A candidate and the word of the stack it stands in. */
interface Found {
  readonly index: number;
  readonly candidate: Candidate;
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
  framePointers(rbp: VirtAddr): Frame[] {
    const found: Frame[] = [];
    for (let at = rbp; found.length < MAX_FRAMES; ) {
      const index = Number(at - this.#rsp) / 8;
      if (at < this.#rsp || !Number.isInteger(index) || index + 1 >= this.#words.length) break;
      const address = this.#words[index + 1]!;
      if (this.#candidate(address) === null) break;
      found.push(this.#returning(address));
      const next = this.#words[index]!;
      if (next <= at) break;
      at = next;
    }
    return found;
  }

  /** Frames found by looking at every word. */
  scan(rip: VirtAddr): Frame[] {
    const found: Frame[] = [];
    let inside = rip;
    for (let index = 0; index < this.#words.length && found.length < MAX_FRAMES; ) {
      const interrupted = this.#interrupted(index, inside);
      if (interrupted !== null) {
        found.push({ rip: interrupted.rip, symbol: symbolText(this.#symbols, interrupted.rip) });
        inside = interrupted.rip;
        index = interrupted.index;
        continue;
      }
      const next = this.#next(index, inside);
      if (next === null) break;
      found.push(this.#returning(next.candidate.address));
      inside = next.candidate.address - 1n;
      index = next.index + 1;
    }
    return found;
  }

  /** A return address may lie behind the end of its function, when the call was of one that never returns. */
  #returning(address: VirtAddr): Frame {
    const at = this.#symbols.lookup(address - 1n);
    return { rip: address, symbol: at === null ? null : `${at.name}+0x${(at.offset + 1).toString(16)}` };
  }

  /** RIP, CS, RFLAGS, RSP, SS as an exception pushes them (SDM vol. 3A 6.14.2), where `inside` is an exception's entry. */
  #interrupted(from: number, inside: VirtAddr): { rip: VirtAddr; index: number } | null {
    if (!EXCEPTION_ENTRY.test(this.#symbols.lookup(inside)?.name ?? '')) return null;
    for (let i = from; i + 4 < this.#words.length && i - from < FRAME_BYTES / 8; i++) {
      const [rip, cs, flags, rsp, ss] = this.#words.subarray(i, i + 5) as unknown as bigint[];
      const selectors = cs! > 0n && cs! < 0x10000n && ss! < 0x10000n;
      const reserved = (flags! & 2n) === 2n && flags! < 1n << 22n;
      if (!selectors || !reserved || this.#symbols.lookup(rip!) === null) continue;
      const above = Number(rsp! - this.#rsp) / 8;
      const known = rsp! > this.#rsp && above < this.#words.length;
      return { rip: rip!, index: known ? Math.floor(above) : this.#words.length };
    }
    return null;
  }

  /** The best return address at or above `index` for a frame whose code is at `inside`. */
  #next(from: number, inside: VirtAddr): Found | null {
    const candidates = [...this.#candidates(from)];
    const called = this.#callOf(candidates, inside);
    if (called !== null) return called;
    // It was called through a pointer, or jumped to through one by a function that was itself called by something above.
    const believable = candidates.find((found) => {
      if (found.candidate.target === null) return true;
      const above = [...this.#candidates(found.index + 1)];
      return this.#callOf(above, found.candidate.address - 1n) !== null;
    });
    return believable ?? candidates[0] ?? null;
  }

  /** The first direct call of the function that `inside` lies in. */
  #callOf(candidates: readonly Found[], inside: VirtAddr): Found | null {
    const callee = this.#symbols.lookup(inside);
    if (callee === null) return null;
    const entry = inside - BigInt(callee.offset);
    const calls = (target: VirtAddr | null): boolean => target !== null && this.#leadsTo(target, entry, TAIL_CALLS);
    return candidates.find(({ candidate }) => calls(candidate.target)) ?? null;
  }

  /** Return addresses in the next {@link FRAME_BYTES}, and where there are none the first one beyond. */
  *#candidates(from: number): Generator<Found> {
    let any = false;
    for (let index = from; index < this.#words.length; index++) {
      if (any && index - from > FRAME_BYTES / 8) return;
      const candidate = this.#candidate(this.#words[index]!);
      if (candidate === null) continue;
      any = true;
      yield { index, candidate };
    }
  }

  /** Whether the function at `start` is the one at `entry`, or ends by jumping to it in at most `jumps` jumps. */
  #leadsTo(start: VirtAddr, entry: VirtAddr, jumps: number): boolean {
    if (start === entry) return true;
    const name = this.#symbols.lookup(start)?.name;
    if (jumps === 0 || name === undefined) return false;
    const code = this.#moment.bytes(start, FUNCTION_BYTES);
    const view = new DataView(code.buffer, code.byteOffset, code.length);
    for (let at = code.indexOf(0xe9); at >= 0 && at + 5 <= code.length; at = code.indexOf(0xe9, at + 1)) {
      const end = start + BigInt(at + 5);
      if (this.#symbols.lookup(end - 1n)?.name !== name) return false;
      const target = u64(end + BigInt(view.getInt32(at + 1, true)));
      if (target === entry) return true;
      if (this.#symbols.lookup(target)?.offset === 0 && this.#leadsTo(target, entry, jumps - 1)) return true;
    }
    return false;
  }

  /** `address` as a return address: in known text and right behind a call. */
  #candidate(address: VirtAddr): Candidate | null {
    if (this.#symbols.lookup(address - 1n) === null) return null;
    const before = this.#moment.bytes(u64(address - BigInt(LONGEST_CALL)), LONGEST_CALL);
    const found = before.length === LONGEST_CALL ? callBefore(before, address) : null;
    if (found === null || found.target === null) return found;
    const target = this.#symbols.lookup(found.target);
    return target !== null && THUNK.test(target.name) ? { address, target: null } : found;
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
