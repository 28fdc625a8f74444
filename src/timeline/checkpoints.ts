/**
 * States of a machine kept in memory: copies of pages as they were, shared between checkpoints, and the state sections.
 *
 * Invariants:
 * - `versions[slot]` is what the slot held at the last sync or restore; a slot that is not dirty holds it still;
 * - restoring writes only pages that differ, so that stepping about costs what it touches;
 * - taking a checkpoint or restoring one is unobservable to the guest.
 */
import { PAGE_SIZE, type Tick } from '../core/units.ts';
import type { Sections } from '../machine/state.ts';
import type { StateTracker } from '../machine/tracker.ts';

const ZERO = new Uint8Array(PAGE_SIZE);

export interface Checkpoint {
  readonly tick: Tick;
  readonly sections: Sections;
  readonly pages: readonly Uint8Array[];
}

export class PageVersions {
  readonly #tracker: StateTracker;
  #versions: Uint8Array[];
  #paused = false;

  constructor(tracker: StateTracker) {
    this.#tracker = tracker;
    tracker.sync();
    const { memory } = tracker.machine.engine;
    this.#versions = Array.from({ length: memory.slotCount }, (_, slot) => this.#copy(slot));
    tracker.onSync((slots) => {
      if (!this.#paused) for (const slot of slots) this.#versions[slot] = this.#copy(slot);
    });
  }

  #copy(slot: number): Uint8Array {
    const { memory } = this.#tracker.machine.engine;
    const at = memory.slotAddress(slot);
    const end = at / 4 + PAGE_SIZE / 4;
    for (let word = at / 4; word < end; word++)
      if (memory.words[word] !== 0) return memory.bytes.slice(at, at + PAGE_SIZE);
    return ZERO;
  }

  /** The state now. */
  take(): Checkpoint {
    this.#tracker.sync();
    return { tick: this.#tracker.machine.tick, sections: this.#tracker.capture(), pages: this.#versions.slice() };
  }

  /** Puts the machine into a checkpoint's state; `everything`: also pages that should hold what they held. */
  restore(checkpoint: Checkpoint, everything = false): void {
    const { memory } = this.#tracker.machine.engine;
    const write = (slot: number): void => {
      const at = memory.willWrite(memory.slotFrames[slot]! * PAGE_SIZE, PAGE_SIZE);
      memory.bytes.set(checkpoint.pages[slot]!, at);
    };
    const dirty = new Set(memory.dirtySlots());
    for (const slot of dirty) write(slot);
    for (let slot = 0; slot < this.#versions.length; slot++)
      if (!dirty.has(slot) && (everything || this.#versions[slot] !== checkpoint.pages[slot])) write(slot);
    this.#versions = checkpoint.pages.slice();
    this.#paused = true;
    this.#tracker.restore(checkpoint.sections);
    this.#paused = false;
  }
}
