/** How generated code returns to TypeScript, and the handlers that belong to the engine rather than to a form. */

/** Return values below {@link FIRST_RECORD} leave the dispatch loop. "Free": the step that was taken is given back. */
export const EXIT = {
  /** The budget is used up; the next record waits in `record`. */
  budget: 0,
  /** A fault waits in the vCPU state. Free. */
  fault: 1,
  /** A system instruction, for TypeScript. Free. */
  system: 2,
  /** Continue at `rip`, whose record is not known here. */
  lookup: 3,
  /** The record's bytes have changed. Free. */
  stale: 4,
  /** Nothing has been decoded from here on. Free. */
  end: 5,
  /** An instruction that crosses a page must be checked. Free. */
  cross: 6,
  /** Continue with the record in `record` without a step; never leaves the loop. */
  linked: 7,
  /** Like `lookup`. Free. */
  lookupFree: 8,
  /** A page offset at which a debugger may want to stop; the instruction is the next record. Free. */
  pause: 9,
  /** The record is an entry of a region; never leaves the loop. Free. */
  hot: 10,
  /** A fault of a region's instruction waits in the vCPU state; `rip` is at it. The steps left are exact. */
  hotFault: 11,
  /** The steps left are fewer than the instructions of the region's block at `rip`. They are exact. */
  hotBudget: 12,
  /** On the way from region `hopFrom` to another, whose entry is the next record: for the sampling of such steps. */
  hop: 13,
} as const;

/** Records lie above: the first page of linear memory holds none. */
export const FIRST_RECORD = 64;

/** Dispatch-table indices of the engine's own handlers; forms follow. */
export const HANDLER = {
  end: 0,
  stale: 1,
  link: 2,
  pageEnd: 3,
  cross: 4,
  system: 5,
  pause: 6,
  hot: 7,
  firstForm: 8,
} as const;

/** Handlers the dispatch table has room for. */
export const TABLE_SIZE = 16384;
/** Regions the table of regions has room for. */
export const REGION_TABLE_SIZE = 8192;
