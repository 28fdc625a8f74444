/**
 * The Xen PV platform: the root of the hypervisor's state and the implementation of the CPU's platform seam.
 *
 * Invariants:
 * - the guest, kernel and user, runs at CPL 3; `kernelMode` of its vCPU tells them apart;
 * - everything asynchronous reaches the guest through {@link XenPv.expire} and {@link XenPv.deliverPending}, which the machine calls
 *   at the delivery points of the determinism contract;
 * - a hypercall is one step up to its share of counted work; one that is longer goes on as further steps, each of which executes
 *   the SYSCALL again with the arguments that are left (D-06, src/xen/work.ts).
 */
import { assert } from '../../core/assert.ts';
import { EventStream } from '../../core/event-stream.ts';
import { type Infer, integer, list, optional, struct, u32, u64 } from '../../core/schema.ts';
import type { StateSection } from '../../core/state-section.ts';
import type { MachineFrame, PhysAddr, VirtAddr } from '../../core/units.ts';
import { highWord, lowWord, plus } from '../../core/words.ts';
import { type Device, giveInput } from '../../devices/device.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import type { Cpu } from '../../x86/cpu.ts';
import { POLICIES, type Vendor } from '../../x86/features.ts';
import type { CpuPolicy, Insn } from '../../x86/form.ts';
import { type EventKind, type Fault, fault, isStop, type Outcome, type Platform, type Stop } from '../../x86/seam.ts';
import { GPR, VECTOR } from '../../x86/state.ts';
import { ERRNO } from '../abi/errno.ts';
import { HYPERCALL } from '../abi/numbers.ts';
import { AMD64 } from '../abi/structures.ts';
import type { Domain } from '../domain.ts';
import { ARGUMENTS, Call, type CallResult } from '../hypercalls/call.ts';
import { hypercallHandler } from '../hypercalls/table.ts';
import { MemoryManager } from '../mm/memory-manager.ts';
import { type Continuation, isContinuation, type WorkMeter } from '../work.ts';
import { createBounceFrame } from './bounce.ts';
import { pvCpuid } from './cpuid.ts';
import { readDescriptor, writeDescriptor } from './descriptors.ts';
import { type EventHost, Events, eventState } from './events.ts';
import { GuestAccess, type Translator } from './guest-access.ts';
import { deliverable, isRunnable, switchVcpus, wake, wakePollers } from './scheduler.ts';
import { tscAt } from './time.ts';
import { expire, nextDeadline } from './timers.ts';
import { deliver, mayEmulate, syscall, sysenter } from './traps.ts';
import { newVcpuState, type VcpuState, vcpuState } from './vcpu.ts';

/** System time, a pure function of ticks and idle jumps; kept by the machine. */
export interface Clock {
  /** Nanoseconds of system time at the current step of `cpu`. */
  now(cpu: Cpu | null): number;
  readonly tscKhz: number;
}

/** Address translation as the PV core drives it (src/memory/mmu.ts). */
export interface PvMmu extends Translator {
  /** Uses the TLB and root of the kernel (0) or user (1) address space. */
  selectSpace(cpu: Cpu, space: 0 | 1): void;
  /** A page-table entry has changed. */
  entryChanged(address: number): void;
  /** The entries that lead towards an address in the vCPU's present tables, up to what is missing. */
  entries(
    cpu: Cpu,
    address: VirtAddr,
  ): ReadonlyArray<{ readonly address: PhysAddr; readonly level: number; readonly value: bigint }>;
}

/**
 * One hypercall. Way H: by itself; I: iret; M: an entry of a multicall, told before the multicall's own H; P: a part of a call that
 * goes on as another step. The result of such a part, also of an M that was not finished, is its own number.
 */
export interface HypercallEvent {
  readonly kind: 'hypercall';
  readonly way: 'H' | 'I' | 'M' | 'P';
  readonly vcpu: number;
  /** Behind the SYSCALL. */
  readonly rip: VirtAddr;
  readonly op: number;
  readonly args: readonly bigint[];
  /** Null where the call set the registers itself (iret) or ended the run. */
  readonly ret: number | bigint | null;
  /** The arguments with which an unfinished call goes on, null where there is nothing left of it. */
  readonly left: readonly bigint[] | null;
}

