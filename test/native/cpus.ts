/** Finds the CPUs that can be compared with silicon: the adapter cpu.ts, once it is there. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { CpuUnderTest } from './compare.ts';

const ADAPTER = join(import.meta.dirname, 'cpu.ts');

/** True when the tree has an adapter for our own CPU. */
export const haveCpus = (): boolean => existsSync(ADAPTER);

/** Our CPUs, freshly made; none without an adapter. */
export async function openCpus(): Promise<CpuUnderTest[]> {
  if (!haveCpus()) return [];
  const adapter = (await import(pathToFileURL(ADAPTER).href)) as { createCpus(): Promise<CpuUnderTest[]> };
  return adapter.createCpus();
}
