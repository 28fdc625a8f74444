/** Recording a guest: files in, a recording out, the terminal in between. */
import { basename, dirname, join, resolve } from 'node:path';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { hex, type Tick, type VirtAddr } from '../../core/units.ts';
import { GuestSymbols } from '../../inspect/modules.ts';
import { type PanicEntry, PanicWatch, panicEntries, panicText } from '../../inspect/panic.ts';
import { registerOf } from '../../inspect/session-moment.ts';
import { symbolText } from '../../inspect/symbol-text.ts';
import { symbolsOfImage } from '../../inspect/symbols.ts';
import { NS_PER_TICK } from '../../machine/clock.ts';
import { DEFAULT_EPOCH_SECONDS, DEFAULT_TSC_KHZ, type MachineConfig } from '../../machine/config.ts';
import { bytesAt } from '../../machine/look.ts';
import type { Machine } from '../../machine/machine.ts';
import { DEFAULT_PLATFORM } from '../../machine/platforms.ts';
import { StopSet } from '../../machine/stops.ts';
import { Recorder, type RecorderHost } from '../../timeline/recorder.ts';
import { type Run, SEMANTICS_VERSION, SLICE_TICKS } from '../../timeline/run.ts';
import type { NewRecording, RecordingHeader } from '../../timeline/trace-store.ts';
import type { Cpu } from '../../x86/cpu.ts';
import type { Verdict } from '../../x86/seam.ts';
import type { RecordConfig, RecordHooks, RecordResult } from '../backend.ts';
import { initrdFile, KERNEL_FILE, readFile } from '../files.ts';
import { TOOL_VERSION } from '../version.ts';
import { BREATH_MS } from './breath.ts';
import { builtRun } from './built-run.ts';
import { inflate } from './inflate.ts';
import { sighting, verdictReport } from './verdict-report.ts';

/** Longest real time that one idle jump of a live guest is stretched to. */
const LIVE_IDLE_MS = 50;
/** How long a guest that can only go on with input waits for a pipe that stays open, of real time. */
const PIPE_PATIENCE_MS = 10_000;
/** How often what was recorded is sent to the disk at least. */
const FLUSH_MS = 800;
/** Recordings that may be named after one image and one second. */
const NAMES_MAX = 1000;

/** What the panic function at whose entry the machine stands will say; read without a trace. */
function panicTextAt(machine: Machine, entry: PanicEntry): string | null {
  const { cpu } = machine;
  const bytes = (address: bigint, length: number): Uint8Array => bytesAt(machine, cpu, address, length);
  return panicText({ register: (name) => registerOf(cpu, name), bytes }, entry);
}

