/**
 * The backend of the verbs: recordings on disk, machines in this process. Everything that the other layers only describe
 * meets here.
 */
import { readFileSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { LevelStore } from '../../store/level-store.ts';
import { EmulatorError } from '../core/errors.ts';
import type { Tick } from '../core/units.ts';
import { backtrace } from '../inspect/backtrace.ts';
import { callerOf } from '../inspect/caller.ts';
import { Disassembler, MAX_INSTRUCTION_BYTES, symbolText } from '../inspect/disassembly.ts';
import { parsePredicate } from '../inspect/expression.ts';
import { instructionAt, type RunEvent, why } from '../inspect/investigate.ts';
import type { Moment } from '../inspect/moment.ts';
import { PANIC_ENTRIES, PanicWatch, panicEntries, panicFormat, panicMessage, type Sighting } from '../inspect/panic.ts';
import type { BisectReport, VerdictReport, WhyReport } from '../inspect/report.ts';
import type { SearchHooks } from '../inspect/search.ts';
import { SessionInvestigator } from '../inspect/session-investigator.ts';
import { registerOf } from '../inspect/session-moment.ts';
import { SymbolTable, symbolsOfImage } from '../inspect/symbols.ts';
import { NS_PER_TICK } from '../machine/clock.ts';
import { Divergence } from '../machine/inputs.ts';
import type { Machine } from '../machine/machine.ts';
import { DEFAULT_EPOCH_SECONDS, DEFAULT_TSC_KHZ, type PvConfig } from '../machine/pv-machine.ts';
import { editedFrom } from '../timeline/edit.ts';
import { Recorder, type RecorderHost } from '../timeline/recorder.ts';
import { Replayer } from '../timeline/replayer.ts';
import { DIGEST_TICKS, Run, SEMANTICS_VERSION } from '../timeline/run.ts';
import { Session } from '../timeline/session.ts';
import type { Recording, RecordingHeader } from '../timeline/trace-store.ts';
import type { Verdict } from '../x86/seam.ts';
import type {
  Backend,
  BisectOptions,
  DebugSession,
  EventFilter,
  GotoResult,
  OpenRecording,
  RecordConfig,
  RecordHooks,
  RecordingInfo,
  RecordResult,
  ReplayHooks,
  ReplayResult,
  VerifyResult,
  WorkHooks,
} from './backend.ts';
import { TOOL_VERSION } from './version.ts';

/** Longest real time that one idle jump of a live guest is stretched to. */
const LIVE_IDLE_MS = 50;
/** How often work looks up from the machine. */
const BREATH_MS = 20;
/** How often what was recorded is sent to the disk at least. */
const FLUSH_MS = 400;
const STRIDE_TICKS_MIN = 2 ** 10;

/** Lets the host's events happen about every {@link BREATH_MS}; throws when the user has interrupted. */
function breather(stop: AbortSignal): () => Promise<void> {
  let last = performance.now();
  return async () => {
    const now = performance.now();
    if (now - last < BREATH_MS) return;
    await nextTurn();
    last = performance.now();
    stop.throwIfAborted();
  };
}
const searchHooks = (hooks: WorkHooks): SearchHooks => ({
  breathe: breather(hooks.stop),
  progress: (done, of) => hooks.progress(done, of),
});

function readInput(path: string, what: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    throw new EmulatorError(
      'E_NOT_FOUND',
      code === 'ENOENT' ? `no ${what} at ${path}` : `cannot read the ${what} ${path}: ${code}`,
    );
  }
}
const storeOf = (path: string): { store: LevelStore; name: string } => ({
  store: new LevelStore(dirname(resolve(path))),
  name: basename(path),
});

/** Symbols of an unpacked kernel; none is no error. */
const symbolsOf = (elf: Uint8Array): SymbolTable => symbolsOfImage(elf) ?? SymbolTable.empty;

function verdictReport({ kind, message }: Verdict, { tick, vcpu, rip }: Sighting, symbols: SymbolTable): VerdictReport {
  return { kind, tick, vcpu, rip, symbol: symbolText(symbols, rip), message };
}
/** Where a machine stands; `tick` may be the state that an instruction in progress leads to. */
const sighting = ({ cpu }: Machine, tick: Tick): Sighting => ({ tick, vcpu: cpu.id, rip: cpu.rip });

