/**
 * Instruction forms: the key of everything that executes. A form is (semantics name, operand size, operand kinds); base,
 * index, scale, displacement, segment, address size and LOCK are fields of the decoded record and never make a new form.
 */
import type { Feature } from './features.ts';

/** Where an operand lives. `r` and `m` are the registers in the record fields of those names; `mem` is the memory operand. */
export type OperandPlace =
  | 'r'
  | 'm'
  | 'mem'
  | 'imm'
  /** A register fixed by the opcode, by its number in the general registers (AL/AX/EAX/RAX, CL, DX...). */
  | { readonly fixed: number }
  /** A constant implied by the opcode (the 1 of `shl r, 1`). */
  | { readonly constant: number };

/** Register file of a register operand. */
export type RegisterFile = 'gpr' | 'xmm' | 'mmx' | 'x87' | 'segment' | 'control' | 'debug';

export interface OperandForm {
  readonly place: OperandPlace;
  readonly file: RegisterFile;
  /**
   * Bytes read or written: 1, 2, 4, 8, 16 (10 for x87 registers and 80-bit memory operands; 0 for a structure whose size
   * the instruction knows, and for the operand of LEA).
   */
  readonly width: number;
}

/** An instruction form. Equal keys are one object: the decoder interns them. */
export interface Form {
  /** For example `add.8.mem,r`. */
  readonly key: string;
  /** Dense number, in order of first use; never persisted. */
  readonly id: number;
  /** Key of the semantics: the manual's mnemonic in lower case without operand-size suffix (`add`, `jcc`, `movsx`, `paddb`). */
  readonly name: string;
  /** Operand size in bytes: 1, 2, 4, 8 (16 for vectors, 10 for x87 registers, 0 where none matters). */
  readonly size: number;
  readonly operands: readonly OperandForm[];
  /** Condition code 0 to 15 of jcc, setcc, cmovcc; predicate and the like elsewhere; 0 when the name says all. */
  readonly variant: number;
  /** REP prefix on a string instruction: 0 none, 1 REP/REPE, 2 REPNE. */
  readonly rep: 0 | 1 | 2;
  /** Address size in bytes (2, 4, 8) where the form itself depends on it (string instructions, LOOP, JRCXZ), else 0. */
  readonly addressSize: number;
  /** Stack address size in bytes (2, 4, 8) of forms that use the stack implicitly, else 0. */
  readonly stackSize: number;
  /** The CPUID feature it needs; null when every x86-64 CPU has it. */
  readonly feature: Feature | null;
  /** True for forms executed by TypeScript (src/x86/system/): system and rare instructions. */
  readonly system: boolean;
  /** Touches nothing but registers and memory, though it is a system form: no point of delivery. */
  readonly quiet: boolean;
  /** Reads and writes general registers alone, wherever it stands. */
  readonly contained: boolean;
  /** The TF that it leaves, not the one it found, decides whether a single-step trap follows. */
  readonly newTf: boolean;
  /** Pushes its return address: what follows is entered by a return. */
  readonly call: boolean;
  /** Jumps to a return address. */
  readonly ret: boolean;
}

/** Code mode: 0 = 16-bit, 1 = 32-bit (compatibility or protected), 2 = 64-bit. */
export type CodeMode = 0 | 1 | 2;

/** One decoded instruction: the form and the fields of the record (see record.ts for their meaning). */
export interface Insn {
  readonly form: Form;
  readonly mode: CodeMode;
  readonly pageOffset: number;
  readonly length: number;
  readonly r: number;
  readonly m: number;
  readonly base: number;
  readonly index: number;
  readonly scale: number;
  readonly seg: number;
  readonly disp: bigint;
  readonly imm: bigint;
  readonly imm2: number;
  readonly attr: number;
}

/** Why bytes are not an instruction. */
export type DecodeFailure =
  /** The bytes end inside the instruction: fetch the next page (or fault there). */
  | 'short'
  /** Longer than 15 bytes: #GP(0). */
  | 'long'
  /** Not an instruction of this CPU: #UD. */
  | 'invalid'
  /** The engine's answer for a form that has no semantics: the run stops with verdict `unimplemented`. */
  | 'outside';

/** Which CPU the guest sees and has: a level of x86-64, and whose processor it is, AMD's where the name does not say. */
export type CpuPolicy = 'x86-64-v1' | 'x86-64-v2' | 'x86-64-v1-intel' | 'x86-64-v2-intel';
