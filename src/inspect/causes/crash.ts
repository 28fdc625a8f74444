/**
 * A domain that Xen crashed: back over the exception that had no handler and the panic before it to the hypercall that Xen
 * refused, and from there to whoever wrote what it refused.
 */
import { hex } from '../../core/units.ts';
import type { Blame, Refusal } from '../../machine/explanation.ts';
import type { Finding, Inquiry, Investigator, RunEvent } from '../investigate.ts';
import { instructionAt, lastWriter, link, NOTHING } from '../investigate.ts';
import { panicMessage } from '../panic.ts';
import type { Link, WriterReport } from '../report.ts';
import { symbolText } from '../symbol-text.ts';
import { byCondition } from './condition.ts';
import type { Asked } from './decision.ts';
import { openTraps } from './open-traps.ts';
import { rootOf } from './root.ts';
import { explainOperand, trapText } from './trap.ts';

/** Events of one tick that are looked at, the last of them: a multicall may have very many. */
const SAME_TICK_EVENTS = 1024;
/** Exceptions before the end that are looked at. */
const LAST_TRAPS = 4096;
/** Calls answered with no that are remembered. */
const LAST_DENIED = 256;
/** Calls that name handlers that are looked at, the last of all. */
const LAST_TABLES = 64;
/** Branches behind each other that may lead from the answer of a call to a kernel's own end. */
const LADDER = 3;
/** #BP and #UD. */
const BREAKPOINT = 3n;
const INVALID = 6n;
/** Explains the verdict `crash`. */
export async function explainCrash(inquiry: Inquiry): Promise<Finding> {
  const { of, consoleText } = inquiry;
  const chain: Link[] = [];
  const { traps, run, refused, denied, stack } = await lastEvents(of);
  const message = panicMessage(consoleText);
  const said = message === null ? [] : [link(of, `the kernel said: ${message}`, null, null)];
  if (stack !== null) return explainBlamed(inquiry, stack.call, stack.blame);
  const open = await openTraps(of, traps);
  // A fault that is none of the kernel's own making explains itself better than a hypercall long before it.
  const faults = await beforeBug(inquiry, open);
  if (faults.length > 0) return explainNested(inquiry, faults, said, run);
  const trap = open.at(-1) ?? null;
  if (trap !== null) chain.push(link(of, trapText(trap), trap.tick, trap.rip));
  chain.push(...said);
  const blamed = await explainGivenUp(inquiry, trap, denied, refused);
  return behind(chain, blamed);
}
/** The same with links before it, and what else may have decided as well. */
function behind(chain: readonly Link[], finding: Finding): Finding {
  const { other } = finding;
  const whole = { ...finding, chain: [...chain, ...finding.chain] };
  return other === undefined ? whole : { ...whole, other: async () => behind(chain, await other()) };
}
/** The open exceptions up to the last that no instruction is meant to raise. */
async function beforeBug({ of, disassembler }: Inquiry, open: readonly RunEvent[]): Promise<readonly RunEvent[]> {
  for (let i = open.length - 1; i >= 0; i--) {
    const { tick, rip, fields } = open[i]!;
    if (fields.vector === BREAKPOINT) continue;
    const meant = fields.vector === INVALID && /^ud[012]/.test(instructionAt(disassembler, await of.at(tick), rip));
    if (!meant) return open.slice(0, i + 1);
  }
  return [];
}
/**
 * The kernel gave up by itself: by the branch that led there. Where that asked for the answer of a call, or for what was stored because of
 * it, by the call; where it asked for nothing that was stored, by the last request that was refused, if any was.
 */
