/**
 * A vCPU that runs ahead of the machine without touching it: a copy of its registers, memory of its own ({@link ShadowMemory}),
 * instructions through the evaluator, and what Xen does by Xen's own code on that memory. It follows what is plain: instructions in
 * memory that may be reached, RDTSC, the hypercalls that yield, write to the console, set a timer or tell of an event, the entry of an upcall and both
 * ways back. Everything else ends it. For looking at what a loop does, a few thousand steps at a time.
 */

import { EventStream } from '../../../core/event-stream.ts';
import { PAGE_SIZE } from '../../../core/units.ts';
import { plus } from '../../../core/words.ts';
import { type Environment, evaluate } from '../../../ir/evaluate.ts';
import { hasBreakpoints } from '../../../x86/code-key.ts';
import { Cpu } from '../../../x86/cpu.ts';
import { environmentOf } from '../../../x86/emulate.ts';
import type { Insn } from '../../../x86/form.ts';
import { type Fault, fault, type Outcome } from '../../../x86/seam.ts';
import { programOf } from '../../../x86/semantics/registry.ts';
import { FLAG, GPR, STATE, STATE_BYTES, VECTOR } from '../../../x86/state.ts';
import { executeSystem } from '../../../x86/system/execute.ts';
import { CONSOLEIO, EVTCHNOP, HYPERCALL, SCHEDOP, VCPUOP, XENVER } from '../../../xen/abi/numbers.ts';
import { AMD64 } from '../../../xen/abi/structures.ts';
import { createBounceFrame } from '../../../xen/pv/bounce.ts';
import { Events } from '../../../xen/pv/events.ts';
import { GuestAccess } from '../../../xen/pv/guest-access.ts';
import type { XenEvent, XenPv } from '../../../xen/pv/pv.ts';
import { raiseTimer } from '../../../xen/pv/timers.ts';
import { inject, syscall } from '../../../xen/pv/traps.ts';
import { WorkMeter } from '../../../xen/work.ts';
import type { Machine } from '../../machine.ts';
import { xenOf } from '../xen-of.ts';
import { ShadowMemory } from './shadow-memory.ts';
import type { Taint } from './taint.ts';

const ARGUMENTS = [GPR.rdi, GPR.rsi, GPR.rdx];
const SYSCALL_BYTES = 2;
const WORD = 8;
/** Words of the frame that Xen pushes at an upcall: rcx, r11, rip, cs, rflags, rsp, ss; those of IRET from `rip` on. */
const FRAME_WORDS = 7;
/** Words that HYPERVISOR_iret finds before its `rip`: rax, r11, rcx, flags. */
const IRET_WORDS = 4;
/** A selector of the LDT, and one of user mode. */
const IN_LDT = 4;
const USER = 3;

const gprAt = (number: number): number => STATE.gpr.offset + number * WORD;

/** What is asked of a hypercall's arguments, the first of which is its command. */
interface CallRule {
  /** How many of them say what is done. */
  readonly decisive: number;
  /** The clock, or what is behind a pointer, may decide about the result. */
  readonly varies?: boolean;
  /** It sets a timer. */
  readonly arms?: boolean;
  /** It writes to the console. */
  readonly speaks?: boolean;
  /** It changes which events are pending. */
  readonly signals?: boolean;
}
const TIMER: CallRule = { decisive: 3, varies: true, arms: true };
const TIMER_COMMANDS: readonly number[] = [
  VCPUOP.set_periodic_timer,
  VCPUOP.stop_periodic_timer,
  VCPUOP.set_singleshot_timer,
  VCPUOP.stop_singleshot_timer,
];

export class Shadow {
  readonly #machine: Machine;
  readonly #real: Cpu;
  readonly cpu: Cpu;
  readonly state = new Uint8Array(STATE_BYTES);
  readonly memory: ShadowMemory;
  readonly #insns: Map<bigint, Insn | null>;
  /** What follows from what; null: not asked. */
  taint: Taint | null = null;
  steps = 0;
  /** It has set a timer. */
  arms = false;
  /** It has written to the console. */
  speaks = false;
  /** Where the last step would have led, had a branch that taint decided gone the other way; null where there was none. */
  otherwise: bigint | null = null;
  /** The last step was an iteration of a REP that goes on. */
  repeats = false;
  /** The last step came back from a handler. */
  returned = false;
  /** What the step raises that could not be taken. */
  fault: Fault | null = null;
  readonly #now: number;

