import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { broken } from '../../tools/fuzz/mutate.ts';
import { MUTATIONS } from './fuzz/mutations.ts';
import { ENDING, OPERATIONS, REFUSED } from './fuzz/operations.ts';
import { actionText, Fuzzer, replay, shrink } from './fuzz/run.ts';
import { type Action, Finding, World } from './fuzz/world.ts';

/** Bounded by calls, about 20 CPU s; `node tools/run.mjs fuzz-hypercalls` makes as many as it is asked for. */
const CALLS = Number(process.env.CALLS ?? 20_000);
const FIRST = Number(process.env.FIRST ?? 1);
const SRC = resolve(import.meta.dirname, '../../src');

describe('[D-20] random hypercalls', () => {
  const fuzzer = new Fuzzer();

  it(`leave every type, count, owner and reference in order (${CALLS} calls, seeds from ${FIRST})`, () => {
    for (let seed = FIRST; fuzzer.calls < CALLS; seed++) {
      const failure = fuzzer.run(seed);
      const how = failure && `${failure.message}\n${shrink(failure.actions, 100).map(actionText).join('\n')}`;
      expect(how, `node tools/run.mjs fuzz-hypercalls --seed ${seed} --calls 1`).toBeNull();
    }
  });

  it('succeed in at least three of ten', () => {
    console.log(`${fuzzer.calls} calls, ${((100 * fuzzer.successes) / fuzzer.calls).toFixed(1)} % succeeded`);
    expect(fuzzer.successes / fuzzer.calls).toBeGreaterThan(0.3);
  });

  it('reach every call and sub-operation of the table, and succeed in all that Xen does not refuse', () => {
    expect(OPERATIONS.filter((name) => !fuzzer.reached.has(name))).toEqual([]);
    expect([...fuzzer.reached.keys()].filter((name) => !OPERATIONS.includes(name))).toEqual([]);
    const never = OPERATIONS.filter((name) => fuzzer.reached.get(name)!.successes === 0);
    expect(never.filter((name) => !REFUSED.has(name) && !ENDING.has(name))).toEqual([]);
  });

  it('[D-06] go on as another step beyond their share of work, and no step does more than its bound', () => {
    expect(fuzzer.continued).toBeGreaterThan(0);
    expect(fuzzer.largestStep).toBeLessThanOrEqual(fuzzer.bound);
  });
});

describe('the fuzzer', () => {
  it('makes the same of a seed each time', () => {
    const runs = [1, 2].map(() => {
      const fuzzer = new Fuzzer();
      expect(fuzzer.run(77)).toBeNull();
      return [fuzzer.calls, fuzzer.successes, fuzzer.steps, [...fuzzer.reached]];
    });
    expect(runs[0]).toEqual(runs[1]);
  });

  it('finds a count that is off by one, an owner that is gone and a pin that nobody set', () => {
    const spoils: Array<(world: World) => void> = [
      ({ guest, frame }) =>
        guest.xen.mm.domain.frames.setCount(frame(3), guest.xen.mm.domain.frames.count(frame(3)) + 1),
      ({ guest, frame }) => guest.xen.mm.domain.frames.setType(frame(3), guest.xen.mm.domain.frames.type(frame(3)) - 1),
      ({ guest, frame }) => guest.xen.mm.domain.frames.setOwner(frame(3), 0),
      ({ guest, frame }) =>
        guest.xen.mm.domain.frames.setType(frame(3), guest.xen.mm.domain.frames.type(frame(3)) | (1 << 27)),
      ({ guest }) => {
        guest.xen.mm.domain.state.totPages++;
      },
    ];
    for (const spoil of spoils) {
      const world = new World();
      world.audit();
      spoil({ guest: world.guest, frame: (pfn: number) => world.frame(pfn) } as World);
      expect(() => world.audit()).toThrow(Finding);
    }
  });

  it('shrinks what fails to the actions that it takes', () => {
    const spin: Action = { kind: 'spin', ticks: 1 };
    const wild: Action = { kind: 'type', bytes: null as unknown as Uint8Array };
    const actions = [...Array.from({ length: 20 }, () => spin), wild, spin];
    expect(replay(actions)).not.toBeNull();
    expect(shrink(actions)).toEqual([wild]);
    expect(replay([spin])).toBeNull();
  });

  it('has mutations that fit the source (node tools/run.mjs fuzz-hypercalls --mutate shows that they are found)', () => {
    expect(MUTATIONS.length).toBeGreaterThan(15);
    for (const mutation of MUTATIONS) {
      const source = readFileSync(join(SRC, mutation.file), 'utf8');
      expect(broken(mutation, source), mutation.name).not.toBe(source);
    }
  });
});
