import { describe, expect, it } from 'vitest';
import { MAX_MEMORY_BYTES, MIN_MEMORY_BYTES } from '../../src/core/domain-memory.ts';
import { buildPvMachine } from '../../src/machine/xen-pv/build.ts';
import { errorOf } from '../support/error.ts';
import { timeTravelGuest } from '../support/time-travel.ts';

const build = (memoryBytes: number) => buildPvMachine({ ...timeTravelGuest(''), memoryBytes });

describe("a domain's memory", () => {
  it('of the largest size there is makes a machine', () => {
    const { engine } = build(MAX_MEMORY_BYTES).machine;
    expect(engine.memory.slotCount * 4096).toBeGreaterThan(MAX_MEMORY_BYTES);
  });

  it.each([
    [MAX_MEMORY_BYTES + 4096, 'at most 3960 MiB'],
    [4000 * 2 ** 20, 'at most 3960 MiB'],
    [100 * 2 ** 30, 'at most 3960 MiB'],
    [Number.MAX_SAFE_INTEGER, 'at most 3960 MiB'],
    [Number.POSITIVE_INFINITY, 'at most 3960 MiB'],
    [MIN_MEMORY_BYTES - 4096, 'at least 4 MiB'],
    [-1, 'at least 4 MiB'],
    [Number.NaN, 'at least 4 MiB'],
    [MIN_MEMORY_BYTES + 1, 'pages of 4096 bytes'],
  ])('of %d bytes is E_MEMORY with the limit, before anything is made', (bytes, limit) => {
    expect(errorOf(() => build(bytes))).toMatch(new RegExp(`^E_MEMORY: .*${limit}`));
  });
});
