/**
 * The Xen PV platform: the root of the hypervisor's state and the implementation of the CPU's platform seam.
 *
 * Invariants:
 * - the guest, kernel and user, runs at CPL 3; `kernelMode` of its vCPU tells them apart;
 * - everything asynchronous reaches the guest through {@link XenPv.expire} and {@link XenPv.deliverPending}, which the machine calls
 *   at the delivery points of the determinism contract;
 * - hypercalls are atomic (D-06): none is ever restarted.
 */
import { type Infer, integer, list, struct, u32, u64 } from '../../core/schema.ts';
import { frameOf, type GuestMemory } from '../../memory/guest-memory.ts';
import type { Cpu } from '../../x86/cpu.ts';
import type { Insn } from '../../x86/form.ts';
import {
  type EventKind,
  type Fault,
  fault,
  isStop,
  type Outcome,
  type Platform,
  type Stop,
  stop,
} from '../../x86/seam.ts';
import { GPR, VECTOR } from '../../x86/state.ts';
import { ERRNO } from '../abi/errno.ts';
import { Console, consoleState } from '../console.ts';
import type { Domain } from '../domain.ts';
import { makeCall } from '../hypercalls/call.ts';
import { hypercallRow } from '../hypercalls/table.ts';
import { MemoryManager } from '../mm/memory-manager.ts';
import { XenStore, xenStoreState } from '../xenstore/xenstore.ts';
import { createBounceFrame } from './bounce.ts';
import { pvCpuid } from './cpuid.ts';
import { type EventHost, Events, eventState, VCPU_INFO, VIRQ } from './events.ts';
import { GuestAccess, type Translator } from './guest-access.ts';
import { emulateTableWrite } from './memory-manager.ts';
import { FIRST_RESERVED_GDT_ENTRY, FLAT_DESCRIPTORS } from './selectors.ts';
import { EPOCH_NS, nextDeadline, tscAt, writeTimeRecord } from './time.ts';
import { deliver, PF, syscall } from './traps.ts';
import { newVcpuState, RUNSTATE, type VcpuState, vcpuState } from './vcpu.ts';

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
  flushAll(cpu: Cpu): void;
  flushPage(cpu: Cpu, address: bigint): void;
  /** A page-table entry has changed. */
  entryChanged(address: number): void;
}

/** What a watcher of the run sees; watching never changes the run. */
export interface PvObserver {
  hypercall?(event: {
    kind: 'H' | 'I' | 'M';
    vcpu: number;
    rip: bigint;
    op: number;
    args: readonly bigint[];
    ret: number | bigint | null;
  }): void;
  trap?(event: { vcpu: number; rip: bigint; vector: number; error: number; address: bigint }): void;
  upcall?(event: { vcpu: number; rip: bigint }): void;
  log?(line: string): void;
}

const domainState = struct({
  assists: u64,
  shutdownCode: u32,
  grantFrames: u32,
  /** Page for PHYSDEVOP_pirq_eoi_gmfn, 0 = none. */
  pirqEoiFrame: integer,
  /** Watchdog deadlines in ns, 0 = free. */
  watchdogs: list(integer),
});
type DomainState = Infer<typeof domainState>;

/** The PV core's part of the machine state; memory management adds its own sections. */
export const pvState = struct({
  domain: domainState,
  vcpus: list(vcpuState),
  events: eventState,
  console: consoleState,
  xenstore: xenStoreState,
});

/** Where the builder put what the core needs to find. */
export interface PvPlaces {
  /** Machine address of shared_info. */
  readonly sharedInfo: number;
  readonly grantFrames: readonly number[];
  readonly console: { readonly frame: number; readonly port: number };
  readonly xenstore: { readonly frame: number; readonly port: number };
}

