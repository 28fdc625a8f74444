/**
 * A scenario of the tier fuzzer: everything that a run depends on, as plain data made from one seed. It is a program of
 * loops, calls, jump tables, stores to code and to page tables; a list of things that happen from outside at given ticks; and
 * the ticks at which the tiers are stopped and compared.
 */
import type { CodeMode, CpuPolicy } from '../../../src/x86/form.ts';
import { randomOf } from '../random.ts';
import { writeProgram } from './program.ts';

/** Bytes that belong together: a shrunken program has NOPs in place of those left out. */
export interface Unit {
  readonly offset: number;
  readonly length: number;
}
/** Something that happens between two steps. `a` to `c` are random words. */
export interface Happening {
  readonly tick: number;
  readonly kind:
    | 'write code'
    | 'restore code'
    | 'write data'
    | 'entry'
    | 'interrupt'
    | 'flags'
    | 'controls'
    | 'registers'
    | 'jump'
    | 'shadow'
    | 'flush'
    | 'forget'
    | 'clear dirty'
    | 'pause'
    | 'watch';
  readonly a: number;
  readonly b: number;
  readonly c: number;
}
export interface Scenario {
  readonly seed: number;
  readonly mode: CodeMode;
  readonly policy: CpuPolicy;
  readonly cpl: 0 | 3;
  /** Base of CS outside 64-bit mode. */
  readonly codeBase: number;
  /** Number of the promotion that the hot tier uses. */
  readonly promotion: number;
  readonly code: Uint8Array;
  readonly units: readonly Unit[];
  /** Offsets in the code where a run may start or go on after a fault. */
  readonly entries: readonly number[];
  readonly jumps: ReadonlyArray<{ readonly slot: number; readonly offset: number }>;
  readonly happenings: readonly Happening[];
  /** Ticks of the comparisons, ascending. */
  readonly stops: readonly number[];
  /** Chance in 256 that a fault is passed over by the next instruction. */
  readonly skip: number;
}

/** Promotions of the hot tiers that take turns: nearly everything is translated soon. */
export const PROMOTIONS = [
  { sampleSteps: 7, samples: 1, misses: 1, batch: 1, patience: 1, sampleHops: 3, hops: 2 },
  { sampleSteps: 23, samples: 1, misses: 1, batch: 2, patience: 3, sampleHops: 7, hops: 2 },
  { sampleSteps: 61, samples: 1, misses: 1, batch: 4, patience: 8, sampleHops: 11, hops: 3 },
  { sampleSteps: 37, samples: 2, misses: 2, batch: 8, patience: 5, sampleHops: 5, hops: 4 },
] as const;

const KINDS: ReadonlyArray<readonly [Happening['kind'], number]> = [
  ['write code', 4],
  ['restore code', 5],
  ['write data', 2],
  ['entry', 7],
  ['interrupt', 8],
  ['flags', 2],
  ['controls', 3],
  ['registers', 2],
  ['jump', 3],
  ['shadow', 2],
  ['flush', 2],
  ['forget', 1],
  ['clear dirty', 2],
  ['pause', 1],
  ['watch', 1],
];
const TOTAL = KINDS.reduce((sum, [, weight]) => sum + weight, 0);

/** Which instructions the program of a seed is made of. */
export const policyOf = (seed: number): CpuPolicy => {
  if (seed % 4 === 0) return 'x86-64-v1';
  return seed % 4 === 1 ? 'x86-64-v2-intel' : 'x86-64-v2';
};

/** The scenario of a seed. */
export function scenarioOf(seed: number, policy: CpuPolicy = policyOf(seed)): Scenario {
  const random = randomOf(seed ^ 0x5eed);
  for (let i = 0; i < 4; i++) random();
  const mode: CodeMode = random() % 5 < 2 ? 1 : 2;
  const codeBase = mode === 1 && random() % 4 === 0 ? [0x1000, 0x123, 0x40_0000, 0xfff0_0000][random() % 4]! : 0;
  const cpl = random() % 3 === 0 ? 3 : 0;
  const ticks = [4000, 8000, 8000, 20_000, 20_000, 40_000][random() % 6]!;
  const busy = random() % 4;
  const stops: number[] = [];
  const happenings: Happening[] = [];
  for (let tick = 0; tick < ticks; ) {
    const way = random() % 12;
    tick += way === 0 ? 1 + (random() % 3) : way < 7 ? 1 + (random() % 200) : 1 + (random() % 1500);
    tick = Math.min(tick, ticks);
    stops.push(tick);
    if (random() % 4 > busy) continue;
    for (let i = 1 + (random() % 2); i > 0; i--) {
      let pick = random() % TOTAL;
      const kind = KINDS.find(([, weight]) => (pick -= weight) < 0)![0];
      happenings.push({ tick, kind, a: random(), b: random(), c: random() });
    }
  }
  const program = writeProgram(mode, policy, cpl, codeBase, random);
  return {
    seed,
    mode,
    policy,
    cpl,
    codeBase,
    promotion: random() % PROMOTIONS.length,
    ...program,
    happenings,
    stops,
    skip: [0, 128, 220, 250][random() % 4]!,
  };
}
