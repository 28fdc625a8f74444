/** The scheduler socket: vCPUs take turns by a rule of the state alone, each on its own; a replay comes to the same turns. */
import { describe, expect, it } from 'vitest';
import type { Tick } from '../../src/core/units.ts';
import type { EngineOptions } from '../../src/engine/engine.ts';
import { CLOSED_DOOR, type Decision, Divergence } from '../../src/machine/inputs.ts';
import { RoundRobin } from '../../src/machine/scheduler.ts';
import { StopSet } from '../../src/machine/stops.ts';
import { PageVersions } from '../../src/timeline/checkpoints.ts';
import { RecordingDoor, ReplayDoor } from '../../src/timeline/journal.ts';
import { Session } from '../../src/timeline/session.ts';
import type { JournalEntry } from '../../src/timeline/trace-store.ts';
import { firstDifference, Track } from '../../src/timeline/witness.ts';
import { programOf } from '../../src/x86/semantics/registry.ts';
import { GPR } from '../../src/x86/state.ts';
import { EAGER } from '../engine/pair.ts';
import { randomGuest } from '../support/stop-reference.ts';
import { pseudoRandom, recordGuest, replayGuest } from '../support/time-travel.ts';
import {
  configOf,
  HANDLER,
  machineAddress,
  PLACES,
  platformsOf,
  rootOf,
  SHARED,
  type VcpuGuest,
  type VcpuMachine,
  vcpuMachine,
} from '../support/vcpus.ts';

const TIERS: readonly EngineOptions[] = [{ tier: 'cold' }, { tier: 'hot', promotion: EAGER }, { tier: 'oracle' }];
const TICKS = 4000;
const bytes = (hex: string): Uint8Array => Uint8Array.from(hex.split(' '), (x) => Number.parseInt(x, 16));

describe('a round robin', () => {
  const order = new RoundRobin(3, 5);
  it('goes around, past those that cannot run', () => {
    expect(order.next({ vcpu: 0, left: 0 }, () => true)).toEqual({ vcpu: 1, left: 5 });
    expect(order.next({ vcpu: 2, left: 0 }, () => true)).toEqual({ vcpu: 0, left: 5 });
    expect(order.next({ vcpu: 0, left: 3 }, (vcpu) => vcpu === 2)).toEqual({ vcpu: 2, left: 5 });
  });
  it('stays where nobody else can run, and names nobody where none can', () => {
    expect(order.next({ vcpu: 1, left: 0 }, (vcpu) => vcpu === 1)).toEqual({ vcpu: 1, left: 5 });
    expect(order.next({ vcpu: 1, left: 0 }, () => false)).toBeNull();
  });
});

/** 1: inc dword [data]; inc dword [data + 4096]; jmp 1. The one is the vCPU's own page, the other is shared. */
const COUNTING = bytes(`bf 00 00 80 00  ff 07  ff 87 00 10 00 00  eb f6`.replaceAll('  ', ' '));
const counting = (quantum: number): VcpuGuest => ({
  pagings: ['long', 'legacy'],
  code: [COUNTING, COUNTING],
  quantum,
});

