/**
 * The machine's state at the last block's end, kept in memory while recording until it is known whether to store it.
 *
 * A recorder cannot know that the end is near. Keeping the state of one block ago lets it store, once the end has come, a state
 * shortly before it: where people step back from the end to, and where what went wrong usually is.
 *
 * Invariants: the kept pages are those that changed between the snapshot stored last and `tick`, as they were at `tick`; their
 * memory is taken once and used again for the next snapshot, since what the garbage collector has to follow costs more
 * than the copying.
 */
import { PAGE_SIZE, type Tick } from '../core/units.ts';
import type { Sections } from '../machine/state.ts';
import type { Run } from './run.ts';
import type { NewSnapshot, SnapshotPage } from './trace-store.ts';

const HASH_BYTES = 16;
const ENTRY_BYTES = PAGE_SIZE + HASH_BYTES;
/** Pages to a slab: 1 MiB. */
const SLAB_PAGES = 256;

/** Memory for copies of pages and their hashes, by number. */
class Slabs {
  readonly #slabs: Uint8Array[] = [];

  /** Copies a page to place `index`. */
  set(index: number, page: SnapshotPage): void {
    const { slab, at } = this.#place(index);
    slab.set(page.bytes, at);
    slab.set(page.hash, at + PAGE_SIZE);
  }
  /** What lies at place `index`, as live views. */
  get(index: number, slot: number): SnapshotPage {
    const { slab, at } = this.#place(index);
    return { slot, bytes: slab.subarray(at, at + PAGE_SIZE), hash: slab.subarray(at + PAGE_SIZE, at + ENTRY_BYTES) };
  }
  #place(index: number): { slab: Uint8Array; at: number } {
    const number = Math.floor(index / SLAB_PAGES);
    const slab = (this.#slabs[number] ??= new Uint8Array(SLAB_PAGES * ENTRY_BYTES));
    return { slab, at: (index % SLAB_PAGES) * ENTRY_BYTES };
  }
}

export class KeptState {
  readonly #run: Run;
  #tick: Tick | null = null;
  #stateHash = 0n;
  #sections: Sections | undefined;
  readonly #slabs = new Slabs();
  /** Where each slot's page lies in the slabs. */
  readonly #places = new Map<number, number>();

  constructor(run: Run) {
    this.#run = run;
  }
  /** Where the state is; null when none is kept. */
  get tick(): Tick | null {
    return this.#tick;
  }
  /** Keeps the present state, whose hash is `stateHash`. */
  keep(stateHash: bigint): void {
    this.#tick = this.#run.tick;
    this.#stateHash = stateHash;
    this.#sections = this.#run.sections(this.#sections);
    for (const slot of this.#run.changedSlots()) {
      let place = this.#places.get(slot);
      if (place === undefined) this.#places.set(slot, (place = this.#places.size));
      this.#slabs.set(place, this.#run.page(slot));
    }
  }
  /** Hands the state over to `store`, which copies the pages, as the difference to the snapshot at tick `base`. */
  store(base: Tick | null, store: (snapshot: NewSnapshot) => void): void {
    if (this.#tick === null || this.#sections === undefined) return;
    const places = [...this.#places].sort(([a], [b]) => a - b);
    const pages = places.map(([slot, place]) => this.#slabs.get(place, slot));
    store({ tick: this.#tick, stateHash: this.#stateHash, sections: this.#sections, base, pages });
    this.#tick = null;
    // A store may hold on to them until they are on disk.
    this.#sections = undefined;
    this.#places.clear();
  }
}
