/** Model-specific registers of the IDT machine (SDM vol. 4): those that x86-64-v1 needs. */
import type { Cpu } from '../../x86/cpu.ts';
import type { Fault, Outcome } from '../../x86/seam.ts';
import { SEG, type SlotName } from '../../x86/state.ts';
import { CR0 } from '../../x86/system/control.ts';
import { generalProtection, isCanonical } from '../../x86/system/operands.ts';

const EFER = 0xc0000080;
const EFER_BITS = { sce: 1, lme: 0x100, lma: 0x400, nxe: 0x800 } as const;
const PAT = 0x277;
const TSC = 0x10;

interface Slot {
  readonly name: SlotName;
  readonly index?: number;
  /** Holds an address: a write of a non-canonical value faults. */
  readonly address?: true;
}
const SLOTS: Readonly<Record<number, Slot>> = {
  372: { name: 'sysenterCs' },
  373: { name: 'sysenterEsp', address: true },
  374: { name: 'sysenterEip', address: true },
  [PAT]: { name: 'pat' },
  [EFER]: { name: 'efer' },
  3221225601: { name: 'star' },
  3221225602: { name: 'lstar', address: true },
  3221225603: { name: 'cstar', address: true },
  3221225604: { name: 'sfmask' },
  3221225728: { name: 'segmentBase', index: SEG.fs, address: true },
  3221225729: { name: 'segmentBase', index: SEG.gs, address: true },
  3221225730: { name: 'kernelGsBase', address: true },
};

/** PAT memory types; 2 and 3 are reserved (SDM vol. 3A table 11-10). */
function validPat(value: bigint): boolean {
  for (let n = 0n; n < 8n; n++) if (![0n, 1n, 4n, 5n, 6n, 7n].includes((value >> (n * 8n)) & 0xffn)) return false;
  return true;
}

/** The value of a register, #GP(0) for an unknown one. */
export function readMsr(cpu: Cpu, index: number): bigint | Fault {
  if (index === TSC) return BigInt.asUintN(64, cpu.get('steps') + cpu.get('tscOffset'));
  const slot = SLOTS[index];
  return slot ? cpu.get(slot.name, slot.index ?? 0) : generalProtection();
}

/** Writes a register; #GP(0) for an unknown one or a value it cannot hold. */
export function writeMsr(cpu: Cpu, index: number, value: bigint): Outcome {
  if (index === TSC) {
    cpu.set('tscOffset', value - cpu.get('steps'));
    return null;
  }
  const slot = SLOTS[index];
  if (!slot) return generalProtection();
  if (slot.address && !isCanonical(value)) return generalProtection();
  if (index === PAT && !validPat(value)) return generalProtection();
  if (index === EFER) return writeEfer(cpu, value);
  cpu.set(slot.name, value, slot.index ?? 0);
  return null;
}

/** LMA is read-only, LME changes only while paging is off. */
function writeEfer(cpu: Cpu, value: bigint): Outcome {
  const { sce, lme, lma, nxe } = EFER_BITS;
  if (value & ~BigInt(sce | lme | lma | nxe)) return generalProtection();
  const old = cpu.num('efer');
  const next = (Number(value) & ~lma) | (old & lma);
  if ((old ^ next) & lme && cpu.num('cr0') & CR0.pg) return generalProtection();
  cpu.set('efer', next);
  cpu.memory.flush(cpu);
  return null;
}