describe.each(TIERS)('two vCPUs, $tier tier', (tier) => {
  it('have EFER, translations and steps of their own, and memory in common', () => {
    const { machine } = vcpuMachine(counting(7), tier);
    machine.runTo(1001);
    const [one, two] = machine.engine.cpus as [typeof machine.cpu, typeof machine.cpu];
    expect([one.efer, one.longMode, two.efer, two.longMode]).toEqual([0xd01, true, 0, false]);
    expect(one.steps + two.steps).toBe(1001);
    expect(Math.abs(one.steps - two.steps)).toBeLessThanOrEqual(7);
    const { memory } = machine.engine;
    const own = [0, 1].map((vcpu) => memory.read32(machineAddress(vcpu, PLACES.data)!));
    expect(memory.read32(SHARED)).toBeGreaterThan(300);
    expect(Math.abs(own[0]! + own[1]! - memory.read32(SHARED))).toBeLessThanOrEqual(1 + 1);
  });
  it('pause each by itself', () => {
    const { machine } = vcpuMachine(counting(7), tier);
    const address = BigInt(PLACES.code + 7);
    for (const vcpu of [0, 1]) {
      const stops = StopSet.of('test', [{ kind: 'address', address, vcpu }]);
      for (let i = 0, resume = false; i < 5; i++, resume = true) {
        const end = machine.runTo(1e6, { stops, resume });
        expect(end).toMatchObject({ kind: 'hit', hits: [{ client: 'test', vcpu }] });
        expect([machine.cpu.id, machine.cpu.rip]).toEqual([vcpu, address]);
      }
      const elsewhere = StopSet.of('test', [{ kind: 'address', address, vcpu, root: rootOf(1 - vcpu) }]);
      expect(machine.runTo(machine.tick + 200, { stops: elsewhere })).toEqual({ kind: 'limit' });
    }
  });
  it('come to the same state however the run is cut', () => {
    for (const seed of [1, 2, 3]) {
      const guest = randomGuest(seed, ['legacy', 'long']);
      const whole = vcpuMachine(guest, { tier: 'cold' });
      const cut = vcpuMachine(guest, tier);
      const random = pseudoRandom(seed);
      while (cut.machine.tick < TICKS) {
        cut.machine.runTo(Math.min(TICKS, cut.machine.tick + 1 + random(9)), { workLimit: 1 + random(3) });
        if (random(50) === 0) cut.machine.engine.reset();
        if (random(100) !== 0) continue;
        whole.machine.runTo(cut.machine.tick);
        expect([seed, cut.machine.tick, cut.tracker.stateHash()]).toEqual([
          seed,
          whole.machine.tick,
          whole.tracker.stateHash(),
        ]);
      }
    }
  });
});

/** Runs a guest to the end; its decisions and payloads. */
function recorded(guest: VcpuGuest): { entries: JournalEntry[]; machine: VcpuMachine } {
  const entries: JournalEntry[] = [];
  const door = new RecordingDoor('ports', (entry) => entries.push(entry));
  const machine = vcpuMachine(guest, {}, door);
  for (let tick = 0; tick < TICKS; ) {
    tick += 500;
    machine.machine.runTo(tick);
    door.seal(tick);
    door.push(new Uint8Array([tick & 255]));
  }
  return { entries, machine };
}
const doorOf = (entries: readonly JournalEntry[], lastTick: Tick = TICKS): ReplayDoor => {
  const block = { sequence: 0, firstTick: 0, lastTick, stateHash: 0n, storedBytes: 0, entries, digests: [] };
  return new ReplayDoor({ blocks: [block], block: () => block });
};