/** An exception enters the guest kernel; `rip` is where it happened. */
export interface TrapEvent {
  readonly kind: 'trap';
  readonly vcpu: number;
  readonly rip: VirtAddr;
  readonly vector: number;
  readonly error: number;
  readonly address: bigint;
}
/** What a watcher of the run sees; watching never changes the run. */
export type XenEvent =
  | HypercallEvent
  | TrapEvent
  /** The event callback is entered from `rip`. */
  | { readonly kind: 'upcall'; readonly vcpu: number; readonly rip: VirtAddr }
  /** A line of Xen's console. */
  | { readonly kind: 'log'; readonly line: string }
  /** A vCPU uses other page tables from now on. */
  | { readonly kind: 'tables'; readonly vcpu: number }
  /** A frame's type, validation or pin changes. */
  | { readonly kind: 'type'; readonly frame: MachineFrame };

const SYSCALL_BYTES = 2;
const POLL_TICKS = 1 << 16;

const domainState = struct({
  /** VMASST_TYPE bits. */
  assists: u64,
  /** First reason given for a shutdown, null while there is none. */
  shutdownCode: optional(u32),
  /** Frames of the grant table in use. */
  grantFrames: u32,
  /** Page for PHYSDEVOP_pirq_eoi_gmfn, 0 = none. */
  pirqEoiFrame: integer,
  /** Watchdog deadlines in ns, null = free. */
  watchdogs: list(optional(integer)),
});
export type DomainState = Infer<typeof domainState>;

/** The PV core's part of the machine state; memory management and devices add their own sections. */
export const pvState = struct({
  domain: domainState,
  vcpus: list(vcpuState),
  events: eventState,
});

/** Where the builder put what the core needs to find. */
export interface PvPlaces {
  /** Machine address of shared_info. */
  readonly sharedInfo: number;
  readonly grantFrames: readonly number[];
}

/** A device behind an event channel: its back end has mapped the page that it shares with the guest. */
export interface Backend {
  readonly device: Device;
  readonly frame: MachineFrame;
  readonly port: number;
}

/** What console_io writes to and reads from. */
export interface CallConsole {
  output(bytes: Uint8Array): void;
  /** Up to `count` bytes that were typed; they wait until they are dropped. */
  peekInput(count: number): Uint8Array;
  dropInput(count: number): void;
}

export class XenPv implements Platform, EventHost {
  readonly domainId = 1;
  readonly memory: GuestMemory;
  readonly mmu: PvMmu;
  readonly guest: GuestAccess;
  /** What hypercalls and deliveries have cost. */
  readonly work: WorkMeter;
  readonly clock: Clock;
  readonly mm: MemoryManager<Cpu>;
  /** Which CPU the domain sees. */
  readonly policy: CpuPolicy;
  readonly places: PvPlaces;
  readonly events: Events;
  /** By ascending port; served in this order. */
  readonly backends: readonly Backend[];
  readonly callConsole: CallConsole;
  readonly #devices: readonly Device[];
  vcpus: VcpuState[];
  domain: DomainState = { assists: 0n, shutdownCode: null, grantFrames: 1, pirqEoiFrame: 0, watchdogs: [null, null] };
  readonly stream = new EventStream<XenEvent>();
  /** The guest changes what makes an upcall deliverable by plain writes, which Xen sees at its next entry: here every 65.5 us. */
  readonly pollTicks = POLL_TICKS;
  /** State sections of the whole hypervisor, put together by the wiring. */
  sections: readonly StateSection[] = [];
  /** The end of the run, once something outside an instruction decided it. */
  ended: Stop | null = null;
  /** The vCPUs' processors, once the engine has made them. */
  cpus: readonly Cpu[] = [];

  constructor(options: {
    memory: GuestMemory;
    mmu: PvMmu;
    clock: Clock;
    vcpus: number;
    policy: CpuPolicy;
    places: PvPlaces;
    domain: Domain;
    backends: readonly Backend[];
    callConsole: CallConsole;
  }) {
    this.memory = options.memory;
    this.mmu = options.mmu;
    this.work = options.domain.work;
    this.guest = new GuestAccess(options.memory, options.mmu, this.work);
    this.clock = options.clock;
    this.policy = options.policy;
    this.places = options.places;
    const { at } = AMD64.sharedInfo;
    this.vcpus = Array.from({ length: options.vcpus }, (_, i) =>
      newVcpuState(this.sharedInfo + at.vcpu_info + i * AMD64.vcpuInfo.bytes),
    );
    this.events = new Events(this);
    this.backends = options.backends.toSorted((a, b) => a.port - b.port);
    this.#devices = this.backends.map(({ device }) => device);
    this.callConsole = options.callConsole;
    this.mm = new MemoryManager(this, options.domain);
    options.domain.log = (line) => {
      this.work.line();
      if (this.stream.wants('log')) this.stream.tell({ kind: 'log', line });
    };
    options.domain.frames.onTypeChange = (frame) => {
      if (this.stream.wants('type')) this.stream.tell({ kind: 'type', frame });
    };
    for (const { frame, port } of this.backends) {
      assert(
        this.events.allocUnbound(this.domainId, 0) === port,
        'the builder and the event channels disagree on ports',
      );
      this.events.connectBackend(port);
      // back ends map their rings before the guest runs, and for good (0030)
      assert(this.mm.takeWritable(frame), 'a ring is no writable page');
    }
  }

