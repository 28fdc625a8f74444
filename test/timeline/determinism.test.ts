/** The state at a tick is a function of the tick: however a run is cut, tiered, stored, searched or come back to. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Tick } from '../../src/core/units.ts';
import { isBefore } from '../../src/machine/machine.ts';
import { StopSet } from '../../src/machine/stops.ts';
import { xenOf } from '../../src/machine/xen-pv/xen-of.ts';
import { ReplayDoor } from '../../src/timeline/journal.ts';
import { Run } from '../../src/timeline/run.ts';
import { Session } from '../../src/timeline/session.ts';
import {
  failingBoot,
  pseudoRandom,
  type Recorded,
  recordGuest,
  replayGuest,
  timeTravelGuest,
} from '../support/time-travel.ts';

const LINES = [
  { tick: 50_000, text: 'hello' },
  { tick: 120_000, text: ' world\n' },
  { tick: 250_000, text: 'again' },
];
const GUEST = timeTravelGuest();

let recorded: Recorded;
let end: Tick;
beforeAll(async () => {
  recorded = await recordGuest(GUEST, {
    lines: LINES,
    strideTicks: 10_007,
    flushTicks: 90_000,
    snapshotTicks: 1_000_000,
  });
  end = recorded.outcome.tick;
});

/** A machine that follows the recording's input. */
function follower(): Run {
  const run = new Run(GUEST);
  run.machine.door = new ReplayDoor(recorded.recording);
  return run;
}
/** The hash at each of `ticks`, ascending, from one forward run. */
function forwardHashes(ticks: Iterable<Tick>): Map<Tick, bigint> {
  const run = follower();
  const out = new Map<Tick, bigint>();
  for (const tick of [...new Set(ticks)].sort((a, b) => a - b)) {
    run.runTo(tick);
    out.set(tick, run.stateHash());
  }
  return out;
}

describe('recording and replay', () => {
  it('runs everything the guest is made for', () => {
    const text = recorded.run.console.textAt(end);
    expect(recorded.outcome.verdict.kind).toBe('poweroff');
    expect(text).toMatch(/hello world\n.*again/s);
    expect(text).toMatch(/20 timers, 320 single steps, 20 breakpoints, 20 faults/);
  });
  it('replays to the recorded hash', async () => {
    const outcome = await replayGuest(GUEST, recorded.recording);
    expect(outcome).toMatchObject({ verified: true, tick: end, stateHash: recorded.outcome.stateHash });
  });
  it('records the failing boot and replays it', async () => {
    const boot = await recordGuest(failingBoot());
    expect(boot.outcome.verdict.kind).toBe('crash');
    expect(await replayGuest(failingBoot(), boot.recording)).toMatchObject({ verified: true });
  });
  it('gives one hash at every spacing of snapshots and blocks', async () => {
    const hashes = new Set<bigint>();
    for (const spacing of [1, 3, 7, 20, 60]) {
      const other = await recordGuest(GUEST, {
        lines: LINES,
        strideTicks: 10_007,
        flushTicks: spacing * 10_000,
        snapshotTicks: spacing * 10_000,
      });
      hashes.add(other.outcome.stateHash!);
    }
    expect([...hashes]).toEqual([recorded.outcome.stateHash]);
  });
});

describe('cutting a run', () => {
  it('is not observable at random ticks', () => {
    const random = pseudoRandom(1);
    const run = follower();
    while (run.tick < end) {
      const before = run.tick;
      run.runTo(before + 1 + random(5_000));
      if (random(4) === 0) run.stateHash();
    }
    expect(run.stateHash()).toBe(recorded.outcome.stateHash);
  });
  it('is not observable where counted work ends it in the midst', () => {
    const run = follower();
    let cuts = 0;
    for (; run.tick < end; cuts++) run.runTo(end, { workLimit: 1 });
    expect(cuts).toBeGreaterThan(20);
    expect(run.stateHash()).toBe(recorded.outcome.stateHash);
  });
  it('is not observable where the host wants to be heard in the midst of it', () => {
    const run = follower();
    run.machine.wanted = () => true;
    let cuts = 0;
    for (; run.tick < end; cuts++) run.runTo(end);
    expect(cuts).toBeGreaterThan(5);
    expect(run.stateHash()).toBe(recorded.outcome.stateHash);
  });
  it('is not observable at every tick of a stretch', () => {
    const from = 60_000;
    const whole = forwardHashes([from + 4_000]);
    const run = follower();
    run.runTo(from);
    for (let tick = from + 1; tick <= from + 4_000; tick++) run.runTo(tick);
    expect(run.stateHash()).toBe(whole.get(from + 4_000));
  });
});

