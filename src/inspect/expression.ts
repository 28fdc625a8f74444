/**
 * Predicates over a machine's state (`--when`): JavaScript's expression grammar with a meaning of our own.
 *
 *   rip in panic            rax == 0 && rbx > 0x10        cpu[0].rsp          u64[rsp + 8]      u32[pa:0x1000]
 *   panic+0x1b && rdi == 0  console ~ "Unable to mount"   pte(va).w           type(mfn) == "l1"
 *   pending(3), masked(3)   pin.result == -22             mmu_update.result   prev(rax) != rax  count(call(panic)) == 2
 *
 * Invariants: all numbers are integers of any size (comparison for equality is modulo 2^64, so that -22 equals what RAX
 * holds); reading memory that is not mapped makes the whole predicate false, never an error; a location where a condition is asked
 * for (`panic`, `panic+0x1b`, `0xffffffff80100045`) holds where RIP is; names are looked up and constants refused when a predicate
 * is parsed, not when it is evaluated.
 */
import type { Question } from '../machine/explanation.ts';
import { Compiler } from './expression-compiler.ts';
import { ABSENT, truth } from './expression-term.ts';

/** What names mean, as known before anything runs. */
export interface Names {
  /** The address and size of a symbol; null when unknown. */
  symbol(name: string): { readonly address: bigint; readonly size: bigint } | null;
  /** Virtual CPUs, numbered from 0. */
  readonly vcpus: number;
  /** Fields that an event of this name can have; null when there is no such event. */
  eventFields(name: string): readonly string[] | null;
  /** A function that the platform has, of one number; null when there is none of that name. */
  question(name: string): Question | null;
}

/** What a predicate may ask of the machine. Addresses are linear unless said otherwise. */
export interface Scope {
  /** A register by name on a vCPU (null: the current one), or null when there is no such register. */
  register(name: string, vcpu: number | null): bigint | null;
  /** Reads memory; null when it is not mapped. */
  read(space: 'va' | 'pa' | 'ma', address: bigint, bytes: number): bigint | null;
  /** The leaf page-table entry of a linear address, or null. */
  pte(address: bigint): bigint | null;
  /** The platform's answer to a question about a number, or null. */
  ask(question: Question, of: bigint): bigint | boolean | string | null;
  /** Everything the guest has written to its console so far. */
  readonly consoleText: string;
  /** An event of the step that led to this state, where it is asked about. */
  readonly event: MachineEvent | null;
}

/** A hypercall (one entry for each of its parts, such as a pin), fault or upcall. */
export interface MachineEvent {
  /** `pin`, `mmu_update`, `set_gdt`, `page_fault`, `upcall`... */
  readonly name: string;
  readonly fields: Readonly<Record<string, bigint>>;
}

/** Linear addresses from `address` on. */
export interface Extent {
  readonly address: bigint;
  readonly bytes: bigint;
}

/** What a predicate depends on: tells a search where it can hold at all. */
export interface Dependencies {
  /** It reads only the console. */
  readonly console: boolean;
  /** Names of the events that it asks about. */
  readonly events: readonly string[];
  /** It reads memory, page tables, or asks the platform. */
  readonly memory: boolean;
  /** Code at whose instructions it is to be looked at. */
  readonly places: readonly Extent[];
  /** Nothing says where it can begin to hold: it must be looked at after every step. */
  readonly everyStep: boolean;
  /** It remembers what it saw (prev, count): the state after one that was looked at is to be looked at as well. */
  readonly remembers: boolean;
  /** It counts. */
  readonly counts: boolean;
  /** Kinds of the platform's events that change what it answers ({@link Question.changes}). */
  readonly changes: readonly string[];
}

/** A parsed predicate. Values remembered by prev() and count() live in it: use a fresh one for every search. */
export interface Predicate {
  readonly source: string;
  readonly dependencies: Dependencies;
  /** The place in code where RIP is, and nothing else, makes it hold; null where there is more to it. */
  readonly place: bigint | null;
  /** Remembers a state that is not asked about: the one before the first that is. */
  begin(scope: Scope): void;
  holds(scope: Scope): boolean;
}

/** Parses `source`; E_EXPRESSION names the place of a mistake, a name that means nothing, or what is the same in every state. */
export function parsePredicate(source: string, names: Names): Predicate {
  const compiler = new Compiler(source, names);
  const { run, free } = compiler.whole();
  return {
    source,
    dependencies: compiler.dependencies(free),
    place: compiler.place,
    begin: (scope) => compiler.begin(scope),
    holds(scope) {
      try {
        return truth(run(scope));
      } catch (error) {
        if (error === ABSENT) return false;
        throw error;
      } finally {
        compiler.stepped(scope);
      }
    },
  };
}

/** Holds where any of `all` does, and then tells the numbers of those that do. */
export function anyOf(all: readonly Predicate[], told: (holding: readonly number[]) => void): Predicate {
  const parts = all.map(({ dependencies }) => dependencies);
  return {
    source: all.map(({ source }) => `(${source})`).join(' || '),
    dependencies: {
      console: parts.some((d) => d.console),
      events: parts.flatMap((d) => d.events),
      memory: parts.some((d) => d.memory),
      places: parts.flatMap((d) => d.places),
      everyStep: parts.some((d) => d.everyStep),
      remembers: parts.some((d) => d.remembers),
      counts: parts.some((d) => d.counts),
      changes: parts.flatMap((d) => d.changes),
    },
    place: null,
    begin(scope) {
      for (const predicate of all) predicate.begin(scope);
    },
    holds(scope) {
      const holding = all.flatMap((predicate, number) => (predicate.holds(scope) ? [number] : []));
      if (holding.length > 0) told(holding);
      return holding.length > 0;
    },
  };
}
