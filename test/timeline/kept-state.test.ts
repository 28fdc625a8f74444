import { describe, expect, it } from 'vitest';
import { PAGE_SIZE } from '../../src/core/units.ts';
import { FRAME } from '../../src/memory/guest-memory.ts';
import { KeptState } from '../../src/timeline/kept-state.ts';
import { Run } from '../../src/timeline/run.ts';
import type { NewSnapshot } from '../../src/timeline/trace-store.ts';
import { timeTravelGuest } from '../support/time-travel.ts';

/** What the kept state hands over, copied: slot to page and hash. */
function stored(
  kept: KeptState,
  base: number | null = null,
): { tick: number; pages: Map<number, { bytes: Uint8Array; hash: Uint8Array }> } {
  const taken: NewSnapshot[] = [];
  const pages = new Map<number, { bytes: Uint8Array; hash: Uint8Array }>();
  kept.store(base, (snapshot) => {
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
    const write = (byte: number, ...slots: number[]): void => {
      for (const slot of slots) memory.write8(memory.slotFrames[slot]! * PAGE_SIZE + 5, byte);
    };
    const now = (slot: number): { bytes: Uint8Array; hash: Uint8Array } => {
      const { bytes, hash } = run.page(slot);
      return { bytes: bytes.slice(), hash: hash.slice() };
    };
    write(0x11, image);
    kept.keep(run.stateHash());
    const before = now(image);
    write(0xa5, image, untouched);
    run.stateHash();
    write(0x5a, image, untouched);
    const { tick, pages } = stored(kept);
    expect(tick).toBe(0);
    // What is first written after the state is no part of it.
    expect(pages).toEqual(new Map([[image, before]]));
    // The next state differs from this one in these pages, as they are then.
    kept.keep(run.stateHash());
    const next = stored(kept).pages;
    for (const slot of [image, untouched]) {
      expect(next.get(slot)).toEqual(now(slot));
      expect(next.get(slot)!.bytes[5]).toBe(0x5a);
    }
  });

  it('leaves out what is again as it was built', () => {
    const run = new Run(timeTravelGuest());
    const { memory } = run.machine.engine;
    const kept = new KeptState(run);
    const [one, other] = [3, 4].map((slot) => memory.slotFrames[slot]! * PAGE_SIZE);
    const was = memory.read8(one!);
    for (const at of [one, other]) memory.write8(at!, was ^ 0xff);
    run.stateHash();
    memory.write8(one!, was);
    kept.keep(run.stateHash());
    expect([...stored(kept).pages.keys()]).toEqual([4]);
    // As a difference to that state the page is what it is.
    memory.write8(one!, was ^ 1);
    memory.write8(other!, was);
    kept.keep(run.stateHash());
    expect([...stored(kept, 0).pages.keys()]).toEqual([3, 4]);
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
