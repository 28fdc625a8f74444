/** The parts that a predicate is compiled of: how each is evaluated, and what is known of it before anything runs. */
import type { Scope } from './expression.ts';
import type { Texts, Value } from './expression-comparison.ts';

/** Gives a part's value in a state; throws {@link ABSENT} where something that it reads is not there. */
export type Evaluator = (scope: Scope) => Value;
/** Part of a predicate: how it is evaluated, and what is known of it before. */
export interface Term {
  readonly run: Evaluator;
  /** It is the same in every state. */
  readonly constant: boolean;
  /** The linear address that it is, where it is made of symbols and integers by + and -. */
  readonly location: bigint | null;
  /** It holds at none but the places noted. */
  readonly placed: boolean;
  /** Any step may change it. */
  readonly free: boolean;
  /** As of a side of a comparison. */
  readonly texts: Texts | null;
  readonly most: bigint | null;
}
/** Thrown inside an evaluation: something it reads is not there. */
export const ABSENT = Symbol('absent');
/** Ends an evaluation by {@link ABSENT}. */
export function absent(): never {
  throw ABSENT;
}

/** What a value means as a condition. */
export const truth = (v: Value): boolean =>
  typeof v === 'bigint' ? v !== 0n : v === true || (typeof v === 'string' && v !== '');

/** A value made of other terms. */
export const made = (run: Evaluator, ...of: readonly Term[]): Term => ({
  run,
  constant: of.every((term) => term.constant),
  location: null,
  placed: false,
  free: of.some((term) => term.free || term.placed),
  texts: null,
  most: null,
});
/** What depends on the state and can only change where a search is told of it. */
export const read = (run: Evaluator, ...of: readonly Term[]): Term => ({ ...made(run, ...of), constant: false });
/** What any step may change. */
export const free = (run: Evaluator): Term => ({ ...read(run), free: true });
/** A number of 64 bits, or of so many. */
export const word = (term: Term, bits = 64n): Term => ({ ...term, most: (1n << bits) - 1n });
/** The same in every state. */
export const constant = (value: Value): Term => ({
  ...made(() => value),
  texts: typeof value === 'string' ? [value] : null,
});
/** What constants are evaluated in: they ask nothing of it. */
export const NO_STATE = {} as Scope;

/** The value in a state, null where it is {@link ABSENT}. */
export function valueOrNull(run: Evaluator, scope: Scope): Value {
  try {
    return run(scope);
  } catch (error) {
    if (error === ABSENT) return null;
    throw error;
  }
}
/** Whether it holds; what is not there does not. */
export function orAbsent(run: Evaluator, scope: Scope): boolean {
  return truth(valueOrNull(run, scope) ?? false);
}
