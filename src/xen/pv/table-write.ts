/**
 * Guest stores to page tables as Xen carries them out (D-24): the faulting instruction runs through the evaluator with its
 * stores validated like mmu_update before any register commits.
 */
import type { Cpu, LinearMemory } from '../../x86/cpu.ts';
import { emulate } from '../../x86/emulate.ts';
import type { Insn } from '../../x86/form.ts';
import { type Fault, fault, type Outcome } from '../../x86/seam.ts';
import { VECTOR } from '../../x86/state.ts';
import type { MemoryManager } from '../mm/memory-manager.ts';

/** Carries out a store that faulted on an L1 table in use; 'no' when the fault is the guest's. */
export function emulateTableWrite(mm: MemoryManager<Cpu>, cpu: Cpu, event: Fault, insn: Insn | null): Outcome | 'no' {
  if (insn === null || insn.form.system || mm.tableStore(cpu, event.address) === null) return 'no';
  const real = cpu.memory;
  const refusal = fault(VECTOR.pf, event.error, event.address);
  const memory: LinearMemory = {
    load: (c, address, width, options) => real.load(c, address, width, options),
    probe: (c, address, bytes, options) =>
      mm.tableStore(c, address) !== null ? null : real.probe(c, address, bytes, options),
    store(c, address, width, value, options) {
      const at = mm.tableStore(c, address);
      if (at === null) return real.store(c, address, width, value, options);
      return mm.storeToTable(c, at, width, value, null) === 'done' ? null : refusal;
    },
    flush: (c, address) => real.flush(c, address),
  };
  const outcome = emulate(cpu, insn, memory);
  return outcome === refusal ? 'no' : outcome;
}
