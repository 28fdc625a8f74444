/** Port input and output (SDM vol. 1 chapter 19). */
import { lowWord } from '../../core/words.ts';
import { notePortBreakpoints } from '../checks.ts';
import type { Cpu } from '../cpu.ts';
import type { Insn } from '../form.ts';
import { type Fault, isFault, type Platform } from '../seam.ts';
import { FLAG, GPR } from '../state.ts';
import {
  generalProtection,
  instructionAddress,
  iopl,
  loadOperand,
  probeOperand,
  type SystemHandler,
  type SystemTable,
  storeOperand,
} from './operands.ts';
import { ioPermitted } from './tss.ts';

/** #GP(0) unless IOPL or the I/O bitmap of the TSS allows the access. */
function checkPort(cpu: Cpu, port: number, width: number): null | Fault {
  if (cpu.cpl > iopl(cpu)) {
    const permitted = ioPermitted(cpu, port, width);
    if (isFault(permitted)) return permitted;
    if (!permitted) return generalProtection();
  }
  notePortBreakpoints(cpu, port, width);
  return null;
}

/** The port that operand `i` of IN or OUT names: an immediate byte, or DX. */
const portOf = (cpu: Cpu, insn: Insn, i: number): number =>
  insn.form.operands[i]!.place === 'imm' ? lowWord(insn.imm) & 0xff : cpu.gpr32(GPR.rdx) & 0xffff;

const input: SystemHandler = (cpu, insn, platform) => {
  const port = portOf(cpu, insn, 1);
  const { width } = insn.form.operands[0]!;
  const failed = checkPort(cpu, port, width);
  if (failed !== null) return failed;
  cpu.setGprLow(GPR.rax, width, platform.portIn(cpu, port, width));
  return null;
};
const output: SystemHandler = (cpu, insn, platform) => {
  const port = portOf(cpu, insn, 0);
  const { width } = insn.form.operands[1]!;
  const failed = checkPort(cpu, port, width);
  if (failed !== null) return failed;
  const value = cpu.gpr32(GPR.rax);
  return platform.portOut(cpu, port, width, width === 4 ? value : value & ((1 << (width * 8)) - 1));
};

/** One element of INS or OUTS; rIP stays while REP has more to do. */
const string =
  (
    pointer: number,
    transfer: (cpu: Cpu, insn: Insn, platform: Platform, port: number, width: number) => ReturnType<SystemHandler>,
  ): SystemHandler =>
  (cpu, insn, platform) => {
    const { addressSize, rep } = insn.form;
    const bits = addressSize * 8;
    const start = instructionAddress(cpu, insn);
    const count = BigInt.asUintN(bits, cpu.gpr(GPR.rcx));
    if (rep !== 0 && count === 0n) return null;
    const port = Number(cpu.gpr(GPR.rdx) & 0xffffn);
    const width = insn.form.operands[0]!.width;
    const outcome = checkPort(cpu, port, width) ?? transfer(cpu, insn, platform, port, width);
    if (outcome) return outcome;
    const step = BigInt(cpu.systemFlags & FLAG.df ? -width : width);
    const set = (register: number, value: bigint): void => {
      const old = cpu.gpr(register);
      cpu.setGpr(
        register,
        bits === 16 ? ((old >> 16n) << 16n) | BigInt.asUintN(16, value) : BigInt.asUintN(bits, value),
      );
    };
    set(pointer, cpu.gpr(pointer) + step);
    if (rep !== 0) {
      set(GPR.rcx, count - 1n);
      if (count > 1n) cpu.rip = start;
    }
    return null;
  };

/** Port instructions by semantics name. */
export const IO: SystemTable = {
  in: input,
  out: output,
  ins: string(GPR.rdi, (cpu, insn, platform, port, width) => {
    // the destination is checked first: reading a device cannot be undone
    const failed = probeOperand(cpu, insn, width);
    return failed ?? storeOperand(cpu, insn, width, BigInt(platform.portIn(cpu, port, width) >>> 0));
  }),
  outs: string(GPR.rsi, (cpu, insn, platform, port, width) => {
    const value = loadOperand(cpu, insn, width);
    return isFault(value) ? value : platform.portOut(cpu, port, width, Number(value));
  }),
};
