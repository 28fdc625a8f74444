/** A backend with one canned recording, and a way to run command lines against it. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { PassThrough } from 'node:stream';
import type {
  Backend,
  BisectOptions,
  DebugSession,
  EventFilter,
  Met,
  OpenRecording,
  RecordConfig,
  RecordHooks,
  RecordingInfo,
  RecordResult,
  ReplayResult,
  VerifyFinding,
} from '../../src/cli/backend.ts';
import { Interrupt } from '../../src/cli/interrupt.ts';
import { run } from '../../src/cli/program.ts';
import type { Streams } from '../../src/cli/terminal.ts';
import { EmulatorError } from '../../src/core/errors.ts';
import type { RunEvent } from '../../src/inspect/investigate.ts';
import type { BisectReport, VerdictReport, WhyReport } from '../../src/inspect/report.ts';
import { SymbolTable } from '../../src/inspect/symbols.ts';
import type { AccessStop, StopCondition } from '../../src/machine/stops.ts';
import { createAnchor } from '../../store/anchor.ts';
import { FakeMoment } from '../inspect/fake-moment.ts';

const RIP = 0xffffffff80100228n;
export const VERDICT: VerdictReport = {
  kind: 'crash',
  tick: 900,
  vcpu: 0,
  rip: RIP,
  symbol: 'panic+0xa0',
  message: 'domain_crash: create_bounce_frame',
};
const symbols = SymbolTable.of(
  [
    { address: 0xffffffff80100045n, name: 'panic', type: 'T' },
    { address: 0xffffffff801001cdn, name: 'map_image', type: 'T' },
  ],
  { start: 0xffffffff80100000n, end: 0xffffffff80110000n },
);
const EVENTS: RunEvent[] = [
  { tick: 10, vcpu: 0, rip: RIP, kind: 'hypercall', name: 'pin', fields: { result: -22n, mfn: 0x621n }, text: null },
  { tick: 10, vcpu: 0, rip: RIP, kind: 'log', name: 'log', fields: {}, text: '(XEN) mm.c Bad type' },
];

class FakeBackend implements Backend {
  verdict = VERDICT;
  /** The recorder was killed. */
  unfinished = false;
  recorded: RecordConfig | null = null;
  /** Runs while the guest does. */
  guest: (hooks: RecordHooks) => void | Promise<void> = (hooks) => {
    hooks.console(new TextEncoder().encode('hello from the guest\n'));
    hooks.log('(XEN) Domain 1 crashed');
  };
  replayed: Partial<ReplayResult> = {};
  /** What the guest writes when it is replayed. */
  replayedConsole = '';
  bisected: Partial<BisectReport> = {};
  findings: VerifyFinding[] = [];
  /** Thrown by whatever is asked first. */
  failure: Error | null = null;
  opened = 0;
  closed = 0;
  lastBisect: BisectOptions | null = null;
  lastFilter: EventFilter | null = null;
  lastGoto = -1;

  /** Events as they come; an error after the last of them. */
  eventBatches: RunEvent[][] = [EVENTS];
  eventFailure: Error | null = null;
  /** How many batches have been asked for. */
  eventsAsked = 0;
  async *#events(filter: EventFilter): AsyncGenerator<readonly RunEvent[]> {
    this.lastFilter = filter;
    for (const batch of this.eventBatches) {
      this.eventsAsked++;
      yield batch;
    }
    if (this.eventFailure !== null) throw this.eventFailure;
  }

  async record(config: RecordConfig, hooks: RecordHooks): Promise<RecordResult> {
    if (this.failure !== null) throw this.failure;
    this.recorded = config;
    hooks.built();
    if (config.directory !== null) hooks.created(config.directory);
    await this.guest(hooks);
    return {
      recording: config.directory,
      ticks: 901,
      vcpus: config.vcpus,
      verdict: this.verdict,
      journalBytes: 120,
      snapshotBytes: 4096,
      snapshots: 2,
      stateHash: config.directory === null ? null : 0xabcdn,
    };
  }

  async info(path: string): Promise<RecordingInfo> {
    if (this.failure !== null) throw this.failure;
    return {
      recording: path,
      created: '2026-01-02T03:04:05.000Z',
      image: 'kernel.elf',
      imageBytes: 7080,
      initrd: null,
      initrdBytes: null,
      commandLine: 'console=hvc0',
      memoryBytes: 2 ** 28,
      vcpus: 1,
      cpuPolicy: 'x86-64-v1',
      platform: 'xen-pv',
      semantics: '1',
      ticksPerSecond: 1e9,
      ticks: 1000,
      verdict: this.unfinished ? null : this.verdict,
      stateHash: 0xabcdn,
      journalBytes: 120,
      snapshotBytes: 4096,
      snapshots: 2,
    };
  }

  async verify(path: string): Promise<Awaited<ReturnType<Backend['verify']>>> {
    const { findings } = this;
    const ok = findings.length === 0;
    return { recording: path, ok, ticks: 1000, journalBlocks: 1, snapshots: 2, pages: 7, findings };
  }

  async open(path: string): Promise<OpenRecording> {
    const info = await this.info(path);
    this.opened++;
    return {
      info,
      replay: async (hooks) => {
        hooks.console(new TextEncoder().encode(this.replayedConsole));
        return {
          recording: path,
          ticks: 1000,
          verified: true,
          counterfactual: false,
          divergence: null,
          stateHash: 0xabcdn,
          ...this.replayed,
        };
      },
      goto: async (tick) => {
        this.lastGoto = tick;
        return {
          tick,
          vcpu: 0,
          rip: RIP,
          symbol: 'map_image+0x5b',
          instruction: 'mov [rcx*8+new_l1], rax',
          registers: { rax: 0x10e067n, rsp: 0xffffffff80112000n },
          stateHash: 0xabcdn,
        };
      },
      bisect: async (options) => {
        this.lastBisect = options;
        return {
          tick: 11,
          vcpu: 0,
          rip: RIP,
          symbol: 'map_image+0x5b',
          instruction: 'syscall',
          bytes: '0f05',
          caller: 'map_image+0x5b',
          backtrace: [{ rip: RIP, symbol: 'map_image+0x5b' }],
          probes: 42,
          ...this.bisected,
        };
      },
      origin: async () => {
        throw new EmulatorError('E_USAGE', 'there is no such place');
      },
      why: async (): Promise<WhyReport> => ({
        verdict: this.verdict,
        ...{ decides: null, root: null, loop: null, wait: null, confirmed: null, instead: null },
        chain: [{ what: 'crash: it crashed', tick: 900, rip: RIP, symbol: 'panic+0xa0' }],
        instruction: 'int3',
        operand: null,
        lastWriter: {
          tick: 300,
          rip: RIP,
          symbol: 'map_image+0x5b',
          instruction: 'mov [rcx*8+new_l1], rax',
          value: 0x10e067n,
        },
        caller: 'activate_tables+0x40',
        backtrace: [{ rip: RIP, symbol: null }],
      }),
      events: (filter) => this.#events(filter),
      debug: async () => new FakeSession(),
      close: async () => {
        this.closed++;
      },
    };
  }
}

