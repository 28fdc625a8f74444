/**
 * A vCPU that runs ahead of the machine without touching it: a copy of its registers, writes kept apart, instructions through the
 * evaluator. It follows what is plain: instructions in memory that may be reached, RDTSC, and the hypercall that yields. Everything
 * else ends it. For looking at what a loop does, a few thousand steps at a time.
 */
import { PAGE_SIZE } from '../core/units.ts';
import { type Environment, evaluate } from '../ir/evaluate.ts';
import { FRAME } from '../memory/guest-memory.ts';
import { hasBreakpoints } from '../x86/code-key.ts';
import { Cpu, type LinearMemory } from '../x86/cpu.ts';
import { environmentOf } from '../x86/emulate.ts';
import type { Insn } from '../x86/form.ts';
import { type Fault, fault } from '../x86/seam.ts';
import { programOf } from '../x86/semantics/registry.ts';
import { FLAG, GPR, STATE, STATE_BYTES, VECTOR } from '../x86/state.ts';
import { HYPERCALL, SCHEDOP } from '../xen/abi/numbers.ts';
import type { Run } from './run.ts';
import type { Piece, Taint } from './taint.ts';

/** Pages that a shadow writes at most. */
const PAGES = 16;
const ARGUMENTS = [GPR.rax, GPR.rdi, GPR.rsi];
const gprAt = (number: number): number => STATE.gpr.offset + number * 8;

export class Shadow implements LinearMemory {
  readonly #run: Run;
  readonly #real: Cpu;
  readonly cpu: Cpu;
  readonly state = new Uint8Array(STATE_BYTES);
  /** Pages written, by frame. */
  readonly written = new Map<number, Uint8Array>();
  readonly #insns: Map<bigint, Insn | null>;
  /** What follows from what; null: not asked. */
  taint: Taint | null = null;
  steps = 0;
  #reached: Piece[][] = [];
  readonly #now: number;

  /** `insns`: decoded instructions by address, which shadows of one machine state may share. */
  constructor(run: Run, insns = new Map<bigint, Insn | null>()) {
    this.#run = run;
    this.#real = run.machine.cpu;
    this.#insns = insns;
    const { base, view, id } = this.#real;
    this.state.set(new Uint8Array(view.buffer, base, STATE_BYTES));
    this.cpu = new Cpu(new DataView(this.state.buffer), 0, id, this);
    this.#now = run.machine.now();
  }

