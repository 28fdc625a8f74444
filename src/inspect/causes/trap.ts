/**
 * Exceptions: the last ones before the end, and for a bad address the register that held it, the load that brought it and
 * who wrote what was loaded.
 */
import { hex, type Tick } from '../../core/units.ts';
import type { Finding, Inquiry, Investigator, RunEvent } from '../investigate.ts';
import { instructionAt, link, NOTHING } from '../investigate.ts';
import { symbolText } from '../symbol-text.ts';
import { decisionOf } from './decision.ts';
import { rootOf } from './root.ts';

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

/** The last `count` exceptions from `from` up to `to`, in order. */
export async function lastTraps(of: Investigator, to: Tick, count: number, from = of.firstTick): Promise<RunEvent[]> {
  const traps: RunEvent[] = [];
  for await (const events of of.events(from, to))
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
  if (joined.length === 0) return NOTHING;
  const chain = joined.map((e) => link(of, trapText(e), e.tick, e.rip));
  const blamed = await explainOperand(inquiry, joined.at(-1)!);
  return { ...blamed, chain: [...chain, ...blamed.chain] };
}

/** What a faulting instruction faulted on, and where that came from. */
export async function explainOperand(inquiry: Inquiry, trap: RunEvent): Promise<Finding> {
  const { of, disassembler } = inquiry;
  const instruction = instructionAt(disassembler, await of.at(trap.tick), trap.rip);
  const decision = await decisionOf(inquiry, trap);
  if (decision === null) return { ...NOTHING, instruction };
  const { root, chain, undo } = await rootOf(inquiry, decision);
  const decides = {
    ...{ role: decision.role, text: decision.text, tick: trap.tick, rip: trap.rip },
    symbol: symbolText(of.symbols, trap.rip),
  };
  return {
    chain,
    instruction,
    operand: decision.text,
    lastWriter: root?.store ?? null,
    decides,
    root,
    undo,
    fatal: trap,
  };
}
