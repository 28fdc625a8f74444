/**
 * The platform seam: everything the CPU cannot decide by itself. Two implementations exist: Xen PV (src/xen) and the
 * bare IDT machine (src/platform/idt). The engine and the system instructions know nothing else of their surroundings.
 */
import type { Cpu } from './cpu.ts';
import type { Vendor } from './features.ts';
import type { Insn } from './form.ts';

/** A guest fault or trap, as a value. `address` is the faulting linear address of #PF. */
export interface Fault {
  readonly fault: true;
  readonly vector: number;
  readonly error: number;
  readonly address: bigint;
}

/** The run has ended: nothing more executes. */
export interface Stop {
  readonly stop: true;
  readonly verdict: Verdict;
}

/** How a run ended. `record` adds tick, vCPU, rip and symbol. */
export interface Verdict {
  readonly kind:
    | 'poweroff'
    | 'reboot'
    | 'panic'
    | 'crash'
    | 'triple-fault'
    | 'hang'
    | 'unimplemented'
    | 'limit'
    | 'stopped';
  readonly message: string;
}

/** What executing something came to: done, a fault to deliver, or the end of the run. */
export type Outcome = null | Fault | Stop;

export const fault = (vector: number, error = 0, address = 0n): Fault => ({ fault: true, vector, error, address });
export const stop = (kind: Verdict['kind'], message: string): Stop => ({ stop: true, verdict: { kind, message } });
export const isFault = (x: unknown): x is Fault => typeof x === 'object' && x !== null && 'fault' in x;
export const isStop = (x: unknown): x is Stop => typeof x === 'object' && x !== null && 'stop' in x;

/** How an event other than a fault enters the guest. */
export type EventKind = 'fault' | 'int' | 'int3' | 'into' | 'external' | 'nmi' | 'debug';

export interface Platform {
  /** Whose processor CPUID says it is. */
  readonly vendor: Vendor;
  /**
   * Delivers an exception, software interrupt or external interrupt. On entry `cpu.rip` is the address to push (the
   * instruction itself for faults, the next one for traps and software interrupts). `insn` is the instruction that
   * faulted where one is known: a hypervisor may emulate it and return null with `rip` moved past it.
   */
  deliver(cpu: Cpu, kind: EventKind, event: Fault, insn: Insn | null): Outcome;
  /** Whether the instruction of a fault makes a difference to what {@link Platform.deliver} does; asked since looking it up takes long. */
  wantsInstruction(cpu: Cpu, event: Fault): boolean;
  /** SYSCALL with `cpu.rip` at the next instruction. */
  syscall(cpu: Cpu, insn: Insn): Outcome;
  /** SYSENTER where the processor has it. */
  sysenter(cpu: Cpu): Outcome;
  /** The descriptor a selector names, from GDT or LDT; faults as loading it would (SDM vol. 3A 3.4.5). */
  descriptor(cpu: Cpu, selector: number): bigint | Fault;
  /** Marks a descriptor accessed or a TSS busy. */
  writeDescriptor(cpu: Cpu, selector: number, descriptor: bigint): Outcome;
  /** CPUID: [eax, ebx, ecx, edx] as unsigned 32-bit numbers. */
  cpuid(cpu: Cpu, leaf: number, subleaf: number): readonly [number, number, number, number];
  /** The time stamp counter at this step: below 2^53 a number, since guests ask often. */
  tsc(cpu: Cpu): number | bigint;
  /** RDMSR at CPL 0; a Fault for an unknown register. */
  readMsr(cpu: Cpu, index: number): bigint | Fault;
  writeMsr(cpu: Cpu, index: number, value: bigint): Outcome;
  /** Port input at sufficient privilege; `width` in bytes. */
  portIn(cpu: Cpu, port: number, width: number): number;
  portOut(cpu: Cpu, port: number, width: number, value: number): Outcome;
  /** A control register has been written by MOV CR at CPL 0 (paging state must be re-read). */
  controlWritten(cpu: Cpu, register: number): Outcome;
  /** HLT at CPL 0. */
  halt(cpu: Cpu): Outcome;
}