async function explainGivenUp(
  inquiry: Inquiry,
  trap: RunEvent | null,
  denied: readonly Refused[],
  refused: Refused | null,
): Promise<Finding> {
  const { of } = inquiry;
  const end = trap ?? { tick: of.lastTick - 1, vcpu: of.verdict.vcpu };
  const { finding, made } = await byCondition(inquiry, end.tick, end.vcpu);
  let answer = made;
  // the word that was asked for may have been stored because of the answer
  for (let store = finding.root?.store ?? null, i = 0; store !== null && answer === null && i < LADDER; i++) {
    const before = await byCondition(inquiry, store.tick, end.vcpu);
    ({ made: answer } = before);
    store = before.finding.root?.store ?? null;
  }
  const asked = denied.find(({ call }) => call.tick === answer) ?? null;
  const blamed = asked === null ? null : await explainRefused(inquiry, asked);
  if (blamed !== null && blamed.decides !== null) return blamed;
  return finding.root?.store != null || refused === null ? finding : explainRefused(inquiry, refused);
}
/** Exceptions inside the handlers of others, the last innermost: where one place faults again and again inside itself, its first. */
async function explainNested(
  inquiry: Inquiry,
  open: readonly RunEvent[],
  said: readonly Link[],
  run: TrapRun | null,
): Promise<Finding> {
  const { of } = inquiry;
  const trap = open.at(-1)!;
  const again = repeated(open);
  const chain = [link(of, trapText(trap), trap.tick, trap.rip), ...said];
  // of very many only the last are known one by one
  const longer = run !== null && again.length > 0 && run.first.rip === trap.rip && run.count > LAST_TRAPS;
  const fatal = longer ? run.first : (again[0] ?? trap);
  if (again.length > 0) {
    const count = longer ? run.count : again.length;
    const what = `the handler faults itself, ${count} deliveries nested: ${trapText(fatal)}`;
    chain.push(link(of, what, fatal.tick, fatal.rip));
  }
  const around = longer ? (run.before ?? undefined) : open[open.indexOf(fatal) - 1];
  const operand = await explainOperand(inquiry, fatal);
  const gate =
    operand.decides === null && around?.tick === fatal.tick - 1 ? await explainGate(inquiry, around, fatal) : null;
  const blamed = gate ?? operand;
  const first =
    around === undefined || again.length === 0
      ? []
      : [link(of, `the first fault: ${trapText(around)}`, around.tick, around.rip)];
  return { ...blamed, chain: [...chain, ...blamed.chain, ...first] };
}
/** The delivery of `around` led to where nothing can be fetched: by the call that named its handler. Null where none did. */
async function explainGate(inquiry: Inquiry, around: RunEvent, fatal: RunEvent): Promise<Finding | null> {
  const { of } = inquiry;
  const calls: RunEvent[] = [];
  for await (const events of of.events(of.firstTick, around.tick))
    for (const event of events)
      if (event.vcpu === fatal.vcpu && of.explanation.handlers(event) !== null) {
        calls.push(event);
        if (calls.length > LAST_TABLES) calls.shift();
      }
  for (const call of calls.toReversed()) {
    const named = of.explanation.handlers(call)!(around.fields.vector ?? 0n, await of.at(call.tick));
    if (named !== null) return { ...(await explainBlamed(inquiry, call, named, 'gate')), fatal };
  }
  return null;
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

/** Exceptions of one place, one behind the other without any other between, the last of the run. */
interface TrapRun {
  readonly first: RunEvent;
  readonly before: RunEvent | null;
  readonly count: number;
}
interface LastEvents {
  readonly traps: RunEvent[];
  readonly run: TrapRun | null;
  readonly refused: Refused | null;
  /** The last calls that were answered with no, be it only asked in order to find out. */
  readonly denied: readonly Refused[];
  /** The last call that said where the stack is which the end found missing. */
  readonly stack: { readonly call: RunEvent; readonly blame: Blame } | null;
}
/** The last exceptions, and the last request that the platform refused; of a call and its part, the call. */
async function lastEvents(of: Investigator): Promise<LastEvents> {
  const traps: RunEvent[] = [];
  let run: TrapRun | null = null;
  let refused: Refused | null = null;
  const denied: Refused[] = [];
  const last = new Map<string, RunEvent>();
  let same: RunEvent[] = [];
  for await (const events of of.events(of.firstTick, of.lastTick))
    for (const event of events) {
      if (event.tick !== same[0]?.tick) same = [];
      same.push(event);
      if (same.length > SAME_TICK_EVENTS) same.shift();
      if (event.kind === 'trap') {
        const more: boolean = run !== null && run.first.rip === event.rip;
        run = more ? { ...run!, count: run!.count + 1 } : { first: event, before: traps.at(-1) ?? null, count: 1 };
        traps.push(event);
        if (traps.length > LAST_TRAPS) traps.shift();
      }
      const denial = of.explanation.denial(event);
      if (denial !== null) denied.push({ refusal: denial, call: event, same });
      if (denied.length > LAST_DENIED) denied.shift();
      const refusal = of.explanation.refusal(event);
      if (refusal !== null) refused = { refusal, call: event, same };
      last.set(`${event.kind} ${event.name} ${event.vcpu}`, event);
    }
  await of.at(Math.max(of.firstTick, of.lastTick - 1));
  let stack: LastEvents['stack'] = null;
  for (const call of last.values()) {
    const blame = call.vcpu === of.verdict.vcpu ? of.explanation.stackOf(call, of.verdict.message) : null;
    if (blame !== null) stack = { call, blame };
  }
  return { traps, run, refused, denied, stack };
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
  const found = async (decisive: Blame): Promise<Finding> => {
    const blamed = await explainBlamed(inquiry, call, decisive);
    return { ...blamed, chain: [...chain, ...blamed.chain], instruction };
  };
  return withOthers(blame, found);
}
/** What is found of one thing to blame, and what else may be. */
async function withOthers(blame: Blame, found: (blame: Blame) => Promise<Finding>): Promise<Finding> {
  const { or } = blame;
  const finding = await found(blame);
  return or === undefined ? finding : { ...finding, other: () => withOthers(or, found) };
}
/** From what a call was given to its root. */
async function explainBlamed(
  inquiry: Inquiry,
  call: RunEvent,
  { place, bytes, text, guilty }: Blame,
  role = 'request',
): Promise<Finding> {
  const { of } = inquiry;
  const { tick, rip, vcpu } = call;
  const chain = [link(of, text, tick, null)];
  const decides = { role, text, tick, rip, symbol: symbolText(of.symbols, rip) };
  let writer: WriterReport | null = null;
  let asked: Asked;
  if (place.space === 'register') asked = { ...place, vcpu };
  else {
    writer = await lastWriter(inquiry, place, bytes, tick, guilty);
    asked = { ...place, space: place.space === 'va' ? 'va' : 'ma', bytes };
  }
  const read = writer === null ? tick : writer.tick + 1;
  const { root, undo } = await rootOf(inquiry, { role, text, place: asked, tick: read, laidBy: role === 'request' });
  writer ??= root?.store ?? null;
  if (writer !== null)
    chain.push(link(of, `${writer.instruction} wrote ${hex(writer.value)} there`, writer.tick, writer.rip));
  return { ...NOTHING, chain, operand: text, lastWriter: writer, decides, root, undo };
}
