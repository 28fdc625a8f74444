/**
 * What the guest wrote to its console and when: an index that predicates on the console are answered from. It is observed,
 * not state: no hash covers it, and a replay makes it again.
 */
import { bytes, decode, encode, type Infer, integer, list, struct } from '../core/schema.ts';
import type { Tick } from '../core/units.ts';

/** `tick` is the first state that has the bytes. */
const piece = struct({ tick: integer, data: bytes });
const schema = struct({ knownTo: integer, pieces: list(piece) });
type Piece = Infer<typeof piece>;

/** Name of the snapshot section that carries the log; not a state section. */
export const CONSOLE_SECTION = 'observed console';

export class ConsoleLog {
  #pieces: Piece[] = [];
  #knownTo: Tick = 0;

  /** Everything up to this tick is in the log. */
  get knownTo(): Tick {
    return this.#knownTo;
  }
  /** Notes output that the state at `tick` has first; what is known already is passed over. */
  add(tick: Tick, data: Uint8Array): void {
    if (tick > this.#knownTo) this.#pieces.push({ tick, data: data.slice() });
  }
  /** The run has come to `tick`: nothing more will be added for states up to it. */
  reached(tick: Tick): void {
    this.#knownTo = Math.max(this.#knownTo, tick);
  }
  /** The text written up to the state at `tick`; bytes that are no UTF-8 become U+FFFD. */
  textAt(tick: Tick): string {
    const upTo = this.#pieces.filter((p) => p.tick <= tick);
    const all = new Uint8Array(upTo.reduce((sum, p) => sum + p.data.length, 0));
    let at = 0;
    for (const p of upTo) {
      all.set(p.data, at);
      at += p.data.length;
    }
    return new TextDecoder().decode(all);
  }
  /** The ticks at which output became visible, ascending. */
  get ticks(): Tick[] {
    return [...new Set(this.#pieces.map((p) => p.tick))];
  }
  encode(): Uint8Array {
    return encode(schema, { knownTo: this.#knownTo, pieces: this.#pieces });
  }
  /** Takes over a stored log when it knows more. */
  load(data: Uint8Array): void {
    const stored = decode(schema, data);
    if (stored.knownTo <= this.#knownTo) return;
    this.#knownTo = stored.knownTo;
    this.#pieces = stored.pieces;
  }
}
