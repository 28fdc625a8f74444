/**
 * A platform, a device and a stop client that only this test knows: recorded, replayed, gone about in and searched by code that has
 * never heard of them.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Tick } from '../../src/core/units.ts';
import { parsePredicate } from '../../src/inspect/expression.ts';
import { Search } from '../../src/inspect/search.ts';
import { SessionInvestigator } from '../../src/inspect/session-investigator.ts';
import { SessionMoment } from '../../src/inspect/session-moment.ts';
import { SymbolTable } from '../../src/inspect/symbols.ts';
import { why } from '../../src/inspect/why.ts';
import { DEFAULT_EPOCH_SECONDS, DEFAULT_TSC_KHZ, type MachineConfig } from '../../src/machine/config.ts';
import { kindOf, PLATFORMS } from '../../src/machine/platforms.ts';
import { type StopCondition, StopSet } from '../../src/machine/stops.ts';
import { journalOf } from '../../src/timeline/edit.ts';
import { isPayload } from '../../src/timeline/journal.ts';
import { Run, SEMANTICS_VERSION } from '../../src/timeline/run.ts';
import { Session } from '../../src/timeline/session.ts';
import type { Recording } from '../../src/timeline/trace-store.ts';
import { LevelStore } from '../../store/level-store.ts';
import { errorOf } from '../support/error.ts';
import { hexBytes } from '../support/pv-guest.ts';
import { PORT } from '../support/test-device.ts';
import { BOARD } from '../support/test-platform.ts';
import { Tracer } from '../support/test-stop-client.ts';
import { pseudoRandom, type RecordOptions, recordGuest, replayGuest } from '../support/time-travel.ts';

/**
 * mov esi, page; sleep: cmp byte [esi+8], 0; jne byte; hlt; jmp sleep;
 * byte: mov ecx, 1000; dec ecx; jnz; movzx eax, byte [esi+4]; add ebx, eax; mov byte [esi+8], 0; cmp al, 'q'; je end;
 * inc eax; mov [esi], al; out 0x10, al; jmp sleep; end: out 0x11, al
 */
const PROGRAM = hexBytes(`
  be 00 30 00 00 80 7e 08 00 75 03 f4 eb f7
  b9 e8 03 00 00 49 75 fd 0f b6 46 04 01 c3 c6 46 08 00 3c 71 74 07
  40 88 06 e6 10 eb da e6 11`);
const CONFIG: MachineConfig = {
  platform: BOARD.id,
  images: { program: PROGRAM },
  commandLine: '',
  memoryBytes: 1 << 20,
  vcpus: 1,
  cpuPolicy: 'x86-64-v1',
  tscKhz: DEFAULT_TSC_KHZ,
  epochSeconds: DEFAULT_EPOCH_SECONDS,
};
const platforms = new Map([[BOARD.id, BOARD]]);
const TYPED = 'HAL/q';
/** Behind `out 0x10, al`. */
const BELL = 0x1029n;
const machine = (tier: 'cold' | 'hot' | 'oracle' = 'hot'): Run => new Run(CONFIG, { tier }, platforms);

const folder = mkdtempSync(join(tmpdir(), 'hindsight-plug-'));
afterAll(() => rmSync(folder, { recursive: true }));
let recording: Recording;
let end: Tick;
let told: string;

/** Records the program: `HA`, then the rest once it sleeps. */
async function record(options: RecordOptions = {}) {
  const made = await recordGuest(CONFIG, {
    ...{ platforms, strideTicks: 701, flushTicks: 900, snapshotTicks: 1500 },
    lines: [
      { tick: 0, text: TYPED.slice(0, 2) },
      { tick: 1e9, text: TYPED.slice(2) },
    ],
    ...options,
  });
  return { ...made, output: made.run.console.textAt(made.outcome.tick) };
}

beforeAll(async () => {
  const store = new LevelStore(folder);
  const made = await record({ store, name: 'board' });
  expect(made.outcome.verdict).toEqual({ kind: 'poweroff', message: 'the program ended' });
  end = made.outcome.tick;
  told = made.output;
  await made.recording.close();
  recording = await store.open('board', SEMANTICS_VERSION);
});
afterAll(() => recording.close());

