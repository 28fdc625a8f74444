/** From the operand that decided to its root: the store that put the value there, and where the value began. */
import { hex } from '../../core/units.ts';
import { backtrace } from '../backtrace.ts';
import { callerOf } from '../caller.ts';
import { MAX_INSTRUCTION_BYTES } from '../disassembly.ts';
import type { Inquiry, Undo } from '../investigate.ts';
import type { Origin, OriginStep } from '../origin/origin.ts';
import { rootText } from '../origin/report.ts';
import type { Link, RootReport, SourceReport, StepReport } from '../report.ts';
import { isOnStack } from '../stack.ts';
import { symbolText } from '../symbol-text.ts';
import type { Decision } from './decision.ts';

/** Values that an explanation looks at. */
const VALUES = 48;

export interface Rooted {
  readonly root: RootReport | null;
  /** From the operand back to the root. */
  readonly chain: readonly Link[];
  readonly undo: Undo | null;
}

/** Follows what decided to its root. */
export async function rootOf(inquiry: Inquiry, decision: Decision): Promise<Rooted> {
  const { of } = inquiry;
  const { place, tick } = decision;
  const origin = place === null ? null : await of.origin(place, tick, VALUES);
  if (place === null || origin === null) return { root: null, chain: [], undo: null };
  const path = mainPath(origin);
  const stored = await storeOf(inquiry, path, place.space !== 'register' && decision.laidBy !== true);
  const store = stored === null ? null : await stepReport(inquiry, stored.step!, stored.value);
  const source = await sourceOf(inquiry, path, origin);
  const chain: Link[] = [];
  for (const { step, place: name, bytes, value, unchanged } of path) {
    if (step === null || (unchanged && bytes.space === 'memory')) continue;
    const { caller } = await stepReport(inquiry, step, value);
    chain.push({
      what: `${step.instruction} made ${name} ${hex(value)}`,
      tick: step.tick,
      rip: step.rip,
      symbol: caller ?? step.symbol,
    });
  }
  const last = path.at(-1)!;
  if (last.root !== null) chain.push({ what: `${last.place}: ${source.text}`, tick: null, rip: null, symbol: null });
  const address = stored === null ? addressOf(last) : addressOf(stored);
  return { root: { store, source, address }, chain, undo: stored === null ? null : undoOf(stored) };
}

const addressOf = ({ address, bytes }: Origin): RootReport['address'] => {
  if (address !== null) return { space: 'va', value: address };
  return bytes.space === 'memory' ? { space: 'ma', value: BigInt(bytes.address) } : null;
};

/**
 * From the value asked about to one root: where a step made it of several, by the one that says most ({@link weight}), and of
 * equal ones by the first; what a step left as it was comes last.
 */
function mainPath(origin: Origin): Origin[] {
  const path = [origin];
  for (let at = origin; at.inputs.length > 0; ) {
    const from = at;
    const made = at.inputs.filter((input) => !isPartOf(input, from));
    const [first = at.inputs[0]!] = made;
    at = made.reduce((best, input) => (isHeavier(input, best) ? input : best), first);
    path.push(at);
  }
  return path;
}
/** Whether bytes of `input` are bytes of the same place. */
const isPartOf = ({ bytes: a }: Origin, { bytes: b }: Origin): boolean =>
  a.space === 'memory' && b.space === 'memory' && a.address >= b.address && a.address + a.bytes <= b.address + b.bytes;
/** Of two stored values the later one says more: it worked before. */
function isHeavier(one: Origin, other: Origin): boolean {
  const [a, b] = [weight(one), weight(other)];
  return a > b || (a === b && a === 1 && storedAt(one) > storedAt(other));
}
/** When the last store on the way was made that changed anything. */
const storedAt = ({ bytes, step, unchanged, inputs }: Origin): number =>
  bytes.space === 'memory' && step !== null && !unchanged ? step.tick : Math.max(0, ...inputs.map(storedAt));
/**
 * How much a value says about a failure: what somebody gave the guest most, then what the processor or the platform made, then what the
 * guest has stored, the constants of its code least.
 */
function weight({ root, inputs, bytes, step, unchanged }: Origin): number {
  if (root?.kind === 'input' || (root?.kind === 'built' && root.provenance.given === true)) return 3;
  if (root?.kind === 'made' || (root?.kind === 'built' && !OWN.has(root.provenance.what))) return 2;
  const stored = bytes.space === 'memory' && step !== null && !unchanged ? 1 : 0;
  return Math.max(stored, ...inputs.map(weight));
}
/** What a kernel brings along, and the state that it starts in. */
const OWN: ReadonlySet<string> = new Set(['image', 'initial registers']);

