/** Guests whose hypercalls are as long as a step may be: limits, hosts and replays are heard between two of them. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { MachineConfig } from '../../src/machine/config.ts';
import { Replayer } from '../../src/timeline/replayer.ts';
import { Run } from '../../src/timeline/run.ts';
import { Session } from '../../src/timeline/session.ts';
import { programOf } from '../../src/x86/semantics/registry.ts';
import { STEP_WORK } from '../../src/xen/work.ts';
import { DATA, hex32, smallGuest } from '../support/small-guest.ts';
import { type Recorded, recordGuest } from '../support/time-travel.ts';

const TEXT_BYTES = 0x20_0000n;
const LIMIT = 40;
/** One slice and the longest step, which may end it, with room for what else steps do. */
const SLICE_AND_STEP = 2 * STEP_WORK + 4096;

/** A kernel that counts in EBX and writes 2 MiB of zeros to the console, again and again: each call is two steps and more. */
const talker = (): MachineConfig =>
  smallGuest(
    `ff c3 31 ff be ${hex32(TEXT_BYTES)} 48 c7 c2 ${hex32(DATA)} b8 12 00 00 00 0f 05 eb e7`,
    '',
    Number(TEXT_BYTES),
  );

const longest = (moments: readonly number[]): number =>
  Math.max(...moments.map((now, i) => now - (moments[i - 1] ?? 0)));

describe('a guest of long calls', () => {
  const config = talker();
  /** The work done whenever the recorder's host was asked. */
  const asked: number[] = [];
  let recorded: Recorded;
  beforeAll(async () => {
    recorded = await recordGuest(config, {
      limitTicks: LIMIT,
      breathed: (run) => asked.push(run.machine.platform.work.total),
    });
  });

  it('[D-06] ends at the tick that was asked for', () => {
    expect(recorded.outcome).toMatchObject({ tick: LIMIT, verdict: { kind: 'limit' } });
    expect(asked.at(-1)).toBeGreaterThan(5 * STEP_WORK);
  });
  it('[D-06] lets its recorder be heard after every slice of work', () => {
    expect(longest(asked)).toBeLessThan(SLICE_AND_STEP);
  });
  it('[D-06] lets its replay be heard, which comes to the same', async () => {
    const run = new Run(config);
    const heard: number[] = [];
    const breathe = async (): Promise<void> => void heard.push(run.machine.platform.work.total);
    const outcome = await new Replayer(run, recorded.recording).replay({ breathe, progress: () => {} });
    expect(outcome).toMatchObject({ verified: true, tick: LIMIT });
    expect(longest(heard)).toBeLessThan(SLICE_AND_STEP);
  });
  it('[D-06] lets its replay be heard while that looks for the step it executes wrongly', async () => {
    const countsDown = new Run(config, {
      programOf: (form) => programOf(form.name === 'inc' ? { ...form, name: 'dec', key: 'wrong' } : form),
    });
    const replayer = new Replayer(countsDown, recorded.recording);
    replayer.witness = { name: 'cold tier', make: () => new Run(config, { tier: 'cold' }) };
    let reached = 0;
    const breathe = async (): Promise<void> => {
      if (countsDown.tick < reached) throw new Error('interrupted');
      reached = countsDown.tick;
    };
    await expect(replayer.replay({ breathe, progress: () => {} })).rejects.toThrow('interrupted');
  });
  it('[D-06] is gone to in slices, and an interrupted way stands where it came to', async () => {
    const session = new Session(new Run(config), recorded.recording);
    const { work } = session.run.machine.platform;
    const heard: number[] = [];
    await session.goto(LIMIT - 1, async () => void heard.push(work.total));
    expect(longest(heard)).toBeLessThan(SLICE_AND_STEP);
    const again = new Session(new Run(config), recorded.recording);
    const stop = async (): Promise<void> => {
      throw new Error('interrupted');
    };
    await expect(again.goto(LIMIT - 1, stop)).rejects.toThrow('interrupted');
    expect(again.tick).toBeGreaterThan(0);
    expect(again.tick).toBeLessThan(LIMIT - 1);
    await again.goto(LIMIT - 1);
    expect(again.run.stateHash()).toBe(session.run.stateHash());
  });
});
