/** The commands of `hindsight debug`: text in, lines out. Moving is the session's work, showing is done here. */
import { EmulatorError } from '../core/errors.ts';
import { hex, u64, type VirtAddr } from '../core/units.ts';
import { backtrace } from '../inspect/backtrace.ts';
import { Disassembler, MAX_INSTRUCTION_BYTES } from '../inspect/disassembly.ts';
import { type Paint, renderBacktrace, table, tickText } from '../inspect/render.ts';
import { symbolText } from '../inspect/symbol-text.ts';
import type { AccessStop, Hit, StopCondition } from '../machine/stops.ts';
import type { DebugSession, WorkHooks } from './backend.ts';
import { parseCount, parseTick } from './parsers.ts';
import { registerLines } from './verbs/goto.ts';

/** A break or a watch. */
interface Stop {
  /** As it is listed. */
  readonly text: string;
  /** What a run stops for; null for a predicate, which a search finds. */
  readonly conditions: readonly StopCondition[] | null;
}

interface DebugCommand {
  readonly names: readonly string[];
  readonly usage: string;
  readonly text: string;
  readonly run: (argument: string, hooks: WorkHooks) => Promise<string[]> | string[];
}

const REGISTERS =
  'rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip rflags cr2 cr3 fs_base gs_base'.split(' ');
const CONSOLE_LINES = 25;
/** Bytes of a watch at most. */
const MAX_WATCHED = 4096;
const usage = (text: string): never => {
  throw new EmulatorError('E_USAGE', text);
};

export class DebugPrompt {
  readonly #session: DebugSession;
  readonly #paint: Paint;
  readonly #disassembler: Disassembler;
  readonly #commands: readonly DebugCommand[];
  /** What continue and rcontinue stop at. */
  readonly #stops: Stop[] = [];
  /** True after `quit`. */
  done = false;

  constructor(session: DebugSession, paint: Paint) {
    this.#session = session;
    this.#paint = paint;
    this.#disassembler = new Disassembler(session.names);
    this.#commands = [...this.#moves(), ...this.#stopCommands(), ...this.#views()];
  }

  get tick(): number {
    return this.#session.now().tick;
  }

  /** Runs one command; E_USAGE, E_TICK or E_EXPRESSION when it cannot. */
  async execute(line: string, hooks: WorkHooks): Promise<string[]> {
    const [, name = '', argument = ''] = /^(\S*)\s*(.*)$/s.exec(line)!;
    if (name === '') return [];
    const command = this.#commands.find((c) => c.names.includes(name));
    if (command === undefined) return usage(`${name}: no such command; help lists them`);
    return command.run(argument.trim(), hooks);
  }

