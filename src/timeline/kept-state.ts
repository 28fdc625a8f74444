/**
 * The machine's state at the last block's end, kept in memory while recording until it is known whether to store it.
 *
 * A recorder cannot know that the end is near. Keeping the state of one block ago lets it store, once the end has come, a state
 * shortly before it: where people step back from the end to, and where what went wrong usually is.
 *
 * Invariant: `pages` holds every page that changed between the snapshot stored last and `tick`, as it was at `tick`.
 */
import { PAGE_SIZE, type Tick } from '../core/units.ts';
import type { Sections } from '../machine/state.ts';
import type { Run } from './run.ts';
import type { NewSnapshot, SnapshotPage } from './trace-store.ts';

export class KeptState {
  readonly #run: Run;
  #tick: Tick | null = null;
  #stateHash = 0n;
  #sections: Sections | undefined;
  #pages = new Map<number, SnapshotPage>();
  /** Copies of pages that a stored snapshot has taken over, to be written over. */
  #spare: SnapshotPage[] = [];

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
    for (const page of this.#run.changedPages()) {
      let copy = this.#pages.get(page.slot);
      if (copy === undefined) {
        const { bytes, hash } = this.#spare.pop() ?? { bytes: new Uint8Array(PAGE_SIZE), hash: new Uint8Array(16) };
        copy = { slot: page.slot, bytes, hash };
        this.#pages.set(page.slot, copy);
      }
      copy.bytes.set(page.bytes);
      copy.hash.set(page.hash);
    }
  }
  /** Hands the state over to `store`, as the difference to the snapshot at tick `base`. */
  store(base: Tick | null, store: (snapshot: NewSnapshot) => void): void {
    if (this.#tick === null || this.#sections === undefined) return;
    const pages = [...this.#pages.values()].sort((a, b) => a.slot - b.slot);
    store({ tick: this.#tick, stateHash: this.#stateHash, sections: this.#sections, base, pages });
    this.#tick = null;
    // A store may hold on to them until they are on disk.
    this.#sections = undefined;
    this.#pages = new Map();
    this.#spare.push(...pages);
  }
}
