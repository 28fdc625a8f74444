/**
 * The machine's state at the last block's end, kept in memory while recording until it is known whether to store it.
 *
 * A recorder cannot know that the end is near. Keeping the state of one block ago lets it store, once the end has come, a state
 * shortly before it: where people step back from the end to, and where what went wrong usually is.
 *
 * Invariants: a page that has not been written since `tick` is read from the machine when it is asked for; one that has been was
 * copied before its first change, unless it is in the snapshot stored last, so that keeping a state takes the memory of what
 * one block changes again. That memory is taken once and used again, since touching fresh memory costs more than the copying.
 */
import { PAGE_SIZE, type Tick } from '../core/units.ts';
import type { Sections } from '../machine/state.ts';
import type { Run } from './run.ts';
import type { NewSnapshot, SnapshotPage } from './trace-store.ts';

const HASH_BYTES = 16;
/** Pages to a slab: 1 MiB. */
const SLAB_PAGES = 256;
/** In the table of places: the page has not been written since; it was what it is in the snapshot stored last. */
const UNCHANGED = -1;
const STORED = -2;

/** Memory for copies of pages, by number. */
class Slabs {
  readonly #slabs: Uint8Array[] = [];

  /** Copies a page to place `index`. */
  put(index: number, page: Uint8Array): void {
    const slab = (this.#slabs[Math.floor(index / SLAB_PAGES)] ??= new Uint8Array(SLAB_PAGES * PAGE_SIZE));
    slab.set(page, (index % SLAB_PAGES) * PAGE_SIZE);
  }
  /** The page put to place `index`. */
  page(index: number): Uint8Array {
    const at = (index % SLAB_PAGES) * PAGE_SIZE;
    return this.#slabs[Math.floor(index / SLAB_PAGES)]!.subarray(at, at + PAGE_SIZE);
  }
}

export class KeptState {
  readonly #run: Run;
  #tick: Tick | null = null;
  #stateHash = 0n;
  /** Written over by the next state's. */
  #sections: Sections | undefined;
  /** 1 for each slot that changed between the state stored last (at first: the machine as built) and the one kept, or now. */
  readonly #changed: Uint8Array;
  /** Where the slabs hold what a slot held at `tick`, and how many places are taken; its hash, where it was copied. */
  readonly #places: Int32Array;
  readonly #slabs = new Slabs();
  #copies = 0;
  readonly #hashes: Uint8Array;
  /** Slots written since `tick`. */
  #written: number[] = [];

  /** Of a run of which nothing has been executed. */
  constructor(run: Run) {
    const { memory } = run.machine.engine;
    this.#run = run;
    this.#changed = new Uint8Array(memory.slotCount);
    this.#places = new Int32Array(memory.slotCount).fill(UNCHANGED);
    this.#hashes = new Uint8Array(memory.slotCount * HASH_BYTES);
    memory.onFirstWrite = (slot) => {
      if (this.#tick === null) this.#changed[slot] = 1;
      else if (this.#places[slot] === UNCHANGED) this.#firstWrite(slot);
    };
  }
  /** The page is about to be written for the first time since `tick`. */
  #firstWrite(slot: number): void {
    this.#written.push(slot);
    this.#places[slot] = STORED;
    if (this.#changed[slot] === 0) return;
    const page = this.#run.page(slot);
    this.#hashes.set(page.hash, slot * HASH_BYTES);
    this.#places[slot] = this.#copies++;
    this.#slabs.put(this.#places[slot]!, page.bytes);
  }
  /** Where the state is; null when none is kept. */
  get tick(): Tick | null {
    return this.#tick;
  }
  /** Keeps the present state, whose hash has just been found to be `stateHash`. */
  keep(stateHash: bigint): void {
    this.#forget();
    this.#tick = this.#run.tick;
    this.#stateHash = stateHash;
    this.#sections = this.#run.sections(this.#sections);
  }
  /** Hands the state over to `store`, which copies the pages, as the difference to the snapshot at tick `base`. */
  store(base: Tick | null, store: (snapshot: NewSnapshot) => void): void {
    if (this.#tick === null) return;
    store({ tick: this.#tick, stateHash: this.#stateHash, sections: this.#sections!, base, pages: this.#pages(base) });
    this.#changed.fill(0);
    this.#forget();
  }
  /** The pages that changed since the state stored last (null: the machine as built), by ascending slots, as they were at `tick`. */
  *#pages(base: Tick | null): Generator<SnapshotPage> {
    for (let slot = this.#changed.indexOf(1); slot >= 0; slot = this.#changed.indexOf(1, slot + 1)) {
      const page = this.#page(slot);
      // Many pages were zero, have been used, and are zero again.
      if (base !== null || !this.#run.isAsBuilt(page)) yield page;
    }
  }
  #page(slot: number): SnapshotPage {
    const place = this.#places[slot]!;
    if (place === UNCHANGED) return this.#run.page(slot);
    const hash = this.#hashes.subarray(slot * HASH_BYTES, (slot + 1) * HASH_BYTES);
    return { slot, hash, bytes: this.#slabs.page(place) };
  }
  #forget(): void {
    this.#tick = null;
    this.#written.forEach((slot) => {
      this.#places[slot] = UNCHANGED;
      this.#changed[slot] = 1;
    });
    this.#written = [];
    this.#copies = 0;
  }
}