export class XenPv implements Platform, EventHost {
  readonly domainId = 1;
  readonly memory: GuestMemory;
  readonly mmu: PvMmu;
  readonly guest: GuestAccess;
  readonly clock: Clock;
  readonly mm: MemoryManager<Cpu>;
  readonly sharedInfo: number;
  readonly grantFrameList: readonly number[];
  readonly events: Events;
  readonly console: Console;
  readonly xenstore: XenStore;
  vcpus: VcpuState[];
  domain: DomainState = { assists: 0n, shutdownCode: 0, grantFrames: 1, pirqEoiFrame: 0, watchdogs: [0, 0] };
  observer: PvObserver = {};
  /** State sections of the whole hypervisor, put together by the wiring. */
  sections: ReadonlyArray<{ readonly name: string; encode(): Uint8Array; decode(bytes: Uint8Array): void }> = [];
  /** The end of the run, once something outside an instruction decided it. */
  ended: Stop | null = null;
  /** The vCPUs' processors, once the engine has made them. */
  cpus: readonly Cpu[] = [];

  constructor(options: {
    memory: GuestMemory;
    mmu: PvMmu;
    clock: Clock;
    vcpus: number;
    places: PvPlaces;
    domain: Domain;
  }) {
    this.memory = options.memory;
    this.mmu = options.mmu;
    this.guest = new GuestAccess(options.memory, options.mmu);
    this.clock = options.clock;
    this.sharedInfo = options.places.sharedInfo;
    this.grantFrameList = options.places.grantFrames;
    this.vcpus = Array.from({ length: options.vcpus }, (_, i) => newVcpuState(this.sharedInfo + i * 64));
    this.events = new Events(this);
    this.console = new Console(options.memory, (port) => this.events.setPending(port));
    this.xenstore = new XenStore(options.memory, (port) => this.events.setPending(port));
    this.mm = new MemoryManager(this, options.domain);
    options.domain.log = (line) => this.observer.log?.(line);
    for (const place of [options.places.xenstore, options.places.console]) {
      const port = this.events.allocUnbound(this.domainId, 0);
      if (port !== place.port) throw new RangeError('the builder and the event channels disagree on ports');
      this.events.connectBackend(port);
    }
    this.console.state.frame = options.places.console.frame;
    this.console.state.port = options.places.console.port;
    this.xenstore.attach(options.places.xenstore.frame, options.places.xenstore.port);
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
    return {
      domain: this.domain,
      vcpus: this.vcpus,
      events: this.events.state,
      console: this.console.state,
      xenstore: this.xenstore.state,
    };
  }
  set state(value: Infer<typeof pvState>) {
    this.domain = value.domain;
    this.vcpus = value.vcpus;
    this.events.state = value.events;
    this.console.state = value.console;
    this.xenstore.state = value.xenstore;
    this.ended = null;
  }
  hasAssist(type: number): boolean {
    return ((this.domain.assists >> BigInt(type)) & 1n) !== 0n;
  }

  // ---- messages -----------------------------------------------------------------------------------------------------

