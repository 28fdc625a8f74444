/**
 * Time travel on the real boot (Debian with busybox): snapshot spacings, random gotos and single steps back, each against the
 * hash that a forward run had at that tick. Takes several minutes; needs `npm run guests`.
 *
 *   node tools/run.mjs check-timeline [--spacings 10] [--gotos 200] [--steps 2000]
 */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Tick } from '../src/core/units.ts';
import { DEFAULT_EPOCH_SECONDS, DEFAULT_TSC_KHZ, type MachineConfig } from '../src/machine/config.ts';
import { ReplayDoor } from '../src/timeline/journal.ts';
import { MemoryStore } from '../src/timeline/memory-store.ts';
import { Recorder, type RecorderHost, type RecordOutcome } from '../src/timeline/recorder.ts';
import { Run, SEMANTICS_VERSION } from '../src/timeline/run.ts';
import { Session } from '../src/timeline/session.ts';
import type { Recording } from '../src/timeline/trace-store.ts';
import { commandLine, countOf, refuse } from './command-line.ts';

const { values } = commandLine({
  options: {
    spacings: { type: 'string', default: '10' },
    gotos: { type: 'string', default: '200' },
    steps: { type: 'string', default: '2000' },
  },
});
const COUNTS = {
  spacings: countOf(values.spacings, '--spacings', 1),
  gotos: countOf(values.gotos, '--gotos'),
  steps: countOf(values.steps, '--steps'),
};
const GUEST = resolve(import.meta.dirname, '../.cache/guests/debian');
if (!existsSync(GUEST)) refuse('there is no guest: npm run guests');
const config: MachineConfig = {
  platform: 'xen-pv',
  images: { kernel: readFileSync(join(GUEST, 'vmlinux')), initrd: readFileSync(join(GUEST, 'initrd.gz')) },
  commandLine: 'console=hvc0',
  memoryBytes: 256 << 20,
  vcpus: 1,
  cpuPolicy: 'x86-64-v1',
  tscKhz: DEFAULT_TSC_KHZ,
  epochSeconds: DEFAULT_EPOCH_SECONDS,
};
/** Ticks between snapshots, and how the run is cut into slices meanwhile. */
const SPACINGS = [
  { spacing: 2 ** 26, stride: 2 ** 20 },
  { spacing: 2 ** 30, stride: 1_000_003 },
  { spacing: 50_000_017, stride: 777_777 },
  { spacing: 100_000_007, stride: 65_537 },
  { spacing: 2 ** 27, stride: 65_536 },
  { spacing: 271_828_182, stride: 31_415 },
  { spacing: 2 ** 28, stride: 524_287 },
  { spacing: 314_159_265, stride: 1_048_575 },
  { spacing: 2 ** 29, stride: 12_345 },
  { spacing: 700_000_001, stride: 99_991 },
].slice(0, COUNTS.spacings);

/** A host without input that wants a block every `spacing` ticks. */
class Host implements RecorderHost {
  readonly stopped = false;
  readonly live = false;
  readonly strideTicks: number;
  readonly #spacing: number;
  #tick = 0;
  #flushed = 0;
  constructor(spacing: number, stride: number) {
    this.#spacing = spacing;
    this.strideTicks = stride;
  }
  get flushDue(): boolean {
    return this.#tick - this.#flushed >= this.#spacing;
  }
  flushed(): void {
    this.#flushed = this.#tick;
  }
  async breathe(): Promise<void> {}
  async idle(): Promise<boolean> {
    return false;
  }
  progress(tick: Tick): void {
    this.#tick = tick;
  }
}

async function record(spacing: number, stride: number): Promise<{ recording: Recording; outcome: RecordOutcome }> {
  const header = {
    semanticsVersion: SEMANTICS_VERSION,
    toolVersion: 'check',
    createdMs: 0,
    memoryBytes: config.memoryBytes,
    vcpus: 1,
    cpuPolicy: 'x86-64-v1',
    nsPerTick: 1,
    tscKhz: config.tscKhz,
    commandLine: config.commandLine,
    seed: 0n,
    epochSeconds: config.epochSeconds,
    settings: {},
  };
  const recording = await new MemoryStore().create('check', header, new Map());
  const limits = { ticks: null, timeNs: null, idleNs: 30e9, snapshotTicks: spacing };
  const outcome = await new Recorder(new Run(config), recording, new Host(spacing, stride), limits).record();
  return { recording, outcome };
}

const hex = (hash: bigint): string => hash.toString(16).padStart(32, '0');
let failures = 0;
const check = (good: boolean, line: string): void => {
  console.log(`${good ? 'same ' : 'DIFFERS'} ${line}`);
  if (!good) failures++;
};

let first: { recording: Recording; outcome: RecordOutcome } | null = null;
for (const { spacing, stride } of SPACINGS) {
  const made = await record(spacing, stride);
  first ??= made;
  check(
    made.outcome.stateHash === first.outcome.stateHash,
    `spacing ${spacing}, slices of ${stride}: ${made.outcome.snapshots} snapshots, ${made.outcome.verdict.kind} at ${made.outcome.tick}, ${hex(made.outcome.stateHash!)}`,
  );
}
const { recording, outcome } = first!;

let x = 88_172_645;
const random = (below: number): number => {
  x ^= x << 13;
  x ^= x >>> 17;
  x ^= x << 5;
  return Math.floor(((x >>> 0) / 2 ** 32) * below);
};
const gotos = Array.from({ length: COUNTS.gotos }, () => random(outcome.tick + 1));
const steps = Array.from({ length: COUNTS.steps }, (_, i) => outcome.tick - i);

const forward = new Run(config);
forward.machine.door = new ReplayDoor(recording);
const expected = new Map<Tick, bigint>();
for (const tick of [...new Set([...gotos, ...steps])].sort((a, b) => a - b)) {
  forward.runTo(tick);
  expected.set(tick, forward.stateHash());
}

/** Goes to each tick; returns how many states were as expected and how long each took, in ms. */
async function visit(
  ticks: readonly Tick[],
  session: Session,
): Promise<{ same: number; p50: number; p99: number; max: number }> {
  const times: number[] = [];
  let same = 0;
  for (const tick of ticks) {
    const start = performance.now();
    await session.goto(tick);
    times.push(performance.now() - start);
    if (session.run.stateHash() === expected.get(tick)) same++;
  }
  times.sort((a, b) => a - b);
  const at = (share: number): number =>
    Math.round(times[Math.min(times.length - 1, Math.floor(times.length * share))]!);
  return { same, p50: at(0.5), p99: at(0.99), max: at(1) };
}
for (const [what, ticks] of [
  ['random gotos', gotos],
  ['single steps back from the end', steps],
] as const) {
  const { same, p50, p99, max } = await visit(ticks, new Session(new Run(config), recording));
  check(same === ticks.length, `${what}: ${same} of ${ticks.length}; p50 ${p50} ms, p99 ${p99} ms, longest ${max} ms`);
}
process.exitCode = failures === 0 ? 0 : 1;
