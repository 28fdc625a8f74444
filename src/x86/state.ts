/**
 * The vCPU state: one declaration of every architectural and engine slot, its offset in linear memory, and whether it
 * is architectural (part of snapshot and hash). Offsets are relative to the vCPU's state base.
 *
 * Arithmetic flags are kept as (flagsResult, flagsAux), which any tier reads without branches:
 *   ZF = flagsResult == 0              SF = (flagsResult < 0) ^ aux[SD]       (flagsResult is sign-extended to 64 bits)
 *   PF = even parity of (flagsResult ^ aux[PDB]) & 0xff                       AF = aux[3]
 *   CF = aux[31]                       OF = aux[31] ^ aux[30]
 * where for addition and subtraction aux is the carry vector of the operation shifted so that the carry out of the
 * operand's top bit is bit 31. {@link Slot} `rflags` holds the other RFLAGS bits; its arithmetic bits are always zero.
 * Snapshots and hashes use the architectural RFLAGS word only.
 */

type SlotType = 'u8' | 'u16' | 'u32' | 'u64' | 'u128';
const WIDTH: Record<SlotType, number> = { u8: 1, u16: 2, u32: 4, u64: 8, u128: 16 };

export interface SlotInfo {
  readonly offset: number;
  readonly type: SlotType;
  /** Bytes of an element. */
  readonly width: number;
  readonly count: number;
  /** Architectural: in the snapshot and in the hash. */
  readonly architectural: boolean;
}

let cursor = 0;
const slot = (type: SlotType, count = 1, architectural = true): SlotInfo => {
  const width = WIDTH[type];
  cursor = Math.ceil(cursor / width) * width;
  const info = { offset: cursor, type, width, count, architectural };
  cursor += width * count;
  return info;
};
const engine = (type: SlotType, count = 1): SlotInfo => slot(type, count, false);

/** Every slot, in memory order. */
export const STATE = {
  /** rax rcx rdx rbx rsp rbp rsi rdi r8..r15 (the hardware's order). */
  gpr: slot('u64', 16),
  rip: slot('u64'),
  /** See the module comment; not architectural by themselves. */
  flagsResult: engine('u64'),
  flagsAux: engine('u32'),
  /** RFLAGS without CF PF AF ZF SF OF; bit 1 is always set. */
  rflags: slot('u32'),
  /** Always zero: the base, index or segment of an operand that has none. */
  zero: engine('u64'),
  /** Linear address of the page that `rip` lies in, while the engine runs. */
  pageBase: engine('u64'),
  /** ES CS SS DS FS GS LDTR TR. */
  segmentBase: slot('u64', 8),
  segmentLimit: slot('u32', 8),
  /** Descriptor bits 40-55 as LAR shows them, >> 8: type, S, DPL, P, AVL, L, DB, G. */
  segmentAttributes: slot('u16', 8),
  selector: slot('u16', 8),
  gdtrBase: slot('u64'),
  idtrBase: slot('u64'),
  gdtrLimit: slot('u16'),
  idtrLimit: slot('u16'),
  /** 0 = none, 1 = STI, 2 = MOV SS / POP SS: no interrupt before the next instruction has retired. */
  interruptShadow: slot('u8'),
  /** A debug trap is due before the next instruction: {@link TRAP} bits. */
  pendingTrap: slot('u8'),
  nmiBlocked: slot('u8'),
  halted: slot('u8'),
  cpl: slot('u8'),
  cr0: slot('u64'),
  cr2: slot('u64'),
  cr3: slot('u64'),
  cr4: slot('u64'),
  cr8: slot('u64'),
  dr: slot('u64', 8),
  efer: slot('u64'),
  star: slot('u64'),
  lstar: slot('u64'),
  cstar: slot('u64'),
  sfmask: slot('u64'),
  kernelGsBase: slot('u64'),
  sysenterCs: slot('u64'),
  sysenterEsp: slot('u64'),
  sysenterEip: slot('u64'),
  pat: slot('u64'),
  tscOffset: slot('u64'),
  tscAux: slot('u64'),
  xmm: slot('u128', 16),
  /** x87 registers by physical number (not by stack position): 80 bits in 16 bytes, the upper 6 bytes zero; MMX aliases the low 8. */
  fpr: slot('u128', 8),
  fcw: slot('u16'),
  /** Status word without TOP, which is `ftop`. */
  fsw: slot('u16'),
  /** Two bits a register by physical number as in the full tag word is derived; one bit here: 1 = not empty. */
  ftags: slot('u8'),
  ftop: slot('u8'),
  fop: slot('u16'),
  fip: slot('u64'),
  fdp: slot('u64'),
  mxcsr: slot('u32'),
  /** Steps this vCPU has taken. */
  steps: slot('u64'),

  // ---- engine-owned: rebuilt on restore, never observable -------------------------------------------------------------
  /** Linear-memory address of the software TLB in use (by privilege and address space). */
  tlbBase: engine('u32'),
  /** Record at which the engine stopped. */
  record: engine('u32'),
  /** Steps left when the engine stopped. */
  budget: engine('u32'),
  /** Steps of the cold tier left before it is sampled. */
  untilSample: engine('u32'),
  /** Record that was executed last, or by which a region was entered. */
  lastRecord: engine('u32'),
  /** Ways from region to region until one is sampled, and the region that was left last. */
  untilHop: engine('u32'),
  hopFrom: engine('u32'),
  /** Pending fault: vector, error code, address. */
  faultVector: engine('u32'),
  faultError: engine('u32'),
  faultAddress: engine('u64'),
  /** 0 = 16-bit, 1 = 32-bit, 2 = 64-bit code: which records apply. */
  codeMode: engine('u32'),
  /** Data breakpoints that the instruction has met so far, bits B0 to B3. */
  breakpoints: engine('u32'),
  scratch: engine('u64', 8),
  /** Steps that regions have taken, where they are measured. */
  regionSteps: engine('u64'),
} as const satisfies Record<string, SlotInfo>;

