import { describe, expect, it } from 'vitest';
import { CODE } from './machine.ts';
import { advance, randomMachine, randomOf, scramble } from './random.ts';

/** Translates nearly everything at once. */
const EAGER = { sampleSteps: 5, samples: 1, misses: 1, batch: 1, patience: 1, sampleHops: 3, hops: 2 };
const SEEDS = Number(process.env.SEEDS ?? 12);
const FIRST = Number(process.env.FIRST ?? 1);

describe('the hot tier against the cold one', () => {
  for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
    const mode = seed % 3 === 0 ? 1 : 2;
    it(`agrees on random ${mode === 1 ? 32 : 64}-bit code that faults, modifies itself and crosses pages (seed ${seed})`, () => {
      const hot = randomMachine(seed, { tier: 'hot', promotion: EAGER }, mode);
      const cold = randomMachine(seed, { tier: 'cold' }, mode);
      const random = randomOf(seed + 77);
      for (let round = 0; round < 60; round++) {
        const budget = 1 + (random() % 40);
        for (const m of [hot, cold]) advance(m, budget);
        expect(hot.platform.deliveries.at(-1)?.event).toEqual(cold.platform.deliveries.at(-1)?.event);
        expect(hot.digest()).toBe(cold.digest());
        if (round % 4 !== 3) continue;
        const place = CODE + BigInt(random() % 0x3ff0);
        for (const m of [hot, cold]) {
          scramble(m, randomOf(seed * 1000 + round));
          m.cpu.rip = place;
        }
      }
      expect(hot.engine.hot!.compiled).toBeGreaterThan(0);
    });
  }
});
