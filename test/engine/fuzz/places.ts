/** Where the parts of a fuzzed program lie in its address space. */

/** Linear addresses; all tables that map them lie at {@link TABLES} in the guest's sight. */
export const CODE = 0x40_0000;
export const CODE_PAGES = 4;
export const DATA = 0x80_0000;
export const DATA_PAGES = 8;
export const TABLES = 0xc0_0000;
export const STACK = 0xbf_c000;
export const STACK_PAGES = 4;
/** In the last data page: loop counters, control words, jump tables, page-table entries to store. */
export const COUNTERS = DATA + 0x7100;
export const CONTROLS = DATA + 0x7400;
export const JUMPS = DATA + 0x7800;
export const ALIAS = DATA + 0x9000;