/** Bytes of one vCPU's state, rounded to a cache line. */
export const STATE_BYTES = Math.ceil(cursor / 64) * 64;

export type SlotName = keyof typeof STATE;

/** Numbers of the segment registers in `selector` and its companions. */
export const SEG = { es: 0, cs: 1, ss: 2, ds: 3, fs: 4, gs: 5, ldtr: 6, tr: 7 } as const;
/** Numbers of the general registers in `gpr`. */
export const GPR = {
  rax: 0,
  rcx: 1,
  rdx: 2,
  rbx: 3,
  rsp: 4,
  rbp: 5,
  rsi: 6,
  rdi: 7,
  r8: 8,
  r9: 9,
  r10: 10,
  r11: 11,
  r12: 12,
  r13: 13,
  r14: 14,
  r15: 15,
} as const;
/** Bits of RFLAGS. */
export const FLAG = {
  cf: 1,
  pf: 1 << 2,
  af: 1 << 4,
  zf: 1 << 6,
  sf: 1 << 7,
  tf: 1 << 8,
  if: 1 << 9,
  df: 1 << 10,
  of: 1 << 11,
  iopl: 3 << 12,
  nt: 1 << 14,
  rf: 1 << 16,
  vm: 1 << 17,
  ac: 1 << 18,
  vif: 1 << 19,
  vip: 1 << 20,
  id: 1 << 21,
} as const;
/** Bits of `pendingTrap`: why the trap is due, and RF in the image it pushes (a REP that has not ended). */
export const TRAP = { step: 1, breakpointShift: 1, breakpoints: 0x1e, resume: 0x20 } as const;
/** The six arithmetic flags. */
export const ARITHMETIC_FLAGS = FLAG.cf | FLAG.pf | FLAG.af | FLAG.zf | FLAG.sf | FLAG.of;
/** Bits of `flagsAux`. */
export const AUX = { af: 1 << 3, pdbShift: 8, sd: 1 << 16, po: 1 << 30, cf: 1 << 31 } as const;

/** Exception vectors (SDM vol. 3A table 6-1). */
export const VECTOR = {
  de: 0,
  db: 1,
  nmi: 2,
  bp: 3,
  of: 4,
  br: 5,
  ud: 6,
  nm: 7,
  df: 8,
  ts: 10,
  np: 11,
  ss: 12,
  gp: 13,
  pf: 14,
  mf: 16,
  ac: 17,
  mc: 18,
  xm: 19,
} as const;
