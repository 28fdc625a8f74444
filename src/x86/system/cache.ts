/** Caches and translations: INVLPG, INVD, WBINVD. Memory is always coherent here, so that only INVLPG does anything. */
import { linearAddress, privileged, type SystemTable } from './operands.ts';

/** Cache instructions by semantics name. */
export const CACHE: SystemTable = {
  invlpg: privileged((cpu, insn) => {
    cpu.memory.flush(cpu, linearAddress(cpu, insn));
    return null;
  }),
  invd: privileged(() => null),
  wbinvd: privileged(() => null),
};
