/**
 * Interning of instruction forms. Forms are constants of the instruction set: one object a key in a process, made when an
 * encoding first needs it. The numbers `id` follow the order of first use and are never stored.
 */
import { assert } from '../../core/assert.ts';
import type { CodeMode, Form, OperandForm, OperandPlace, RegisterFile } from '../form.ts';
import type { CompiledRow, OperandSpec } from '../tables/compile.ts';

const interned = new Map<string, Form>();

/** What all rows of a form say alike. */
const SAME = ['feature', 'system', 'quiet', 'contained', 'newTf', 'call', 'ret'] as const;

/** What a row's form depends on besides the row. */
interface FormContext {
  readonly mode: CodeMode;
  /** Operand size in bytes. */
  readonly size: number;
  readonly memory: boolean;
  readonly rexW: boolean;
  readonly rep: 0 | 1 | 2;
  /** Address size in bytes. */
  readonly addressSize: number;
  /** Stack address size in bytes. */
  readonly stackSize: number;
}

const FILE: Record<string, RegisterFile> = {
  S: 'segment',
  C: 'control',
  D: 'debug',
  P: 'mmx',
  Q: 'mmx',
  N: 'mmx',
  V: 'xmm',
  W: 'xmm',
  U: 'xmm',
  ST0: 'x87',
  STi: 'x87',
};
const PLACE: Record<string, OperandPlace> = {
  G: 'r',
  S: 'r',
  C: 'r',
  D: 'r',
  P: 'r',
  V: 'r',
  R: 'm',
  Z: 'm',
  N: 'm',
  U: 'm',
  STi: 'm',
  M: 'mem',
  O: 'mem',
  X: 'mem',
  Y: 'mem',
  '(rDI)': 'mem',
  '(rBX)': 'mem',
  I: 'imm',
  J: 'imm',
  A: 'imm',
  AL: { fixed: 0 },
  AX: { fixed: 0 },
  rAX: { fixed: 0 },
  zAX: { fixed: 0 },
  yAX: { fixed: 0 },
  CL: { fixed: 1 },
  DX: { fixed: 2 },
  yDX: { fixed: 2 },
  ST0: { fixed: 0 },
  '1': { constant: 1 },
};
const FIXED_WIDTH: Record<string, number> = { AL: 1, AX: 2, CL: 1, DX: 2, '1': 1, ST0: 10, STi: 10 };

function widthOf(width: string, c: FormContext): number {
  switch (width) {
    case 'b':
      return 1;
    case 'w':
      return 2;
    case 'd':
    case 'ss':
      return 4;
    case 'q':
    case 'sd':
      return 8;
    case 't':
      return 10;
    case 'dq':
    case 'ps':
    case 'pd':
      return 16;
    case 'v':
    case 'bs':
      return c.size;
    case 'z':
      return Math.min(c.size, 4);
    case 'y':
      return c.rexW ? 8 : 4;
    case 'n':
      return c.mode === 2 ? 8 : 4;
    case 'p':
      return c.size + 2;
    case 'a':
      return c.size * 2;
    default:
      return 0;
  }
}

function operandForm(spec: OperandSpec, c: FormContext): OperandForm {
  const { kind } = spec;
  const file = FILE[kind] ?? (kind.endsWith('S') ? 'segment' : 'gpr');
  const either = kind === 'E' || kind === 'Q' || kind === 'W';
  const place = either ? (c.memory ? 'mem' : 'm') : (PLACE[kind] ?? 'r');
  let width = FIXED_WIDTH[kind] ?? widthOf(place === 'mem' ? spec.memoryWidth : spec.width, c);
  if (kind === 'rAX' || ((kind === 'I' || kind === 'J') && 'vz'.includes(spec.width))) width = c.size;
  else if (kind === 'zAX') width = Math.min(c.size, 4);
  else if (kind === 'yAX' || kind === 'yDX') width = c.rexW ? 8 : 4;
  else if (kind === 'J') width = c.size;
  else if (kind === 'A') width = c.size;
  else if (file === 'segment') width = 2;
  return { place, file: place === 'mem' || place === 'imm' ? 'gpr' : file, width };
}

/** Operand size of the form itself: see {@link Form.size}. */
function sizeOf(row: CompiledRow, operands: readonly OperandForm[], c: FormContext): number {
  if (row.hint) return 0;
  const letters = row.operands.map((x) => x.kind);
  if (letters.some((x) => 'VWU'.includes(x))) return 16;
  if (letters.some((x) => 'PQN'.includes(x))) return 8;
  if (row.sized) return c.size;
  const memory = operands.find((x) => x.place === 'mem');
  if (letters.includes('ST0') || letters.includes('STi')) return memory ? memory.width : 10;
  return operands[0]?.width ?? 0;
}

const GPR_NAMES = ['a', 'c', 'd'];
function operandKey(x: OperandForm, size: number): string {
  const { place } = x;
  let text: string;
  if (typeof place === 'string') text = place;
  else if ('constant' in place) return String(place.constant);
  else text = x.file === 'x87' ? `st${place.fixed}` : GPR_NAMES[place.fixed]!;
  if (x.width !== size && x.file !== 'x87') text += x.width;
  return x.file === 'gpr' || x.file === 'x87' ? text : `${text}:${x.file}`;
}

/** The form of a row in a context. */
export function makeForm(row: CompiledRow, c: FormContext): Form {
  const operands = row.operands.map((x) => operandForm(x, c));
  const size = sizeOf(row, operands, c);
  const addressSize = row.usesAddressSize ? c.addressSize : 0;
  const stackSize = row.usesStack ? c.stackSize : 0;
  const rep = row.rep ? c.rep : 0;
  let key = row.name;
  if (row.hasCondition) key += `#${row.variant}`;
  if (size > 0 || operands.length > 0) key += `.${size}`;
  if (operands.length > 0) key += `.${operands.map((x) => operandKey(x, size)).join(',')}`;
  if (addressSize > 0) key += `/a${addressSize}`;
  if (stackSize > 0) key += `/s${stackSize}`;
  if (rep > 0) key += rep === 1 ? '/rep' : '/repne';
  const known = interned.get(key);
  if (known) {
    assert(
      SAME.every((x) => known[x] === row[x]),
      `rows of ${key} differ in more than their encoding`,
    );
    return known;
  }
  const form: Form = {
    key,
    id: interned.size,
    name: row.name,
    size,
    operands,
    variant: row.variant,
    rep,
    addressSize,
    stackSize,
    feature: row.feature,
    system: row.system,
    quiet: row.quiet,
    contained: row.contained,
    newTf: row.newTf,
    call: row.call,
    ret: row.ret,
  };
  interned.set(key, form);
  return form;
}
