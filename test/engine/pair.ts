/** Machines that do the same in the hot and in the cold tier. */
import { expect } from 'vitest';
import type { Promotion } from '../../src/engine/hot/promotion.ts';
import { DATA, TestMachine } from './machine.ts';
import { advance, randomOf } from './random.ts';

/** Translates nearly everything at once. */
export const EAGER: Promotion = {
  sampleSteps: 7,
  samples: 1,
  misses: 1,
  batch: 1,
  patience: 1,
  sampleHops: 3,
  hops: 2,
};

/** A machine of the hot tier and one of the cold, with this code and three pages at rdi. */
export const hotMachine = (hex: string, setUp: (m: TestMachine) => void = () => {}, promotion = EAGER): TestMachine[] =>
  [{ tier: 'hot' as const, promotion }, { tier: 'cold' as const }].map((options) => {
    const m = new TestMachine(options);
    m.code(hex);
    m.mapNew(DATA, 3);
    m.set('rdi', DATA);
    setUp(m);
    return m;
  });
/** Runs both machines in equal pieces and compares them after each. */
export function together(machines: TestMachine[], pieces: number, random = randomOf(99), most = 60): void {
  for (let i = 0; i < pieces; i++) {
    const budget = 1 + (random() % most);
    for (const m of machines) advance(m, budget);
    expect(machines[0]!.digest()).toBe(machines[1]!.digest());
  }
}
/** Regions that the machine of the hot tier has compiled. */
export const compiled = (m: TestMachine): number => m.engine.hot!.compiled;
