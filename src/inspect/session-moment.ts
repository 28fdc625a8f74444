/**
 * The state a session stands at, as reports and predicates ask for it: one object is both the Moment of investigations and the Scope
 * of predicates. It reads what the session holds at the time of the call.
 */
import type { PhysAddr, Tick, VirtAddr } from '../core/units.ts';
import type { AddressSpace, Question } from '../machine/explanation.ts';
import { entriesOf, leafEntry, translate } from '../machine/look.ts';
import type { Session } from '../timeline/session.ts';
import type { Cpu } from '../x86/cpu.ts';
import { GPR, SEG } from '../x86/state.ts';
import { eventFields } from './event-tap.ts';
import type { MachineEvent, Names, Scope } from './expression.ts';
import type { Moment } from './moment.ts';
import type { SymbolTable } from './symbols.ts';

/** Parts of general registers by name: [register, shift, bits]. */
export const LOW_NAMES: Readonly<Record<string, readonly [number, number, number]>> = registerNames();

/** Register names of 32, 16 and 8 bits: [register, shift, bits]. */
function registerNames(): Record<string, readonly [number, number, number]> {
  const out: Record<string, readonly [number, number, number]> = {};
  for (const name of ['ax', 'bx', 'cx', 'dx', 'sp', 'bp', 'si', 'di']) {
    const number = GPR[`r${name}` as keyof typeof GPR];
    out[`e${name}`] = [number, 0, 32];
    out[name] = [number, 0, 16];
  }
  for (const letter of ['a', 'b', 'c', 'd']) {
    const number = GPR[`r${letter}x` as keyof typeof GPR];
    out[`${letter}l`] = [number, 0, 8];
    out[`${letter}h`] = [number, 8, 8];
  }
  return out;
}

/** A register by name, or null. */
export function registerOf(cpu: Cpu, name: string): bigint | null {
  if (name in GPR) return cpu.gpr(GPR[name as keyof typeof GPR]);
  const low = LOW_NAMES[name];
  if (low !== undefined) return (cpu.gpr(low[0]) >> BigInt(low[1])) & ((1n << BigInt(low[2])) - 1n);
  if (name === 'rip') return cpu.rip;
  if (name === 'rflags' || name === 'eflags') return BigInt(cpu.rflags >>> 0);
  if (name === 'cpl') return BigInt(cpu.cpl);
  if (name === 'mxcsr' || name === 'efer') return cpu.get(name);
  const control = /^cr([02348])$/.exec(name);
  if (control) return cpu.get(`cr${control[1]}` as 'cr0');
  const debug = /^dr([0-7])$/.exec(name);
  if (debug) return cpu.get('dr', Number(debug[1]));
  const segment = /^([cdefgs]s)(_base)?$/.exec(name);
  if (segment && segment[1]! in SEG) {
    const number = SEG[segment[1] as keyof typeof SEG];
    return segment[2] ? cpu.get('segmentBase', number) : cpu.get('selector', number);
  }
  return null;
}

export class SessionMoment implements Moment, Scope, Names {
  readonly #session: Session;
  readonly #symbols: SymbolTable;
  /** What has just happened, while events are being watched. */
  event: MachineEvent | null = null;
  #reads: Array<{ address: number; bytes: number }> | null = null;
  #walked = false;

  constructor(session: Session, symbols: SymbolTable) {
    this.#session = session;
    this.#symbols = symbols;
  }