describe('a platform and a device of somebody else', () => {
  it('are no part of the product', () => {
    expect([...PLATFORMS.keys()]).toEqual(['xen-pv', 'idt']);
    expect(errorOf(() => kindOf(BOARD.id))).toBe('E_SEMANTICS: this version has no platform "board"');
    expect(errorOf(() => new Run(CONFIG))).toMatch(/^E_SEMANTICS/);
  });
  it('are recorded: what was typed went to the device, what it said to the console', () => {
    expect(told).toBe('IBM0');
    const inputs = journalOf(recording).filter(isPayload);
    expect(inputs.map(({ device, data }) => [device, new TextDecoder().decode(data)])).toEqual([
      ['mailbox', 'HA'],
      ['mailbox', 'L/q'],
    ]);
    expect(recording.snapshots.length).toBeGreaterThan(1);
    expect([...recording.snapshot(recording.snapshots[0]!.tick).sections.keys()]).toEqual(
      expect.arrayContaining(['loop', 'cpu0', 'line', 'mailbox']),
    );
  });
  it('are replayed, and come to the same whatever the tier and the slices', async () => {
    expect(await replayGuest(CONFIG, recording, undefined, platforms)).toMatchObject({ tick: end, verified: true });
    for (const tier of ['cold', 'oracle'] as const) {
      const made = await record({ tier, strideTicks: 97 });
      expect(made.output).toBe(told);
      expect(await replayGuest(CONFIG, made.recording, undefined, platforms)).toMatchObject({ verified: true });
    }
  });
  it('are gone about in: the state at a tick is the same on every way there', async () => {
    const session = new Session(machine(), recording);
    const forward: bigint[] = [];
    for (let tick = 0; tick <= end; tick += 101) {
      await session.goto(tick);
      forward.push(session.run.stateHash());
    }
    const fresh = new Session(machine('cold'), recording);
    const random = pseudoRandom(7);
    for (let i = 0; i < 40; i++) {
      const at = random(forward.length);
      await fresh.goto(at * 101);
      expect(fresh.run.stateHash()).toBe(forward[at]);
    }
    for (let back = 1; back < 50; back++) {
      await fresh.goto(end - back);
      await session.goto(end - back);
      expect(fresh.run.stateHash()).toBe(session.run.stateHash());
    }
  });
  it('are searched, by registers, memory, console and what the platform explains', async () => {
    const session = new Session(machine(), recording);
    const moment = new SessionMoment(session, SymbolTable.empty);
    const search = new Search(session, moment);
    const sum = TYPED.charCodeAt(0) + TYPED.charCodeAt(1);
    for (const source of [
      `ebx == ${sum}`,
      'u8[0x3000] == 0x4d',
      'u8[pa:0x3008] == 1 && ebx != 0',
      'full(0) == 0 && ebx != 0',
      'rings(0) == 2',
      'console ~ "IBM"',
    ]) {
      const { tick } = await search.first(parsePredicate(source, moment), 0, end);
      expect(tick, source).not.toBeNull();
      await session.goto(tick!);
      expect(parsePredicate(source, moment).holds(moment), source).toBe(true);
      await session.goto(tick! - 1);
      expect(parsePredicate(source, moment).holds(moment), source).toBe(false);
    }
    const seen = await search.first(parsePredicate('rings(0) != prev(rings(0))', moment), 0, end);
    await session.goto(seen.tick!);
    expect(session.run.machine.cpu.rip).toBe(BELL);
    const { tick: typed } = journalOf(recording).filter(isPayload)[1]!;
    const mail = await search.first(parsePredicate(`mail.port == ${PORT}`, moment), typed - 1, end);
    expect(mail.tick).toBe(typed);
    const last = await search.last(() => parsePredicate('u8[0x3004] == 0x48', moment), end);
    await session.goto(last! + 1);
    expect(moment.read('ma', 0x3004n, 1)).toBe(0x41n);
  });
  it('are told in order, journal and platform', async () => {
    const session = new Session(machine(), recording);
    const verdict = { kind: 'poweroff', tick: end, vcpu: 0, rip: 0n, symbol: null, message: '' } as const;
    const investigator = new SessionInvestigator(session, SymbolTable.empty, verdict);
    const names: string[] = [];
    for await (const events of investigator.events(0, end)) names.push(...events.map((e) => e.name));
    expect(names.filter((name) => name === 'mail').length).toBe(TYPED.length);
    expect(names.filter((name) => name === 'mailbox').length).toBe(2);
  });
  it('are explained: why names the word that the board refused, and the store that wrote it', async () => {
    // mov esi, REQUEST; mov dword [esi], 7; mov ecx, 9; dec ecx; jnz; out 0x12, al
    const config = {
      ...CONFIG,
      images: { program: hexBytes('be 10 30 00 00 c7 06 07 00 00 00 b9 09 00 00 00 49 75 fd e6 12') },
    };
    const made = await recordGuest(config, { platforms });
    expect(made.outcome.verdict).toEqual({ kind: 'crash', message: 'the board refused a request' });
    const session = new Session(new Run(config, {}, platforms), made.recording);
    const { tick } = made.outcome;
    const verdict = { ...made.outcome.verdict, tick, vcpu: 0, rip: 0n, symbol: null };
    const told = await why(new SessionInvestigator(session, SymbolTable.empty, verdict));
    expect(told.operand).toBe('the request is 7');
    expect(told.lastWriter).toMatchObject({ tick: 1, rip: 0x1005n, value: 7n });
    expect(told.chain.map(({ what }) => what)).toContain('refused = no');
  });
  it('are noticed where nothing comes of them, by silence', async () => {
    const config = { ...CONFIG, images: { program: hexBytes('eb fe') } };
    const { outcome } = await recordGuest(config, { platforms, limits: { idleNs: 1e6 } });
    expect(outcome.verdict).toEqual({ kind: 'hang', message: 'nothing new for 0.001 s of virtual time' });
  });
  it('are stopped in: at what the platform tells, and where the device writes', async () => {
    const session = new Session(machine(), recording);
    const stops = StopSet.of('test', [{ kind: 'event', event: 'mail' }]);
    const ports: bigint[] = [];
    for (let hits = 0; hits < TYPED.length; hits++) {
      const stopped = session.forward(end, { stops });
      expect(stopped).toMatchObject({ kind: 'hit', hits: [{ condition: { event: 'mail' } }] });
      session.forward(session.tick + 1);
      ports.push(session.run.machine.cpu.gpr(2));
    }
    expect(ports).toEqual(Array(TYPED.length).fill(BigInt(PORT)));
    await session.goto(0);
    const writes = StopSet.of('test', [{ kind: 'access', access: 'write', address: 0x3008, bytes: 1 }]);
    expect(session.forward(end, { stops: writes })).toMatchObject({ kind: 'hit' });
  });
});