/** A session over 1000 ticks; RAX counts them. */
class FakeSession implements DebugSession {
  readonly firstTick = 0;
  readonly lastTick = 1000;
  readonly symbols = symbols;
  readonly names = symbols;
  tick = 500;
  searched: [string, 'forward' | 'back'][] = [];

  now(): FakeMoment {
    const moment = new FakeMoment();
    Object.assign(moment, { tick: this.tick, consoleText: 'line 1\nline 2\n' });
    Object.assign(moment.registers, { rip: RIP, rax: BigInt(this.tick), rsp: 0x8000n });
    return moment.put(RIP, [0x0f, 0x05, 0x90, 0xc3]).put(0x8000n, [0x68, 0x69, 0, 0xff]);
  }
  stateHash = (): bigint => 0xabcdn;
  held: readonly StopCondition[] = [];
  check(predicate: string): bigint | null {
    if (predicate.includes('nosuch')) throw new EmulatorError('E_EXPRESSION', `cannot understand ${predicate}`);
    return predicate === 'panic' ? RIP : null;
  }
  accesses(access: AccessStop['access'], address: bigint, bytes: number): StopCondition[] {
    return [{ kind: 'access', access, address: Number(address), bytes }];
  }
  hold(conditions: readonly StopCondition[]): void {
    this.held = conditions;
  }
  async run(way: 'forward' | 'back', predicates: readonly string[]): Promise<Met> {
    this.searched.push([predicates.join(', '), way]);
    this.tick = way === 'forward' ? 700 : 200;
    const hits = this.held.slice(0, 1).map((condition) => ({ client: 'prompt', condition, vcpu: 0 }));
    return { hits, predicates: way === 'forward' ? predicates.map((_, number) => number) : [] };
  }
  async goto(tick: number): Promise<void> {
    if (tick < 0 || tick > 1000) throw new EmulatorError('E_TICK', `tick ${tick} is outside the recording`);
    this.tick = tick;
  }
  forward = (predicate: string): Promise<number | null> => this.#search(predicate, 'forward', 700);
  back = (predicate: string): Promise<number | null> => this.#search(predicate, 'back', 200);
  async #search(predicate: string, way: 'forward' | 'back', tick: number): Promise<number | null> {
    if (predicate.includes('==)')) throw new EmulatorError('E_EXPRESSION', `cannot understand ${predicate}`);
    this.searched.push([predicate, way]);
    if (predicate.includes('never')) return null;
    this.tick = tick;
    return tick;
  }
}