/** What the CLI's input and signals are to a recorder. */
class Host implements RecorderHost {
  readonly #hooks: RecordHooks;
  #recorder: Recorder | null = null;
  #lastBreath = performance.now();
  #lastFlush = performance.now();
  readonly strideTicks = SLICE_TICKS;
  readonly paused: () => void;
  constructor(hooks: RecordHooks, paused: () => void) {
    this.#hooks = hooks;
    this.paused = paused;
  }
  wanted(): boolean {
    return performance.now() - this.#lastBreath >= BREATH_MS;
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
  async breathe(waiting: boolean): Promise<void> {
    this.#feed(waiting);
    if (!this.wanted()) return;
    await nextTurn();
    await this.#hooks.shown();
    this.#lastBreath = performance.now();
  }
  async idle(ns: number | null): Promise<boolean> {
    if (this.#feed(true)) return true;
    const { input, stop } = this.#hooks;
    if (!this.live && (ns !== null || !input.open)) return false;
    const arrival = input.arrival(stop);
    if (!this.live) await Promise.race([arrival, sleep(PIPE_PATIENCE_MS, null, { ref: false })]);
    else if (ns === null) await arrival;
    else await Promise.race([arrival, sleep(Math.min(ns / 1e6, LIVE_IDLE_MS))]);
    return this.#feed(true) || this.live || this.stopped;
  }
  progress(tick: Tick): void {
    this.#hooks.progress(tick, null);
  }
}

/** Names of a guest's addresses as its memory is when they are asked for. */
function guestSymbols(run: Run): GuestSymbols {
  const { machine, elf } = run;
  const memory = {
    get tick(): Tick {
      return run.tick;
    },
    bytes: (address: VirtAddr, length: number): Uint8Array => bytesAt(machine, machine.cpu, address, length),
  };
  return new GuestSymbols(symbolsOfImage(elf), elf, memory);
}

/** Boots a guest and records it until it ends. */
export async function record(config: RecordConfig, hooks: RecordHooks): Promise<RecordResult> {
  const kernel = readFile(config.image, KERNEL_FILE);
  const initrd = config.initrd === null ? null : readFile(config.initrd, initrdFile(config.memoryBytes));
  const machineConfig: MachineConfig = {
    platform: DEFAULT_PLATFORM,
    images: { kernel, ...(initrd === null ? {} : { initrd }) },
    commandLine: config.commandLine,
    memoryBytes: config.memoryBytes,
    vcpus: config.vcpus,
    cpuPolicy: config.cpuPolicy,
    tscKhz: DEFAULT_TSC_KHZ,
    epochSeconds: DEFAULT_EPOCH_SECONDS,
    inflate,
  };
  const run = builtRun(machineConfig);
  hooks.built();
  const stored = await newRecording(config, machineConfig.images, hooks.stop);
  const recording = stored?.recording ?? null;
  if (stored !== null) hooks.created(stored.directory);
  const { machine } = run;
  const symbols = guestSymbols(run);
  const panics = panicEntries(symbols.kernel);
  const watch = new PanicWatch(panics.size > 0);
  run.explanation.watch({ log: hooks.log, userRuns: () => watch.userRuns() });
  run.onOutput = (data) => {
    watch.written(data, () => sighting(machine, machine.visibleAt));
    hooks.console(data);
  };
  const host = new Host(hooks, () => {
    const entry = panics.get(machine.cpu.rip);
    if (entry !== undefined) watch.entered(sighting(machine, run.tick), panicTextAt(machine, entry));
  });
  const recorder = new Recorder(run, recording, host, {
    ticks: config.limitTicks,
    timeNs: config.limitSeconds === null ? null : Math.round(config.limitSeconds * 1e9),
    idleNs: Math.round(config.idleLimitSeconds * 1e9),
    stops: StopSet.of(
      'panic',
      Array.from(panics.keys(), (address) => ({ kind: 'address', address })),
    ),
    nameOf: (address) => symbolText(symbols, address) ?? hex(address),
  });
  host.attach(recorder);
  const outcome = await recorder.record();
  const { verdict: ending, at } = watch.verdict(outcome.verdict, sighting(machine, run.tick));
  const verdict = verdictReport(await told(ending, machine.cpu), at, symbols);
  if (recording !== null) {
    await recording.finish({
      tick: outcome.tick,
      stateHash: outcome.stateHash ?? 0n,
      verdict: verdict.kind,
      message: verdict.message,
      place: at,
    });
  }
  const result: RecordResult = {
    recording: stored?.directory ?? null,
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

const CODE_BITS = [16, 32, 64] as const;
/** The ending in words; a disassembler is loaded only for what needs one. */
async function told(ending: Verdict, { rip, codeMode }: Cpu): Promise<Verdict> {
  if (ending.kind !== 'unimplemented') return ending;
  const { toldVerdict } = await import('../../inspect/told-verdict.ts');
  return toldVerdict(ending, rip, CODE_BITS[codeMode]);
}

/** The recording that `config` asks for, with the images in it, and where it stands; null where it asks for none. */
async function newRecording(
  config: RecordConfig,
  images: MachineConfig['images'],
  stop: AbortSignal,
): Promise<{ readonly recording: NewRecording; readonly directory: string } | null> {
  if (config.directory === null) return null;
  const { LevelStore } = await import('../../../store/level-store.ts');
  const store = new LevelStore(dirname(resolve(config.directory)));
  const name = basename(config.directory);
  const names = config.numbered ? numberedNames(name) : name;
  const recording = await store.create(names, headerOf(config), new Map(Object.entries(images)), stop);
  return { recording, directory: join(dirname(config.directory), basename(store.path(recording.name))) };
}

/** NAME.hs, NAME-2.hs, NAME-3.hs and so on. */
const numberedNames = (name: string): string[] =>
  Array.from({ length: NAMES_MAX }, (_, i) => (i === 0 ? name : `${name.replace(/\.hs$/, '')}-${i + 1}`));

const headerOf = (config: RecordConfig): RecordingHeader => ({
  semanticsVersion: SEMANTICS_VERSION,
  toolVersion: TOOL_VERSION,
  createdMs: Date.now(),
  memoryBytes: config.memoryBytes,
  vcpus: config.vcpus,
  cpuPolicy: config.cpuPolicy,
  nsPerTick: NS_PER_TICK,
  tscKhz: DEFAULT_TSC_KHZ,
  commandLine: config.commandLine,
  seed: 0n,
  epochSeconds: DEFAULT_EPOCH_SECONDS,
  settings: {
    platform: DEFAULT_PLATFORM,
    image: basename(config.image),
    ...(config.initrd === null ? {} : { initrd: basename(config.initrd) }),
  },
});