  /** Takes one step; false where the shadow cannot follow, and stays. */
  step(): boolean {
    const { cpu } = this;
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
      const found = this.#run.machine.engine.instructionAt(this.#real, rip)?.insn ?? null;
      insn = found === null || typeof found === 'string' ? null : found;
      this.#insns.set(rip, insn);
    }
    return insn;
  }

  #plain(insn: Insn): boolean {
    const program = programOf(insn.form);
    if (program === null) return false;
    this.#reached = [];
    const env: Environment<Fault> = {
      ...environmentOf(this.cpu, insn, this),
      peek: (address, width) => this.#valueOf(this.#reach(address, width, true)!),
    };
    const next = env.nextRip();
    const completion = evaluate(program, env);
    if (completion.kind === 'fault') return false;
    this.taint?.retire(program, insn, this.#reached);
    if (completion.kind === 'jump') this.cpu.rip = completion.rip;
    else if (completion.kind === 'next') this.cpu.rip = next;
    return true;
  }

  #system(insn: Insn): boolean {
    const { cpu, taint } = this;
    const next = cpu.rip + BigInt(insn.length);
    if (insn.form.name === 'rdtsc') {
      const { clock } = this.#run.xen;
      const tsc = (BigInt(this.#now + this.steps) * BigInt(clock.tscKhz)) / 1_000_000n;
      cpu.setGpr(GPR.rax, tsc & 0xffffffffn);
      cpu.setGpr(GPR.rdx, (tsc >> 32n) & 0xffffffffn);
      for (const number of [GPR.rax, GPR.rdx]) taint?.set(gprAt(number), 8, true);
    } else if (insn.form.name === 'syscall' && this.#yields()) {
      if (taint !== null && ARGUMENTS.some((number) => taint.get(gprAt(number), 8))) taint.decides = true;
      cpu.setGpr(GPR.rcx, next);
      cpu.setGpr32(GPR.r11, cpu.rflags);
      cpu.setGpr(GPR.rax, 0n);
      taint?.set(gprAt(GPR.rcx), 8, false);
      taint?.set(gprAt(GPR.rax), 8, false);
      taint?.set(gprAt(GPR.r11), 8, taint.get(STATE.flagsResult.offset, 8) || taint.get(STATE.flagsAux.offset, 4));
    } else return false;
    cpu.rip = BigInt.asUintN(64, next);
    return true;
  }
  /** The hypercall is SCHEDOP_yield, which finds nothing to do. */
  #yields(): boolean {
    const op = this.cpu.gpr32(GPR.rax);
    const schedules = op === HYPERCALL.sched_op || op === HYPERCALL.sched_op_compat;
    return schedules && this.#run.xen.vcpus[this.cpu.id]!.kernelMode && this.cpu.gpr32(GPR.rdi) === SCHEDOP.yield;
  }

  // ---- memory -------------------------------------------------------------------------------------------------------

  /** The pieces of an access; null where it would fault, or where something other than the loop sees it. */
  #reach(address: bigint, width: number, write: boolean): Piece[] | null {
    const { memory, mmu } = this.#run.machine.engine;
    const pieces: Piece[] = [];
    for (let done = 0; done < width; ) {
      const at = BigInt.asUintN(64, address + BigInt(done));
      const bytes = Math.min(width - done, PAGE_SIZE - Number(at & 4095n));
      const pa = mmu.reach(this.#real, at, write);
      if (pa === null) return null;
      const frame = Math.floor(pa / PAGE_SIZE);
      if (write) {
        const flags = memory.slotFlags[memory.frameSlots[frame]!]!;
        if ((flags & (FRAME.code | FRAME.table)) !== 0 || this.#isXens(frame)) return null;
        if (!this.written.has(frame) && this.written.size >= PAGES) return null;
      }
      pieces.push({ pa, bytes });
      done += bytes;
    }
    return pieces;
  }
  /** The hypervisor reads the page. */
  #isXens(frame: number): boolean {
    const { xen } = this.#run;
    if (frame === xen.sharedInfo / PAGE_SIZE || xen.backends.some((backend) => backend.frame === frame)) return true;
    return xen.vcpus.some((v) => Math.floor(v.infoAddress / PAGE_SIZE) === frame);
  }
  /** The byte at a machine address as the shadow sees it. */
  byteAt(pa: number): number {
    const frame = Math.floor(pa / PAGE_SIZE);
    return (this.written.get(frame) ?? this.#run.machine.engine.memory.page(frame))[pa % PAGE_SIZE]!;
  }

  load(_cpu: Cpu, address: bigint, width: number): bigint | Fault {
    const pieces = this.#reach(address, width, false);
    if (pieces === null) return fault(VECTOR.pf, 0, address);
    this.#reached.push(pieces);
    return this.#valueOf(pieces);
  }
  #valueOf(pieces: readonly Piece[]): bigint {
    let value = 0n;
    let shift = 0n;
    for (const { pa, bytes } of pieces)
      for (let i = 0; i < bytes; i++, shift += 8n) value |= BigInt(this.byteAt(pa + i)) << shift;
    return value;
  }
  probe(_cpu: Cpu, address: bigint, bytes: number): null | Fault {
    const pieces = this.#reach(address, bytes, true);
    if (pieces === null) return fault(VECTOR.pf, 0, address);
    this.#reached.push(pieces);
    return null;
  }
  store(_cpu: Cpu, address: bigint, width: number, value: bigint): null | Fault {
    const pieces = this.#reach(address, width, true);
    if (pieces === null) return fault(VECTOR.pf, 0, address);
    let rest = value;
    for (const { pa, bytes } of pieces) {
      const page = this.#page(Math.floor(pa / PAGE_SIZE));
      for (let i = 0; i < bytes; i++, rest >>= 8n) page[(pa % PAGE_SIZE) + i] = Number(rest & 0xffn);
    }
    return null;
  }
  #page(frame: number): Uint8Array {
    let page = this.written.get(frame);
    if (page === undefined) {
      page = this.#run.machine.engine.memory.page(frame).slice();
      this.written.set(frame, page);
    }
    return page;
  }
  flush(): void {}

  /** Machine addresses of the bytes that differ from the machine's. */
  *changed(): Generator<number> {
    for (const [frame, page] of this.written) {
      const before = this.#run.machine.engine.memory.page(frame);
      for (let i = 0; i < PAGE_SIZE; i++) if (page[i] !== before[i]) yield frame * PAGE_SIZE + i;
    }
  }
}
