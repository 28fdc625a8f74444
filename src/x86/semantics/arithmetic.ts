/** Addition and subtraction (SDM vol. 2: ADD, ADC, SUB, SBB, CMP, NEG, INC, DEC, XADD). */

import type { Context, SemanticsTable } from './context.ts';
import { carry, setAddition, setDecrement, setIncrement, setSubtraction } from './flags.ts';

function add(c: Context, withCarry: boolean): void {
  const destination = c.modify(0);
  const source = c.read(1);
  const sum = c.op('add', destination.old, source);
  const result = withCarry ? c.op('add', sum, c.widen(carry(c))) : sum;
  destination.write(result);
  setAddition(c, destination.old, source, result);
}

function subtract(c: Context, withBorrow: boolean): void {
  const destination = c.modify(0);
  const source = c.read(1);
  const difference = c.op('sub', destination.old, source);
  const result = withBorrow ? c.op('sub', difference, c.widen(carry(c))) : difference;
  destination.write(result);
  setSubtraction(c, destination.old, source, result);
}

export const ARITHMETIC: SemanticsTable = {
  add: (c) => add(c, false),
  adc: (c) => add(c, true),
  sub: (c) => subtract(c, false),
  sbb: (c) => subtract(c, true),
  cmp(c) {
    const a = c.read(0);
    const b = c.read(1);
    setSubtraction(c, a, b, c.op('sub', a, b));
  },
  neg(c) {
    const { old, write } = c.modify(0);
    const result = c.negate(old);
    write(result);
    setSubtraction(c, c.b.i64(0), old, result);
  },
  inc(c) {
    const { old, write } = c.modify(0);
    const result = c.op('add', old, 1);
    write(result);
    setIncrement(c, old, result);
  },
  dec(c) {
    const { old, write } = c.modify(0);
    const result = c.op('sub', old, 1);
    write(result);
    setDecrement(c, old, result);
  },
  /** The source register is written first: with one register twice the sum stays. */
  xadd(c) {
    const { old, write } = c.modify(0);
    const source = c.read(1);
    const result = c.op('add', old, source);
    c.write(1, old);
    write(result);
    setAddition(c, old, source, result);
  },
};