  /** `insns`: decoded instructions by address, which shadows of one machine state may share. */
  constructor(machine: Machine, insns = new Map<bigint, Insn | null>(), memory = new ShadowMemory(machine)) {
    this.#machine = machine;
    this.#real = machine.cpu;
    this.#insns = insns;
    this.memory = memory;
    const { base, view, id } = this.#real;
    this.state.set(new Uint8Array(view.buffer, base, STATE_BYTES));
    this.cpu = new Cpu(new DataView(this.state.buffer), 0, id, memory);
    this.#now = machine.now();
  }
  /** Another one in the same state, its taint also. */
  fork(): Shadow {
    const copy = new Shadow(this.#machine, this.#insns, this.memory.fork());
    copy.state.set(this.state);
    copy.steps = this.steps;
    copy.arms = this.arms;
    copy.speaks = this.speaks;
    copy.taint = this.taint?.fork() ?? null;
    return copy;
  }

  /** Takes one step; false where the shadow cannot follow. */
  step(): boolean {
    const { cpu } = this;
    this.returned = false;
    this.otherwise = null;
    this.repeats = false;
    if (cpu.systemFlags & (FLAG.tf | FLAG.rf) || cpu.interruptShadow !== 0 || cpu.num('pendingTrap') !== 0)
      return false;
    if (hasBreakpoints(cpu)) return false;
    const insn = this.#fetch(cpu.rip);
    if (insn === null) return false;
    const done = insn.form.system ? this.#system(insn) : this.#plain(insn);
    if (done) this.steps++;
    return done;
  }

  #fetch(rip: bigint): Insn | null {
    let insn = this.#insns.get(rip);
    if (insn === undefined) {
      const found = this.#machine.engine.instructionAt(this.#real, rip)?.insn ?? null;
      insn = found === null || typeof found === 'string' ? null : found;
      this.#insns.set(rip, insn);
    }
    // what it has written is not decoded
    return insn !== null && this.memory.hasWritten(rip) ? null : insn;
  }

