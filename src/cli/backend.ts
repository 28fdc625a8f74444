/**
 * What the verbs need of the emulator, and nothing of how it does it. main.ts connects the real one; tests use a fake.
 *
 * The result types are the JSON shapes of `--json` field by field (bigint becomes `0x...`, seconds are added by the verb).
 * Everything may throw EmulatorError; a replay that differs is a result, not an error.
 */
import type { Tick, VirtAddr } from '../core/units.ts';
import type { Symbolizer } from '../inspect/disassembly.ts';
import type { RunEvent } from '../inspect/investigate.ts';
import type { Moment } from '../inspect/moment.ts';
import type { OriginQuestion } from '../inspect/origin/origin.ts';
import type { OriginReport } from '../inspect/origin/report.ts';
import type { BisectReport, VerdictReport, WhyReport } from '../inspect/report.ts';
import type { SymbolTable } from '../inspect/symbols.ts';
import type { AccessStop, Hit, StopCondition } from '../machine/stops.ts';
import type { CpuPolicy } from '../x86/form.ts';

/** Told how far a long piece of work is; `total` is null where nobody can know it. */
export type ReportProgress = (done: number, total: number | null) => void;

/** Hooks of any long piece of work. */
export interface WorkHooks {
  readonly progress: ReportProgress;
  /** Ctrl-C: the work stops as soon as it can and throws or returns what it has. */
  readonly stop: AbortSignal;
}

/** Input for a guest that is being recorded. */
export interface InputSource {
  /** Bytes to type now, empty when there are none. `waiting`: the guest has read everything and has nothing else to do. */
  take(waiting: boolean): Uint8Array;
  /** More may come from outside at any time: a standstill is no hang yet. */
  readonly live: boolean;
  /** More may come from a pipe, which is only waited for where the guest cannot go on without. */
  readonly open: boolean;
  /** Resolves when there may be input, or when `stop` aborts. */
  arrival(stop: AbortSignal): Promise<void>;
}

/** What to boot, and for how long. */
export interface RecordConfig {
  /** Paths of the kernel image and the initrd. */
  readonly image: string;
  readonly initrd: string | null;
  readonly commandLine: string;
  readonly memoryBytes: number;
  readonly vcpus: number;
  readonly cpuPolicy: CpuPolicy;
  /** Directory to create for the recording; null records nothing (`--no-store`). */
  readonly directory: string | null;
  /** Where there is something in its place, NAME-2.hs will do, or NAME-3.hs, and so on. */
  readonly numbered: boolean;
  /** Virtual seconds without new output, hypercall kinds or code pages that make a hang. */
  readonly idleLimitSeconds: number;
  /** Virtual seconds and ticks after which the run ends with the verdict `limit`; null for none. */
  readonly limitSeconds: number | null;
  readonly limitTicks: Tick | null;
}

export interface RecordHooks extends WorkHooks {
  /** The guest has been built: from here on an abort of `stop` is an orderly end. Called before anything is made on disk. */
  readonly built: () => void;
  /** The recording's directory has been made: whatever happens from now on, there is a recording at `path`. */
  readonly created: (path: string) => void;
  /** Bytes the guest wrote to its console. */
  readonly console: (bytes: Uint8Array) => void;
  /** A line of Xen's console, without line end. */
  readonly log: (line: string) => void;
  /** Resolves once what was written to the console has been taken, or `stop` aborts. */
  readonly shown: () => Promise<void>;
  readonly input: InputSource;
}

export interface RecordResult {
  /** Path of the recording, null with `--no-store`. */
  readonly recording: string | null;
  readonly ticks: Tick;
  readonly vcpus: number;
  readonly verdict: VerdictReport;
  readonly journalBytes: number;
  readonly snapshotBytes: number;
  readonly snapshots: number;
  readonly stateHash: bigint | null;
}

export interface ReplayHooks extends WorkHooks {
  readonly console: (bytes: Uint8Array) => void;
}

/** Where a replay parted from its recording. */
export interface DivergenceReport {
  /** First tick that is known to differ; `from` and `tick` are equal where the very tick is known. */
  readonly from: Tick;
  readonly tick: Tick;
  /** What differs, in words. */
  readonly message: string;
}

export interface ReplayResult {
  readonly recording: string;
  readonly ticks: Tick;
  /** Every hash on the way agreed. False for a counterfactual run, which has nothing to agree with. */
  readonly verified: boolean;
  /** The journal was edited: the run followed the edit. */
  readonly counterfactual: boolean;
  readonly divergence: DivergenceReport | null;
  readonly stateHash: bigint;
}

export interface GotoResult {
  readonly tick: Tick;
  readonly vcpu: number;
  readonly rip: VirtAddr;
  readonly symbol: string | null;
  readonly instruction: string;
  readonly registers: Readonly<Record<string, bigint>>;
  readonly stateHash: bigint;
}

export interface OriginOptions {
  /** A register, or `ADDRESS[:BYTES]`. */
  readonly place: string;
  /** The state that is asked about; the last one where null. */
  readonly tick: Tick | null;
  /** Whose registers; of the vCPU whose turn it is where null. */
  readonly vcpu: number | null;
  /** Values looked at in all. */
  readonly values: number;
  readonly question: OriginQuestion;
}

