/** Stops of several clients at once: moves of a session go where a slow reference says, and tell what it says. */
import { describe, expect, it } from 'vitest';
import type { Tick } from '../../src/core/units.ts';
import type { EngineOptions } from '../../src/engine/engine.ts';
import { parsePredicate } from '../../src/inspect/expression.ts';
import { Search } from '../../src/inspect/search.ts';
import { SessionMoment } from '../../src/inspect/session-moment.ts';
import { SymbolTable } from '../../src/inspect/symbols.ts';
import { type Hit, isAddress, StopClients, type StopCondition, StopSet } from '../../src/machine/stops.ts';
import { ReplayDoor } from '../../src/timeline/journal.ts';
import { Session } from '../../src/timeline/session.ts';
import type { NewRecording } from '../../src/timeline/trace-store.ts';
import { EAGER } from '../engine/pair.ts';
import { type Met, Reference, randomGuest } from '../support/stop-reference.ts';
import { pseudoRandom, recordGuest } from '../support/time-travel.ts';
import {
  configOf,
  type Paging,
  PLACES,
  platformsOf,
  rootOf,
  SHARED,
  type VcpuGuest,
  vcpuMachine,
  WORD,
} from '../support/vcpus.ts';

const TICKS = 3000;
const TIERS: readonly EngineOptions[] = [{ tier: 'cold' }, { tier: 'hot', promotion: EAGER }, { tier: 'oracle' }];
const GUESTS: ReadonlyArray<readonly Paging[]> = [['long'], ['long', 'legacy'], ['legacy', 'long']];
const CLIENTS = ['prompt', 'gdb', 'explore'];

/** A recording of the guest with some input, blocks and snapshots. */
async function record(guest: VcpuGuest, seed: number): Promise<NewRecording> {
  const random = pseudoRandom(seed);
  let tick = 0;
  const lines = Array.from({ length: 9 }, () => ({ tick: (tick += 1 + random(400)), text: String(random(10)) }));
  const { recording } = await recordGuest(configOf(guest), {
    platforms: platformsOf(guest),
    limitTicks: TICKS,
    strideTicks: 101,
    flushTicks: 300,
    snapshotTicks: 600,
    lines,
  });
  expect(recording.snapshots.length).toBeGreaterThan(3);
  return recording;
}

/** A condition that is met now and then; ticks are near one. */
function randomCondition(
  random: (below: number) => number,
  reference: Reference,
  vcpus: number,
  near: Tick,
): StopCondition {
  const vcpu = random(2) === 0 ? { vcpu: random(vcpus) } : {};
  const at = (): number => {
    const { accesses } = reference.moments[random(TICKS)]!;
    return accesses.length > 0 && random(4) > 0 ? accesses[random(accesses.length)]!.pa : SHARED + random(100);
  };
  const happened = reference.happened(near - 200, near + 200);
  switch (random(13)) {
    case 0:
    case 1:
    case 2: {
      const standing = random(2) === 0 ? { standing: true } : {};
      const rip = reference.moments[random(TICKS)]!.stands?.rip;
      const root = random(4) === 0 ? { root: rootOf(random(vcpus)) } : {};
      return { kind: 'address', address: rip ?? BigInt(PLACES.code), ...vcpu, ...root, ...standing };
    }
    case 3:
    case 6:
    case 7:
      return { kind: 'event', event: happened[random(happened.length)] ?? 'bell', ...vcpu };
    case 4:
    case 5:
      return { kind: 'tick', tick: Math.max(0, near + random(14) - 7) };
    default:
      return {
        kind: 'access',
        access: (['read', 'write', 'any'] as const)[random(3)]!,
        address: at(),
        bytes: 1 + random(random(6) === 0 ? 40 : 6),
        ...vcpu,
      };
  }
}
/** In no order, conditions by what they say. */
const told = (hits: readonly (Hit | Met)[]): string[] =>
  hits
    .map(
      ({ client, condition, vcpu }) =>
        `${client} ${vcpu} ${JSON.stringify(condition, (_, x) => (typeof x === 'bigint' ? `${x}` : x))}`,
    )
    .sort();

interface Prepared {
  readonly guest: VcpuGuest;
  readonly recording: NewRecording;
  readonly reference: Reference;
}
const prepared = new Map<string, Prepared>();
async function prepare(pagings: readonly Paging[], seed: number): Promise<Prepared> {
  const name = `${pagings} ${seed}`;
  const known = prepared.get(name);
  if (known !== undefined) return known;
  const guest = randomGuest(seed, pagings);
  const recording = await record(guest, seed);
  const made = { guest, recording, reference: new Reference(guest, TICKS, new ReplayDoor(recording)) };
  prepared.set(name, made);
  return made;
}