describe('switches', () => {
  const guest = randomGuest(5, ['long', 'legacy']);
  it('stand in the journal, and a replay comes to the same', () => {
    const { entries, machine } = recorded(guest);
    const switches = entries.filter((e): e is Decision => e.kind === 'switch');
    expect(switches.length).toBeGreaterThan(100);
    expect(new Set(switches.map((e) => e.detail))).toEqual(new Set(['0', '1']));
    for (const tier of TIERS) {
      const replay = vcpuMachine(guest, tier, doorOf(entries));
      replay.machine.runTo(TICKS);
      expect(replay.tracker.stateHash()).toBe(machine.tracker.stateHash());
    }
  });
  it('are compared, not followed', () => {
    const { entries } = recorded(guest);
    const at = entries.findIndex((e) => e.kind === 'switch' && e.tick > 1000);
    const other = entries.with(at, { ...entries[at], detail: '7' } as Decision);
    const replay = vcpuMachine(guest, {}, doorOf(other));
    let error: unknown = null;
    try {
      replay.machine.runTo(TICKS);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(Divergence);
    expect((error as Divergence).tick).toBe(entries[at]!.tick);
  });
});

it('a checkpoint of two vCPUs restores both, the turn and what the platform holds, also in another machine and tier', async () => {
  const guest = randomGuest(8, ['long', 'legacy']);
  const { entries } = recorded(guest);
  const one = vcpuMachine(guest, { tier: 'hot', promotion: EAGER }, doorOf(entries));
  const versions = new PageVersions(one.tracker);
  const random = pseudoRandom(8);
  const taken = Array.from({ length: 12 }, (_, i) => {
    one.machine.runTo(i * 300 + random(300));
    return { checkpoint: versions.take(), hash: one.tracker.stateHash(), rsp: one.machine.cpu.gpr(GPR.rsp) };
  });
  one.machine.runTo(TICKS);
  const end = one.tracker.stateHash();
  for (const tier of TIERS) {
    const other = vcpuMachine(guest, tier);
    const track = Track.of(other.run, doorOf(entries));
    for (const { checkpoint, hash, rsp } of taken.toSorted(() => random(3) - 1)) {
      track.start(checkpoint);
      expect([other.machine.tick, other.tracker.stateHash()]).toEqual([checkpoint.tick, hash]);
      expect(other.machine.cpu.gpr(GPR.rsp)).toBe(rsp);
      expect([...checkpoint.sections.keys()]).toEqual(['loop', 'cpu0', 'cpu1', 'ports']);
    }
    expect(await track.to(TICKS, async () => {})).toBeNull();
    expect(other.tracker.stateHash()).toBe(end);
  }
});

it('a recording of two vCPUs replays, and its snapshots are states of both', async () => {
  const guest = randomGuest(9, ['legacy', 'long']);
  const platforms = platformsOf(guest);
  const { recording, outcome } = await recordGuest(configOf(guest), {
    platforms,
    limitTicks: TICKS,
    strideTicks: 97,
    flushTicks: 200,
    snapshotTicks: 500,
    lines: [{ tick: 1000, text: 'x' }],
  });
  expect(recording.snapshots.length).toBeGreaterThan(4);
  const replayed = await replayGuest(configOf(guest), recording, undefined, platforms);
  expect(replayed).toMatchObject({ verified: true, tick: TICKS, stateHash: outcome.stateHash });
  for (const tier of TIERS) {
    const session = new Session(vcpuMachine(guest, tier).run, recording);
    for (const { tick, stateHash } of recording.snapshots.toReversed()) {
      await session.goto(tick);
      expect([session.tick, session.run.stateHash()]).toEqual([tick, stateHash]);
    }
    await session.goto(TICKS);
    expect(session.run.stateHash()).toBe(outcome.stateHash);
  }
});

it('the first difference of two machines names the vCPU that made it', async () => {
  // the second one counts down, which the other machine cannot
  const down = COUNTING.with(6, 0x0f);
  const guest: VcpuGuest = { ...counting(7), code: [COUNTING, down] };
  const track = (options: EngineOptions): Track => Track.of(vcpuMachine(guest, options).run, doorOf([]));
  const one = track({});
  const other = track({ programOf: (form) => (form.name === 'dec' ? null : programOf(form)) });
  const found = await firstDifference(one, other, one.take(), 60, async () => {});
  expect(found).toMatchObject({ vcpu: 1, rip: BigInt(PLACES.code + 5), components: ['memory', 'loop', 'cpu1'] });
});

it('time leaps to the next timer where all sleep', () => {
  // 1: out 4 (sleeps for 31 ns); jmp 1; the handler: ret
  const code = new Uint8Array(HANDLER + 1);
  code.set(bytes('e6 04 eb fc'));
  code[HANDLER] = 0xc3;
  const idles: number[] = [];
  const { machine } = vcpuMachine({ ...counting(7), code: [code, code] });
  machine.door = {
    ...CLOSED_DOOR,
    decided: ({ kind, detail }) => {
      if (kind === 'idle') idles.push(Number(detail));
    },
  };
  machine.runTo(500);
  expect(idles.length).toBeGreaterThan(20);
  expect(machine.now()).toBe(500 + idles.reduce((sum, x) => sum + x, 0));
});