  /** Points every vCPU's MMU at its tables again. */
  restored(): void {
    for (const cpu of this.cpus) this.loadTables(cpu);
  }

  /** Tells the platform its processors, once the engine has made them. */
  attach(cpus: readonly Cpu[]): void {
    this.cpus = cpus;
  }

  // ---- state --------------------------------------------------------------------------------------------------------

  get state(): Infer<typeof pvState> {
    return { domain: this.domain, vcpus: this.vcpus, events: this.events.state };
  }
  set state(value: Infer<typeof pvState>) {
    this.domain = value.domain;
    this.vcpus = value.vcpus;
    this.events.state = value.events;
    this.ended = null;
  }
  hasAssist(type: number): boolean {
    const { assists } = this.domain;
    return (((type < 32 ? lowWord(assists) : highWord(assists)) >>> (type & 31)) & 1) !== 0;
  }

  get vendor(): Vendor {
    return POLICIES[this.policy].vendor;
  }
  get sharedInfo(): PhysAddr {
    return this.places.sharedInfo;
  }

  // ---- watching -----------------------------------------------------------------------------------------------------

  /** A line of Xen's own console. */
  log(line: string): void {
    this.work.line();
    if (this.stream.wants('log')) this.stream.tell({ kind: 'log', line: `(XEN) ${line}` });
  }
  /** Tells of a hypercall that came from before `rip`; a result that ended the run is null. */
  traceHypercall(
    vcpu: number,
    rip: VirtAddr,
    way: HypercallEvent['way'],
    op: number,
    args: readonly bigint[],
    result: CallResult,
  ): void {
    if (!this.stream.wants('hypercall')) return;
    const left = isContinuation(result) ? args.map((value, i) => result.goesOnWith[i] ?? value) : null;
    const ret = isStop(result) ? null : isContinuation(result) ? op : result;
    this.stream.tell({ kind: 'hypercall', way, vcpu, rip, op, args, ret, left });
  }

  // ---- the platform seam --------------------------------------------------------------------------------------------

