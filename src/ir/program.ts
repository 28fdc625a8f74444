/**
 * The micro-op language: what one instruction form does, as a straight line of typed operations without control flow.
 *
 * A {@link Program} is recorded once per form by a semantics function through the {@link Builder} and consumed by every
 * engine tier: the cold tier turns it into a Wasm function that takes operands from a decoded record, the hot tier
 * into region code with the operands constant, the evaluator runs it directly on BigInts.
 *
 * Invariants (the commit rule, enforced by the builder):
 * - `body` holds everything that can fault or only reads: state reads see the state before the instruction, loads go to
 *   values, every page of every store is probed;
 * - `commits` holds everything that changes the machine, in order; no commit can fault;
 * - a value is used only after the operation that makes it.
 */

/** Value types; i32 doubles as the type of conditions (0 or 1). */
export type Type = 'i32' | 'i64' | 'v128';

/** The result of an operation. `id` indexes {@link Program.body}. */
export interface Value {
  readonly id: number;
  readonly type: Type;
}

/** Lane shape of floating-point operations; the NaN that one gives is any NaN (tiers differ), and must reach no state. */
export type FloatLane = 'f32x4' | 'f64x2';

/** Numeric operations are named by their WebAssembly mnemonic and mean exactly what it means. */
export type UnaryOp =
  | 'i32.eqz'
  | 'i32.clz'
  | 'i32.ctz'
  | 'i32.popcnt'
  | 'i32.extend8_s'
  | 'i32.extend16_s'
  | 'i32.wrap_i64'
  | 'i64.eqz'
  | 'i64.clz'
  | 'i64.ctz'
  | 'i64.popcnt'
  | 'i64.extend8_s'
  | 'i64.extend16_s'
  | 'i64.extend32_s'
  | 'i64.extend_i32_u'
  | 'i64.extend_i32_s'
  | 'v128.not'
  | 'v128.any_true'
  | 'i8x16.bitmask'
  | 'i16x8.bitmask'
  | 'i32x4.bitmask'
  | 'i64x2.bitmask'
  | 'i8x16.splat'
  | 'i16x8.splat'
  | 'i32x4.splat'
  | 'i64x2.splat'
  | 'i16x8.extend_low_i8x16_s'
  | 'i16x8.extend_low_i8x16_u'
  | 'i32x4.extend_low_i16x8_s'
  | 'i32x4.extend_low_i16x8_u'
  | 'i16x8.extend_high_i8x16_s'
  | 'i16x8.extend_high_i8x16_u'
  | 'i32x4.extend_high_i16x8_s'
  | 'i32x4.extend_high_i16x8_u'
  | 'i64x2.extend_low_i32x4_s'
  | 'i64x2.extend_low_i32x4_u'
  | 'i8x16.abs'
  | 'i16x8.abs'
  | 'i32x4.abs'
  | `${FloatLane}.${'abs' | 'sqrt' | 'nearest'}`
  | 'f32x4.convert_i32x4_s'
  | 'f32x4.demote_f64x2_zero'
  | 'f64x2.convert_low_i32x4_s'
  | 'f64x2.convert_low_i32x4_u'
  | 'f64x2.promote_low_f32x4'
  | 'i32x4.trunc_sat_f32x4_s'
  | 'i32x4.trunc_sat_f64x2_s_zero';

