/** Comparisons in predicates: what they give, and which of them give the same whatever the machine does. */

/** What an expression can come to. */
export type Value = bigint | boolean | string | null;
/** Texts that an expression can come to; `any` where they are not known. */
export type Texts = readonly string[] | 'any';

/** One side of a comparison, as far as it is known before anything runs. */
export interface Side {
  /** As it was written. */
  readonly text: string;
  /** Its value, where it has the same in every state; undefined elsewhere. */
  readonly value: Value | undefined;
  /** The texts it can be; null for numbers and truth values. */
  readonly texts: Texts | null;
  /** The largest number that it can be where it is none below 0; null where that is not known. */
  readonly most: bigint | null;
}

/** Comparisons by operator. For equality numbers are the same modulo 2^64, so that -22 equals what RAX holds, and true is 1. */
export const COMPARISONS: Readonly<Record<string, (x: Value, y: Value) => boolean>> = {
  '==': same,
  '===': same,
  '!=': (x, y) => !same(x, y),
  '!==': (x, y) => !same(x, y),
  '<': (x, y) => number(x) < number(y),
  '<=': (x, y) => number(x) <= number(y),
  '>': (x, y) => number(x) > number(y),
  '>=': (x, y) => number(x) >= number(y),
};
const isEquality = (operator: string): boolean => /^[!=]=/.test(operator);

function number(value: Value): bigint {
  return typeof value === 'bigint' ? value : value ? 1n : 0n;
}
function same(a: Value, b: Value): boolean {
  if (typeof a === 'string' || typeof b === 'string') return a === b;
  return BigInt.asUintN(64, number(a)) === BigInt.asUintN(64, number(b));
}

/** Why a comparison comes out the same in every state; null where it may not. */
export function whySettled(operator: string, a: Side, b: Side): string | null {
  const compact = ({ text }: Side): string => text.replace(/\s/g, '');
  if (compact(a) === compact(b)) return `${a.text} is compared with itself`;
  if (a.texts !== null || b.texts !== null) return whyOtherTexts(operator, a, b);
  return whyOutside(operator, a, b, false) ?? whyOutside(operator, b, a, true);
}

function whyOtherTexts(operator: string, a: Side, b: Side): string | null {
  if (!isEquality(operator)) return `${operator} compares numbers`;
  if (a.texts === null || b.texts === null) return `${a.text} and ${b.text} are a number and a text`;
  const [few, other] = a.value === undefined ? [a, b] : [b, a];
  if (few.texts === 'any' || other.texts === 'any' || few.texts!.some((text) => other.texts!.includes(text)))
    return null;
  return `${few.text} is never ${other.text}; it is one of ${(few.texts as readonly string[]).join(', ')}`;
}

/** Where `side` has bounds and `other` is one number: they compare alike at both bounds, and so in between. */
function whyOutside(operator: string, side: Side, other: Side, turned: boolean): string | null {
  const { most } = side;
  const { value } = other;
  if (most === null || typeof value !== 'bigint') return null;
  const compare = COMPARISONS[operator]!;
  const at = (bound: bigint): boolean => (turned ? compare(value, bound) : compare(bound, value));
  const outside = isEquality(operator) ? BigInt.asUintN(64, value) > most : at(0n) === at(most);
  return outside ? `${side.text} is a number of 0 to 0x${most.toString(16)}` : null;
}
