/**
 * The operand that decided a fault: the base, the index, the divisor, the target of a call, the return slot, the page-table entry, the
 * descriptor. By vector (SDM vol. 3A 6.15) and instruction; what the operand is called plays no part.
 */
import { hex, type Tick, type VirtAddr } from '../../core/units.ts';
import { VECTOR } from '../../x86/state.ts';
import { addressOf, type Disassembled, MAX_INSTRUCTION_BYTES, type MemoryReference } from '../disassembly.ts';
import type { Inquiry, RunEvent } from '../investigate.ts';
import type { Moment } from '../moment.ts';
import { symbolText } from '../symbol-text.ts';
import { byBound, byCount } from './extent.ts';

/** What holds a value: a register, or bytes of memory. */
export type Asked =
  | { readonly space: 'register'; readonly name: string; readonly vcpu: number }
  | { readonly space: 'va' | 'ma'; readonly address: bigint; readonly bytes: number };

export interface Decision {
  /** What part it plays: `base`, `index`, `divisor`, `call target`, `return slot`, `page-table entry`, `descriptor`, `instruction`. */
  readonly role: string;
  /** The same in words, with its value. */
  readonly text: string;
  /** Where its value stands in the state at `tick`; null where nothing is to be followed. */
  readonly place: Asked | null;
  readonly tick: Tick;
  /** The value was only laid by there, for what took it at once. */
  readonly laidBy?: boolean;
  /** What chose the place, of a table. */
  readonly chosen?: Decision;
}

/** Addresses below belong to nobody: a pointer that leads there is no pointer. */
const NULL_AREA = 0x10000n;
/** Bytes of what lies on the stack for a return by the platform, at most. */
const RETURN_FRAME = 128n;
const PRESENT = 1n;
const WRITABLE = 2n;
/** Bits of a page fault's error code. */
const PF = { protection: 1n, write: 2n, fetch: 16n } as const;
/** Vectors whose error code is a selector where it is not 0. */
const SELECTOR_FAULTS: ReadonlySet<number> = new Set([VECTOR.ts, VECTOR.np, VECTOR.ss, VECTOR.gp]);
/** In a selector error code: the table is the IDT's, the LDT's (SDM vol. 3A 6.13). */
const IN_IDT = 2;

/** The operand that decided `trap`; null where nothing tells. */
export async function decisionOf(inquiry: Inquiry, trap: RunEvent): Promise<Decision | null> {
  const { of, disassembler } = inquiry;
  const moment = await of.at(trap.tick);
  const { vector = 0n, error = 0n } = trap.fields;
  const fetch = Number(vector) === VECTOR.pf && (error & PF.fetch) !== 0n;
  const found = disassembler.decode(moment.bytes(trap.rip, MAX_INSTRUCTION_BYTES), trap.rip, moment.codeBits);
  if (fetch || found === null) return (await byPage(inquiry, trap)) ?? (await byTransfer(inquiry, trap));
  switch (Number(vector)) {
    case VECTOR.de:
      return byDivisor(found, moment, trap);
    case VECTOR.pf:
      return (
        (await byPage(inquiry, trap)) ??
        (await byCount(inquiry, found, trap)) ??
        (await byBound(inquiry, byReference(inquiry, found, await of.at(trap.tick), trap), trap))
      );
    case VECTOR.ts:
    case VECTOR.np:
    case VECTOR.ss:
    case VECTOR.gp:
      return (
        bySelector(inquiry, found, moment, trap) ??
        byPrivilege(found, trap) ??
        (await ofSlot(inquiry, byFlow(found, moment, trap))) ??
        byReference(inquiry, found, moment, trap)
      );
    default:
      return null;
  }
}

const named = ({ of }: Inquiry, address: VirtAddr): string => {
  const name = symbolText(of.symbols, address);
  return name === null ? hex(address) : `${hex(address)} (${name})`;
};

// ---- pages ----------------------------------------------------------------------------------------------------------

/**
 * The entry at which the walk ends, where somebody has made it what it is: it led to a page, or let it be written, before. Else the
 * address is to blame.
 */
