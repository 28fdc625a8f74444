/**
 * The formats in which Linux for x86-64 has kept its symbols since 4.0: one table, which the search goes through.
 *
 * In every format there are, in `.rodata` and each aligned: the number of symbols, their names as strings of token numbers with the
 * length in front, markers (the offset of every 256th name), 256 tokens with NULs behind, and the index of the tokens (an offset of 16 bits
 * each). They follow each other in this order; a format says what else stands where.
 *
 * Source: scripts/kallsyms.c (write_src) and kernel/kallsyms.c (kallsyms_sym_address, get_symbol_offset) from Linux 4.4 to 7.3. Late
 * versions of 6.1 (6.1.176 is one) have the format of 6.2.
 */

/** How one range of kernels keeps its symbols. */
export interface Format {
  /** The first version of Linux that does. */
  readonly since: string;
  /**
   * The table of addresses. `whole`: 64 bits each. `base`: 32-bit offsets, and behind them the 64-bit base they count from; where the
   * kernel is built for several CPUs (KALLSYMS_ABSOLUTE_PERCPU, up to 6.14) an offset of 0 and above is a per-CPU symbol's value itself
   * and one below means `base - 1 - offset`. `place`: 32-bit offsets, each counted from the address where it stands itself.
   */
  readonly addresses: 'whole' | 'base' | 'place';
  /** Where that table stands: directly in front of the number of symbols or directly behind the index of the tokens. */
  readonly addressesAt: 'front' | 'behind';
  /** Bytes of a marker. */
  readonly marker: 8 | 4;
  /** Bytes that each table is aligned to. */
  readonly align: 8 | 4;
  /** Bytes of a name's length at most; the second one follows where bit 7 of the first is set. */
  readonly length: 1 | 2;
  /** Whether the order of the names by alphabet, 3 bytes a symbol, stands between markers and tokens; where not, it is of no concern. */
  readonly orderBeforeTokens: boolean;
}

/** Newest first. What a row does not share with the one below it is what its kernels changed. */
export const FORMATS: readonly Format[] = [
  { since: '7.0', addresses: 'place', addressesAt: 'behind', marker: 4, align: 4, length: 2, orderBeforeTokens: false },
  { since: '6.4', addresses: 'base', addressesAt: 'behind', marker: 4, align: 8, length: 2, orderBeforeTokens: false },
  { since: '6.2', addresses: 'base', addressesAt: 'front', marker: 4, align: 8, length: 2, orderBeforeTokens: true },
  { since: '6.1', addresses: 'base', addressesAt: 'front', marker: 4, align: 8, length: 2, orderBeforeTokens: false },
  { since: '4.20', addresses: 'base', addressesAt: 'front', marker: 4, align: 8, length: 1, orderBeforeTokens: false },
  { since: '4.6', addresses: 'base', addressesAt: 'front', marker: 8, align: 8, length: 1, orderBeforeTokens: false },
  { since: '4.0', addresses: 'whole', addressesAt: 'front', marker: 8, align: 8, length: 1, orderBeforeTokens: false },
];
