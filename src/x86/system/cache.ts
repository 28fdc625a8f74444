/**
 * Caches and translations: CLFLUSH, INVLPG, INVD, WBINVD. Memory is always coherent here, so that only INVLPG does anything; CLFLUSH has
 * the faults of a load.
 */
import { isFault } from '../seam.ts';
import { linearAddress, loadOperand, privileged, type SystemTable } from './operands.ts';

/** Cache instructions by semantics name. */
export const CACHE: SystemTable = {
  // SDM vol. 2A "CLFLUSH": code that can only be executed may be flushed
  clflush: (cpu, insn) => {
    const loaded = loadOperand(cpu, insn, 1, 0, true);
    return isFault(loaded) ? loaded : null;
  },
  invlpg: privileged((cpu, insn) => {
    cpu.memory.flush(cpu, linearAddress(cpu, insn));
    return null;
  }),
  invd: privileged(() => null),
  wbinvd: privileged(() => null),
};