  /** A line of Xen's own console. */
  log(line: string): void {
    this.observer.log?.(`(XEN) ${line}`);
  }
  trace(_kind: 'trap', event: { vector: number; error: number; address: bigint }): void {
    const cpu = this.cpus[0];
    if (this.observer.trap && cpu) this.observer.trap({ vcpu: cpu.id, rip: cpu.rip, ...event });
  }
  traceHypercall(
    cpu: Cpu,
    kind: 'H' | 'I' | 'M',
    op: number,
    args: readonly bigint[],
    ret: number | bigint | null,
  ): void {
    this.observer.hypercall?.({ kind, vcpu: cpu.id, rip: cpu.rip, op, args, ret });
  }
  /** domain_crash: the register dump in Xen's words, and the end of the run. */
  crash(cpu: Cpu, where: string, address?: bigint): Stop {
    const h = (v: bigint, width = 16): string => v.toString(16).padStart(width, '0');
    if (address !== undefined) this.logPageWalk(cpu, address);
    this.log(`domain_crash_sync called from entry.S: ${where}`);
    this.log(`Domain ${this.domainId} (vcpu#${cpu.id}) crashed on cpu#0:`);
    this.log(`RIP:    ${h(BigInt(cpu.selector('cs') | 3), 4)}:[<${h(cpu.rip)}>]`);
    this.log(
      `RFLAGS: ${h(BigInt(cpu.rflags))}   EM: ${this.vcpus[cpu.id]!.kernelMode ? 1 : 0}   CONTEXT: pv guest (d${this.domainId}v${cpu.id})`,
    );
    const g = (name: keyof typeof GPR): string => `${name}: ${h(cpu.gpr(GPR[name]))}`;
    for (const row of [
      ['rax', 'rbx', 'rcx'],
      ['rdx', 'rsi', 'rdi'],
      ['rbp', 'rsp', 'r8'],
      ['r9', 'r10', 'r11'],
      ['r12', 'r13', 'r14'],
      ['r15'],
    ] as const)
      this.log(row.map((name) => g(name)).join('   '));
    return stop('crash', `domain_crash: ${where}`);
  }
  /** show_page_walk: the table entries that translate `address`. */
  logPageWalk(cpu: Cpu, address: bigint): void {
    const v = this.vcpus[cpu.id]!;
    this.log(`Pagetable walk from ${address.toString(16).padStart(16, '0')}:`);
    let table = v.kernelMode ? v.kernelTable : v.userTable;
    for (let level = 4; level >= 1; level--) {
      const index = Number((address >> BigInt(3 + 9 * level)) & 511n);
      if (!this.memory.hasFrame(table)) return;
      const entry = this.memory.read64(table * 4096 + index * 8);
      this.log(` L${level}[0x${index.toString(16).padStart(3, '0')}] = ${entry.toString(16).padStart(16, '0')}`);
      if ((entry & 1n) === 0n) return;
      table = Number((entry >> 12n) & 0xffffffffffn);
    }
  }

  // ---- the platform seam --------------------------------------------------------------------------------------------

