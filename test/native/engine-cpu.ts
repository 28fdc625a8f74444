/** The engine as a CPU under test: page tables, MMU and one of its tiers, with the platform that catches what is delivered. */
import { Engine } from '../../src/engine/engine.ts';
import { GuestMemory } from '../../src/memory/guest-memory.ts';
import type { Cpu } from '../../src/x86/cpu.ts';
import { CatchingPlatform, type Delivered } from './catching-platform.ts';
import type { CpuUnderTest } from './compare.ts';
import { FRAMES, GuestPages, loadState, saveOutcome } from './guest.ts';
import { CASE_STEP, type CaseRecord, type OutcomeRecord } from './records.ts';

/** No case takes more steps: REP counts stay below it. */
const STEPS_MAX = 1000;
const RECORD_BYTES = 1 << 20;
/** A region is made of every case's code before it runs. */
const AT_ONCE = {
  sampleSteps: 1_000_000,
  samples: 1,
  misses: 1,
  batch: 1,
  patience: 1,
  measured: true,
  sampleHops: 3,
  hops: 2,
};

/** Runs cases by {@link Engine.run}. */
export class EngineCpu implements CpuUnderTest {
  readonly name: string;
  readonly #engine: Engine;
  readonly #cpu: Cpu;
  readonly #pages: GuestPages;
  readonly #platform = new CatchingPlatform();

  /** Cases that a region executed, of all so far. */
  inRegions = 0;

  readonly #compatible: boolean;

  /** `compatible`: segmented cases run in compatibility mode, not in protected mode. */
  constructor(tier: 'hot' | 'cold' | 'oracle', compatible = false) {
    this.#compatible = compatible;
    this.name = `${tier} tier${compatible ? ', compatibility' : ''}`;
    const memory = new GuestMemory({ vcpus: 1, slots: FRAMES, frameLimit: FRAMES, recordBytes: RECORD_BYTES });
    this.#engine = new Engine(memory, { tier, policy: 'x86-64-v2', promotion: AT_ONCE });
    this.#cpu = this.#engine.cpus[0]!;
    this.#pages = new GuestPages(memory);
  }

  run(record: CaseRecord, outcome: OutcomeRecord): 'done' | 'unimplemented' {
    const cpu = this.#cpu;
    const platform = this.#platform;
    const fresh = this.#pages.load(record);
    loadState(cpu, record, this.#compatible);
    if (fresh) this.#promote();
    const step = (record.flags & CASE_STEP) !== 0;
    let delivered: Delivered | null = null;
    for (let steps = 0; steps < STEPS_MAX; ) {
      const exit = this.#engine.run(cpu, step ? 1 : STEPS_MAX, platform);
      delivered = platform.take();
      if (exit.kind === 'stop' && delivered === null) return 'unimplemented';
      steps += exit.steps;
      if (exit.kind === 'stop' || step) break;
    }
    if (cpu.num('regionSteps') > 0) this.inRegions++;
    if (delivered !== null) cpu.rip = delivered.rip;
    saveOutcome(cpu, this.#pages.dataPage, record, delivered?.event ?? null, outcome);
    return 'done';
  }
  /** In the hot tier: makes a region of the code at `rip`; those of other cases go. */
  #promote(): void {
    const { cold, hot, mmu } = this.#engine;
    if (cold === null || hot === null) return;
    hot.reset();
    mmu.sync(this.#cpu);
    cold.promote(this.#cpu);
  }
}
