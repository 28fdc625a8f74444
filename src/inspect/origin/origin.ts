/**
 * Where a value came from: from the step that wrote it last to what that step made it of, and so on to the roots.
 *
 * Values are followed: through loads, stores, moves, arithmetic (where it branches), pushes and calls, string instructions, frames of
 * exceptions and copies by the platform. The address that a value was loaded from and the branch that chose it are questions of their own.
 * Instructions say by their programs what carries over (src/x86/flow.ts); a step that is no program is asked by trying.
 */
import type { PhysAddr, Tick, VirtAddr } from '../../core/units.ts';
import type { Provenance } from '../../machine/explanation.ts';
import { flowAt } from '../../machine/look.ts';
import type { Session } from '../../timeline/session.ts';
import type { Effect, Flow, Span } from '../../x86/flow.ts';
import { STATE } from '../../x86/state.ts';
import type { Disassembler } from '../disassembly.ts';
import { MAX_INSTRUCTION_BYTES } from '../disassembly.ts';
import type { GuestSymbols } from '../modules.ts';
import type { SearchHooks } from '../search.ts';
import type { SessionMoment } from '../session-moment.ts';
import { symbolText } from '../symbol-text.ts';
import { type Bytes, Past, part } from './past.ts';
import { placeName } from './place.ts';

/** Where a value begins. */
export type Root =
  /** An instruction makes it of nothing: an immediate, a cleared register, a return address. */
  | { readonly kind: 'constant' }
  /** The toolstack or the image put it there before the first step. */
  | { readonly kind: 'built'; readonly provenance: Provenance }
  /** Nobody has written it. */
  | { readonly kind: 'never written'; readonly provenance: Provenance | null }
  /** From outside: bytes for a device. */
  | { readonly kind: 'input'; readonly device: string }
  /** What the processor or the platform made: an answer, a time, the address that an exception interrupted. */
  | { readonly kind: 'made'; readonly by: string }
  /** The search was given up. */
  | { readonly kind: 'limit' };

/** The step that wrote a value. */
export interface OriginStep {
  readonly tick: Tick;
  readonly vcpu: number;
  readonly rip: VirtAddr;
  readonly symbol: string | null;
  readonly instruction: string;
}

/** A value at a place, and where it came from. */
export interface Origin {
  /** The place in words: `rax`, `u64[devices+0x10]`. */
  readonly place: string;
  readonly bytes: Bytes;
  /** Linear address of memory as the step that read it names it; null of registers and where none is known. */
  readonly address: VirtAddr | null;
  readonly value: bigint;
  /** The state that has the value there. */
  readonly tick: Tick;
  readonly step: OriginStep | null;
  /** The step wrote what was there already. */
  readonly unchanged: boolean;
  readonly root: Root | null;
  /** None where they are told above: of the same value, as the same step wrote it. */
  readonly inputs: readonly Origin[];
  readonly above: boolean;
}

/** What is asked of the step that wrote a value: what it made it of, by which address it came by it, which branch led there. */
export type OriginQuestion = 'value' | 'address' | 'control';

export interface OriginOptions {
  /** Linear address of the place, for people; null of registers. */
  readonly address?: VirtAddr | null;
  /** Values looked at in all. */
  readonly values?: number;
  readonly question?: OriginQuestion;
}
const VALUES = 64;
/** Steps back that are searched for the branch that led to one. */
const BRANCH_STEPS = 4096;

/** The flags as the engine keeps them (src/x86/state.ts). */
const FLAGS = { offset: STATE.flagsResult.offset, bytes: 12 };

const little = (bytes: Uint8Array): bigint => bytes.reduceRight((value, x) => (value << 8n) | BigInt(x), 0n);

/** A value at a place. */
type Value = Pick<Origin, 'place' | 'bytes' | 'address' | 'value' | 'tick'>;

/** The same, written by a step. */
type Written = Value & Pick<Origin, 'step' | 'unchanged'>;
const NO_STEP = { step: null, unchanged: false, inputs: [], above: false } as const;

/** How much may still be looked at, and what has been found of places as steps wrote them. */
interface Left {
  values: number;
  readonly known: Map<string, Origin>;
}

/** What an instruction read, as places of the session. */
interface Input {
  readonly bytes: Bytes;
  readonly address: VirtAddr | null;
}

export class OriginSearch {
  readonly #session: Session;
  readonly #moment: SessionMoment;
  readonly #symbols: GuestSymbols;
  readonly #disassembler: Disassembler;
  readonly past: Past;
  readonly #hooks: SearchHooks;

