/** A recording on disk, opened: every question the verbs ask of it. */
import { recorderOf } from '../../../store/recording-files.ts';
import { EmulatorError } from '../../core/errors.ts';
import type { Tick } from '../../core/units.ts';
import { backtrace } from '../../inspect/backtrace.ts';
import { callerOf } from '../../inspect/caller.ts';
import { Disassembler, MAX_INSTRUCTION_BYTES } from '../../inspect/disassembly.ts';
import { eventFields, eventKinds } from '../../inspect/event-tap.ts';
import { parsePredicate } from '../../inspect/expression.ts';
import { instructionAt, type RunEvent } from '../../inspect/investigate.ts';
import { OriginSearch } from '../../inspect/origin/origin.ts';
import { parsePlace } from '../../inspect/origin/place.ts';
import { type OriginReport, originReport } from '../../inspect/origin/report.ts';
import type { BisectReport, VerdictReport, WhyReport } from '../../inspect/report.ts';
import { SessionInvestigator } from '../../inspect/session-investigator.ts';
import { registerOf } from '../../inspect/session-moment.ts';
import { symbolsOfImage } from '../../inspect/symbols.ts';
import { why } from '../../inspect/why.ts';
import type { MachineConfig } from '../../machine/config.ts';
import { Divergence } from '../../machine/inputs.ts';
import { kindOf } from '../../machine/platforms.ts';
import { editedFrom } from '../../timeline/edit.ts';
import { Replayer } from '../../timeline/replayer.ts';
import { Run } from '../../timeline/run.ts';
import { Session } from '../../timeline/session.ts';
import { imagesOf, type Recording, type RecordingHeader } from '../../timeline/trace-store.ts';
import { cpuPolicyOf } from '../../x86/features.ts';
import type { Verdict } from '../../x86/seam.ts';
import type {
  BisectOptions,
  DebugSession,
  EventFilter,
  GotoResult,
  OpenRecording,
  OriginOptions,
  RecordingInfo,
  ReplayHooks,
  ReplayResult,
  WorkHooks,
} from '../backend.ts';
import { breather, searchHooks } from './breath.ts';
import { builtRun } from './built-run.ts';
import { LocalDebugSession } from './debug-session.ts';
import { wantedTier } from './engine-options.ts';
import { inflate } from './inflate.ts';
import { sighting, verdictReport } from './verdict-report.ts';

/** Id of the platform that a header names. */
const platformOf = ({ settings }: RecordingHeader): string => settings.platform ?? '';

/** The machine a recording was made on. */
function configOf(recording: Recording): MachineConfig {
  const { header } = recording;
  const { id, images } = kindOf(platformOf(header));
  const cpuPolicy = cpuPolicyOf(header.cpuPolicy);
  if (cpuPolicy === null)
    throw new EmulatorError('E_SEMANTICS', `the recording is of a CPU that this version lacks: ${header.cpuPolicy}`);
  return {
    platform: id,
    images: imagesOf(recording, images),
    commandLine: header.commandLine,
    memoryBytes: header.memoryBytes,
    vcpus: header.vcpus,
    cpuPolicy,
    tscKhz: header.tscKhz,
    epochSeconds: header.epochSeconds,
    inflate,
  };
}

/** The machine of a recording at tick 0; E_RECORDING where its images are none that a recorder could have started. */
function runOf(recording: Recording): Run {
  try {
    return builtRun(configOf(recording));
  } catch (error) {
    if (!(error instanceof EmulatorError) || !['E_IMAGE', 'E_PLATFORM', 'E_MEMORY'].includes(error.code)) throw error;
    throw new EmulatorError('E_RECORDING', `the recorded machine cannot be built: ${error.message}`, { cause: error });
  }
}

/** What a recording says of itself. */
export function infoOf(path: string, recording: Recording): RecordingInfo {
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
    cpuPolicy: header.cpuPolicy,
    platform: platformOf(header),
    semantics: String(header.semanticsVersion),
    ticksPerSecond: 1e9 / header.nsPerTick,
    ticks: end?.tick ?? last,
    verdict:
      end === null
        ? null
        : {
            kind: end.verdict as VerdictReport['kind'],
            ...end.place,
            symbol: null,
            message: end.message,
          },
    stateHash: end?.stateHash ?? null,
    journalBytes: sizes.journalBytes,
    snapshotBytes: sizes.snapshotBytes,
    snapshots: recording.snapshots.length,
  };
}

/** The ticks asked for, all unless told otherwise; E_USAGE where they end before they begin. */
function rangeOf(asked: { from: Tick | null; to: Tick | null }, last: Tick): { from: Tick; to: Tick } {
  const { from, to } = { from: asked.from ?? 0, to: asked.to ?? last };
  if (from > to) throw new EmulatorError('E_USAGE', `--from ${from} lies behind --to ${to}`);
  return { from, to };
}

