/** The journal decides a replay, and a replay that is not the recorded run is found out. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Tick } from '../../src/core/units.ts';
import { Divergence } from '../../src/machine/inputs.ts';
import { journalOf, moveInput, writeEditedCopy } from '../../src/timeline/edit.ts';
import { isPayload } from '../../src/timeline/journal.ts';
import { MemoryStore } from '../../src/timeline/memory-store.ts';
import { Recorder } from '../../src/timeline/recorder.ts';
import { Replayer } from '../../src/timeline/replayer.ts';
import { Run } from '../../src/timeline/run.ts';
import { Session } from '../../src/timeline/session.ts';
import type { JournalEntry, NewRecording, Recording, RecordingHeader } from '../../src/timeline/trace-store.ts';
import type { Form } from '../../src/x86/form.ts';
import { programOf } from '../../src/x86/semantics/registry.ts';
import {
  headerOf,
  pseudoRandom,
  type Recorded,
  recordGuest,
  replayGuest,
  ScriptedHost,
  timeTravelGuest,
} from '../support/time-travel.ts';

const GUEST = timeTravelGuest();
const WAITING = timeTravelGuest('rounds=3 work=200 wait');
const LINES = [
  { tick: 70_000, text: 'one ' },
  { tick: 180_000, text: 'two\n' },
];

let recorded: Recorded;
let end: Tick;
beforeAll(async () => {
  recorded = await recordGuest(GUEST, { lines: LINES, strideTicks: 10_007, flushTicks: 20_000 });
  end = recorded.outcome.tick;
});

/** A copy of a recording in memory with other entries, under the header as it is. */
function forged(recording: Recording, entries: readonly JournalEntry[]): Promise<Recording> {
  const create = (header: RecordingHeader): Promise<NewRecording> =>
    new MemoryStore().create('copy', { ...header, settings: {} }, new Map());
  return writeEditedCopy(recording, entries, create);
}
const edited = (recording: Recording, entries: readonly JournalEntry[]): Promise<Recording> =>
  writeEditedCopy(recording, entries, (header) => new MemoryStore().create('copy', header, new Map()));
const divergence = async (replay: Promise<unknown>, which = ''): Promise<Divergence> => {
  try {
    await replay;
  } catch (error) {
    if (error instanceof Divergence) return error;
    throw error;
  }
  return expect.fail(`the replay did not diverge ${which}`);
};

describe('input', () => {
  it('never enters a tick that has been looked at', () => {
    const payloads = journalOf(recorded.recording).filter(isPayload);
    expect(payloads.map((p) => new TextDecoder().decode(p.data))).toEqual(['one ', 'two\n']);
    const looked = recorded.recording.blocks.map((b) => b.lastTick);
    for (const { tick } of payloads) expect(looked).not.toContain(tick);
  });
  it('wakes a guest that only input can wake, and replays', async () => {
    const waiting = await recordGuest(WAITING, {
      strideTicks: 5_000,
      flushTicks: 1,
      lines: [
        { tick: 1e9, text: 'a' },
        { tick: 2e9, text: 'b' },
        { tick: 3e9, text: 'q' },
      ],
    });
    expect(waiting.outcome.verdict.kind).toBe('poweroff');
    expect(waiting.run.console.textAt(waiting.outcome.tick)).toContain('abq');
    expect(await replayGuest(WAITING, waiting.recording)).toMatchObject({ verified: true });
  });
  it('is waited for with everything before it sent off', async () => {
    const host = new ScriptedHost();
    const recording = await new MemoryStore().create('wait', headerOf(WAITING), new Map());
    const recorder = new Recorder(new Run(WAITING), recording, host, { ticks: null, timeNs: null, idleNs: 30e9 });
    let ended: Tick | null = null;
    host.idle = async () => {
      ended = recording.blocks.at(-1)!.lastTick;
      return false;
    };
    const outcome = await recorder.record();
    expect(outcome.verdict).toMatchObject({ kind: 'hang', message: 'every vCPU is blocked and nothing can wake one' });
    expect(ended).toBe(outcome.tick);
  });
  it('is heard in every replay of ten', async () => {
    for (let i = 0; i < 10; i++)
      expect(await replayGuest(GUEST, recorded.recording)).toMatchObject({
        verified: true,
        stateHash: recorded.outcome.stateHash,
      });
  });
});

