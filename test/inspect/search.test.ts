/** A search finds what looking after every single step finds, and leaves no trace. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Tick } from '../../src/core/units.ts';
import { tapEvents } from '../../src/inspect/event-tap.ts';
import { type MachineEvent, parsePredicate } from '../../src/inspect/expression.ts';
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

/** The first tick in the range after looking at each of its states, and at each event of the step that led there. */
async function bruteForce(source: string, from: Tick, to: Tick): Promise<Tick | null> {
  const predicate = parsePredicate(source, moment);
  let events: MachineEvent[] = [];
  await session.goto(Math.max(0, from - 1));
  if (from > 0) predicate.begin(moment);
  const undo = tapEvents(session, moment, (event) => events.push(event));
  const holds = (event: MachineEvent | null): boolean => {
    moment.event = event;
    const is = predicate.holds(moment);
    moment.event = null;
    return is;
  };
  try {
    if (from > 0) session.forward(from);
    for (;;) {
      for (const event of events) if (holds(event) || holds(null)) return session.tick;
      if (events.length === 0 && holds(null)) return session.tick;
      if (session.tick >= to) return null;
      events = [];
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
  'count(update_va_mapping.result == 0) == 3',
  'prev(update_va_mapping.result) == update_va_mapping.result',
  'update_va_mapping.result == 0 && rax == 0 && u64[faults] == 1',
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

/** Whether a look sees what happens in the step to its first tick, and from whichever known states it sets out. */
describe('what happens in a step belongs to the tick behind it', () => {
  const HAPPENING = ['update_va_mapping.result == 0', 'prev(u64[faults]) != u64[faults]', 'prev(rax) == rax + 1'];
  it.each(HAPPENING)('%s', async (source) => {
    const fresh = () => parsePredicate(source, moment);
    const { tick } = await search.first(fresh(), 31_234, end);
    expect(tick).not.toBeNull();
    for (const from of [tick! - 1, tick!]) expect((await search.first(fresh(), from, end)).tick).toBe(tick);
    expect((await search.first(fresh(), tick! + 1, end)).tick).not.toBe(tick);
    expect((await search.first(fresh(), tick!, tick!)).tick).toBe(tick);
    for (const known of [tick! - 1, tick!, tick! + 1]) {
      const other = new Session(new Run(GUEST), recorded.recording);
      const looking = new Search(other, new SessionMoment(other, symbolsOfImage(other.run.elf) ?? SymbolTable.empty));
      // leaves a known state there, of which a segment begins
      await other.goto(known + 2 ** 12);
      expect(other.startsBefore(end)).toContain(known);
      expect([known, await looking.last(fresh, tick! + 1)]).toEqual([known, tick]);
    }
  });
  it('a predicate with an event is asked of the state that shows it', async () => {
    const { tick } = await search.first(parsePredicate('update_va_mapping.result == 0', moment), 0, end);
    await session.goto(tick!);
    const rip = moment.register('rip', null)!;
    const both = parsePredicate(`update_va_mapping.result == 0 && rip == ${rip}`, moment);
    expect((await search.first(both, 0, end)).tick).toBe(tick);
  });
  it('a place in code is where RIP is, also where an upcall comes or everybody idles before its instruction', async () => {
    const upcalls: Array<{ readonly rip: bigint; readonly at: Tick }> = [];
    await session.goto(0);
    const undo = tapEvents(session, moment, ({ name, rip, tick }) => {
      if (name === 'upcall') upcalls.push({ rip, at: tick });
    });
    while (session.tick < end) session.forward(end);
    undo();
    expect(upcalls.length).toBeGreaterThan(1);
    for (const { rip, at } of upcalls) {
      await session.goto(at);
      expect(moment.register('rip', null)).toBe(rip);
      const fresh = () => parsePredicate(`rip == ${rip}`, moment);
      expect((await search.first(fresh(), at, end)).tick).toBe(at);
      expect((await search.first(fresh(), at - 1, at + 1)).tick).toBe(
        await bruteForce(`rip == ${rip}`, at - 1, at + 1),
      );
      expect(await search.last(fresh, at + 1)).toBe(at);
    }
  });
  it('halving refuses an event, which does not stay true', async () => {
    const predicate = parsePredicate('page_fault.vector == 14', moment);
    await expect(search.monotone(predicate, 0, end)).rejects.toThrow(/an event holds at its tick alone/);
  });
  it('going back refuses to count', async () => {
    await expect(search.last(() => parsePredicate('count(on_page_fault) == 2', moment), end)).rejects.toThrow(
      /count\(\) counts from where a search begins/,
    );
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

describe('what snapshots say of a page', () => {
  it('[X-02] the first one says nothing: a page may have been written and be again as it was built', () => {
    const first = recorded.recording.snapshots[0]!;
    expect(first.base).toBeNull();
    const address =
      session.run.machine.engine.memory.slotFrames[session.run.machine.engine.memory.slotCount - 1]! * 4096;
    expect(session.mayHaveWritten(address, 0, first.tick)).toBe(true);
  });
  it('later ones leave out what nobody has written', () => {
    const [first, second] = recorded.recording.snapshots;
    const { engine } = session.run.machine;
    const untouched = engine.memory.slotFrames[engine.memory.slotCount - 1]! * 4096;
    expect(session.mayHaveWritten(untouched, first!.tick, second!.tick)).toBe(false);
  });
});
