/** Scenarios of the hypercall fuzzer: a seed is one, made as it runs; what it came to can be done again and made smaller. */
import { EmulatorError } from '../../../src/core/errors.ts';
import type { HypercallEvent } from '../../../src/xen/pv/pv.ts';
import { Dice } from './dice.ts';
import { Generate } from './generate.ts';
import { Maker } from './maker.ts';
import { ENDING } from './operations.ts';
import { type Action, Finding, World } from './world.ts';

/** Calls of one scenario, after which the next begins with a fresh guest. */
const SCENARIO_CALLS = 500;
const MAX_ERRNO = 4095n;

/** How often an operation was reached, and how often it succeeded. */
export interface Reached {
  calls: number;
  successes: number;
}

/** What a scenario ran into. */
export interface Failure {
  readonly seed: number;
  readonly actions: readonly Action[];
  readonly message: string;
}

/** True for a result that is no error; a reservation of no extents is none either. */
function succeeded({ op, ret }: HypercallEvent, names: readonly string[]): boolean {
  if (ret === null) return true;
  const value = BigInt.asIntN(64, BigInt(ret));
  if (op === 12 && value === 0n && /reservation|populate/.test(names[0] ?? '') && !/current|maximum/.test(names[0]!))
    return false;
  return value >= 0n || value < -MAX_ERRNO;
}

const failureOf = (error: unknown): string => {
  if (error instanceof Finding) return error.message;
  if (error instanceof EmulatorError) return `${error.code}: ${error.message}`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
};

/** Runs scenarios and counts what they reach. */
export class Fuzzer {
  /** By operation. */
  readonly reached = new Map<string, Reached>();
  calls = 0;
  successes = 0;
  scenarios = 0;
  steps = 0;
  /** Scenarios in which the guest took its own ground away. */
  lost = 0;
  /** Calls that went on as another step. */
  continued = 0;
  /** Units of the largest step, and the bound of all. */
  largestStep = 0;
  bound = 0;

  /** Runs a scenario of at most `limit` calls; what it ran into, or null. */
  run(seed: number, limit = SCENARIO_CALLS): Failure | null {
    const actions: Action[] = [];
    this.scenarios++;
    let world: World | null = null;
    try {
      world = new World();
      this.#play(world, new Generate(new Maker(world, new Dice(seed))), limit, actions);
      return null;
    } catch (error) {
      return { seed, actions, message: failureOf(error) };
    } finally {
      if (world !== null) {
        this.steps += world.steps;
        this.bound = world.bound;
        this.largestStep = Math.max(this.largestStep, world.largestStep);
      }
    }
  }
  /** Notes each action before it is done. */
  #play(world: World, generate: Generate, limit: number, actions: Action[]): void {
    for (const before = this.calls; this.calls - before < limit; ) {
      const action = generate.next();
      actions.push(action);
      const outcome = world.run(action);
      this.#count(action, world.events, outcome === 'ended');
      if (outcome === 'lost') this.lost++;
      if (outcome !== 'done') return;
    }
  }

  #count(action: Action, events: readonly HypercallEvent[], ended: boolean): void {
    if (action.kind !== 'call') return;
    let entry = 0;
    for (const event of events) {
      if (event.way === 'P') {
        this.continued++;
        continue;
      }
      const names = event.way === 'M' ? action.entries[entry++] : action.names;
      // an entry that nobody made: what lies behind the list, in a count beyond it
      if (names === undefined) continue;
      const ok = succeeded(event, names);
      this.calls++;
      if (ok) this.successes++;
      for (const name of names) {
        const row = this.reached.get(name) ?? { calls: 0, successes: 0 };
        this.reached.set(name, row);
        row.calls++;
        if (ok && (!ended || ENDING.has(name))) row.successes++;
      }
    }
  }
}

/** Does actions again on a fresh guest; how they fail, or null. */
export function replay(actions: readonly Action[]): string | null {
  try {
    const world = new World();
    for (const action of actions) if (world.run(action) !== 'done') return null;
  } catch (error) {
    return failureOf(error);
  }
  return null;
}

/** Leaves out as many actions as it can while the rest still fails, in at most `tries` replays. */
export function shrink(actions: readonly Action[], tries = 400): readonly Action[] {
  let left = actions;
  let tried = 0;
  for (let size = Math.ceil(left.length / 2); size > 0; size = size === 1 ? 0 : Math.ceil(size / 2))
    for (let at = 0; at < left.length && tried < tries; ) {
      const fewer = [...left.slice(0, at), ...left.slice(at + size)];
      tried++;
      if (replay(fewer) !== null) left = fewer;
      else at += size;
    }
  return left;
}

const hex = (value: bigint | number): string => `0x${value.toString(16)}`;
/** An action as a line of a report. */
export function actionText(action: Action): string {
  switch (action.kind) {
    case 'store':
      return `store ${hex(action.value)} at ${hex(action.at)}`;
    case 'type':
      return `type ${action.bytes.length} bytes`;
    case 'spin':
      return `spin for ${action.ticks} ticks`;
    default: {
      const stores = action.stores.map(({ at, bytes }) => {
        const shown = bytes.length > 96 ? `${Buffer.from(bytes.subarray(0, 96)).toString('hex')}... (${bytes.length} bytes)` : Buffer.from(bytes).toString('hex'); // biome-ignore format: one row
        return `\n    ${hex(at)}: ${shown}`;
      });
      const what = [...action.names, ...action.entries.flat()].join(' ') || 'spoilt';
      return `call ${action.op} (${action.args.map(hex).join(', ')})${action.unmasked ? ', upcalls may come' : ''}: ${what}${stores.join('')}`;
    }
  }
}

/** The table of operations: calls and successes of each. */
export function coverageTable(reached: ReadonlyMap<string, Reached>, operations: readonly string[]): string {
  return operations
    .map((name) => {
      const { calls, successes } = reached.get(name) ?? { calls: 0, successes: 0 };
      return `${name.padEnd(52)} ${String(calls).padStart(9)} ${String(successes).padStart(9)}`;
    })
    .join('\n');
}
