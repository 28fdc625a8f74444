/**
 * Checks that a program is well formed: types, use before definition, widths, the shape of its end. A failure is our own
 * bug and fails an assertion that names the program and the operation.
 */
import { assert } from '../core/assert.ts';
import { resultType } from './mnemonic.ts';
import type { BinaryOp, Commit, Node, Program, StateRef, Type, UnaryOp } from './program.ts';

/** What a helper takes and gives. */
export interface HelperSignature {
  readonly params: readonly Type[];
  readonly result: Type;
}

/** What a program may refer to. */
export interface ValidationScope {
  /** Named in failures. */
  readonly name: string;
  /** Bytes of the vCPU state. */
  readonly stateBytes: number;
  readonly helpers: Readonly<Record<string, HelperSignature>>;
}

const I64_FROM_I32 = /extend_i32_[us]$/;
const VECTOR_SHIFT = /x\d+\.sh[lr]/;
const LANES = { i8x16: 16, i16x8: 8, i32x4: 4, i64x2: 2 } as const;

/** The operand type of a unary operation. */
function unaryOperand(name: UnaryOp): Type {
  if (name === 'i32.wrap_i64') return 'i64';
  if (I64_FROM_I32.test(name)) return 'i32';
  if (name.endsWith('.splat')) return name === 'i64x2.splat' ? 'i64' : 'i32';
  if (name.startsWith('i32.')) return 'i32';
  return name.startsWith('i64.') ? 'i64' : 'v128';
}

/** The operand types of a binary operation. */
function binaryOperands(name: BinaryOp): [Type, Type] {
  if (name.startsWith('i32.')) return ['i32', 'i32'];
  if (name.startsWith('i64.')) return ['i64', 'i64'];
  return ['v128', VECTOR_SHIFT.test(name) ? 'i32' : 'v128'];
}

const LAST: ReadonlyArray<Commit['op']> = ['jump', 'branch', 'repeat'];

class Validator {
  readonly #program: Program;
  readonly #scope: ValidationScope;
  #place = '';

  constructor(program: Program, scope: ValidationScope) {
    this.#program = program;
    this.#scope = scope;
  }

