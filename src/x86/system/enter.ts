/**
 * ENTER (SDM vol. 2A "ENTER"). The number of its pushes is an operand, and with nested frames it may read what it has just
 * pushed, so it is not a straight line of micro-ops.
 */
import { isFault } from '../seam.ts';
import { GPR } from '../state.ts';
import { type SystemHandler, type SystemTable, writeGpr } from './operands.ts';
import { addressOf, currentStack, loadStack, probeStack, setPointer } from './stack.ts';

const enter: SystemHandler = (cpu, insn) => {
  const { size } = insn.form;
  const level = insn.imm2 & 31;
  const stack = currentStack(cpu);
  const frame = cpu.gpr(GPR.rbp);
  const newFrame = stack.pointer - BigInt(size);
  const end = newFrame - BigInt(level * size) - insn.imm;
  const slot = (i: number): bigint => addressOf(stack, newFrame - BigInt(i * size));
  const display = (i: number): bigint => addressOf(stack, frame - BigInt(i * size));

  // Everything that can fault first, the final rSP as a write among it.
  for (const address of [...Array.from({ length: level + 1 }, (_, i) => slot(i)), addressOf(stack, end)]) {
    const failed = probeStack(cpu, stack, address, size);
    if (failed) return failed;
  }
  for (let i = 1; i < level; i++) {
    const value = loadStack(cpu, stack, display(i), size);
    if (isFault(value)) return value;
  }

  for (let i = 0; i <= level; i++) {
    let value = frame;
    if (i > 0) {
      const copied = i < level ? loadStack(cpu, stack, display(i), size) : newFrame;
      if (isFault(copied)) return copied;
      value = copied;
    }
    const failed = cpu.memory.store(cpu, slot(i), size, BigInt.asUintN(size * 8, value), { stack: true });
    if (failed) return failed;
  }
  setPointer(cpu, stack.bits, end);
  writeGpr(cpu, GPR.rbp, size, newFrame);
  return null;
};

export const ENTER: SystemTable = { enter };
