/**
 * The platform socket: what the machine's loop asks of the world around its vCPUs beyond the CPU's own seam (src/x86/seam.ts).
 *
 * A platform is chosen by the recording's header (platforms.ts). It owns its state, which it shows as named sections; its devices,
 * which payloads name; the rule by which asynchronous events reach a vCPU. It never moves time: everything it does happens in a step
 * or in a zero-width action that the loop asks for.
 */
import type { EventStream } from '../core/event-stream.ts';
import type { StateSection } from '../core/state-section.ts';
import type { Cpu } from '../x86/cpu.ts';
import type { Outcome, Platform, Stop } from '../x86/seam.ts';

/** Something that happened in a machine, as its platform tells it. Kinds and what else it says are the platform's. */
export interface MachineEvent {
  readonly kind: string;
}

export interface MachinePlatform extends Platform {
  /** Counted work of all steps so far (src/xen/work.ts), so that a host is asked in time; no part of the state. */
  readonly work: { readonly total: number };
  /** State outside guest memory and vCPUs. */
  readonly sections: readonly StateSection[];
  /** What happens, for whoever watches; watching never changes the run. */
  readonly stream: EventStream<MachineEvent>;
  attach(cpus: readonly Cpu[]): void;
  /** The state sections have been replaced. */
  restored(): void;
  /** The end of the run, where something outside an instruction decided it. */
  readonly ended: Stop | null;

  // ---- vCPUs ----
  runnable(vcpu: number): boolean;
  /** The turn has passed from one vCPU to another: a zero-width action. */
  switched(from: Cpu, to: Cpu): void;

  // ---- time ----
  /** System time (ns) of the next expiry, Infinity when there is none. */
  nextDeadlineNs(): number;
  /** Applies what is due at `ns`; names what fired. */
  expire(ns: number): string[];

  // ---- delivery ----
  /**
   * Ticks at whose multiples events are looked for that plain memory writes have made deliverable; a multiple of SLICE_TICKS of the
   * loop, Infinity where memory decides nothing.
   */
  readonly pollTicks: number;
  /** True when {@link MachinePlatform.deliverPending} would take an event. */
  hasPending(cpu: Cpu): boolean;
  /** Takes one event if one is deliverable: a step. */
  deliverPending(cpu: Cpu): { outcome: Outcome } | null;

  // ---- outside ----
  /** A payload for one of the platform's devices has come. */
  input(device: string, data: Uint8Array): void;
}
