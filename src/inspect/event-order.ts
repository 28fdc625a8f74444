/**
 * Events of a run and those of its journal in one order, so many at a time that a guest which makes very many fills no memory.
 */
import type { Tick } from '../core/units.ts';
import type { JournalSource } from '../timeline/journal.ts';
import type { RunEvent } from './investigate.ts';

/** Events after which they are handed over before the run goes on. */
export const EVENTS_AT_ONCE = 1024;

/** What the journal has of the ticks from `from` to `to`, as events; one block of it is read at a time. */
export function* journalEvents(journal: JournalSource, from: Tick, to: Tick): Generator<RunEvent, void> {
  for (const { sequence, firstTick, lastTick } of journal.blocks) {
    if (lastTick < from || firstTick > to) continue;
    for (const entry of journal.block(sequence).entries) {
      if (entry.tick < from || entry.tick > to || entry.kind === 'switch') continue;
      const { kind } = entry;
      const text = kind === 'input' ? new TextDecoder().decode(entry.data) : entry.detail;
      const name = kind === 'input' ? entry.device : kind;
      yield { tick: entry.tick, vcpu: 0, rip: 0n, kind, name, fields: {}, text };
    }
  }
}

/** Puts what a run tells and what the journal has into one order: of one tick, what the machine did stands first. */
export class Merge {
  readonly #journal: Iterator<RunEvent, void>;
  #next: IteratorResult<RunEvent, void>;
  constructor(journal: Iterator<RunEvent, void>) {
    this.#journal = journal;
    this.#next = journal.next();
  }
  /** `events` and what the journal has of ticks before `tick`, so many at a time. */
  *upTo(tick: Tick, events: readonly RunEvent[]): Generator<RunEvent[]> {
    let out: RunEvent[] = [];
    for (let i = 0; ; ) {
      const event = events[i];
      const next = this.#next;
      if (!next.done && next.value.tick < (event?.tick ?? tick)) {
        out.push(next.value);
        this.#next = this.#journal.next();
      } else if (event === undefined) break;
      else {
        out.push(event);
        i++;
      }
      if (out.length < EVENTS_AT_ONCE) continue;
      yield out;
      out = [];
    }
    if (out.length > 0) yield out;
  }
}
