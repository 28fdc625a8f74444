/**
 * The stops socket: where runs are to come back, asked for by any number of clients (a prompt, a debugger, a search) at a time.
 *
 * A {@link StopSet} is passed into a run and holds for that run alone: nothing of it stays behind in engine or MMU, so that a run
 * which was given none goes through. Each {@link Hit} names the client, the condition and the vCPU.
 */
import type { MachineFrame, PhysAddr, Tick, VirtAddr } from '../core/units.ts';
import type { MachineEvent } from './platform.ts';

/** A vCPU executes the instruction at a linear address: the run comes back before it. */
export interface AddressStop {
  readonly kind: 'address';
  readonly address: VirtAddr;
  /** Any vCPU unless named. */
  readonly vcpu?: number;
  /** In any address space unless the frame of its root table (CR3) is named. */
  readonly root?: MachineFrame;
}
/** Memory is accessed: the run comes back behind the step. Writes of the hypervisor and of devices count, their reads do not. */
export interface AccessStop {
  readonly kind: 'access';
  readonly access: 'read' | 'write' | 'any';
  /** Machine address and length of the bytes. */
  readonly address: PhysAddr;
  readonly bytes: number;
  readonly vcpu?: number;
}
/** Something that the platform tells: the run comes back behind the step or the zero-width action. */
export interface EventStop {
  readonly kind: 'event';
  /** Kind of the event. */
  readonly event: string;
  /** Asked of each while it happens; all of that kind unless given. */
  readonly matches?: (event: MachineEvent) => boolean;
  readonly vcpu?: number;
}
/** The tick is reached. */
export interface TickStop {
  readonly kind: 'tick';
  readonly tick: Tick;
}
export type StopCondition = AddressStop | AccessStop | EventStop | TickStop;

/** A condition and who holds it. */
export interface Watchpoint {
  readonly client: string;
  readonly condition: StopCondition;
}
/** A condition that is met. `vcpu`: which vCPU met it, or whose turn it is where none did. */
export interface Hit extends Watchpoint {
  readonly vcpu: number;
}

const ofKind = <K extends StopCondition['kind']>(
  points: readonly Watchpoint[],
  kind: K,
): ReadonlyArray<Watchpoint & { readonly condition: Extract<StopCondition, { readonly kind: K }> }> =>
  points.filter((p) => p.condition.kind === kind) as never;

/** Conditions of all clients, sorted by what has to be done for them. Immutable. */
export class StopSet {
  static readonly NONE = new StopSet([]);
  readonly points: readonly Watchpoint[];
  readonly addresses: ReadonlyArray<Watchpoint & { readonly condition: AddressStop }>;
  readonly accesses: ReadonlyArray<Watchpoint & { readonly condition: AccessStop }>;
  readonly events: ReadonlyArray<Watchpoint & { readonly condition: EventStop }>;
  readonly ticks: ReadonlyArray<Watchpoint & { readonly condition: TickStop }>;

  constructor(points: readonly Watchpoint[]) {
    this.points = points;
    this.addresses = ofKind(points, 'address');
    this.accesses = ofKind(points, 'access');
    this.events = ofKind(points, 'event');
    this.ticks = ofKind(points, 'tick').toSorted((a, b) => a.condition.tick - b.condition.tick);
  }
  static of(client: string, conditions: readonly StopCondition[]): StopSet {
    return conditions.length === 0 ? StopSet.NONE : new StopSet(conditions.map((condition) => ({ client, condition })));
  }

  /** The first tick after `tick` that somebody wants, or Infinity. */
  nextTick(tick: Tick): Tick {
    return this.ticks.find((p) => p.condition.tick > tick)?.condition.tick ?? Number.POSITIVE_INFINITY;
  }
}
