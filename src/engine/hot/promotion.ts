/** When code is translated. Unobservable. */
export interface Promotion {
  /** Steps between two looks at where the cold tier is. */
  readonly sampleSteps: number;
  /** Looks that find it in one bucket of code before that is translated. */
  readonly samples: number;
  /** Looks that find it inside a region, in one block, before that may be entered there. */
  readonly misses: number;
  /** Regions compiled together. */
  readonly batch: number;
  /** Looks after which fewer are. */
  readonly patience: number;
  /** Steps from region to region between two looks at which two they are. */
  readonly sampleHops: number;
  /** Looks that find the same two before they are made one. */
  readonly hops: number;
  /** Counts the steps that regions take (`regionSteps` of the vCPU). */
  readonly measured?: boolean;
}
export const PROMOTION: Promotion = {
  sampleSteps: 2039,
  samples: 512,
  misses: 32,
  batch: 16,
  patience: 400,
  sampleHops: 1021,
  hops: 64,
};
