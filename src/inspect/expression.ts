/**
 * Predicates over a machine's state (`--when`): JavaScript's expression grammar, parsed by acorn, with a meaning of our own.
 *
 *   rip in panic            rax == 0 && rbx > 0x10        cpu[0].rsp          u64[rsp + 8]      u32[pa:0x1000]
 *   call(panic)             console ~ "Unable to mount"   pte(va).w           type(mfn) == "l1"
 *   pending(3), masked(3)   pin.result == -22             mmu_update.result   prev(rax) != rax  count(call(panic)) == 2
 *
 * Invariants: all numbers are integers of any size (comparison for equality is modulo 2^64, so that -22 equals what RAX
 * holds); reading memory that is not mapped makes the whole predicate false, never an error.
 */
import { type Expression, parse as parseProgram } from 'acorn';
import { EmulatorError } from '../core/errors.ts';

/** What a predicate may ask of the machine. Addresses are linear unless said otherwise. */
export interface Scope {
  /** A register by name on a vCPU (null: the current one), or null when there is no such register. */
  register(name: string, vcpu: number | null): bigint | null;
  /** Reads memory; null when it is not mapped. */
  read(space: 'va' | 'pa' | 'ma', address: bigint, bytes: number): bigint | null;
  /** The address and size of a symbol; null when unknown. */
  symbol(name: string): { readonly address: bigint; readonly size: bigint } | null;
  /** The leaf page-table entry of a linear address, or null. */
  pte(address: bigint): bigint | null;
  /** The type of a machine frame as Xen holds it. */
  frameType(frame: bigint): string | null;
  pending(port: number): boolean;
  masked(port: number): boolean;
  /** Everything the guest has written to its console so far. */
  readonly consoleText: string;
  /** The event that has just happened at this tick, if any. */
  readonly event: MachineEvent | null;
}

/** A hypercall (one entry for each of its parts, such as a pin), fault or upcall. */
export interface MachineEvent {
  /** `pin`, `mmu_update`, `set_gdt`, `page_fault`, `upcall`... */
  readonly name: string;
  readonly fields: Readonly<Record<string, bigint>>;
}

/** What a predicate depends on: tells a search where it can hold at all. */
export interface Dependencies {
  /** It reads only the console. */
  readonly console: boolean;
  /** It names events. */
  readonly events: boolean;
  /** It reads memory, page tables, page types or event channels. */
  readonly memory: boolean;
  /** It reads registers other than the rip of `ripIn`. */
  readonly registers: boolean;
  /** Symbols whose entry is asked for by call(). */
  readonly calls: readonly string[];
  /** Functions at whose instructions it is to be looked at. */
  readonly ripIn: readonly string[];
  /** Nothing says where it can begin to hold: it must be looked at after every step. */
  readonly everyStep: boolean;
  /** It remembers what it saw (prev, count): the state after one that was looked at is to be looked at as well. */
  readonly remembers: boolean;
}

/** A parsed predicate. Values remembered by prev() and count() live in it: use a fresh one for every search. */
export interface Predicate {
  readonly source: string;
  readonly dependencies: Dependencies;
  holds(scope: Scope): boolean;
}

type Value = bigint | boolean | string | null;
type Evaluator = (scope: Scope) => Value;
/** Thrown inside an evaluation: something it reads is not there. */
const ABSENT = Symbol('absent');
const WIDTHS: Readonly<Record<string, number>> = { u8: 1, u16: 2, u32: 4, u64: 8 };
const PTE_BITS: Readonly<Record<string, bigint>> = {
  p: 0n,
  w: 1n,
  u: 2n,
  pwt: 3n,
  pcd: 4n,
  a: 5n,
  d: 6n,
  pat: 7n,
  g: 8n,
  nx: 63n,
};
const U64 = (1n << 64n) - 1n;

const REGISTER =
  /^(r([abcd]x|[sbi]p|[sd]i|[89]|1[0-5]|flags)|e([abcd]x|[sbi]p|[sd]i|flags)|[abcd]x|[abcd][lh]|cr[02348]|dr[0-7]|[cdefgs]s(_base)?|cpl|mxcsr|efer)$/;
/** Whether a name means a register (it may not be one on every CPU). */
export const isRegisterName = (name: string): boolean => REGISTER.test(name);

