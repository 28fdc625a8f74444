/**
 * Controls and results of floating-point operations: the parts of MXCSR (SDM vol. 1, 10.2.3) and of the x87 control and
 * status words (SDM vol. 1, 8.1.3 and 8.1.5) that arithmetic depends on.
 */

/** Invalid operation, bit 0 of MXCSR and FSW. */
export const IE = 1;
/** Denormal operand. */
export const DE = 2;
/** Division by zero. */
export const ZE = 4;
/** Overflow. */
export const OE = 8;
/** Underflow. */
export const UE = 16;
/** Precision (inexact result). */
export const PE = 32;
/** All six exception bits. */
export const EXCEPTIONS = 63;
/** The exceptions found before the result is computed; an unmasked one hides OE, UE and PE (SDM vol. 1, 4.9.2). */
export const BEFORE_COMPUTATION = IE | DE | ZE;

/** Condition codes in FSW's positions; only x87 operations give them. C1 says that an inexact result was rounded up. */
export const C0 = 0x0100;
export const C1 = 0x0200;
export const C2 = 0x0400;
export const C3 = 0x4000;

/** Rounding control as MXCSR.RC and FCW.RC encode it. */
export const NEAREST = 0;
export const DOWN = 1;
export const UP = 2;
export const TO_ZERO = 3;
export type Rounding = typeof NEAREST | typeof DOWN | typeof UP | typeof TO_ZERO;

/** Everything outside the operands that a result depends on. */
export interface Control {
  readonly rounding: Rounding;
  /** Denormal operands count as zero (SSE only). */
  readonly denormalsAreZero: boolean;
  /** A tiny result becomes zero while UE is masked (SSE only). */
  readonly flushToZero: boolean;
  /** Exception bits that are masked. */
  readonly masks: number;
  /** Significand bits of x87 add, subtract, multiply, divide and square root. */
  readonly precision: 24 | 53 | 64;
  /** Selects the x87 rules: NaN choice, condition codes, bias-adjusted results. */
  readonly x87: boolean;
}

/** A result pattern with the exceptions it raised (and the x87 condition codes, in FSW's positions). */
export interface Result {
  readonly value: bigint;
  readonly flags: number;
}

const SSE_CONTROLS: Control[] = Array.from({ length: 1024 }, (_, bits) => ({
  rounding: ((bits >> 7) & 3) as Rounding,
  denormalsAreZero: (bits & 1) !== 0,
  flushToZero: (bits & 0x200) !== 0,
  masks: (bits >> 1) & EXCEPTIONS,
  precision: 64,
  x87: false,
}));

/** The control of an SSE instruction under `mxcsr`. */
export const controlOfMxcsr = (mxcsr: number): Control => SSE_CONTROLS[(mxcsr >>> 6) & 1023]!;

/** The control of an x87 instruction under the control word `fcw`; the reserved precision 1 counts as 64 bits. */
export function controlOfFcw(fcw: number): Control {
  const pc = (fcw >> 8) & 3;
  return {
    rounding: ((fcw >> 10) & 3) as Rounding,
    denormalsAreZero: false,
    flushToZero: false,
    masks: fcw & EXCEPTIONS,
    precision: pc === 0 ? 24 : pc === 2 ? 53 : 64,
    x87: true,
  };
}

/** What remains of `raised` when an unmasked exception found before the computation stops it. */
export const prioritized = (raised: number, masks: number): number =>
  raised & ~masks & BEFORE_COMPUTATION ? raised & BEFORE_COMPUTATION : raised;