  /** Machine addresses read since it was last emptied; null: not noted. */
  get reads(): Array<{ address: number; bytes: number }> | null {
    return this.#reads;
  }
  set reads(reads: Array<{ address: number; bytes: number }> | null) {
    this.#reads = reads;
    this.#walked = false;
  }
  /** A linear address is among what has been read since then. */
  get walked(): boolean {
    return this.#walked;
  }
  get #cpu(): Cpu {
    return this.#session.run.machine.cpu;
  }
  get tick(): Tick {
    return this.#session.tick;
  }
  get vcpu(): number {
    return this.#cpu.id;
  }
  get rip(): VirtAddr {
    return this.#cpu.rip;
  }
  get vcpus(): number {
    return this.#session.run.machine.engine.cpus.length;
  }
  get codeBits(): 64 | 32 | 16 {
    const mode = this.#cpu.codeMode;
    return mode === 2 ? 64 : mode === 1 ? 32 : 16;
  }
  register(name: string, vcpu: number | null): bigint | null {
    const cpu = this.#session.run.machine.engine.cpus[vcpu ?? this.#cpu.id];
    return cpu === undefined ? null : registerOf(cpu, name);
  }
  symbol(name: string): { readonly address: bigint; readonly size: bigint } | null {
    const range = this.#symbols.extent(name);
    return range === null ? null : { address: range.start, size: range.end - range.start };
  }

  eventFields(name: string): readonly string[] | null {
    return eventFields(this.#session, name);
  }

  // ---- memory -------------------------------------------------------------------------------------------------------

  translate(address: VirtAddr): bigint | null {
    if (this.#reads !== null) this.#noteWalk(address);
    return translate(this.#session.run.machine, this.#cpu, address);
  }
  /** Machine address of a byte in any address space, or null. */
  #machine(space: AddressSpace, address: bigint): number | null {
    const { explanation, machine } = this.#session.run;
    let at: bigint | null = address;
    if (space === 'va') at = this.translate(address);
    else if (space === 'pa') at = explanation.machineAddress(address);
    if (at === null || at < 0n || at >= 1n << 52n) return null;
    return machine.engine.memory.hasFrame(Math.floor(Number(at) / 4096)) ? Number(at) : null;
  }
  /** Notes the table entries that translate an address: a change of one changes what is read. */
  #noteWalk(address: bigint): void {
    const { machine } = this.#session.run;
    this.#walked = true;
    for (const entry of entriesOf(machine, this.#cpu, address)) this.note(entry.address, entry.bytes);
  }
  read(space: AddressSpace, address: bigint, bytes: number): bigint | null {
    const { memory } = this.#session.run.machine.engine;
    let value = 0n;
    for (let i = bytes - 1; i >= 0; i--) {
      const at = this.#machine(space, BigInt.asUintN(64, address + BigInt(i)));
      if (at === null) return null;
      this.reads?.push({ address: at, bytes: 1 });
      value = (value << 8n) | BigInt(memory.read8(at));
    }
    return value;
  }
  bytes(address: VirtAddr, bytes: number): Uint8Array {
    const out: number[] = [];
    for (let i = 0; i < bytes; i++) {
      const at = this.#machine('va', BigInt.asUintN(64, address + BigInt(i)));
      if (at === null) break;
      out.push(this.#session.run.machine.engine.memory.read8(at));
    }
    return Uint8Array.from(out);
  }
  entries(address: VirtAddr): ReturnType<Moment['entries']> {
    return entriesOf(this.#session.run.machine, this.#cpu, address);
  }
  pte(address: bigint): bigint | null {
    if (this.#reads !== null) this.#noteWalk(address);
    return leafEntry(this.#session.run.machine, this.#cpu, address);
  }

  // ---- the platform -------------------------------------------------------------------------------------------------

  question(name: string): Question | null {
    return this.#session.run.explanation.questions.get(name) ?? null;
  }
  ask(question: Question, of: bigint): bigint | boolean | string | null {
    return question.ask(of, this);
  }
  note(address: PhysAddr, bytes: number): void {
    this.reads?.push({ address, bytes });
  }
  get blocked(): boolean {
    const { engine, platform } = this.#session.run.machine;
    return engine.cpus.every(({ id }) => !platform.runnable(id));
  }
  get consoleText(): string {
    return this.#session.run.console.textAt(this.tick);
  }
}
