/**
 * The declaration of binary structures: field names and types in order, from which offsets and sizes follow for both word
 * sizes by the rules of the System V ABIs (i386 aligns a u64 to 4 bytes). Little-endian, as every Xen guest.
 */

/** `word` is C's unsigned long: 8 bytes on amd64, 4 on i386. */
export type Scalar = 'u8' | 's8' | 'u16' | 'u32' | 'u64' | 'word';
/** One width's structure: field offsets by name, size and alignment in bytes. */
export interface Layout<F extends string> {
  readonly bytes: number;
  readonly align: number;
  readonly at: { readonly [K in F]: number };
}
type Element = Scalar | Layout<string>;
/** A field: a scalar, a structure, or an array [element, count]. */
export type Field = Element | readonly [Element, number];
export type WordBytes = 4 | 8;

const SIZE = { u8: 1, s8: 1, u16: 2, u32: 4, u64: 8 } as const;

const measure = (element: Element, word: WordBytes): { bytes: number; align: number } => {
  if (typeof element === 'object') return element;
  const bytes = element === 'word' ? word : SIZE[element];
  return { bytes, align: Math.min(bytes, word) };
};
const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to;
const isArray = (field: Field): field is readonly [Element, number] => Array.isArray(field);

/** Lays `fields` out for one word size. */
export function layout<F extends string>(word: WordBytes, fields: Readonly<Record<F, Field>>): Layout<F> {
  const at = {} as Record<F, number>;
  let bytes = 0;
  let align = 1;
  for (const [name, field] of Object.entries(fields) as [F, Field][]) {
    const [element, count] = isArray(field) ? field : [field, 1];
    const one = measure(element, word);
    bytes = roundUp(bytes, one.align);
    at[name] = bytes;
    bytes += roundUp(one.bytes, one.align) * count;
    align = Math.max(align, one.align);
  }
  return { bytes: roundUp(bytes, align), align, at };
}