describe('tiers', () => {
  it('agree on the hash of the whole run', () => {
    const ticks = [1_000, 20_000, 33_333, 64_000];
    const promotion = { sampleSteps: 50, samples: 1, misses: 1, batch: 2, patience: 20, sampleHops: 20, hops: 2 };
    const hashes = (tier: 'cold' | 'hot' | 'oracle'): bigint[] => {
      const run = new Run(GUEST, { tier, promotion });
      return ticks.map((tick) => {
        run.runTo(tick);
        return run.stateHash();
      });
    };
    const cold = hashes('cold');
    expect(hashes('oracle')).toEqual(cold);
    expect(hashes('hot')).toEqual(cold);
  });
});

describe('a session', () => {
  let stored: Recorded;
  let session: Session;
  beforeAll(async () => {
    stored = await recordGuest(GUEST, {
      lines: LINES,
      strideTicks: 10_007,
      flushTicks: 100_000,
      snapshotTicks: 100_000,
    });
    session = new Session(new Run(GUEST), stored.recording);
  });

  it('comes to the state of a forward run at random ticks', async () => {
    const random = pseudoRandom(2);
    const ticks = Array.from({ length: 120 }, () => random(end + 1));
    const expected = forwardHashes(ticks);
    for (const tick of ticks) {
      await session.goto(tick);
      expect([tick, session.run.stateHash()]).toEqual([tick, expected.get(tick)]);
    }
  });
  it('walks back from the end step by step', async () => {
    const ticks = Array.from({ length: 1_500 }, (_, i) => end - i);
    const expected = forwardHashes(ticks);
    for (const tick of ticks) {
      await session.goto(tick);
      if (session.run.stateHash() !== expected.get(tick)) expect.fail(`another state at tick ${tick}`);
    }
  });
  it('leaves nothing of the state out of a snapshot, whether stored at once or when the end had come', async () => {
    for (const { recording, outcome } of [stored, recorded])
      for (const { tick } of recording.snapshots) {
        const fresh = new Session(new Run(GUEST), recording);
        await fresh.goto(tick);
        expect(fresh.run.stateHash()).toBe(recording.snapshot(tick).stateHash);
        fresh.forward(end);
        expect([tick, fresh.run.stateHash()]).toEqual([tick, outcome.stateHash]);
      }
    expect(stored.recording.snapshots.length).toBeGreaterThan(3);
    const { blocks, snapshots } = recorded.recording;
    expect(snapshots.map(({ tick }) => tick)).toEqual(blocks.slice(-2).map(({ lastTick }) => lastTick));
  });
  it('walks back over timers, idle jumps and input', async () => {
    const entries = stored.recording.blocks.flatMap((b) => stored.recording.block(b.sequence).entries);
    const ticks = [...new Set(entries.slice(0, 40).flatMap((e) => [e.tick + 2, e.tick + 1, e.tick, e.tick - 1]))];
    const expected = forwardHashes(ticks);
    for (const tick of ticks.sort((a, b) => b - a)) {
      await session.goto(tick);
      expect([tick, session.run.stateHash()]).toEqual([tick, expected.get(tick)]);
    }
  });
  it('stops for pauses and watches in states that a forward run passes', async () => {
    await session.goto(0);
    const seen = new Map<Tick, bigint>();
    await session.goto(30_000);
    const around = session.run.machine.cpu.rip;
    const stops = StopSet.of('test', [
      ...Array.from({ length: 256 }, (_, i) => ({ kind: 'address', address: around - 128n + BigInt(i) }) as const),
      { kind: 'access', access: 'write', address: xenOf(session.run.machine)!.sharedInfo, bytes: 4096 },
    ]);
    for (let count = 0, resume = true; count < 400 && session.tick < end; count++) {
      const stop = session.forward(end, { resume, stops });
      resume = isBefore(stop);
      seen.set(session.tick, session.run.stateHash());
    }
    session.forward(end);
    expect(session.run.stateHash()).toBe(stored.outcome.stateHash);
    const expected = forwardHashes(seen.keys());
    for (const [tick, hash] of seen) expect([tick, hash]).toEqual([tick, expected.get(tick)]);
    expect(seen.size).toBeGreaterThan(100);
  });
});

describe('far ticks', () => {
  it.each([2 ** 31, 2 ** 32, 2 ** 52, 2 ** 53 - 2 ** 33])('runs across tick %i as anywhere', (around) => {
    const whole = new Run(GUEST);
    const cut = new Run(GUEST);
    for (const run of [whole, cut]) run.machine.loop.clock.tick = around - 30_000;
    whole.runTo(around + 60_000);
    const random = pseudoRandom(3);
    while (cut.tick < around + 60_000) cut.runTo(Math.min(around + 60_000, cut.tick + 1 + random(3_000)));
    expect(cut.stateHash()).toBe(whole.stateHash());
    expect(whole.tick).toBe(around + 60_000);
    expect(whole.console.textAt(whole.tick)).toContain('time-travel: hello');
  });
});
