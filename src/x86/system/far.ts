/** Far JMP, CALL and RET in protected, compatibility and 64-bit mode, with call gates (SDM vol. 3A 5.8). */
import type { Cpu } from '../cpu.ts';
import type { Insn } from '../form.ts';
import { type Fault, isFault, type Outcome, type Platform, stop } from '../seam.ts';
import { SEG } from '../state.ts';
import {
  checkStackSegment,
  type Descriptor,
  dropPrivilegedSegments,
  errorOf,
  fetchDescriptor,
  isCode,
  isConforming,
  isNull,
  markAccessed,
  notPresent,
  setCodeSegment,
  setNullSegment,
  setSegment,
  upperHalf,
} from './descriptors.ts';
import { generalProtection, isCanonical, loadOperand, type SystemHandler, type SystemTable } from './operands.ts';
import { currentStack, popAll, pushAll, setPointer } from './stack.ts';
import { innerStack, loadInnerStack } from './tss.ts';

interface FarPointer {
  readonly selector: number;
  readonly offset: bigint;
}

function farPointer(cpu: Cpu, insn: Insn): FarPointer | Fault {
  if (insn.form.operands[0]!.place === 'imm') return { selector: insn.imm2, offset: insn.imm };
  const offset = loadOperand(cpu, insn, insn.form.size);
  if (isFault(offset)) return offset;
  const selector = loadOperand(cpu, insn, 2, insn.form.size);
  return isFault(selector) ? selector : { selector: Number(selector), offset };
}

/** Long mode allows no segment that claims both 64-bit and 32-bit code. */
function checkLong(cpu: Cpu, selector: number, d: Descriptor): null | Fault {
  return cpu.longMode && d.long && d.big ? generalProtection(errorOf(selector)) : null;
}
/** #GP(0) when `offset` is not an address in the code segment. */
export function checkTarget(cpu: Cpu, d: Descriptor, offset: bigint): null | Fault {
  const inside = cpu.longMode && d.long ? isCanonical(offset) : offset <= BigInt(d.limit);
  return inside ? null : generalProtection();
}

/** Checks a code segment that JMP or CALL names directly. */
function checkDirect(cpu: Cpu, selector: number, d: Descriptor): null | Fault {
  const allowed = isConforming(d) ? d.dpl <= cpu.cpl : (selector & 3) <= cpu.cpl && d.dpl === cpu.cpl;
  if (!allowed) return generalProtection(errorOf(selector));
  return checkLong(cpu, selector, d) ?? (d.present ? null : notPresent(selector));
}
/** Checks a code segment that a return names: privilege comes from its RPL. */
function checkReturn(cpu: Cpu, platform: Platform, selector: number): Descriptor | Fault {
  if (isNull(selector)) return generalProtection();
  const d = fetchDescriptor(cpu, platform, selector);
  if (isFault(d)) return d;
  const rpl = selector & 3;
  const allowed = isCode(d) && rpl >= cpu.cpl && (isConforming(d) ? d.dpl <= rpl : d.dpl === rpl);
  if (!allowed) return generalProtection(errorOf(selector));
  return checkLong(cpu, selector, d) ?? (d.present ? d : notPresent(selector));
}

const withRpl = (selector: number, rpl: number): number => (selector & 0xfffc) | rpl;

interface CallGate {
  readonly selector: number;
  readonly offset: bigint;
  readonly parameters: number;
  /** Bytes of each value pushed. */
  readonly width: number;
  readonly target: Descriptor;
}

