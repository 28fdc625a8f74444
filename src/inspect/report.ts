/**
 * The answers of `why` and `bisect` as data, in the shapes that `--json` prints. How they look in a terminal is
 * src/inspect/render.ts.
 */
import type { Tick, VirtAddr } from '../core/units.ts';
import type { Verdict } from '../x86/seam.ts';
import type { Frame } from './backtrace.ts';
import type { Root } from './origin/origin.ts';

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

/** A step on the way from a value back to its root. */
export interface StepReport extends WriterReport {
  readonly vcpu: number;
  /** Who called the stub that the step lies in, where it lies in one. */
  readonly caller: string | null;
}

/** Where a value began. */
export interface SourceReport {
  /** As `origin` has it: `constant`, `built`, `never written`, `input`, `made`, `limit`. */
  readonly kind: Root['kind'];
  readonly text: string;
  /** The step that made it, null where none did. */
  readonly tick: Tick | null;
  readonly rip: VirtAddr | null;
  readonly symbol: string | null;
  readonly value: bigint;
  /** Of what was there before the first step: what it is (`image`, `initrd`, `command line`), and which of its bytes. */
  readonly what: string | null;
  readonly offset: number | null;
  readonly bytes: number | null;
}

/** Where what decided came from. */
export interface RootReport {
  /** The store that put the value where it was read; null where no step did. */
  readonly store: StepReport | null;
  readonly source: SourceReport;
  /** What was stored to, or where the value began in memory. */
  readonly address: { readonly space: 'va' | 'ma'; readonly value: bigint } | null;
}

/** The operand that decided. */
export interface DecidesReport {
  /** `base`, `index`, `divisor`, `call target`, `return slot`, `page-table entry`, `descriptor`, `instruction`, `count`, `request`, `gate`, `condition`. */
  readonly role: string;
  readonly text: string;
  /** The event that it decided. */
  readonly tick: Tick;
  readonly rip: VirtAddr;
  readonly symbol: string | null;
}

/** A vCPU that is blocked. */
export interface WaitReport {
  readonly vcpu: number;
  /** The call that blocked, and who called it. */
  readonly tick: Tick;
  readonly symbol: string | null;
  readonly lastUpcall: { readonly tick: Tick; readonly rip: VirtAddr; readonly symbol: string | null } | null;
  /** The word that the waiting code had looked at before the last event changed it; null where there is none. */
  readonly word: {
    readonly address: VirtAddr;
    readonly bytes: number;
    readonly symbol: string | null;
    readonly value: bigint;
    readonly readTick: Tick;
    readonly readRip: VirtAddr;
    readonly readValue: bigint;
    readonly writeTick: Tick;
    readonly writeRip: VirtAddr;
  } | null;
  /** What it waits for had come between its look and its going to sleep. */
  readonly lostWakeup: boolean;
}

/** A loop that a vCPU goes round. */
export interface LoopReport {
  readonly vcpu: number;
  readonly rip: VirtAddr;
  readonly symbol: string | null;
  readonly rounds: number;
  /** The word that it reads without change, and who wrote it last. */
  readonly word: {
    readonly address: VirtAddr;
    readonly bytes: number;
    readonly symbol: string | null;
    readonly value: bigint;
    readonly lastWriter: WriterReport | null;
  } | null;
}

/** The answer of `why`. */
export interface WhyReport {
  readonly verdict: VerdictReport;
  readonly decides: DecidesReport | null;
  readonly root: RootReport | null;
  readonly loop: LoopReport | null;
  readonly wait: WaitReport | null;
  /** Whether the failure disappears where the store of the root is undone; null where nobody has tried. */
  readonly confirmed: boolean | null;
  /** What happens instead, or that the same does; null where nobody has tried. */
  readonly instead: string | null;
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