/** Parses `source`; E_EXPRESSION names the place of a mistake. */
export function parsePredicate(source: string): Predicate {
  const compiler = new Compiler(source);
  const run = compiler.compile(parse(source));
  return {
    source,
    dependencies: compiler.dependencies(),
    holds(scope) {
      try {
        return truth(run(scope));
      } catch (error) {
        if (error === ABSENT) return false;
        throw error;
      } finally {
        compiler.stepped(scope);
      }
    },
  };
}

/** `~` and `pa:` are ours: they become operators of the same length class that JavaScript has. */
function parse(source: string): Expression {
  const text = source.replace(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\bconsole\s*~|\b(pa|ma|va)\s*:/g, (part, space) =>
    space ? `${space},` : part.endsWith('~') && !/^["']/.test(part) ? 'console**' : part,
  );
  let program: ReturnType<typeof parseProgram>;
  try {
    program = parseProgram(text, { ecmaVersion: 2023 });
  } catch (error) {
    return fail(source, error instanceof Error ? error.message : String(error));
  }
  const [first, second] = program.body;
  if (first?.type !== 'ExpressionStatement' || second !== undefined) return fail(source, 'it is not one expression');
  return first.expression;
}

function fail(source: string, why: string): never {
  throw new EmulatorError('E_EXPRESSION', `cannot understand the expression ${JSON.stringify(source)}: ${why}`);
}
const truth = (v: Value): boolean =>
  typeof v === 'bigint' ? v !== 0n : v === true || (typeof v === 'string' && v !== '');

class Compiler {
  readonly #source: string;
  #console = false;
  #events = false;
  #memoryRead = false;
  #registers = false;
  /** It reads accessed or dirty bits, which the CPU sets while it translates: no watch sees that. */
  #accessBits = false;
  readonly #calls: string[] = [];
  readonly #ripIn: string[] = [];
  /** Run after each evaluation: prev() remembers, count() counts. */
  readonly #memories: Array<(scope: Scope) => void> = [];

  constructor(source: string) {
    this.#source = source;
  }
  dependencies(): Dependencies {
    return {
      console: this.#console,
      events: this.#events,
      memory: this.#memoryRead,
      registers: this.#registers,
      calls: this.#calls,
      ripIn: this.#ripIn,
      everyStep:
        this.#accessBits || (this.#registers && (this.#ripIn.length === 0 || /\|\||!(?!=)/.test(this.#source))),
      remembers: this.#memories.length > 0,
    };
  }
  stepped(scope: Scope): void {
    for (const memory of this.#memories) memory(scope);
  }
  #fail(why: string): never {
    return fail(this.#source, why);
  }
  #number(run: Evaluator, what: string): (scope: Scope) => bigint {
    return (scope) => {
      const v = run(scope);
      if (typeof v === 'bigint') return v;
      if (typeof v === 'boolean') return v ? 1n : 0n;
      return this.#fail(`${what} needs a number`);
    };
  }

  compile(node: Expression): Evaluator {
    switch (node.type) {
      case 'Literal':
        return this.#literal(node.value, node.raw ?? '');
      case 'Identifier':
        return this.#name(node.name);
      case 'UnaryExpression':
        return this.#unary(node.operator, this.compile(node.argument));
      case 'LogicalExpression': {
        const [a, b] = [this.compile(node.left), this.compile(node.right)];
        if (node.operator === '&&') return (s) => truth(a(s)) && truth(b(s));
        if (node.operator === '||') return (s) => orAbsent(a, s) || truth(b(s));
        return this.#fail(`unknown operator ${node.operator}`);
      }
      case 'BinaryExpression':
        return this.#binary(node.operator, node.left as Expression, node.right);
      case 'MemberExpression':
        return this.#member(node.object as Expression, node.property as Expression, node.computed);
      case 'CallExpression': {
        if (node.callee.type !== 'Identifier') return this.#fail('only named functions can be called');
        return this.#call(node.callee.name, node.arguments as Expression[]);
      }
      default:
        return this.#fail(`${node.type} has no meaning here`);
    }
  }

  #literal(value: unknown, raw: string): Evaluator {
    if (typeof value === 'number') {
      if (!Number.isInteger(value) || /^0\d/.test(raw)) return this.#fail('numbers are integers');
      // The text, not the value: addresses have more digits than a double.
      const big = /[.e]/i.test(raw) && !/^0x/i.test(raw) ? BigInt(value) : BigInt(raw.replaceAll('_', ''));
      return () => big;
    }
    if (typeof value === 'bigint' || typeof value === 'boolean' || typeof value === 'string') return () => value;
    return this.#fail('only integers, booleans and strings can stand here');
  }

  #name(name: string): Evaluator {
    if (name === 'console') {
      this.#console = true;
      return (s) => s.consoleText;
    }
    if (isRegisterName(name)) this.#registers = true;
    return (s) => {
      const register = s.register(name, null);
      if (register !== null) return register;
      const symbol = s.symbol(name);
      if (symbol !== null) return symbol.address;
      return this.#fail(`${name} is neither a register nor a symbol`);
    };
  }

  #unary(operator: string, a: Evaluator): Evaluator {
    const number = this.#number(a, operator);
    if (operator === '!') return (s) => !truth(a(s));
    if (operator === '-') return (s) => -number(s);
    if (operator === '~') return (s) => ~number(s);
    if (operator === '+') return number;
    return this.#fail(`unknown operator ${operator}`);
  }

  #binary(operator: string, left: Expression, right: Expression): Evaluator {
    if (operator === '**') {
      const a = this.compile(left);
      if (right.type !== 'Literal' || typeof right.value !== 'string')
        return this.#fail('console ~ needs a quoted pattern');
      let pattern: RegExp;
      try {
        pattern = new RegExp(right.value, 'm');
      } catch (error) {
        return this.#fail(error instanceof Error ? error.message : String(error));
      }
      return (s) => pattern.test(a(s) as string);
    }
    if (operator === 'in') {
      if (right.type !== 'Identifier') return this.#fail('`in` needs the name of a function');
      const { name } = right;
      const isRip = left.type === 'Identifier' && left.name === 'rip';
      const others = this.#registers;
      const a = this.#number(this.compile(left), 'in');
      if (isRip) {
        this.#ripIn.push(name);
        this.#registers = others;
      }
      return (s) => {
        const symbol = s.symbol(name);
        if (symbol === null) return this.#fail(`there is no symbol ${name}`);
        const at = a(s);
        return at >= symbol.address && at < symbol.address + symbol.size;
      };
    }
    const [ra, rb] = [this.compile(left), this.compile(right)];
    if (operator === '==' || operator === '===') return (s) => same(ra(s), rb(s));
    if (operator === '!=' || operator === '!==') return (s) => !same(ra(s), rb(s));
    const [a, b] = [this.#number(ra, operator), this.#number(rb, operator)];
    const table: Readonly<Record<string, (x: bigint, y: bigint) => Value>> = {
      '<': (x, y) => x < y,
      '<=': (x, y) => x <= y,
      '>': (x, y) => x > y,
      '>=': (x, y) => x >= y,
      '+': (x, y) => (x + y) & U64,
      '-': (x, y) => x - y,
      '*': (x, y) => x * y,
      '/': (x, y) => (y === 0n ? null : x / y),
      '%': (x, y) => (y === 0n ? null : x % y),
      '&': (x, y) => x & y,
      '|': (x, y) => x | y,
      '^': (x, y) => x ^ y,
      '<<': (x, y) => (x << (y & 63n)) & U64,
      '>>': (x, y) => x >> (y & 63n),
    };
    const apply = table[operator];
    if (apply === undefined) return this.#fail(`unknown operator ${operator}`);
    return (s) => apply(a(s), b(s)) ?? absent();
  }

  #member(object: Expression, property: Expression, computed: boolean): Evaluator {
    if (computed && object.type === 'Identifier' && object.name in WIDTHS)
      return this.#memory(WIDTHS[object.name]!, property);
    const field = property.type === 'Identifier' && !computed ? property.name : null;
    if (
      field !== null &&
      object.type === 'MemberExpression' &&
      object.object.type === 'Identifier' &&
      object.object.name === 'cpu'
    ) {
      const index = this.#number(this.compile(object.property as Expression), 'cpu[]');
      this.#registers = true;
      return (s) => s.register(field, Number(index(s))) ?? this.#fail(`${field} is not a register`);
    }
    if (
      field !== null &&
      object.type === 'CallExpression' &&
      object.callee.type === 'Identifier' &&
      object.callee.name === 'pte'
    ) {
      const others = this.#accessBits;
      const entry = this.#number(this.compile(object), 'pte()');
      const bit = PTE_BITS[field];
      this.#accessBits = others || field === 'a' || field === 'd';
      if (field === 'mfn') return (s) => (entry(s) >> 12n) & 0xffffffffffn;
      if (bit === undefined) return this.#fail(`a page-table entry has no bit ${field}`);
      return (s) => (entry(s) >> bit) & 1n;
    }
    if (field !== null && object.type === 'Identifier') {
      this.#events = true;
      const { name } = object;
      return (s) => (s.event?.name === name ? (s.event.fields[field] ?? absent()) : absent());
    }
    return this.#fail('this member has no meaning here');
  }

  #memory(bytes: number, address: Expression): Evaluator {
    this.#memoryRead = true;
    let space: 'va' | 'pa' | 'ma' = 'va';
    let inner = address;
    if (address.type === 'SequenceExpression' && address.expressions[0]?.type === 'Identifier') {
      const { name } = address.expressions[0];
      if (name !== 'va' && name !== 'pa' && name !== 'ma') return this.#fail(`${name}: is not an address space`);
      space = name;
      inner = address.expressions[1]!;
    }
    const at = this.#number(this.compile(inner), 'an address');
    return (s) => s.read(space, at(s) & U64, bytes) ?? absent();
  }

  #call(name: string, args: Expression[]): Evaluator {
    const first = args[0];
    if (first === undefined || args.length > 1) return this.#fail(`${name}() takes one argument`);
    if (name === 'call') {
      if (first.type !== 'Identifier') return this.#fail('call() takes the name of a function');
      const target = first.name;
      this.#calls.push(target);
      this.#ripIn.push(target);
      return (s) => {
        const symbol = s.symbol(target);
        if (symbol === null) return this.#fail(`there is no symbol ${target}`);
        return s.register('rip', null) === symbol.address;
      };
    }
    const inner = this.compile(first);
    if (name === 'prev') return this.#previous(inner);
    if (name === 'count') return this.#count(inner);
    const number = this.#number(inner, `${name}()`);
    this.#memoryRead = true;
    if (name === 'pte') {
      this.#accessBits = true;
      return (s) => s.pte(number(s) & U64) ?? absent();
    }
    if (name === 'type') return (s) => s.frameType(number(s)) ?? absent();
    if (name === 'pending') return (s) => s.pending(Number(number(s)));
    if (name === 'masked') return (s) => s.masked(Number(number(s)));
    return this.#fail(`there is no function ${name}()`);
  }

  /** The value the expression had when the predicate was evaluated before. */
  #previous(inner: Evaluator): Evaluator {
    let last: Value = null;
    this.#memories.push((s) => {
      last = valueOrNull(inner, s);
    });
    return () => last ?? absent();
  }
  /** How often the expression has become true so far, now included. */
  #count(inner: Evaluator): Evaluator {
    let [count, was] = [0n, false];
    const now = (s: Scope): boolean => truth(valueOrNull(inner, s) ?? false);
    this.#memories.push((s) => {
      const is = now(s);
      if (is && !was) count++;
      was = is;
    });
    return (s) => count + (now(s) && !was ? 1n : 0n);
  }
}

function absent(): never {
  throw ABSENT;
}
function valueOrNull(run: Evaluator, scope: Scope): Value {
  try {
    return run(scope);
  } catch (error) {
    if (error === ABSENT) return null;
    throw error;
  }
}
function orAbsent(run: Evaluator, scope: Scope): boolean {
  return truth(valueOrNull(run, scope) ?? false);
}
function same(a: Value, b: Value): boolean {
  if (typeof a === 'bigint' && typeof b === 'bigint') return BigInt.asUintN(64, a) === BigInt.asUintN(64, b);
  if (typeof a === 'boolean' && typeof b === 'bigint') return (a ? 1n : 0n) === b;
  if (typeof a === 'bigint' && typeof b === 'boolean') return a === (b ? 1n : 0n);
  return a === b;
}
