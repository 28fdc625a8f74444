import { describe, expect, it } from 'vitest';
import { FRAME, GuestMemory } from '../../src/memory/guest-memory.ts';

const PAGE = 4096;

describe('bytes copied into guest memory', () => {
  const prepare = (): GuestMemory => {
    const memory = new GuestMemory({ vcpus: 1, slots: 8, frameLimit: 16, recordBytes: 1 << 18 });
    memory.addFrames(4, 12);
    return memory;
  };
  const memory = prepare();
  const isWritten = (frame: number): boolean => (memory.slotFlags[frame - 4]! & FRAME.written) !== 0;

  it('do not touch pages that are zero and stay so', () => {
    const data = new Uint8Array(4 * PAGE);
    data[2 * PAGE + 4095] = 1;
    memory.writeBytes(5 * PAGE, data);
    expect([4, 5, 6, 7, 8, 9].map(isWritten)).toEqual([false, false, false, true, false, false]);
    expect(memory.readBytes(5 * PAGE, 4 * PAGE)).toEqual(data);
  });
  it('see a byte that is not zero wherever it stands, also in data that begins at an odd place', () => {
    for (const place of [0, 1, PAGE - 2, PAGE - 1])
      for (const odd of [0, 1, 4]) {
        const fresh = prepare();
        const data = new Uint8Array(odd + PAGE).subarray(odd);
        data[place] = 0x80;
        fresh.writeBytes(5 * PAGE, data);
        expect(fresh.page(5)[place]).toBe(0x80);
      }
  });

  it('make a page zero that was not', () => {
    memory.write8(9 * PAGE + 17, 3);
    memory.writeBytes(9 * PAGE, new Uint8Array(PAGE));
    expect(memory.page(9)).toEqual(new Uint8Array(PAGE));
  });
  it('cross pages where they do not begin with one', () => {
    const data = new Uint8Array(2 * PAGE).fill(7);
    memory.writeBytes(9 * PAGE + 100, data);
    expect(memory.readBytes(9 * PAGE + 100, data.length)).toEqual(data);
    expect(memory.read8(9 * PAGE + 99)).toBe(0);
    expect(memory.read8(11 * PAGE + 100)).toBe(0);
  });
});
