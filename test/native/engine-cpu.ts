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

/** Runs cases by {@link Engine.run}. */
export class EngineCpu implements CpuUnderTest {
  readonly name: string;
  readonly #engine: Engine;
  readonly #cpu: Cpu;
  readonly #pages: GuestPages;
  readonly #platform = new CatchingPlatform();

  readonly #compatible: boolean;

  /** `compatible`: 32-bit cases run in compatibility mode, not in protected mode. */
  constructor(tier: 'cold' | 'oracle', compatible = false) {
    this.#compatible = compatible;
    this.name = `${tier} tier${compatible ? ', compatibility' : ''}`;
    const memory = new GuestMemory({ vcpus: 1, slots: FRAMES, frameLimit: FRAMES, recordBytes: RECORD_BYTES });
    this.#engine = new Engine(memory, { tier });
    this.#cpu = this.#engine.cpus[0]!;
    this.#pages = new GuestPages(memory);
  }

  run(record: CaseRecord, outcome: OutcomeRecord): 'done' | 'unimplemented' {
    const cpu = this.#cpu;
    const platform = this.#platform;
    this.#pages.load(record);
    loadState(cpu, record, this.#compatible);
    const step = (record.flags & CASE_STEP) !== 0;
    let delivered: Delivered | null = null;
    for (let steps = 0; steps < STEPS_MAX; ) {
      const exit = this.#engine.run(cpu, step ? 1 : STEPS_MAX, platform);
      delivered = platform.take();
      if (exit.kind === 'stop' && delivered === null) return 'unimplemented';
      steps += exit.steps;
      if (exit.kind === 'stop' || step) break;
    }
    if (delivered !== null) cpu.rip = delivered.rip;
    saveOutcome(cpu, this.#pages.dataPage, record, delivered?.event ?? null, outcome);
    return 'done';
  }
}
