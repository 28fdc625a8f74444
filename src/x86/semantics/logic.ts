/** Bitwise logic (SDM vol. 2: AND, OR, XOR, TEST, NOT, ARPL). */
import type { Context, ScalarOp, SemanticsTable } from './context.ts';
import { setLogic, setZero } from './flags.ts';

function logic(c: Context, name: ScalarOp): void {
  const { old, write } = c.modify(0);
  const result = c.op(name, old, c.read(1));
  write(result);
  setLogic(c, result);
}

export const LOGIC: SemanticsTable = {
  and: (c) => logic(c, 'and'),
  or: (c) => logic(c, 'or'),
  xor: (c) => logic(c, 'xor'),
  test: (c) => setLogic(c, c.op('and', c.read(0), c.read(1))),
  not(c) {
    const { old, write } = c.modify(0);
    write(c.not(old));
  },
  /** Raises the RPL (the low two bits) of the destination to that of the source; ZF when that changed it. */
  arpl(c) {
    const { old, write } = c.modify(0);
    const source = c.op('and', c.read(1), 3);
    const lower = c.op('lt_u', c.op('and', old, 3), source);
    write(c.b.select(lower, c.op('or', c.op('and', old, ~3), source), old));
    setZero(c, lower);
  },
};
