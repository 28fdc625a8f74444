/**
 * What the upcalls of a vCPU's own timer may do to a loop, wherever in a round they come.
 *
 * The timer counts as one that may fire between any two steps. Its upcall is taken as Xen would deliver it, the handler followed
 * to its return, and what it has changed, or made follow from what is tainted, is told: the loop goes on with that tainted. While the
 * handler runs the timer may fire again, which shows only in the words that say which events are pending: behind each step that
 * reads or writes them the handler is followed on both ways. Those words are never tainted there; the states of them that
 * handlers leave are followed each.
 *
 * Invariant: a handler that may do anything else, or that is decided by what is tainted, is not followed.
 */

import { STATE } from '../../../x86/state.ts';
import { VIRQ } from '../../../xen/abi/numbers.ts';
import type { Machine } from '../../machine.ts';
import { xenOf } from '../xen-of.ts';
import type { Shadow } from './shadow.ts';
import type { Piece } from './taint.ts';

/** Ways through a handler. */
const WAYS = 64;
/** States of the words that say which events are pending. */
const STATES = 16;

/** Steps of handlers that may yet be followed. */
export interface Budget {
  steps: number;
}

/** Bytes that are not what they were, or follow from what is tainted: of the vCPU's state by offset, of memory by address. */
export interface Traces {
  readonly state: Set<number>;
  readonly memory: Set<number>;
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);
/** State that says what a vCPU does next, by offset: all that is architectural but `rip` and the count of steps. */
export const DECISIVE: readonly number[] = [
  ...range(0, STATE.rip.offset),
  ...range(STATE.flagsResult.offset, STATE.zero.offset),
  ...range(STATE.segmentBase.offset, STATE.steps.offset),
];
/** Bytes that hold the arithmetic flags, in one of several ways. */
export const isFlag = (offset: number): boolean => offset >= STATE.flagsResult.offset && offset < STATE.rflags.offset;

export class Upcalls {
  /** What Xen writes but for the words that say which events are pending. */
  readonly #sources: readonly Piece[];
  /** The timer may fire; it may fire at any time, and so while its handler runs. */
  #fires: boolean;
  #anytime: boolean;
  /** The latter is followed. */
  #again = false;
  /** States of those words that the loop may find itself in, by their text. */
  readonly #states = new Map<string, Uint8Array>();
  readonly #budget: Budget;
  #grown = false;

  constructor(machine: Machine, sources: readonly Piece[], start: Shadow, budget: Budget) {
    this.#budget = budget;
    this.#sources = sources;
    const { id } = machine.cpu;
    const xen = xenOf(machine)!;
    const v = xen.vcpus[id]!;
    const port = xen.events.virqPort(VIRQ.TIMER, id);
    const bound = port > 0;
    this.#fires = bound && (v.singleshot !== null || v.periodicPeriod > 0);
    // a periodic timer alone fires a millisecond apart, and its upcall comes at once
    this.#anytime = bound && (v.singleshot !== null || start.isInterrupted);
    this.#enter(start.memory.events);
  }

  /** A round begins: what one upcall leaves behind is known before others follow in its midst. */
  begin(isFirst: boolean): void {
    this.#again = this.#anytime && !isFirst;
    this.#grown = false;
  }
  /** Since then nothing has been found that could happen beyond what was known. */
  get isKnown(): boolean {
    return !this.#grown && this.#again === this.#anytime;
  }

  /** Traces of the upcalls that may come where `shadow` stands, before its next step; null where they cannot be followed. */
  at(shadow: Shadow): Traces | null {
    const traces: Traces = { state: new Set(), memory: new Set() };
    if (shadow.arms) this.#mayFireAnytime();
    // a Map goes on with what is added meanwhile
    for (const events of this.#states.values()) if (!this.#follow(shadow, events, traces)) return null;
    return this.#states.size > STATES ? null : traces;
  }

  /** A timer is set as the guest goes on, or an upcall comes on the heels of another. */
  #mayFireAnytime(): void {
    this.#fires = true;
    this.#anytime = true;
  }
  /** A state that the loop may find itself in, and what it becomes as the timer fires. */
  #enter(events: Uint8Array): void {
    const text = events.join();
    if (this.#states.has(text)) return;
    this.#states.set(text, events);
    this.#grown = true;
  }