  constructor(
    session: Session,
    { moment, symbols, disassembler }: { moment: SessionMoment; symbols: GuestSymbols; disassembler: Disassembler },
    hooks: SearchHooks,
  ) {
    this.#session = session;
    this.#moment = moment;
    this.#symbols = symbols;
    this.#disassembler = disassembler;
    this.#hooks = hooks;
    this.past = new Past(session, hooks);
  }

  /** Where the value of `place` in the state at `tick` came from. */
  async of(place: Bytes, tick: Tick, options: OriginOptions = {}): Promise<Origin> {
    const { address = null, values = VALUES, question = 'value' } = options;
    const left = { values, known: new Map<string, Origin>() };
    const asked = { bytes: place, address };
    return question === 'value' ? this.#follow(asked, tick, left) : this.#aside(asked, tick, question, left);
  }

  /** The questions beside the value's: of the step that wrote it. */
  async #aside(asked: Input, tick: Tick, question: 'address' | 'control', left: Left): Promise<Origin> {
    const about = await this.#about(asked, tick);
    const at = await this.past.lastWrite(asked.bytes, tick);
    if (at === null) return { ...about, ...NO_STEP, root: this.#builtRoot(asked.bytes) };
    await this.#session.goto(at, this.#hooks.breathe);
    const step = this.#step(at);
    if (question === 'address') {
      const flow = flowAt(this.#session.run.machine, this.#session.run.machine.cpu);
      const inputs = flow === null ? [] : merge(this.#addressInputs(flow, asked.bytes));
      return this.#made({ ...about, step, unchanged: false }, await this.#inputs(inputs, at, left));
    }
    const branch = await this.branchBefore(at, step.vcpu);
    if (branch === null) return this.#made({ ...about, step, unchanged: false }, []);
    await this.#session.goto(branch, this.#hooks.breathe);
    const chosen = this.#step(branch);
    const flags = { bytes: { space: 'state' as const, vcpu: step.vcpu, ...FLAGS }, address: null };
    return this.#made({ ...about, step: chosen, unchanged: false }, [await this.#follow(flags, branch, left)]);
  }
  #made(about: Written, inputs: readonly Origin[]): Origin {
    return { ...about, root: inputs.length === 0 ? { kind: 'constant' } : null, inputs, above: false };
  }
  #addressInputs(flow: Flow, place: Bytes): Input[] {
    const stored = flow.effects.find((e) => e.space === 'memory' && this.#overlap(e, place, new Set()) !== 0);
    return flow.addressInputs(stored ?? null).flatMap((span) => this.#places(span));
  }
  /**
   * The last conditional branch before a step in the same frame, or in one that calls it: the stack pointer was no higher since. Null where
   * none is near.
   */
  async branchBefore(at: Tick, vcpu: number): Promise<Tick | null> {
    const session = this.#session;
    const { cpus } = session.run.machine.engine;
    const open: Array<{ tick: Tick; rsp: VirtAddr }> = [];
    await session.goto(Math.max(0, at - BRANCH_STEPS), this.#hooks.breathe);
    while (session.tick < at) {
      const { rip } = this.#moment;
      const found = this.#disassembler.decode(
        this.#moment.bytes(rip, MAX_INSTRUCTION_BYTES),
        rip,
        this.#moment.codeBits,
      );
      const { rsp } = cpus[vcpu]!;
      while (open.length > 0 && open.at(-1)!.rsp < rsp) open.pop();
      if (this.#moment.vcpu === vcpu && found?.flow === 'branch') open.push({ tick: session.tick, rsp });
      session.forward(session.tick + 1);
    }
    const { rsp } = cpus[vcpu]!;
    return open.findLast((branch) => branch.rsp >= rsp)?.tick ?? null;
  }

  async #follow({ bytes, address }: Input, tick: Tick, left: Left): Promise<Origin> {
    left.values--;
    const about = await this.#about({ bytes, address }, tick);
    const rooted = (root: Root): Origin => ({ ...about, ...NO_STEP, root });
    if (left.values < 0) return rooted({ kind: 'limit' });
    const at = await this.past.lastWrite(bytes, tick);
    if (at === null) return rooted(this.#builtRoot(bytes));
    const key = `${bytes.space} ${startOf(bytes)} ${bytes.bytes} ${at}`;
    const known = left.known.get(key);
    if (known !== undefined) return { ...known, ...about, inputs: [], above: known.inputs.length > 0 };
    const found = await this.#through(about, at, left);
    left.known.set(key, found);
    return found;
  }

  async #about({ bytes, address }: Input, tick: Tick): Promise<Value> {
    await this.#session.goto(tick, this.#hooks.breathe);
    const value = little(this.past.read(bytes));
    return { place: placeName(bytes, address, this.#symbols), bytes, address, value, tick };
  }

  /** The step at `at` has written the value, or a part of it. */
  async #through(about: Value, at: Tick, left: Left): Promise<Origin> {
    const kind = await this.past.stepAt(at);
    const step = this.#step(at);
    const { bytes } = about;
    const unchanged = little(this.past.read(bytes)) === about.value;
    const flow = kind.kind === 'instruction' ? flowAt(this.#session.run.machine, this.#session.run.machine.cpu) : null;
    const made = flow === null ? null : this.#fromFlow(flow, about);
    if (made === null) {
      const name = kind.kind === 'system' ? kind.insn.form.name : kind.kind;
      return this.#fromEvent({ ...about, step, unchanged }, at, name, left);
    }
    return this.#made({ ...about, step, unchanged }, await this.#inputs(made, at, left));
  }
  async #inputs(inputs: readonly Input[], at: Tick, left: Left): Promise<Origin[]> {
    const out: Origin[] = [];
    for (const input of inputs) out.push(await this.#follow(input, at, left));
    return out;
  }

  #step(tick: Tick): OriginStep {
    const { cpu } = this.#session.run.machine;
    const { rip } = cpu;
    const code = this.#moment.bytes(rip, MAX_INSTRUCTION_BYTES);
    return {
      ...{ tick, vcpu: cpu.id, rip, symbol: symbolText(this.#symbols, rip) },
      instruction: this.#disassembler.text(code, rip, this.#moment.codeBits),
    };
  }

  /**
   * What the instruction makes the bytes of, and those of them that it leaves as they were; null where it writes none of them (what
   * happened between two steps did).
   */
  #fromFlow(flow: Flow, { bytes: place, address }: Input): Input[] | null {
    const inputs: Input[] = [];
    const written = new Set<number>();
    for (const effect of flow.effects.toReversed()) {
      const mask = this.#overlap(effect, place, written);
      if (mask === 0) continue;
      const carried = flow.inputs(effect, mask);
      // bytes that a shift or an extension fills with nothing are made with the others
      const spans = carried.length > 0 ? carried : flow.inputs(effect, 2 ** effect.bytes - 1);
      for (const span of spans) for (const x of this.#places(span)) inputs.push(x);
    }
    if (written.size === 0) return null;
    const earlier: Input[] = [];
    for (let i = 0; i < place.bytes; i++) {
      if (written.has(i)) continue;
      const start = i;
      while (i + 1 < place.bytes && !written.has(i + 1)) i++;
      earlier.push({
        bytes: part(place, start, i + 1 - start),
        address: address === null ? null : address + BigInt(start),
      });
    }
    return [...merge(inputs), ...earlier];
  }
  /** Which bytes of an effect are bytes of `place` that no later effect has written; they are added to `written`. */
  #overlap(effect: Effect, place: Bytes, written: Set<number>): number {
    let mask = 0;
    for (let i = 0; i < effect.bytes; i++) {
      const index = this.#indexIn(effect, i, place);
      if (index === null || written.has(index)) continue;
      written.add(index);
      mask |= 1 << i;
    }
    return mask;
  }
  #indexIn(effect: Effect, i: number, place: Bytes): number | null {
    const { cpu } = this.#session.run.machine;
    const at = effect.at + BigInt(i);
    let index: number;
    if (effect.space === 'state') {
      if (place.space !== 'state' || place.vcpu !== cpu.id) return null;
      index = Number(at) - place.offset;
    } else {
      if (place.space !== 'memory') return null;
      const machine = this.#moment.translate(at);
      if (machine === null) return null;
      index = Number(machine) - place.address;
    }
    return index >= 0 && index < place.bytes ? index : null;
  }
  /** A span that an instruction reads as places; memory by page. */
  #places({ space, at, bytes }: Span): Input[] {
    const { cpu } = this.#session.run.machine;
    if (space === 'state') return [{ bytes: { space, vcpu: cpu.id, offset: Number(at), bytes }, address: null }];
    const out: Input[] = [];
    for (let i = 0; i < bytes; ) {
      const address = at + BigInt(i);
      const inside = Math.min(bytes - i, 4096 - Number(address & 4095n));
      const machine = this.#moment.translate(address);
      if (machine !== null)
        out.push({ bytes: { space, address: Number(machine) as PhysAddr, bytes: inside }, address });
      i += inside;
    }
    return out;
  }

  // ---- steps that are no programs -----------------------------------------------------------------------------------

  /** Of each byte what the step moved there, that the step made it, or what it was before where the step has not written it. */
  async #fromEvent(about: Written, at: Tick, name: string, left: Left): Promise<Origin> {
    const { bytes, address } = about;
    const device = this.#inputAt(at + 1);
    const root: Root = device === null ? { kind: 'made', by: name } : { kind: 'input', device };
    const moved = this.past.moved(bytes);
    const groups = joined(moved.map(({ from }) => from));
    const reached = new Set(moved.map(({ to }) => to));
    const rest = joined(
      Array.from({ length: bytes.bytes }, (_, i) => i).flatMap((i) => (reached.has(i) ? [] : [part(bytes, i, 1)])),
    );
    const inputs = await this.#inputs(
      groups.map((group) => ({ bytes: group, address: null })),
      at,
      left,
    );
    for (const piece of rest) {
      const from = startOf(piece) - startOf(bytes);
      const asked = { bytes: piece, address: address === null ? null : address + BigInt(from) };
      const wrote = (await this.past.lastWrite(piece, at + 1, at)) !== null;
      if (wrote && piece.bytes === bytes.bytes) return { ...about, root, inputs: [], above: false };
      inputs.push(
        wrote ? { ...(await this.#about(asked, at + 1)), ...NO_STEP, root } : await this.#follow(asked, at, left),
      );
    }
    return { ...about, root: null, inputs, above: false };
  }
  /** The device that bytes come in for at a tick. */
  #inputAt(tick: Tick): string | null {
    const [payload] = this.#session.payloadsAt(tick);
    return payload?.device ?? null;
  }

  #builtRoot(bytes: Bytes): Root {
    if (bytes.space === 'state')
      return { kind: 'built', provenance: { what: 'initial registers', offset: bytes.offset } };
    const provenance = this.#session.run.explanation.provenance(bytes.address);
    if (provenance === null || provenance.what === 'bss') return { kind: 'never written', provenance };
    return { kind: 'built', provenance };
  }
}

