/**
 * The notation of the opcode tables: one row an opcode, as in SDM vol. 2 appendix A.
 *
 * Opcode column: `[NP|66|F3|F2|REX.B|REX.W] [0F [38|3A]] XX[+r|+cc] [/digit | modrm | C0+i]`. A row without a prefix column
 * holds for every prefix; NP is "none of 66, F3, F2". `+r` takes the register from the low three bits, `+cc` the condition
 * from the low four, `C0+i` is the eight ModRM bytes that name ST(i).
 *
 * Operand column, in the manual's letters: E (register or memory by ModRM.rm), G (ModRM.reg), M (memory only), R (register
 * only by rm), Z (register in the opcode), I (immediate), J (relative branch), A (far pointer), O (moffs), X (DS:rSI), Y
 * (ES:rDI), S (segment), C, D (control, debug), P, Q, N (MMX by reg, rm, rm register only), V, W, U (XMM likewise), STi, ST0.
 * Widths: b w d q dq; v operand size; z operand size, at most 4; y 4, or 8 with REX.W (as yAX and yDX say of registers); n 8
 * in 64-bit mode, else 4; p far pointer; a two of operand size; ps pd ss sd as the manual; bs an immediate byte
 * sign-extended to the operand size. `Rv/Mw` is a register of operand size or a word of memory. A bare M has no width of its
 * own (LEA, FXSAVE). `(rDI)q` and `(rBX)b` are memory that the opcode implies.
 */
import { FEATURES, type Feature } from '../features.ts';

export interface Row {
  readonly opcode: string;
  /** Semantics name. */
  readonly name: string;
  /** Comma-separated operands. */
  readonly operands: string;
  readonly flags: readonly Flag[];
  /** The CPUID feature without which the opcode is none; null when every x86-64 CPU has it. */
  readonly feature: Feature | null;
}

/** What a row says beyond its operands. */
export type Flag =
  /** LOCK is allowed with a memory destination. */
  | 'lock'
  /** A row of AMD's processors alone. */
  | 'amd'
  /** A row of Intel's processors alone. */
  | 'intel'
  /** Not an instruction in 64-bit mode. */
  | 'i64'
  /** An instruction only in 64-bit mode. */
  | 'o64'
  /** Operand size is 64 bits by default in 64-bit mode; 66 makes it 16. */
  | 'd64'
  /** Operand size is 64 bits in 64-bit mode whatever the prefixes. */
  | 'f64'
  /** REX.W does not make the operand size 64 bits. */
  | 'now'
  /** Executed by TypeScript in src/x86/system. */
  | 'sys'
  /** Touches nothing but registers and memory, though TypeScript executes it: no point of delivery. */
  | 'quiet'
  /** Reads and writes general registers alone, wherever it stands: the engine's loop executes it without leaving. */
  | 'contained'
  /** The new TF decides whether a single-step trap follows: events clear it, SYSCALL masks it, SYSRET brings it. */
  | 'newtf'
  /** Pushes its return address: what follows is entered by a return. */
  | 'call'
  /** Jumps to such an address. */
  | 'ret'
  /** The operand size matters though no operand shows it. */
  | 'v'
  /** The address size is part of the form. */
  | 'asz'
  /** Uses the stack implicitly: the stack size is part of the form. */
  | 'stk'
  /** String instruction: REP applies. */
  | 'rep'
  /** String comparison: REPE and REPNE differ. */
  | 'repcc'
  /** The operands are decoded but never used. */
  | 'hint'
  /** ModRM.mod is ignored: the operand is a register whatever it says. */
  | 'anymod';

/** One table row; `flags` is a space-separated list of {@link Flag} with at most one {@link Feature} among them. */
export function row(opcode: string, name: string, operands = '', flags = ''): Row {
  const words = flags === '' ? [] : flags.split(' ');
  const feature = words.find((word) => word in FEATURES) ?? null;
  return {
    opcode,
    name,
    operands,
    flags: words.filter((word) => word !== feature) as Flag[],
    feature: feature as Feature | null,
  };
}

/**
 * A near branch, 64 bits wide in 64-bit mode: there 66 makes it 16 bits on AMD's processors (APM vol. 3, 1.2.2) and is ignored on Intel's
 * (SDM vol. 2 "JMP").
 */
export const nearBranch = (opcode: string, name: string, operands: string, flags = ''): Row[] => [
  row(opcode, name, operands, `amd d64 ${flags}`.trim()),
  row(opcode, name, operands, `intel f64 ${flags}`.trim()),
];
/** A far pointer in memory: its offset has 64 bits under REX.W on Intel's processors only (APM vol. 3 "JMP (Far)", "LFS"). */
export const farPointer = (opcode: string, name: string, operands: string, flags: string): Row[] => [
  row(opcode, name, operands, `amd now ${flags}`),
  row(opcode, name, operands, `intel ${flags}`),
];

/** The rows as parts of a feature, where they do not name one themselves. */
export const having = (feature: Feature, rows: readonly Row[]): Row[] =>
  rows.map((x) => ({ ...x, feature: x.feature ?? feature }));
