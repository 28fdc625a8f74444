/** Control and debug registers, CLTS, LMSW, SMSW, HLT (SDM vol. 3A 2.5 and 17.2). */
import type { Cpu } from '../cpu.ts';
import { fault, isFault, type Outcome, type Platform, stop } from '../seam.ts';
import { VECTOR } from '../state.ts';
import { setCodeMode } from './descriptors.ts';
import {
  generalProtection,
  privileged,
  readOperand,
  type SystemHandler,
  type SystemTable,
  undefinedOpcode,
  writeOperand,
} from './operands.ts';

/** Bits of CR0. */
export const CR0 = {
  pe: 1,
  mp: 2,
  em: 4,
  ts: 8,
  et: 16,
  ne: 32,
  wp: 1 << 16,
  am: 1 << 18,
  nw: 1 << 29,
  cd: 1 << 30,
  pg: 2 ** 31,
} as const;
/** Bits of CR4. */
export const CR4 = { tsd: 4, de: 8, pae: 32, pge: 128, pce: 256, osfxsr: 512, osxmmexcpt: 1024 } as const;
const CR0_DEFINED = 0xe005003f;
const CR4_DEFINED = 0x7ff;
const EFER_LME = 0x100;
const EFER_LMA = 0x400;
/** Bits above the 52 of a physical address are reserved in CR3. */
const CR3_RESERVED = ~((1n << 52n) - 1n) & ((1n << 64n) - 1n);

const ATTR_LONG = 1 << 13;
const CS = 1;

function writeCr0(cpu: Cpu, value: bigint, platform: Platform): Outcome {
  if (value >> 32n !== 0n) return generalProtection();
  const next = ((Number(value) & CR0_DEFINED) | CR0.et) >>> 0;
  const has = (bit: number): boolean => (next & bit) !== 0;
  if (has(CR0.pg) && !has(CR0.pe)) return generalProtection();
  if (has(CR0.nw) && !has(CR0.cd)) return generalProtection();
  if (!has(CR0.pe)) return stop('unimplemented', 'real mode (CR0.PE cleared)');
  const efer = cpu.num('efer');
  const paging = (cpu.num('cr0') & CR0.pg) !== 0;
  if (has(CR0.pg) && !paging && efer & EFER_LME) {
    const codeIsLong = (cpu.num('segmentAttributes', CS) & ATTR_LONG) !== 0;
    if ((cpu.num('cr4') & CR4.pae) === 0 || codeIsLong) return generalProtection();
    cpu.set('efer', efer | EFER_LMA);
  }
  if (!has(CR0.pg) && paging && cpu.longMode) {
    if (cpu.codeMode === 2) return generalProtection();
    cpu.set('efer', efer & ~EFER_LMA);
  }
  cpu.set('cr0', next);
  setCodeMode(cpu);
  cpu.memory.flush(cpu);
  return platform.controlWritten(cpu, 0);
}

const writeControl: SystemHandler = (cpu, insn, platform) => {
  const value = readOperand(cpu, insn, 1);
  if (isFault(value)) return value;
  switch (insn.r) {
    case 0:
      return writeCr0(cpu, value, platform);
    case 2:
      cpu.set('cr2', value);
      return null;
    case 3:
      if (cpu.longMode && value & CR3_RESERVED) return generalProtection();
      cpu.set('cr3', value);
      break;
    case 4:
      if (value & ~BigInt(CR4_DEFINED)) return generalProtection();
      if (cpu.longMode && (Number(value) & CR4.pae) === 0) return generalProtection();
      cpu.set('cr4', value);
      break;
    default:
      if (value > 15n) return generalProtection();
      cpu.set('cr8', value);
      return platform.controlWritten(cpu, 8);
  }
  cpu.memory.flush(cpu);
  return platform.controlWritten(cpu, insn.r);
};

const readControl: SystemHandler = (cpu, insn) => {
  const name = ({ 0: 'cr0', 2: 'cr2', 3: 'cr3', 4: 'cr4', 8: 'cr8' } as const)[insn.r as 0 | 2 | 3 | 4 | 8];
  return writeOperand(cpu, insn, 0, cpu.get(name));
};

/** DR4 and DR5 are DR6 and DR7, or #UD with CR4.DE. A set DR7.GD makes every access #DB with DR6.BD. */
function debugRegister(cpu: Cpu, number: number): number | Outcome {
  if (number === 4 || number === 5) {
    if (cpu.num('cr4') & CR4.de) return undefinedOpcode();
    number += 2;
  }
  const dr7 = cpu.get('dr', 7);
  if (dr7 & (1n << 13n)) {
    cpu.set('dr', cpu.get('dr', 6) | (1n << 13n), 6);
    cpu.set('dr', dr7 & ~(1n << 13n), 7);
    return fault(VECTOR.db);
  }
  return number;
}
/** The value that a debug register keeps of what is written to it, with its fixed bits. */
function debugRegisterValue(number: number, value: bigint): bigint {
  if (number === 6) return (value & 0xe00fn) | 0xffff0ff0n;
  if (number === 7) return (value & 0xffff2fffn) | 0x400n;
  return value;
}
const writeDebug: SystemHandler = (cpu, insn) => {
  const number = debugRegister(cpu, insn.r);
  if (typeof number !== 'number') return number;
  const value = readOperand(cpu, insn, 1);
  if (isFault(value)) return value;
  if (number >= 6 && value >> 32n) return generalProtection();
  cpu.set('dr', debugRegisterValue(number, value), number);
  return null;
};
const readDebug: SystemHandler = (cpu, insn) => {
  const number = debugRegister(cpu, insn.r);
  if (typeof number !== 'number') return number;
  return writeOperand(cpu, insn, 0, debugRegisterValue(number, cpu.get('dr', number)));
};

/** LMSW writes PE, MP, EM and TS, and cannot clear PE. */
const lmsw: SystemHandler = (cpu, insn, platform) => {
  const value = readOperand(cpu, insn, 0);
  if (isFault(value)) return value;
  const cr0 = cpu.num('cr0');
  return writeCr0(cpu, BigInt(((cr0 & ~0xe) | (Number(value) & 0xf)) >>> 0), platform);
};
/** Control instructions by semantics name. */
export const CONTROL: SystemTable = {
  mov_to_cr: privileged(writeControl),
  mov_from_cr: privileged(readControl),
  mov_to_dr: privileged(writeDebug),
  mov_from_dr: privileged(readDebug),
  clts: privileged((cpu, _insn, platform) => {
    cpu.set('cr0', cpu.num('cr0') & ~CR0.ts);
    return platform.controlWritten(cpu, 0);
  }),
  lmsw: privileged(lmsw),
  smsw: (cpu, insn) => writeOperand(cpu, insn, 0, cpu.get('cr0')),
  hlt: privileged((cpu, _insn, platform) => platform.halt(cpu)),
};
