/**
 * A domain that Xen crashed: back over the exception that had no handler and the panic before it to the hypercall that Xen
 * refused, and from there to whoever wrote what it refused.
 */
import { hex } from '../../core/units.ts';
import type { Refusal } from '../../machine/explanation.ts';
import type { Finding, Inquiry, Investigator, RunEvent } from '../investigate.ts';
import { instructionAt, lastWriter, link } from '../investigate.ts';
import { panicMessage } from '../panic.ts';
import type { Link } from '../report.ts';
import { symbolText } from '../symbol-text.ts';
import { explainOperand, trapText } from './trap.ts';

/** Events of one tick that are looked at, the last of them: a multicall may have very many. */
const SAME_TICK_EVENTS = 1024;
/** Explains the verdict `crash`. */
export async function explainCrash(inquiry: Inquiry): Promise<Finding> {
  const { of, consoleText } = inquiry;
  const chain: Link[] = [];
  const { trap, refused } = await lastEvents(of);
  if (trap !== null) chain.push(link(of, trapText(trap), trap.tick, trap.rip));
  const message = panicMessage(consoleText);
  if (message !== null) chain.push(link(of, `the kernel said: ${message}`, null, null));
  // A fault that is no deliberate breakpoint explains itself better than a hypercall long before it.
  const deliberate = trap === null || trap.fields.vector === 3n || trap.fields.vector === 6n;
  if (refused === null || !deliberate) {
    if (trap === null) return { chain, instruction: null, operand: null, lastWriter: null };
    const blamed = await explainOperand(inquiry, trap);
    return { ...blamed, chain: [...chain, ...blamed.chain] };
  }
  const blamed = await explainRefused(inquiry, refused);
  return { ...blamed, chain: [...chain, ...blamed.chain] };
}

/** A request that the platform refused, and what happened at its tick. */
interface Refused {
  readonly refusal: Refusal;
  readonly call: RunEvent;
  readonly same: readonly RunEvent[];
}

/** The last exception, and the last request that the platform refused; of a call and its part, the call. */
async function lastEvents(of: Investigator): Promise<{ trap: RunEvent | null; refused: Refused | null }> {
  let trap: RunEvent | null = null;
  let refused: Refused | null = null;
  let same: RunEvent[] = [];
  for await (const events of of.events(of.firstTick, of.lastTick))
    for (const event of events) {
      if (event.tick !== same[0]?.tick) same = [];
      same.push(event);
      if (same.length > SAME_TICK_EVENTS) same.shift();
      if (event.kind === 'trap') trap = event;
      const refusal = of.explanation.refusal(event);
      if (refusal !== null) refused = { refusal, call: event, same };
    }
  return { trap, refused };
}
async function explainRefused(inquiry: Inquiry, { refusal, call, same: all }: Refused): Promise<Finding> {
  const { of, disassembler } = inquiry;
  const same = all.filter((e) => e.vcpu === call.vcpu);
  const log = same.filter((e) => e.kind === 'log').map((e) => e.text ?? '');
  const moment = await of.at(call.tick);
  const instruction = instructionAt(disassembler, moment, moment.register('rip', call.vcpu) ?? call.rip);
  const names = [...new Set(same.filter((e) => e.kind === call.kind).map((e) => e.name))].join(', ');
  const chain = [link(of, `${names} = ${refusal.error}`, call.tick, call.rip)];
  for (const line of log) if (!refusal.isCascade(line)) chain.push(link(of, line, call.tick, null));
  const blame = of.explanation.blame(call, log, moment, (address) => symbolText(of.symbols, address));
  if (blame === null) return { chain, instruction, operand: null, lastWriter: null };
  chain.push(link(of, blame.text, call.tick, null));
  const writer = await lastWriter(inquiry, blame.place, blame.bytes, call.tick, blame.guilty);
  if (writer !== null)
    chain.push(link(of, `${writer.instruction} wrote ${hex(writer.value)} there`, writer.tick, writer.rip));
  return { chain, instruction, operand: blame.text, lastWriter: writer };
}