/** How often conditions of each kind were met. */
const met = new Map<string, number>();

/** A session of a guest does random things; each is held against the reference. */
async function compare(pagings: readonly Paging[], seed: number, tier: EngineOptions, moves: number): Promise<void> {
  const { guest, recording, reference } = await prepare(pagings, seed);
  const { run } = vcpuMachine(guest, tier);
  const session = new Session(run, recording);
  const search = new Search(session, new SessionMoment(session, SymbolTable.empty));
  const random = pseudoRandom(seed + 77);
  let last: readonly Hit[] = [];
  for (let move = 0; move < moves; move++) {
    const name = `seed ${seed}, move ${move} from ${session.tick}`;
    if (random(3) === 0) {
      const client = CLIENTS[random(3)]!;
      const count = random(4);
      session.stops.set(
        client,
        Array.from({ length: count }, () => randomCondition(random, reference, pagings.length, session.tick)),
      );
      last = [];
    }
    const stops = session.stops.all;
    const { tick } = session;
    switch (random(6)) {
      case 0: {
        const target = random(TICKS + 1);
        await session.goto(target);
        expect([name, session.tick]).toEqual([name, target]);
        last = [];
        break;
      }
      case 1:
      case 2: {
        const to = Math.min(TICKS, tick + random(random(3) === 0 ? TICKS : 60));
        const resume = isAddress(last) || random(2) === 0;
        const wanted = reference.forward(stops.points, tick, to, resume);
        const hits = await session.advance(to, stops, resume);
        expect([name, session.tick, told(hits)]).toEqual([name, wanted.tick, told(wanted.met)]);
        last = hits;
        break;
      }
      case 3:
      case 4: {
        const wanted = reference.back(stops.points, tick);
        const hits = await session.back(stops);
        expect([name, 'back', session.tick, told(hits)]).toEqual([name, 'back', wanted.tick, told(wanted.met)]);
        last = hits;
        break;
      }
      default:
        await searched(search, session, reference, random, name);
        last = [];
    }
    for (const { condition } of last) met.set(condition.kind, (met.get(condition.kind) ?? 0) + 1);
    expect([name, run.stateHash()]).toEqual([name, reference.moments[session.tick]!.hash]);
  }
}
/** A search goes where it would without anybody's stops. */
async function searched(
  search: Search,
  session: Session,
  { moments }: Reference,
  random: (below: number) => number,
  name: string,
): Promise<void> {
  const word = random(32);
  const address = SHARED + word * 4;
  const sample = moments[random(TICKS)]!;
  const from = random(TICKS);
  if (random(2) === 0) {
    const changes = moments.flatMap((m, t) =>
      t > 0 && m.shared[word] !== moments[t - 1]!.shared[word] ? [t - 1] : [],
    );
    const wanted = changes.findLast((t) => t < from) ?? null;
    expect([name, 'change', await search.lastChange(address, 4, from)]).toEqual([name, 'change', wanted]);
    return;
  }
  const registers = random(2) === 0;
  const source = registers ? `rax == ${sample.rax}` : `u32[ma:${address}] == ${sample.shared[word]! >>> 0}`;
  const first = (m: (typeof moments)[number]): boolean =>
    registers ? m.rax === sample.rax : m.shared[word] === sample.shared[word];
  const to = registers ? Math.min(TICKS, from + 100) : TICKS;
  const tick = moments.findIndex((m, t) => t >= from && t <= to && first(m));
  const predicate = parsePredicate(source, new SessionMoment(session, SymbolTable.empty));
  const found = await search.first(predicate, from, to);
  expect([name, source, found.tick]).toEqual([name, source, tick < 0 ? null : tick]);
}

