/**
 * Delivery of exceptions and interrupts through the IDT (SDM vol. 3A 6.12 to 6.15): 64-bit gates with IST, and 16-bit and 32-bit
 * gates with stack switch through the TSS.
 *
 * Invariant: a delivery either happens whole or leaves the machine as it was and returns the fault it met.
 */
import type { Cpu } from '../../x86/cpu.ts';
import { type EventKind, type Fault, fault, isFault, type Outcome, type Platform, stop } from '../../x86/seam.ts';
import { FLAG, VECTOR } from '../../x86/state.ts';
import {
  type Descriptor,
  errorOf,
  fetchDescriptor,
  isCode,
  isConforming,
  isNull,
  markAccessed,
  setCodeSegment,
} from '../../x86/system/descriptors.ts';
import { checkTarget } from '../../x86/system/far.ts';
import { currentStack, pushAll, type Stack, setPointer } from '../../x86/system/stack.ts';
import { type InnerStack, innerStack, loadInnerStack } from '../../x86/system/tss.ts';

/** Exceptions that push an error code. */
const WITH_ERROR = new Set<number>([VECTOR.df, VECTOR.ts, VECTOR.np, VECTOR.ss, VECTOR.gp, VECTOR.pf, VECTOR.ac]);
const CONTRIBUTORY = new Set<number>([VECTOR.de, VECTOR.ts, VECTOR.np, VECTOR.ss, VECTOR.gp]);

const isSoftware = (kind: EventKind): boolean => kind === 'int' || kind === 'int3' || kind === 'into';

interface Gate {
  readonly selector: number;
  readonly offset: bigint;
  readonly ist: number;
  /** Interrupt gates clear IF, trap gates do not. */
  readonly clearsIf: boolean;
  /** Bytes of each value pushed. */
  readonly width: number;
  readonly dpl: number;
  readonly present: boolean;
}

/** The gate of a vector; #GP where the IDT has none. `ext` is the EXT bit of the error code. */
function readGate(cpu: Cpu, vector: number, ext: number): Gate | Outcome {
  const long = cpu.longMode;
  const bytes = long ? 16 : 8;
  const error = vector * 8 + 2 + ext;
  if (vector * bytes + bytes - 1 > cpu.num('idtrLimit')) return fault(VECTOR.gp, error);
  const raw = cpu.memory.load(cpu, cpu.get('idtrBase') + BigInt(vector * bytes), bytes, { supervisor: true });
  if (isFault(raw)) return raw;
  const type = Number((raw >> 40n) & 31n);
  if (!long && type === 5) return stop('unimplemented', 'task gate in the IDT');
  const wide = type === 14 || type === 15;
  const narrow = !long && (type === 6 || type === 7);
  if (!wide && !narrow) return fault(VECTOR.gp, error);
  return {
    selector: Number((raw >> 16n) & 0xffffn),
    offset: (raw & 0xffffn) | (narrow ? 0n : (raw >> 32n) & 0xffff0000n) | (long ? (raw >> 64n) << 32n : 0n),
    ist: long ? Number((raw >> 32n) & 7n) : 0,
    clearsIf: (type & 1) === 0,
    width: long ? 8 : narrow ? 2 : 4,
    dpl: Number((raw >> 45n) & 3n),
    present: ((raw >> 47n) & 1n) === 1n,
  };
}
const isGate = (x: Gate | Outcome): x is Gate => x !== null && 'offset' in x;

/** The handler's code segment, checked. */
function handlerSegment(cpu: Cpu, platform: Platform, gate: Gate, ext: number): Descriptor | Fault {
  if (isNull(gate.selector)) return fault(VECTOR.gp, ext);
  const d = fetchDescriptor(cpu, platform, gate.selector);
  if (isFault(d)) return d.vector === VECTOR.pf ? d : fault(d.vector, d.error + ext);
  const error = errorOf(gate.selector) + ext;
  const wrongMode = cpu.longMode && (!d.long || d.big);
  if (!isCode(d) || d.dpl > cpu.cpl || wrongMode) return fault(VECTOR.gp, error);
  return d.present ? d : fault(VECTOR.np, error);
}

/** The RFLAGS image to push: faults set RF so that the instruction restarts without its breakpoint (SDM vol. 3B 17.3.1.1). */
function pushedFlags(cpu: Cpu, kind: EventKind, vector: number): number {
  const restarts = kind === 'fault' && vector !== VECTOR.db && vector !== VECTOR.df;
  return restarts ? cpu.rflags | FLAG.rf : cpu.rflags;
}