describe('an edited journal', () => {
  it('is followed, and the run says that it is counterfactual', async () => {
    for (const index of [0, 1]) {
      const copy = await edited(recorded.recording, moveInput(journalOf(recorded.recording), index, 1));
      expect(await replayGuest(GUEST, copy)).toMatchObject({ verified: false, counterfactual: true });
      const { tick } = journalOf(recorded.recording).filter(isPayload)[index]!;
      const sessions = [recorded.recording, copy].map((recording) => new Session(new Run(GUEST), recording));
      const same: boolean[] = [];
      for (const t of [tick - 1, tick, tick + 2]) {
        for (const session of sessions) await session.goto(t);
        same.push(sessions[0]!.run.stateHash() === sessions[1]!.run.stateHash());
      }
      expect(same).toEqual([true, false, false]);
    }
  });
  it('is followed when an input waits for a blocked guest', async () => {
    const waiting = await recordGuest(WAITING, { lines: [{ tick: 1e9, text: 'q' }] });
    const copy = await edited(waiting.recording, moveInput(journalOf(waiting.recording), 0, 1));
    expect(await replayGuest(WAITING, copy)).toMatchObject({ counterfactual: true });
  });
  it('proves the run up to the edit', async () => {
    const copy = await edited(recorded.recording, moveInput(journalOf(recorded.recording), 1, 1));
    const seen = await divergence(
      replayGuest(GUEST, copy, (replayer) => {
        replayer.sabotage = (run, tick) => {
          const { memory } = run.machine.engine;
          if (tick < 60_000) memory.write8(memory.slotFrames[900]! * 4096, 1);
        };
      }),
    );
    expect(seen.tick).toBeLessThan(80_000);
  });
  it('[X-02] that gives input to a device which the machine lacks is refused', async () => {
    const entries = journalOf(recorded.recording);
    const copy = await edited(
      recorded.recording,
      entries.map((entry) => (isPayload(entry) ? { ...entry, device: 'disk' } : entry)),
    );
    await expect(replayGuest(GUEST, copy)).rejects.toThrow('no device of the machine takes input as "disk"');
    const session = new Session(new Run(GUEST), copy);
    await expect(session.goto(session.endTick)).rejects.toMatchObject({ code: 'E_RECORDING' });
  });
  it('can be moved about in, to its own end', async () => {
    const copy = await edited(recorded.recording, moveInput(journalOf(recorded.recording), 0, 40_000));
    const outcome = await replayGuest(GUEST, copy);
    const session = new Session(new Run(GUEST), copy);
    await session.goto(session.endTick);
    expect(session.tick).toBe(outcome.tick);
    await session.goto(session.endTick - 1_000);
    await session.goto(outcome.tick);
    expect(session.run.stateHash()).toBe(outcome.stateHash);
  });
  it('that does not own up to it is a divergence', async () => {
    const entries = journalOf(recorded.recording);
    const found = await divergence(replayGuest(GUEST, await forged(recorded.recording, moveInput(entries, 0, 25_000))));
    expect(found.tick).toBeGreaterThan(70_000);
  });
  it('of nothing is refused', async () => {
    const entries = journalOf(recorded.recording);
    await expect(edited(recorded.recording, entries)).rejects.toMatchObject({ code: 'E_USAGE' });
    expect(() => moveInput(entries, 2, 1)).toThrow('no input number 2');
  });
});

describe('decisions', () => {
  const change = (index: number, by: (entry: JournalEntry) => JournalEntry): JournalEntry[] =>
    journalOf(recorded.recording).map((entry, i) => (i === index ? by(entry) : entry));
  it.each(['timer', 'idle'] as const)('of kind %s are compared by tick and by detail', async (kind) => {
    const entries = journalOf(recorded.recording);
    const places = entries.flatMap((entry, i) => (entry.kind === kind ? [i] : []));
    expect(places.length).toBeGreaterThan(10);
    for (const place of [places[0]!, places[5]!, places.at(-1)!]) {
      const { tick } = entries[place]!;
      const moved = change(place, (entry) => ({ ...entry, tick: tick - 1 }));
      expect((await divergence(replayGuest(GUEST, await forged(recorded.recording, moved)))).tick).toBe(tick - 1);
      const other = change(place, (entry) => ({ ...(entry as JournalEntry & { kind: 'idle' }), detail: '7' }));
      expect((await divergence(replayGuest(GUEST, await forged(recorded.recording, other)))).tick).toBe(tick);
    }
  });
  it('that are missing or too many are found', async () => {
    const entries = journalOf(recorded.recording);
    const place = entries.findIndex((entry, i) => i > 8 && entry.kind === 'timer');
    const { tick } = entries[place]!;
    const fewer = await forged(recorded.recording, entries.toSpliced(place, 1));
    expect((await divergence(replayGuest(GUEST, fewer))).tick).toBe(tick);
    const more = entries.toSpliced(place, 0, { tick: tick - 3, kind: 'idle', detail: '1' });
    expect((await divergence(replayGuest(GUEST, await forged(recorded.recording, more)))).tick).toBe(tick - 3);
  });
});

