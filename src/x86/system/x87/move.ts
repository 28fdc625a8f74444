/** x87 loads, stores and moves (SDM vol. 2: FLD, FST, FILD, FIST, FISTTP, FBLD, FBSTP, FXCH, FCMOVcc, the constants). */
import type { Cpu } from '../../cpu.ts';
import type { Insn } from '../../form.ts';
import { isFault, type Outcome } from '../../seam.ts';
import { fbld, fbstp } from '../../softfloat/bcd.ts';
import { C1, type Control, DE, EXCEPTIONS, PE, type Result } from '../../softfloat/control.ts';
import { convert, fromInteger, toInteger, truncateToInteger } from '../../softfloat/convert.ts';
import { F32, F64, F80 } from '../../softfloat/format.ts';
import { round } from '../../softfloat/round.ts';
import { FLAG } from '../../state.ts';
import { loadOperand, probeOperand, type SystemHandler, type SystemTable, storeOperand } from '../operands.ts';
import {
  controlOf,
  free,
  isEmpty,
  pop,
  push,
  pushResult,
  read,
  rotate,
  setStatus,
  settle,
  stops,
  UNDERFLOW,
  waiting,
  write,
} from './stack.ts';

const widthOf = (insn: Insn): number => insn.form.operands[0]!.width;
const bitsOf = (insn: Insn): 16 | 32 | 64 => (widthOf(insn) * 8) as 16 | 32 | 64;
const isMemory = (insn: Insn): boolean => insn.form.operands[0]!.place === 'mem';

// ---- loads ----------------------------------------------------------------------------------------------------------

/** Pushes what `decode` makes of the memory operand. */
const load =
  (decode: (bits: bigint, control: Control, insn: Insn) => Result): SystemHandler =>
  (cpu, insn) => {
    const bits = loadOperand(cpu, insn, widthOf(insn));
    if (isFault(bits)) return bits;
    pushResult(cpu, decode(bits, controlOf(cpu), insn));
    return null;
  };

/** A denormal is pushed even when DE is unmasked (measured on AMD family 1Ah). */
const loadReal = load((bits, control, insn) => {
  const width = widthOf(insn);
  if (width === 10) return { value: bits, flags: 0 };
  return convert(width === 4 ? F32 : F64, F80, bits, { ...control, masks: control.masks | DE });
});
/** An empty source is found before a full stack. */
function loadRegister(cpu: Cpu, i: number): void {
  if (!isEmpty(cpu, i)) pushResult(cpu, { value: read(cpu, i), flags: 0 });
  else if (settle(cpu, UNDERFLOW.flags)) push(cpu, UNDERFLOW.value);
}

/** The first 128 bits of the significands and the exponent of the leading bit; rounding control applies. */
const CONSTANTS: Readonly<Record<string, readonly [significand: bigint, exponent: number]>> = {
  fldl2t: [0xd49a784bcd1b8afe492bf6ff4dafdb4cn, 1],
  fldl2e: [0xb8aa3b295c17f0bbbe87fed0691d3e88n, 0],
  fldpi: [0xc90fdaa22168c234c4c6628b80dc1cd1n, 1],
  fldlg2: [0x9a209a84fbcff7988f8959ac0b7c9178n, -2],
  fldln2: [0xb17217f7d1cf79abc9e3b39803f2f6afn, -1],
};
const constant = (value: (control: Control) => bigint): SystemHandler => {
  return (cpu) => {
    pushResult(cpu, { value: value(controlOf(cpu)), flags: 0 });
    return null;
  };
};
const LOAD_CONSTANTS: SystemTable = {
  ...Object.fromEntries(
    Object.entries(CONSTANTS).map(([name, [significand, exponent]]) => [
      name,
      constant((control) => round(F80, F80.significandBits, 0, significand, exponent - 127, control).value),
    ]),
  ),
  fld1: constant(() => 0x3fff_8000_0000_0000_0000n),
  fldz: constant(() => 0n),
};

// ---- stores ---------------------------------------------------------------------------------------------------------

/** Only a precision exception lets an unmasked result reach memory. */
const STORE_STOPPING = EXCEPTIONS & ~PE;