  /** Follows the handler where it is entered in that state; false where it cannot be. */
  #follow(place: Shadow, events: Uint8Array, traces: Traces): boolean {
    const entry = place.fork();
    entry.memory.events = events;
    if (this.#fires) {
      const fired = entry.fork();
      fired.fire();
      this.#enter(fired.memory.events);
    }
    if (!entry.isInterrupted) return true;
    entry.taint = place.taint!.fork(this.#sources);
    if (!entry.upcall()) return false;
    const ways = [entry];
    const seen: Shadow[] = [];
    for (let way = ways.pop(); way !== undefined; way = ways.pop()) {
      if (!this.#walk(way, place, ways, seen)) return false;
      if (seen.length > WAYS) return false;
      if (this.#isBack(way, place)) this.#tell(way, place, traces);
    }
    return true;
  }
  #isBack(way: Shadow, place: Shadow): boolean {
    return way.cpu.rip === place.cpu.rip && way.cpu.rsp === place.cpu.rsp;
  }
  /** Goes one way of the handler to its return, or to where another one has been; ways that branch off go to `ways`. */
  #walk(way: Shadow, place: Shadow, ways: Shadow[], seen: Shadow[]): boolean {
    const taint = way.taint!;
    do {
      way.memory.touched = false;
      if (this.#budget.steps-- <= 0 || !way.step()) return false;
      if (taint.branches || taint.decides || taint.addresses) return false;
      if (way.arms) this.#mayFireAnytime();
      if (!way.memory.touched || this.#isBack(way, place)) continue;
      if (way.memory.eventsTaintedBy(taint)) return false;
      if (way.isUnmasked && (this.#again || way.isInterrupted)) return false;
      if (!this.#again) continue;
      if (seen.some((other) => covers(other, way))) return true;
      seen.push(way.fork());
      const fired = way.fork();
      fired.fire();
      const { events } = way.memory;
      if (fired.memory.events.some((byte, i) => byte !== events[i])) ways.push(fired);
    } while (!this.#isBack(way, place));
    return !way.memory.eventsTaintedBy(taint);
  }

  /** Notes what a handler that has come back to its place has left behind. */
  #tell(way: Shadow, place: Shadow, traces: Traces): void {
    const before = place.taint!;
    const after = way.taint!;
    const flags = way.cpu.rflags !== place.cpu.rflags;
    for (const at of DECISIVE) {
      if (before.state[at] === 1) continue;
      const changed = isFlag(at) ? flags : way.state[at] !== place.state[at];
      if (changed || after.state[at] === 1) traces.state.add(at);
    }
    const note = (pa: number): void => {
      if (!before.memory.has(pa, 1) && !way.memory.isEvents(pa)) traces.memory.add(pa);
    };
    for (const pa of way.memory.changed(place.memory)) note(pa);
    for (const pa of after.memory) note(pa);
    this.#enter(way.memory.events);
    if (way.isInterrupted) this.#mayFireAnytime();
  }
}

/** What `other` has been followed from includes the state of `way`: the same but for what is tainted there. */
export function covers(other: Shadow, way: Shadow): boolean {
  if (other.cpu.rip !== way.cpu.rip || other.memory.guarded !== way.memory.guarded) return false;
  const known = other.taint!;
  const taint = way.taint!;
  for (const at of DECISIVE)
    if (known.state[at] !== 1 && (taint.state[at] === 1 || other.state[at] !== way.state[at])) return false;
  for (const pa of taint.memory) if (!known.memory.has(pa, 1)) return false;
  for (const pa of way.memory.changed(other.memory)) if (!known.memory.has(pa, 1)) return false;
  for (const pa of other.memory.changed(way.memory)) if (!known.memory.has(pa, 1)) return false;
  return true;
}