describe('a replay that goes wrong is caught', () => {
  const random = pseudoRandom(6);
  const cases = Array.from({ length: 25 }, (_, i) => ({ i, stop: 1 + random(25), bit: random(8), at: random(4096) }));

  it.each(cases)('a bit flipped in memory behind the back of the write functions ($i)', async (flip) => {
    let stops = 0;
    let flipped: Tick | null = null;
    const found = await divergence(
      replayGuest(GUEST, recorded.recording, (replayer) => {
        replayer.sabotage = (run, tick) => {
          if (++stops !== flip.stop) return;
          const { memory } = run.machine.engine;
          const slot = Math.floor((flip.i / cases.length) * memory.slotCount);
          memory.bytes[memory.slotAddress(slot) + flip.at]! ^= 1 << flip.bit;
          flipped = tick;
        };
      }),
    );
    expect(found.from).toBeLessThanOrEqual(flipped!);
    expect(found.tick).toBeGreaterThanOrEqual(flipped!);
    expect(found.tick).toBeLessThanOrEqual(end);
  });

  /** Each instruction becomes its neighbour. */
  const NEIGHBOURS: Readonly<Record<string, string>> = {
    add: 'sub',
    sub: 'add',
    xor: 'and',
    or: 'and',
    and: 'or',
    inc: 'dec',
    dec: 'inc',
    shl: 'shr',
    shr: 'shl',
    rol: 'ror',
    mul: 'imul',
    cmp: 'test',
    test: 'cmp',
    btr: 'bts',
    sqrtsd: 'addsd',
    addsd: 'subsd',
    paddq: 'psubq',
    adc: 'sbb',
    sbb: 'adc',
    neg: 'not',
    not: 'neg',
    sar: 'shr',
  };
  const wrongly = (form: Form): ReturnType<typeof programOf> => {
    const name = NEIGHBOURS[form.name];
    if (name !== undefined) return programOf({ ...form, name, key: `${form.key} as ${name}` });
    return programOf({ ...form, variant: form.variant ^ 1, key: `${form.key} negated` });
  };

  it('an instruction made wrong, whichever it is', async () => {
    const used = new Map<string, Form>();
    new Run(GUEST, {
      programOf(form) {
        used.set(form.key, form);
        return programOf(form);
      },
    }).runTo(end);
    const forms = [...used.values()].filter((form) => form.name in NEIGHBOURS || form.name === 'jcc');
    // one form of each name: what is found does not depend on its operands; HINDSIGHT_VICTIMS=all takes every form
    const one = new Map(forms.map((form) => [`${form.name}#${form.variant}`, form]));
    const victims = process.env.HINDSIGHT_VICTIMS === 'all' ? forms : [...one.values()];
    expect(victims.length).toBeGreaterThanOrEqual(16);
    for (const victim of victims) {
      const run = new Run(GUEST, {
        programOf: (form) => (form.key === victim.key ? wrongly(form) : programOf(form)),
      });
      const replayer = new Replayer(run, recorded.recording);
      replayer.witness = { name: 'cold tier', make: () => new Run(GUEST, { tier: 'cold' }) };
      const replay = replayer.replay({ breathe: async () => {}, progress: () => {} });
      const found = await divergence(replay, `with ${victim.key} made wrong`);
      expect(found.tick).toBeLessThanOrEqual(end);
      expect(found.from).toBe(found.tick);
      expect(found.message).toContain(`the cold tier goes on as recorded: the instruction "${victim.key}" at 0x`);
    }
  });
});

it('a block of many entries is closed behind the slice that had them, and changes nothing', async () => {
  const cut = await recordGuest(GUEST, { strideTicks: 10_007, blockEntries: 5 });
  const whole = await recordGuest(GUEST, { strideTicks: 10_007 });
  const entries = cut.recording.blocks.map(({ sequence }) => cut.recording.block(sequence).entries.length);
  expect(entries.slice(0, -1).every((count) => count >= 5)).toBe(true);
  expect(entries.length).toBeGreaterThan(2);
  expect(whole.recording.blocks.length).toBe(1);
  expect(journalOf(cut.recording)).toEqual(journalOf(whole.recording));
  expect(cut.outcome.stateHash).toBe(whole.outcome.stateHash);
});
