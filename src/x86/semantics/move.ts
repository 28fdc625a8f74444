/** Moves, extensions and conditional moves (SDM vol. 2: MOV, MOVZX, MOVSX, MOVSXD, LEA, CMOVcc, SETcc, CBW, CWD, XLAT, ...). */
import { GPR } from '../state.ts';
import { type Context, type SemanticsTable, slotOf } from './context.ts';
import { condition } from './flags.ts';

const copy = (c: Context): void => c.write(0, c.read(1));
const copySigned = (c: Context): void => c.write(0, c.signExtend(c.read(1), c.operand(1).width));

export const MOVE: SemanticsTable = {
  mov: copy,
  movnti: copy,
  movzx: copy,
  movsx: copySigned,
  movsxd: copySigned,
  /** The selector, zero-extended to a register; 16 bits to memory. */
  mov_from_sreg: copy,
  lea: (c) => c.write(0, c.b.offset()),
  /** The source is read, and a 32-bit destination zero-extended, whether or not the condition holds. */
  cmovcc: (c) => c.write(0, c.b.select(condition(c, c.form.variant), c.read(1), c.read(0))),
  setcc: (c) => c.write(0, c.widen(condition(c, c.form.variant))),
  /** CBW, CWDE, CDQE */
  cbw: (c) => c.setGpr(GPR.rax, c.size, c.signExtend(c.gpr(GPR.rax, c.size / 2), c.size / 2)),
  /** CWD, CDQ, CQO */
  cwd: (c) => c.setGpr(GPR.rdx, c.size, c.op('shr_s', c.signExtend(c.gpr(GPR.rax, c.size)), 63)),
  /** AL is added to rBX before the address is truncated. */
  xlat(c) {
    const address = c.b.linear(c.gpr(GPR.rax, 1));
    c.b.set(slotOf('gpr', GPR.rax), 1, c.b.load(address, 1));
  },
};