  deliver(cpu: Cpu, kind: EventKind, event: Fault, insn: Insn | null): Outcome {
    this.work.call();
    return deliver(this, cpu, kind, event, insn);
  }
  wantsInstruction(cpu: Cpu, event: Fault): boolean {
    return mayEmulate(this, cpu, event);
  }
  syscall(cpu: Cpu, insn: Insn): Outcome {
    return syscall(this, cpu, insn);
  }
  sysenter(cpu: Cpu): Outcome {
    return sysenter(this, cpu);
  }
  /** A hypercall of the guest kernel: number in EAX, arguments in RDI RSI RDX R10 R8 R9, result in RAX (D-01, D-05). */
  hypercall(cpu: Cpu): Outcome {
    const number = cpu.gpr32(GPR.rax);
    const told = this.stream.wants('hypercall') ? { rip: cpu.rip, args: new Call(this, cpu, null).args } : null;
    const call = new Call(this, cpu, told === null ? null : told.args);
    this.work.begin();
    const handler = hypercallHandler(number);
    const result = handler === undefined ? -ERRNO.ENOSYS : handler(call);
    const way = isContinuation(result) ? 'P' : number === HYPERCALL.iret ? 'I' : 'H';
    if (told !== null) this.traceHypercall(cpu.id, told.rip, way, number, told.args, result);
    if (isStop(result)) return result;
    if (isContinuation(result)) return this.#goOn(cpu, number, result);
    if (typeof result === 'number') cpu.setGprSigned(GPR.rax, result);
    else if (result !== null) cpu.setGpr(GPR.rax, result);
    return this.ended;
  }
  /** Leaves the guest before the SYSCALL, which then carries on; RCX as SYSRET sets it there. */
  #goOn(cpu: Cpu, number: number, { goesOnWith }: Continuation): Outcome {
    cpu.setGpr32(GPR.rax, number);
    goesOnWith.forEach((value, i) => {
      cpu.setGpr(ARGUMENTS[i]!, value);
    });
    cpu.rip = plus(cpu.rip, -SYSCALL_BYTES);
    cpu.setGpr(GPR.rcx, cpu.rip);
    return this.ended;
  }
  descriptor(cpu: Cpu, selector: number): bigint | Fault {
    return readDescriptor(this, cpu, selector);
  }
  writeDescriptor(cpu: Cpu, selector: number, descriptor: bigint): Outcome {
    return writeDescriptor(this, cpu, selector, descriptor);
  }
  cpuid(_cpu: Cpu, leaf: number, subleaf: number): readonly [number, number, number, number] {
    this.work.answer();
    return pvCpuid({ policy: this.policy, vcpus: this.vcpus.length, tscKhz: this.clock.tscKhz }, leaf, subleaf);
  }
  now(cpu: Cpu | null): number {
    return this.clock.now(cpu);
  }
  tsc(cpu: Cpu): number | bigint {
    this.work.answer();
    return tscAt(this.clock.now(cpu), this.clock.tscKhz);
  }
  // A PV guest never runs at CPL 0: the privileged instructions fault and are emulated in traps.ts.
  readMsr(): bigint | Fault {
    return fault(VECTOR.gp, 0);
  }
  writeMsr(): Outcome {
    return fault(VECTOR.gp, 0);
  }
  portIn(_cpu: Cpu, _port: number, width: number): number {
    return 2 ** (8 * width) - 1;
  }
  portOut(): Outcome {
    return null;
  }
  controlWritten(): Outcome {
    return null;
  }
  halt(): Outcome {
    return fault(VECTOR.gp, 0);
  }

  // ---- page tables --------------------------------------------------------------------------------------------------

  /** Points the MMU at the tables of the current mode. */
  loadTables(cpu: Cpu): void {
    const v = this.vcpus[cpu.id]!;
    const table: MachineFrame = v.kernelMode ? v.kernelTable : v.userTable;
    cpu.set('cr3', BigInt(table) << 12n);
    this.mmu.selectSpace(cpu, v.kernelMode ? 0 : 1);
    if (this.stream.wants('tables')) this.stream.tell({ kind: 'tables', vcpu: cpu.id });
  }
  /** Runs `action` with the kernel's page tables, whatever the mode (toggle_guest_pt). */
  inKernelMode<T>(cpu: Cpu, action: () => T): T {
    const v = this.vcpus[cpu.id]!;
    if (v.kernelMode) return action();
    v.kernelMode = true;
    this.loadTables(cpu);
    const result = action();
    v.kernelMode = false;
    this.loadTables(cpu);
    return result;
  }

  // ---- events and scheduling ----------------------------------------------------------------------------------------

  notifyBackend(port: number): void {
    this.backends.find((backend) => backend.port === port)?.device.service();
  }
  /** Lets the back ends look at their rings: polled drivers work without events (D-52). */
  serviceBackends(): void {
    for (const { device } of this.backends) device.service();
  }
  wake(vcpu: number): void {
    wake(this, vcpu);
  }
  wakePollers(port: number): void {
    wakePollers(this, port);
  }
  runnable(vcpu: number): boolean {
    return isRunnable(this.vcpus[vcpu]!);
  }
  /** The next moment (ns) at which time does something, Infinity when never. */
  nextDeadlineNs(): number {
    return nextDeadline(this);
  }
  expire(now: number): string[] {
    this.work.call();
    return expire(this, now);
  }
  /** An upcall is due. */
  hasPending(cpu: Cpu): boolean {
    return this.runnable(cpu.id) && deliverable(this, cpu.id);
  }
  /** Enters the event callback when an upcall is due: null when nothing was, else the outcome of one step. */
  deliverPending(cpu: Cpu): { outcome: Outcome } | null {
    if (!this.hasPending(cpu)) return null;
    this.work.call();
    if (this.stream.wants('upcall')) this.stream.tell({ kind: 'upcall', vcpu: cpu.id, rip: cpu.rip });
    const { address } = this.vcpus[cpu.id]!.eventCallback;
    return { outcome: createBounceFrame(this, cpu, { address, error: null, maskEvents: true }) };
  }
  /** The turn has passed from one vCPU to another. */
  switched(from: Cpu, to: Cpu): void {
    switchVcpus(this, from.id, to.id);
    this.loadTables(to);
  }
  input(device: string, data: Uint8Array): void {
    giveInput(this.#devices, device, data);
  }
}
