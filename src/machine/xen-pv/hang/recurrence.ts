/**
 * Whether the loop that a vCPU goes round can ever be left, found out without a step of the machine.
 *
 * A shadow runs ahead until it comes back to where it started: same `rip`, same stack. What differs then is what the loop counts or
 * sums up. Taint from there and from everything that Xen may write (clock, pending bits, rings) is followed through one round,
 * with the upcalls that may come (upcalls.ts). Where it decides nothing and addresses nothing, each later round takes the same
 * way, by induction: the loop never ends. That is a proof, and it holds for a counter in a register, in memory or a checksum that
 * nobody looks at alike, and for none that is compared with an end, reads the clock to wait, or walks through memory. Where it finds
 * nothing, closure.ts follows both ways of what clocks and counters decide.
 */

import type { Insn } from '../../../x86/form.ts';
import type { Recurrence } from '../../explanation.ts';
import type { Machine } from '../../machine.ts';
import { xenOf } from '../xen-of.ts';
import { closureOf } from './closure.ts';
import { Shadow } from './shadow.ts';
import { eventBytes, writtenByXen } from './shadow-memory.ts';
import { type Piece, Taint } from './taint.ts';
import { type Budget, DECISIVE, isFlag, type Traces, Upcalls } from './upcalls.ts';

/** Ways back to the start that are tried, each with fewer differences than the one before. */
const TRIES = 4;
/** Times that taint may turn out to reach further. */
const WIDENINGS = 8;
/** Steps of event handlers that are followed in all: about a second. */
const HANDLER_STEPS = 2 ** 18;
/** Rounds whose counters are compared. */
const ROUNDS = 3;

const NOTHING: Traces = { state: new Set(), memory: new Set() };
const UNKNOWN: Recurrence = { kind: 'unknown' };

/** Looks at the loop that the vCPU goes round, if it does, in `most` steps. */
export function recurrenceOf(machine: Machine, most: number): Recurrence {
  const insns = new Map<bigint, Insn | null>();
  const budget = { steps: HANDLER_STEPS };
  let found = UNKNOWN;
  // what an inner loop counts decides about it: the whole way round an outer one comes later
  for (const steps of roundsOf(machine, insns, most)) {
    const round = examine(machine, insns, steps, budget);
    if (round.kind === 'endless') return round;
    if (round.kind !== 'unknown') found = round;
  }
  if (isEnding(machine)) return found;
  const count = closureOf(machine, insns, budget);
  return count === null ? found : { kind: 'endless', rip: machine.cpu.rip, count, of: 'instruction' };
}
/** A watchdog ends the guest by and by. */
const isEnding = (machine: Machine): boolean => xenOf(machine)!.domain.watchdogs.some((deadline) => deadline !== null);

/** Lengths of rounds that lead back to the same place and stack, each with fewer registers that differ. */
function roundsOf(machine: Machine, insns: Map<bigint, Insn | null>, most: number): number[] {
  const shadow = new Shadow(machine, insns);
  const { rip, rsp } = shadow.cpu;
  const start = shadow.state.slice();
  const rounds: number[] = [];
  let least = Number.POSITIVE_INFINITY;
  while (shadow.steps < most && rounds.length < TRIES && least > 0 && shadow.step()) {
    if (shadow.cpu.rip !== rip || shadow.cpu.rsp !== rsp) continue;
    const differing = differences(start, shadow.state).length;
    if (differing < least) rounds.push(shadow.steps);
    least = Math.min(least, differing);
  }
  return rounds;
}

function differences(before: Uint8Array, after: Uint8Array): number[] {
  return DECISIVE.filter((i) => before[i] !== after[i]);
}

function examine(machine: Machine, insns: Map<bigint, Insn | null>, steps: number, budget: Budget): Recurrence {
  const first = new Shadow(machine, insns);
  const start = first.state.slice();
  if (!take(first, steps)) return UNKNOWN;
  const registers = differences(start, first.state);
  const memory = [...first.memory.changed()];
  const differing = { state: new Set(registers), memory: new Set(memory) };
  const deciding = decidingOf(machine, insns, steps, differing, budget);
  if (deciding === 'unknown') return UNKNOWN;
  if (deciding === 'addresses') return { kind: 'working' };
  if (deciding === null && !isEnding(machine)) return { kind: 'endless', rip: first.cpu.rip, count: steps, of: 'step' };
  return counts(first, steps, start, registers, memory) ? { kind: 'waiting' } : { kind: 'working' };
}