export interface Outcome {
  readonly status: number;
  readonly out: string;
  readonly err: string;
  /** stdout as the one JSON value it has to be. */
  readonly json: () => Record<string, unknown>;
}

/** A folder with an image and a recording `one.hs`, and the program in it. */
export class Bench {
  readonly backend = new FakeBackend();
  /** Standard output is a terminal. */
  isTTY = false;
  columns: number | undefined;
  /** What the program sees of the backend. */
  disguise: (backend: Backend) => Backend = (backend) => backend;
  readonly folder = mkdtempSync(join(tmpdir(), 'hindsight-cli-'));
  readonly image = join(this.folder, 'kernel.elf');

  constructor() {
    writeFileSync(this.image, 'image');
    this.recording('.hindsight/one.hs');
  }
  path(name: string): string {
    return resolve(this.folder, name);
  }
  /** Makes what is known for a recording: a directory with an anchor, begun at `createdMs`, and a database. */
  recording(name: string, createdMs = 0): string {
    const path = this.path(name);
    mkdirSync(join(path, 'db'), { recursive: true });
    createAnchor(join(path, 'anchor'), createdMs);
    writeFileSync(join(path, 'db/CURRENT'), 'x');
    return path;
  }
  remove(): void {
    rmSync(this.folder, { recursive: true });
  }
  run(args: readonly string[], input = ''): Promise<Outcome> {
    return this.#start(args, input, true).end;
  }
  /** A program of whose stdout nobody reads anything until `read`. */
  stuck(args: readonly string[]): { readonly read: () => void; readonly end: Promise<Outcome> } {
    return this.#start(args, '', false);
  }
  #start(args: readonly string[], input: string, reads: boolean): ReturnType<Bench['stuck']> {
    const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
    Object.assign(stdout, { isTTY: this.isTTY, columns: this.columns });
    stdin.end(input);
    const text = { out: '', err: '' };
    stderr.on('data', (d) => (text.err += d));
    const read = (): void => void stdout.on('data', (d) => (text.out += d));
    if (reads) read();
    const interrupt = new Interrupt();
    const status = run(args, {
      streams: { stdin, stdout, stderr } as unknown as Streams,
      cwd: () => this.folder,
      backend: () => Promise.resolve(this.disguise(this.backend)),
      interrupt,
      now: () => new Date('2026-01-02T03:04:05Z'),
      version: '0.1.0',
      trace: false,
    }).finally(() => interrupt.release());
    return {
      read,
      end: status.then((code) => ({
        status: code,
        ...text,
        json: () => JSON.parse(text.out) as Record<string, unknown>,
      })),
    };
  }
}
