/** Random operand values, biased to where arithmetic changes its mind: signs, carries, NaNs, denormals, rounding ties. */
import type { SplitMix64 } from './random.ts';

/** What a vector or memory operand holds. */
export type ElementKind = 'f32' | 'f64' | 'f80' | 'bcd' | 'i8' | 'i16' | 'i32' | 'i64';

/** Bytes per element. */
export const ELEMENT_SIZE: Record<ElementKind, number> = {
  f32: 4,
  f64: 8,
  f80: 10,
  bcd: 10,
  i8: 1,
  i16: 2,
  i32: 4,
  i64: 8,
};

const F32 = Uint32Array.of(
  0, // 0
  1, // smallest denormal
  0x7fffff, // largest denormal
  0x800000, // smallest normal
  0x800001,
  0x3f800000, // 1
  0x3f800001,
  0x3f7fffff,
  0x3f000000, // 0.5
  0x3fc00000, // 1.5
  0x40200000, // 2.5
  0x4b000000, // 2^23
  0x4b000001,
  0x4effffff, // below 2^31
  0x4f000000, // 2^31
  0x5f000000, // 2^63
  0x7f7fffff, // largest
  0x7f800000, // infinity
  0x7f800001, // SNaN
  0x7fa00000,
  0x7fc00000, // QNaN
  0x7fffffff,
);
const F64_HI = Uint32Array.of(
  0,
  0xfffff,
  0x100000,
  0x3ff00000,
  0x3fefffff,
  0x3fe00000,
  0x3ff80000,
  0x40040000,
  0x380fffff, // around the smallest single
  0x36a00000,
  0x47efffff, // around the largest single
  0x41dfffff, // around 2^31
  0x41e00000,
  0x43300000, // 2^52
  0x43dfffff, // around 2^63
  0x43e00000,
  0x7fefffff,
  0x7ff00000,
  0x7ff00001,
  0x7ff40000,
  0x7ff80000,
);
const F64_LO = Uint32Array.of(0, 0, 0, 1, 0xffffffff, 0x80000000, 0xe0000000, 0xffc00000, 0x20000000);
/** Sign and exponent of an 80-bit number. */
const F80_EXPONENT = Uint16Array.of(
  0,
  1,
  0x3fff,
  0x3ffe,
  0x4000,
  0x3f81, // smallest normal single
  0x3f6a,
  0x3c01, // smallest normal double
  0x3bcd,
  0x407e, // largest single
  0x43fe, // largest double
  0x401d,
  0x401e, // 2^31
  0x403d,
  0x403e, // 2^63
  0x7ffe,
  0x7fff,
  0x7fff,
);
const F80_HI = Uint32Array.of(0x80000000, 0x80000000, 0x80000000, 0xc0000000, 0xffffffff, 0xa0000000, 0x80000100);
const F80_LO = Uint32Array.of(0, 0, 0, 1, 0xffffffff, 0x80000000, 0x400, 0xfffff800, 0x7ff);
const INTEGERS = BigUint64Array.of(
  0n,
  1n,
  2n,
  0x7fn,
  0x80n,
  0x81n,
  0xffn,
  0x100n,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x10000n,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  0x100000000n,
  0x7fffffffffffffffn,
  0x8000000000000000n,
  0xffffffffffffffffn,
  0xfffffffffffffffen,
  0xffffffffffffff80n,
  0xffffffffffff8000n,
  0xffffffff80000000n,
  0x5555555555555555n,
  0x0f0f0f0f0f0f0f0fn,
);

/** A 64-bit integer: random, a boundary value, small, or a power of two give or take one. */
export function integer(random: SplitMix64): bigint {
  const way = random.below(16);
  if (way < 6) return random.bits64();
  if (way < 11) return random.pick(INTEGERS);
  if (way < 13) return BigInt(random.below(256));
  if (way < 15) return BigInt.asUintN(64, (1n << BigInt(random.below(64))) + BigInt(random.below(3)) - 1n);
  return BigInt.asUintN(64, -BigInt(random.below(256)));
}

function f32(random: SplitMix64, view: DataView, at: number): void {
  const way = random.below(16);
  random.next();
  let bits = random.lo;
  if (way < 7) bits = random.pick(F32) | (bits & 0x80000000);
  else if (way < 11) bits = (bits & 0x807fffff) | ((120 + (random.hi % 16)) << 23);
  else if (way < 13) bits = (bits & 0x80ffffff) | ((random.hi & 1) << 30); // tiny: denormals and underflow
  view.setUint32(at, bits, true);
}

function f64(random: SplitMix64, view: DataView, at: number): void {
  const way = random.below(16);
  random.next();
  let { hi, lo } = random;
  if (way < 7) {
    hi = random.pick(F64_HI) | (hi & 0x80000000);
    lo = random.pick(F64_LO);
  } else if (way < 11) {
    hi = (hi & 0x800fffff) | ((1016 + random.below(16)) << 20);
    if (way === 10) lo &= 0xe0000000; // exact or nearly so as a single
  } else if (way === 11) hi = (hi & 0x801fffff) | 0;
  else if (way === 12)
    hi = (hi & 0x800fffff) | ((0x381 + random.below(4) - 2) << 20); // a denormal single
  else if (way === 13) hi = (hi & 0x800fffff) | ((0x3ff + 28 + random.below(8)) << 20); // around 2^31
  view.setUint32(at, lo, true);
  view.setUint32(at + 4, hi, true);
}

function f80(random: SplitMix64, view: DataView, at: number): void {
  const way = random.below(16);
  random.next();
  let { hi, lo } = random;
  let exponent = random.below(0x10000);
  if (way < 8) {
    exponent = random.pick(F80_EXPONENT) | (exponent & 0x8000);
    hi = exponent & 0x7fff ? random.pick(F80_HI) : random.below(2) ? hi : random.below(2) << 31;
    lo = random.pick(F80_LO);
  } else if (way < 14) {
    exponent = (exponent & 0x8000) | (0x3fff - 8 + random.below(72));
    hi |= 0x80000000;
    if (way < 10) lo &= 0xfffff800; // exact as a double
  } else if (way < 15) hi |= 0x80000000; // else: unnormals, pseudo-denormals, pseudo-infinities
  view.setUint32(at, lo, true);
  view.setUint32(at + 4, hi, true);
  view.setUint16(at + 8, exponent, true);
}

/** Writes one element of `kind` at byte `at`. */
export function element(random: SplitMix64, kind: ElementKind, view: DataView, at: number): void {
  if (kind === 'f32') f32(random, view, at);
  else if (kind === 'f64') f64(random, view, at);
  else if (kind === 'f80') f80(random, view, at);
  else if (kind === 'bcd') {
    for (let i = 0; i < 9; i++) view.setUint8(at + i, random.below(10) * 16 + random.below(10));
    view.setUint8(at + 9, random.below(2) * 128);
  } else {
    const value = integer(random);
    if (kind === 'i64') view.setBigUint64(at, value, true);
    else if (kind === 'i32') view.setUint32(at, Number(value & 0xffffffffn), true);
    else if (kind === 'i16') view.setUint16(at, Number(value & 0xffffn), true);
    else view.setUint8(at, Number(value & 0xffn));
  }
}
