/**
 * A bare machine of one or more vCPUs for tests of the loop: each vCPU has an address space and a paging mode of its own over its own
 * code, data and stack, and one page that all of them share; ports bring timers, sleep, upcalls and writes of a device about.
 */
import { EventStream } from '../../src/core/event-stream.ts';
import type { StateSection } from '../../src/core/state-section.ts';
import { Engine, type EngineOptions } from '../../src/engine/engine.ts';
import { DEFAULT_EPOCH_SECONDS, DEFAULT_TSC_KHZ, type MachineConfig } from '../../src/machine/config.ts';
import { UNEXPLAINED } from '../../src/machine/explanation.ts';
import type { InputDoor } from '../../src/machine/inputs.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { MachineEvent, MachinePlatform } from '../../src/machine/platform.ts';
import type { PlatformKind, Terminal } from '../../src/machine/platform-kind.ts';
import { RoundRobin } from '../../src/machine/scheduler.ts';
import type { StateTracker } from '../../src/machine/tracker.ts';
import { GuestMemory } from '../../src/memory/guest-memory.ts';
import { Run } from '../../src/timeline/run.ts';
import type { Cpu } from '../../src/x86/cpu.ts';
import type { Insn } from '../../src/x86/form.ts';
import { type EventKind, type Fault, isFault, type Outcome, stop } from '../../src/x86/seam.ts';
import { SEG } from '../../src/x86/state.ts';
import { setFlatSegment } from '../../src/x86/system/descriptors.ts';
import { startLong, TestPlatform } from '../engine/machine.ts';

export type Paging = 'long' | 'legacy';

/** Linear addresses, the same on every vCPU. DATA has a page of the vCPU's own and then the shared one. */
export const PLACES = { code: 0x40_0000, data: 0x80_0000, stack: 0xc0_0000, absent: 0x90_0000 } as const;
/** Where the upcall handler of every guest is, from the start of its code. */
export const HANDLER = 0xc00;
export const PORT = { timer: 1, upcall: 2, ipi: 3, sleep: 4, bell: 5, device: 6, off: 7, quiet: 8 } as const;
/** Words of the shared page that device, timers and input write. */
export const WORD = { device: 0x40, timer: 0x48, input: 0x50 } as const;
const FRAMES = 16;
const PER_CPU = { root: 0, code: 8, data: 9, stack: 10 } as const;
const BITS = 7;
const NEVER = Number.POSITIVE_INFINITY;

/** Machine frame of a vCPU's page; frame 1 is the shared one. */
const frameOf = (vcpu: number, which: number): number => 2 + vcpu * FRAMES + which;
export const SHARED = 4096;

/** Machine address behind a linear one of a vCPU, as the guest is laid out; null where nothing is mapped. */
export function machineAddress(vcpu: number, linear: number): number | null {
  const page = linear & ~4095;
  const offset = linear & 4095;
  if (page === PLACES.code) return frameOf(vcpu, PER_CPU.code) * 4096 + offset;
  if (page === PLACES.data) return frameOf(vcpu, PER_CPU.data) * 4096 + offset;
  if (page === PLACES.data + 4096) return SHARED + offset;
  if (page === PLACES.stack) return frameOf(vcpu, PER_CPU.stack) * 4096 + offset;
  return null;
}
export const rootOf = (vcpu: number): number => frameOf(vcpu, PER_CPU.root);

/** Something that the platform has written by itself. */
export interface OwnWrite {
  readonly pa: number;
  readonly bytes: number;
  readonly vcpu: number;
}

/** What of the platform is state, by vCPU. */
interface PortsState {
  deadlines: number[];
  pending: boolean[];
  asleep: boolean[];
}

class VcpuPlatform extends TestPlatform implements MachinePlatform {
  readonly work = { total: 0 };
  readonly ended = null;
  readonly stream = new EventStream<MachineEvent>();
  readonly pollTicks = NEVER;
  readonly #memory: GuestMemory;
  #state: PortsState;
  machine: Machine | null = null;
  /** Written since it was last emptied. */
  writes: OwnWrite[] = [];
  /** Events taken and exceptions delivered so far. */
  upcalls = 0;
  faults = 0;

