/** Makes a scenario that fails small: fewer instructions, fewer happenings, fewer stops; and says what its first wrong step is. */
import { decode } from '../../../src/x86/decode/decode.ts';
import type { TierName } from './machine.ts';
import { CODE } from './places.ts';
import { Fuzzer, type Mismatch } from './run.ts';
import type { Scenario } from './scenario.ts';

/** Which parts of a scenario are left, as a command line can name them. */
export interface Kept {
  readonly units: readonly number[];
  readonly happenings: readonly number[];
  readonly stops: readonly number[];
}
const allOf = (scenario: Scenario): Kept => ({
  units: scenario.units.map((_, i) => i),
  happenings: scenario.happenings.map((_, i) => i),
  stops: scenario.stops,
});

const NOP = 0x90;

/** The scenario with the parts that are kept; other units are NOPs. */
export function reduced(scenario: Scenario, kept: Kept): Scenario {
  const code = scenario.code.slice();
  const units = new Set(kept.units);
  for (const [i, { offset, length }] of scenario.units.entries())
    if (!units.has(i)) code.fill(NOP, offset, offset + length);
  const happenings = kept.happenings.map((i) => scenario.happenings[i]!);
  const ticks = new Set([...kept.stops, ...happenings.map((x) => x.tick)]);
  const end = kept.stops.at(-1)!;
  const stops = [...ticks].filter((tick) => tick <= end).sort((a, b) => a - b);
  return { ...scenario, code, happenings, stops };
}

/** Leaves out as many items as it can, in pieces of falling size, as long as `fails`. */
function minimal(items: readonly number[], fails: (items: readonly number[]) => boolean): readonly number[] {
  let left = items;
  for (let size = Math.ceil(left.length / 2); size > 0; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < left.length; ) {
      const fewer = [...left.slice(0, at), ...left.slice(at + size)];
      if (fails(fewer)) left = fewer;
      else at += size;
    }
  }
  return left;
}

/** What is left of a failing scenario, and where it fails. */
export interface Shrunk {
  readonly kept: Kept;
  readonly scenario: Scenario;
  readonly mismatch: Mismatch;
}

/**
 * Shrinks for `seconds` at most, as `now` (seconds) counts them. Each attempt is made on machines of its own: which regions a hot tier
 * has made of earlier programs, and when it looks for new ones, decides what it makes of this one.
 */
export function shrink(whole: Scenario, tiers: readonly TierName[], seconds: number, now: () => number): Shrunk | null {
  const end = now() + seconds;
  const failure = (kept: Kept): Mismatch | null => new Fuzzer().run(reduced(whole, kept), tiers);
  let kept = allOf(whole);
  let mismatch = failure(kept);
  if (mismatch === null) return null;
  const attempt = (next: Kept): boolean => {
    if (now() > end) return false;
    const found = failure(next);
    if (found === null) return false;
    mismatch = found;
    kept = { ...next, stops: next.stops.filter((tick) => tick < found.tick).concat(found.tick) };
    return true;
  };
  attempt(kept);
  for (let before = Number.POSITIVE_INFINITY; ; ) {
    minimal(kept.happenings, (happenings) => attempt({ ...kept, happenings }));
    minimal(kept.units, (units) => attempt({ ...kept, units }));
    minimal(kept.stops.slice(0, -1), (stops) => attempt({ ...kept, stops: [...stops, kept.stops.at(-1)!] }));
    const size = kept.units.length + kept.happenings.length + kept.stops.length;
    if (size >= before || now() > end) break;
    before = size;
  }
  // the first wrong step: a stop more in front of the failing one, where that still fails
  for (let low = kept.stops.at(-2) ?? 0; mismatch.tick - low > 1; ) {
    const middle = Math.floor((low + mismatch.tick) / 2);
    const stops = [...kept.stops.filter((tick) => tick < middle), middle];
    if (!attempt({ ...kept, stops })) low = middle;
  }
  return { kept, scenario: reduced(whole, kept), mismatch };
}

const hex = (bytes: Uint8Array): string => Array.from(bytes, (x) => x.toString(16).padStart(2, '0')).join(' ');

/** The program that is left: addresses, bytes and forms. */
export function listing({ kept, scenario }: Shrunk): string {
  const { code, mode, policy, units } = scenario;
  const lines: string[] = [];
  for (const i of kept.units) {
    const { offset, length } = units[i]!;
    for (let at = offset; at < offset + length; ) {
      const padded = new Uint8Array(16);
      padded.set(code.subarray(at, at + 15));
      const insn = decode(padded, 0, 15, at & 4095, mode, policy);
      const bytes = typeof insn === 'string' ? offset + length - at : insn.length;
      const form = typeof insn === 'string' ? insn : insn.form.key;
      lines.push(`  ${(CODE + at).toString(16)}  ${hex(code.subarray(at, at + bytes)).padEnd(36)} ${form}`);
      at += bytes;
    }
  }
  for (const { tick, kind, a, b, c } of scenario.happenings) lines.push(`  at ${tick}: ${kind} ${a} ${b} ${c}`);
  return lines.join('\n');
}

/** The last `count` instructions before the mismatch as `tier` executed them. */
export function trail(fuzzer: Fuzzer, { scenario, mismatch }: Shrunk, tier: TierName, count: number): string {
  const machine = fuzzer.machine(tier, scenario);
  machine.load(scenario);
  const lines: string[] = [];
  let next = 0;
  const runTo = (tick: number): void => {
    machine.runTo(tick);
    for (; scenario.happenings[next] && scenario.happenings[next]!.tick <= tick && tick < mismatch.tick; next++)
      machine.happen(scenario.happenings[next]!);
  };
  for (const tick of scenario.stops) if (tick < mismatch.tick - count) runTo(tick);
  const ticks = new Set(scenario.stops);
  for (let tick = machine.steps + 1; tick <= mismatch.tick; tick++) {
    if (tick < mismatch.tick - count && !ticks.has(tick)) continue;
    if (tick > mismatch.tick - count) {
      const view = machine.engine.instructionAt(machine.cpu, machine.cpu.rip);
      const what = view === null || typeof view.insn === 'string' ? '?' : view.insn.form.key;
      const bytes = view === null ? '' : hex(view.bytes);
      lines.push(`  ${tick - 1}: ${machine.cpu.rip.toString(16)}  ${bytes.padEnd(32)} ${what}`);
    }
    runTo(tick);
  }
  return lines.join('\n');
}
