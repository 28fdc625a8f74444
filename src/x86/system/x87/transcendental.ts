/** x87 transcendental instructions (SDM vol. 2: F2XM1, FYL2X, FYL2XP1, FPATAN, FSIN, FCOS, FSINCOS, FPTAN). */
import type { Cpu } from '../../cpu.ts';
import { C1, C2, type Control, type Result } from '../../softfloat/control.ts';
import {
  f2xm1,
  fcos,
  fpatan,
  fptan,
  fsin,
  fsincos,
  fyl2x,
  fyl2xp1,
  type Pair,
} from '../../softfloat/transcendental.ts';
import type { SystemHandler, SystemTable } from '../operands.ts';
import {
  controlOf,
  isEmpty,
  OVERFLOW,
  pop,
  push,
  read,
  setStatus,
  settle,
  stops,
  UNDERFLOW,
  waiting,
  write,
} from './stack.ts';

type Unary = (a: bigint, control: Control) => Result;

/** ST(0) and ST(1); the result replaces ST(1), and ST(0) is popped. */
const popping =
  (operation: (a: bigint, b: bigint, control: Control) => Result): SystemHandler =>
  (cpu) => {
    const empty = isEmpty(cpu, 0) || isEmpty(cpu, 1);
    const { value, flags } = empty ? UNDERFLOW : operation(read(cpu, 0), read(cpu, 1), controlOf(cpu));
    if (!settle(cpu, flags)) return null;
    write(cpu, 1, value);
    pop(cpu);
    return null;
  };

/** Books the flags of a function of an angle; true when its results may be written: C2 says that the angle is out of range. */
function settleAngle(cpu: Cpu, flags: number): boolean {
  setStatus(cpu, C1 | C2, flags);
  return (flags & C2) === 0 && !stops(cpu, flags);
}

/** An angle in ST(0), replaced by a function of it. */
const ofAngle =
  (operation: Unary): SystemHandler =>
  (cpu) => {
    const { value, flags } = isEmpty(cpu, 0) ? UNDERFLOW : operation(read(cpu, 0), controlOf(cpu));
    if (settleAngle(cpu, flags)) write(cpu, 0, value);
    return null;
  };

/** An angle in ST(0), replaced by a function of it; a second result is pushed. */
const pushing =
  (operation: (a: bigint, control: Control) => Pair): SystemHandler =>
  (cpu) => {
    const stackFault = isEmpty(cpu, 0) ? UNDERFLOW : isEmpty(cpu, -1) ? null : OVERFLOW;
    const { below, top, flags } = stackFault
      ? { below: stackFault.value, top: stackFault.value, flags: stackFault.flags }
      : operation(read(cpu, 0), controlOf(cpu));
    if (!settleAngle(cpu, flags)) return null;
    write(cpu, 0, below);
    push(cpu, top);
    return null;
  };

const onTop =
  (operation: Unary): SystemHandler =>
  (cpu) => {
    const { value, flags } = isEmpty(cpu, 0) ? UNDERFLOW : operation(read(cpu, 0), controlOf(cpu));
    if (settle(cpu, flags)) write(cpu, 0, value);
    return null;
  };

export const X87_TRANSCENDENTAL: SystemTable = waiting({
  f2xm1: onTop(f2xm1),
  fyl2x: popping(fyl2x),
  fyl2xp1: popping(fyl2xp1),
  fpatan: popping(fpatan),
  fsin: ofAngle(fsin),
  fcos: ofAngle(fcos),
  fsincos: pushing(fsincos),
  fptan: pushing(fptan),
});