  #check(condition: boolean, message: string): void {
    if (!condition) assert(false, `${this.#scope.name}, ${this.#place}: ${message}`);
  }
  #use(id: number, type: Type, before: number): void {
    if (id < 0 || id >= before) this.#check(false, `v${id} is used before its definition`);
    const actual = this.#program.body[id]!.type;
    if (actual !== type) this.#check(false, `v${id} is ${actual}, not ${type}`);
  }
  #ref(ref: StateRef, width: number): void {
    if (ref.kind === 'slot')
      this.#check(
        ref.offset >= 0 && ref.offset + width <= this.#scope.stateBytes,
        `offset ${ref.offset} is outside the state`,
      );
  }
  #token(id: number, before: number, end: number): void {
    this.#use(id, 'i32', before);
    const node = this.#program.body[id]!;
    this.#check(node.op === 'probe' && end <= node.bytes, `v${id} does not probe ${end} bytes`);
  }
  #type(actual: Type, expected: Type): void {
    this.#check(actual === expected, `is ${actual}, not ${expected}`);
  }

  #node(node: Node, id: number): void {
    switch (node.op) {
      case 'const':
        this.#check(node.value >= 0n, 'a constant is unsigned');
        return;
      case 'unary':
        this.#use(node.a, unaryOperand(node.name), id);
        this.#type(node.type, resultType(node.name));
        return;
      case 'binary': {
        const [a, b] = binaryOperands(node.name);
        this.#use(node.a, a, id);
        this.#use(node.b, b, id);
        this.#type(node.type, resultType(node.name));
        return;
      }
      case 'select':
        this.#use(node.cond, 'i32', id);
        this.#use(node.a, node.type, id);
        this.#use(node.b, node.type, id);
        return;
      case 'extract':
      case 'replace':
      case 'shuffle':
        this.#lanes(node, id);
        return;
      case 'field':
        this.#type(node.type, node.name === 'disp' || node.name === 'imm' ? 'i64' : 'i32');
        return;
      case 'get':
        this.#ref(node.ref, node.width);
        if (node.type === 'i32') this.#check(node.width === 4, 'an i32 is read from 4 bytes');
        else this.#type(node.type, node.width === 16 ? 'v128' : 'i64');
        return;
      case 'linear':
        if (node.delta !== null) this.#use(node.delta, 'i64', id);
        return;
      case 'offset':
      case 'nextRip':
      case 'targetRip':
        return;
      case 'load':
        this.#use(node.addr, 'i64', id);
        this.#type(node.type, node.width === 16 ? 'v128' : 'i64');
        return;
      case 'probe':
        this.#use(node.addr, 'i64', id);
        this.#check(node.bytes >= 1 && node.bytes <= 64, `cannot probe ${node.bytes} bytes`);
        return;
      case 'peek':
        this.#token(node.token, id, node.offset + node.width);
        this.#type(node.type, node.width === 16 ? 'v128' : 'i64');
        return;
      case 'raise':
      case 'complete':
        this.#use(node.cond, 'i32', id);
        return;
      case 'call':
        this.#call(node, id);
        return;
    }
  }

  #lanes(node: Extract<Node, { op: 'extract' | 'replace' | 'shuffle' }>, id: number): void {
    this.#use(node.a, 'v128', id);
    if (node.op === 'shuffle') {
      this.#use(node.b, 'v128', id);
      this.#check(node.lanes.length === 16 && node.lanes.every((x) => x >= 0 && x < 32), 'bad lanes');
      return;
    }
    const lane = node.shape === 'i64x2' ? 'i64' : 'i32';
    this.#check(node.lane >= 0 && node.lane < LANES[node.shape], `no lane ${node.lane}`);
    if (node.op === 'replace') this.#use(node.b, lane, id);
    else this.#type(node.type, lane);
  }

  #call(node: Extract<Node, { op: 'call' }>, id: number): void {
    const helper = this.#scope.helpers[node.helper];
    assert(helper, `${this.#scope.name}, ${this.#place}: no helper ${node.helper}`);
    this.#check(helper.params.length === node.args.length, `${node.helper} takes ${helper.params.length} arguments`);
    node.args.forEach((arg, i) => {
      this.#use(arg, helper.params[i]!, id);
    });
    this.#type(node.type, helper.result);
    if (node.shortcut === null) return;
    this.#use(node.shortcut.when, 'i32', id);
    this.#use(node.shortcut.value, node.type, id);
  }

  #commit(commit: Commit): void {
    const end = this.#program.body.length;
    switch (commit.op) {
      case 'set':
      case 'store': {
        if (commit.op === 'set') this.#ref(commit.ref, commit.width);
        else this.#token(commit.token, end, commit.offset + commit.width);
        const type = this.#program.body[commit.value]?.type;
        const fits = commit.width === 16 ? type === 'v128' : type === 'i64' || (type === 'i32' && commit.width <= 4);
        this.#check(fits, `a value of type ${type} does not fill ${commit.width} bytes`);
        return;
      }
      case 'jump':
        this.#use(commit.rip, 'i64', end);
        return;
      case 'branch':
        if (commit.cond !== null) this.#use(commit.cond, 'i32', end);
        return;
      case 'raiseAfter':
      case 'repeat':
        this.#use(commit.cond, 'i32', end);
    }
  }

  run(): void {
    this.#program.body.forEach((node, id) => {
      this.#place = `v${id} ${node.op}`;
      this.#node(node, id);
    });
    this.#program.commits.forEach((commit, i) => {
      this.#place = `commit ${i} ${commit.op}`;
      this.#check(!LAST.includes(commit.op) || i === this.#program.commits.length - 1, 'ends the program early');
      this.#commit(commit);
    });
  }
}

/** Fails an assertion unless the program is well formed. */
export function validateProgram(program: Program, scope: ValidationScope): void {
  new Validator(program, scope).run();
}
