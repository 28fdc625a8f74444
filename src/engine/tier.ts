/** What a way to execute instructions is to the engine. */
import { hex } from '../core/units.ts';
import type { Cpu } from '../x86/cpu.ts';
import type { Insn } from '../x86/form.ts';
import { type Fault, type Stop, stop } from '../x86/seam.ts';

/** Why a tier returned before its steps were used up; `steps` have been taken, `rip` is the instruction in question. */
export type TierExit =
  | { readonly kind: 'steps'; readonly steps: number }
  | { readonly kind: 'system'; readonly steps: number; readonly insn: Insn }
  | { readonly kind: 'fault'; readonly steps: number; readonly fault: Fault; readonly fetched: boolean }
  | { readonly kind: 'stop'; readonly steps: number; readonly stop: Stop }
  /** `rip` is one of the addresses given to {@link Tier.pauseAt}; its instruction has not been executed. */
  | { readonly kind: 'pause'; readonly steps: number };

export interface Tier {
  /** Takes up to `steps` (at least 1) steps. The TLBs must be in step with the vCPU. `resume`: does not pause before the first one. */
  run(cpu: Cpu, steps: number, resume?: boolean): TierExit;
  /** Has `run` return before an instruction whose `rip` is one of these, whatever stands there; none ends that. */
  pauseAt(addresses: ReadonlySet<bigint>): void;
  /** Forgets everything derived from guest memory. */
  reset(): void;
}

/** The end of the run at an instruction that is not implemented. */
export function unimplemented(cpu: Cpu, bytes: Uint8Array): Stop {
  const text = Array.from(bytes, (x) => x.toString(16).padStart(2, '0')).join(' ');
  return stop('unimplemented', `instruction not implemented at ${hex(cpu.rip)}: ${text}`);
}

/** Told of every step while it is in place ({@link Engine.trace}); what it does is unobservable to the guest. */
export interface Tracer {
  /**
   * The instruction of `record` (src/x86/record.ts), which handler `handler` executes, is about to be executed as the step behind `taken` others
   * that the vCPU's step count does not know of yet. It may turn out to fault: the step is then told by {@link Tracer.begins} again.
   */
  executes(cpu: Cpu, record: number, handler: number, taken: number): void;
  /** A step that no handler takes begins: a system instruction, or the delivery of an event. */
  begins(cpu: Cpu, insn: Insn | null): void;
  /** That step is over. */
  ends(cpu: Cpu): void;
}
