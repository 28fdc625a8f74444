/** Guests that get nowhere are told so, those that only look like it are not: tools/guest-kernels/endings names both. */
import { describe, expect, it } from 'vitest';
import { REENTRY } from '../../src/machine/xen-pv/hang/reentry.ts';
import { journalOf } from '../../src/timeline/edit.ts';
import type { RecorderLimits } from '../../src/timeline/recorder.ts';
import { endingsGuest, type Recorded, recordGuest, replayGuest } from '../support/time-travel.ts';

/** Rounds from which on a place counts as one that cannot be left, so few that a test is quick. */
const FEW = { ...REENTRY, rounds: 3000 };

const record = (way: string, limits: Partial<RecorderLimits> = {}, limitTicks = 50_000_000): Promise<Recorded> =>
  recordGuest(endingsGuest(way), { limitTicks, limits: { reentry: FEW, ...limits } });

describe('a place that the guest cannot leave', () => {
  it.each([
    ['refault', 'whose handler counts', /^fault loop: #PF on 0x5000, error 2, at 0x\w+: (\d+) times with the same/],
    ['oops', 'whose handler prints', /^fault loop: #PF on 0x5000, error 2, at 0x\w+: (\d+) times with the same/],
    ['native-refault', 'whose handler returns by IRETQ', /^fault loop: #PF on 0x5000, error 2, at 0x\w+: (\d+) times/],
    [
      'native-oops',
      'whose handler prints and returns by IRETQ',
      /^fault loop: #PF on 0x5000, error 2, at 0x\w+: (\d+) times/,
    ],
    [
      'storm',
      'under upcalls',
      /^storm: port 4, handler 0x\w+: (\d+) upcalls interrupted 0x\w+, which went on by no step/,
    ],
  ])('is a hang: %s, %s', async (way, _what, message) => {
    const { outcome, recording, run } = await record(way);
    expect(outcome.verdict).toEqual({ kind: 'hang', message: expect.stringMatching(message) });
    const rounds = Number(message.exec(outcome.verdict.message)![1]);
    expect(rounds).toBeGreaterThanOrEqual(FEW.rounds);
    expect(rounds).toBeLessThan(20 * FEW.rounds);
    expect((await replayGuest(run.config, recording)).verified).toBe(true);
  });
  it('is told at the same tick in each tier and however often the host asks', async () => {
    const ticks = new Set<number>();
    for (const [tier, strideTicks] of [
      ['hot', 2 ** 22],
      ['hot', 10_007],
      ['cold', 100_003],
    ] as const)
      ticks.add(
        (await recordGuest(endingsGuest('refault'), { tier, strideTicks, limits: { reentry: FEW } })).outcome.tick,
      );
    expect(ticks.size).toBe(1);
  });
  it('may take few rounds where each takes long', async () => {
    const reentry = { rounds: 2 ** 40, slowRounds: 100, slowTicks: 1_000_000 };
    const { outcome } = await record('oops', { reentry });
    expect(outcome.verdict.message).toMatch(/^fault loop/);
    expect(outcome.tick).toBeGreaterThan(1_000_000);
  });
  it.each([
    ['lazy 6000', 'thousands of pages mapped as one instruction faults on them'],
    ['again 6000', 'one page mapped each time, by the same registers'],
    ['native-lazy 6000', 'thousands of pages, the handler returning by IRETQ'],
    ['native-again 6000', 'one page mapped each time, the handler returning by IRETQ'],
  ])('is none: %s, %s', async (way) => {
    expect((await record(way)).outcome.verdict.kind).toBe('poweroff');
  });
});

/** Work after which loops are looked at, so little that a test is quick. */
const SOON = { work: 2 ** 20, mostWork: 2 ** 21 };

describe('a loop', () => {
  it.each([
    ['spin', 'waits for a word that nobody writes', 4],
    ['count', 'and counts in memory', 5],
    ['yield', 'and yields', 8],
    ['watch', 'and writes the time down', 6],
    ['sum', 'and sums up the same memory again and again', 902],
    ['say', 'and says the same again and again', 29],
    ['tick-yield', 'and yields, beside a handler that counts and sets the timer again', 8],
    ['tick-spin-ps', 'beside a periodic timer and a handler that goes port by port', 4],
  ])('that has no end is a hang: %s, %s', async (way, _what, steps) => {
    const { outcome, recording, run } = await record(way, { loops: SOON });
    expect(outcome.verdict).toEqual({
      kind: 'hang',
      message: expect.stringMatching(
        new RegExp(`^endless loop: ${steps} steps at 0x\\w+, which nothing leads out of$`),
      ),
    });
    expect(outcome.tick).toBeLessThan(2 ** 24);
    expect((await replayGuest(run.config, recording)).verified).toBe(true);
  });
  it.each([
    ['poll 1000', 'waits a microsecond between two looks'],
    ['poll 1000000', 'waits a millisecond'],
    ['poll-y 100000', 'yields meanwhile'],
    ['poll-v 1000', 'asks for the version meanwhile'],
    ['tick-spin-pd', 'waits beside a periodic timer'],
  ])('that the clock leads round, and never out, is a hang: %s, %s', async (way) => {
    const { outcome } = await record(way, { loops: SOON });
    const message = expect.stringMatching(/^endless loop: \d+ instructions at 0x\w+, which nothing leads out of$/);
    expect(outcome.verdict).toEqual({ kind: 'hang', message });
    expect(outcome.tick).toBeLessThan(2 ** 24);
  });
  it.each([
    ['delay 4000000', 'counts to a number in a register'],
    ['memory-delay 3000000', 'counts to a number in memory'],
    ['clock 1000000', 'waits for the clock'],
    ['late-y 1000000', 'yields until the clock has come so far'],
    ['tries 500', 'looks so many times, a delay apart'],
    ['wait 15000000', 'waits for a word that an interrupt will write'],
    ['checksum 200', 'sums up memory'],
    ['verify 300', 'reads memory'],
    ['tell 60000', 'says the same so many times'],
    ['write 60000', 'says something else each time, so many times'],
  ])('that ends is none: %s, %s', async (way) => {
    const { outcome } = await record(way, { loops: { work: 2 ** 16, mostWork: 2 ** 18 } });
    expect(outcome.verdict.kind).toBe('poweroff');
  });
  it.each([
    ['tick-until 3', 'waits for the third tick, whose handler counts'],
    ['tick-raise 3', 'waits for a word that the handler writes at the third tick'],
    ['tick-raise-ps 3', 'the same with a periodic timer, port by port'],
    ['tick-smooth-p 3', 'the same without a branch'],
    ['tick-time-p 9000000', 'waits for a word that the handler writes by the clock'],
    ['tick-table-p 3', 'waits for a word that the handler takes from a table'],
    ['tick-raise-pd 3', 'looks now and then for a word that the handler writes'],
    ['tick-clock-p 3000000', 'waits for the clock beside a periodic timer'],
  ])('that ends is none beside a timer: %s, %s', async (way) => {
    expect((await record(way, { loops: SOON })).outcome.verdict.kind).toBe('poweroff');
  });
  it('is told at the same tick in each tier', async () => {
    const ticks = new Set<number>();
    for (const tier of ['hot', 'cold'] as const)
      ticks.add((await recordGuest(endingsGuest('count'), { tier, limits: { loops: SOON } })).outcome.tick);
    expect(ticks.size).toBe(1);
  });
});

describe('a silent guest', () => {
  const idleNs = 1e6;

  it('is hung once nothing new has come for the limit, which is told as it was given', async () => {
    const { outcome } = await record('clock 900000000', { idleNs });
    expect(outcome.verdict).toEqual({ kind: 'hang', message: 'nothing new for 0.001 s of virtual time' });
    expect(outcome.tick).toBeLessThan(9_000_000);
  });
  it.each([
    ['checksum 200', 'sums up memory'],
    ['verify 300', 'reads memory'],
  ])('that computes is none: %s, %s', async (way) => {
    const { outcome } = await record(way, { idleNs });
    expect(outcome.verdict.kind).toBe('poweroff');
    expect(outcome.tick).toBeGreaterThan(8_000_000);
  });
  it.each([
    ['sleep 3600000000000', 'an hour in one jump'],
    ['timers 20', 'twenty jumps of a second'],
  ])('may sleep: %s, %s', async (way) => {
    expect((await record(way, { idleNs: 30e9 })).outcome.verdict.kind).toBe('poweroff');
  });
  it.each(['timers 1000000', 'tick-block', 'tick-block-p'])('is hung where it idles for ever: %s', async (way) => {
    const { outcome } = await record(way, { idleNs: 30e9 });
    expect(outcome.verdict).toEqual({ kind: 'hang', message: 'nothing new for 30 s of virtual time' });
  });
});

describe('a limit of virtual time', () => {
  it('is met to the tick by a guest that runs', async () => {
    const { outcome, run } = await record('spin', { timeNs: 7_654_321 });
    expect(outcome.verdict).toEqual({ kind: 'limit', message: 'reached the limit of 0.007654321 s of virtual time' });
    expect(run.machine.now()).toBe(7_654_321);
    expect(outcome.tick).toBe(7_654_321);
  });
  it('ends a run before the jump that would lead behind it', async () => {
    // the timer of the third second fires at 3 s; the guest blocks some 100 ticks behind each
    const whole = await record('timers 10');
    const jumps = journalOf(whole.recording).filter((entry) => entry.kind === 'idle');
    const { outcome, run } = await record('timers 10', { timeNs: 2_500_000_000 });
    expect(outcome.verdict.kind).toBe('limit');
    expect(outcome.tick).toBe(jumps[2]!.tick);
    expect(run.machine.now()).toBeLessThan(2_100_000_000);
    expect(
      (await replayGuest(run.config, (await record('timers 10', { timeNs: 2_500_000_000 })).recording)).verified,
    ).toBe(true);
  });
  it('takes a jump that leads to it', async () => {
    const all = await record('sleep 1000000000', {});
    const { outcome, run } = await record('sleep 1000000000', { timeNs: all.run.machine.now() - 1 });
    expect(outcome.verdict.kind).toBe('limit');
    expect(outcome.tick).toBe(all.outcome.tick - 1);
    expect(run.machine.now()).toBe(all.run.machine.now() - 1);
  });
});
