/**
 * Why an access sends its instruction back, nothing committed: numbers beside the CPU's vectors, which no guest ever sees.
 */

/** Its bytes are watched: the oracle executes it. */
export const WATCH_VECTOR = 256;
/** It is a region's, and changes translated code, or stores across pages or to a page of tables: the cold tier executes it. */
export const RETRY_VECTOR = 257;
/** It meets a data breakpoint: it is executed by itself. */
export const BREAK_VECTOR = 258;
