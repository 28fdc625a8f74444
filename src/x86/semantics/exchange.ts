/** Exchanges (SDM vol. 2: XCHG, CMPXCHG, CMPXCHG8B, CMPXCHG16B). XADD stands with the additions. */
import { GPR } from '../state.ts';
import type { Context, SemanticsTable } from './context.ts';
import { setSubtraction, setZero } from './flags.ts';

/** Memory is written back when the comparison fails; a register is left with all its 64 bits. */
function cmpxchg(c: Context): void {
  const { old, write } = c.modify(0);
  const accumulator = c.gpr(GPR.rax, c.size);
  const source = c.read(1);
  const equal = c.op('eq', accumulator, old);
  setSubtraction(c, accumulator, old, c.op('sub', accumulator, old));
  if (c.size === 4) {
    // RAX keeps its upper half when equal, the destination when not (measured on AMD family 1Ah).
    c.setGpr(GPR.rax, 8, c.b.select(equal, c.gpr(GPR.rax), old));
    if (c.isMemory(0)) write(c.b.select(equal, source, old));
    else c.writeWhole(0, c.b.select(equal, source, c.readWhole(0)));
    return;
  }
  c.setGpr(GPR.rax, c.size, c.b.select(equal, accumulator, old));
  write(c.b.select(equal, source, old));
}

/** CMPXCHG8B: EDX:EAX and ECX:EBX against 8 bytes. ZF is the only flag it writes. */
function cmpxchg8b(c: Context): void {
  const { old, write } = c.modify(0);
  const pair = (high: number, low: number) => c.op('or', c.op('shl', c.gpr(high, 4), 32), c.gpr(low, 4));
  const equal = c.op('eq', old, pair(GPR.rdx, GPR.rax));
  c.setGpr(GPR.rax, 8, c.b.select(equal, c.gpr(GPR.rax), c.truncate(old, 4)));
  c.setGpr(GPR.rdx, 8, c.b.select(equal, c.gpr(GPR.rdx), c.op('shr_u', old, 32)));
  write(c.b.select(equal, pair(GPR.rcx, GPR.rbx), old));
  setZero(c, equal);
}

/** CMPXCHG16B: a misaligned operand raises #GP(0). */
function cmpxchg16b(c: Context): void {
  const token = c.b.probe(c.b.linear(), 16, true);
  const low = c.b.peek(token, 8);
  const high = c.b.peek(token, 8, 8);
  const rax = c.gpr(GPR.rax);
  const rdx = c.gpr(GPR.rdx);
  const equal = c.op('and', c.op('eq', low, rax), c.op('eq', high, rdx));
  c.setGpr(GPR.rax, 8, low);
  c.setGpr(GPR.rdx, 8, high);
  c.b.storeAt(token, 8, c.b.select(equal, c.gpr(GPR.rbx), low));
  c.b.storeAt(token, 8, c.b.select(equal, c.gpr(GPR.rcx), high), 8);
  setZero(c, equal);
}

export const EXCHANGE: SemanticsTable = {
  xchg(c) {
    const first = c.modify(0);
    const second = c.read(1);
    c.write(1, first.old);
    first.write(second);
  },
  cmpxchg,
  cmpxchg8b,
  cmpxchg16b,
};
