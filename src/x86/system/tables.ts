/** Descriptor-table registers: LGDT, LIDT, LLDT, LTR and their stores (SDM vol. 3A 2.4). No UMIP: the stores need no privilege. */
import type { Cpu } from '../cpu.ts';
import type { Insn } from '../form.ts';
import { isFault, type Outcome, type Platform } from '../seam.ts';
import { SEG } from '../state.ts';
import {
  errorOf,
  fetchDescriptor,
  isNull,
  notPresent,
  parseDescriptor,
  setNullSegment,
  setSegment,
  upperHalf,
} from './descriptors.ts';
import {
  generalProtection,
  isCanonical,
  loadOperand,
  privileged,
  probeOperand,
  readOperand,
  type SystemHandler,
  type SystemTable,
  storeOperand,
  writeOperand,
} from './operands.ts';

const baseBytes = (insn: Insn): number => (insn.mode === 2 ? 8 : 4);

const store =
  (name: 'gdtr' | 'idtr'): SystemHandler =>
  (cpu, insn) => {
    const width = baseBytes(insn);
    const failed = probeOperand(cpu, insn, 2 + width) ?? storeOperand(cpu, insn, 2, cpu.get(`${name}Limit`));
    return failed ?? storeOperand(cpu, insn, width, cpu.get(`${name}Base`), 2);
  };

const load =
  (name: 'gdtr' | 'idtr'): SystemHandler =>
  (cpu, insn) => {
    const limit = loadOperand(cpu, insn, 2);
    if (isFault(limit)) return limit;
    const base = loadOperand(cpu, insn, baseBytes(insn), 2);
    if (isFault(base)) return base;
    if (insn.mode === 2 && !isCanonical(base)) return generalProtection();
    cpu.set(`${name}Limit`, limit);
    // a 16-bit operand size takes only 24 bits of the base
    cpu.set(`${name}Base`, insn.form.size === 2 ? base & 0xffffffn : base);
    return null;
  };

/** Loads LDTR or TR from the GDT; long mode has 16-byte descriptors there. */
function loadSystemSegment(cpu: Cpu, platform: Platform, segment: number, selector: number, types: number[]): Outcome {
  if ((selector & 4) !== 0) return generalProtection(errorOf(selector));
  const d = fetchDescriptor(cpu, platform, selector);
  if (isFault(d)) return d;
  if (d.user || !types.includes(d.type)) return generalProtection(errorOf(selector));
  if (!d.present) return notPresent(selector);
  const upper = cpu.longMode ? upperHalf(cpu, platform, selector) : 0n;
  if (isFault(upper)) return upper;
  const base = d.base | (upper << 32n);
  if (!isCanonical(base)) return generalProtection(errorOf(selector));
  if (segment === SEG.tr) {
    const busy = parseDescriptor(d.raw | (2n << 40n));
    const failed = platform.writeDescriptor(cpu, selector, busy.raw);
    if (failed) return failed;
    setSegment(cpu, segment, selector, { ...busy, base });
  } else setSegment(cpu, segment, selector, { ...d, base });
  return null;
}

const lldt: SystemHandler = (cpu, insn, platform) => {
  const selector = readOperand(cpu, insn, 0);
  if (isFault(selector)) return selector;
  if (!isNull(Number(selector))) return loadSystemSegment(cpu, platform, SEG.ldtr, Number(selector), [2]);
  setNullSegment(cpu, SEG.ldtr, Number(selector));
  return null;
};
const ltr: SystemHandler = (cpu, insn, platform) => {
  const selector = readOperand(cpu, insn, 0);
  if (isFault(selector)) return selector;
  if (isNull(Number(selector))) return generalProtection();
  return loadSystemSegment(cpu, platform, SEG.tr, Number(selector), cpu.longMode ? [9] : [1, 9]);
};

/** Descriptor-table instructions by semantics name. */
export const TABLES: SystemTable = {
  sgdt: store('gdtr'),
  sidt: store('idtr'),
  lgdt: privileged(load('gdtr')),
  lidt: privileged(load('idtr')),
  lldt: privileged(lldt),
  ltr: privileged(ltr),
  sldt: (cpu, insn) => writeOperand(cpu, insn, 0, BigInt(cpu.selector('ldtr'))),
  str: (cpu, insn) => writeOperand(cpu, insn, 0, BigInt(cpu.selector('tr'))),
};
