/**
 * Whether the loop that a vCPU goes round can ever be left, found out without a step of the machine.
 *
 * A shadow runs ahead until it comes back to where it started: same `rip`, same stack. What differs then is what the loop counts or
 * sums up. Taint from there and from everything that Xen may write (clock, pending bits, rings) is followed through one round. Where
 * it decides nothing and addresses nothing, each later round takes the same way, by induction: the loop never ends. That is a proof,
 * and it holds for a counter in a register, in memory or a checksum that nobody looks at alike, and for none that is compared with an
 * end, reads the clock to wait, or walks through memory.
 */
import { PAGE_SIZE, type VirtAddr } from '../core/units.ts';
import type { Insn } from '../x86/form.ts';
import { STATE } from '../x86/state.ts';
import { VIRQ } from '../xen/abi/numbers.ts';
import { AMD64 } from '../xen/abi/structures.ts';
import type { Run } from './run.ts';
import { Shadow } from './shadow.ts';
import { type Piece, Taint } from './taint.ts';

/** What one look at a loop gives. */
export type Recurrence =
  /** Nothing that the loop changes, and nothing that Xen will write, ever leads out of it. */
  | { readonly kind: 'endless'; readonly rip: VirtAddr; readonly steps: number }
  /** Round after round the same but for counters and the clock, which may lead out of it. */
  | { readonly kind: 'waiting' }
  /** It computes something, or goes through memory. */
  | { readonly kind: 'working' }
  /** It is too long, or does what cannot be followed. */
  | { readonly kind: 'unknown' };

/** Steps of the longest round that is looked at. */
export const ROUND_STEPS = 2 ** 12;
/** Ways back to the start that are tried, each with fewer differences than the one before. */
const TRIES = 4;
/** Times that taint may turn out to reach further. */
const WIDENINGS = 4;
/** Rounds whose counters are compared. */
const ROUNDS = 3;

/** State that says what a vCPU does next: all that is architectural but the count of steps. */
const DECISIVE = STATE.steps.offset;
/** What the engine keeps beside it. */
const isKept = (offset: number): boolean =>
  (offset >= STATE.zero.offset && offset < STATE.segmentBase.offset) ||
  (offset >= STATE.rip.offset && offset < STATE.flagsResult.offset);
const isFlag = (offset: number): boolean => offset >= STATE.flagsResult.offset && offset < STATE.rflags.offset;
const UNKNOWN: Recurrence = { kind: 'unknown' };

/** Looks at the loop that the vCPU goes round, if it does, in `most` steps. */
export function recurrenceOf(run: Run, most = ROUND_STEPS): Recurrence {
  const insns = new Map<bigint, Insn | null>();
  let found = UNKNOWN;
  // what an inner loop counts decides about it: the whole way round an outer one comes later
  for (const steps of roundsOf(run, insns, most)) {
    const round = examine(run, insns, steps);
    if (round.kind === 'endless') return round;
    if (round.kind !== 'unknown') found = round;
  }
  return found;
}

/** Lengths of rounds that lead back to the same place and stack, each with fewer registers that differ. */
function roundsOf(run: Run, insns: Map<bigint, Insn | null>, most: number): number[] {
  const shadow = new Shadow(run, insns);
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
  const out: number[] = [];
  for (let i = 0; i < DECISIVE; i++) if (before[i] !== after[i] && !isKept(i)) out.push(i);
  return out;
}

function examine(run: Run, insns: Map<bigint, Insn | null>, steps: number): Recurrence {
  const first = new Shadow(run, insns);
  const start = first.state.slice();
  if (!take(first, steps)) return UNKNOWN;
  const registers = differences(start, first.state);
  const memory = [...first.changed()];
  const taint = roundTaint(run, insns, steps, registers, memory);
  if (taint === null || taint.addresses) return taint === null ? UNKNOWN : { kind: 'working' };
  if (!taint.decides && !isInterruptible(run)) return { kind: 'endless', rip: first.cpu.rip, steps };
  return counts(first, steps, start, registers, memory) ? { kind: 'waiting' } : { kind: 'working' };
}

function take(shadow: Shadow, steps: number): boolean {
  const until = shadow.steps + steps;
  while (shadow.steps < until) if (!shadow.step()) return false;
  return true;
}

/** Follows what differs, and what Xen writes, through a round until it reaches no further; null where that does not end. */
function roundTaint(
  run: Run,
  insns: Map<bigint, Insn | null>,
  steps: number,
  registers: readonly number[],
  memory: readonly number[],
): Taint | null {
  const state = new Set(registers);
  const bytes = new Set(memory);
  const sources = writtenByXen(run);
  for (let i = 0; i < WIDENINGS; i++) {
    const shadow = new Shadow(run, insns);
    const taint = new Taint(sources);
    for (const at of state) taint.set(at, 1, true);
    for (const at of bytes) taint.memory.set(at, 1, true);
    shadow.taint = taint;
    if (!take(shadow, steps)) return null;
    const before = state.size + bytes.size;
    for (let at = 0; at < DECISIVE; at++) if (taint.state[at] === 1) state.add(at);
    for (const at of taint.memory) bytes.add(at);
    if (state.size + bytes.size === before || taint.decides || taint.addresses) return taint;
  }
  return null;
}

/** Where Xen writes while the vCPU runs: time and pending events, rings. */
function writtenByXen({ xen }: Run): Piece[] {
  const { at, bytes } = AMD64.sharedInfo;
  return [
    { pa: xen.sharedInfo + at.evtchn_pending, bytes: at.evtchn_mask - at.evtchn_pending },
    { pa: xen.sharedInfo + at.wc_version, bytes: bytes - at.wc_version },
    ...xen.vcpus.map((v) => ({ pa: v.infoAddress, bytes: AMD64.vcpuInfo.bytes })),
    ...xen.backends.map(({ frame }) => ({ pa: frame * PAGE_SIZE, bytes: PAGE_SIZE })),
  ];
}
/** An upcall may come while the loop runs, or Xen may end it. */
function isInterruptible({ xen, machine }: Run): boolean {
  const { id } = machine.cpu;
  const v = xen.vcpus[id]!;
  if (xen.domain.watchdogs.some((deadline) => deadline !== null)) return true;
  const { at } = AMD64.vcpuInfo;
  if (xen.memory.read8(v.infoAddress + at.evtchn_upcall_mask) !== 0) return false;
  if (xen.memory.read8(v.infoAddress + at.evtchn_upcall_pending) !== 0) return true;
  const port = xen.events.virqPort(VIRQ.TIMER, id);
  const armed = v.singleshot !== null || v.periodicPeriod > 0;
  return armed && port > 0 && !xen.events.isMasked(port);
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
    ...places.map((pa) => word((i) => shadow.byteAt(pa + i))),
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
