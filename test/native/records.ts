/**
 * The records that the native oracle reads and writes, as views over bytes. Offsets, address space and meanings are those of
 * oracle.h, which is the definition; records.test.ts checks that both agree.
 */

export const CODE_BASE = 0x1000_0000;
export const DATA_BASE = 0x2000_0000;
export const RO_BASE = 0x2000_1000;
export const PAGE = 4096;
/** Seed of the read-only page's contents. */
export const RO_SEED = 0x5eedn;
export const CHANGES_MAX = 68;
/** {@link OutcomeRecord.vector} of a case that ran to its end. */
export const VECTOR_NONE = 0xff;

export const MODE_64 = 0;
export const MODE_COMPAT = 1;
/** 32-bit code under the segments of segments.ts. */
export const MODE_PROT32 = 2;
/** 16-bit code (CS.D clear) under the same segments. */
export const MODE_PROT16 = 3;
/** True for the modes with segments of their own. */
export const isSegmented = (mode: number): boolean => mode >= MODE_PROT32;
/** Width of addresses and operands without prefix; 64 for 64-bit mode. */
export const bitsOf = (mode: number): 64 | 32 | 16 => (mode === MODE_64 ? 64 : mode === MODE_PROT16 ? 16 : 32);
/** End the case by the trap flag after one instruction, not at the INT3 behind the code. */
export const CASE_STEP = 1;
/** Load and record the FXSAVE image. */
export const CASE_FP = 2;

export const CASE_SIZE = 752;
export const OUTCOME_SIZE = 1360;

/** Byte offsets of `struct case_record`. */
export const CASE_OFFSETS = {
  gpr: 0,
  rflags: 128,
  memory_seed: 136,
  fs_base: 144,
  gs_base: 152,
  mode: 160,
  flags: 161,
  code_length: 162,
  poke_length: 163,
  code_offset: 164,
  poke_offset: 166,
  tag: 168,
  code: 176,
  poke: 208,
  fxsave: 240,
} as const;

/** Byte offsets of `struct outcome_record`. */
export const OUTCOME_OFFSETS = {
  gpr: 0,
  rip: 128,
  rflags: 136,
  cr2: 144,
  error: 152,
  vector: 156,
  signal: 157,
  changes: 158,
  done: 160,
  change_offset: 168,
  change_value: 304,
  fxsave: 848,
} as const;

/** Offsets inside an FXSAVE64 image (SDM vol. 1, 10.5.1). */
export const FX = { fcw: 0, fsw: 2, ftw: 4, mxcsr: 24, st: 32, xmm: 160 } as const;

const C = CASE_OFFSETS;
const O = OUTCOME_OFFSETS;

/** One case: a view that can be moved over a batch by {@link at}. */
export class CaseRecord {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Byte offset of the record in `bytes`. */
  base = 0;
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  at(index: number): this {
    this.base = index * CASE_SIZE;
    return this;
  }
  gpr(number: number): bigint {
    return this.view.getBigUint64(this.base + number * 8, true);
  }
  setGpr(number: number, value: bigint): void {
    this.view.setBigUint64(this.base + number * 8, value, true);
  }
  get rflags(): number {
    return this.view.getUint32(this.base + C.rflags, true);
  }
  get memorySeed(): bigint {
    return this.view.getBigUint64(this.base + C.memory_seed, true);
  }
  get fsBase(): bigint {
    return this.view.getBigUint64(this.base + C.fs_base, true);
  }
  get gsBase(): bigint {
    return this.view.getBigUint64(this.base + C.gs_base, true);
  }
  /** Index of segment register `n` (the manual's number) in the table of a 32-bit case. */
  segmentIndex(n: number): number {
    return this.bytes[this.base + C.fs_base + n]!;
  }
  setSegmentIndex(n: number, index: number): void {
    this.bytes[this.base + C.fs_base + n] = index;
  }
  get mode(): number {
    return this.bytes[this.base + C.mode]!;
  }
  get flags(): number {
    return this.bytes[this.base + C.flags]!;
  }
  get codeOffset(): number {
    return this.view.getUint16(this.base + C.code_offset, true);
  }
  get tag(): number {
    return this.view.getUint32(this.base + C.tag, true);
  }
  /** The instruction bytes (a view). */
  get code(): Uint8Array {
    const start = this.base + C.code;
    return this.bytes.subarray(start, start + this.bytes[this.base + C.code_length]!);
  }
  /** The bytes laid over the data page at {@link pokeOffset} (a view). */
  get poke(): Uint8Array {
    const start = this.base + C.poke;
    return this.bytes.subarray(start, start + this.bytes[this.base + C.poke_length]!);
  }
  get pokeOffset(): number {
    return this.view.getUint16(this.base + C.poke_offset, true);
  }
  /** The FXSAVE image (a view). */
  get fxsave(): Uint8Array {
    return this.bytes.subarray(this.base + C.fxsave, this.base + C.fxsave + 512);
  }
}

/** One outcome: a view that can be moved over a batch by {@link at}. */
export class OutcomeRecord {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  base = 0;
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  at(index: number): this {
    this.base = index * OUTCOME_SIZE;
    return this;
  }
  gpr(number: number): bigint {
    return this.view.getBigUint64(this.base + number * 8, true);
  }
  setGpr(number: number, value: bigint): void {
    this.view.setBigUint64(this.base + number * 8, value, true);
  }
  get rip(): bigint {
    return this.view.getBigUint64(this.base + O.rip, true);
  }
  set rip(value: bigint) {
    this.view.setBigUint64(this.base + O.rip, value, true);
  }
  get rflags(): number {
    return this.view.getUint32(this.base + O.rflags, true);
  }
  set rflags(value: number) {
    this.view.setUint32(this.base + O.rflags, value, true);
  }
  get cr2(): bigint {
    return this.view.getBigUint64(this.base + O.cr2, true);
  }
  set cr2(value: bigint) {
    this.view.setBigUint64(this.base + O.cr2, value, true);
  }
  get error(): number {
    return this.view.getUint32(this.base + O.error, true);
  }
  set error(value: number) {
    this.view.setUint32(this.base + O.error, value, true);
  }
  /** Exception vector, or {@link VECTOR_NONE}. */
  get vector(): number {
    return this.bytes[this.base + O.vector]!;
  }
  set vector(value: number) {
    this.bytes[this.base + O.vector] = value;
  }
  /** How many words of the data page changed; only the first {@link CHANGES_MAX} are listed. */
  get changes(): number {
    return this.view.getUint16(this.base + O.changes, true);
  }
  set changes(value: number) {
    this.view.setUint16(this.base + O.changes, value, true);
  }
  changeOffset(index: number): number {
    return this.view.getUint16(this.base + O.change_offset + index * 2, true);
  }
  changeValue(index: number): bigint {
    return this.view.getBigUint64(this.base + O.change_value + index * 8, true);
  }
  setChange(index: number, offset: number, value: bigint): void {
    this.view.setUint16(this.base + O.change_offset + index * 2, offset, true);
    this.view.setBigUint64(this.base + O.change_value + index * 8, value, true);
  }
  get done(): boolean {
    return this.bytes[this.base + O.done] === 1;
  }
  set done(value: boolean) {
    this.bytes[this.base + O.done] = value ? 1 : 0;
  }
  /** The FXSAVE image (a view). */
  get fxsave(): Uint8Array {
    return this.bytes.subarray(this.base + O.fxsave, this.base + O.fxsave + 512);
  }
}
