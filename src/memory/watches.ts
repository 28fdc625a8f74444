/** The machine addresses that a debugger watches. */
import type { PhysAddr } from '../core/units.ts';
import type { GuestMemory } from './guest-memory.ts';

export interface WatchRange {
  readonly address: PhysAddr;
  readonly bytes: number;
}

export class Watches {
  readonly #ranges: readonly WatchRange[];
  /** Slots of the pages that hold watched bytes; frames that do not exist have none. */
  readonly slots: ReadonlySet<number>;

  constructor(memory: GuestMemory, ranges: readonly WatchRange[]) {
    const slots = new Set<number>();
    for (const { address, bytes } of ranges)
      for (let frame = Math.floor(address / 4096); frame * 4096 < address + bytes; frame++)
        if (memory.hasFrame(frame)) slots.add(memory.frameSlots[frame]!);
    this.#ranges = ranges;
    this.slots = slots;
  }
  /** True when some of `length` bytes at a machine address are watched. */
  overlap(pa: PhysAddr, length: number): boolean {
    return this.#ranges.some(({ address, bytes }) => pa < address + bytes && address < pa + length);
  }
}
