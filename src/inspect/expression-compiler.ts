/** Turns the syntax of a predicate into evaluators, and finds out where it can begin to hold. */

import type { Expression } from 'acorn';
import { patternOf } from '../core/pattern.ts';
import type { Dependencies, Extent, Names, Scope } from './expression.ts';
import { COMPARISONS, type Side, type Value, whySettled } from './expression-comparison.ts';
import { type Parsed, parseExpression, refuse } from './expression-syntax.ts';
import {
  absent,
  constant,
  type Evaluator,
  free,
  made,
  NO_STATE,
  orAbsent,
  read,
  type Term,
  truth,
  valueOrNull,
  word,
} from './expression-term.ts';

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
/** No code lies in the first page: a smaller number where a condition is asked for is a mistake. */
const CODE_MIN = 0x1000n;
const isCanonical = (address: bigint): boolean => BigInt.asUintN(64, BigInt.asIntN(48, address)) === address;

const REGISTER =
  /^(r([abcd]x|[sbi]p|[sd]i|[89]|1[0-5]|flags)|e([abcd]x|[sb]p|[sd]i|flags)|[abcd]x|[abcd][lh]|cr[02348]|dr[0-7]|[cdefgs]s(_base)?|cpl|mxcsr|efer)$/;
/** Whether a name means a register (it may not be one on every CPU). */
const isRegisterName = (name: string): boolean => REGISTER.test(name);
/** Bits of a register at most. */
function bitsOf(name: string): bigint {
  if (name === 'cpl') return 2n;
  if (/^[abcd][lh]$/.test(name)) return 8n;
  if (/^([abcd]x|[cdefgs]s)$/.test(name)) return 16n;
  return /^(e(?!fer)|mxcsr)/.test(name) ? 32n : 64n;
}