/** The format string given to a panic function at whose entry the machine stands; read without a trace. */
function formatAt({ machine, xen }: Run): string | null {
  const bytes = (address: bigint, length: number): Uint8Array => {
    const found: number[] = [];
    for (let i = 0; i < length; i++) {
      const at = xen.mmu.translate(machine.cpu, BigInt.asUintN(64, address + BigInt(i)));
      if (at === null) break;
      found.push(xen.memory.read8(at));
    }
    return Uint8Array.from(found);
  };
  return panicFormat({ register: (name) => registerOf(machine.cpu, name), bytes });
}

/** Ticks before the words of a panic in which its entry is looked for: 67 ms. */
const PANIC_WINDOW = 2 ** 26;

/** Where a recorded panic began: at the entry of its function, else where its words were printed, else the end. */
async function findPanic(of: SessionInvestigator, hooks: SearchHooks): Promise<Sighting> {
  const { session, search, symbols } = of;
  const { machine, console } = session.run;
  const { ticks } = console;
  const printed = ticks.find((tick) => panicMessage(console.textAt(tick)) !== null) ?? session.endTick;
  for (const name of PANIC_ENTRIES) {
    if (symbols.address(name) === null) continue;
    const from = Math.max(0, printed - PANIC_WINDOW);
    const found = await search.first(parsePredicate(`call(${name})`), from, printed, hooks);
    if (found.tick !== null) return sighting(machine, found.tick);
  }
  session.goto(printed);
  return sighting(machine, printed);
}

