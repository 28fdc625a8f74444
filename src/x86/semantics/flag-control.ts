/** Instructions on flags alone, and those that do nothing (SDM vol. 2: CLC, STC, CMC, CLD, STD, LAHF, SAHF, SALC, NOP, ...). */
import { FLAG, GPR } from '../state.ts';
import { AH, type Context, type SemanticsTable, slotOf } from './context.ts';
import { arithmeticWord, carry, setCarry, setFromByte } from './flags.ts';

const nothing = (): void => {};

function setDirection(c: Context, down: boolean): void {
  const slot = slotOf('rflags');
  const old = c.b.get32(slot);
  c.b.set(slot, 4, down ? c.op('or', old, FLAG.df) : c.op('and', old, ~FLAG.df));
}

export const FLAG_CONTROL: SemanticsTable = {
  clc: (c) => setCarry(c, c.b.i32(0)),
  stc: (c) => setCarry(c, c.b.i32(1)),
  cmc: (c) => setCarry(c, c.op('xor', carry(c), 1)),
  cld: (c) => setDirection(c, false),
  std: (c) => setDirection(c, true),
  /** Bit 1 reads as set; bits 3 and 5 as clear. */
  lahf: (c) => c.b.set(AH, 1, c.op('or', c.op('and', arithmeticWord(c), 0xff), 2)),
  sahf: (c) => setFromByte(c, c.b.get(AH, 1)),
  salc: (c) => c.setGpr(GPR.rax, 1, c.negate(c.widen(carry(c)))),
  nop: nothing,
  pause: nothing,
  lfence: nothing,
  mfence: nothing,
  sfence: nothing,
};
