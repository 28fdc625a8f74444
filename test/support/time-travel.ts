/** Small kernels of our own, and what it takes to record and replay them inside a test. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Tick } from '../../src/core/units.ts';
import { DEFAULT_EPOCH_SECONDS, DEFAULT_TSC_KHZ, type MachineConfig } from '../../src/machine/config.ts';
import type { Platforms } from '../../src/machine/platforms.ts';
import { MemoryStore } from '../../src/timeline/memory-store.ts';
import { Recorder, type RecorderHost, type RecorderLimits, type RecordOutcome } from '../../src/timeline/recorder.ts';
import { Replayer, type ReplayOutcome } from '../../src/timeline/replayer.ts';
import { Run, SEMANTICS_VERSION, SLICE_TICKS } from '../../src/timeline/run.ts';
import type { NewRecording, Recording, RecordingHeader, TraceStore } from '../../src/timeline/trace-store.ts';

const KERNELS = resolve(import.meta.dirname, '../../tools/guest-kernels');
const kernel = (name: string): Uint8Array => new Uint8Array(readFileSync(join(KERNELS, name, `${name}.elf`)));

/** A kernel that does a little of everything (tools/guest-kernels/time-travel/kernel.c). */
export const timeTravelGuest = (commandLine = 'rounds=20 work=1000'): MachineConfig => ({
  platform: 'xen-pv',
  images: { kernel: kernel('time-travel') },
  commandLine,
  memoryBytes: 8 << 20,
  vcpus: 1,
  cpuPolicy: 'x86-64-v1',
  tscKhz: DEFAULT_TSC_KHZ,
  epochSeconds: DEFAULT_EPOCH_SECONDS,
});
/** The built-in failing boot: 65,000 ticks, ends in a domain crash. */
export const failingBoot = (): MachineConfig => ({
  ...timeTravelGuest(''),
  images: { kernel: kernel('failing-boot') },
  memoryBytes: 32 << 20,
});

/** The kernel that ends in the way named (tools/guest-kernels/endings/kernel.c). */
export const endingsGuest = (way: string): MachineConfig => ({
  ...timeTravelGuest(way),
  images: { kernel: kernel('endings') },
});

export const headerOf = (config: MachineConfig): RecordingHeader => ({
  semanticsVersion: SEMANTICS_VERSION,
  toolVersion: 'test',
  createdMs: 0,
  memoryBytes: config.memoryBytes,
  vcpus: config.vcpus,
  cpuPolicy: 'x86-64-v1',
  nsPerTick: 1,
  tscKhz: config.tscKhz,
  commandLine: config.commandLine,
  seed: 0n,
  epochSeconds: config.epochSeconds,
  settings: { platform: config.platform },
});

/** A host that types given lines at given ticks (or later, when the slice ends later) and breathes as often as it is told. */
export class ScriptedHost implements RecorderHost {
  readonly stopped = false;
  readonly live = false;
  strideTicks = SLICE_TICKS;
  /** Ticks after which a block is due. */
  flushTicks = Number.POSITIVE_INFINITY;
  /** What to type, by ascending tick. */
  lines: Array<{ readonly tick: Tick; readonly text: string }> = [];
  /** Told of every breath. */
  breathed: () => void = () => {};
  recorder: Recorder | null = null;
  #tick = 0;
  #flushed = 0;

  get flushDue(): boolean {
    return this.#tick - this.#flushed >= this.flushTicks;
  }
  flushed(): void {
    this.#flushed = this.#tick;
  }
  #type(tick: Tick): boolean {
    const due = this.lines.filter((line) => line.tick <= tick);
    this.lines = this.lines.filter((line) => line.tick > tick);
    for (const { text } of due) this.recorder!.door.push(new TextEncoder().encode(text));
    return due.length > 0;
  }
  async breathe(): Promise<void> {
    this.breathed();
    this.#type(this.#tick);
  }
  async idle(): Promise<boolean> {
    return this.#type(this.lines[0]?.tick ?? 0);
  }
  progress(tick: Tick): void {
    this.#tick = tick;
  }
}

export interface RecordOptions {
  readonly strideTicks?: number;
  readonly flushTicks?: number;
  readonly snapshotTicks?: number;
  readonly blockEntries?: number;
  readonly limitTicks?: number;
  readonly lines?: ScriptedHost['lines'];
  readonly breathed?: (run: Run) => void;
  readonly output?: (data: Uint8Array) => void;
  readonly store?: TraceStore;
  readonly name?: string;
  /** Other limits than no time, 30 s without news and the ticks of `limitTicks`. */
  readonly limits?: Partial<RecorderLimits>;
  readonly tier?: 'cold' | 'hot' | 'oracle';
  readonly platforms?: Platforms;
}
export interface Recorded {
  readonly run: Run;
  readonly recording: NewRecording;
  readonly outcome: RecordOutcome;
}

/** Records a guest to its end. */
export async function recordGuest(config: MachineConfig, options: RecordOptions = {}): Promise<Recorded> {
  const store = options.store ?? new MemoryStore();
  const blobs = new Map(Object.entries(config.images));
  const recording = await store.create(options.name ?? 'guest', headerOf(config), blobs);
  const run = new Run(config, { tier: options.tier ?? 'hot' }, options.platforms);
  run.onOutput = options.output ?? (() => {});
  const host = new ScriptedHost();
  Object.assign(host, {
    strideTicks: options.strideTicks ?? SLICE_TICKS,
    flushTicks: options.flushTicks ?? Number.POSITIVE_INFINITY,
    lines: options.lines ?? [],
    breathed: () => options.breathed?.(run),
  });
  const recorder = new Recorder(run, recording, host, {
    ticks: options.limitTicks ?? null,
    timeNs: null,
    idleNs: 30e9,
    ...(options.snapshotTicks === undefined ? {} : { snapshotTicks: options.snapshotTicks }),
    ...(options.blockEntries === undefined ? {} : { blockEntries: options.blockEntries }),
    ...options.limits,
  });
  host.recorder = recorder;
  const outcome = await recorder.record();
  const { tick, verdict } = outcome;
  await recording.finish({
    tick,
    stateHash: outcome.stateHash!,
    verdict: verdict.kind,
    message: verdict.message,
    place: { tick, vcpu: 0, rip: 0n },
  });
  return { run, recording, outcome };
}

/** Replays a recording on a machine of its own. */
export function replayGuest(
  config: MachineConfig,
  recording: Recording,
  prepare: (replayer: Replayer, run: Run) => void = () => {},
  platforms?: Platforms,
): Promise<ReplayOutcome> {
  const run = new Run(config, {}, platforms);
  const replayer = new Replayer(run, recording);
  prepare(replayer, run);
  return replayer.replay({ breathe: async () => {}, progress: () => {} });
}

/** Numbers that look random and are the same in every run of a test. */
export function pseudoRandom(seed: number): (below: number) => number {
  let x = seed >>> 0 || 1;
  return (below) => {
    x ^= x << 13;
    x >>>= 0;
    x ^= x >>> 17;
    x ^= x << 5;
    x >>>= 0;
    return Math.floor((x / 2 ** 32) * below);
  };
}