/** The store, with those of the same instruction that wrote other bytes of the value: a loop's, a REP's. */
function undoOf({ bytes, step, inputs }: Origin): Undo | null {
  if (bytes.space !== 'memory' || step === null) return null;
  const inside = (one: Origin): boolean =>
    one.bytes.space === 'memory' &&
    one.bytes.address >= bytes.address &&
    one.bytes.address + one.bytes.bytes <= bytes.address + bytes.bytes;
  let from = step.tick;
  const visit = (one: Origin): void => {
    if (!inside(one) || one.step === null || one.step.rip !== step.rip) return;
    from = Math.min(from, one.step.tick);
    for (const input of one.inputs) visit(input);
  };
  for (const input of inputs) visit(input);
  return { tick: step.tick + 1, from, address: bytes.address, bytes: bytes.bytes };
}

/**
 * The store that put the value into memory: the last one, but what was only laid by on the stack was put somewhere before, if anywhere.
 * `memory`: memory itself decided, of whatever kind.
 */
async function storeOf(
  { of, disassembler }: Inquiry,
  path: readonly Origin[],
  memory: boolean,
): Promise<Origin | null> {
  const all = path.filter(({ bytes, step }) => bytes.space === 'memory' && step !== null);
  const changes = all.filter(({ unchanged }) => !unchanged);
  const stores = changes.length === 0 ? all : changes;
  for (const store of memory ? [] : stores) {
    const { tick, rip, vcpu } = store.step!;
    const moment = await of.at(tick);
    const found = disassembler.decode(moment.bytes(rip, MAX_INSTRUCTION_BYTES), rip, moment.codeBits);
    if (found === null || !isOnStack(found, moment, vcpu)) return store;
  }
  return stores[0] ?? null;
}

async function stepReport({ of }: Inquiry, step: OriginStep, value: bigint): Promise<StepReport> {
  let caller: string | null = null;
  if (step.symbol === null || STUB.test(step.symbol))
    caller = callerOf(backtrace(await of.at(step.tick), of.symbols, step.vcpu).slice(1));
  return { ...step, caller, value };
}
/** Stubs through which kernels call the hypervisor, whose callers are meant. */
const STUB = /^(xen_)?hypercall(_page)?\b/;

async function sourceOf(inquiry: Inquiry, path: readonly Origin[], origin: Origin): Promise<SourceReport> {
  const { of } = inquiry;
  const last = path.at(-1)!;
  const maker = last.step === null ? null : await stepReport(inquiry, last.step, last.value);
  const root = last.root ?? { kind: 'limit' as const };
  const step = {
    tick: last.step?.tick ?? null,
    rip: last.step?.rip ?? null,
    symbol: maker?.caller ?? last.step?.symbol ?? null,
  };
  const base = { kind: root.kind, ...step, value: last.value, what: null, offset: null, bytes: null };
  if (root.kind === 'constant') {
    // of a value put together byte by byte one byte says nothing
    const whole = last.bytes.bytes === origin.bytes.bytes ? `${hex(last.value)} ` : '';
    const place = step.symbol === null ? '' : ` in ${step.symbol}`;
    return { ...base, text: `the constant ${whole}of ${last.step!.instruction}${place}` };
  }
  if (root.kind === 'built') {
    const { what } = root.provenance;
    const range = offsetsOf(origin, what);
    const first = range?.first ?? root.provenance.offset;
    const count = range?.bytes ?? last.bytes.bytes;
    const text = count === 1 ? `byte ${first} of the ${what}` : `bytes ${first} to ${first + count - 1} of the ${what}`;
    const name = last.address === null ? null : symbolText(of.symbols, last.address);
    const called = name === null ? '' : ` (${name})`;
    return {
      ...base,
      text: what === 'initial registers' ? rootText(root) : `${text}${called}`,
      ...{ what, offset: first, bytes: count },
    };
  }
  if (root.kind === 'limit') return { ...base, text: `${last.place}, which hindsight origin follows further` };
  return { ...base, text: rootText(root) };
}
/** The bytes of one source that all of a value comes from; null where they do not follow each other. */
function offsetsOf(origin: Origin, what: string): { first: number; bytes: number } | null {
  const offsets = new Set<number>();
  const collect = ({ root, bytes, inputs }: Origin): void => {
    if (root?.kind === 'built' && root.provenance.what === what)
      for (let i = 0; i < bytes.bytes; i++) offsets.add(root.provenance.offset + i);
    for (const input of inputs) collect(input);
  };
  collect(origin);
  const sorted = [...offsets].toSorted((a, b) => a - b);
  const [first, last] = [sorted[0], sorted.at(-1)];
  if (first === undefined || last! - first + 1 !== sorted.length) return null;
  return { first, bytes: sorted.length };
}
