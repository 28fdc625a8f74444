/** Where values came from, in a recording: every hop against a reference that steps, and roots by what is known of the guest. */
import { beforeAll, describe, expect, test } from 'vitest';
import { addressOf, Disassembler, MAX_INSTRUCTION_BYTES } from '../../src/inspect/disassembly.ts';
import { GuestSymbols } from '../../src/inspect/modules.ts';
import { type Origin, OriginSearch } from '../../src/inspect/origin/origin.ts';
import { Past } from '../../src/inspect/origin/past.ts';
import { parsePlace } from '../../src/inspect/origin/place.ts';
import { QUIET } from '../../src/inspect/search.ts';
import { SessionMoment } from '../../src/inspect/session-moment.ts';
import { SymbolTable, symbolsOfImage } from '../../src/inspect/symbols.ts';
import { Run } from '../../src/timeline/run.ts';
import { Session } from '../../src/timeline/session.ts';
import { GPR } from '../../src/x86/state.ts';
import { smallGuest } from '../support/small-guest.ts';
import { type Recorded, recordGuest, timeTravelGuest } from '../support/time-travel.ts';

const GUEST = timeTravelGuest('rounds=4 work=300');
const LINE = { tick: 30_000, text: 'typed' };
/** How far back the reference steps. */
const STEPS = 3000;

let recorded: Recorded;
let session: Session;
let moment: SessionMoment;
let past: Past;
let search: OriginSearch;
let disassembler: Disassembler;
beforeAll(async () => {
  recorded = await recordGuest(GUEST, { strideTicks: 5_003, flushTicks: 20_000, snapshotTicks: 25_000, lines: [LINE] });
  session = new Session(new Run(GUEST), recorded.recording);
  const table = symbolsOfImage(session.run.elf) ?? SymbolTable.empty;
  moment = new SessionMoment(session, table);
  const symbols = new GuestSymbols(table, session.run.elf, moment);
  disassembler = new Disassembler(symbols);
  past = new Past(session, QUIET);
  search = new OriginSearch(session, { moment, symbols, disassembler }, QUIET);
});

/** Pseudo-random numbers below `n`, always the same. */
function random(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}
const of = (place: string, tick: number, options = {}): Promise<Origin> =>
  session.goto(tick).then(() => {
    const { bytes, address } = parsePlace(place, 0, moment);
    return search.of(bytes, tick, { address, ...options });
  });
const rootsOf = ({ root, inputs }: Origin): NonNullable<Origin['root']>[] =>
  root === null ? inputs.flatMap(rootsOf) : [root];

describe('the last write, against stepping', () => {
  test('of registers: what iced says of each instruction, and what other steps change', async () => {
    const next = random(7);
    let compared = 0;
    for (let i = 0; i < 30; i++) {
      const tick = STEPS + next(recorded.outcome.tick - STEPS);
      const [name, number] = Object.entries(GPR)[next(16)]!;
      await session.goto(tick - STEPS);
      let last: number | null = null;
      while (session.tick < tick) {
        const { rip } = moment;
        const before = moment.register(name, 0);
        const at = session.tick;
        const found = disassembler.decode(moment.bytes(rip, MAX_INSTRUCTION_BYTES), rip);
        session.forward(at + 1);
        const writes = found !== null && found.flow !== 'trap' && found.registersWritten.includes(name);
        if (writes || before !== moment.register(name, 0)) last = at;
      }
      const told = await past.lastWrite({ space: 'state', vcpu: 0, offset: number * 8, bytes: 8 }, tick);
      if (last === null) expect(told === null || told < tick - STEPS).toBe(true);
      else {
        // what a system instruction writes is not iced's to say
        expect(told).toBeGreaterThanOrEqual(last);
        if (told !== last) {
          await session.goto(told!);
          expect(disassembler.text(moment.bytes(moment.rip, MAX_INSTRUCTION_BYTES), moment.rip)).toMatch(
            /syscall|rdtsc|cpuid/,
          );
        }
        compared++;
      }
    }
    expect(compared).toBeGreaterThan(14);
  });
  test('of memory: what iced says of each store', async () => {
    const next = random(11);
    let compared = 0;
    for (let i = 0; i < 60; i++) {
      const tick = STEPS + next(recorded.outcome.tick - STEPS);
      await session.goto(tick);
      const address = moment.register('rsp', 0)! + BigInt(8 * next(6));
      const machine = moment.translate(address);
      if (machine === null) continue;
      await session.goto(tick - STEPS);
      let last: number | null = null;
      while (session.tick < tick) {
        const { rip } = moment;
        const at = session.tick;
        const before = moment.read('ma', machine, 8);
        const found = disassembler.decode(moment.bytes(rip, MAX_INSTRUCTION_BYTES), rip);
        const stored =
          found?.flow !== 'trap' &&
          found?.memory.some((m) => {
            const to = addressOf(m, (name) => moment.register(name, 0));
            return m.writes && to < address + 8n && address < to + BigInt(m.bytes);
          });
        session.forward(at + 1);
        if (stored || before !== moment.read('ma', machine, 8)) last = at;
      }
      if (last === null) continue;
      compared++;
      expect(await past.lastWrite({ space: 'memory', address: Number(machine), bytes: 8 }, tick)).toBe(last);
    }
    expect(compared).toBeGreaterThan(8);
  });
});

