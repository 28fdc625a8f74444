/** Which action comes next: calls by weight, sequences of calls that belong together, multicalls, and arguments that are spoilt. */
import { HYPERCALL } from '../../../src/xen/abi/numbers.ts';
import { concat } from '../../support/elf.ts';
import { words } from '../../support/pv-guest.ts';
import { huge } from './generate-huge.ts';
import * as memory from './generate-memory.ts';
import * as other from './generate-other.ts';
import type { Made, Maker } from './maker.ts';
import type { Action } from './world.ts';

type Generator = (m: Maker) => Made;
/** Calls that belong together; each is made when its turn comes, in the world as it is then. */
type Sequence = (m: Maker) => Generator[];

const SINGLE: ReadonlyArray<[weight: number, make: Generator]> = [
  [60, memory.mmuUpdate],
  [40, memory.mapSomething],
  [60, memory.restore],
  [40, memory.mmuextOp],
  [25, memory.unpin],
  [40, memory.memoryOp],
  [6, memory.anyGdt],
  [12, memory.updateDescriptor],
  [50, other.eventOp],
  [20, other.ringTraffic],
  [10, other.setTimer],
  [12, other.schedOp],
  [3, other.compatSched],
  [20, other.vcpuOp],
  [5, other.setTrapTable],
  [14, other.callbackOp],
  [10, other.iret],
  [8, other.segmentBase],
  [8, other.debugRegister],
  [4, other.setCallbacks],
  [4, other.stackSwitch],
  [4, other.fpuTaskSwitch],
  [14, other.vmAssist],
  [14, other.xenVersion],
  [8, other.consoleIo],
  [14, other.grantOp],
  [10, other.physdevOp],
  [12, other.refused],
];
const SEQUENCES: ReadonlyArray<[weight: number, make: Sequence]> = [
  [30, memory.buildTable],
  [12, memory.buildDescriptors],
  [6, other.sleep],
];
const SINGLE_WEIGHT = SINGLE.reduce((sum, [weight]) => sum + weight, 0);
const ALL_WEIGHT = SINGLE_WEIGHT + SEQUENCES.reduce((sum, [weight]) => sum + weight, 0);

function byWeight<T>(m: Maker, list: ReadonlyArray<[number, T]>, total: number): T {
  let at = m.dice.below(total);
  for (const [weight, what] of list) {
    at -= weight;
    if (at < 0) return what;
  }
  throw new Error('weights do not add up');
}

/** Spoils an argument: a pointer that is none, a count beyond bounds, any value. */
function spoilt(m: Maker, { op, args }: Made): Made {
  const { dice } = m;
  const at = dice.below(Math.max(1, args.length));
  const value = dice
    .pick([m.badPointer, () => dice.pick(COUNTS), () => dice.wide(), () => BigInt(dice.next())])
    .call(m);
  return { op, args: args.with(at, value), names: [] };
}
const COUNTS = [2n ** 32n - 1n, 2n ** 31n, 2n ** 31n - 1n, 2n ** 26n, 1n << 63n, 0n];

/** Chooses actions; sequences go on between others. */
export class Generate {
  readonly #m: Maker;
  #queue: Generator[] = [];
  constructor(maker: Maker) {
    this.#m = maker;
  }

  next(): Action {
    const m = this.#m;
    const { dice } = m;
    m.begin();
    if (dice.chance(2)) return { kind: 'store', at: m.page() + BigInt(8 * dice.below(512)), value: m.entry() };
    if (dice.chance(1))
      return { kind: 'type', bytes: Uint8Array.from({ length: dice.below(40) }, () => dice.below(256)) };
    if (dice.chance(1)) return { kind: 'spin', ticks: 1 + dice.below(3000) };
    if (dice.chance(0.15)) return this.#action(other.ending(m), []);
    if (dice.chance(6)) return this.#multicall();
    const call = this.#one();
    return this.#action(dice.chance(8) && call.args.length > 0 ? spoilt(m, call) : call, []);
  }
  #action({ op, args, names }: Made, entries: ReadonlyArray<readonly string[]>): Action {
    const { stores, dice, isOdd } = this.#m;
    const unmasked = dice.chance(8);
    // what an odd place holds may be another operation
    if (isOdd) return { kind: 'call', op, args, names: [], entries: entries.map(() => []), stores, unmasked };
    return { kind: 'call', op, args, names, entries, stores, unmasked };
  }
  #one(): Made {
    const m = this.#m;
    if (m.dice.chance(0.03)) this.#queue = huge(m);
    if (this.#queue.length > 0 && m.dice.chance(80)) return this.#queue.shift()!(m);
    if (m.dice.below(ALL_WEIGHT) < SINGLE_WEIGHT) return byWeight(m, SINGLE, SINGLE_WEIGHT)(m);
    const sequence = byWeight(m, SEQUENCES, ALL_WEIGHT - SINGLE_WEIGHT)(m);
    if (this.#queue.length === 0) this.#queue = sequence.slice(1);
    return sequence[0]!(m);
  }
  /** Entries of every kind, also a multicall, which is refused there, and an iret, which ends it. */
  #multicall(): Action {
    const m = this.#m;
    const calls = Array.from({ length: 1 + m.dice.below(5) }, () => {
      const call = m.dice.chance(3) ? { op: HYPERCALL.multicall, args: [m.page(), 1n], names: [] } : this.#one();
      return m.dice.chance(5) && call.args.length > 0 ? spoilt(m, call) : call;
    });
    const entry = ({ op, args }: Made): Uint8Array => words(op, 0, ...[0, 1, 2, 3, 4, 5].map((i) => args[i] ?? 0n));
    const list = m.put(concat(...calls.map(entry)));
    const count = m.dice.chance(98) ? BigInt(calls.length) : m.dice.pick(COUNTS);
    const multicall = { op: HYPERCALL.multicall, args: [list, count], names: ['multicall'] };
    return this.#action(
      multicall,
      calls.map((call) => call.names),
    );
  }
}
