/** A run under investigation that is made of moments, events and writes, for tests of `why`. */
import type { Asked } from '../../src/inspect/causes/decision.ts';
import type { Symbolizer } from '../../src/inspect/disassembly.ts';
import type { Investigator, RunEvent, Undo, Write } from '../../src/inspect/investigate.ts';
import type { Moment } from '../../src/inspect/moment.ts';
import type { Origin } from '../../src/inspect/origin/origin.ts';
import type { VerdictReport } from '../../src/inspect/report.ts';
import { SymbolTable } from '../../src/inspect/symbols.ts';
import { type Explanation, type Place, UNEXPLAINED } from '../../src/machine/explanation.ts';
import { blameEntry, blameRequest, denial, refusal } from '../../src/machine/xen-pv/refused.ts';
import { blameArguments, handlers, stackOf } from '../../src/machine/xen-pv/refused-arguments.ts';
import type { Aftermath } from '../../src/timeline/what-if.ts';
import { FakeMoment } from './fake-moment.ts';

export const TEXT = 0xffffffff80100000n;
const names: Readonly<Record<string, bigint>> = {
  print: 0x14n,
  panic: 0x45n,
  map_image: 0x1cdn,
  activate_tables: 0x3c0n,
  poll_flag: 0x500n,
  new_l1: 0x3000n,
  gdt: 0xe000n,
  flag: 0xf000n,
};
const symbols = SymbolTable.of(
  Object.entries(names).map(([name, offset]) => ({ address: TEXT + offset, name, type: 'T' })),
  { start: TEXT, end: TEXT + 0x10000n },
);
export const at = (name: string, offset = 0): bigint => TEXT + names[name]! + BigInt(offset);

export const STORE = [0x48, 0x89, 0x04, 0xcd, 0x00, 0x30, 0x10, 0x80]; // mov [rcx*8+0xffffffff80103000], rax
export const SYSCALL = [0x0f, 0x05];
export const INT3 = [0xcc];

/** Moments by tick, and what else an investigation asks for. */
export class FakeCase implements Investigator {
  symbols: Symbolizer = symbols;
  /** Xen's words, of what the moment at hand holds. */
  readonly explanation: Explanation = {
    ...UNEXPLAINED,
    refusal,
    denial,
    stackOf,
    handlers,
    blame: (event, log, look, nameOf) =>
      blameEntry(look, log, nameOf, (frame) => this.moment(look.tick).frameType(frame)) ??
      blameRequest(look, event) ??
      blameArguments(look, event, log),
    waits: (vcpu) => this.moment(this.lastTick).waits(vcpu),
  };
  readonly firstTick = 0;
  readonly verdict: VerdictReport;
  readonly lastTick: number;
  readonly moments = new Map<number, FakeMoment>();
  readonly happened: RunEvent[] = [];
  readonly writes: (Write & { readonly place: Place })[] = [];

  constructor(verdict: VerdictReport, lastTick = verdict.tick) {
    this.verdict = verdict;
    this.lastTick = lastTick;
  }
  moment(tick: number): FakeMoment {
    const found = this.moments.get(tick) ?? new FakeMoment();
    found.tick = tick;
    this.moments.set(tick, found);
    return found;
  }
  at = (tick: number): Promise<Moment> => Promise.resolve(this.moment(tick));
  /** One at a time: whoever asks has to put them together. */
  async *events(from: number, to: number): AsyncGenerator<RunEvent[]> {
    for (const event of this.happened) if (event.tick >= from && event.tick <= to) yield [event];
  }
  lastWrite = ({ address, space }: Place, _bytes: number, before: number): Promise<Write | null> =>
    Promise.resolve(
      this.writes.findLast((w) => w.tick < before && w.place.address === address && w.place.space === space) ?? null,
    );
  /** Where any value that is asked about came from, and what has been asked about. */
  origins: Origin | null = null;
  readonly asked: Asked[] = [];
  origin = (place: Asked, _tick: number): Promise<Origin | null> => {
    this.asked.push(place);
    return Promise.resolve(this.origins);
  };
  /** What becomes of the run without a store; null where nothing is tried. */
  without: (undo: Undo) => Aftermath | null = () => null;
  undo = (undo: Undo): Promise<Aftermath | null> => Promise.resolve(this.without(undo));
  /** The branch before any step. */
  branch: number | null = null;
  branchBefore = (_tick: number): Promise<number | null> => Promise.resolve(this.branch);
  lastRead = (): Promise<null> => Promise.resolve(null);
  rises = (): Promise<boolean> => Promise.resolve(false);
  async walk(from: number, to: number, visit: (moment: Moment) => void): Promise<void> {
    for (let tick = from; tick <= to; tick++) if (this.moments.has(tick)) visit(this.moments.get(tick)!);
  }
}

export const event = (tick: number, rip: bigint, kind: RunEvent['kind'], rest: Partial<RunEvent>): RunEvent => ({
  tick,
  vcpu: 0,
  rip,
  kind,
  name: kind,
  fields: {},
  text: null,
  ...rest,
});
export const verdict = (kind: VerdictReport['kind'], tick: number, rip: bigint, message: string): VerdictReport => ({
  kind,
  tick,
  vcpu: 0,
  rip,
  symbol: null,
  message,
});
