/** Ways to break a lowering, as changes of its source. `node tools/fuzz-tiers.ts --mutate` shows that each is found. */

export interface Mutation {
  readonly name: string;
  /** Relative to src. */
  readonly file: string;
  /** Text that stands in the file once, and what takes its place. */
  readonly find: string;
  readonly replace: string;
}

export const MUTATIONS: readonly Mutation[] = [];