describe.each(GUESTS.map((pagings) => [pagings.join(' and '), pagings] as const))(
  'stops of three clients, %s',
  (_, pagings) => {
    for (const tier of TIERS)
      for (const seed of [1, 2])
        it(`lead where single steps lead: ${tier.tier} tier, seed ${seed}`, () => compare(pagings, seed, tier, 60));
  },
);
it('going back tells all that is met at a tick, also where a segment that it looks at begins', async () => {
  const { guest, recording, reference } = await prepare(['long', 'legacy'], 2);
  const session = new Session(vcpuMachine(guest, {}).run, recording);
  let told = 0;
  for (const { tick } of recording.snapshots) {
    const { coming } = reference.moments[tick]!;
    if (coming === null || tick === TICKS) continue;
    session.stops.set('prompt', [{ kind: 'tick', tick }]);
    session.stops.set('gdb', [{ kind: 'address', address: coming.rip, vcpu: coming.vcpu }]);
    await session.goto(tick + 1);
    const hits = await session.back(session.stops.all);
    expect([session.tick, hits.map((hit) => hit.client)]).toEqual([tick, ['prompt', 'gdb']]);
    told++;
  }
  expect(told).toBeGreaterThan(1);
});
it('an address is met where a vCPU stands at it and no instruction comes, if so asked', async () => {
  for (const tier of TIERS) {
    const { guest, recording, reference } = await prepare(['long', 'legacy'], 1);
    const session = new Session(vcpuMachine(guest, tier).run, recording);
    const idle = reference.moments.flatMap(({ coming, stands }, tick) =>
      coming === null && stands !== null && tick > 0 && tick < TICKS ? [{ ...stands, tick }] : [],
    );
    expect(idle.length).toBeGreaterThan(10);
    for (const { rip, vcpu, tick } of idle.slice(0, 40)) {
      for (const standing of [true, false]) {
        const stops = StopSet.of('prompt', [{ kind: 'address', address: rip, vcpu, standing }]);
        await session.goto(tick - 1);
        const hits = await session.advance(tick + 1, stops, true);
        const wanted = reference.forward(stops.points, tick - 1, tick + 1, true);
        expect([standing, session.tick, told(hits)]).toEqual([standing, wanted.tick, told(wanted.met)]);
        if (standing) expect(session.tick).toBe(tick);
      }
    }
  }
});
it('of each kind are met', () => {
  for (const [kind, least] of [
    ['address', 50],
    ['access', 50],
    ['event', 5],
    ['tick', 2],
  ] as const)
    expect(met.get(kind), kind).toBeGreaterThan(least);
});

describe('a run with stops', () => {
  /** mov edi, data; fstp [edi]; out 7: off. */
  const ending = Uint8Array.from([0xbf, 0, 0x10, 0x80, 0, 0xd9, 0x1f, 0xe6, 7]);
  const guest: VcpuGuest = { pagings: ['long'], code: [ending] };
  it('tells what is met by the step that ends the guest, then the end', () => {
    for (const tier of TIERS) {
      const { machine } = vcpuMachine(guest, tier);
      const written: StopCondition = { kind: 'access', access: 'write', address: SHARED + WORD.device, bytes: 1 };
      const stops = StopSet.of('test', [written, { kind: 'tick', tick: 3 }]);
      expect(machine.runTo(10, { stops })).toMatchObject({ kind: 'hit', hits: stops.points });
      expect([machine.tick, machine.runTo(10, { stops })]).toMatchObject([3, { kind: 'stop' }]);
    }
  });
  it('leaves nothing behind: the next run without goes through, and what was met outside of runs is not told', () => {
    const { machine } = vcpuMachine(guest, {});
    const stops = StopSet.of('test', [
      { kind: 'access', access: 'any', address: SHARED, bytes: 8 },
      { kind: 'address', address: BigInt(PLACES.code) },
    ]);
    expect(machine.runTo(10, { stops })).toMatchObject({ kind: 'hit' });
    expect(machine.runTo(1)).toEqual({ kind: 'limit' });
    machine.engine.memory.write32(SHARED, 1);
    expect(machine.runTo(1, { stops })).toEqual({ kind: 'limit' });
    expect(machine.runTo(10, { stops })).toMatchObject({ kind: 'hit', hits: [stops.points[0]] });
    expect([machine.tick, machine.runTo(10).kind]).toEqual([2, 'stop']);
  });
});

it('clients hold their conditions each for itself, in one set until somebody changes something', () => {
  const clients = new StopClients();
  expect(clients.all).toBe(StopSet.NONE);
  const tick = (at: Tick): StopCondition => ({ kind: 'tick', tick: at });
  clients.set('prompt', [tick(5)]);
  clients.set('gdb', [tick(5), tick(9)]);
  const { all } = clients;
  expect(clients.all).toBe(all);
  expect(all.points.map((p) => p.client)).toEqual(['prompt', 'gdb', 'gdb']);
  clients.set('gdb', []);
  expect(clients.all.points).toEqual([{ client: 'prompt', condition: tick(5) }]);
  clients.set('prompt', []);
  expect(clients.all).toBe(StopSet.NONE);
});
