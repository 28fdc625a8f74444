import { describe, expect, it } from 'vitest';
import { PAGE_SIZE } from '../../src/core/units.ts';
import { FRAME } from '../../src/memory/guest-memory.ts';
import { KeptState } from '../../src/timeline/kept-state.ts';
import { Run } from '../../src/timeline/run.ts';
import type { NewSnapshot } from '../../src/timeline/trace-store.ts';
import { timeTravelGuest } from '../support/time-travel.ts';

/** What the kept state hands over, copied: slot to page and hash. */
function stored(kept: KeptState): { tick: number; pages: Map<number, { bytes: Uint8Array; hash: Uint8Array }> } {
  const taken: NewSnapshot[] = [];
  const pages = new Map<number, { bytes: Uint8Array; hash: Uint8Array }>();
  kept.store(null, (snapshot) => {
    taken.push(snapshot);
    for (const { slot, bytes, hash } of snapshot.pages) pages.set(slot, { bytes: bytes.slice(), hash: hash.slice() });
  });
  return { tick: taken[0]!.tick, pages };
}

describe('the state of a block ago', () => {
  it('holds what pages held before their first change since, hashed again or not', () => {
    const run = new Run(timeTravelGuest());
    const { memory } = run.machine.engine;
    const kept = new KeptState(run);
    const slotWith = (flag: number): number =>
      memory.slotFlags.findIndex((flags, slot) => slot < memory.slotCount && (flags & FRAME.written) === flag);
    const [image, untouched] = [slotWith(FRAME.written), slotWith(0)];
    const before = [image, untouched].map((slot) => {
      const { bytes, hash } = run.page(slot);
      return { bytes: bytes.slice(), hash: hash.slice() };
    });
    const write = (byte: number): void => {
      for (const slot of [image, untouched]) memory.write8(memory.slotFrames[slot]! * PAGE_SIZE + 5, byte);
    };
    kept.keep(run.stateHash());
    write(0xa5);
    run.stateHash();
    write(0x5a);
    const { tick, pages } = stored(kept);
    expect(tick).toBe(0);
    expect([image, untouched].map((slot) => pages.get(slot))).toEqual(before);
    // The next state differs from this one in these pages, as they are then.
    kept.keep(run.stateHash());
    const next = stored(kept).pages;
    for (const slot of [image, untouched]) {
      expect(next.get(slot)).toEqual({ bytes: run.page(slot).bytes.slice(), hash: run.page(slot).hash.slice() });
      expect(next.get(slot)!.bytes[5]).toBe(0x5a);
    }
  });

  it('is handed over once', () => {
    const run = new Run(timeTravelGuest());
    const kept = new KeptState(run);
    kept.keep(run.stateHash());
    kept.store(null, () => {});
    expect(kept.tick).toBeNull();
    kept.store(null, () => expect.fail('no state is kept'));
  });
});
