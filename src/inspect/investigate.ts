/**
 * What an investigation of a run asks and finds. It knows nothing of recordings: it asks an {@link Investigator}, which can stand at
 * any tick, tells events and finds last writers; the timeline implements it, tests fake it.
 */
import type { PhysAddr, Tick, VirtAddr } from '../core/units.ts';
import type { Explanation, NamedEvent, Place } from '../machine/explanation.ts';
import type { Aftermath } from '../timeline/what-if.ts';
import type { Frame } from './backtrace.ts';
import type { Asked } from './causes/decision.ts';
import { type Disassembler, MAX_INSTRUCTION_BYTES, type Symbolizer } from './disassembly.ts';
import type { Moment } from './moment.ts';
import type { Origin } from './origin/origin.ts';
import type { DecidesReport, Link, LoopReport, RootReport, VerdictReport, WaitReport, WriterReport } from './report.ts';
import { symbolText } from './symbol-text.ts';

/** Something that happened during a step. `tick` is the state the step started from: `goto tick` stands on it. */
export interface RunEvent extends NamedEvent {
  readonly tick: Tick;
}

/** A change of memory. `tick` is the state before it. */
export interface Write {
  readonly tick: Tick;
  readonly vcpu: number;
  readonly rip: VirtAddr;
  readonly before: bigint;
  readonly after: bigint;
}

/** A recording under investigation. */
export interface Investigator {
  readonly verdict: VerdictReport;
  readonly symbols: Symbolizer;
  readonly explanation: Explanation;
  readonly firstTick: Tick;
  readonly lastTick: Tick;
  /** The state at `tick`. It is good until the next call of any method here. */
  at(tick: Tick): Promise<Moment>;
  /**
   * Events of the steps from `from` up to and including `to`, in order, as many at a time as fit into little memory. Nothing
   * else may be asked until the last have been taken or the generator is let go.
   */
  events(from: Tick, to: Tick): AsyncGenerator<readonly RunEvent[]>;
  /** The last step before the state at `before` that changed any of the `bytes` (1 to 8) at a place; null when none did. */
  lastWrite(place: Place, bytes: number, before: Tick): Promise<Write | null>;
  /**
   * How the run goes on where the bytes at a machine address are, from `tick` on, what they were in the state at `from`; null where that
   * cannot be tried. It comes back where the exception `fatal` is raised again (client {@link AGAIN}), or another one at its place ({@link OTHERWISE}), or where
   * a panic begins.
   */
  undo(undo: Undo, fatal: RunEvent | null): Promise<Aftermath | null>;
  /** The last step from `least` to before `before` that read any of the bytes; `place` is mapped as it is in the present moment. */
  lastRead(place: Place, bytes: number, before: Tick, least: Tick): Promise<{ tick: Tick; rip: VirtAddr } | null>;
  /** Where a value came from, looking at so many values in all; null where the place is none. */
  origin(place: Asked, tick: Tick, values: number): Promise<Origin | null>;
  /** The last conditional branch before a step that its function, or one that calls it, has taken or not; null where none is near. */
  branchBefore(tick: Tick, vcpu: number): Promise<Tick | null>;
  /** Whether a vCPU's stack pointer comes to lie above `above`, on the same stack, in a state from `from` to `to`. */
  rises(vcpu: number, above: VirtAddr, from: Tick, to: Tick): Promise<boolean>;
  /** Shows every state from `from` to `to` in order; a moment is good during its visit. */
  walk(from: Tick, to: Tick, visit: (moment: Moment) => void): Promise<void>;
}

/** Clients of stops at the exception that ended the run, and at another one at its place. */
export const AGAIN = 'again';
export const OTHERWISE = 'otherwise';

/** A store, or the same one again and again, as if it had not been. */
export interface Undo {
  /** The state behind the last of them, and the one before the first. */
  readonly tick: Tick;
  readonly from: Tick;
  readonly address: PhysAddr;
  readonly bytes: number;
}

/** What the explanation of one kind of ending finds out. */
export interface Finding {
  readonly chain: readonly Link[];
  readonly instruction: string | null;
  readonly operand: string | null;
  readonly lastWriter: WriterReport | null;
  readonly decides: DecidesReport | null;
  readonly root: RootReport | null;
  /** The store of the root, to be tried without. */
  readonly undo?: Undo | null;
  /** What else may have decided, to be told where the failure does not disappear without the store but does without this one's. */
  readonly other?: () => Promise<Finding>;
  /** The exception that it decided. */
  readonly fatal?: RunEvent | null;
  readonly loop?: LoopReport | null;
  readonly wait?: WaitReport | null;
}

/** Nothing was found out. */
export const NOTHING: Finding = {
  chain: [],
  instruction: null,
  operand: null,
  lastWriter: null,
  decides: null,
  root: null,
};

/** The case as the causes see it. */
export interface Inquiry {
  readonly of: Investigator;
  readonly disassembler: Disassembler;
  /** The backtrace at the verdict. */
  readonly frames: readonly Frame[];
  readonly caller: string | null;
  /** Everything the guest had printed at the end. */
  readonly consoleText: string;
}

/** The instruction at a linear address as text. */
export function instructionAt(disassembler: Disassembler, moment: Moment, rip: VirtAddr): string {
  return disassembler.text(moment.bytes(rip, MAX_INSTRUCTION_BYTES), rip, moment.codeBits);
}

/** A link for something at an address. */
export const link = (of: Investigator, what: string, tick: Tick | null, rip: VirtAddr | null): Link => ({
  what,
  tick,
  rip,
  symbol: rip === null ? null : symbolText(of.symbols, rip),
});

/** The last write to a place as a report with the instruction that did it; `accept` may pass over writes. */
export async function lastWriter(
  { of, disassembler }: Inquiry,
  place: Place,
  bytes: number,
  before: Tick,
  accept: (write: Write) => boolean = () => true,
): Promise<WriterReport | null> {
  let write = await of.lastWrite(place, bytes, before);
  for (let looked = 1; write !== null && !accept(write) && looked < 32; looked++) {
    const earlier = await of.lastWrite(place, bytes, write.tick);
    if (earlier === null) break;
    write = earlier;
  }
  if (write === null) return null;
  const moment = await of.at(write.tick);
  return {
    tick: write.tick,
    rip: write.rip,
    symbol: symbolText(of.symbols, write.rip),
    instruction: instructionAt(disassembler, moment, write.rip),
    value: write.after,
  };
}
