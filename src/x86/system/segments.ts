/** Segment registers and access-rights queries: MOV and POP to a segment register, LDS and kin, LAR, LSL, VERR, VERW. */
import type { Cpu } from '../cpu.ts';
import type { Insn } from '../form.ts';
import { isFault, type Outcome, type Platform } from '../seam.ts';
import { SEG, VECTOR } from '../state.ts';
import { type Descriptor, fetchDescriptor, isCode, isConforming, isNull, loadSegment } from './descriptors.ts';
import {
  loadOperand,
  readOperand,
  type SystemHandler,
  type SystemTable,
  segmentNumber,
  setZeroFlag,
  writeOperand,
} from './operands.ts';
import { currentStack, popAll, setPointer } from './stack.ts';

/** Interrupt shadow left by MOV SS and POP SS, unless one is already in force (SDM vol. 3A 6.8.3). */
function shadowStackLoad(cpu: Cpu, segment: number): void {
  if (segment === SEG.ss && cpu.num('interruptShadow') === 0) cpu.set('interruptShadow', 2);
}

const moveToSegment: SystemHandler = (cpu, insn, platform) => {
  const selector = readOperand(cpu, insn, 1);
  if (isFault(selector)) return selector;
  const failed = loadSegment(cpu, platform, segmentNumber(insn), Number(selector));
  if (failed) return failed;
  shadowStackLoad(cpu, segmentNumber(insn));
  return null;
};

const popSegment: SystemHandler = (cpu, insn, platform) => {
  const stack = currentStack(cpu);
  const values = popAll(cpu, stack, insn.form.size, 1);
  if (isFault(values)) return values;
  const failed = loadSegment(cpu, platform, segmentNumber(insn), Number(values[0]! & 0xffffn));
  if (failed) return failed;
  setPointer(cpu, stack.bits, stack.pointer + BigInt(insn.form.size));
  shadowStackLoad(cpu, segmentNumber(insn));
  return null;
};

/** LES, LDS, LSS, LFS, LGS: a register and a segment register from a far pointer in memory. */
const loadFarPointer =
  (segment: number): SystemHandler =>
  (cpu, insn, platform) => {
    const size = insn.form.size;
    const offset = loadOperand(cpu, insn, size);
    if (isFault(offset)) return offset;
    const selector = loadOperand(cpu, insn, 2, size);
    if (isFault(selector)) return selector;
    const failed = loadSegment(cpu, platform, segment, Number(selector));
    return failed ?? writeOperand(cpu, insn, 0, offset);
  };

/** System descriptor types that LAR and LSL accept. */
const LAR_LEGACY = [1, 2, 3, 4, 5, 9, 11, 12];
const LAR_LONG = [2, 9, 11, 12];
const LSL_LEGACY = [1, 2, 3, 9, 11];
const LSL_LONG = [2, 9, 11];

/** The descriptor a query may see, null when it may not. Page faults on the table are faults of the instruction. */
function visible(
  cpu: Cpu,
  platform: Platform,
  selector: number,
  systemTypes: readonly number[],
): Descriptor | null | Outcome {
  if (isNull(selector)) return null;
  const d = fetchDescriptor(cpu, platform, selector);
  if (isFault(d)) return d.vector === VECTOR.gp ? null : d;
  if (!d.user && !systemTypes.includes(d.type)) return null;
  if (isCode(d) && isConforming(d)) return d;
  return d.dpl >= cpu.cpl && d.dpl >= (selector & 3) ? d : null;
}
const isDescriptor = (x: Descriptor | Outcome): x is Descriptor => x !== null && 'raw' in x;

const query =
  (
    systemTypes: (cpu: Cpu) => readonly number[],
    use: (cpu: Cpu, insn: Insn, d: Descriptor) => boolean,
  ): SystemHandler =>
  (cpu, insn, platform) => {
    const selector = readOperand(cpu, insn, insn.form.operands.length - 1);
    if (isFault(selector)) return selector;
    const d = visible(cpu, platform, Number(selector), systemTypes(cpu));
    if (d !== null && !isDescriptor(d)) return d;
    setZeroFlag(cpu, d !== null && use(cpu, insn, d));
    return null;
  };

/** Segment instructions by semantics name. */
export const SEGMENTS: SystemTable = {
  mov_to_sreg: moveToSegment,
  pop_sreg: popSegment,
  les: loadFarPointer(SEG.es),
  lds: loadFarPointer(SEG.ds),
  lss: loadFarPointer(SEG.ss),
  lfs: loadFarPointer(SEG.fs),
  lgs: loadFarPointer(SEG.gs),
  lar: query(
    (cpu) => (cpu.longMode ? LAR_LONG : LAR_LEGACY),
    (cpu, insn, d) => writeOperand(cpu, insn, 0, (d.raw >> 32n) & 0xffff00n) === null,
  ),
  lsl: query(
    (cpu) => (cpu.longMode ? LSL_LONG : LSL_LEGACY),
    (cpu, insn, d) => writeOperand(cpu, insn, 0, BigInt(d.limit)) === null,
  ),
  verr: query(
    () => [],
    (_cpu, _insn, d) => (d.type & 8) === 0 || (d.type & 2) !== 0,
  ),
  verw: query(
    () => [],
    (_cpu, _insn, d) => (d.type & 8) === 0 && (d.type & 2) !== 0,
  ),
};