/** The gate a selector names, with its target, as far as JMP and CALL check alike. */
function readGate(cpu: Cpu, platform: Platform, selector: number, d: Descriptor): CallGate | Outcome {
  const long = cpu.longMode;
  if (!long && [1, 3, 5, 9, 11].includes(d.type)) return stop('unimplemented', 'hardware task switch');
  if (d.type !== 12 && (long || d.type !== 4)) return generalProtection(errorOf(selector));
  if (d.dpl < cpu.cpl || d.dpl < (selector & 3)) return generalProtection(errorOf(selector));
  if (!d.present) return notPresent(selector);
  const upper = long ? upperHalf(cpu, platform, selector) : 0n;
  if (isFault(upper)) return upper;
  const code = Number((d.raw >> 16n) & 0xffffn);
  if (isNull(code)) return generalProtection();
  const target = fetchDescriptor(cpu, platform, code);
  if (isFault(target)) return target;
  if (!isCode(target) || target.dpl > cpu.cpl || (long && (!target.long || target.big)))
    return generalProtection(errorOf(code));
  if (!target.present) return notPresent(code);
  const high = d.type === 4 ? 0n : (d.raw >> 32n) & 0xffff0000n;
  return {
    selector: code,
    offset: (d.raw & 0xffffn) | high | (upper << 32n),
    parameters: long ? 0 : Number((d.raw >> 32n) & 31n),
    width: long ? 8 : d.type === 12 ? 4 : 2,
    target,
  };
}
const isGate = (x: CallGate | Outcome): x is CallGate => x !== null && 'target' in x;

/** Loads CS:rIP once everything has been checked. */
function enter(cpu: Cpu, platform: Platform, selector: number, d: Descriptor, offset: bigint): null | Fault {
  const failed = markAccessed(cpu, platform, selector, d);
  if (failed) return failed;
  setCodeSegment(cpu, selector, d);
  cpu.rip = offset;
  return null;
}

const jump: SystemHandler = (cpu, insn, platform) => {
  const pointer = farPointer(cpu, insn);
  if (isFault(pointer)) return pointer;
  const { selector, offset } = pointer;
  if (isNull(selector)) return generalProtection();
  const d = fetchDescriptor(cpu, platform, selector);
  if (isFault(d)) return d;
  if (isCode(d)) {
    const failed = checkDirect(cpu, selector, d) ?? checkTarget(cpu, d, offset);
    return failed ?? enter(cpu, platform, withRpl(selector, cpu.cpl), d, offset);
  }
  if (d.user) return generalProtection(errorOf(selector));
  const gate = readGate(cpu, platform, selector, d);
  if (!isGate(gate)) return gate;
  if (!isConforming(gate.target) && gate.target.dpl !== cpu.cpl) return generalProtection(errorOf(gate.selector));
  const failed = checkTarget(cpu, gate.target, gate.offset);
  return failed ?? enter(cpu, platform, withRpl(gate.selector, cpu.cpl), gate.target, gate.offset);
};

/** Pushes CS:rIP on the current stack and goes to a target of the same privilege. */
function callSame(
  cpu: Cpu,
  platform: Platform,
  width: number,
  selector: number,
  d: Descriptor,
  offset: bigint,
): null | Fault {
  const stack = currentStack(cpu);
  const failed = checkTarget(cpu, d, offset);
  if (failed) return failed;
  const pointer = pushAll(cpu, stack, width, [BigInt(cpu.selector('cs')), cpu.rip]);
  if (isFault(pointer)) return pointer;
  const refused = enter(cpu, platform, withRpl(selector, cpu.cpl), d, offset);
  if (refused) return refused;
  setPointer(cpu, stack.bits, pointer);
  return null;
}

/** Switches to the stack of the gate's target and copies the parameters (SDM vol. 3A 5.8.5). */
function callInner(cpu: Cpu, platform: Platform, gate: CallGate): null | Fault {
  const cpl = gate.target.dpl;
  const inner = innerStack(cpu, platform, cpl);
  if (isFault(inner)) return inner;
  const old = currentStack(cpu);
  const parameters = popAll(cpu, old, gate.width, gate.parameters);
  if (isFault(parameters)) return parameters;
  const failed = checkTarget(cpu, gate.target, gate.offset);
  if (failed) return failed;
  const values = [BigInt(cpu.selector('ss')), cpu.rsp, ...parameters.reverse(), BigInt(cpu.selector('cs')), cpu.rip];
  const pointer = pushAll(cpu, inner.stack, gate.width, values);
  if (isFault(pointer)) return pointer;
  const refused =
    loadInnerStack(cpu, platform, inner) ?? enter(cpu, platform, withRpl(gate.selector, cpl), gate.target, gate.offset);
  if (refused) return refused;
  setPointer(cpu, inner.stack.bits, pointer);
  return null;
}

