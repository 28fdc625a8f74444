/**
 * Counted work: what bounds the host's time of a step, whatever counts a guest passes (D-06).
 *
 * A unit is an entry, or 64 bytes copied (src/core/work.ts). A hypercall is one step up to {@link STEP_WORK} units; beyond, between two entries, it
 * leaves what Xen's continuation leaves (xen/arch/x86/hypercall.c) and goes on as the next step. One entry is never cut, and
 * neither is the promotion or the release of the page tables it names, which the domain's frames bound.
 */

/** Units after which a hypercall is continued by another step; part of the semantics version. */
export const STEP_WORK = 2 ** 18;
/** Units of a hypercall before it does anything, and of a line that Xen prints. */
const CALL_WORK = 8;
const LINE_WORK = 8;
/** Units of an instruction that is answered with numbers. */
const ANSWER_WORK = 4;

/** Counts the work of steps. Nothing of it is state: a hypercall begins at 0. */
export class WorkMeter {
  /** Units of all steps so far. */
  total = 0;
  #start = 0;

  /** A hypercall begins. */
  begin(): void {
    this.#start = this.total;
    this.call();
  }
  /** A hypercall by itself or in a multicall, or another entry of the hypervisor. */
  call(): void {
    this.total += CALL_WORK;
  }
  /** RDTSC or CPUID. */
  answer(): void {
    this.total += ANSWER_WORK;
  }
  /** A line of Xen's console. */
  line(): void {
    this.total += LINE_WORK;
  }
  charge(units: number): void {
    this.total += units;
  }
  /** Units since the last hypercall began. */
  get spent(): number {
    return this.total - this.#start;
  }
  /** The hypercall has had its share: what is left of it is for the next step. */
  get isSpent(): boolean {
    return this.total - this.#start >= STEP_WORK;
  }
}

/** A hypercall goes on as another step: its first arguments then, the others stay (hypercall_create_continuation). */
export interface Continuation {
  readonly goesOnWith: readonly bigint[];
}
/** Arguments of C's unsigned int or long, as registers hold them. */
export const goesOnWith = (...args: readonly (bigint | number)[]): Continuation => ({ goesOnWith: args.map(BigInt) });
export const isContinuation = (x: unknown): x is Continuation =>
  typeof x === 'object' && x !== null && 'goesOnWith' in x;
