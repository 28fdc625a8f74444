/**
 * The explanation socket: what a platform knows for people. `timeline` and `inspect` ask it for names of what happens, for functions
 * of predicates, for the word in memory that decided something, for what a vCPU waits for, for rules by which a hang is told; neither
 * knows a platform itself.
 *
 * Invariant: answering changes nothing of the machine, no accessed bit is set.
 */
import type { PhysAddr, Tick, VirtAddr } from '../core/units.ts';
import type { Machine } from './machine.ts';
import type { MachineEvent } from './platform.ts';

/** `va` is linear, `ma` a machine byte address, `pa` what the guest takes for a physical one. */
export type AddressSpace = 'va' | 'pa' | 'ma';

/** A place in memory. */
export interface Place {
  readonly space: AddressSpace;
  readonly address: bigint;
}

/**
 * Something that happened, in words. Two kinds mean the same on every platform: `trap`, an exception with the fields `vector`, `error`
 * and `address`, named by {@link trapName}; and `log`, a line of the platform's own in `text`.
 */
export interface NamedEvent {
  readonly vcpu: number;
  readonly rip: VirtAddr;
  readonly kind: string;
  /** Of its kind, or the kind where that has no names below it. */
  readonly name: string;
  readonly fields: Readonly<Record<string, bigint>>;
  readonly text: string | null;
}

/**
 * What was at a place before the first step, in the platform's words (`image`, `initrd`, `command line`, `page tables`), and how far into
 * that; `bss`: memory of the image that its file says nothing of.
 */
export interface Provenance {
  readonly what: string;
  /** In bytes. */
  readonly offset: number;
  /** Somebody chose it, for the guest to read: no part of the kernel, nothing that the platform made. */
  readonly given?: true;
}

/** The machine as an answer looks at it. */
export interface Look {
  readonly tick: Tick;
  /** The vCPU whose turn it is, and where it is. */
  readonly vcpu: number;
  readonly rip: VirtAddr;
  /** Reads 1 to 8 bytes, little-endian; null when any of them is not mapped. */
  read(space: AddressSpace, address: bigint, bytes: number): bigint | null;
  /** Machine byte address that a linear address maps to, or null. */
  translate(address: VirtAddr): bigint | null;
  /** Says that the answer depends on machine bytes: a search looks again when they change. */
  note(address: PhysAddr, bytes: number): void;
}

/** A function of predicates, of one number: `pending(3)`. */
export interface Question {
  /** It is asked of numbers from 0 to below this. */
  readonly limit: bigint;
  /** What it can answer: names, or numbers up to this one; a comparison with anything else is a mistake. */
  readonly answers: readonly string[] | bigint;
  /** Kinds of the platform's stream after which the answer may be another, beside what it notes; none unless given. */
  readonly changes?: readonly string[];
  /** Null where there is nothing to ask. */
  ask(of: bigint, look: Look): bigint | boolean | string | null;
}

/** A register of the vCPU that an event belongs to, as it stood before it. */
export interface RegisterPlace {
  readonly space: 'register';
  readonly name: string;
}

/** What decided an event. */
export interface Blame {
  readonly place: Place | RegisterPlace;
  readonly bytes: number;
  readonly text: string;
  /** Tells the write that brought the content at fault from later ones that kept it. */
  readonly guilty: (write: { readonly before: bigint; readonly after: bigint }) => boolean;
  /** What decided as well, where nothing tells which of them is wrong. */
  readonly or?: Blame;
}

/** An event that the platform refused, in words. */
export interface Refusal {
  /** The error: `-22 (EINVAL)`. */
  readonly error: string;
  /** Lines of the platform's that say nothing beside others of theirs. */
  readonly isCascade: (line: string) => boolean;
}

/** What may be told while a machine runs. */
export interface Signs {
  /** A line of the platform's own console. */
  log?(line: string): void;
  /** The guest goes to user mode. */
  userRuns?(): void;
}

/** From how many rounds on a place counts as one that cannot be left: so many, or fewer that have taken long. */
export interface ReentryLimits {
  readonly rounds: number;
  readonly slowRounds: number;
  /** Ticks that the slow rounds have taken. */
  readonly slowTicks: number;
}
/** What one look at a loop gives. */
export type Recurrence =
  /** Nothing that the loop changes, and nothing that comes from outside it, ever leads out of it: so many steps a round, or instructions. */
  | { readonly kind: 'endless'; readonly rip: VirtAddr; readonly count: number; readonly of: 'step' | 'instruction' }
  /** Round after round the same but for counters and the clock, which may lead out of it. */
  | { readonly kind: 'waiting' }
  /** It computes something, or goes through memory. */
  | { readonly kind: 'working' }
  /** It is too long, or does what cannot be followed. */
  | { readonly kind: 'unknown' };