/** E_USAGE where the tier asked for tells no steps. */
function needTracing(verb: string): void {
  if (wantedTier() === 'oracle')
    throw new EmulatorError('E_USAGE', `HINDSIGHT_TIER=oracle tells no steps: ${verb} needs cold or hot`);
}

/** An open recording. */
export class Opened implements OpenRecording {
  readonly info: RecordingInfo;
  readonly #path: string;
  readonly #recording: Recording;
  #investigator: SessionInvestigator | null = null;

  constructor(path: string, recording: Recording) {
    this.#path = path;
    this.#recording = recording;
    this.info = infoOf(path, recording);
  }

  async #investigate(hooks: WorkHooks): Promise<SessionInvestigator> {
    if (this.#investigator === null) {
      const run = runOf(this.#recording);
      const session = new Session(run, this.#recording);
      const symbols = symbolsOfImage(run.elf);
      const { end } = this.#recording;
      const edited = editedFrom(this.#recording) !== Number.POSITIVE_INFINITY;
      const left = recorderOf(this.#path) === null ? 'the recorder was killed' : 'it is being recorded still';
      const verdict: Verdict =
        end === null
          ? { kind: 'stopped', message: edited ? 'the journal was edited' : left }
          : { kind: end.verdict as Verdict['kind'], message: end.message };
      if (end === null) await session.goto(session.endTick, breather(hooks.stop));
      const report = verdictReport(verdict, end?.place ?? sighting(run.machine, run.tick), symbols);
      this.#investigator = new SessionInvestigator(session, symbols, report, searchHooks(hooks), () =>
        runOf(this.#recording),
      );
    }
    return this.#investigator;
  }

  async replay(hooks: ReplayHooks): Promise<ReplayResult> {
    const run = runOf(this.#recording);
    run.onOutput = hooks.console;
    const replayer = new Replayer(run, this.#recording);
    const tier = wantedTier() === 'cold' ? 'hot' : 'cold';
    replayer.witness = { name: `${tier} tier`, make: () => new Run(run.config, { tier }) };
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
    const investigator = await this.#investigate(hooks);
    const { session, symbols, moment } = investigator;
    await session.goto(tick, breather(hooks.stop));
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
    const investigator = await this.#investigate(hooks);
    const { session, symbols, moment, search } = investigator;
    const predicate = parsePredicate(options.when, moment);
    const { from, to } = rangeOf(options, session.endTick);
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
    await session.goto(Math.max(0, tick - 1), breather(hooks.stop));
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

  async why(hooks: WorkHooks, confirm: boolean): Promise<WhyReport> {
    needTracing('why');
    return why(await this.#investigate(hooks), confirm);
  }

  async origin(options: OriginOptions, hooks: WorkHooks): Promise<OriginReport> {
    needTracing('origin');
    const { session, moment, symbols } = await this.#investigate(hooks);
    await session.goto(options.tick ?? session.endTick, breather(hooks.stop));
    const vcpu = options.vcpu ?? moment.vcpu;
    if (vcpu >= moment.vcpus) throw new EmulatorError('E_USAGE', `there is no vCPU ${vcpu}`);
    const { bytes, address } = parsePlace(options.place, vcpu, moment);
    const search = new OriginSearch(
      session,
      { moment, symbols, disassembler: new Disassembler(symbols) },
      searchHooks(hooks),
    );
    const { values, question } = options;
    return originReport(await search.of(bytes, session.tick, { address, values, question }));
  }

  async *events(filter: EventFilter, hooks: WorkHooks): AsyncGenerator<readonly RunEvent[]> {
    const investigator = await this.#investigate(hooks);
    const { session } = investigator;
    const kinds = eventKinds(session);
    for (const name of filter.names)
      if (!kinds.includes(name) && eventFields(session, name) === null)
        throw new EmulatorError(
          'E_USAGE',
          `there is no event ${name}; kinds are ${kinds.join(', ')}, and names those of hypercalls, of their parts (pin, new_baseptr) and of traps (page_fault)`,
        );
    const { names } = filter;
    const { from, to } = rangeOf(filter, investigator.lastTick);
    const asked = (e: RunEvent): boolean => names.length === 0 || names.includes(e.kind) || names.includes(e.name);
    for await (const events of investigator.events(from, to)) {
      const found = events.filter(asked);
      if (found.length > 0) yield found;
    }
  }

  async debug(hooks: WorkHooks): Promise<DebugSession> {
    return new LocalDebugSession(await this.#investigate(hooks));
  }

  close(): Promise<void> {
    return this.#recording.close();
  }
}