/** What asks a pattern for a place: without it, what is found in the empty text is found in every one. */
const ASSERTION = /[$^]|\\b|\(\?<?[=!]/i;
/** Event channels of the 2-level ABI (EVTCHN_2L_NR_CHANNELS), and machine frames that an entry of a page table can name. */

const ARITHMETIC: Readonly<Record<string, (x: bigint, y: bigint) => bigint | null>> = {
  '+': (x, y) => (x + y) & U64,
  '-': (x, y) => x - y,
  '*': (x, y) => x * y,
  '/': (x, y) => (y === 0n ? null : x / y),
  '%': (x, y) => (y === 0n ? null : x % y),
  '&': (x, y) => x & y,
  '|': (x, y) => x | y,
  '^': (x, y) => x ^ y,
  '<<': (x, y) => (y < 0n || y > 63n ? 0n : (x << y) & U64),
  '>>': (x, y) => (y < 0n || y > 63n ? (x < 0n ? -1n : 0n) : x >> y),
};

/** Makes the terms of one predicate and notes what it depends on. */
export class Compiler {
  readonly #source: string;
  readonly #names: Names;
  readonly #parsed: Parsed;
  #console = false;
  readonly #events = new Set<string>();
  #eventsAsked = 0;
  readonly #changes = new Set<string>();
  #memoryRead = false;
  readonly #places: Extent[] = [];
  /** What the whole predicate is where it is a place in code. */
  place: bigint | null = null;
  /** Run after each evaluation: prev() remembers, count() counts. */
  readonly #memories: Array<(scope: Scope) => void> = [];
  readonly #counters: Array<{ count: bigint; was: boolean }> = [];

  constructor(source: string, names: Names) {
    this.#source = source;
    this.#names = names;
    this.#parsed = parseExpression(source, (name) => names.symbol(name) !== null);
  }
  /** The predicate as a condition. */
  whole(): Pick<Term, 'run' | 'free'> {
    return this.#condition(this.#parsed.expression);
  }
  /** What the terms made so far depend on. */
  dependencies(everyStep: boolean): Dependencies {
    return {
      console: this.#console,
      events: [...this.#events],
      memory: this.#memoryRead,
      places: this.#places,
      everyStep,
      remembers: this.#memories.length > 0,
      counts: this.#counters.length > 0,
      changes: [...this.#changes],
    };
  }
  /** What comes is compared with this state; nothing has been counted. */
  begin(scope: Scope): void {
    this.stepped(scope);
    for (const counter of this.#counters) counter.count = 0n;
  }
  /** An evaluation is over: prev() and count() remember it. */
  stepped(scope: Scope): void {
    for (const memory of this.#memories) memory(scope);
  }
  #fail(why: string): never {
    return refuse(this.#source, why);
  }
  #number({ run, texts }: Term, what: string): (scope: Scope) => bigint {
    if (texts !== null) return this.#fail(`${what} needs a number`);
    return (scope) => {
      const v = run(scope);
      return typeof v === 'bigint' ? v : v ? 1n : 0n;
    };
  }

  /** What stands where true or false is asked for: a location there means that RIP is at it. */
  #condition(node: Expression): Term {
    const term = this.#compile(node);
    const { texts } = term;
    if (!term.constant && texts !== null && texts !== 'any')
      return this.#fail(`${this.#parsed.text(node)} is a text: compare it with one of ${texts.join(', ')}`);
    if (!term.constant) return term;
    if (term.location !== null && term.location >= CODE_MIN && isCanonical(term.location)) {
      if (node === this.#parsed.expression) this.place = term.location;
      return this.#at(term.location);
    }
    return this.#fail(
      `${this.#parsed.text(node)} is the same at every tick; ` +
        'a symbol is its address, u64[symbol] is what stands there, rip == 0x... is a place in code',
    );
  }
  /** RIP is at `address`. */
  #at(address: bigint, bytes = 1n): Term {
    this.#places.push({ address, bytes });
    const run: Evaluator = (s) => {
      const rip = s.register('rip', null);
      return rip !== null && rip >= address && rip < address + bytes;
    };
    return { ...read(run), placed: true };
  }

  #compile(node: Expression): Term {
    switch (node.type) {
      case 'Literal':
        return this.#literal(node.value, node.raw ?? '');
      case 'Identifier':
        return this.#name(node.name);
      case 'UnaryExpression':
        return this.#unary(node.operator, node.argument);
      case 'LogicalExpression': {
        const [a, b] = [this.#condition(node.left), this.#condition(node.right)];
        if (node.operator === '&&') {
          const placed = a.placed || b.placed;
          return {
            ...read((s) => truth(a.run(s)) && truth(b.run(s))),
            placed,
            free: !placed && (a.free || b.free),
          };
        }
        if (node.operator === '||')
          return {
            ...read((s) => orAbsent(a.run, s) || truth(b.run(s))),
            placed: a.placed && b.placed,
            free: a.free || b.free,
          };
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

  #literal(value: unknown, raw: string): Term {
    if (typeof value === 'number') {
      if (!Number.isInteger(value) || /^0\d/.test(raw)) return this.#fail('numbers are integers');
      // The text, not the value: addresses have more digits than a double.
      const big = /[.e]/i.test(raw) && !/^0x/i.test(raw) ? BigInt(value) : BigInt(raw.replaceAll('_', ''));
      return { ...constant(big), location: big };
    }
    if (typeof value === 'bigint') return { ...constant(value), location: value };
    if (typeof value === 'boolean' || typeof value === 'string') return constant(value);
    return this.#fail('only integers, booleans and strings can stand here');
  }

  #name(name: string): Term {
    if (name === 'console') {
      this.#console = true;
      return { ...read((s) => s.consoleText), texts: 'any' };
    }
    if (isRegisterName(name))
      return word(
        free((s) => s.register(name, null) ?? this.#fail(`${name} is not a register here`)),
        bitsOf(name),
      );
    const { address } = this.#symbol(name);
    return { ...constant(address), location: address };
  }
  #symbol(identifier: string): { readonly address: bigint; readonly size: bigint } {
    const name = this.#parsed.written(identifier);
    return this.#names.symbol(name) ?? this.#fail(`${name} is neither a register nor a symbol`);
  }

  #unary(operator: string, argument: Expression): Term {
    if (operator === '!') {
      const a = this.#condition(argument);
      return made((s) => !truth(a.run(s)), a);
    }
    const a = this.#compile(argument);
    const number = this.#number(a, operator);
    if (operator === '-') return made((s) => -number(s), a);
    if (operator === '~') return made((s) => ~number(s), a);
    if (operator === '+') return made(number, a);
    return this.#fail(`unknown operator ${operator}`);
  }

  #binary(operator: string, left: Expression, right: Expression): Term {
    if (operator === '**') return this.#matches(left, right);
    if (operator === 'in') return this.#inside(left, right);
    const [ta, tb] = [this.#compile(left), this.#compile(right)];
    if (operator === '==' || operator === '===') {
      if (isRip(left) && tb.location !== null) return this.#at(BigInt.asUintN(64, tb.location));
      if (isRip(right) && ta.location !== null) return this.#at(BigInt.asUintN(64, ta.location));
    }
    if (Object.hasOwn(COMPARISONS, operator))
      return this.#compared(operator, this.#side(left, ta), this.#side(right, tb));
    const [a, b] = [this.#number(ta, operator), this.#number(tb, operator)];
    const apply = ARITHMETIC[operator];
    if (apply === undefined) return this.#fail(`unknown operator ${operator}`);
    const term = made((s) => apply(a(s), b(s)) ?? absent(), ta, tb);
    if (ta.location === null || tb.location === null || (operator !== '+' && operator !== '-')) return term;
    return { ...term, location: BigInt.asUintN(64, ta.location + (operator === '+' ? tb.location : -tb.location)) };
  }
  #side(node: Expression, term: Term): Term & Side {
    return {
      ...term,
      text: this.#parsed.text(node),
      value: term.constant ? valueOrNull(term.run, NO_STATE) : undefined,
    };
  }
  #compared(operator: string, a: Term & Side, b: Term & Side): Term {
    const compare = COMPARISONS[operator]!;
    const settled = a.constant && b.constant ? null : whySettled(operator, a, b);
    if (settled !== null) return this.#fail(`${settled}: this is the same at every tick`);
    return made((s) => compare(a.run(s), b.run(s)), a, b);
  }
  #matches(left: Expression, right: Expression): Term {
    const a = this.#compile(left);
    if (left.type !== 'Identifier' || left.name !== 'console') return this.#fail('unknown operator **');
    if (right.type !== 'Literal' || typeof right.value !== 'string')
      return this.#fail('console ~ needs a quoted pattern');
    let pattern: RegExp;
    try {
      pattern = patternOf(right.value);
    } catch (error) {
      return this.#fail(error instanceof Error ? error.message : String(error));
    }
    if (pattern.test('') && !ASSERTION.test(right.value))
      return this.#fail(`${right.raw} is found in every text: this is the same at every tick`);
    return made((s) => pattern.test(a.run(s) as string), a);
  }
  #inside(left: Expression, right: Expression): Term {
    if (right.type !== 'Identifier') return this.#fail('`in` needs the name of a function');
    const { address, size } = this.#symbol(right.name);
    if (isRip(left)) return this.#at(address, size);
    const a = this.#compile(left);
    const number = this.#number(a, 'in');
    return made((s) => {
      const at = number(s);
      return at >= address && at < address + size;
    }, a);
  }

  #member(object: Expression, property: Expression, computed: boolean): Term {
    if (computed && object.type === 'Identifier' && Object.hasOwn(WIDTHS, object.name))
      return this.#memory(WIDTHS[object.name]!, property);
    const field = property.type === 'Identifier' && !computed ? property.name : null;
    if (field === null) return this.#fail('this member has no meaning here');
    if (object.type === 'MemberExpression' && object.object.type === 'Identifier' && object.object.name === 'cpu') {
      if (!isRegisterName(field)) return this.#fail(`${field} is not a register`);
      const term = this.#compile(object.property as Expression);
      const index = this.#within(term, 'cpu[]', BigInt(this.#names.vcpus));
      return word(
        free((s) => s.register(field, Number(index(s))) ?? this.#fail(`${field} is not a register here`)),
        bitsOf(field),
      );
    }
    if (object.type === 'CallExpression' && object.callee.type === 'Identifier' && object.callee.name === 'pte')
      return this.#entryField(object.arguments as Expression[], field);
    if (object.type === 'Identifier') return this.#eventField(object.name, field);
    return this.#fail('this member has no meaning here');
  }
  #entryField(args: readonly Expression[], field: string): Term {
    const entry = this.#entry(args);
    const bit = Object.hasOwn(PTE_BITS, field) ? PTE_BITS[field] : undefined;
    const number = this.#number(entry, 'pte()');
    const settled = (run: Evaluator): Term => ({ ...read(run), free: entry.addressFree });
    if (field === 'mfn') return settled((s) => (number(s) >> 12n) & 0xffffffffffn);
    if (bit === undefined) return this.#fail(`a page-table entry has no bit ${field}`);
    const run: Evaluator = (s) => (number(s) >> bit) & 1n;
    return word(field === 'a' || field === 'd' ? free(run) : settled(run), 1n);
  }
  /** A whole entry: the CPU sets accessed and dirty bits while it translates, and no watch sees that. */
  #entry(args: readonly Expression[]): Term & { readonly addressFree: boolean } {
    const address = this.#compile(this.#only('pte', args));
    const number = this.#number(address, 'pte()');
    this.#memoryRead = true;
    return { ...free((s) => s.pte(number(s) & U64) ?? absent()), addressFree: address.free };
  }
  #eventField(name: string, field: string): Term {
    const fields = this.#names.eventFields(name);
    if (fields === null) return this.#fail(`there is no event ${name}`);
    if (!fields.includes(field))
      return this.#fail(`${name} has no ${field}; it has ${fields.length === 0 ? 'no fields' : fields.join(', ')}`);
    this.#events.add(name);
    this.#eventsAsked++;
    return read((s) => (s.event?.name === name ? (s.event.fields[field] ?? absent()) : absent()));
  }

  #memory(bytes: number, address: Expression): Term {
    this.#memoryRead = true;
    let space: 'va' | 'pa' | 'ma' = 'va';
    let inner = address;
    if (address.type === 'SequenceExpression' && address.expressions[0]?.type === 'Identifier') {
      const { name } = address.expressions[0];
      if (name !== 'va' && name !== 'pa' && name !== 'ma') return this.#fail(`${name}: is not an address space`);
      space = name;
      inner = address.expressions[1]!;
    }
    const term = this.#compile(inner);
    const at = this.#number(term, 'an address');
    return word(
      read((s) => s.read(space, at(s) & U64, bytes) ?? absent(), term),
      BigInt(8 * bytes),
    );
  }

  #only(name: string, args: readonly Expression[]): Expression {
    const first = args[0];
    if (first === undefined || args.length > 1) return this.#fail(`${name}() takes one argument`);
    return first;
  }
  #call(name: string, args: readonly Expression[]): Term {
    const first = this.#only(name, args);
    switch (name) {
      case 'call': {
        const { location } = this.#compile(first);
        return location === null ? this.#fail('call() takes the name of a function') : this.#at(location);
      }
      case 'prev': {
        const asked = this.#eventsAsked;
        const inner = this.#compile(first);
        return this.#previous(inner, this.#eventsAsked > asked);
      }
      case 'count':
        return this.#count(this.#condition(first));
      case 'pte':
        return this.#entry(args);
      default:
        return this.#told(first, name);
    }
  }
  /** What the platform knows of a number. */
  #told(argument: Expression, name: string): Term {
    const question = this.#names.question(name);
    if (question === null) return this.#fail(`there is no function ${name}()`);
    const term = this.#compile(argument);
    const number = this.#within(term, `${name}()`, question.limit);
    this.#memoryRead = true;
    for (const kind of question.changes ?? []) this.#changes.add(kind);
    const told = read((s) => s.ask(question, number(s)) ?? absent(), term);
    const { answers } = question;
    return typeof answers === 'bigint' ? { ...told, most: answers } : { ...told, texts: answers };
  }
  /** A number below `limit`; another one is not there. */
  #within(term: Term, what: string, limit: bigint): (scope: Scope) => bigint {
    const number = this.#number(term, what);
    const within = (s: Scope): bigint => {
      const value = number(s);
      return value >= 0n && value < limit ? value : absent();
    };
    if (term.constant && valueOrNull(within, NO_STATE) === null)
      return this.#fail(`${what} takes a number of 0 to ${limit - 1n}`);
    return within;
  }

  /** The value the expression had when the predicate was evaluated before; of an event's, at an event before. */
  #previous(inner: Term, ofEvent: boolean): Term {
    let last: Value = null;
    this.#memories.push((s) => {
      const value = valueOrNull(inner.run, s);
      if (value !== null || !ofEvent) last = value;
    });
    return { ...inner, run: () => last ?? absent(), location: null, placed: false };
  }
  /** How often the expression has become true so far, now included. */
  #count(inner: Term): Term {
    const counter = { count: 0n, was: false };
    this.#counters.push(counter);
    const now = (s: Scope): boolean => truth(valueOrNull(inner.run, s) ?? false);
    this.#memories.push((s) => {
      const is = now(s);
      if (is && !counter.was) counter.count++;
      counter.was = is;
    });
    return { ...read((s) => counter.count + (now(s) && !counter.was ? 1n : 0n)), free: inner.free };
  }
}

const isRip = (node: Expression): boolean => node.type === 'Identifier' && node.name === 'rip';
