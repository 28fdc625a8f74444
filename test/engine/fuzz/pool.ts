/** Random encodings of every form the decoder reaches, each form as likely as the next. */
import { decode } from '../../../src/x86/decode/decode.ts';
import { enumerateForms } from '../../../src/x86/decode/enumerate.ts';
import type { CodeMode, CpuPolicy, Form, Insn } from '../../../src/x86/form.ts';
import { programOf } from '../../../src/x86/semantics/registry.ts';
import { GPR, STATE } from '../../../src/x86/state.ts';
import type { Random } from '../random.ts';

const LEGACY = new Set([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3]);
const RSP = STATE.gpr.offset + GPR.rsp * 8;

/** How a form may be used in a random program. */
export interface Source {
  readonly form: Form;
  /** Bytes up to and with the opcode, legacy prefixes and REX apart. */
  readonly legacy: readonly number[];
  readonly rex: number;
  readonly opcode: readonly number[];
  readonly modrm: number;
  /** It has an explicit memory operand. */
  readonly memory: boolean;
  /** Bytes of that operand. */
  readonly width: number;
  /** Jumps, calls, returns, branches. */
  readonly transfers: boolean;
  readonly writesStackPointer: boolean;
}

/** The forms of one mode. */
export interface Pool {
  readonly mode: CodeMode;
  readonly policy: CpuPolicy;
  /** With a program. */
  readonly plain: readonly Source[];
  /** Executed by TypeScript. */
  readonly system: readonly Source[];
}

function sourceOf(form: Form, bytes: Uint8Array, mode: CodeMode): Source {
  let at = 0;
  while (LEGACY.has(bytes[at]!)) at++;
  const legacy = [...bytes.subarray(0, at)];
  const rex = mode === 2 && (bytes[at]! & 0xf0) === 0x40 ? bytes[at++]! : 0;
  const from = at;
  if (bytes[at++] === 0x0f && (bytes[at] === 0x38 || bytes[at] === 0x3a)) at++;
  if (bytes[from] === 0x0f) at++;
  const program = form.system ? null : programOf(form);
  const last = program?.commits.at(-1)?.op;
  const memory = form.operands.find((x) => x.place === 'mem');
  return {
    form,
    legacy,
    rex,
    opcode: [...bytes.subarray(from, at)],
    modrm: bytes[at] ?? 0,
    memory: memory !== undefined,
    width: memory?.width ?? 0,
    transfers: last === 'jump' || last === 'branch',
    writesStackPointer:
      program?.commits.some((x) => x.op === 'set' && x.ref.kind === 'slot' && x.ref.offset === RSP) ?? false,
  };
}

const pools = new Map<string, Pool>();

/** The forms of a mode and policy. */
export function poolOf(mode: CodeMode, policy: CpuPolicy): Pool {
  const key = `${mode} ${policy}`;
  let pool = pools.get(key);
  if (pool === undefined) {
    const all = [...enumerateForms(mode, policy)].map(([form, bytes]) => sourceOf(form, bytes, mode));
    pool = {
      mode,
      policy,
      plain: all.filter(({ form }) => !form.system && programOf(form) !== null),
      system: all.filter(({ form }) => form.system),
    };
    pools.set(key, pool);
  }
  return pool;
}

/** How the memory operand of an instruction is addressed. */
export type Addressing =
  /** By its displacement alone. */
  | { readonly kind: 'absolute'; readonly address: number }
  /** By the next instruction's address; 64-bit mode only. `at`: where the instruction will lie. */
  | { readonly kind: 'relative'; readonly address: number; readonly at: number }
  /** By a register (not rSP) and a displacement. */
  | { readonly kind: 'base'; readonly register: number; readonly disp: number }
  | { readonly kind: 'wild' };

const le32 = (value: number): number[] => [value & 255, (value >> 8) & 255, (value >> 16) & 255, (value >> 24) & 255];

/** ModRM, SIB and displacement for `reg`; sets the REX bits that the base does not need to 0 in `rexMask`. */
function operand(
  addressing: Exclude<Addressing, { kind: 'wild' | 'relative' }>,
  reg: number,
  mode: CodeMode,
): { bytes: number[]; rex: number } {
  if (addressing.kind === 'absolute') {
    const bytes = mode === 2 ? [(reg << 3) | 4, 0x25] : [(reg << 3) | 5];
    return { bytes: [...bytes, ...le32(addressing.address)], rex: 0 };
  }
  const { register, disp } = addressing;
  const low = register & 7;
  const sib = low === 4 ? [0x24] : [];
  const rex = register > 7 ? 1 : 0;
  if (disp === 0 && low !== 5) return { bytes: [(reg << 3) | low, ...sib], rex };
  if (disp >= -128 && disp < 128) return { bytes: [0x40 | (reg << 3) | low, ...sib, disp & 255], rex };
  return { bytes: [0x80 | (reg << 3) | low, ...sib, ...le32(disp)], rex };
}

const TRIES = 12;

/** Random bytes of an instruction of `source`'s form; null when none was found with this addressing. */
export function encode(source: Source, addressing: Addressing, random: Random, pool: Pool): Uint8Array | null {
  const { mode, policy } = pool;
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const legacy = [...source.legacy];
    if (addressing.kind !== 'wild' && legacy.includes(0x67) && source.memory && mode !== 2) return null;
    if (random() % 16 === 0) legacy.unshift([0x64, 0x65, 0x2e, 0x36, 0x3e, 0x26][random() % 6]!);
    if (random() % 40 === 0) legacy.push(0xf0);
    if (addressing.kind === 'wild' && random() % 40 === 0) legacy.push(0x67);
    let rex = source.rex;
    if (mode === 2 && random() % 2) rex |= 0x40 | (random() & 7);
    const reg = attempt % 2 === 0 ? random() & 7 : (source.modrm >> 3) & 7;
    let tail: number[];
    if (source.memory && addressing.kind !== 'wild') {
      if (addressing.kind === 'relative') tail = [(reg << 3) | 5, 0, 0, 0, 0];
      else {
        const made = operand(addressing, reg, mode);
        tail = made.bytes;
        rex = rex ? (rex & ~3) | made.rex : made.rex ? 0x40 | made.rex : 0;
      }
    } else if (source.memory) tail = [((random() & 0xc7) % 0xc0) | (reg << 3)];
    else tail = [attempt < 6 ? (source.modrm & 0xc0) | (reg << 3) | (random() & 7) : source.modrm];
    const head = [...legacy, ...(rex ? [rex] : []), ...source.opcode];
    const modrmAt = head.length;
    const bytes = [...head, ...tail];
    while (bytes.length < 16) bytes.push(random() % 3 === 0 ? 0 : random() & 255);
    const code = new Uint8Array(bytes);
    const insn = decode(code, 0, 15, 0, mode, policy);
    if (typeof insn === 'string' || insn.form !== source.form) continue;
    if (addressing.kind === 'relative' && source.memory)
      new DataView(code.buffer).setInt32(modrmAt + 1, addressing.address - addressing.at - insn.length, true);
    return code.slice(0, insn.length);
  }
  return null;
}

/** True when the instruction names rSP as a register it may write. */
export function namesStackPointer(bytes: Uint8Array, pool: Pool): boolean {
  const padded = new Uint8Array(16);
  padded.set(bytes);
  const insn = decode(padded, 0, 15, 0, pool.mode, pool.policy) as Insn;
  return Math.abs(insn.r - RSP) < 8 || Math.abs(insn.m - RSP) < 8;
}