  /** Where the session stands, on one line. */
  where(): string[] {
    const moment = this.#session.now();
    const rip = moment.register('rip', null) ?? 0n;
    const text = this.#disassembler.text(moment.bytes(rip, MAX_INSTRUCTION_BYTES), rip, moment.codeBits);
    const place = symbolText(this.#session.names, rip) ?? hex(rip);
    return [`${tickText(moment.tick)}  ${this.#paint.cyan(place)}  ${this.#paint.yellow(text)}`];
  }

  /** Commands that go elsewhere in time. */
  #moves(): DebugCommand[] {
    const s = this.#session;
    const count = (text: string): number => (text === '' ? 1 : parseCount(text, 'count'));
    const clamp = (tick: number): number => Math.min(Math.max(tick, s.firstTick), s.lastTick);
    const goto = async (tick: number, hooks: WorkHooks): Promise<string[]> => {
      await s.goto(tick, hooks);
      return this.where();
    };
    return [
      {
        names: ['step', 's'],
        usage: 'step [n]',
        text: 'n steps on',
        run: (a, h) => goto(clamp(this.tick + count(a)), h),
      },
      {
        names: ['back', 'b'],
        usage: 'back [n]',
        text: 'n steps back',
        run: (a, h) => goto(clamp(this.tick - count(a)), h),
      },
      {
        names: ['goto', 'g'],
        usage: 'goto TICK',
        text: 'to a tick: a number, start, end, end-100, 50%',
        run: (a, h) => goto(parseTick(a, s.lastTick), h),
      },
      {
        names: ['until', 'u'],
        usage: 'until EXPR',
        text: 'on to where a predicate holds',
        run: (a, h) => this.#search(a === '' ? usage('until EXPR') : a, 'forward', h),
      },
      {
        names: ['rback', 'r'],
        usage: 'rback EXPR',
        text: 'back to where a predicate held',
        run: (a, h) => this.#search(a === '' ? usage('rback EXPR') : a, 'back', h),
      },
      {
        names: ['continue', 'c'],
        usage: 'continue',
        text: 'on to the next break or watch',
        run: (_, h) => this.#run('forward', h),
      },
      {
        names: ['rcontinue', 'rc'],
        usage: 'rcontinue',
        text: 'back to the break or watch before',
        run: (_, h) => this.#run('back', h),
      },
    ];
  }
  /** Commands that say where to stop. */
  #stopCommands(): DebugCommand[] {
    return [
      {
        names: ['break'],
        usage: 'break [PLACE | EXPR]',
        text: 'stop at a place in code (panic, panic+0x1b, 0xffff...) or where a predicate holds; alone: list',
        run: (a) => (a === '' ? this.#list() : this.#break(a)),
      },
      {
        names: ['watch'],
        usage: 'watch ADDRESS [bytes]',
        text: 'stop behind each write to the memory there',
        run: (a) => this.#watch('write', a),
      },
      {
        names: ['rwatch'],
        usage: 'rwatch ADDRESS [bytes]',
        text: 'behind each read',
        run: (a) => this.#watch('read', a),
      },
      {
        names: ['awatch'],
        usage: 'awatch ADDRESS [bytes]',
        text: 'behind each read and write',
        run: (a) => this.#watch('any', a),
      },
      { names: ['delete'], usage: 'delete N', text: 'forget a break or watch', run: (a) => this.#delete(a) },
    ];
  }
  /** Commands that look at the moment, and those about the prompt itself. */
  #views(): DebugCommand[] {
    const s = this.#session;
    return [
      { names: ['regs'], usage: 'regs', text: 'registers', run: () => this.#registers() },
      { names: ['mem', 'x'], usage: 'mem ADDRESS [bytes]', text: 'memory', run: (a) => this.#memory(a) },
      { names: ['dis'], usage: 'dis [ADDRESS] [n]', text: 'instructions', run: (a) => this.#disassemble(a) },
      {
        names: ['bt'],
        usage: 'bt',
        text: 'who called whom',
        run: () => renderBacktrace(backtrace(s.now(), s.names), this.#paint),
      },
      { names: ['console'], usage: 'console', text: 'the last lines printed so far', run: () => this.#console() },
      { names: ['hash'], usage: 'hash', text: 'the state hash', run: () => [hex(s.stateHash())] },
      { names: ['where', 'w'], usage: 'where', text: 'this tick and instruction', run: () => this.where() },
      { names: ['help', 'h', '?'], usage: 'help', text: 'this list', run: () => this.#help() },
      { names: ['quit', 'q', 'exit'], usage: 'quit', text: 'leave', run: () => this.#quit() },
    ];
  }

  #help(): string[] {
    const rows = this.#commands.map((c) => [c.usage, c.names.slice(1).join(' '), c.text]);
    return [...table(rows), 'ADDRESS is a number, a symbol or a register, plus or minus a number: rsp+8, gdt+0x10.'];
  }
  #quit(): string[] {
    this.done = true;
    return [];
  }

  async #search(predicate: string, direction: 'forward' | 'back', hooks: WorkHooks): Promise<string[]> {
    const found = await this.#session[direction](predicate, hooks);
    const [side, end] = direction === 'forward' ? ['later', 'end'] : ['earlier', 'start'];
    return [...(found === null ? [`never true ${side}; at the ${end} of the recording`] : []), ...this.where()];
  }

  // ---- breaks and watches -------------------------------------------------------------------------------------------

  async #run(direction: 'forward' | 'back', hooks: WorkHooks): Promise<string[]> {
    if (this.#stops.length === 0) return usage('nothing to stop at; set a break or a watch first');
    const predicates = this.#stops.filter((stop) => stop.conditions === null);
    const texts = predicates.map((stop) => stop.text);
    const met = await this.#session.run(direction, texts, hooks);
    const [side, end] = direction === 'forward' ? ['later', 'end'] : ['earlier', 'start'];
    if (met === null) return [`nothing met ${side}; at the ${end} of the recording`, ...this.where()];
    const holding = met.predicates.map((number) => this.#stops.indexOf(predicates[number]!));
    const lines = [...met.hits.map((hit) => this.#met(hit)), ...holding.map((at) => this.#listed(at))];
    return [...this.where(), ...new Set(lines)];
  }
  /** What is met, as it is listed. */
  #met({ client, condition, vcpu }: Hit): string {
    const at = this.#stops.findIndex((stop) => stop.conditions?.includes(condition));
    return `${at < 0 ? `${client}  ${condition.kind}` : this.#listed(at)}, vCPU ${vcpu}`;
  }
  #listed(at: number): string {
    return `${at + 1}  ${this.#stops[at]!.text}`;
  }
  #list(): string[] {
    if (this.#stops.length === 0) return ['no breaks or watches'];
    return this.#stops.map((_, at) => this.#listed(at));
  }
  #changed(): string[] {
    this.#session.hold(this.#stops.flatMap((stop) => stop.conditions ?? []));
    return this.#list();
  }
  #break(text: string): string[] {
    const address = this.#session.check(text);
    this.#stops.push({ text, conditions: address === null ? null : [{ kind: 'address', address, standing: true }] });
    return this.#changed();
  }
  #watch(access: AccessStop['access'], argument: string): string[] {
    const { address, rest } = this.#addressFirst(argument);
    const bytes = rest === '' ? 8 : parseCount(rest, 'bytes');
    if (bytes < 1 || bytes > MAX_WATCHED) return usage(`a watch takes 1 to ${MAX_WATCHED} bytes`);
    const conditions = this.#session.accesses(access, address, bytes);
    const what = { read: 'reads', write: 'writes', any: 'reads and writes' }[access];
    this.#stops.push({ text: `${what} of ${bytes} bytes at ${hex(address)}`, conditions });
    return this.#changed();
  }
  #delete(argument: string): string[] {
    const index = parseCount(argument, 'delete') - 1;
    if (index < 0 || index >= this.#stops.length) return usage(`there is no break ${argument}`);
    this.#stops.splice(index, 1);
    return this.#changed();
  }

  #registers(): string[] {
    const moment = this.#session.now();
    const values: Record<string, bigint> = {};
    for (const name of REGISTERS) {
      const value = moment.register(name, null);
      if (value !== null) values[name] = value;
    }
    return registerLines(values);
  }

  /** `ADDRESS rest`, the address resolved. */
  #addressFirst(argument: string): { address: VirtAddr; rest: string } {
    const [, place = '', rest = ''] = /^(\S*)\s*(.*)$/.exec(argument)!;
    if (place === '') return usage('an address is missing');
    let address = 0n;
    for (const [, sign, term] of place.matchAll(/([+-]?)([^+-]+)/g)) {
      const value = this.#term(term!);
      address = u64(sign === '-' ? address - value : address + value);
    }
    return { address, rest };
  }
  #term(text: string): bigint {
    if (/^(0x[0-9a-f]+|\d+)$/i.test(text)) return BigInt(text);
    const value = this.#session.now().register(text, null) ?? this.#session.symbols.address(text);
    return value ?? usage(`${text} is neither a number, a register nor a symbol`);
  }

  #memory(argument: string): string[] {
    const { address, rest } = this.#addressFirst(argument);
    const wanted = rest === '' ? 64 : parseCount(rest, 'bytes');
    const bytes = this.#session.now().bytes(address, Math.min(wanted, 65_536));
    if (bytes.length === 0) return [`${hex(address)} is not mapped`];
    const lines: string[] = [];
    for (let at = 0; at < bytes.length; at += 16) {
      const row = bytes.subarray(at, at + 16);
      const cells = Array.from(row, (b) => b.toString(16).padStart(2, '0')).join(' ');
      const text = Array.from(row, (b) => (b >= 0x20 && b < 0x7f ? String.fromCharCode(b) : '.')).join('');
      lines.push(`${(address + BigInt(at)).toString(16).padStart(16, '0')}  ${cells.padEnd(47)}  ${text}`);
    }
    return lines;
  }

  #disassemble(argument: string): string[] {
    const moment = this.#session.now();
    const rip = moment.register('rip', null) ?? 0n;
    const alone = argument === '' || /^\d+$/.test(argument);
    const { address, rest } = alone ? { address: rip, rest: argument } : this.#addressFirst(argument);
    const wanted = rest === '' ? 10 : parseCount(rest, 'count');
    const code = moment.bytes(address, Math.min(wanted, 1000) * MAX_INSTRUCTION_BYTES);
    const rows: string[][] = [];
    for (const found of this.#disassembler.listing(code, address, moment.codeBits)) {
      const place = symbolText(this.#session.names, found.rip) ?? hex(found.rip);
      rows.push([found.rip === rip ? '=>' : '', place, found.text]);
      if (rows.length === wanted) break;
    }
    return rows.length === 0 ? [`no instruction at ${hex(address)}`] : table(rows);
  }

  #console(): string[] {
    const lines = this.#session.now().consoleText.split(/\r?\n/);
    if (lines.at(-1) === '') lines.pop();
    return lines.slice(-CONSOLE_LINES);
  }
}