export type BinaryOp =
  | 'i32.add'
  | 'i32.sub'
  | 'i32.mul'
  | 'i32.and'
  | 'i32.or'
  | 'i32.xor'
  | 'i32.shl'
  | 'i32.shr_u'
  | 'i32.shr_s'
  | 'i32.rotl'
  | 'i32.rotr'
  | 'i32.eq'
  | 'i32.ne'
  | 'i32.lt_u'
  | 'i32.lt_s'
  | 'i32.gt_u'
  | 'i32.gt_s'
  | 'i32.le_u'
  | 'i32.le_s'
  | 'i32.ge_u'
  | 'i32.ge_s'
  | 'i32.div_u'
  | 'i32.div_s'
  | 'i32.rem_u'
  | 'i32.rem_s'
  | 'i64.add'
  | 'i64.sub'
  | 'i64.mul'
  | 'i64.and'
  | 'i64.or'
  | 'i64.xor'
  | 'i64.shl'
  | 'i64.shr_u'
  | 'i64.shr_s'
  | 'i64.rotl'
  | 'i64.rotr'
  | 'i64.eq'
  | 'i64.ne'
  | 'i64.lt_u'
  | 'i64.lt_s'
  | 'i64.gt_u'
  | 'i64.gt_s'
  | 'i64.le_u'
  | 'i64.le_s'
  | 'i64.ge_u'
  | 'i64.ge_s'
  | 'i64.div_u'
  | 'i64.div_s'
  | 'i64.rem_u'
  | 'i64.rem_s'
  | 'v128.and'
  | 'v128.or'
  | 'v128.xor'
  | 'v128.andnot'
  | 'i8x16.add'
  | 'i16x8.add'
  | 'i32x4.add'
  | 'i64x2.add'
  | 'i8x16.sub'
  | 'i16x8.sub'
  | 'i32x4.sub'
  | 'i64x2.sub'
  | 'i8x16.add_sat_s'
  | 'i8x16.add_sat_u'
  | 'i16x8.add_sat_s'
  | 'i16x8.add_sat_u'
  | 'i8x16.sub_sat_s'
  | 'i8x16.sub_sat_u'
  | 'i16x8.sub_sat_s'
  | 'i16x8.sub_sat_u'
  | 'i16x8.mul'
  | 'i32x4.mul'
  | 'i32x4.dot_i16x8_s'
  | 'i8x16.avgr_u'
  | 'i16x8.avgr_u'
  | 'i8x16.min_s'
  | 'i8x16.min_u'
  | 'i8x16.max_s'
  | 'i8x16.max_u'
  | 'i16x8.min_s'
  | 'i16x8.min_u'
  | 'i16x8.max_s'
  | 'i16x8.max_u'
  | 'i32x4.min_s'
  | 'i32x4.min_u'
  | 'i32x4.max_s'
  | 'i32x4.max_u'
  | 'i8x16.eq'
  | 'i16x8.eq'
  | 'i32x4.eq'
  | 'i64x2.eq'
  | 'i8x16.gt_s'
  | 'i16x8.gt_s'
  | 'i32x4.gt_s'
  | 'i64x2.gt_s'
  /** Byte `b[i]` of `a` for every byte; zero where `b[i]` is above 15. */
  | 'i8x16.swizzle'
  | 'i8x16.narrow_i16x8_s'
  | 'i8x16.narrow_i16x8_u'
  | 'i16x8.narrow_i32x4_s'
  | 'i16x8.narrow_i32x4_u'
  | 'i64x2.extmul_low_i32x4_s'
  | 'i64x2.extmul_low_i32x4_u'
  | 'i32x4.extmul_low_i16x8_s'
  | 'i32x4.extmul_high_i16x8_s'
  | 'i32x4.extmul_low_i16x8_u'
  | 'i32x4.extmul_high_i16x8_u'
  | `${FloatLane}.${'add' | 'sub' | 'mul' | 'div' | 'pmin' | 'pmax' | 'eq' | 'lt' | 'le'}`
  // vector shifts: v128 by i32 count, which the semantics have already bounded to the lane width
  | 'i16x8.shl'
  | 'i16x8.shr_u'
  | 'i16x8.shr_s'
  | 'i32x4.shl'
  | 'i32x4.shr_u'
  | 'i32x4.shr_s'
  | 'i64x2.shl'
  | 'i64x2.shr_u';

/** Lane shape of extract and replace operations. */
export type Lane = 'i8x16' | 'i16x8' | 'i32x4' | 'i64x2';

/** Fields of a decoded record that a program may read (see src/x86/record.ts); all are i32 except `disp` and `imm`. */
export type FieldName = 'r' | 'm' | 'base' | 'index' | 'scale' | 'seg' | 'attr' | 'imm2' | 'next' | 'disp' | 'imm';

/** A place in the vCPU state: a constant byte offset, or the offset held in a record field plus a constant. */
export type StateRef =
  | { readonly kind: 'slot'; readonly offset: number }
  | { readonly kind: 'field'; readonly field: 'r' | 'm'; readonly delta: number };

/** Width of a memory or state access in bytes. */
export type Width = 1 | 2 | 4 | 8 | 16;