describe('roots', () => {
  test('every hop of random values: the step wrote the value, and nobody since', async () => {
    const next = random(3);
    const check = async (origin: Origin): Promise<void> => {
      if (origin.step === null) return;
      const width = BigInt(8 * origin.bytes.bytes);
      await session.goto(origin.step.tick + 1);
      const there = past.read(origin.bytes).reduceRight((value, x) => (value << 8n) | BigInt(x), 0n);
      expect(BigInt.asUintN(Number(width), there)).toBe(origin.value);
      for (const input of origin.inputs) {
        // a part that the step made by itself is told of the state behind it
        const itself = input.step === null && input.root?.kind === 'made';
        expect(input.tick - origin.step.tick).toBe(itself ? 1 : 0);
        await check(input);
      }
    };
    for (let i = 0; i < 12; i++) {
      const tick = 1000 + next(recorded.outcome.tick - 1000);
      await check(await of(Object.keys(GPR)[next(16)]!, tick, { values: 12 }));
    }
  });
  test('a byte that was typed comes from the console', async () => {
    const { console } = session.run;
    expect(console).toBeDefined();
    // the guest echoes what it reads: a register holds the first byte while it does
    const tick: number | null = null;
    await session.goto(LINE.tick);
    while (session.tick < recorded.outcome.tick && tick === null) {
      session.forward(session.tick + 1);
      const found = disassembler.decode(moment.bytes(moment.rip, MAX_INSTRUCTION_BYTES), moment.rip);
      const read = found?.memory.find((m) => m.reads && m.bytes === 1);
      if (read === undefined) continue;
      const address = addressOf(read, (name) => moment.register(name, 0));
      if (moment.read('va', address, 5) === BigInt(`0x${Buffer.from('typed').reverse().toString('hex')}`)) {
        const origin = await of(`0x${address.toString(16)}:1`, session.tick);
        const roots = rootsOf(origin);
        if (roots.some((root) => root.kind === 'input')) {
          expect(roots).toEqual([{ kind: 'input', device: 'console' }]);
          return;
        }
      }
    }
    expect.unreachable('nobody has read what was typed');
  });
  test('the image, the command line, start_info and registers at the start', async () => {
    await session.goto(0);
    const start = moment.register('rsi', 0)!;
    expect(rootsOf(await of('rsi', 0))).toMatchObject([{ kind: 'built', provenance: { what: 'initial registers' } }]);
    expect(rootsOf(await of(`0x${start.toString(16)}:8`, 0))).toMatchObject([
      { kind: 'built', provenance: { what: 'start info', offset: 0 } },
    ]);
    // cmd_line stands at 128 of struct start_info (xen.h)
    const commandLine = start + 128n;
    expect(moment.read('va', commandLine, 1)).toBe(BigInt('r'.charCodeAt(0)));
    expect(rootsOf(await of(`0x${(commandLine + 3n).toString(16)}:1`, 0))).toMatchObject([
      { kind: 'built', provenance: { what: 'command line', offset: 3, given: true } },
    ]);
    const { rip } = moment;
    expect(rootsOf(await of(`0x${rip.toString(16)}:1`, 0))).toMatchObject([
      { kind: 'built', provenance: { what: 'image' } },
    ]);
  });
  test('what is shared is told once: Fibonacci numbers, each of which is made of the two before', async () => {
    // mov eax,1; mov edx,1; mov ecx,60; add rax,rdx; xchg rax,rdx; dec ecx; jnz; ud2
    const guest = smallGuest('b801000000ba01000000b93c0000004801d04892ffc975f70f0b', '', 0x1000);
    const { recording, outcome } = await recordGuest(guest);
    const own = new Session(new Run(guest), recording);
    const ownMoment = new SessionMoment(own, SymbolTable.empty);
    const symbols = new GuestSymbols(SymbolTable.empty, own.run.elf, ownMoment);
    const ask = new OriginSearch(own, { moment: ownMoment, symbols, disassembler: new Disassembler(symbols) }, QUIET);
    const rax = { space: 'state' as const, vcpu: 0, offset: 0, bytes: 8 };
    const origin = await ask.of(rax, outcome.tick - 1, { values: 4000 });
    const count = (one: Origin, holds: (x: Origin) => boolean): number =>
      one.inputs.reduce((sum, x) => sum + count(x, holds), holds(one) ? 1 : 0);
    expect(count(origin, (x) => x.root?.kind === 'limit')).toBe(0);
    expect(count(origin, (x) => x.above)).toBeGreaterThan(50);
    // two moves and an addition of two values for each number
    expect(count(origin, () => true)).toBeLessThan(60 * 6);
  });
  test('asking changes nothing', async () => {
    const tick = 41_234;
    await session.goto(tick);
    const before = session.run.stateHash();
    for (const name of ['rax', 'rbx', 'rsp', 'rcx']) await of(name, tick);
    await session.goto(tick);
    expect(session.run.stateHash()).toBe(before);
  });
});

test('places that are none are refused', async () => {
  await session.goto(100);
  for (const text of ['nosuch', 'rip', '0x10', 'kernel_main:100', ':8', 'rax:4', ''])
    expect(() => parsePlace(text, 0, moment)).toThrow(/E_USAGE|origin takes|no register|not mapped|bytes|no value/);
});
