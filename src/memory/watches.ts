/**
 * The machine addresses that somebody watches, and which of them the present step has met.
 *
 * A write is met when the bytes are written, by whomever; a read when the instruction that reads retires: what is noted of one that
 * faults is forgotten ({@link Watches.forgetReads}).
 */
import type { PhysAddr } from '../core/units.ts';
import type { GuestMemory } from './guest-memory.ts';

export interface WatchRange {
  readonly address: PhysAddr;
  readonly bytes: number;
  /** Which accesses meet it; writes unless given. */
  readonly access?: 'read' | 'write' | 'any';
}

const NONE: readonly number[] = [];

export class Watches {
  readonly #ranges: readonly WatchRange[];
  /** Slots of the pages that hold watched bytes, and those where reads are watched; frames that do not exist have none. */
  readonly slots: ReadonlySet<number>;
  readonly readSlots: ReadonlySet<number>;
  /** Whether a range has been met: asked at every event. */
  met = false;
  /** Numbers of the ranges met. */
  readonly #read = new Set<number>();
  readonly #written = new Set<number>();

  constructor(memory: GuestMemory, ranges: readonly WatchRange[]) {
    const slots = new Set<number>();
    const readSlots = new Set<number>();
    for (const { address, bytes, access } of ranges)
      for (let frame = Math.floor(address / 4096); frame * 4096 < address + bytes; frame++) {
        if (!memory.hasFrame(frame)) continue;
        slots.add(memory.frameSlots[frame]!);
        if (access === 'read' || access === 'any') readSlots.add(memory.frameSlots[frame]!);
      }
    this.#ranges = ranges;
    this.slots = slots;
    this.readSlots = readSlots;
  }
  /** True when some of `length` bytes at a machine address are watched for whatever. */
  overlap(pa: PhysAddr, length: number): boolean {
    return this.#ranges.some(({ address, bytes }) => pa < address + bytes && address < pa + length);
  }

  /** `length` bytes at a machine address are accessed. */
  note(pa: PhysAddr, length: number, write: boolean): void {
    const other = write ? 'read' : 'write';
    for (const [i, { address, bytes, access = 'write' }] of this.#ranges.entries())
      if (access !== other && pa < address + bytes && address < pa + length)
        this.#meet(write ? this.#written : this.#read, i);
  }
  #meet(ranges: Set<number>, range: number): void {
    ranges.add(range);
    this.met = true;
  }
  /** The instruction that has read has not retired. */
  forgetReads(): void {
    if (!this.met) return;
    this.#read.clear();
    this.met = this.#written.size > 0;
  }
  /** Numbers of the ranges met since the last call, ascending. */
  take(): readonly number[] {
    if (!this.met) return NONE;
    this.met = false;
    const met = [...this.#read.union(this.#written)].sort((a, b) => a - b);
    this.#read.clear();
    this.#written.clear();
    return met;
  }
}
