/**
 * Writes kallsyms as the builds of Linux for x86-64 do: labelled tables in the order of each version's scripts/kallsyms.c (write_src), as an
 * assembler would lay them out. Knows nothing of the reader.
 */
import { ascii, concat, le } from './elf.ts';

export interface ListedSymbol {
  readonly address: bigint;
  readonly type: string;
  readonly name: string;
  /** A per-CPU symbol whose address is its offset into the area. */
  readonly isPerCpu?: boolean;
}

type Label = 'addresses' | 'offsets' | 'base' | 'count' | 'names' | 'markers' | 'seqs' | 'tokens' | 'index';

/** One version's way: its labels in their order, bytes of `PTR`'s uses, `.balign`, and how offsets are made. */
interface Version {
  readonly labels: readonly Label[];
  readonly countBytes: number;
  readonly markerBytes: number;
  readonly align: number;
  readonly offset?: 'absolute-percpu' | 'relative' | 'place';
}

const names: readonly Label[] = ['count', 'names', 'markers'];
const tokens: readonly Label[] = ['tokens', 'index'];
const offsets: readonly Label[] = ['offsets', 'base'];
const quads = { countBytes: 8, markerBytes: 8, align: 8 };
const longs = { countBytes: 4, markerBytes: 4, align: 8 };

/** By version, and UP for a kernel that is built for one CPU. */
export const VERSIONS = {
  '4.4': { ...quads, labels: ['addresses', ...names, ...tokens] },
  '4.14': { ...quads, labels: [...offsets, ...names, ...tokens], offset: 'absolute-percpu' },
  '4.14 UP': { ...quads, labels: [...offsets, ...names, ...tokens], offset: 'relative' },
  '5.10': { ...longs, labels: [...offsets, ...names, ...tokens], offset: 'absolute-percpu' },
  '5.10 UP': { ...longs, labels: [...offsets, ...names, ...tokens], offset: 'relative' },
  '6.1': { ...longs, labels: [...offsets, ...names, ...tokens], offset: 'absolute-percpu' },
  '6.2': { ...longs, labels: [...offsets, ...names, 'seqs', ...tokens], offset: 'absolute-percpu' },
  '6.4': { ...longs, labels: [...names, ...tokens, ...offsets, 'seqs'], offset: 'absolute-percpu' },
  '6.15': { ...longs, labels: [...names, ...tokens, ...offsets, 'seqs'], offset: 'relative' },
  '7.0': { ...longs, align: 4, labels: [...names, ...tokens, 'offsets', 'seqs'], offset: 'place' },
} as const satisfies Record<string, Version>;
export type LinuxVersion = keyof typeof VERSIONS;

/** Tokens 1 and 2 stand for pieces of names, the printable characters for themselves, the others are in no name. */
const PIECES = ['Tf', 'percpu'];
const TOKENS = Array.from({ length: 256 }, (_, code) =>
  code >= 0x20 && code < 0x7f ? String.fromCharCode(code) : (PIECES[code - 1] ?? `~${code}`),
);

/** A length (one byte, or two above 127) and the name with its type in front in tokens. */
function packed(text: string, isLongLength: boolean): Uint8Array {
  const codes: number[] = [];
  for (let at = 0; at < text.length; ) {
    const piece = PIECES.findIndex((candidate) => text.startsWith(candidate, at));
    codes.push(piece < 0 ? text.charCodeAt(at) : piece + 1);
    at += piece < 0 ? 1 : PIECES[piece]!.length;
  }
  const length = codes.length < 128 || !isLongLength ? [codes.length] : [(codes.length & 127) | 128, codes.length >> 7];
  return Uint8Array.from([...length, ...codes]);
}

/** The tables of `symbols`, sorted by the caller, as `version` writes them; the first byte stands at `address`. */
export function encodeKallsyms(version: LinuxVersion, symbols: readonly ListedSymbol[], address: bigint): Uint8Array {
  const { labels, countBytes, markerBytes, align, offset }: Version = VERSIONS[version];
  const isLongLength = Number.parseInt(version, 10) >= 6;
  const packedNames = symbols.map(({ type, name }) => packed(type + name, isLongLength));
  const base = symbols.find(({ isPerCpu }) => !isPerCpu)!.address;
  const offsetOf = (symbol: ListedSymbol, place: bigint): bigint => {
    if (offset === 'place') return symbol.address - place;
    if (offset === 'relative') return symbol.address - base;
    return symbol.isPerCpu ? symbol.address : base - symbol.address - 1n;
  };
  const markers: number[] = [];
  let length = 0;
  packedNames.forEach((name, i) => {
    if (i % 256 === 0) markers.push(length);
    length += name.length;
  });
  let tokenAt = 0;
  const tokenIndex = TOKENS.map((token) => (tokenAt += token.length + 1) - token.length - 1);
  const alphabetical = symbols.map((_, i) => i).sort((a, b) => (symbols[a]!.name < symbols[b]!.name ? -1 : 1));
  const contents: Record<Label, (at: bigint) => Uint8Array[]> = {
    addresses: () => symbols.map((symbol) => le(symbol.address, 8)),
    offsets: (at) => symbols.map((symbol, i) => le(offsetOf(symbol, at + BigInt(4 * i)), 4)),
    base: () => [le(base, 8)],
    count: () => [le(symbols.length, countBytes)],
    names: () => packedNames,
    markers: () => markers.map((marker) => le(marker, markerBytes)),
    seqs: () => alphabetical.map((i) => Uint8Array.of(i >> 16, i >> 8, i)),
    tokens: () => TOKENS.map((token) => ascii(`${token}\0`)),
    index: () => tokenIndex.map((at) => le(at, 2)),
  };
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const label of labels) {
    const content = concat(new Uint8Array(-at & (align - 1)), ...contents[label](address + BigInt(-(-at & -align))));
    parts.push(content);
    at += content.length;
  }
  return concat(...parts);
}
