import { describe, expect, it } from 'vitest';
import { CODE } from './machine.ts';
import { advance, randomMachine, randomOf, scramble } from './random.ts';

const SEEDS = Number(process.env.SEEDS ?? 12);
const FIRST = Number(process.env.FIRST ?? 1);

describe('the cold tier against the evaluator', () => {
  for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
    const mode = seed % 3 === 0 ? 1 : 2;
    it(`agrees on random ${mode === 1 ? 32 : 64}-bit code that faults, modifies itself and crosses pages (seed ${seed})`, () => {
      const cold = randomMachine(seed, { tier: 'cold' }, mode);
      const oracle = randomMachine(seed, { tier: 'oracle' }, mode);
      const random = randomOf(seed + 77);
      for (let round = 0; round < 60; round++) {
        const budget = 1 + (random() % 40);
        for (const m of [cold, oracle]) advance(m, budget);
        const where = cold.platform.deliveries.at(-1);
        expect(where?.event).toEqual(oracle.platform.deliveries.at(-1)?.event);
        expect(cold.digest()).toBe(oracle.digest());
        if (round % 4 !== 3) continue;
        const place = CODE + BigInt(random() % 0x3ff0);
        for (const m of [cold, oracle]) {
          scramble(m, randomOf(seed * 1000 + round));
          m.cpu.rip = place;
        }
      }
      expect(cold.platform.deliveries.length).toBe(oracle.platform.deliveries.length);
      expect(cold.platform.deliveries.length).toBeGreaterThan(20);
    });
  }
});