  constructor(memory: GuestMemory, vcpus: number) {
    super();
    this.#memory = memory;
    this.#state = {
      deadlines: new Array(vcpus).fill(NEVER),
      pending: new Array(vcpus).fill(false),
      asleep: new Array(vcpus).fill(false),
    };
  }
  readonly sections: readonly StateSection[] = [
    {
      name: 'ports',
      encode: () => new TextEncoder().encode(JSON.stringify(this.#state)),
      decode: (bytes) => {
        this.#state = JSON.parse(new TextDecoder().decode(bytes)) as PortsState;
        this.#state.deadlines = this.#state.deadlines.map((at) => at ?? NEVER);
      },
    },
  ];
  #write(offset: number, value: number): void {
    this.#memory.write32(SHARED + offset, value);
    this.#wrote(SHARED + offset, 4);
  }
  #wrote(pa: number, bytes: number): void {
    this.writes.push({ pa, bytes, vcpu: this.machine!.loop.turn.vcpu });
  }

  attach(): void {}
  restored(): void {}
  switched(): void {}
  runnable(vcpu: number): boolean {
    return !this.#state.asleep[vcpu];
  }
  nextDeadlineNs(): number {
    return Math.min(...this.#state.deadlines);
  }
  expire(ns: number): string[] {
    const fired = this.#state.deadlines.flatMap((at, vcpu) => (at <= ns ? [vcpu] : []));
    for (const vcpu of fired) {
      this.#state.deadlines[vcpu] = NEVER;
      this.#state.asleep[vcpu] = false;
      this.#state.pending[vcpu] = true;
    }
    this.#write(WORD.timer, ns);
    this.stream.tell({ kind: 'timer' });
    return fired.map(String);
  }
  hasPending(cpu: Cpu): boolean {
    return this.#state.pending[cpu.id]!;
  }
  deliverPending(cpu: Cpu): { outcome: Outcome } | null {
    if (!this.#state.pending[cpu.id]) return null;
    this.#state.pending[cpu.id] = false;
    this.upcalls++;
    const width = cpu.longMode ? 8 : 4;
    // whatever the guest has for a stack at the moment
    if (machineAddress(cpu.id, Number(cpu.rsp)) === null) cpu.rsp = BigInt(PLACES.stack + 0xe00);
    const sp = cpu.rsp - BigInt(width);
    if (isFault(cpu.memory.store(cpu, sp, width, cpu.rip))) return { outcome: stop('crash', 'no stack') };
    this.#wrote(machineAddress(cpu.id, Number(sp))!, width);
    cpu.rsp = sp;
    cpu.rip = BigInt(PLACES.code + HANDLER);
    this.stream.tell({ kind: 'upcall' });
    return { outcome: null };
  }
  input(_device: string, data: Uint8Array): void {
    this.#write(WORD.input, data[0]!);
    this.#state.asleep.fill(false);
    this.stream.tell({ kind: 'input' });
  }
  /** Faults skip their instruction; what is none has two bytes. */
  override deliver(cpu: Cpu, _kind: EventKind, _event: Fault, insn: Insn | null): Outcome {
    this.faults++;
    cpu.rip += BigInt(insn?.length ?? 2);
    this.stream.tell({ kind: 'trap' });
    return null;
  }
  override portOut(cpu?: Cpu, port?: number): Outcome {
    const { id } = cpu!;
    const { machine } = this;
    const now = machine!.now();
    switch (port) {
      case PORT.timer:
        this.#state.deadlines[id] = now + 23;
        return null;
      case PORT.upcall:
        this.#state.pending[id] = true;
        return null;
      case PORT.ipi:
        for (let i = 0; i < this.#state.pending.length; i++) {
          this.#state.pending[i] = true;
          this.#state.asleep[i] = false;
        }
        return null;
      case PORT.sleep:
        this.#state.deadlines[id] = Math.min(this.#state.deadlines[id]!, now + 31);
        this.#state.asleep[id] = true;
        return null;
      case PORT.bell:
        this.stream.tell({ kind: 'bell' });
        return null;
      case PORT.device:
        this.#write(WORD.device, now);
        return null;
      case PORT.off:
        this.#write(WORD.device, now);
        return stop('poweroff', 'off');
      default:
        return null;
    }
  }
}

/** Code by vCPU, at the start of its page. */
export interface VcpuGuest {
  readonly pagings: readonly Paging[];
  readonly code: readonly Uint8Array[];
  /** Steps of a turn. */
  readonly quantum?: number;
}

/** Tables of a vCPU: its page of code, two of data, one of stack. */
function mapAll(memory: GuestMemory, vcpu: number, paging: Paging): void {
  const root = rootOf(vcpu);
  const wide = paging === 'long';
  const shifts = wide ? [39, 30, 21, 12] : [22, 12];
  const mask = wide ? 511 : 1023;
  const width = wide ? 8 : 4;
  let next = root + 1;
  for (const linear of [PLACES.code, PLACES.data, PLACES.data + 4096, PLACES.stack]) {
    let table = root;
    for (const shift of shifts) {
      const at = table * 4096 + (Math.floor(linear / 2 ** shift) & mask) * width;
      if (shift === 12) memory.write32(at, machineAddress(vcpu, linear)! | BITS);
      else {
        if (memory.read32(at) === 0) memory.write32(at, (next++ << 12) | BITS);
        table = memory.read32(at) >>> 12;
      }
    }
  }
}
function start(cpu: Cpu, paging: Paging): void {
  startLong(cpu, rootOf(cpu.id) * 4096);
  cpu.set('fcw', 0x37f);
  cpu.rip = BigInt(PLACES.code);
  cpu.rsp = BigInt(PLACES.stack + 0xf00);
  if (paging === 'long') return;
  cpu.set('efer', 0);
  cpu.set('cr4', 0x600);
  cpu.set('codeMode', 1);
  setFlatSegment(cpu, SEG.cs, 0, 0xc09b);
}

const ID = 'ports';
/** The kind of platform that a guest's machine is, for a run's table. */
export function platformsOf(guest: VcpuGuest): ReadonlyMap<string, PlatformKind> {
  const terminal: Terminal = {
    ...{ device: ID, written: 0, drained: true },
    onOutput: () => {},
    endOfOutput: () => new Uint8Array(),
  };
  const kind: PlatformKind = {
    id: ID,
    images: [],
    problem: () => null,
    unpack: (kernel) => kernel,
    build: (config, options) => {
      const machine = build(guest, { ...options, policy: config.cpuPolicy });
      return { machine, elf: new Uint8Array(), terminal, explanation: UNEXPLAINED };
    },
  };
  return new Map([[ID, kind]]);
}
export const configOf = (guest: VcpuGuest): MachineConfig => ({
  platform: ID,
  images: {},
  commandLine: '',
  memoryBytes: 1 << 20,
  vcpus: guest.pagings.length,
  cpuPolicy: 'x86-64-v2',
  tscKhz: DEFAULT_TSC_KHZ,
  epochSeconds: DEFAULT_EPOCH_SECONDS,
});

function build({ pagings, code, quantum }: VcpuGuest, options: EngineOptions): Machine {
  const vcpus = pagings.length;
  const frames = 2 + vcpus * FRAMES;
  const memory = new GuestMemory({ vcpus, slots: frames, frameLimit: frames, recordBytes: 1 << 20 });
  memory.addFrames(0, frames);
  for (const [vcpu, paging] of pagings.entries()) {
    mapAll(memory, vcpu, paging);
    memory.writeBytes(machineAddress(vcpu, PLACES.code)!, code[vcpu]!);
  }
  const engine = new Engine(memory, options);
  for (const cpu of engine.cpus) start(cpu, pagings[cpu.id]!);
  const platform = new VcpuPlatform(memory, vcpus);
  platform.machine = new Machine(engine, platform, DEFAULT_TSC_KHZ, new RoundRobin(vcpus, quantum ?? 17));
  return platform.machine;
}

/** A run of a guest, and what a test looks at. */
export interface VcpuMachine {
  readonly run: Run;
  readonly machine: Machine;
  readonly platform: VcpuPlatform;
  readonly tracker: StateTracker;
}
/** The machine at tick 0. */
export function vcpuMachine(guest: VcpuGuest, options: EngineOptions = {}, door?: InputDoor): VcpuMachine {
  const run = new Run(configOf(guest), options, platformsOf(guest));
  const { machine, tracker } = run;
  if (door !== undefined) machine.door = door;
  return { run, machine, platform: machine.platform as VcpuPlatform, tracker };
}
