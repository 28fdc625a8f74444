/**
 * The answers of `why` and `bisect` as data, in the shapes that `--json` prints. How they look in a terminal is
 * src/inspect/render.ts.
 */
import type { Tick, VirtAddr } from '../core/units.ts';
import type { Verdict } from '../x86/seam.ts';
import type { Frame } from './backtrace.ts';

/** How a run ended and where it stood then; for a panic, where the panic began. */
export interface VerdictReport {
  readonly kind: Verdict['kind'];
  readonly tick: Tick;
  readonly vcpu: number;
  readonly rip: VirtAddr | null;
  readonly symbol: string | null;
  readonly message: string;
}

/** One link of the chain from the end of the run back to its cause; what is not known is null. */
export interface Link {
  readonly what: string;
  readonly tick: Tick | null;
  readonly rip: VirtAddr | null;
  readonly symbol: string | null;
}

/** The instruction that wrote a value last. `tick` is the state it started from: `goto tick` stands on it. */
export interface WriterReport {
  readonly tick: Tick;
  readonly rip: VirtAddr;
  readonly symbol: string | null;
  readonly instruction: string;
  readonly value: bigint;
}

/** The answer of `why`. */
export interface WhyReport {
  readonly verdict: VerdictReport;
  /** From the end of the run back to the cause. */
  readonly chain: readonly Link[];
  /** The instruction that failed. */
  readonly instruction: string | null;
  /** What it failed on: an address and its value in words. */
  readonly operand: string | null;
  readonly lastWriter: WriterReport | null;
  /** First frame outside console and panic code. */
  readonly caller: string | null;
  readonly backtrace: readonly Frame[];
}

/** The answer of `bisect`: the step that made the predicate true; all null but `probes` when none did. */
export interface BisectReport {
  /** First tick whose state fulfils the predicate. */
  readonly tick: Tick | null;
  readonly vcpu: number | null;
  /** The instruction whose execution led to that state. */
  readonly rip: VirtAddr | null;
  readonly symbol: string | null;
  readonly instruction: string | null;
  /** Its bytes in hexadecimal. */
  readonly bytes: string | null;
  readonly caller: string | null;
  readonly backtrace: readonly Frame[];
  /** How many states were looked at. */
  readonly probes: number;
}