/** Stores what `encode` makes of ST(0), and pops when asked to; an empty register gives `indefinite`. */
function store(cpu: Cpu, insn: Insn, result: Result, indefinite: bigint, pops: boolean): Outcome {
  const { value, flags } = isEmpty(cpu, 0) ? { value: indefinite, flags: UNDERFLOW.flags } : result;
  const failed = stops(cpu, flags, STORE_STOPPING)
    ? probeOperand(cpu, insn, widthOf(insn))
    : storeOperand(cpu, insn, widthOf(insn), value);
  if (failed) return failed;
  if (settle(cpu, flags, STORE_STOPPING) && pops) pop(cpu);
  return null;
}
function storeReal(cpu: Cpu, insn: Insn, pops: boolean): Outcome {
  const width = widthOf(insn);
  if (width === 10) return store(cpu, insn, { value: read(cpu, 0), flags: 0 }, F80.indefinite, pops);
  const format = width === 4 ? F32 : F64;
  return store(cpu, insn, convert(F80, format, read(cpu, 0), controlOf(cpu)), format.indefinite, pops);
}
function storeRegister(cpu: Cpu, i: number, pops: boolean): void {
  const { value, flags } = isEmpty(cpu, 0) ? UNDERFLOW : { value: read(cpu, 0), flags: 0 };
  if (!settle(cpu, flags)) return;
  write(cpu, i, value);
  if (pops) pop(cpu);
}
const storeEither =
  (pops: boolean): SystemHandler =>
  (cpu, insn) => {
    if (isMemory(insn)) return storeReal(cpu, insn, pops);
    storeRegister(cpu, insn.m, pops);
    return null;
  };
const storeInteger =
  (pops: boolean, convertTo = toInteger): SystemHandler =>
  (cpu, insn) => {
    const bits = bitsOf(insn);
    return store(cpu, insn, convertTo(F80, read(cpu, 0), bits, controlOf(cpu)), 1n << BigInt(bits - 1), pops);
  };
const storeDecimal: SystemHandler = (cpu, insn) =>
  store(cpu, insn, fbstp(read(cpu, 0), controlOf(cpu)), fbstp(F80.indefinite, controlOf(cpu)).value, true);

// ---- moves between registers ----------------------------------------------------------------------------------------

/** Empty registers count as the indefinite when invalid is masked. */
const exchange: SystemHandler = (cpu, insn) => {
  const empty = (i: number): boolean => isEmpty(cpu, i);
  const flags = empty(0) || empty(insn.m) ? UNDERFLOW.flags : 0;
  if (!settle(cpu, flags)) return null;
  const top = empty(0) ? F80.indefinite : read(cpu, 0);
  write(cpu, 0, empty(insn.m) ? F80.indefinite : read(cpu, insn.m));
  write(cpu, insn.m, top);
  return null;
};

/** Both registers must be full whether or not the condition holds. Only a stack fault touches C1. */
const moveIf =
  (mask: number, wanted: boolean): SystemHandler =>
  (cpu, insn) => {
    if (isEmpty(cpu, 0) || isEmpty(cpu, insn.m)) {
      if (settle(cpu, UNDERFLOW.flags)) write(cpu, 0, UNDERFLOW.value);
      return null;
    }
    if (((cpu.rflags & mask) !== 0) === wanted) write(cpu, 0, read(cpu, insn.m));
    return null;
  };

const adjust =
  (change: (cpu: Cpu, insn: Insn) => void): SystemHandler =>
  (cpu, insn) => {
    change(cpu, insn);
    return null;
  };

export const X87_MOVE: SystemTable = waiting({
  fld(cpu, insn, platform) {
    if (isMemory(insn)) return loadReal(cpu, insn, platform);
    loadRegister(cpu, insn.m);
    return null;
  },
  fild: load((bits, control, insn) => fromInteger(F80, bits, bitsOf(insn), control)),
  fbld: load(fbld),
  ...LOAD_CONSTANTS,
  fst: storeEither(false),
  fstp: storeEither(true),
  fist: storeInteger(false),
  fistp: storeInteger(true),
  fisttp: storeInteger(true, truncateToInteger),
  fbstp: storeDecimal,
  /** FSTP without exceptions: an empty ST(0) is popped and nothing written. */
  fstpnce: adjust((cpu, insn) => {
    if (!isEmpty(cpu, 0)) return storeRegister(cpu, insn.m, true);
    setStatus(cpu, C1, 0);
    pop(cpu);
  }),
  fxch: exchange,
  fcmovb: moveIf(FLAG.cf, true),
  fcmove: moveIf(FLAG.zf, true),
  fcmovbe: moveIf(FLAG.cf | FLAG.zf, true),
  fcmovu: moveIf(FLAG.pf, true),
  fcmovnb: moveIf(FLAG.cf, false),
  fcmovne: moveIf(FLAG.zf, false),
  fcmovnbe: moveIf(FLAG.cf | FLAG.zf, false),
  fcmovnu: moveIf(FLAG.pf, false),
  ffree: adjust((cpu, insn) => free(cpu, insn.m)),
  ffreep: adjust((cpu, insn) => {
    free(cpu, insn.m);
    pop(cpu);
  }),
  fincstp: adjust((cpu) => {
    setStatus(cpu, C1, 0);
    rotate(cpu, 1);
  }),
  fdecstp: adjust((cpu) => {
    setStatus(cpu, C1, 0);
    rotate(cpu, -1);
  }),
});