/** What the CLI's input and signals are to a recorder. */
class Host implements RecorderHost {
  readonly #hooks: RecordHooks;
  #recorder: Recorder | null = null;
  #last = performance.now();
  #lastFlush = performance.now();
  #lastSlice = performance.now();
  #strideTicks = DIGEST_TICKS;
  readonly paused: () => void;
  constructor(hooks: RecordHooks, paused: () => void) {
    this.#hooks = hooks;
    this.paused = paused;
  }
  get strideTicks(): number {
    return this.#strideTicks;
  }
  get flushDue(): boolean {
    return performance.now() - this.#lastFlush >= FLUSH_MS;
  }
  flushed(): void {
    this.#lastFlush = performance.now();
  }
  attach(recorder: Recorder): void {
    this.#recorder = recorder;
  }
  get stopped(): boolean {
    return this.#hooks.stop.aborted;
  }
  get live(): boolean {
    return this.#hooks.input.live;
  }
  #feed(waiting: boolean): boolean {
    const bytes = this.#hooks.input.take(waiting);
    this.#recorder?.door.push(bytes);
    return bytes.length > 0;
  }
  async breathe(): Promise<void> {
    this.#feed(false);
    const now = performance.now();
    // A slice is to last about a breath however slow the guest is.
    if (now - this.#lastSlice > 2 * BREATH_MS) this.#strideTicks = Math.max(this.#strideTicks / 2, STRIDE_TICKS_MIN);
    else if (now - this.#lastSlice < BREATH_MS / 2) this.#strideTicks = Math.min(this.#strideTicks * 2, DIGEST_TICKS);
    if (now - this.#last >= BREATH_MS) {
      await nextTurn();
      this.#last = performance.now();
    }
    this.#lastSlice = performance.now();
  }
  async idle(ns: number | null): Promise<boolean> {
    if (this.#feed(true)) return true;
    if (!this.live) return false;
    const arrival = this.#hooks.input.arrival(this.#hooks.stop);
    if (ns === null) await arrival;
    else await Promise.race([arrival, sleep(Math.min(ns / 1e6, LIVE_IDLE_MS))]);
    this.#feed(true);
    return true;
  }
  progress(tick: Tick): void {
    this.#hooks.progress(tick, null);
  }
}

async function record(config: RecordConfig, hooks: RecordHooks): Promise<RecordResult> {
  const kernel = readInput(config.image, 'kernel image');
  const ramdisk = config.initrd === null ? null : readInput(config.initrd, 'initrd');
  const pv: PvConfig = {
    kernel,
    ramdisk,
    commandLine: config.commandLine,
    memoryBytes: config.memoryBytes,
    vcpus: config.vcpus,
    tscKhz: DEFAULT_TSC_KHZ,
    epochSeconds: DEFAULT_EPOCH_SECONDS,
  };
  const run = new Run(pv);
  run.xen.observer = { log: hooks.xen };
  let recording: Recording | null = null;
  if (config.directory !== null) {
    const { store, name } = storeOf(config.directory);
    const blobs = new Map([['kernel', kernel]]);
    if (ramdisk !== null) blobs.set('initrd', ramdisk);
    recording = await store.create(name, headerOf(config), blobs);
  }
  const symbols = symbolsOf(run.elf);
  const watch = new PanicWatch();
  const { machine } = run;
  run.onOutput = (data) => {
    watch.written(data, () => sighting(machine, machine.visibleAt));
    hooks.console(data);
  };
  machine.engine.pauseAt(new Set(panicEntries(symbols)));
  const host = new Host(hooks, () => watch.entered(sighting(machine, run.tick), formatAt(run)));
  const recorder = new Recorder(run, recording, host, {
    ticks: config.limitTicks,
    timeNs: config.limitSeconds === null ? null : config.limitSeconds * 1e9,
    idleNs: config.idleLimitSeconds * 1e9,
  });
  host.attach(recorder);
  const outcome = await recorder.record();
  const { verdict: ending, at } = watch.verdict(outcome.verdict, sighting(machine, run.tick));
  const verdict = verdictReport(ending, at, symbols);
  if (recording !== null) {
    await recording.finish({
      tick: outcome.tick,
      stateHash: outcome.stateHash ?? 0n,
      verdict: verdict.kind,
      message: verdict.message,
    });
  }
  const result: RecordResult = {
    recording: config.directory,
    ticks: outcome.tick,
    vcpus: config.vcpus,
    verdict,
    journalBytes: recording?.sizes.journalBytes ?? 0,
    snapshotBytes: recording?.sizes.snapshotBytes ?? 0,
    snapshots: outcome.snapshots,
    stateHash: outcome.stateHash,
  };
  await recording?.close();
  return result;
}

const headerOf = (config: RecordConfig): RecordingHeader => ({
  semanticsVersion: SEMANTICS_VERSION,
  toolVersion: TOOL_VERSION,
  createdMs: Date.now(),
  memoryBytes: config.memoryBytes,
  vcpus: config.vcpus,
  cpuPolicy: 'x86-64-v1',
  nsPerTick: NS_PER_TICK,
  tscKhz: DEFAULT_TSC_KHZ,
  commandLine: config.commandLine,
  seed: 0n,
  epochSeconds: DEFAULT_EPOCH_SECONDS,
  settings: {
    platform: 'xen-pv',
    image: basename(config.image),
    ...(config.initrd === null ? {} : { initrd: basename(config.initrd) }),
  },
});

/** The machine a recording was made on. */
function configOf(recording: Recording): PvConfig {
  const { header } = recording;
  const kernel = recording.blob('kernel');
  if (kernel === null) throw new EmulatorError('E_RECORDING', 'the recording has no kernel image');
  return {
    kernel,
    ramdisk: recording.blob('initrd'),
    commandLine: header.commandLine,
    memoryBytes: header.memoryBytes,
    vcpus: header.vcpus,
    tscKhz: header.tscKhz,
    epochSeconds: header.epochSeconds,
  };
}

function infoOf(path: string, recording: Recording, symbols: number): RecordingInfo {
  const { header, end, sizes } = recording;
  const last = recording.blocks.at(-1)?.lastTick ?? 0;
  return {
    recording: path,
    created: new Date(header.createdMs).toISOString(),
    image: header.settings.image ?? 'kernel',
    imageBytes: recording.blobBytes('kernel') ?? 0,
    initrd: header.settings.initrd ?? null,
    initrdBytes: recording.blobBytes('initrd'),
    commandLine: header.commandLine,
    memoryBytes: header.memoryBytes,
    vcpus: header.vcpus,
    platform: header.settings.platform ?? 'xen-pv',
    semantics: String(header.semanticsVersion),
    ticksPerSecond: 1e9 / header.nsPerTick,
    ticks: end?.tick ?? last,
    verdict:
      end === null
        ? null
        : {
            kind: end.verdict as VerdictReport['kind'],
            tick: end.tick,
            vcpu: 0,
            rip: null,
            symbol: null,
            message: end.message,
          },
    stateHash: end?.stateHash ?? null,
    journalBytes: sizes.journalBytes,
    snapshotBytes: sizes.snapshotBytes,
    snapshots: recording.snapshots.length,
    symbols,
  };
}

class Opened implements OpenRecording {
  readonly info: RecordingInfo;
  readonly #path: string;
  readonly #recording: Recording;
  #investigator: SessionInvestigator | null = null;

  constructor(path: string, recording: Recording) {
    this.#path = path;
    this.#recording = recording;
    this.info = infoOf(path, recording, 0);
  }

  #investigate(hooks: WorkHooks): SessionInvestigator {
    if (this.#investigator === null) {
      const run = new Run(configOf(this.#recording));
      const session = new Session(run, this.#recording);
      const symbols = symbolsOf(run.elf);
      session.goto(session.endTick);
      const { end } = this.#recording;
      const edited = editedFrom(this.#recording) !== Number.POSITIVE_INFINITY;
      const verdict: Verdict =
        end === null
          ? { kind: 'stopped', message: edited ? 'the journal was edited' : 'the recorder was killed' }
          : { kind: end.verdict as Verdict['kind'], message: end.message };
      const report = verdictReport(verdict, sighting(run.machine, run.tick), symbols);
      this.#investigator = new SessionInvestigator(session, symbols, report, searchHooks(hooks));
    }
    return this.#investigator;
  }

  async replay(hooks: ReplayHooks): Promise<ReplayResult> {
    const run = new Run(configOf(this.#recording));
    run.onOutput = hooks.console;
    const replayer = new Replayer(run, this.#recording);
    const breathe = breather(hooks.stop);
    try {
      const outcome = await replayer.replay({ breathe, progress: (tick, of) => hooks.progress(tick, of) });
      return {
        recording: this.#path,
        ticks: outcome.tick,
        verified: outcome.verified,
        counterfactual: outcome.counterfactual,
        divergence: null,
        stateHash: outcome.stateHash,
      };
    } catch (error) {
      if (!(error instanceof Divergence)) throw error;
      return {
        recording: this.#path,
        ticks: run.tick,
        verified: false,
        counterfactual: false,
        divergence: { from: error.from, tick: error.tick, message: error.message },
        stateHash: run.stateHash(),
      };
    }
  }

  async goto(tick: Tick, hooks: WorkHooks): Promise<GotoResult> {
    const investigator = this.#investigate(hooks);
    const { session, symbols, moment } = investigator;
    session.goto(tick);
    const { cpu } = session.run.machine;
    const names = [
      'rax',
      'rbx',
      'rcx',
      'rdx',
      'rsi',
      'rdi',
      'rbp',
      'rsp',
      'r8',
      'r9',
      'r10',
      'r11',
      'r12',
      'r13',
      'r14',
      'r15',
      'rip',
      'rflags',
      'cs',
      'ss',
      'ds',
      'es',
      'fs',
      'gs',
      'fs_base',
      'gs_base',
      'cr0',
      'cr2',
      'cr3',
      'cr4',
    ];
    return {
      tick,
      vcpu: cpu.id,
      rip: cpu.rip,
      symbol: investigator.nameOf(cpu.rip),
      instruction: instructionAt(new Disassembler(symbols), moment, cpu.rip),
      registers: Object.fromEntries(names.map((name) => [name, registerOf(cpu, name) ?? 0n])),
      stateHash: session.run.stateHash(),
    };
  }

  async bisect(options: BisectOptions, hooks: WorkHooks): Promise<BisectReport> {
    const predicate = parsePredicate(options.when);
    const investigator = this.#investigate(hooks);
    const { session, symbols, moment, search } = investigator;
    const from = options.from ?? 0;
    const to = options.to ?? session.endTick;
    const found = options.monotone
      ? await search.monotone(predicate, from, to, searchHooks(hooks))
      : await search.first(predicate, from, to, searchHooks(hooks));
    const { tick, probes } = found;
    if (tick === null)
      return {
        tick: null,
        vcpu: null,
        rip: null,
        symbol: null,
        instruction: null,
        bytes: null,
        caller: null,
        backtrace: [],
        probes,
      };
    // The instruction that made it true stands before the state in which it is.
    session.goto(Math.max(0, tick - 1));
    const { rip } = session.run.machine.cpu;
    const disassembler = new Disassembler(symbols);
    const seen = session.run.machine.engine.instructionAt(session.run.machine.cpu, rip);
    const length = seen === null || typeof seen.insn === 'string' ? MAX_INSTRUCTION_BYTES : seen.insn.length;
    const frames = backtrace(moment, symbols);
    return {
      tick,
      vcpu: moment.vcpu,
      rip,
      symbol: investigator.nameOf(rip),
      instruction: instructionAt(disassembler, moment, rip),
      bytes: Array.from(moment.bytes(rip, length), (b) => b.toString(16).padStart(2, '0')).join(' '),
      caller: callerOf(frames),
      backtrace: frames,
      probes,
    };
  }

  async why(hooks: WorkHooks): Promise<WhyReport> {
    const investigator = this.#investigate(hooks);
    const { session, symbols, verdict } = investigator;
    if (verdict.kind !== 'panic') return why(investigator);
    const at = await findPanic(investigator, searchHooks(hooks));
    return why(new SessionInvestigator(session, symbols, verdictReport(verdict, at, symbols), searchHooks(hooks)));
  }

  async events(filter: EventFilter, hooks: WorkHooks): Promise<readonly RunEvent[]> {
    const investigator = this.#investigate(hooks);
    const all = await investigator.events(filter.from ?? 0, filter.to ?? investigator.lastTick);
    if (filter.names.length === 0) return all;
    return all.filter((e) => filter.names.includes(e.kind) || filter.names.includes(e.name));
  }

  async debug(hooks: WorkHooks): Promise<DebugSession> {
    const investigator = this.#investigate(hooks);
    const { session, symbols, moment, search } = investigator;
    return {
      firstTick: 0,
      lastTick: session.endTick,
      symbols,
      now: (): Moment => moment,
      stateHash: () => session.run.stateHash(),
      goto: async (tick) => session.goto(tick),
      async forward(source, work) {
        if (session.tick >= session.endTick) return null;
        const found = await search.first(parsePredicate(source), session.tick + 1, session.endTick, searchHooks(work));
        if (found.tick === null) session.goto(session.endTick);
        return found.tick;
      },
      async back(source, work) {
        const tick = await search.last(() => parsePredicate(source), session.tick, searchHooks(work));
        if (tick === null) session.goto(0);
        return tick;
      },
    };
  }

  close(): Promise<void> {
    return this.#recording.close();
  }
}

async function verify(path: string, hooks: WorkHooks): Promise<VerifyResult> {
  const { store, name } = storeOf(path);
  const findings: Array<{ place: string; problem: string }> = [];
  let recording: Recording | null = null;
  try {
    recording = await store.open(name, SEMANTICS_VERSION);
    await recording.verify((done, total) => hooks.progress(done, total));
  } catch (error) {
    if (!(error instanceof EmulatorError) || error.code === 'E_NOT_FOUND') throw error;
    findings.push({ place: error.code, problem: error.message });
  }
  const result: VerifyResult = {
    recording: path,
    ok: findings.length === 0,
    ticks: recording?.blocks.at(-1)?.lastTick ?? 0,
    journalBlocks: recording?.blocks.length ?? 0,
    snapshots: recording?.snapshots.length ?? 0,
    pages: recording?.snapshots.reduce((sum, s) => sum + s.dirtySlots.length, 0) ?? 0,
    findings,
  };
  await recording?.close();
  return result;
}

/** The backend that does the work. */
export const LOCAL_BACKEND: Backend = {
  record,
  async open(path) {
    const { store, name } = storeOf(path);
    return new Opened(path, await store.open(name, SEMANTICS_VERSION));
  },
  async info(path) {
    const { store, name } = storeOf(path);
    const recording = await store.open(name, SEMANTICS_VERSION);
    const info = infoOf(path, recording, 0);
    await recording.close();
    return info;
  },
  verify,
};
