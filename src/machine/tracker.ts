/**
 * Follows which pages change, and from that the state hash: stateHash(n) is a pure function of the state at n, the sum
 * modulo 2^128 of one hash a page plus one hash a state section.
 */
import type { StateSection } from '../core/state-section.ts';
import { MemoryHash } from '../engine/page-hash.ts';
import type { Machine } from './machine.ts';
import { type Sections, sectionHash, sectionsOf } from './state.ts';

const MASK = (1n << 128n) - 1n;

export class StateTracker {
  readonly machine: Machine;
  readonly hashes: MemoryHash;
  readonly sections: readonly StateSection[];
  readonly #listeners: Array<(slots: Int32Array) => void> = [];

  constructor(machine: Machine) {
    this.machine = machine;
    this.hashes = new MemoryHash(machine.engine.memory);
    this.sections = sectionsOf(machine);
    machine.engine.mmu.clearDirty();
  }

  /** Has `listener` told the slots that changed since the sync before, ascending. */
  onSync(listener: (slots: Int32Array) => void): void {
    this.#listeners.push(listener);
  }
  /** Brings the page hashes up to date and starts a new dirty interval. */
  sync(): void {
    const { memory, mmu } = this.machine.engine;
    const slots = memory.dirtySlots();
    if (slots.length === 0) return;
    this.hashes.update(slots);
    mmu.clearDirty();
    for (const listener of this.#listeners) listener(slots);
  }
  /** The hash of the whole state; 128 bits. */
  stateHash(): bigint {
    this.sync();
    return this.sections.reduce((sum, section, i) => sum + sectionHash(section, i), this.hashes.total) & MASK;
  }
  /** The same, trusting nothing that was hashed before: finds changes that no write told of. */
  freshHash(): bigint {
    this.sync();
    this.hashes.rebuild();
    for (const section of this.sections) section.forget?.();
    return this.stateHash();
  }
  /** A 64-bit digest of the vCPUs, cheap enough to take often. */
  registerDigest(): bigint {
    let sum = 0n;
    for (const [i, section] of this.sections.entries())
      if (section.name.startsWith('cpu')) sum += sectionHash(section, i);
    return BigInt.asUintN(64, sum ^ (sum >> 64n));
  }
  /** Hashes by component: `memory` and each section, to name what differs. */
  componentHashes(): Map<string, bigint> {
    this.sync();
    const out = new Map([['memory', this.hashes.total]]);
    for (const [i, section] of this.sections.entries()) out.set(section.name, sectionHash(section, i));
    return out;
  }
  /** All sections' bytes; `reuse` as in {@link StateSection.encode}. */
  capture(reuse?: Sections): Sections {
    return new Map(this.sections.map((section) => [section.name, section.encode(reuse?.get(section.name))]));
  }
  /**
   * Puts sections in place after the pages have been written, which marked them dirty; RangeError where one is missing or not of
   * the form of this machine's.
   */
  restore(sections: Sections): void {
    for (const section of this.sections) {
      const bytes = sections.get(section.name);
      if (bytes === undefined) throw new RangeError(`the section ${section.name} is missing`);
      section.decode(bytes);
    }
    this.machine.engine.reset();
    this.machine.restored();
    this.sync();
  }
}
