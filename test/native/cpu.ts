/** Our CPUs as the comparison with silicon sees them. */
import type { CpuUnderTest } from './compare.ts';
import { EngineCpu } from './engine-cpu.ts';
import { OracleCpu } from './oracle-cpu.ts';

/** Freshly made CPUs under test: the bare evaluator, and the engine with its cold and hot tiers. */
export async function createCpus(): Promise<CpuUnderTest[]> {
  return [new OracleCpu(), new EngineCpu('cold'), new EngineCpu('hot'), new EngineCpu('cold', true)];
}