const startOf = (bytes: Bytes): number => (bytes.space === 'state' ? bytes.offset : bytes.address);
const sameSpace = (a: Bytes, b: Bytes): boolean =>
  a.space === b.space && (a.space !== 'state' || b.space !== 'state' || a.vcpu === b.vcpu);
/** Bytes that follow each other as one place. */
function joined(bytes: readonly Bytes[]): Bytes[] {
  const out: Bytes[] = [];
  for (const one of bytes) {
    const last = out.at(-1);
    const follows = last !== undefined && sameSpace(last, one) && startOf(one) === startOf(last) + last.bytes;
    if (follows) out[out.length - 1] = part(last, 0, last.bytes + one.bytes);
    else out.push(one);
  }
  return out;
}
/** Joins what overlaps or follows each other in one register or in memory. */
function merge(inputs: readonly Input[]): Input[] {
  const out: Input[] = [];
  for (const input of inputs) {
    const start = startOf(input.bytes);
    const i = out.findIndex(({ bytes }) => {
      if (!sameSpace(bytes, input.bytes)) return false;
      if (bytes.space === 'state' && register(startOf(bytes)) !== register(start)) return false;
      return start <= startOf(bytes) + bytes.bytes && startOf(bytes) <= start + input.bytes.bytes;
    });
    if (i < 0) {
      out.push(input);
      continue;
    }
    const known = out[i]!;
    const from = Math.min(startOf(known.bytes), start);
    const end = Math.max(startOf(known.bytes) + known.bytes.bytes, start + input.bytes.bytes);
    const first = startOf(known.bytes) <= start ? known : input;
    const place = first.bytes;
    out[i] = { ...first, bytes: part(place, from - startOf(place), end - from) };
  }
  return out;
}
/** Which register an offset of the state lies in. */
const register = (offset: number): number => {
  const { gpr, xmm } = STATE;
  if (offset < gpr.offset + 128) return Math.floor(offset / 8);
  if (offset >= xmm.offset && offset < xmm.offset + 256) return 1000 + Math.floor((offset - xmm.offset) / 16);
  return 2000 + offset;
};
