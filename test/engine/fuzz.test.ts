import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { broken } from '../../tools/fuzz/mutate.ts';
import { MUTATIONS } from './fuzz/mutations.ts';
import { Fuzzer } from './fuzz/run.ts';
import { scenarioOf } from './fuzz/scenario.ts';

const PROGRAMS = Number(process.env.SEEDS ?? 60);
const FIRST = Number(process.env.FIRST ?? 1);
const SRC = resolve(import.meta.dirname, '../../src');

describe('random programs', () => {
  it(`leave equal registers and memory in hot, cold and oracle tiers at every stop (seeds from ${FIRST})`, () => {
    const fuzzer = new Fuzzer();
    for (let seed = FIRST; seed < FIRST + PROGRAMS; seed++) {
      const tiers = seed % 4 === 0 ? (['hot', 'cold', 'oracle'] as const) : (['hot', 'cold'] as const);
      expect(
        fuzzer.run(scenarioOf(seed), tiers),
        `node tools/run.mjs fuzz-tiers --seed ${seed} --programs 1`,
      ).toBeNull();
    }
    const { coverage } = fuzzer;
    // the fuzz means something: most steps are taken by regions, most forms are in some
    expect(coverage.regionSteps / coverage.steps).toBeGreaterThan(0.5);
    expect(coverage.events).toBeGreaterThan(10 * PROGRAMS);
    expect(fuzzer.translated.size).toBeGreaterThan(PROGRAMS < 40 ? 0 : 700);
  });

  it('are the same for a seed each time', () => {
    const runs = [1, 2].map(() => {
      const fuzzer = new Fuzzer();
      // another program before it leaves no trace
      fuzzer.run(scenarioOf(8), ['hot']);
      fuzzer.run(scenarioOf(7), ['hot']);
      return { ...fuzzer.coverage };
    });
    expect(runs[0]).toEqual(runs[1]);
    expect(scenarioOf(7)).toEqual(scenarioOf(7));
  });

  it('are compared in everything that is state', () => {
    const fuzzer = new Fuzzer();
    const scenario = scenarioOf(2);
    expect(fuzzer.run(scenario, ['hot', 'cold'])).toBeNull();
    const [hot, cold] = [fuzzer.machine('hot', scenario), fuzzer.machine('cold', scenario)];
    expect(hot.difference(cold)).toBeNull();
    cold.cpu.setGpr(3, cold.cpu.gpr(3) ^ 1n);
    expect(hot.difference(cold)).toMatch(/^gpr3: hot/);
    cold.cpu.setGpr(3, cold.cpu.gpr(3) ^ 1n);
    cold.cpu.rflags ^= 0x800;
    expect(hot.difference(cold)).toMatch(/^rflags: hot/);
    cold.cpu.rflags ^= 0x800;
    cold.memory.write8(0x4_0123, cold.memory.read8(0x4_0123) ^ 1);
    expect(hot.difference(cold)).toMatch(/^memory at 40123: hot/);
  });

  it('have mutations that fit the source (node tools/run.mjs fuzz-tiers --mutate shows that they are found)', () => {
    for (const mutation of MUTATIONS) {
      const source = readFileSync(join(SRC, mutation.file), 'utf8');
      expect(broken(mutation, source), mutation.name).not.toBe(source);
    }
  });
});
