/** The verbs' questions asked of a real recording: what is refused is refused before anything moves. */
import { beforeAll, expect, it } from 'vitest';
import type { DebugSession, OpenRecording, WorkHooks } from '../../src/cli/backend.ts';
import { Opened } from '../../src/cli/local/opened.ts';
import type { RunEvent } from '../../src/inspect/investigate.ts';
import { errorOf } from '../support/error.ts';
import { recordGuest, timeTravelGuest } from '../support/time-travel.ts';

const HOOKS: WorkHooks = { progress: () => {}, stop: new AbortController().signal };

let recording: OpenRecording;
let session: DebugSession;
beforeAll(async () => {
  const { recording: made } = await recordGuest(timeTravelGuest('rounds=2 work=100'), {});
  recording = new Opened('one.hs', made);
  session = await recording.debug(HOOKS);
});

const errorIn = async (work: () => Promise<unknown>): Promise<string> => {
  try {
    await work();
    return 'no error';
  } catch (error) {
    return errorOf(() => {
      throw error;
    });
  }
};

it('a failed command moves nothing', async () => {
  await session.goto(1_000, HOOKS);
  const hash = session.stateHash();
  // the last two fail while they are evaluated
  for (const source of [
    'nosuch',
    'nosuch+4 && rax == 1',
    '5',
    'rax ==',
    'pin.reslt == 1',
    'cpu[9].rax == 1',
    'rax + "x" == 1',
  ])
    for (const way of ['forward', 'back'] as const) {
      expect([source, await errorIn(() => session[way](source, HOOKS))]).toEqual([
        source,
        expect.stringMatching(/^E_EXPR/),
      ]);
      expect([source, session.now().tick, session.stateHash()]).toEqual([source, 1_000, hash]);
    }
  expect(await errorIn(() => session.goto(session.lastTick + 1, HOOKS))).toMatch(/^E_TICK/);
  expect(session.now().tick).toBe(1_000);
  for (const source of ['nosuch', '5']) expect(errorOf(() => session.check(source))).toMatch(/^E_EXPR/);
});

it('a place in code is one in break, until, rback and bisect alike', async () => {
  // the second instruction of the handler
  await session.goto(0, HOOKS);
  await session.goto((await session.forward('on_page_fault', HOOKS))! + 1, HOOKS);
  const place = session.now().register('rip', null)!;
  const offset = place - session.symbols.address('on_page_fault')!;
  const found: unknown[] = [];
  for (const when of [`on_page_fault+${offset}`, `0x${place.toString(16)}`, `rip == on_page_fault + ${offset}`]) {
    const { tick } = await recording.bisect({ when, monotone: false, from: null, to: null }, HOOKS);
    await session.goto(0, HOOKS);
    const forward = await session.forward(when, HOOKS);
    expect(session.now().register('rip', null)).toBe(place);
    await session.goto(forward! + 1, HOOKS);
    found.push([tick, forward, await session.back(when, HOOKS)]);
  }
  const [first] = found as [number, number, number][];
  expect(found).toEqual([first, first, first]);
  expect(new Set(first).size).toBe(1);
});

it('a range that ends before it begins is refused', async () => {
  const range = { from: 5, to: 1 };
  expect(await errorIn(() => recording.bisect({ when: 'rax == 0', monotone: false, ...range }, HOOKS))).toMatch(
    /^E_USAGE: --from 5 lies behind --to 1/,
  );
  expect(await errorIn(() => recording.events({ names: [], ...range }, HOOKS).next())).toMatch(/^E_USAGE: --from 5/);
});

it('events of a name that there is none of are refused, results are signed', async () => {
  const only = async (...names: string[]): Promise<RunEvent[]> => {
    const found: RunEvent[] = [];
    for await (const events of recording.events({ names, from: null, to: null }, HOOKS)) found.push(...events);
    return found;
  };
  expect(await errorIn(() => only('page_fault', 'nonsense'))).toMatch(/^E_USAGE: there is no event nonsense/);
  expect((await only('page_fault')).length).toBeGreaterThan(0);
  expect((await only('hypercall', 'timer')).length).toBeGreaterThan(0);
  // known, and none happened
  expect(await only('physdev_op')).toEqual([]);
});

