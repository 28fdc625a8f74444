/**
 * A domain that Xen crashed: back over the exception that had no handler and the panic before it to the hypercall that Xen
 * refused, and from there to whoever wrote what it refused.
 */
import { hex } from '../../core/units.ts';
import type { Finding, Inquiry, RunEvent } from '../investigate.ts';
import { instructionAt, lastWriter, link } from '../investigate.ts';
import { panicMessage } from '../panic.ts';
import type { Link } from '../report.ts';
import { blameEntry, blameRequest } from './refused.ts';
import { explainOperand, lastTrap, trapText } from './trap.ts';

/** Errors by which kernels find out what Xen can do; they kill nobody: -ENOSYS, -EOPNOTSUPP. */
const PROBES = new Set([-38n, -95n]);
/** Lines by which one refusal is passed up through the levels of page tables: the first and the last say it all. */
const CASCADE = /Failure -?\d+ in promote_l|Error while validating|Could not get page type/;
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
  const events = await of.events(of.firstTick, of.lastTick);
  const trap = lastTrap(events);
  if (trap !== null) chain.push(link(of, trapText(trap), trap.tick, trap.rip));
  const message = panicMessage(consoleText);
  if (message !== null) chain.push(link(of, `the kernel said: ${message}`, null, null));
  const refused = lastRefused(events);
  // A fault that is no deliberate breakpoint explains itself better than a hypercall long before it.
  const deliberate = trap === null || trap.fields.vector === 3n || trap.fields.vector === 6n;
  if (refused === null || !deliberate) {
    if (trap === null) return { chain, instruction: null, operand: null, lastWriter: null };
    const blamed = await explainOperand(inquiry, trap);
    return { ...blamed, chain: [...chain, ...blamed.chain] };
  }
  const blamed = await explainRefused(inquiry, refused, events);
  return { ...blamed, chain: [...chain, ...blamed.chain] };
}

/** The last hypercall that Xen refused, probes aside; of a call and its part, the call. */
function lastRefused(events: readonly RunEvent[]): RunEvent | null {
  return (
    events.findLast((e) => {
      const result = e.fields.result;
      return e.kind === 'hypercall' && result !== undefined && failed(result) && !PROBES.has(result);
    }) ?? null
  );
}
const failed = (result: bigint): boolean => result < 0n && result > -4096n;

async function explainRefused(inquiry: Inquiry, call: RunEvent, events: readonly RunEvent[]): Promise<Finding> {
  const { of, disassembler } = inquiry;
  const result = call.fields.result!;
  const same = events.filter((e) => e.tick === call.tick && e.vcpu === call.vcpu);
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
