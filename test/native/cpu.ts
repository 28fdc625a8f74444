/** Our CPUs as the comparison with silicon sees them. */
import type { CpuUnderTest } from './compare.ts';
import { OracleCpu } from './oracle-cpu.ts';

/** Freshly made CPUs under test. */
export async function createCpus(): Promise<CpuUnderTest[]> {
  return [new OracleCpu()];
}