  #plain(insn: Insn): boolean {
    const program = programOf(insn.form);
    if (program === null) return false;
    const { memory } = this;
    memory.reached = [];
    const env: Environment<Fault> = {
      ...environmentOf(this.cpu, insn, memory),
      peek: (address, width) => memory.peek(address, width),
    };
    const next = env.nextRip();
    const completion = evaluate(program, env);
    if (completion.kind === 'fault') {
      this.fault = completion.fault;
      return false;
    }
    const { taint } = this;
    taint?.retire(program, insn, memory.reached);
    if (taint?.branches) this.otherwise = completion.kind === 'jump' ? next : env.targetRip();
    this.repeats = completion.kind === 'repeat';
    if (completion.kind === 'jump') this.cpu.rip = completion.rip;
    else if (completion.kind === 'next') this.cpu.rip = next;
    return true;
  }

  #system(insn: Insn): boolean {
    switch (insn.form.name) {
      case 'rdtsc':
        return this.#readClock(insn);
      case 'syscall':
        return this.#call(insn);
      case 'iret':
        return this.memory.handles && insn.form.size === WORD && this.#returns(insn, 0);
      case 'ud2':
        this.fault = fault(VECTOR.ud);
        return false;
      default:
        return false;
    }
  }
  #readClock(insn: Insn): boolean {
    const { cpu, taint } = this;
    const { clock } = xenOf(this.#machine)!;
    const tsc = (BigInt(this.#now + this.steps) * BigInt(clock.tscKhz)) / 1_000_000n;
    cpu.setGpr(GPR.rax, tsc & 0xffffffffn);
    cpu.setGpr(GPR.rdx, (tsc >> 32n) & 0xffffffffn);
    for (const number of [GPR.rax, GPR.rdx]) taint?.set(gprAt(number), WORD, true);
    cpu.rip = plus(cpu.rip, insn.length);
    return true;
  }

  // ---- hypercalls ---------------------------------------------------------------------------------------------------

  #call(insn: Insn): boolean {
    const { cpu, taint, memory } = this;
    const { kernelMode } = xenOf(this.#machine)!.vcpus[cpu.id]!;
    if (!kernelMode || insn.length !== SYSCALL_BYTES) return false;
    if (this.#isTainted(GPR.rax)) taint!.decides = true;
    const op = cpu.gpr32(GPR.rax);
    if (op === HYPERCALL.iret) return memory.handles && this.#returns(insn, IRET_WORDS);
    const rule = this.#ruleOf(op);
    if (rule === null) return false;
    if (ARGUMENTS.slice(0, rule.decisive).some((register) => this.#isTainted(register))) taint!.decides = true;
    memory.reached = [];
    if (this.#xenDoes(insn) !== null) return false;
    if (rule.arms) this.arms = true;
    if (rule.speaks) this.speaks = true;
    if (rule.signals) {
      memory.touched = true;
      if (taint !== null && memory.reached.some((pieces) => taint.has(pieces))) taint.decides = true;
    }
    taint?.set(gprAt(GPR.rcx), WORD, false);
    taint?.set(gprAt(GPR.rax), WORD, rule.varies ?? false);
    taint?.set(gprAt(GPR.r11), WORD, this.#flagsAreTainted());
    return true;
  }
  #ruleOf(op: number): CallRule | null {
    const { cpu } = this;
    const command = cpu.gpr32(GPR.rdi);
    switch (op) {
      case HYPERCALL.sched_op:
      case HYPERCALL.sched_op_compat:
        return command === SCHEDOP.yield && this.isQuiet ? { decisive: 1 } : null;
      case HYPERCALL.set_timer_op:
        return { decisive: 0, arms: true };
      case HYPERCALL.vcpu_op:
        return TIMER_COMMANDS.includes(command) ? TIMER : null;
      case HYPERCALL.event_channel_op: {
        const tells = command === EVTCHNOP.send || command === EVTCHNOP.unmask;
        return tells && this.memory.handles && this.isQuiet ? { decisive: 2, signals: true } : null;
      }
      case HYPERCALL.console_io:
        // what is written does not come back
        return command === CONSOLEIO.write && cpu.gpr32(GPR.rsi) <= PAGE_SIZE ? { decisive: 3, speaks: true } : null;
      case HYPERCALL.xen_version:
        return command === XENVER.version ? { decisive: 1 } : null;
      default:
        return null;
    }
  }
  /** Backends that are asked to look at their rings find nothing to do; the shadow does not write there. */
  get isQuiet(): boolean {
    return xenOf(this.#machine)!.backends.every(({ device }) => device.isQuiet);
  }

  // ---- events -------------------------------------------------------------------------------------------------------

  /** Events are not masked. */
  get isUnmasked(): boolean {
    return this.memory.byteAt(this.#info + AMD64.vcpuInfo.at.evtchn_upcall_mask) === 0;
  }
  /** An upcall is due. */
  get isInterrupted(): boolean {
    return this.isUnmasked && this.memory.byteAt(this.#info + AMD64.vcpuInfo.at.evtchn_upcall_pending) !== 0;
  }
  get #info(): number {
    return xenOf(this.#machine)!.vcpus[this.cpu.id]!.infoAddress;
  }
  /** The vCPU's timer fires. */
  fire(): void {
    raiseTimer(this.#view(), this.cpu.id);
  }
  /** Where Xen pushes a frame of so many words; null where it cannot, or comes from user mode, which has other tables. */
  #frameAt(words: number): bigint | null {
    const { kernelMode } = xenOf(this.#machine)!.vcpus[this.cpu.id]!;
    const rsp = plus(this.cpu.rsp & ~0xfn, -words * WORD);
    return kernelMode && this.memory.reach(rsp, words * WORD, true) !== null ? rsp : null;
  }
  /** Enters the guest's handler of an exception; false where there is none. */
  trap(event: Fault): boolean {
    if (this.#frameAt(FRAME_WORDS + 1) === null) return false;
    this.memory.handles = true;
    return inject(this.#view(), this.cpu, event) === null;
  }
  /** Takes an upcall; false where it cannot be followed. */
  upcall(): boolean {
    const { cpu, memory, taint } = this;
    const { eventCallback } = xenOf(this.#machine)!.vcpus[cpu.id]!;
    const rsp = this.#frameAt(FRAME_WORDS);
    if (rsp === null || eventCallback.address === 0n || this.#isTainted(GPR.rsp)) return false;
    memory.handles = true;
    memory.readsTables = false;
    const flags = this.#flagsAreTainted();
    const tainted = [this.#isTainted(GPR.rcx), this.#isTainted(GPR.r11), false, false, flags, false, false];
    const { address } = eventCallback;
    if (createBounceFrame(this.#view(), cpu, { address, error: null, maskEvents: true }) !== null) return false;
    for (const [i, on] of tainted.entries())
      for (const { pa, bytes } of this.#word(rsp, i)!) taint?.memory.set(pa, bytes, on);
    memory.guarded = this.#word(rsp, 4);
    taint?.set(gprAt(GPR.rcx), WORD, false);
    taint?.set(gprAt(GPR.r11), WORD, flags);
    this.steps++;
    return true;
  }
  /** Back by a frame on the stack that begins with `before` words of HYPERVISOR_iret's; false where it leads elsewhere. */
  #returns(insn: Insn, before: number): boolean {
    const { cpu, memory, taint } = this;
    const { rsp } = cpu;
    const words = Array.from({ length: before + 5 }, (_, i) => this.#word(rsp, i));
    if (words.some((word) => word === null)) return false;
    const [rip, cs, ss] = [0, 1, 4].map((i) => memory.valueOf(words[before + i]!)) as [bigint, bigint, bigint];
    const hypercall = before > 0;
    if (hypercall && ((Number(cs) & USER) === USER || memory.valueOf(words[before - 1]!) !== 0n)) return false;
    if ((Number(cs) | Number(ss)) & IN_LDT) return false;
    const tainted = words.map((word) => taint?.has(word!) ?? false);
    const flags = tainted[before + 2]!;
    // tainted are the arithmetic flags; what else the word says is known as long as it is the one that Xen pushed
    if (flags && !memory.isGuarded(words[before + 2]!)) taint!.decides = true;
    tainted[before + 2] = this.#isTainted(GPR.rsp);
    if (tainted.slice(Math.max(before - 1, 0)).includes(true)) taint!.decides = true;
    if ((hypercall ? this.#xenDoes(insn) : executeSystem(cpu, insn, this.#view())) !== null) return false;
    if (hypercall)
      for (const [i, register] of [GPR.rax, GPR.r11, GPR.rcx].entries()) taint?.set(gprAt(register), WORD, tainted[i]!);
    taint?.set(STATE.flagsResult.offset, STATE.rflags.offset - STATE.flagsResult.offset, flags);
    this.returned = cpu.rip === rip;
    return this.returned;
  }
  /** Where the `i`th word from `address` on lies; null where it cannot be read. */
  #word(address: bigint, i: number) {
    return this.memory.reach(plus(address, i * WORD), WORD, false);
  }
  #isTainted(register: number): boolean {
    return this.taint?.get(gprAt(register), WORD) ?? false;
  }
  #flagsAreTainted(): boolean {
    return this.taint?.get(STATE.flagsResult.offset, STATE.rflags.offset - STATE.flagsResult.offset) ?? false;
  }

  // ---- Xen ----------------------------------------------------------------------------------------------------------

  /** SYSCALL of the kernel. */
  #xenDoes(insn: Insn): Outcome {
    this.cpu.rip = plus(this.cpu.rip, insn.length);
    return syscall(this.#view(), this.cpu, insn);
  }
  /** Xen as it is, on the shadow's memory. Of its state nothing changes that could come back here: what may is refused before. */
  #view(): XenPv {
    const xen = xenOf(this.#machine)!;
    const work = new WorkMeter();
    const memory = this.memory.asGuestMemory();
    const resolve = (_cpu: Cpu, address: bigint, write: boolean): number | null => {
      const [piece] = this.memory.reach(address, 1, write) ?? [];
      return piece === undefined ? null : piece.pa;
    };
    const view = Object.assign(Object.create(xen), {
      memory,
      work,
      guest: new GuestAccess(memory, { resolve, translate: (cpu, address) => resolve(cpu, address, false) }, work),
      domain: { ...xen.domain },
      vcpus: xen.vcpus.map((v) => ({ ...v })),
      stream: new EventStream<XenEvent>(),
      backends: [],
      callConsole: { output: (): void => {} },
      // no switch of page tables is followed
      mmu: null,
    }) as XenPv;
    const events = Object.assign(new Events(view), { state: xen.events.state });
    return Object.assign(view, { events });
  }
}
