/** Accesses that went too far: what decided is how often they were repeated, not the address that they came to. */
import { hex, type Tick } from '../../core/units.ts';
import type { Disassembled } from '../disassembly.ts';
import { addressOf, MAX_INSTRUCTION_BYTES } from '../disassembly.ts';
import type { Inquiry, RunEvent } from '../investigate.ts';
import type { Decision } from './decision.ts';

/** Steps of one instruction, one behind the other in a loop, that make its register a loop's. */
const ROUNDS = 4;

/** Of a string instruction that has done some of its work the count, as it began. */
export async function byCount({ of }: Inquiry, { text }: Disassembled, trap: RunEvent): Promise<Decision | null> {
  if (!text.startsWith('rep')) return null;
  const { vcpu, rip } = trap;
  const left = (await of.at(trap.tick)).register('rcx', vcpu) ?? 0n;
  const done = async (rounds: Tick): Promise<boolean> => {
    if (rounds > trap.tick) return false;
    const moment = await of.at(trap.tick - rounds);
    return (
      moment.register('rip', vcpu) === rip && moment.register('rcx', vcpu) === BigInt.asUintN(64, left + BigInt(rounds))
    );
  };
  let [low, high] = [0, 1];
  for (; await done(high); high *= 2) low = high;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (await done(middle)) low = middle;
    else high = middle;
  }
  if (low === 0) return null;
  const count = BigInt.asUintN(64, left + BigInt(low));
  return {
    role: 'count',
    text: `the count rcx was ${hex(count)}, ${low} rounds of which went before the fault`,
    place: { space: 'register', name: 'rcx', vcpu },
    tick: trap.tick - low,
  };
}

/** Of a register that a loop counts the bound that it is compared with; `decision` where there is no such loop. */
export async function byBound(inquiry: Inquiry, decision: Decision | null, trap: RunEvent): Promise<Decision | null> {
  if (decision?.place?.space !== 'register' || !(await isCounted(inquiry, decision))) return decision;
  const { of, disassembler } = inquiry;
  const { vcpu, tick } = trap;
  const branch = await of.branchBefore(tick, vcpu);
  const flags = branch === null ? null : await of.origin({ space: 'register', name: 'flags', vcpu }, branch, 1);
  if (flags?.step == null) return decision;
  const moment = await of.at(flags.step.tick);
  const code = moment.bytes(flags.step.rip, MAX_INSTRUCTION_BYTES);
  const compared = disassembler.decode(code, flags.step.rip, moment.codeBits);
  if (compared === null || compared.registersWritten.length > 0) return decision;
  const value = (name: string): bigint => moment.register(name, vcpu) ?? 0n;
  const reference = compared.memory.find((m) => m.reads && m.bytes > 0 && m.bytes <= 8);
  const at = { role: 'count', tick: flags.step.tick };
  if (reference !== undefined) {
    const { bytes } = reference;
    const address = addressOf(reference, value);
    const bound = moment.read('va', address, bytes) ?? 0n;
    return { ...at, text: `the loop goes on to ${hex(bound)}`, place: { space: 'va', address, bytes } };
  }
  const places = compared.registersRead.map((name) => ({ space: 'register' as const, name, vcpu }));
  const bounds: Decision[] = [];
  for (const place of places) {
    const text = `the loop goes on to ${hex((await of.at(at.tick)).register(place.name, vcpu) ?? 0n)}`;
    const bound = { ...at, text, place };
    if (!(await isCounted(inquiry, bound))) bounds.push(bound);
  }
  return bounds.length === 1 ? bounds[0]! : decision;
}
/** Whether the value of a register was made of itself by one instruction, again and again. */
async function isCounted({ of }: Inquiry, { place, tick }: Decision): Promise<boolean> {
  if (place?.space !== 'register') return false;
  let one = await of.origin(place, tick, ROUNDS);
  const rip = one?.step?.rip;
  for (let rounds = 0; rounds < ROUNDS; rounds++) {
    if (rip === undefined || one?.step?.rip !== rip || one.bytes.space !== 'state') return false;
    one = one.inputs[0] ?? null;
  }
  return true;
}
