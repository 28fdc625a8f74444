import { describe, expect, it } from 'vitest';
import { MemoryHash } from '../../src/engine/page-hash.ts';
import { GuestMemory } from '../../src/memory/guest-memory.ts';

function memoryOf(frames: readonly number[]): GuestMemory {
  const memory = new GuestMemory({ vcpus: 1, slots: 64, frameLimit: 256, recordBytes: 1 << 18 });
  for (const frame of frames) memory.addFrame(frame);
  return memory;
}
const fill = (memory: GuestMemory, frame: number, seed: number): void => {
  for (let i = 0; i < 512; i++) memory.write64(frame * 4096 + i * 8, BigInt(seed + i) * 0x9e3779b97f4a7c15n);
};

describe('the hash of guest memory', () => {
  it('changes with every single bit of a page', () => {
    const memory = memoryOf([3]);
    fill(memory, 3, 5);
    const hash = new MemoryHash(memory);
    const seen = new Set([hash.total]);
    for (let bit = 0; bit < 4096 * 8; bit++) {
      const pa = 3 * 4096 + (bit >> 3);
      memory.write8(pa, memory.read8(pa) ^ (1 << (bit & 7)));
      hash.update([0]);
      seen.add(hash.total);
      memory.write8(pa, memory.read8(pa) ^ (1 << (bit & 7)));
    }
    expect(seen.size).toBe(4096 * 8 + 1);
  });

  it('is a sum over pages: independent of slot order and of the path that led there', () => {
    const one = memoryOf([1, 7, 200]);
    const other = memoryOf([200, 1, 7]);
    const early = new MemoryHash(other);
    for (const memory of [one, other]) for (const frame of [1, 7, 200]) fill(memory, frame, frame);
    early.update([0]);
    early.update([2, 1, 0]);
    expect(early.total).toBe(new MemoryHash(one).total);
    expect(early.total).toBe(
      BigInt.asUintN(
        128,
        [0, 1, 2].reduce((sum, slot) => sum + early.pageHash(slot), 0n),
      ),
    );
  });

  it('of a page that was never written is that of a page that was read and found zero', () => {
    const memory = memoryOf([3, 90, 4]);
    fill(memory, 90, 7);
    const hash = new MemoryHash(memory);
    const built = [0, 1, 2].map((slot) => hash.pageHash(slot));
    const { total } = hash;
    hash.rebuild();
    expect([0, 1, 2].map((slot) => hash.pageHash(slot))).toEqual(built);
    expect(hash.total).toBe(total);
  });

  it('tells the same page at two frames apart, and swapped pages', () => {
    const memory = memoryOf([1, 2]);
    fill(memory, 1, 9);
    fill(memory, 2, 9);
    const hash = new MemoryHash(memory);
    expect(hash.pageHash(0)).not.toBe(hash.pageHash(1));
    memory.write8(4096, 1);
    hash.update([0, 1]);
    const before = hash.total;
    memory.write8(4096, memory.read8(8192));
    memory.write8(8192, 1);
    hash.update([0, 1]);
    expect(hash.total).not.toBe(before);
  });
});