/** How a guest that gets nowhere is told from one that works. It watches the machine from its making on. */
export interface HangRules {
  /** Whether the guest has asked its platform for something new since this was asked last. */
  tookNews(): boolean;
  /** Whether it has given its turn away meanwhile. */
  tookYields(): boolean;
  /** The place that it cannot leave, in words; null where there is none. */
  stuck(nameOf: (address: VirtAddr) => string): string | null;
  /** Looks at the loop that the vCPU goes round, if it does, in at most `most` steps; nothing of the machine is changed. */
  recurrence(most: number): Recurrence;
}

export interface Explanation {
  // ---- events ----
  /** Kinds of the platform's stream that {@link Explanation.decode} knows. */
  readonly heard: readonly string[];
  /** Kinds of named events; `names`: there are names below them. */
  readonly kinds: ReadonlyArray<{ readonly kind: string; readonly names: boolean }>;
  /** Fields that events of a name can have, empty where they have none; null when no event is called so. */
  eventFields(name: string): readonly string[] | null;
  /** What one event of the stream is in words, while it happens. */
  decode(event: MachineEvent, look: Look): readonly NamedEvent[];
  /** Tells of signs as they come; returns what ends that. */
  watch(signs: Signs): () => void;

  // ---- predicates ----
  /** Functions by name. */
  readonly questions: ReadonlyMap<string, Question>;
  /**
   * Kinds of the platform's stream that are told whenever linear addresses may lead elsewhere without a write to a table: another root,
   * another vCPU's turn. Null where the platform does not tell: a search that reads linear memory then looks after every step.
   */
  readonly translations: readonly string[] | null;
  /** Machine address of a guest's physical one, or null. */
  machineAddress(physical: bigint): bigint | null;

  // ---- beginnings ----
  /** What was at a machine address before the first step; null where nothing was put. */
  provenance(address: PhysAddr): Provenance | null;

  // ---- endings ----
  /** The event as something refused, null where it is none that a guest minds. */
  refusal(event: NamedEvent): Refusal | null;
  /** What decided `event`, with the platform's lines about it, as the machine stood before it; null where none is known. */
  blame(
    event: NamedEvent,
    log: readonly string[],
    look: Look,
    nameOf: (address: VirtAddr) => string | null,
  ): Blame | null;
  /** The event as something that was answered with no, be it what kernels ask in order to find out; null where it is none. */
  denial(event: NamedEvent): Refusal | null;
  /**
   * What `event` told the platform of the stack that it pushes to when it comes from user mode; null where it tells nothing of it, or where
   * what the machine stands before has not ended by that stack (`verdict`: the platform's words).
   */
  stackOf(event: NamedEvent, verdict: string): Blame | null;
  /** Of an event that told the platform of handlers: which word named that of a vector, as the machine stood before it. Null of others. */
  handlers(event: NamedEvent): ((vector: bigint, look: Look) => Blame | null) | null;
  /** Where the descriptor lies that a selector of a vCPU names, as it is in force; null where it names none. */
  descriptor(vcpu: number, selector: number): Place | null;
  /** Whether the byte at a machine address may be changed behind the guest's back without the platform's books becoming wrong. */
  isPlain(address: PhysAddr): boolean;
  /** What a vCPU waits for, as lines for people. */
  waits(vcpu: number): readonly string[];
  /** Rules of a new watch; null where silence alone tells that a guest hangs. */
  hangRules(machine: Machine, limits?: ReentryLimits): HangRules | null;
}

/** Of a platform that says nothing of itself. */
export const UNEXPLAINED: Explanation = {
  heard: [],
  kinds: [],
  eventFields: () => null,
  decode: () => [],
  watch: () => () => {},
  questions: new Map(),
  translations: null,
  machineAddress: (physical) => physical,
  provenance: () => null,
  refusal: () => null,
  blame: () => null,
  denial: () => null,
  stackOf: () => null,
  handlers: () => null,
  descriptor: () => null,
  isPlain: () => true,
  waits: () => [],
  hangRules: () => null,
};

/** Names of exceptions by vector (SDM vol. 3A table 6-1). */
const TRAPS = [
  'divide_error',
  'debug',
  'nmi',
  'breakpoint',
  'overflow',
  'bound_range',
  'invalid_opcode',
  'device_not_available',
  'double_fault',
  'coprocessor_overrun',
  'invalid_tss',
  'segment_not_present',
  'stack_fault',
  'general_protection',
  'page_fault',
  'spurious',
  'x87_error',
  'alignment_check',
  'machine_check',
  'simd_error',
];
export const trapName = (vector: number): string => TRAPS[vector] ?? `vector_${vector}`;
const TRAP_FIELDS = ['vector', 'error', 'address'];
/** Fields of an exception of that name, or null where none is called so. */
export const trapFields = (name: string): readonly string[] | null =>
  TRAPS.includes(name) || /^vector_\d+$/.test(name) ? TRAP_FIELDS : null;