function take(shadow: Shadow, steps: number): boolean {
  const until = shadow.steps + steps;
  while (shadow.steps < until) if (!shadow.step()) return false;
  return true;
}

/** What decides a round's way, or what it reads and writes; null where nothing does that changes. */
type Deciding = 'decides' | 'addresses' | 'unknown' | null;

/** Follows a round with taint from what differs, and from what Xen writes, by itself and then with the upcalls that may come. */
function decidingOf(
  machine: Machine,
  insns: Map<bigint, Insn | null>,
  steps: number,
  differing: Traces,
  budget: Budget,
): Deciding {
  const sources = writtenByXen(xenOf(machine)!);
  const alone = widen(machine, insns, steps, differing, sources, null);
  if (alone !== null) return alone;
  const upcalls = new Upcalls(machine, sources, new Shadow(machine, insns), budget);
  return widen(machine, insns, steps, differing, sources, upcalls);
}

/** Follows taint through a round until it reaches no further. */
function widen(
  machine: Machine,
  insns: Map<bigint, Insn | null>,
  steps: number,
  differing: Traces,
  sources: readonly Piece[],
  upcalls: Upcalls | null,
): Deciding {
  /** What upcalls leave behind, by the step of the round that they come before. */
  const left = Array.from({ length: steps }, (): Traces => ({ state: new Set(), memory: new Set() }));
  for (let i = 0; i < WIDENINGS; i++) {
    const shadow = new Shadow(machine, insns);
    const taint = new Taint([...sources, ...eventBytes(xenOf(machine)!)]);
    shadow.taint = taint;
    spread(differing, taint);
    upcalls?.begin(i === 0);
    let grown = false;
    for (const traces of left) {
      spread(traces, taint);
      const more = upcalls === null ? NOTHING : upcalls.at(shadow);
      if (more === null) return 'decides';
      if (add(traces, more.state, more.memory)) grown = true;
      spread(more, taint);
      if (!shadow.step()) return 'unknown';
    }
    if (taint.addresses) return 'addresses';
    if (taint.branches || taint.decides) return 'decides';
    const state = DECISIVE.filter((at) => taint.state[at] === 1);
    if (add(differing, state, taint.memory)) grown = true;
    if (!grown && (upcalls?.isKnown ?? true)) return null;
  }
  return 'unknown';
}

function spread({ state, memory }: Traces, taint: Taint): void {
  for (const at of state) taint.set(at, 1, true);
  for (const at of memory) taint.memory.set(at, 1, true);
}
/** Whether there was something new. */
function add({ state, memory }: Traces, moreState: Iterable<number>, moreMemory: Iterable<number>): boolean {
  const before = state.size + memory.size;
  for (const at of moreState) state.add(at);
  for (const at of moreMemory) memory.add(at);
  return state.size + memory.size > before;
}

/** What differs changes by the same amount, or as much as the clock has gone on, in each of a few more rounds. */
function counts(
  shadow: Shadow,
  steps: number,
  start: Uint8Array,
  registers: readonly number[],
  memory: readonly number[],
): boolean {
  const words = [...new Set(registers.filter((at) => !isFlag(at)).map((at) => at - (at % 8)))];
  const places = [...new Set(memory.map((pa) => pa - (pa % 8)))];
  const word = (read: (i: number) => number): bigint =>
    Array.from({ length: 8 }, (_, i) => BigInt(read(i)) << BigInt(8 * i)).reduce((sum, byte) => sum | byte, 0n);
  const values = (): bigint[] => [
    ...words.map((at) => word((i) => shadow.state[at + i]!)),
    ...places.map((pa) => word((i) => shadow.memory.byteAt(pa + i))),
  ];
  let before = values();
  let strides: bigint[] | null = null;
  for (let round = 0; round < ROUNDS; round++) {
    if (!take(shadow, steps)) return false;
    const now = values();
    const next = now.map((value, i) => BigInt.asUintN(64, value - before[i]!));
    if (strides !== null && next.some((stride, i) => stride !== strides![i])) return false;
    if (differences(start, shadow.state).some((at) => !isFlag(at) && !words.includes(at - (at % 8)))) return false;
    strides = next;
    before = now;
  }
  return true;
}
