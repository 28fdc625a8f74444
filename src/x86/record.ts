/**
 * The decoded record: one instruction as the engine keeps it in linear memory, 64 bytes, little-endian.
 *
 * Register operands are byte offsets into the vCPU state (high-byte registers are the register's offset + 1), so that
 * a handler needs no tables. An absent base or index names the ZERO slot; a RIP-relative operand names the PAGE_BASE
 * slot as its base with the page offset of the next instruction added to `disp`. A record is shared by every virtual mapping
 * of its frame: nothing in it depends on the virtual address.
 *
 * Fields by kind of operand: a segment register is the offset of its selector slot; a control or debug register and ST(i)
 * are plain numbers. String instructions have base = rSI (movs, cmps, lods, outs) or rDI (stos, scas, ins), so that the memory
 * operand is the source or the destination; `m` is the offset of that operand's segment base and `r` that of ES (the ZERO slot
 * in 64-bit mode), for the second operand of movs and cmps. XLAT has base = rBX, to which the instruction adds AL, and `m` likewise.
 * MASKMOVQ and MASKMOVDQU have base = rDI.
 */
export const RECORD_BYTES = 64;
export const RECORD = {
  /** i32: index of the handler in the dispatch table. */
  handler: 0,
  /** u16: offset of the instruction in its page; u8 at +2: length in bytes; u8 at +3: reserved. */
  place: 4,
  /** i32: state offset of the ModRM.reg operand. */
  r: 8,
  /** i32: state offset of the register named by ModRM.rm or by the opcode. */
  m: 12,
  base: 16,
  index: 20,
  /** i32: 0 to 3. */
  scale: 24,
  /** i32: state offset of the segment base to add (the ZERO slot for flat segments of 64-bit mode). */
  seg: 28,
  /** i64 */
  disp: 32,
  /** i64: immediate, sign-extended as the instruction does; for relative branches: target minus the page's address. */
  imm: 40,
  /** i32: engine-owned link to the record of the branch target. */
  link: 48,
  /** i32: ATTR bits. */
  attr: 52,
  /** i32: second immediate (ENTER level, far pointer selector). */
  imm2: 56,
  /** i32: page offset of the next instruction (offset + length; may reach 4096 and beyond). */
  next: 60,
} as const;

/** Whether the memory operand lies in CS outside 64-bit mode, where no code segment can be written (SDM vol. 3A 5.5). */
export const operandInCode = (insn: { readonly mode: number; readonly attr: number }): boolean =>
  insn.mode !== 2 && segmentNumberOf(insn) === 1;

/** Number of the segment of the memory operand. */
export const segmentNumberOf = (insn: { readonly attr: number }): number => (insn.attr >> ATTR.segmentShift) & 7;

/** Bits of the `attr` field. */
export const ATTR = {
  /** Address size code in bits 1:0: 0 = 64 bits, 1 = 32 bits, 2 = 16 bits. */
  addressMask: 3,
  /** Outside 64-bit mode linear addresses are 32 bits wide. */
  linear32: 1 << 2,
  /** The memory operand lies in the stack segment: a non-canonical address raises #SS. */
  stack: 1 << 3,
  lock: 1 << 4,
  rep: 1 << 5,
  repne: 1 << 6,
  /** Number (0 ES, 1 CS, 2 SS, 3 DS, 4 FS, 5 GS) of the segment of the memory operand in bits 10:8. */
  segmentShift: 8,
} as const;