/** The stack the handler runs on; null keeps the current one. */
function handlerStack(cpu: Cpu, platform: Platform, gate: Gate, cpl: number, ext: number): InnerStack | null | Fault {
  if (cpl === cpu.cpl && gate.ist === 0) return null;
  const inner = innerStack(cpu, platform, cpl, gate.ist);
  return isFault(inner) && inner.vector !== VECTOR.pf ? fault(inner.vector, inner.error + ext) : inner;
}

/** One attempt to deliver; a fault means that nothing has happened. */
function attempt(cpu: Cpu, platform: Platform, kind: EventKind, event: Fault): Outcome {
  const ext = isSoftware(kind) ? 0 : 1;
  const gate = readGate(cpu, event.vector, ext);
  if (!isGate(gate)) return gate;
  const gateError = event.vector * 8 + 2 + ext;
  if (isSoftware(kind) && gate.dpl < cpu.cpl) return fault(VECTOR.gp, gateError);
  if (!gate.present) return fault(VECTOR.np, gateError);
  const d = handlerSegment(cpu, platform, gate, ext);
  if (isFault(d)) return d;
  const cpl = isConforming(d) ? cpu.cpl : d.dpl;
  const changesPrivilege = cpl !== cpu.cpl;
  const inner = handlerStack(cpu, platform, gate, cpl, ext);
  if (isFault(inner)) return inner;
  const failed = checkTarget(cpu, d, gate.offset);
  if (failed) return failed;

  const long = cpu.longMode;
  const current = long
    ? { base: 0n, segment: null, pointer: cpu.rsp, bits: 64, supervisor: cpl < 3 }
    : { ...currentStack(cpu), supervisor: cpl < 3 };
  // what the push itself refuses is an event of the delivery: EXT
  const chosen: Stack = { ...(inner?.stack ?? current), error: (inner?.stack.error ?? 0) + ext };
  const stack = long ? { ...chosen, pointer: chosen.pointer & ~15n } : chosen;
  const values = [BigInt(pushedFlags(cpu, kind, event.vector)), BigInt(cpu.selector('cs')), cpu.rip];
  if (long || changesPrivilege) values.unshift(BigInt(cpu.selector('ss')), cpu.rsp);
  if (kind === 'fault' && WITH_ERROR.has(event.vector)) values.push(BigInt(event.error));
  const pointer = pushAll(cpu, stack, gate.width, values);
  if (isFault(pointer)) return pointer;
  const refused =
    markAccessed(cpu, platform, gate.selector, d) ??
    (inner && changesPrivilege ? loadInnerStack(cpu, platform, inner) : null);
  if (refused) return refused;

  setCodeSegment(cpu, (gate.selector & 0xfffc) | cpl, d);
  setPointer(cpu, stack.bits, pointer);
  cpu.rip = gate.offset;
  cpu.rflags &= ~(FLAG.tf | FLAG.nt | FLAG.rf | FLAG.vm | (gate.clearsIf ? FLAG.if : 0));
  cpu.set('interruptShadow', 0);
  cpu.set('halted', 0);
  if (kind === 'nmi') cpu.set('nmiBlocked', 1);
  return null;
}

/** The two faults make a double fault (SDM vol. 3A table 6-5). */
function isDouble(first: number, second: number): boolean {
  const grave = CONTRIBUTORY.has(second);
  if (first === VECTOR.pf) return grave || second === VECTOR.pf;
  return CONTRIBUTORY.has(first) && grave;
}

/**
 * Delivers an event, and the faults that its delivery meets: serially, as double fault, or ending in a triple fault. INT n, INT3
 * and INTO return the fault instead, since it belongs to the instruction.
 */
export function deliverThroughIdt(cpu: Cpu, platform: Platform, kind: EventKind, event: Fault): Outcome {
  for (;;) {
    if (kind === 'fault' && event.vector === VECTOR.pf) cpu.set('cr2', event.address);
    const outcome = attempt(cpu, platform, kind, event);
    if (!isFault(outcome) || isSoftware(kind)) return outcome;
    const exception = kind === 'fault' || kind === 'debug';
    if (exception && event.vector === VECTOR.df) return stop('triple-fault', describeTriple(cpu, outcome));
    event = exception && isDouble(event.vector, outcome.vector) ? fault(VECTOR.df) : outcome;
    kind = 'fault';
  }
}

const describeTriple = (cpu: Cpu, last: Fault): string =>
  `exception ${last.vector} (error 0x${last.error.toString(16)}) while delivering a double fault at rip 0x${cpu.rip.toString(16)}`;