it('events of any range are those of the whole, however many come at a time', async () => {
  const all = async (from: number | null, to: number | null): Promise<readonly RunEvent[][]> => {
    const batches: RunEvent[][] = [];
    for await (const events of recording.events({ names: [], from, to }, HOOKS)) batches.push([...events]);
    return batches;
  };
  const batches = await all(null, null);
  const whole = batches.flat();
  expect(whole.length).toBeGreaterThan(100);
  expect(whole.map((e) => e.tick)).toEqual(whole.map((e) => e.tick).toSorted((a, b) => a - b));
  expect(new Set(whole.map((e) => e.kind))).toEqual(new Set(['hypercall', 'trap', 'upcall', 'timer', 'idle']));
  const [from, to] = [whole[20]!.tick, whole.at(-20)!.tick];
  expect((await all(from, to)).flat()).toEqual(whole.filter((e) => e.tick >= from && e.tick <= to));
});

/** Everything that `run` comes to from one end of the recording to the other, with how many conditions are met there. */
async function stopsAll(way: 'forward' | 'back', ...predicates: string[]): Promise<Array<readonly [number, number]>> {
  const found: Array<readonly [number, number]> = [];
  await session.goto(way === 'forward' ? 0 : session.lastTick, HOOKS);
  for (;;) {
    const met = await session.run(way, predicates, HOOKS);
    if (met === null) break;
    found.push([session.now().tick, met.hits.length]);
  }
  expect(session.now().tick).toBe(way === 'forward' ? session.lastTick : 0);
  return found;
}

it('breaks and watches are run to, with predicates beside them, and back over the same ticks', async () => {
  const address = session.check('on_page_fault')!;
  expect(address).toBe(session.symbols.address('on_page_fault'));
  for (const source of ['on_page_fault && rax == 1', 'rip == on_page_fault', 'rax == 1', '!on_page_fault'])
    expect([source, session.check(source)]).toEqual([source, null]);
  const at: number[] = [];
  await session.goto(0, HOOKS);
  for (;;) {
    const tick = await session.forward('on_page_fault', HOOKS);
    if (tick === null) break;
    at.push(tick);
  }
  session.hold([{ kind: 'address', address }]);
  expect(at.length).toBeGreaterThan(1);
  expect(await stopsAll('forward')).toEqual(at.map((tick) => [tick, 1]));
  expect(await stopsAll('back')).toEqual(at.map((tick) => [tick, 1]).toReversed());

  // the counter of the handler: written in each, and a predicate in between
  await session.goto(at[0]!, HOOKS);
  const writes = session.accesses('write', session.symbols.address('faults')!, 8);
  session.hold(writes);
  await session.run('forward', [], HOOKS);
  await session.goto(session.now().tick + 1, HOOKS);
  const behind = `0x${session.now().register('rip', null)!.toString(16)}`;
  session.hold([{ kind: 'address', address }, ...writes]);
  const found = await stopsAll('forward', behind);
  expect(found.length).toBeGreaterThan(2 * at.length);
  expect(found.filter(([, hits]) => hits === 0).length).toBeGreaterThan(0);
  expect(await stopsAll('back', behind)).toEqual(found.toReversed());
  session.hold([]);
  expect(await errorIn(async () => session.accesses('any', 0x1234n, 8))).toMatch(/^E_USAGE: 0x1234 is not mapped/);
});

it('what a run came to is named, predicates by their numbers', async () => {
  const place = session.check('on_page_fault')!;
  const predicates = ['rip in on_page_fault', 'u64[faults] == 99', 'rip == on_page_fault'];
  await session.goto(0, HOOKS);
  session.hold([{ kind: 'address', address: place }]);
  const met = await session.run('forward', predicates, HOOKS);
  expect([session.now().register('rip', null), met?.hits.length, met?.predicates]).toEqual([place, 1, [0, 2]]);
  const { tick } = session.now();
  await session.goto(tick + 1, HOOKS);
  expect(await session.run('back', predicates, HOOKS)).toEqual(met);
  expect(session.now().tick).toBe(tick);
  session.hold([]);
  expect(await session.run('forward', ['rip == on_event', 'call(on_debug)'], HOOKS)).toMatchObject({ hits: [] });
  expect((await session.run('back', predicates.slice(1), HOOKS))?.predicates).toEqual([1]);
  expect(session.now().tick).toBe(tick);
  expect(await errorIn(() => session.run('back', ['count(on_page_fault) == 2'], HOOKS))).toMatch(
    /^E_EXPRESSION: count/,
  );
});