const call: SystemHandler = (cpu, insn, platform) => {
  const pointer = farPointer(cpu, insn);
  if (isFault(pointer)) return pointer;
  const { selector, offset } = pointer;
  if (isNull(selector)) return generalProtection();
  const d = fetchDescriptor(cpu, platform, selector);
  if (isFault(d)) return d;
  if (isCode(d)) {
    const failed = checkDirect(cpu, selector, d);
    return failed ?? callSame(cpu, platform, insn.form.size, selector, d, offset);
  }
  if (d.user) return generalProtection(errorOf(selector));
  const gate = readGate(cpu, platform, selector, d);
  if (!isGate(gate)) return gate;
  if (!isConforming(gate.target) && gate.target.dpl < cpu.cpl) return callInner(cpu, platform, gate);
  return callSame(cpu, platform, gate.width, gate.selector, gate.target, gate.offset);
};

/** SS:rSP of a return to an outer privilege level. */
interface OuterStack {
  readonly selector: number;
  readonly pointer: bigint;
}

/**
 * Returns to CS:rIP, and to `outer` where the stack is popped too; `after` is the stack pointer when it is not. The last
 * step of RET and IRET, shared by both.
 */
export function returnTo(
  cpu: Cpu,
  platform: Platform,
  selector: number,
  offset: bigint,
  outer: OuterStack | null,
  after: bigint,
): null | Fault {
  const d = checkReturn(cpu, platform, selector);
  if (isFault(d)) return d;
  const failed = checkTarget(cpu, d, offset);
  if (failed) return failed;
  const rpl = selector & 3;
  const goesOut = rpl > cpu.cpl;
  const newLong = cpu.longMode && d.long;
  if (outer === null) {
    const bits = currentStack(cpu).bits;
    const refused = enter(cpu, platform, selector, d, offset);
    if (refused) return refused;
    setPointer(cpu, bits, after);
    return null;
  }
  const ss = checkStackSegment(cpu, platform, outer.selector, rpl, newLong);
  if (isFault(ss)) return ss;
  const refused =
    (ss ? markAccessed(cpu, platform, outer.selector, ss) : null) ?? enter(cpu, platform, selector, d, offset);
  if (refused) return refused;
  if (ss) setSegment(cpu, SEG.ss, outer.selector, ss);
  else setNullSegment(cpu, SEG.ss, outer.selector);
  setPointer(cpu, newLong ? 64 : ss?.big ? 32 : 16, outer.pointer);
  if (goesOut) dropPrivilegedSegments(cpu);
  return null;
}

const ret: SystemHandler = (cpu, insn, platform) => {
  const width = insn.form.size;
  const stack = currentStack(cpu);
  const values = popAll(cpu, stack, width, 2);
  if (isFault(values)) return values;
  const selector = Number(BigInt.asUintN(16, values[1]!));
  const released = BigInt(2 * width) + insn.imm;
  const after = stack.pointer + released;
  if ((selector & 3) <= cpu.cpl) return returnTo(cpu, platform, selector, values[0]!, null, after);
  const outer = popAll(cpu, { ...stack, pointer: after }, width, 2);
  if (isFault(outer)) return outer;
  const outerStack = { pointer: outer[0]! + insn.imm, selector: Number(BigInt.asUintN(16, outer[1]!)) };
  return returnTo(cpu, platform, selector, values[0]!, outerStack, after);
};

/** Far transfers by semantics name. */
export const FAR: SystemTable = { jmp_far: jump, call_far: call, retf: ret, retf_imm: ret };
