/**
 * Exceptions: the last ones before the end, and for a bad address the register that held it, the load that brought it and
 * who wrote what was loaded.
 */
import { hex, type Tick, type VirtAddr } from '../../core/units.ts';
import { addressOf, type Disassembled, MAX_INSTRUCTION_BYTES } from '../disassembly.ts';
import type { Finding, Inquiry, Investigator, RunEvent } from '../investigate.ts';
import { instructionAt, lastWriter, link } from '../investigate.ts';
import type { Moment } from '../moment.ts';
import { symbolText } from '../symbol-text.ts';

/** Mnemonics of SDM vol. 3A table 6-1. */
const VECTORS = [
  '#DE',
  '#DB',
  'NMI',
  '#BP',
  '#OF',
  '#BR',
  '#UD',
  '#NM',
  '#DF',
  '',
  '#TS',
  '#NP',
  '#SS',
  '#GP',
  '#PF',
  '',
  '#MF',
  '#AC',
  '#MC',
  '#XM',
];
const PAGE_FAULT = 14n;
/** How many steps back the value of a register is followed. */
const REGISTER_STEPS = 4096;

/** The last `count` exceptions up to `to`, in order. */
export async function lastTraps(of: Investigator, to: Tick, count: number): Promise<RunEvent[]> {
  const traps: RunEvent[] = [];
  for await (const events of of.events(of.firstTick, to))
    for (const event of events) {
      if (event.kind !== 'trap') continue;
      traps.push(event);
      if (traps.length > count) traps.shift();
    }
  return traps;
}

/** An exception in words: `#PF at 0x10 (write, not present)`. */
export function trapText({ fields }: RunEvent): string {
  const { vector = 0n, error = 0n, address = 0n } = fields;
  const name = VECTORS[Number(vector)] || `vector ${vector}`;
  if (vector === PAGE_FAULT) {
    const access = error & 16n ? 'fetch' : error & 2n ? 'write' : 'read';
    return `${name} at ${hex(address)} (${access}, ${error & 1n ? 'protection' : 'not present'})`;
  }
  return error === 0n ? `${name} exception` : `${name} exception, error code ${hex(error)}`;
}

/** Explains the verdict `triple-fault`: the exceptions that followed each other, and the operand of the first. */
export async function explainTrap(inquiry: Inquiry): Promise<Finding> {
  const { of } = inquiry;
  const traps = await lastTraps(of, of.lastTick, 3);
  // Exceptions of one delivery share their tick, or follow each other at once.
  const end = traps.at(-1)?.tick ?? 0;
  const joined = traps.filter((e) => end - e.tick <= 2).reverse();
  if (joined.length === 0) return { chain: [], instruction: null, operand: null, lastWriter: null };
  const chain = joined.map((e) => link(of, trapText(e), e.tick, e.rip));
  const blamed = await explainOperand(inquiry, joined.at(-1)!);
  return { ...blamed, chain: [...chain, ...blamed.chain] };
}

/** What a faulting instruction faulted on, and where that came from. */
export async function explainOperand(inquiry: Inquiry, trap: RunEvent): Promise<Finding> {
  const { of, disassembler } = inquiry;
  const moment = await of.at(trap.tick);
  const instruction = instructionAt(disassembler, moment, trap.rip);
  const found = disassembler.decode(moment.bytes(trap.rip, MAX_INSTRUCTION_BYTES), trap.rip, moment.codeBits);
  const nothing: Finding = { chain: [], instruction, operand: null, lastWriter: null };
  if (found === null) return nothing;
  const register = (name: string): bigint | null => moment.register(name, trap.vcpu);
  const { vector = 0n, address = 0n } = trap.fields;
  const reference =
    found.memory.find((m) => {
      const at = addressOf(m, register);
      return vector !== PAGE_FAULT || (at <= address && address < at + BigInt(Math.max(m.bytes, 1)));
    }) ?? null;
  if (reference === null) {
    if (found.flow !== 'indirect-call' && found.flow !== 'jump') return nothing;
    return { ...nothing, operand: `the jump goes to ${hex(address)}` };
  }
  const at = addressOf(reference, register);
  const parts = [reference.base, reference.index].filter((name) => name !== null);
  const values = parts.map((name) => `${name} = ${hex(register(name) ?? 0n)}`).join(', ');
  const name = symbolText(of.symbols, at);
  const operand = `${hex(at)}${name === null ? '' : ` (${name})`}${values === '' ? '' : `, from ${values}`}`;
  if (parts[0] === undefined || parts[0] === 'rsp') return { ...nothing, operand };
  const origin = await originOf(inquiry, parts[0], trap.tick, trap.vcpu);
  if (origin === null) return { ...nothing, operand };
  const chain = [link(of, `${parts[0]} got its value by ${origin.text}`, origin.tick, origin.rip)];
  if (origin.loadedFrom === null) return { chain, instruction, operand, lastWriter: null };
  const { address: from, bytes } = origin.loadedFrom;
  const writer = await lastWriter(inquiry, { space: 'va', address: from }, bytes, origin.tick);
  const word = `${hex(from)}${symbolText(of.symbols, from) === null ? '' : ` (${symbolText(of.symbols, from)})`}`;
  if (writer !== null)
    chain.push(link(of, `${writer.instruction} wrote ${hex(writer.value)} to ${word}`, writer.tick, writer.rip));
  return { chain, instruction, operand: `${operand}, loaded from ${word}`, lastWriter: writer };
}

/** The step that gave a register its value, and what it loaded it from. */
interface Origin {
  readonly tick: Tick;
  readonly rip: VirtAddr;
  readonly text: string;
  readonly loadedFrom: { readonly address: VirtAddr; readonly bytes: number } | null;
}

async function originOf(inquiry: Inquiry, name: string, end: Tick, vcpu: number): Promise<Origin | null> {
  const { of, disassembler } = inquiry;
  let origin: Origin | null = null;
  await of.walk(Math.max(of.firstTick, end - REGISTER_STEPS), end - 1, (moment: Moment) => {
    if (moment.vcpu !== vcpu) return;
    const rip = moment.register('rip', vcpu) ?? 0n;
    const found = disassembler.decode(moment.bytes(rip, MAX_INSTRUCTION_BYTES), rip, moment.codeBits);
    if (found === null || !found.registersWritten.includes(name)) return;
    origin = { tick: moment.tick, rip, text: found.text, loadedFrom: loadOf(found, moment, vcpu) };
  });
  return origin;
}

function loadOf(found: Disassembled, moment: Moment, vcpu: number): Origin['loadedFrom'] {
  const reference = found.memory.find((m) => m.reads);
  if (reference === undefined || reference.bytes === 0 || reference.bytes > 8) return null;
  return { address: addressOf(reference, (name) => moment.register(name, vcpu)), bytes: reference.bytes };
}
