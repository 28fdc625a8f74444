import { describe, expect, it } from 'vitest';
import { PageStore } from '../../store/page-store.ts';
import type { Sealed } from '../../store/sealed.ts';

const PAGES = 300_000;

/** A hash that tells the number. */
function hashOf(number: number): Uint8Array {
  const hash = new Uint8Array(16);
  new DataView(hash.buffer).setUint32(0, number, true);
  return hash;
}

describe('a store of pages', () => {
  /** Values as they were put, unsealed. */
  const values = new Map<string, Uint8Array>();
  const seal = (key: string, data: Uint8Array): Sealed => {
    // pages are not what this is about
    values.set(key, key.startsWith('hashes') ? data.slice() : data.slice(0, 4096));
    return { key, value: new Uint8Array(0), bulkBytes: 0 };
  };
  const store = new PageStore((key) => values.get(key)!, seal);
  const bytes = new Uint8Array(4096);
  const put = (numbers: readonly number[]): number[] =>
    store
      .store(numbers.map((number, slot) => ({ slot, hash: hashOf(number), bytes })))
      .runs.flatMap(({ page, length }) => Array.from({ length }, (_, i) => page + i));

  it('numbers pages as they come, and finds those of its last 131,072 again', () => {
    const numbers: number[] = [];
    for (let first = 0; first < PAGES; first += 10_000)
      numbers.push(...put(Array.from({ length: 10_000 }, (_, i) => first + i)));
    expect(new Set(numbers).size).toBe(PAGES);
    for (const page of [PAGES - 1, PAGES - 131_072]) {
      expect(store.hash(numbers[page]!)).toEqual(hashOf(page));
      expect(put([page])).toEqual([numbers[page]]);
    }
  });
  it('stores a page again that it stored long ago, and gives both', () => {
    const [first, again] = [0, put([0])[0]!];
    expect(again).toBeGreaterThan(first);
    for (const number of [first, again]) expect(store.hash(number)).toEqual(hashOf(0));
  });
});