describe('a stop client of somebody else', () => {
  /** Of `add ebx, eax`, once for each byte. */
  const ADD = 0x101an;
  const held: readonly StopCondition[] = [
    { kind: 'address', address: ADD },
    { kind: 'access', access: 'write', address: 0x3008, bytes: 1 },
    { kind: 'event', event: 'mail' },
    { kind: 'tick', tick: 1234 },
  ];
  it('meets conditions of each kind, forwards and back, whoever else holds some', async () => {
    const session = new Session(machine(), recording);
    const tracer = new Tracer(session, 'tracer', held);
    const alone = await tracer.forward();
    const count = (kind: StopCondition['kind']): number => alone.filter((mark) => mark[1] === kind).length;
    // a byte comes with the flag that the program clears
    expect(held.map(({ kind }) => count(kind))).toEqual([TYPED.length, 2 * TYPED.length, TYPED.length, 1]);
    expect(session.tick).toBe(end);
    const other = new Tracer(session, 'other', [{ kind: 'tick', tick: 100 }, held[0]!]);
    const back = await tracer.back();
    expect([session.tick, back]).toEqual([0, alone]);
    tracer.end();
    expect(await other.forward()).toEqual([[100, 'tick'], ...alone.filter((mark) => mark[1] === 'address')]);
  });
});
