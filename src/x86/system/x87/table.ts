/** Every x87 instruction but the state images of ../fpu-state.ts, by semantics name. */
import type { SystemTable } from '../operands.ts';
import { X87_ARITHMETIC } from './arithmetic.ts';
import { X87_COMPARE } from './compare.ts';
import { X87_CONTROL } from './control.ts';
import { X87_MOVE } from './move.ts';
import { X87_TRANSCENDENTAL } from './transcendental.ts';

export const X87: SystemTable = {
  ...X87_ARITHMETIC,
  ...X87_TRANSCENDENTAL,
  ...X87_COMPARE,
  ...X87_MOVE,
  ...X87_CONTROL,
};
