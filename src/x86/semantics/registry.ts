/** All semantics by name, and the program of a form. */
import { Builder } from '../../ir/builder.ts';
import type { Program } from '../../ir/program.ts';
import { validateProgram } from '../../ir/validate.ts';
import type { Form } from '../form.ts';
import { HELPERS } from '../helpers.ts';
import { STATE_BYTES } from '../state.ts';
import { ARITHMETIC } from './arithmetic.ts';
import { BITS } from './bits.ts';
import { Context, type SemanticsTable } from './context.ts';
import { CONTROL } from './control.ts';
import { DECIMAL } from './decimal.ts';
import { EXCHANGE } from './exchange.ts';
import { FLAG_CONTROL } from './flag-control.ts';
import { LOGIC } from './logic.ts';
import { MOVE } from './move.ts';
import { MULTIPLY } from './multiply.ts';
import { SHIFT } from './shift.ts';
import { SSE_ELEMENT } from './sse/element.ts';
import { SSE_FLOAT } from './sse/float.ts';
import { SSE_FLOAT_LANES } from './sse/float-lanes.ts';
import { SSE_HORIZONTAL } from './sse/horizontal.ts';
import { SSE_INTEGER } from './sse/integer.ts';
import { SSE_MOVE } from './sse/move.ts';
import { SSE_SHUFFLE } from './sse/shuffle.ts';
import { SSE_TEXT } from './sse/text.ts';
import { STACK } from './stack.ts';
import { STRING } from './string.ts';

/** Every semantics function by its form's name. */
export const SEMANTICS: SemanticsTable = {
  ...ARITHMETIC,
  ...LOGIC,
  ...SHIFT,
  ...BITS,
  ...MULTIPLY,
  ...MOVE,
  ...EXCHANGE,
  ...STACK,
  ...CONTROL,
  ...STRING,
  ...DECIMAL,
  ...FLAG_CONTROL,
  ...SSE_MOVE,
  ...SSE_INTEGER,
  ...SSE_SHUFFLE,
  ...SSE_ELEMENT,
  ...SSE_HORIZONTAL,
  ...SSE_TEXT,
  ...SSE_FLOAT,
  ...SSE_FLOAT_LANES,
};

/** Programs of forms already met; like the forms themselves, constants of the instruction set. */
const programs = new Map<string, Program>();

/** The validated micro-ops of a form; null when it has no semantics here (system instructions). */
export function programOf(form: Form): Program | null {
  const known = programs.get(form.key);
  if (known) return known;
  const semantics = form.system ? undefined : SEMANTICS[form.name];
  if (!semantics) return null;
  const builder = new Builder();
  semantics(new Context(builder, form));
  const program = builder.finish();
  validateProgram(program, { name: form.key, stateBytes: STATE_BYTES, helpers: HELPERS });
  programs.set(form.key, program);
  return program;
}
