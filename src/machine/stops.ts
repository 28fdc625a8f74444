/**
 * The stops socket: where runs are to come back, asked for by any number of clients (a prompt, a search, a recorder) at a time.
 *
 * A {@link StopSet} is passed into a run and holds for that run alone: nothing of it stays behind in engine or MMU, so that a run
 * which was given none goes through. What a client holds for longer stands in {@link StopClients}. Each {@link Hit} names the
 * client, the condition and the vCPU.
 *
 * A condition is met *at a tick*, whatever the run that comes there, its tier and how it is cut:
 * - an address at the tick *before* which its instruction would be executed: the next step begins with it. A step that takes an event
 *   or a trap, or in which everybody is idle, begins with no instruction, and an address is met before it only where it is
 *   {@link AddressStop.standing}; each iteration of a REP is a step;
 * - accesses and events at the tick *behind* the step or the zero-width actions in which they happen; a tick on reaching it. A run that
 *   begins at a tick does not meet what was met on the way there.
 * A run comes back once for a tick, with all that is met at it, also at the tick at which the guest ends, whose end the next run tells.
 * A run that is resumed ({@link RunOptions.resume} of the machine) does not stop for addresses at the tick that it begins at.
 *
 * A vCPU that a condition names has to take the step, or its turn it has to be where nobody does (input, timers). The steps of
 * hypervisor and devices are those of the vCPU whose turn it is.
 */
import type { MachineFrame, PhysAddr, Tick, VirtAddr } from '../core/units.ts';
import type { MachineEvent } from './platform.ts';

/** A vCPU is about to execute, or to fault at, the instruction at a value of RIP. */
export interface AddressStop {
  readonly kind: 'address';
  readonly address: VirtAddr;
  /** Any vCPU unless named. */
  readonly vcpu?: number;
  /** In any address space unless the frame of its root table (CR3) is named. */
  readonly root?: MachineFrame;
  /** Met as well where the vCPU whose turn it is stands there and the next step begins with no instruction. */
  readonly standing?: boolean;
}
/**
 * Memory is accessed. A read-modify-write is both. Writes of the hypervisor and of devices count, their reads do not; fetches and
 * page walks, with the bits they set, are none; nor are the reads of an instruction that faults.
 */
export interface AccessStop {
  readonly kind: 'access';
  readonly access: 'read' | 'write' | 'any';
  /** Machine address and length of the bytes. */
  readonly address: PhysAddr;
  readonly bytes: number;
  readonly vcpu?: number;
}
/** Something that the platform tells. */
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

/** Whether an address is among what is met: a run that goes on from there is resumed. */
export const isAddress = (hits: readonly Hit[]): boolean => hits.some(({ condition }) => condition.kind === 'address');

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
  /** Values of RIP before whose instructions a run comes back, and those before which it does without one. */
  readonly pauses: ReadonlySet<VirtAddr>;
  readonly standing: ReadonlySet<VirtAddr>;

  constructor(points: readonly Watchpoint[]) {
    this.points = points;
    this.addresses = ofKind(points, 'address');
    this.pauses = new Set(this.addresses.map((p) => p.condition.address));
    const standing = this.addresses.filter((p) => p.condition.standing);
    this.standing = new Set(standing.map((p) => p.condition.address));
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

/** What clients hold from one run to the next. A change of one leaves what the others hold. */
export class StopClients {
  readonly #held = new Map<string, readonly StopCondition[]>();
  #all = StopSet.NONE;

  /** Has `client` hold these conditions instead of what it held; none ends that. */
  set(client: string, conditions: readonly StopCondition[]): void {
    if (conditions.length === 0) this.#held.delete(client);
    else this.#held.set(client, [...conditions]);
    const points = [...this.#held].flatMap(([name, held]) => held.map((condition) => ({ client: name, condition })));
    this.#all = points.length === 0 ? StopSet.NONE : new StopSet(points);
  }
  /** What all clients hold; the same set until somebody changes what it holds, so that an engine need not be told anew. */
  get all(): StopSet {
    return this.#all;
  }
}
