/** Writes BTF as Documentation/bpf/btf.rst of Linux describes it. Knows nothing of the reader. */
import { ascii, concat, le } from './elf.ts';

export interface BtfMember {
  readonly name: string;
  readonly type: number;
  /** Distance from the start in bits; in a structure with bit fields the member's size in bits is its own. */
  readonly bits: number;
  readonly fieldBits?: number;
}

/** A type; numbers of others count from 1 in the order of the list, 0 is void. */
export type BtfType =
  | {
      readonly kind: 'int' | 'struct' | 'union';
      readonly name: string;
      readonly size: number;
      readonly members?: readonly BtfMember[];
    }
  | { readonly kind: 'pointer' | 'typedef' | 'const'; readonly name?: string; readonly to: number }
  | { readonly kind: 'array'; readonly element: number; readonly length: number };

const KIND = { int: 1, pointer: 2, array: 3, struct: 4, union: 5, typedef: 8, const: 10 } as const;

/** The section: header, types, strings. */
export function encodeBtf(list: readonly BtfType[]): Uint8Array {
  let strings = '\0';
  const nameAt = (name: string): number => {
    if (name === '') return 0;
    strings += `${name}\0`;
    return strings.length - name.length - 1;
  };
  const head = (name: string, kind: number, members: number, flag: boolean, word: number): Uint8Array =>
    concat(le(nameAt(name), 4), le((flag ? 0x8000_0000 : 0) + kind * 2 ** 24 + members, 4), le(word, 4));
  const types = list.map((type) => {
    if (type.kind === 'array')
      return concat(head('', KIND.array, 0, false, 0), le(type.element, 4), le(1, 4), le(type.length, 4));
    if (!('size' in type)) return head(type.name ?? '', KIND[type.kind], 0, false, type.to);
    if (type.kind === 'int') return concat(head(type.name, KIND.int, 0, false, type.size), le(8 * type.size, 4));
    const members = type.members ?? [];
    const flag = members.some(({ fieldBits }) => fieldBits !== undefined);
    return concat(
      head(type.name, KIND[type.kind], members.length, flag, type.size),
      ...members.map(({ name, type: of, bits, fieldBits = 0 }) =>
        concat(le(nameAt(name), 4), le(of, 4), le(bits + fieldBits * 2 ** 24, 4)),
      ),
    );
  });
  const body = concat(...types);
  const header = [le(0xeb9f, 2), le(1, 1), le(0, 1), le(24, 4), le(0, 4), le(body.length, 4), le(body.length, 4)];
  return concat(...header, le(strings.length, 4), body, ascii(strings));
}
