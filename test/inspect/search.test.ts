/** A search finds what looking after every single step finds, and leaves no trace. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Tick } from '../../src/core/units.ts';
import { tapEvents } from '../../src/inspect/event-tap.ts';
import { parsePredicate } from '../../src/inspect/expression.ts';
import { Search } from '../../src/inspect/search.ts';
import { SessionMoment } from '../../src/inspect/session-moment.ts';
import { SymbolTable, symbolsOfImage } from '../../src/inspect/symbols.ts';
import { Run } from '../../src/timeline/run.ts';
import { Session } from '../../src/timeline/session.ts';
import { type Recorded, recordGuest, timeTravelGuest } from '../support/time-travel.ts';

const GUEST = timeTravelGuest('rounds=4 work=300');

let recorded: Recorded;
let session: Session;
let moment: SessionMoment;
let search: Search;
let end: Tick;
beforeAll(async () => {
  recorded = await recordGuest(GUEST, {
    strideTicks: 5_003,
    flushTicks: 20_000,
    snapshotTicks: 25_000,
    lines: [{ tick: 30_000, text: 'typed' }],
  });
  end = recorded.outcome.tick;
  session = new Session(new Run(GUEST), recorded.recording);
  moment = new SessionMoment(session, symbolsOfImage(session.run.elf) ?? SymbolTable.empty);
  search = new Search(session, moment);
});

/** The first tick in the range after looking at each of its states, and at each event where it names events. */
async function bruteForce(source: string, from: Tick, to: Tick): Promise<Tick | null> {
  const predicate = parsePredicate(source, moment);
  let byEvent: Tick | null = null;
  const undo = tapEvents(session, moment, (event) => {
    moment.event = event;
    if (event.tick >= from && predicate.holds(moment)) byEvent ??= event.tick + 1;
    moment.event = null;
  });
  try {
    await session.goto(from);
    for (;;) {
      if (byEvent !== null) return byEvent;
      if (predicate.holds(moment)) return session.tick;
      if (session.tick >= to) return null;
      session.forward(session.tick + 1);
    }
  } finally {
    undo();
  }
}

const PREDICATES = [
  'console ~ "round 0"',
  'console ~ "typed"',
  'console ~ "never said"',
  'call(on_event)',
  'rip in on_page_fault',
  'rip in on_page_fault && rax > 0x1000',
  'rip == 0xffffffff80100086',
  'on_page_fault',
  'on_page_fault + 0xb',
  'on_page_fault && rax > 0x1000',
  'on_page_fault+0xb && u64[faults] == 1 || call(on_debug) && rax == 3',
  '!(rip in kernel_main || on_event)',
  'count(on_page_fault && rax != 1) == 2',
  'count(call(on_debug)) == 20',
  'u64[faults] == 2',
  'u64[steps_seen] >= 17',
  'u64[timer_events] > prev(u64[timer_events])',
  'pending(3)',
  'pte(guarded).w == 0',
  'pte(guarded).w == 0 && u64[faults] == 2',
  'pte(guarded).d == 0',
  'count(rip in on_page_fault) == 2',
  'count(u64[faults] > prev(u64[faults])) == 3',
  'u64[guarded] == 0xffff',
  'type(pte(guarded).mfn) == "none"',
  'page_fault.error == 3',
  'update_va_mapping.result == 0',
  'set_timer_op.result == 0',
];

describe('the first state that fulfils a predicate', () => {
  it.each(PREDICATES)('%s', async (source) => {
    for (const from of [0, 31_234]) {
      const found = await search.first(parsePredicate(source, moment), from, end);
      expect([from, found.tick]).toEqual([from, await bruteForce(source, from, end)]);
    }
    await session.goto(end);
    expect(session.run.stateHash()).toBe(recorded.outcome.stateHash);
  });
  it('stands at the state found, as a forward run has it', async () => {
    for (const source of ['call(on_event)', 'u64[faults] == 2', 'page_fault.error == 3', 'pending(3)']) {
      const found = await search.first(parsePredicate(source, moment), 1_000, end);
      expect(session.tick).toBe(found.tick);
      const hash = session.run.stateHash();
      const fresh = new Session(new Run(GUEST), recorded.recording);
      await fresh.goto(found.tick!);
      expect(fresh.run.stateHash()).toBe(hash);
    }
  });
});

describe('looking backwards', () => {
  it.each(['call(on_event)', 'u64[faults] == 2', 'rip in on_breakpoint'])('the last state of %s', async (source) => {
    let last: Tick | null = null;
    const predicate = parsePredicate(source, moment);
    await session.goto(0);
    for (; session.tick < end - 1; session.forward(session.tick + 1)) if (predicate.holds(moment)) last = session.tick;
    expect(await search.last(() => parsePredicate(source, moment), end)).toBe(last);
  });
  it('the last change of a word', async () => {
    for (const name of ['faults', 'sum', 'steps_seen', 'guarded']) {
      const { memory } = session.run.machine.engine;
      await session.goto(end);
      const address = Number(moment.translate(moment.symbol(name)!.address as never));
      let last: Tick | null = null;
      await session.goto(0);
      for (let before = memory.read64(address); session.tick < end; ) {
        session.forward(session.tick + 1);
        const now = memory.read64(address);
        if (now !== before) last = session.tick - 1;
        before = now;
      }
      expect([name, await search.lastChange(address, 8, end)]).toEqual([name, last]);
    }
  });
});
