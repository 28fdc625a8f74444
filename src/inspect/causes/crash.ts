/**
 * A domain that Xen crashed: back over the exception that had no handler and the panic before it to the hypercall that Xen
 * refused, and from there to whoever wrote what it refused.
 */
import { hex } from '../../core/units.ts';
import type { Refusal } from '../../machine/explanation.ts';
import type { Finding, Inquiry, Investigator, RunEvent } from '../investigate.ts';
import { instructionAt, lastWriter, link, NOTHING } from '../investigate.ts';
import { panicMessage } from '../panic.ts';
import type { Link } from '../report.ts';
import { symbolText } from '../symbol-text.ts';
import { openTraps } from './open-traps.ts';
import { rootOf } from './root.ts';
import { explainOperand, trapText } from './trap.ts';

/** Events of one tick that are looked at, the last of them: a multicall may have very many. */
const SAME_TICK_EVENTS = 1024;
/** Exceptions before the end that are looked at. */
const LAST_TRAPS = 4096;
/** Explains the verdict `crash`. */
export async function explainCrash(inquiry: Inquiry): Promise<Finding> {
  const { of, consoleText } = inquiry;
  const chain: Link[] = [];
  const { traps, refused } = await lastEvents(of);
  const message = panicMessage(consoleText);
  const said = message === null ? [] : [link(of, `the kernel said: ${message}`, null, null)];
  const open = await openTraps(of, traps);
  const trap = open.at(-1) ?? null;
  // A fault that is no deliberate breakpoint explains itself better than a hypercall long before it.
  const deliberate = trap === null || trap.fields.vector === 3n || trap.fields.vector === 6n;
  if (trap !== null && (refused === null || !deliberate)) return explainNested(inquiry, open, said);
  if (trap !== null) chain.push(link(of, trapText(trap), trap.tick, trap.rip));
  chain.push(...said);
  if (refused === null) return { ...NOTHING, chain };
  const blamed = await explainRefused(inquiry, refused);
  return { ...blamed, chain: [...chain, ...blamed.chain] };
}
/** Exceptions inside the handlers of others, the last innermost: where one place faults again and again inside itself, its first. */
async function explainNested(inquiry: Inquiry, open: readonly RunEvent[], said: readonly Link[]): Promise<Finding> {
  const { of } = inquiry;
  const trap = open.at(-1)!;
  const again = repeated(open);
  const chain = [link(of, trapText(trap), trap.tick, trap.rip), ...said];
  const fatal = again[0] ?? trap;
  if (again.length > 0) {
    const what = `the handler faults itself, ${again.length} deliveries nested: ${trapText(fatal)}`;
    chain.push(link(of, what, fatal.tick, fatal.rip));
  }
  const blamed = await explainOperand(inquiry, fatal);
  const around = again.length === 0 ? undefined : open[open.indexOf(fatal) - 1];
  const first = around === undefined ? [] : [link(of, `the first fault: ${trapText(around)}`, around.tick, around.rip)];
  return { ...blamed, chain: [...chain, ...blamed.chain, ...first] };
}
/** Those of the open exceptions that are of one place, which has more than one of them; none where no place has. */
function repeated(open: readonly RunEvent[]): readonly RunEvent[] {
  const byPlace = [...Map.groupBy(open, (x) => x.rip).values()];
  return byPlace.find((x) => x.length > 1) ?? [];
}

/** A request that the platform refused, and what happened at its tick. */
interface Refused {
  readonly refusal: Refusal;
  readonly call: RunEvent;
  readonly same: readonly RunEvent[];
}

/** The last exceptions, and the last request that the platform refused; of a call and its part, the call. */
async function lastEvents(of: Investigator): Promise<{ traps: RunEvent[]; refused: Refused | null }> {
  const traps: RunEvent[] = [];
  let refused: Refused | null = null;
  let same: RunEvent[] = [];
  for await (const events of of.events(of.firstTick, of.lastTick))
    for (const event of events) {
      if (event.tick !== same[0]?.tick) same = [];
      same.push(event);
      if (same.length > SAME_TICK_EVENTS) same.shift();
      if (event.kind === 'trap') {
        traps.push(event);
        if (traps.length > LAST_TRAPS) traps.shift();
      }
      const refusal = of.explanation.refusal(event);
      if (refusal !== null) refused = { refusal, call: event, same };
    }
  return { traps, refused };
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
  if (blame === null) return { ...NOTHING, chain, instruction };
  chain.push(link(of, blame.text, call.tick, null));
  const writer = await lastWriter(inquiry, blame.place, blame.bytes, call.tick, blame.guilty);
  const asked = {
    ...blame.place,
    space: blame.place.space === 'va' ? ('va' as const) : ('ma' as const),
    bytes: blame.bytes,
  };
  const read = writer === null ? call.tick : writer.tick + 1;
  const { root, undo } = await rootOf(inquiry, { role: 'request', text: blame.text, place: asked, tick: read });
  const decides = {
    role: 'request',
    text: blame.text,
    tick: call.tick,
    rip: call.rip,
    symbol: symbolText(of.symbols, call.rip),
  };
  if (writer !== null)
    chain.push(link(of, `${writer.instruction} wrote ${hex(writer.value)} there`, writer.tick, writer.rip));
  return { chain, instruction, operand: blame.text, lastWriter: writer, decides, root, undo };
}