  deliver(cpu: Cpu, kind: EventKind, event: Fault, insn: Insn | null): Outcome {
    return deliver(this, cpu, kind, event, insn);
  }
  syscall(cpu: Cpu, insn: Insn): Outcome {
    return syscall(this, cpu, insn);
  }
  hypercall(cpu: Cpu): Outcome {
    const number = Number(cpu.gpr(GPR.rax) & 0xffffffffn);
    const args = [GPR.rdi, GPR.rsi, GPR.rdx, GPR.r10, GPR.r8, GPR.r9].map((r) => cpu.gpr(r));
    const row = hypercallRow(number);
    const result = row === undefined ? -ERRNO.ENOSYS : row.run(makeCall(this, cpu, args));
    if (isStop(result)) {
      this.traceHypercall(cpu, 'H', number, args, null);
      return result;
    }
    this.traceHypercall(cpu, number === 23 ? 'I' : 'H', number, args, result);
    if (result !== null) cpu.setGpr(GPR.rax, BigInt(result));
    return this.ended;
  }
  descriptor(cpu: Cpu, selector: number): bigint | Fault {
    const v = this.vcpus[cpu.id]!;
    const index = selector >> 3;
    const gp = fault(VECTOR.gp, selector & 0xfffc);
    if (selector & 4) {
      if (index >= v.ldtEntries) return gp;
      return cpu.memory.load(cpu, v.ldtBase + BigInt(index * 8), 8);
    }
    if (index >= FIRST_RESERVED_GDT_ENTRY) return FLAT_DESCRIPTORS.get(selector & ~7) ?? gp;
    if (index >= v.gdtEntries) return gp;
    return this.memory.read64(v.gdtFrames[index >> 9]! * 4096 + (index & 511) * 8);
  }
  writeDescriptor(cpu: Cpu, selector: number, descriptor: bigint): Outcome {
    const v = this.vcpus[cpu.id]!;
    const index = selector >> 3;
    if (selector & 4) return cpu.memory.store(cpu, v.ldtBase + BigInt(index * 8), 8, descriptor, { supervisor: true });
    if (index < v.gdtEntries) this.memory.write64(v.gdtFrames[index >> 9]! * 4096 + (index & 511) * 8, descriptor);
    return null;
  }
  cpuid(cpu: Cpu, leaf: number, subleaf: number): readonly [number, number, number, number] {
    return pvCpuid({ vcpu: cpu.id, vcpus: this.vcpus.length, tscKhz: this.clock.tscKhz }, leaf, subleaf);
  }
  now(cpu: Cpu | null): number {
    return this.clock.now(cpu);
  }
  tsc(cpu: Cpu): bigint {
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

  // ---- memory and registers -----------------------------------------------------------------------------------------

  /** Points the MMU at the tables of the current mode. */
  loadTables(cpu: Cpu): void {
    const v = this.vcpus[cpu.id]!;
    cpu.set('cr3', BigInt(v.kernelMode ? v.kernelTable : v.userTable) << 12n);
    this.mmu.selectSpace(cpu, v.kernelMode ? 0 : 1);
  }
  newBasePointer(cpu: Cpu, frame: number): number {
    return this.mm.newBasePointer(cpu, frame);
  }
  /** Page faults that are Xen's own business; 'no' when the guest gets them. */
  fixPageFault(cpu: Cpu, event: Fault, insn: Insn | null): Outcome | 'no' {
    const v = this.vcpus[cpu.id]!;
    const write = PF.present | PF.write;
    if (v.kernelMode && (event.error & (write | PF.fetch | PF.reserved)) === write)
      return emulateTableWrite(this.mm, cpu, event, insn);
    return 'no';
  }
  setTaskSwitched(cpu: Cpu, on: boolean): void {
    this.vcpus[cpu.id]!.taskSwitched = on;
    const cr0 = cpu.get('cr0');
    cpu.set('cr0', on ? cr0 | 8n : cr0 & ~8n);
  }
  debugRegister(cpu: Cpu, register: number): bigint {
    const { debug } = this.vcpus[cpu.id]!;
    if (register === 4 || register === 6) return debug[6]! | 0xffff0ff0n;
    if (register === 5 || register === 7) return debug[7]! | 0x400n;
    return debug[register]!;
  }
  /** set_debugreg: 0 or a negative errno. */
  setDebugRegister(cpu: Cpu, register: number, value: bigint): number {
    const v = this.vcpus[cpu.id]!;
    const de = (v.cr4 & 8n) !== 0n;
    if (register <= 3) {
      if (value >= 0xffff800000000000n && value < 0xffff880000000000n) return -ERRNO.EPERM;
      v.debug[register] = value;
      return 0;
    }
    if (register > 7 || ((register === 4 || register === 5) && de)) return -ERRNO.ENODEV;
    if (value >> 32n) return -ERRNO.EINVAL;
    if (register === 4 || register === 6) {
      v.debug[6] = (value & ~0x1000n) | 0xffff0ff0n;
      return 0;
    }
    const GD = 0x2000n;
    const control = (value & ~0xd800n) | 0x400n;
    if (value & GD) return -ERRNO.EPERM;
    for (let at = 16n; control & 0xffn && at < 32n; at += 4n)
      if (((control >> at) & 3n) === 2n && !de) return -ERRNO.EPERM;
    v.debug[7] = control;
    return 0;
  }
  setPirqEoiFrame(frame: number): number {
    if (this.domain.pirqEoiFrame !== 0) return -ERRNO.EBUSY;
    if (!this.mm.takeWritable(frame)) return -ERRNO.EINVAL;
    this.domain.pirqEoiFrame = frame;
    return 0;
  }
  /** map_vcpu_info: 0 or a negative errno. */
  registerVcpuInfo(id: number, frame: number, offset: number): number {
    const v = this.vcpus[id]!;
    if (offset > 4096 - 64 || v.infoRegistered) return -ERRNO.EINVAL;
    if (!this.mm.takeWritable(frame)) return -ERRNO.EINVAL;
    const address = frame * 4096 + offset;
    this.memory.writeBytes(address, this.memory.readBytes(v.infoAddress, 64));
    v.infoAddress = address;
    v.infoRegistered = true;
    // Everything counts as pending: the guest may have missed edges meanwhile.
    this.memory.write8(address + VCPU_INFO.pending, 1);
    this.memory.write64(address + VCPU_INFO.sel, 0xffffffffffffffffn);
    return 0;
  }

  // ---- events and scheduling ----------------------------------------------------------------------------------------

  notifyBackend(port: number): void {
    if (port === this.console.state.port) this.console.service();
    else if (port === this.xenstore.state.port) this.xenstore.service();
  }
  wake(vcpu: number): void {
    const v = this.vcpus[vcpu]!;
    if (v.blocked && this.eventsDeliverable(vcpu)) this.#unblock(vcpu);
    else if (v.polling !== null && this.eventsDeliverable(vcpu)) this.#endPoll(vcpu);
  }
  pollersOf(port: number): void {
    for (const [id, v] of this.vcpus.entries())
      if (v.polling !== null && (v.polling.length === 0 || v.polling.includes(port))) this.#endPoll(id);
  }
  /** An upcall would be taken now: pending and not masked. */
  eventsDeliverable(vcpu: number): boolean {
    const at = this.vcpus[vcpu]!.infoAddress;
    return this.memory.read8(at + VCPU_INFO.pending) !== 0 && this.memory.read8(at + VCPU_INFO.mask) === 0;
  }
  yielded(_cpu: Cpu): void {
    this.#serviceBackends();
  }
  /** SCHEDOP_block: unmask and sleep unless an event is deliverable. */
  block(cpu: Cpu): void {
    const v = this.vcpus[cpu.id]!;
    this.memory.write8(v.infoAddress + VCPU_INFO.mask, 0);
    this.#serviceBackends();
    if (this.eventsDeliverable(cpu.id)) return;
    v.blocked = true;
    this.#setRunstate(cpu.id, RUNSTATE.blocked);
  }
  startPoll(cpu: Cpu, ports: number[], timeout: number | null): void {
    const v = this.vcpus[cpu.id]!;
    v.polling = ports;
    v.pollTimeout = timeout;
    this.#serviceBackends();
    if (v.polling !== null && ports.some((port) => this.events.isPending(port))) this.#endPoll(cpu.id);
    if (v.polling !== null) this.#setRunstate(cpu.id, RUNSTATE.blocked);
  }
  #serviceBackends(): void {
    this.console.service();
    this.xenstore.service();
  }
  #unblock(vcpu: number): void {
    this.vcpus[vcpu]!.blocked = false;
    this.#setRunstate(vcpu, RUNSTATE.running);
  }
  #endPoll(vcpu: number): void {
    const v = this.vcpus[vcpu]!;
    v.polling = null;
    v.pollTimeout = null;
    if (v.runstate.state !== RUNSTATE.running) this.#setRunstate(vcpu, RUNSTATE.running);
  }
  watchdog(cpu: Cpu, id: number, seconds: number): number {
    const { watchdogs } = this.domain;
    if (id > watchdogs.length) return -ERRNO.EINVAL;
    if (id === 0) {
      if (seconds === 0) return -ERRNO.EINVAL;
      const free = watchdogs.indexOf(0);
      if (free < 0) return -ERRNO.ENOSPC;
      watchdogs[free] = this.now(cpu) + seconds * 1e9;
      return free + 1;
    }
    if (watchdogs[id - 1] === 0) return -ERRNO.EINVAL;
    watchdogs[id - 1] = seconds === 0 ? 0 : this.now(cpu) + seconds * 1e9;
    return 0;
  }
  runnable(vcpu: number): boolean {
    const v = this.vcpus[vcpu]!;
    return !v.down && !v.blocked && v.polling === null;
  }
  #setRunstate(vcpu: number, state: number): void {
    const { runstate, timeRefresh } = this.vcpus[vcpu]!;
    const now = this.now(null);
    runstate.time[runstate.state] = runstate.time[runstate.state]! + (now - runstate.entryTime);
    runstate.state = state;
    runstate.entryTime = now;
    const cpu = this.cpus[vcpu];
    if (cpu) this.writeRunstate(cpu, vcpu);
    if (state === RUNSTATE.running && now >= timeRefresh - EPOCH_NS) this.refreshTime(vcpu);
  }
  /** struct vcpu_runstate_info as of now. */
  runstateBytes(vcpu: number): Uint8Array {
    const { runstate } = this.vcpus[vcpu]!;
    const bytes = new Uint8Array(48);
    const view = new DataView(bytes.buffer);
    const elapsed = this.now(null) - runstate.entryTime;
    view.setInt32(0, runstate.state, true);
    view.setBigUint64(8, BigInt(runstate.entryTime), true);
    runstate.time.forEach((t, i) => {
      view.setBigUint64(16 + i * 8, BigInt(i === runstate.state ? t + elapsed : t), true);
    });
    return bytes;
  }
  /** Updates the guest's runstate area; a page that is not mapped is left alone. */
  writeRunstate(cpu: Cpu, vcpu: number): void {
    const v = this.vcpus[vcpu]!;
    if (v.runstateArea !== 0n && v.kernelMode) this.guest.write(cpu, v.runstateArea, this.runstateBytes(vcpu));
  }
  refreshTime(vcpu: number): void {
    const v = this.vcpus[vcpu]!;
    const now = this.now(null);
    writeTimeRecord(this.memory, v.infoAddress, now, this.clock.tscKhz);
    v.timeRefresh = now + EPOCH_NS;
  }
  timerEvent(vcpu: number): void {
    this.events.raiseVirq(VIRQ.timer, vcpu);
  }

  /** The next moment (ns) at which time does something, Infinity when never. */
  nextDeadlineNs(): number {
    let at = Math.min(...this.vcpus.map(nextDeadline));
    for (const watchdog of this.domain.watchdogs) if (watchdog > 0) at = Math.min(at, watchdog);
    return at;
  }
  /** Applies every expiry due at `now`, in the order of vCPUs and of the list below. Returns the kinds, for the journal. */
  expire(now: number): string[] {
    const fired: string[] = [];
    for (const [id, v] of this.vcpus.entries()) {
      if (v.singleshot !== null && v.singleshot <= now) {
        v.singleshot = null;
        this.timerEvent(id);
        fired.push(`singleshot:${id}`);
      }
      if (v.periodicPeriod > 0 && v.periodicNext <= now) {
        v.periodicNext += v.periodicPeriod * (1 + Math.floor((now - v.periodicNext) / v.periodicPeriod));
        this.timerEvent(id);
        fired.push(`periodic:${id}`);
      }
      if (v.pollTimeout !== null && v.pollTimeout <= now) {
        this.#endPoll(id);
        fired.push(`poll:${id}`);
      }
      if (this.runnable(id) && v.timeRefresh <= now) {
        this.refreshTime(id);
        fired.push(`time:${id}`);
      }
    }
    if (this.domain.watchdogs.some((at) => at > 0 && at <= now)) {
      this.log(`Watchdog timer fired for domain ${this.domainId}`);
      this.ended = stop('crash', "the guest's watchdog fired");
      fired.push('watchdog');
    }
    return fired;
  }
  /** Enters the event callback when an upcall is due: null when nothing was, else the outcome of one step. */
  deliverPending(cpu: Cpu): { outcome: Outcome } | null {
    const v = this.vcpus[cpu.id]!;
    if (!this.runnable(cpu.id) || !this.eventsDeliverable(cpu.id)) return null;
    this.observer.upcall?.({ vcpu: cpu.id, rip: cpu.rip });
    return {
      outcome: createBounceFrame(this, cpu, { address: v.eventCallback.address, error: null, maskEvents: true }),
    };
  }
  /** Bytes typed at the console arrive. */
  typed(bytes: Uint8Array): void {
    this.console.type(bytes);
  }
  /** Machine frame of an address, for reports. */
  frameOf(address: number): number {
    return frameOf(address);
  }
}
