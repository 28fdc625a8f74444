/**
 * A domain that Xen crashed: back over the exception that had no handler and the panic before it to the hypercall that Xen
 * refused, and from there to whoever wrote what it refused.
 */
import { hex } from '../../core/units.ts';
import type { Finding, Inquiry, Investigator, RunEvent } from '../investigate.ts';
import { instructionAt, lastWriter, link } from '../investigate.ts';
import { panicMessage } from '../panic.ts';
import type { Link } from '../report.ts';
import { blameEntry, blameRequest } from './refused.ts';
import { explainOperand, trapText } from './trap.ts';

/** Errors by which kernels find out what Xen can do; they kill nobody: -ENOSYS, -EOPNOTSUPP. */
const PROBES = new Set([-38n, -95n]);
/** Lines by which one refusal is passed up through the levels of page tables: the first and the last say it all. */
const CASCADE = /Failure -?\d+ in promote_l|Error while validating|Could not get page type/;
/** Events of one tick that are looked at, the last of them: a multicall may have very many. */
const SAME_TICK_EVENTS = 1024;
const ERRNO: Readonly<Record<string, string>> = {
  '-1': 'EPERM',
  '-2': 'ENOENT',
  '-3': 'ESRCH',
  '-12': 'ENOMEM',
  '-13': 'EACCES',
  '-14': 'EFAULT',
  '-16': 'EBUSY',
  '-17': 'EEXIST',
  '-22': 'EINVAL',
  '-28': 'ENOSPC',
};

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

/** A hypercall that Xen refused, and what happened at its tick. */
interface Refused {
  readonly call: RunEvent;
  readonly same: readonly RunEvent[];
}

/** The last exception, and the last hypercall that Xen refused, probes aside; of a call and its part, the call. */
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
      if (isRefused(event)) refused = { call: event, same };
    }
  return { trap, refused };
}
function isRefused({ kind, fields: { result } }: RunEvent): boolean {
  return kind === 'hypercall' && result !== undefined && result < 0n && result > -4096n && !PROBES.has(result);
}

async function explainRefused(inquiry: Inquiry, { call, same: all }: Refused): Promise<Finding> {
  const { of, disassembler } = inquiry;
  const result = call.fields.result!;
  const same = all.filter((e) => e.vcpu === call.vcpu);
  const log = same.filter((e) => e.kind === 'log').map((e) => e.text ?? '');
  const moment = await of.at(call.tick);
  const instruction = instructionAt(disassembler, moment, moment.register('rip', call.vcpu) ?? call.rip);
  const names = [...new Set(same.filter((e) => e.kind === 'hypercall').map((e) => e.name))].join(', ');
  const chain = [link(of, `${names} = ${result} (${ERRNO[String(result)] ?? 'error'})`, call.tick, call.rip)];
  for (const line of log) if (!CASCADE.test(line)) chain.push(link(of, line, call.tick, null));
  const blame = blameEntry(moment, log, of.symbols) ?? blameRequest(moment, call);
  if (blame === null) return { chain, instruction, operand: null, lastWriter: null };
  chain.push(link(of, blame.text, call.tick, null));
  const writer = await lastWriter(inquiry, blame.place, 8, call.tick, blame.guilty);
  if (writer !== null)
    chain.push(link(of, `${writer.instruction} wrote ${hex(writer.value)} there`, writer.tick, writer.rip));
  return { chain, instruction, operand: blame.text, lastWriter: writer };
}
