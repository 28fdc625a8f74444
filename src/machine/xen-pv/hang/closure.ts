/**
 * Whether a loop that the clock leads round goes on whatever the clock says: a delay within an endless poll.
 *
 * A second proof, by abstract interpretation. A state is what the vCPU and its memory hold, where tainted bytes (the clock, what Xen
 * writes, what follows from them) may be anything. Where they decide a branch both ways are followed. A way ends where it comes to a
 * state that a known one includes: the same place, the same bytes but for those tainted there. Where a place is met in too many
 * states, the bytes in which they differ are taken for tainted from then on, a counter for instance. When all ways have ended so, the
 * known states are closed: no clock and no counter leads out of them.
 *
 * Invariant: the first way that cannot be followed, that is decided by taint other than at a branch, reads or writes where taint says,
 * or speaks, ends the proof. The way out of a loop that ends leads to such a thing.
 */

import { PAGE_SIZE } from '../../../core/units.ts';
import type { Insn } from '../../../x86/form.ts';
import { STATE } from '../../../x86/state.ts';
import type { Machine } from '../../machine.ts';
import { xenOf } from '../xen-of.ts';
import { Shadow } from './shadow.ts';
import { eventBytes, writtenByXen } from './shadow-memory.ts';
import { Taint } from './taint.ts';
import { type Budget, covers, DECISIVE, type Traces, Upcalls } from './upcalls.ts';

/** States of a place that are followed each: few do for delays; a walk through a table needs them all. */
const STATES = [2, 64];
/** What is spent on the states of one look: a step, one beside upcalls, a comparison of two states. About a second in all. */
const WORK = 2 ** 16;
const COST = { step: 1, upcalls: 16, comparison: 4 };
/** Times that upcalls may turn out to do more. */
const PASSES = 8;
/** Bytes of the longest instruction. */
const LONGEST = 15;

/** Instructions of the closed set that the vCPU's way ahead lies in; null where none is found. */
export function closureOf(machine: Machine, insns: Map<bigint, Insn | null>, handlers: Budget): number | null {
  const start = new Shadow(machine, insns);
  if (!start.isQuiet) return null;
  const work = { steps: WORK };
  for (const states of STATES) {
    const alone = new Closure(work, states, null).explore(stateOf(machine, start));
    if (alone === null) continue;
    const upcalls = new Upcalls(machine, writtenByXen(xenOf(machine)!), start, handlers);
    for (let i = 0; i < PASSES; i++) {
      upcalls.begin(i === 0);
      const found = new Closure(work, states, upcalls).explore(stateOf(machine, start));
      if (found === null) break;
      if (upcalls.isKnown) return found;
    }
  }
  return null;
}

/** The state of `start` where only what Xen writes is tainted. */
function stateOf(machine: Machine, start: Shadow): Shadow {
  const xen = xenOf(machine)!;
  const state = start.fork();
  state.taint = new Taint([...writtenByXen(xen), ...eventBytes(xen)]);
  // which pages have been accessed is not known of ways that the guest has not gone
  state.memory.readsTables = false;
  return state;
}

class Closure {
  readonly #work: Budget;
  readonly #states: number;
  readonly #upcalls: Upcalls | null;
  /** States that ways have been followed from, by place, stack, and whether a timer has been set on the way. */
  readonly #known = new Map<string, Shadow[]>();
  /** Ways that are not followed yet. */
  readonly #ways: Shadow[] = [];
  readonly #instructions = new Set<bigint>();

  constructor(work: Budget, states: number, upcalls: Upcalls | null) {
    this.#work = work;
    this.#states = states;
    this.#upcalls = upcalls;
  }

  /** Follows all ways from `start` on; the number of their instructions, null where one leads out. */
  explore(start: Shadow): number | null {
    this.#ways.push(start);
    for (let way = this.#ways.pop(); way !== undefined; way = this.#ways.pop()) if (!this.#walk(way)) return null;
    return this.#instructions.size;
  }

  /** Goes one way until it comes to what is known; false where it leads out. */
  #walk(way: Shadow): boolean {
    const taint = way.taint!;
    const { cpu } = way;
    // each cycle has a step that does not lead forward
    for (let compared = true; ; ) {
      if (compared && this.#isKnown(way)) return true;
      if (!this.#interrupt(way)) return false;
      const { rip } = cpu;
      this.#instructions.add(rip);
      this.#work.steps -= this.#upcalls === null ? COST.step : COST.upcalls;
      if (this.#work.steps <= 0 || !isFollowed(way) || !way.step()) return false;
      if (taint.decides || taint.addresses || way.speaks) return false;
      taint.branches = false;
      compared = cpu.rip <= rip && !way.repeats;
      if (way.otherwise === null) continue;
      const other = way.fork();
      other.cpu.rip = way.otherwise;
      this.#ways.push(other);
    }
  }

  /** Whatever upcalls leave behind where they may come before the next step; false where they cannot be followed. */
  #interrupt(way: Shadow): boolean {
    if (this.#upcalls === null) return true;
    for (;;) {
      const traces = this.#upcalls.at(way);
      if (traces === null) return false;
      if (traces.state.size + traces.memory.size === 0) return true;
      blur(way, traces);
    }
  }

  /** A known state includes that of `way`; if none does, it becomes known, blurred where the place has many. */
  #isKnown(way: Shadow): boolean {
    const place = `${way.cpu.rip} ${way.cpu.rsp} ${way.arms}`;
    const states = this.#known.get(place) ?? [];
    this.#known.set(place, states);
    this.#work.steps -= COST.comparison * states.length;
    if (states.some((known) => covers(known, way))) return true;
    if (states.length === this.#states) blur(way, differencesOf(states.pop()!, way));
    states.push(way.fork());
    return false;
  }
}

/** What is tainted is data only, and not the code that comes next. */
function isFollowed({ taint, memory, cpu }: Shadow): boolean {
  const { state } = taint!;
  const first = state.indexOf(1, STATE.rflags.offset);
  if (first >= 0 && (first < STATE.xmm.offset || state.indexOf(1, STATE.fpr.offset) >= 0)) return false;
  return !memory.hasWritten(cpu.rip + BigInt(LONGEST - 1));
}

/** Takes what traces name for tainted. */
function blur(way: Shadow, { state, memory }: Traces): void {
  for (const at of state) way.taint!.set(at, 1, true);
  for (const pa of memory) {
    way.taint!.memory.set(pa, 1, true);
    way.memory.keep(Math.floor(pa / PAGE_SIZE));
  }
}

/** What is not known of a state that is either of the two. */
function differencesOf(known: Shadow, way: Shadow): Traces {
  const taint = known.taint!;
  return {
    state: new Set(DECISIVE.filter((at) => taint.state[at] === 1 || known.state[at] !== way.state[at])),
    memory: new Set([...taint.memory, ...way.memory.changed(known.memory), ...known.memory.changed(way.memory)]),
  };
}
