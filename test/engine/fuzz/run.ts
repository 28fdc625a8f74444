/** Runs scenarios on several tiers side by side and compares them at every stop. */
import { FuzzMachine, type TierName } from './machine.ts';
import type { Scenario } from './scenario.ts';

/** The first stop at which two tiers did not agree. */
export interface Mismatch {
  /** Index in the scenario's stops. */
  readonly stop: number;
  readonly tick: number;
  readonly what: string;
}

/** What a run of the fuzzer has covered. */
export interface Coverage {
  scenarios: number;
  steps: number;
  /** Of the hot tier's steps, those that regions took. */
  regionSteps: number;
  oracleSteps: number;
  stops: number;
  events: number;
  regions: number;
  evictions: number;
}

/** Runs scenarios; its machines are kept from one to the next. */
export class Fuzzer {
  readonly #machines = new Map<string, FuzzMachine>();
  readonly coverage: Coverage = {
    scenarios: 0,
    steps: 0,
    regionSteps: 0,
    oracleSteps: 0,
    stops: 0,
    events: 0,
    regions: 0,
    evictions: 0,
  };

  machine(tier: TierName, { policy, promotion }: Pick<Scenario, 'policy' | 'promotion'>): FuzzMachine {
    const key = `${tier} ${policy}${tier === 'hot' ? ` ${promotion}` : ''}`;
    let machine = this.#machines.get(key);
    if (machine === undefined) {
      machine = new FuzzMachine(tier, policy, promotion);
      this.#machines.set(key, machine);
    }
    return machine;
  }
  /** Keys of the forms that regions were made of so far. */
  get translated(): Set<string> {
    const keys = new Set<string>();
    for (const { engine } of this.#machines.values()) for (const form of engine.hot?.forms ?? []) keys.add(form.key);
    return keys;
  }

  /** Runs a scenario on these tiers; the first is what the others are compared with. `stops`: as many stops at most. */
  run(scenario: Scenario, tiers: readonly TierName[], stops = Number.POSITIVE_INFINITY): Mismatch | null {
    const machines = tiers.map((tier) => this.machine(tier, scenario));
    for (const machine of machines) machine.load(scenario);
    const hot = machines.find(({ tier }) => tier === 'hot');
    const before = hot === undefined ? null : measured(hot);
    const mismatch = this.#compare(scenario, machines, stops);
    const { coverage } = this;
    coverage.scenarios++;
    coverage.events += machines[0]!.deliveries;
    coverage.oracleSteps += machines.find(({ tier }) => tier === 'oracle')?.steps ?? 0;
    if (hot !== undefined && before !== null) {
      const after = measured(hot);
      coverage.steps += hot.steps;
      coverage.regionSteps += after.steps - before.steps;
      coverage.regions += after.regions - before.regions;
      coverage.evictions += after.evictions - before.evictions;
    }
    return mismatch;
  }
  #compare(scenario: Scenario, machines: readonly FuzzMachine[], stops: number): Mismatch | null {
    let next = 0;
    const [first, ...others] = machines;
    for (const [stop, tick] of scenario.stops.entries()) {
      if (stop >= stops) return null;
      for (const machine of machines) machine.runTo(tick);
      this.coverage.stops++;
      for (const other of others) {
        const what = first!.difference(other);
        if (what !== null) return { stop, tick, what };
      }
      for (; scenario.happenings[next]?.tick === tick; next++)
        for (const machine of machines) machine.happen(scenario.happenings[next]!);
    }
    return null;
  }
}

function measured({ engine, cpu }: FuzzMachine): { steps: number; regions: number; evictions: number } {
  const { compiled, evictions } = engine.hot!;
  return { steps: Number(cpu.get('regionSteps')), regions: compiled, evictions };
}
