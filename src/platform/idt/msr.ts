/** Model-specific registers of the IDT machine (SDM vol. 4): those that x86-64-v1 needs. */
import type { Cpu } from '../../x86/cpu.ts';
import type { Fault, Outcome } from '../../x86/seam.ts';
import { SEG, type SlotName } from '../../x86/state.ts';
import { CR0 } from '../../x86/system/control.ts';
import { generalProtection, isCanonical } from '../../x86/system/operands.ts';

/** IA32_... by number. */
const MSR = {
  tsc: 0x10,
  sysenterCs: 0x174,
  sysenterEsp: 0x175,
  sysenterEip: 0x176,
  pat: 0x277,
  efer: 0xc0000080,
  star: 0xc0000081,
  lstar: 0xc0000082,
  cstar: 0xc0000083,
  fmask: 0xc0000084,
  fsBase: 0xc0000100,
  gsBase: 0xc0000101,
  kernelGsBase: 0xc0000102,
} as const;
const EFER = { sce: 1, lme: 0x100, lma: 0x400, nxe: 0x800 } as const;

interface Slot {
  readonly name: SlotName;
  readonly index?: number;
  /** Holds an address: a write of a non-canonical value faults. */
  readonly address?: true;
}
const SLOTS: Readonly<Record<number, Slot>> = {
  [MSR.sysenterCs]: { name: 'sysenterCs' },
  [MSR.sysenterEsp]: { name: 'sysenterEsp', address: true },
  [MSR.sysenterEip]: { name: 'sysenterEip', address: true },
  [MSR.pat]: { name: 'pat' },
  [MSR.efer]: { name: 'efer' },
  [MSR.star]: { name: 'star' },
  [MSR.lstar]: { name: 'lstar', address: true },
  [MSR.cstar]: { name: 'cstar', address: true },
  [MSR.fmask]: { name: 'sfmask' },
  [MSR.fsBase]: { name: 'segmentBase', index: SEG.fs, address: true },
  [MSR.gsBase]: { name: 'segmentBase', index: SEG.gs, address: true },
  [MSR.kernelGsBase]: { name: 'kernelGsBase', address: true },
};

/** Encodings of UC, WC, WT, WP, WB and UC- in a byte of the PAT (SDM vol. 3A, table 11-10); all others are reserved. */
const MEMORY_TYPES = [0n, 1n, 4n, 5n, 6n, 7n];

function validPat(value: bigint): boolean {
  for (let n = 0n; n < 8n; n++) if (!MEMORY_TYPES.includes((value >> (n * 8n)) & 0xffn)) return false;
  return true;
}

/** The value of a register, #GP(0) for an unknown one. */
export function readMsr(cpu: Cpu, index: number): bigint | Fault {
  if (index === MSR.tsc) return BigInt.asUintN(64, cpu.get('steps') + cpu.get('tscOffset'));
  const slot = SLOTS[index];
  return slot ? cpu.get(slot.name, slot.index ?? 0) : generalProtection();
}

/** Writes a register; #GP(0) for an unknown one or a value it cannot hold. */
export function writeMsr(cpu: Cpu, index: number, value: bigint): Outcome {
  if (index === MSR.tsc) {
    cpu.set('tscOffset', value - cpu.get('steps'));
    return null;
  }
  const slot = SLOTS[index];
  if (!slot) return generalProtection();
  if (slot.address && !isCanonical(value)) return generalProtection();
  if (index === MSR.pat && !validPat(value)) return generalProtection();
  if (index === MSR.efer) return writeEfer(cpu, value);
  cpu.set(slot.name, value, slot.index ?? 0);
  return null;
}

/** LMA is read-only, LME changes only while paging is off. */
function writeEfer(cpu: Cpu, value: bigint): Outcome {
  const { sce, lme, lma, nxe } = EFER;
  if (value & ~BigInt(sce | lme | lma | nxe)) return generalProtection();
  const old = cpu.num('efer');
  const next = (Number(value) & ~lma) | (old & lma);
  if ((old ^ next) & lme && cpu.num('cr0') & CR0.pg) return generalProtection();
  cpu.set('efer', next);
  cpu.memory.flush(cpu);
  return null;
}
