/**
 * Random loops beside random handlers of a timer: what is called endless goes on. The language is that of `mix` in
 * tools/guest-kernels/endings. RECURRENCE_FUZZ_CASES and RECURRENCE_FUZZ_SEED look at others.
 */
import { expect, it } from 'vitest';
import { recurrenceOf } from '../../../src/machine/xen-pv/hang/recurrence.ts';
import { ROUND_STEPS } from '../../../src/timeline/hang-watch.ts';
import { Run } from '../../../src/timeline/run.ts';
import { endingsGuest, pseudoRandom } from '../../support/time-travel.ts';

const CASES = Number(process.env.RECURRENCE_FUZZ_CASES ?? 16);
const SEED = Number(process.env.RECURRENCE_FUZZ_SEED ?? 2);
/** The guest's periods are 1 ms; cells begin with 0 to 7. */
const TICKS_LATER = 12_000_000;

type Below = (n: number) => number;
/** An instruction of the language with random cells. */
function instructions(below: Below) {
  const cell = (): number => below(below(2) === 0 ? 4 : 8);
  const on = (operation: string): string => `${operation}${cell()}${cell()}${cell()}`;
  const some = (operations: string, count: number): string[] =>
    Array.from({ length: count }, () => on(operations[below(operations.length)]!));
  const insert = (into: string[], instruction: string): void => {
    into.splice(below(into.length + 1), 0, instruction);
  };
  return { cell, on, some, insert };
}

/** A handler that clears what is pending in some order, sets the timer or not, and does something to cells; a loop beside it. */
function besideTimer(below: Below): string {
  const { cell, on, some, insert } = instructions(below);
  const periodic = below(2) === 0;
  const handler = [...(below(8) === 0 ? 'pu' : 'psu'), ...(periodic && below(4) > 0 ? '' : 'n')].map(on);
  const loop = some('+^=?<@y', 1 + below(2));
  for (const instruction of some('++^=?<@t', 1 + below(3))) insert(handler, instruction);
  if (below(4) === 0) insert(handler, handler[below(handler.length)]!);
  // a count of ticks that comes to some number
  if (below(2) === 0) {
    const [count, number] = [1 + below(4), 4 + below(4)];
    insert(handler, `+${count}1${cell()}`);
    insert(below(2) === 0 ? handler : loop, `${'?<'[below(2)]}0${number}${count}`);
  }
  return `mix ${periodic ? 'p' : 's'} ${handler.join('')} ${loop.join('')}`;
}

/** A loop that waits for the clock and branches on it, beside no timer, or a periodic one whose handler counts. */
function byTheClock(below: Below): string {
  const { cell, on, some, insert } = instructions(below);
  const loop = some('wkd', 1 + below(2));
  for (const instruction of some('++^=?<@wkkdty', 1 + below(4))) insert(loop, instruction);
  // a count of rounds that comes to some number
  if (below(2) === 0) {
    insert(loop, `+51${cell()}`);
    insert(loop, `${'?<'[below(2)]}${cell()}${4 + below(4)}5`);
  }
  // half of them write nothing to the cell that ends it, a fourth does so by the clock
  const kept = below(2) === 0 ? loop : loop.map((text) => text.replace(/^(.)0/, '$13'));
  if (below(4) === 0) insert(kept, `${'kd'[below(2)]}0${below(8)}${1 + below(7)}`);
  const periodic = below(4) === 0;
  const handler = [...[...'psu'].map(on), ...(periodic ? some('+^=', 1) : [])];
  return `mix ${periodic ? 'p' : 'q'} ${handler.join('')} ${kept.join('')}`;
}

it.each([
  ['beside a handler', 'step', besideTimer],
  ['that branches on the clock', 'instruction', byTheClock],
])('calls no loop endless that ends: %s', (_which, proof, programOf) => {
  const below = pseudoRandom(SEED);
  const found: Record<string, number> = { [proof]: 0, waiting: 0 };
  for (let i = 0; i < CASES; i++) {
    const program = programOf(below);
    const run = new Run(endingsGuest(program));
    run.runTo(30_011 + below(2_000_000));
    if (run.machine.loop.ended !== null) continue;
    const recurrence = recurrenceOf(run.machine, ROUND_STEPS);
    const kind = recurrence.kind === 'endless' ? recurrence.of : recurrence.kind;
    found[kind] = (found[kind] ?? 0) + 1;
    if (recurrence.kind === 'endless') expect(run.runTo(run.tick + TICKS_LATER).kind, program).toBe('limit');
  }
  // both kinds are met, else the test says nothing
  expect(found[proof]).toBeGreaterThanOrEqual(CASES / 8);
  expect(found.waiting).toBeGreaterThanOrEqual(CASES / 8);
});