async function byPage(inquiry: Inquiry, trap: RunEvent): Promise<Decision | null> {
  const { of } = inquiry;
  const { address = 0n, error = 0n, vector } = trap.fields;
  if (vector !== BigInt(VECTOR.pf) || address < NULL_AREA) return null;
  const last = (await of.at(trap.tick)).entries(address).at(-1);
  if (last === undefined) return null;
  const place = { space: 'ma' as const, address: BigInt(last.address) };
  const write = await of.lastWrite(place, 8, trap.tick);
  const protection = (error & PF.protection) !== 0n;
  if (write === null) return null;
  const needed = protection && (error & PF.write) !== 0n ? PRESENT | WRITABLE : PRESENT;
  if ((write.before & needed) !== needed) return null;
  const what = protection ? (needed & WRITABLE ? 'is read-only' : 'forbids it') : 'is not present';
  return {
    role: 'page-table entry',
    text: `the L${last.level} entry of ${named(inquiry, address)} is ${hex(last.value)}: the page ${what}`,
    place: { ...place, bytes: 8 },
    tick: trap.tick,
  };
}

// ---- addresses ------------------------------------------------------------------------------------------------------

const register = (role: string, name: string, value: bigint, trap: RunEvent): Decision => ({
  role,
  text: `the ${role} register ${name} is ${hex(value)}`,
  place: { space: 'register', name, vcpu: trap.vcpu },
  tick: trap.tick,
});

/** Of the registers that make up the address the one that is to blame: the base, unless it leads to memory by itself. */
function byReference(inquiry: Inquiry, found: Disassembled, moment: Moment, trap: RunEvent): Decision | null {
  const value = (name: string): bigint => moment.register(name, trap.vcpu) ?? 0n;
  const { vector = 0n, address = 0n } = trap.fields;
  const reference = found.memory.find((m) => {
    const at = addressOf(m, value);
    return vector !== BigInt(VECTOR.pf) || (at <= address && address < at + BigInt(Math.max(m.bytes, 1)));
  });
  if (reference === undefined) return null;
  const { base, index } = reference;
  if (base !== null && (index === null || !leadsToMemory(reference, base, moment, value)))
    return base === 'rip' ? null : register('base', base, value(base), trap);
  if (index !== null) return register('index', index, value(index), trap);
  if (reference.segment !== null) {
    const name = `${reference.segment}_base`;
    return register('segment base', name, value(name), trap);
  }
  const at = addressOf(reference, value);
  return { role: 'address', text: `the instruction names ${named(inquiry, at)}`, place: null, tick: trap.tick };
}
function leadsToMemory(
  { displacement, segment }: MemoryReference,
  base: string,
  moment: Moment,
  value: (name: string) => bigint,
): boolean {
  const start = value(base) + (segment === null ? 0n : value(`${segment}_base`));
  const maps = (address: bigint): boolean => moment.translate(BigInt.asUintN(64, address)) !== null;
  return maps(start) || maps(start + displacement);
}

// ---- transfers ------------------------------------------------------------------------------------------------------

/** The operand that a call, jump or return goes by. */
function byFlow(found: Disassembled, moment: Moment, trap: RunEvent): Decision | null {
  const value = (name: string): bigint => moment.register(name, trap.vcpu) ?? 0n;
  const { tick } = moment;
  const word = (role: string, address: bigint): Decision => {
    const target = moment.read('va', address, 8);
    return {
      role,
      text: `the ${role} is ${target === null ? 'not mapped' : hex(target)}`,
      place: { space: 'va', address, bytes: 8 },
      tick,
    };
  };
  if (found.flow === 'return') return word('return slot', value('rsp'));
  if (found.flow !== 'indirect-call' && found.flow !== 'jump') return null;
  const role = found.flow === 'jump' ? 'jump target' : 'call target';
  const reference = found.memory.find((m) => m.reads);
  if (reference !== undefined) {
    const decision = word(role, addressOf(reference, value));
    const { index } = reference;
    if (index === null) return decision;
    const chosen = register('index', index, value(index), trap);
    return { ...decision, chosen: { ...chosen, text: `${chosen.text}, and ${decision.text}`, tick } };
  }
  const name = found.registersRead.find((x) => x !== 'rsp');
  if (name === undefined) return null;
  return { ...register(role, name, value(name), trap), text: `the ${role} in ${name} is ${hex(value(name))}`, tick };
}
/** Of a slot of a table that nobody ever filled the index is to blame, not what lies there. */
async function ofSlot({ of }: Inquiry, decision: Decision | null): Promise<Decision | null> {
  if (decision?.chosen === undefined || decision.place === null || decision.place.space === 'register') return decision;
  await of.at(decision.tick);
  const filled = await of.lastWrite(decision.place, decision.place.bytes, decision.tick);
  return filled === null ? decision.chosen : decision;
}
/** The step before a fetch that failed has led there. */
async function byTransfer(inquiry: Inquiry, trap: RunEvent): Promise<Decision | null> {
  const { of, disassembler } = inquiry;
  if (trap.tick === 0) return null;
  const before = await of.at(trap.tick - 1);
  if (before.vcpu !== trap.vcpu) return null;
  const rip = before.register('rip', trap.vcpu) ?? 0n;
  const found = disassembler.decode(before.bytes(rip, MAX_INSTRUCTION_BYTES), rip, before.codeBits);
  if (found?.flow === 'trap') return byReturnFrame(before, trap);
  const decision = found === null ? null : byFlow(found, before, trap);
  if (decision?.place == null) return null;
  // what has led there may have been an event that was taken before the instruction
  const { place } = decision;
  const target =
    place.space === 'register'
      ? before.register(place.name, place.vcpu)
      : before.read(place.space, place.address, place.bytes);
  return target === trap.rip ? ofSlot(inquiry, decision) : null;
}