export type Node =
  | { readonly op: 'const'; readonly type: Type; readonly value: bigint }
  | { readonly op: 'unary'; readonly type: Type; readonly name: UnaryOp; readonly a: number }
  | { readonly op: 'binary'; readonly type: Type; readonly name: BinaryOp; readonly a: number; readonly b: number }
  | { readonly op: 'select'; readonly type: Type; readonly cond: number; readonly a: number; readonly b: number }
  /** Lane `lane` of a vector; lanes narrower than 32 bits are zero-extended to i32. */
  | { readonly op: 'extract'; readonly type: Type; readonly shape: Lane; readonly lane: number; readonly a: number }
  | {
      readonly op: 'replace';
      readonly type: 'v128';
      readonly shape: Lane;
      readonly lane: number;
      readonly a: number;
      readonly b: number;
    }
  /** Bytes `lanes[i]` of the concatenation a (0-15), b (16-31). */
  | {
      readonly op: 'shuffle';
      readonly type: 'v128';
      readonly lanes: readonly number[];
      readonly a: number;
      readonly b: number;
    }
  | { readonly op: 'field'; readonly type: 'i32' | 'i64'; readonly name: FieldName }
  /** Reads vCPU state: i64 zero-extended for widths up to 8 (`i32` when asked for width 4), v128 for 16. */
  | { readonly op: 'get'; readonly type: Type; readonly ref: StateRef; readonly width: Width }
  /** The effective address: (base + (index << scale) + disp) truncated to the address size; `offset` of a LEA. */
  | { readonly op: 'offset'; readonly type: 'i64' }
  /**
   * The linear address of the memory operand: `offset` plus the segment base, 32 bits wide outside 64-bit mode. `delta`
   * (null: none) is an i64 added to the effective address before it is truncated (bit strings, XLAT).
   */
  | { readonly op: 'linear'; readonly type: 'i64'; readonly delta: number | null }
  /** rip of the next instruction (truncated by the semantics where the operand size is smaller). */
  | { readonly op: 'nextRip'; readonly type: 'i64' }
  /** rip of the target of a relative branch. */
  | { readonly op: 'targetRip'; readonly type: 'i64' }
  /**
   * Reads memory; i64 zero-extended, or v128. `align`: #GP(0) when the address is not a multiple of the width. `stack`: a
   * non-canonical address raises #SS(0) instead of #GP(0), as it does at a `linear` address when ATTR.stack is set.
   */
  | {
      readonly op: 'load';
      readonly type: 'i64' | 'v128';
      readonly addr: number;
      readonly width: Width;
      readonly align: boolean;
      readonly stack: boolean;
    }
  /**
   * Makes `bytes` bytes at `addr` writable (write intent): every page checked, accessed and dirty set. The value is an
   * opaque i32 token for `peek` and the store commits. `align` and `stack` as in `load`.
   */
  | {
      readonly op: 'probe';
      readonly type: 'i32';
      readonly addr: number;
      readonly bytes: number;
      readonly align: boolean;
      readonly stack: boolean;
    }
  /** Reads through a write probe: the old value of a read-modify-write. */
  | {
      readonly op: 'peek';
      readonly type: 'i64' | 'v128';
      readonly token: number;
      readonly offset: number;
      readonly width: Width;
    }
  /** Raises a fault when `cond` is not zero; nothing has been committed. */
  | {
      readonly op: 'raise';
      readonly type: 'i32';
      readonly cond: number;
      readonly vector: number;
      readonly error: number;
    }
  /**
   * Completes the instruction here when `cond` is not zero: nothing later in the body happens, nothing commits, and
   * execution falls through (a REP string instruction with count 0).
   */
  | { readonly op: 'complete'; readonly type: 'i32'; readonly cond: number }
  /** Calls a pure helper (see src/x86/helpers.ts), unless the shortcut holds. */
  | {
      readonly op: 'call';
      readonly type: Type;
      readonly helper: string;
      readonly args: readonly number[];
      readonly shortcut: Shortcut | null;
    };

/** Micro-ops in place of a helper: where `when` (i32) is not zero, `value` is what the helper would give. Ids of values. */
export interface Shortcut {
  readonly when: number;
  readonly value: number;
}

export type Commit =
  | { readonly op: 'set'; readonly ref: StateRef; readonly width: Width; readonly value: number }
  | {
      readonly op: 'store';
      readonly token: number;
      readonly offset: number;
      readonly width: Width;
      readonly value: number;
    }
  /** Raises after the commits before this one (`#XM` keeps the new MXCSR); later commits do not happen. */
  | { readonly op: 'raiseAfter'; readonly cond: number; readonly vector: number; readonly error: number }
  /** Continues at a rip that is only known at run time. Last commit. */
  | { readonly op: 'jump'; readonly rip: number }
  /** Continues at the target of the relative branch when `cond` holds (always when null), else at the next instruction. Last commit. */
  | { readonly op: 'branch'; readonly cond: number | null }
  /** Executes the same instruction again (next REP iteration) when `cond` holds, else falls through. Last commit. */
  | { readonly op: 'repeat'; readonly cond: number };

/** What one form does. */
export interface Program {
  readonly body: readonly Node[];
  readonly commits: readonly Commit[];
}