export interface BisectOptions {
  readonly when: string;
  /** Search binarily: right only for a predicate that never turns false again. */
  readonly monotone: boolean;
  readonly from: Tick | null;
  readonly to: Tick | null;
}

export interface EventFilter {
  /** Kinds or names to keep; empty keeps all. */
  readonly names: readonly string[];
  readonly from: Tick | null;
  readonly to: Tick | null;
}

/** What a recording says of itself. */
export interface RecordingInfo {
  readonly recording: string;
  readonly created: string;
  readonly image: string;
  readonly imageBytes: number;
  readonly initrd: string | null;
  readonly initrdBytes: number | null;
  readonly commandLine: string;
  readonly memoryBytes: number;
  readonly vcpus: number;
  readonly cpuPolicy: string;
  readonly platform: string;
  readonly semantics: string;
  readonly ticksPerSecond: number;
  readonly ticks: Tick;
  /** Null while it is being recorded, or when the recorder was killed. */
  readonly verdict: VerdictReport | null;
  readonly stateHash: bigint | null;
  readonly journalBytes: number;
  readonly snapshotBytes: number;
  readonly snapshots: number;
}

/** A fault found by `verify`: where in the recording, and what. */
export interface VerifyFinding {
  readonly place: string;
  readonly problem: string;
}
export interface VerifyResult {
  readonly recording: string;
  readonly ok: boolean;
  readonly ticks: Tick;
  readonly journalBlocks: number;
  readonly snapshots: number;
  readonly pages: number;
  readonly findings: readonly VerifyFinding[];
}

/** What a run has come to: conditions that are met there, and the numbers of predicates that hold. */
export interface Met {
  readonly hits: readonly Hit[];
  readonly predicates: readonly number[];
}

/** A recording to step about in. What fails moves nothing. */
export interface DebugSession {
  readonly firstTick: Tick;
  readonly lastTick: Tick;
  /** The kernel's own symbols. */
  readonly symbols: SymbolTable;
  /** Names of addresses as the state is now, those in modules too. */
  readonly names: Symbolizer;
  /** The state now; good until the session moves. */
  now(): Moment;
  stateHash(): bigint;
  /** Moves to a tick; E_TICK outside the recording. */
  goto(tick: Tick, hooks: WorkHooks): Promise<void>;
  /** E_EXPRESSION for what {@link DebugSession.forward} would refuse; the place in code that is all of the predicate, or null. */
  check(predicate: string): VirtAddr | null;
  /** Accesses to the memory that is behind a linear address now, as conditions; E_USAGE where it is not mapped. */
  accesses(access: AccessStop['access'], address: VirtAddr, bytes: number): StopCondition[];
  /** Has {@link DebugSession.run} stop for these conditions, instead of those held before. */
  hold(conditions: readonly StopCondition[]): void;
  /** Runs on to the first later tick at which the predicate holds; null and the end of the recording when there is none. */
  forward(predicate: string, hooks: WorkHooks): Promise<Tick | null>;
  /** Runs back to the last earlier tick at which the predicate holds; null and the start when there is none. */
  back(predicate: string, hooks: WorkHooks): Promise<Tick | null>;
  /**
   * Runs on from here, or back, to the first tick where a condition that is held by whomever is met, or any of the
   * predicates holds; null and the end or the start of the recording where there is none.
   */
  run(direction: 'forward' | 'back', predicates: readonly string[], hooks: WorkHooks): Promise<Met | null>;
}

export interface OpenRecording {
  readonly info: RecordingInfo;
  replay(hooks: ReplayHooks): Promise<ReplayResult>;
  goto(tick: Tick, hooks: WorkHooks): Promise<GotoResult>;
  /** The first step that makes the predicate true; `tick` is null when none does. */
  bisect(options: BisectOptions, hooks: WorkHooks): Promise<BisectReport>;
  /** `confirm`: tries the run without the store that is to blame. */
  why(hooks: WorkHooks, confirm: boolean): Promise<WhyReport>;
  /** Where a value came from; E_USAGE for a place that is none. */
  origin(options: OriginOptions, hooks: WorkHooks): Promise<OriginReport>;
  /** Events in order, so many at a time; nothing else may be asked meanwhile. E_USAGE for a name that no event has. */
  events(filter: EventFilter, hooks: WorkHooks): AsyncGenerator<readonly RunEvent[]>;
  debug(hooks: WorkHooks): Promise<DebugSession>;
  close(): Promise<void>;
}

export interface Backend {
  record(config: RecordConfig, hooks: RecordHooks): Promise<RecordResult>;
  /** Opens a recording; E_RECORDING when it is corrupt or foreign, E_SEMANTICS when made by another version. */
  open(path: string): Promise<OpenRecording>;
  /** Reads only what describes a recording. */
  info(path: string): Promise<RecordingInfo>;
  /** Checks every byte of a recording against its checksums. Opens even what `open` refuses. */
  verify(path: string, hooks: WorkHooks): Promise<VerifyResult>;
}