/** The platform was asked to go there: by the frame that lay on the stack. */
function byReturnFrame(before: Moment, trap: RunEvent): Decision | null {
  const rsp = before.register('rsp', trap.vcpu) ?? 0n;
  for (let address = rsp; address < rsp + RETURN_FRAME; address += 8n)
    if (before.read('va', address, 8) === trap.rip)
      return {
        role: 'return slot',
        text: `the address in the frame to return by is ${hex(trap.rip)}`,
        place: { space: 'va', address, bytes: 8 },
        tick: before.tick,
        laidBy: true,
      };
  return null;
}

// ---- others ---------------------------------------------------------------------------------------------------------

/** A descriptor that cannot be used, by the error code's selector. */
function bySelector({ of }: Inquiry, found: Disassembled, moment: Moment, trap: RunEvent): Decision | null {
  const { vector = 0n, error = 0n } = trap.fields;
  const selector = Number(error & 0xfffcn);
  if (error === 0n || Number(error) & IN_IDT || !SELECTOR_FAULTS.has(Number(vector))) return null;
  const table = Number(error) & 4 ? 'LDT' : 'GDT';
  const place = of.explanation.descriptor(trap.vcpu, selector);
  const descriptor = place === null ? null : moment.read(place.space, place.address, 8);
  if (place === null || descriptor === null) {
    const name = found.registersRead[0];
    const text = `there is no descriptor ${selector >> 3} in the ${table}`;
    if (name === undefined) return { role: 'selector', text, place: null, tick: trap.tick };
    return { ...register('selector', name, BigInt(selector), trap), text };
  }
  const present = (descriptor >> 47n) & 1n ? '' : ', its P bit is 0';
  return {
    role: 'descriptor',
    text: `descriptor ${selector >> 3} of the ${table} is ${hex(descriptor)}${present}`,
    place: { space: place.space === 'va' ? 'va' : 'ma', address: place.address, bytes: 8 },
    tick: trap.tick,
  };
}

/** An instruction that the guest may not use, whatever its operands. */
const byPrivilege = ({ privileged, registersRead, text }: Disassembled, { fields, tick }: RunEvent): Decision | null =>
  privileged && registersRead.length === 0 && fields.error === 0n
    ? { role: 'instruction', text: `${text} is not the guest's to use`, place: null, tick }
    : null;

/** The divisor where it is 0, else the dividend, which is too large. */
function byDivisor(found: Disassembled, moment: Moment, trap: RunEvent): Decision | null {
  const value = (name: string): bigint => moment.register(name, trap.vcpu) ?? 0n;
  const reference = found.memory.find((m) => m.reads);
  if (reference !== undefined) {
    const address = addressOf(reference, value);
    if (moment.read('va', address, reference.bytes) === 0n)
      return {
        role: 'divisor',
        text: 'the divisor is 0',
        place: { space: 'va', address, bytes: reference.bytes },
        tick: trap.tick,
      };
  } else {
    const operand = /(\w+)$/.exec(found.text)?.[1] ?? '';
    const name = found.registersRead.find(
      (x) => moment.register(operand, trap.vcpu) !== null && sameRegister(x, operand),
    );
    if (name !== undefined && moment.register(operand, trap.vcpu) === 0n)
      return { ...register('divisor', operand, 0n, trap), text: `the divisor ${operand} is 0` };
  }
  return register('dividend', 'rax', value('rax'), trap);
}
/** Whether a part of a general register (`ecx`, `cl`) belongs to it (`rcx`). */
function sameRegister(whole: string, part: string): boolean {
  const stem = whole.replace(/^r/, '');
  return (
    part === whole ||
    part.replace(/^[re]/, '') === stem ||
    part === `${stem[0]}l` ||
    part === `${stem[0]}h` ||
    part.replace(/[dwb]$/, '') === whole
  );
}
