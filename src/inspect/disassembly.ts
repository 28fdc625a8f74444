/**
 * Instructions as text in the manual's (Intel) notation with symbols for addresses, and what each reads and writes.
 *
 * The words come from iced-x86: an opinion independent of our own decoder, so that a report about an instruction that we
 * decode wrongly shows the difference. Nothing here executes or touches guest state.
 */
import {
  Decoder,
  DecoderOptions,
  FlowControl,
  Formatter,
  FormatterSyntax,
  type Instruction,
  InstructionInfoFactory,
  MemorySizeExt,
  OpAccess,
  Register,
  RegisterExt,
} from 'iced-x86';
import { u64, type VirtAddr } from '../core/units.ts';
import { symbolText } from './symbol-text.ts';

/** Names addresses; a symbol table is one. */
export interface Symbolizer {
  /** The symbol that `address` lies in, or null. */
  lookup(address: VirtAddr): { readonly name: string; readonly offset: number; readonly module?: string } | null;
}

/** Longest instruction in bytes (SDM vol. 2A 2.3.11). */
export const MAX_INSTRUCTION_BYTES = 15;

/** A place in memory that an instruction reads or writes; registers by their 64-bit names. */
export interface MemoryReference {
  readonly segment: 'fs' | 'gs' | null;
  readonly base: string | null;
  readonly index: string | null;
  readonly scale: number;
  readonly displacement: bigint;
  readonly bytes: number;
  readonly reads: boolean;
  readonly writes: boolean;
}

/** One decoded instruction. */
export interface Disassembled {
  readonly rip: VirtAddr;
  readonly bytes: Uint8Array;
  readonly text: string;
  /** How control goes on; `trap` is whatever enters the kernel or the hypervisor. */
  readonly flow: 'next' | 'jump' | 'branch' | 'call' | 'indirect-call' | 'return' | 'trap';
  /** Target of a direct jump, branch or call. */
  readonly target: VirtAddr | null;
  readonly memory: readonly MemoryReference[];
  /** 64-bit names of the general registers read and written. */
  readonly registersRead: readonly string[];
  readonly registersWritten: readonly string[];
  /** It needs CPL 0, or IOPL. */
  readonly privileged: boolean;
}

const FLOW: Readonly<Record<number, Disassembled['flow']>> = {
  [FlowControl.Next]: 'next',
  [FlowControl.UnconditionalBranch]: 'jump',
  [FlowControl.IndirectBranch]: 'jump',
  [FlowControl.ConditionalBranch]: 'branch',
  [FlowControl.Return]: 'return',
  [FlowControl.Call]: 'call',
  [FlowControl.IndirectCall]: 'indirect-call',
};

/** Turns bytes into {@link Disassembled}; make one for each symbol table. */
export class Disassembler {
  readonly #formatter = new Formatter(FormatterSyntax.Intel);
  readonly #information = new InstructionInfoFactory();
  readonly #symbols: Symbolizer;

  constructor(symbols: Symbolizer) {
    this.#symbols = symbols;
    this.#formatter.hexPrefix = '0x';
    this.#formatter.hexSuffix = '';
    this.#formatter.uppercaseHex = false;
    this.#formatter.spaceAfterOperandSeparator = true;
    this.#formatter.branchLeadingZeros = false;
    this.#formatter.showBranchSize = false;
  }

  /** The instruction that starts `code`, which lies at `rip`; null when the bytes are none or too few. */
  decode(code: Uint8Array, rip: VirtAddr, bits: 64 | 32 | 16 = 64): Disassembled | null {
    const decoder = new Decoder(bits, code.subarray(0, MAX_INSTRUCTION_BYTES), DecoderOptions.None);
    decoder.ip = rip;
    const instruction = decoder.decode();
    try {
      return instruction.isInvalid ? null : this.#describe(instruction, code, rip);
    } finally {
      instruction.free();
      decoder.free();
    }
  }

  /** The text alone; bytes that are no instruction read `(bad) 0f ff`. */
  text(code: Uint8Array, rip: VirtAddr, bits: 64 | 32 | 16 = 64): string {
    return this.decode(code, rip, bits)?.text ?? (code.length === 0 ? '(not mapped)' : `(bad) ${bytesText(code)}`);
  }

  /** Instructions one after the other from `rip` to the end of `code`, stopping at the first that is none. */
  *listing(code: Uint8Array, rip: VirtAddr, bits: 64 | 32 | 16 = 64): Generator<Disassembled> {
    for (let at = 0; at < code.length; ) {
      const found = this.decode(code.subarray(at), u64(rip + BigInt(at)), bits);
      if (found === null) return;
      yield found;
      at += found.bytes.length;
    }
  }

  #describe(instruction: Instruction, code: Uint8Array, rip: VirtAddr): Disassembled {
    const information = this.#information.info(instruction);
    const memory = information.usedMemory();
    const registers = information.usedRegisters();
    const known = FLOW[instruction.flowControl] ?? 'trap';
    const near = (known === 'jump' || known === 'branch' || known === 'call') && instruction.nearBranchTarget !== 0n;
    // SYSCALL and its like count as calls
    const flow = known === 'call' && !near && memory.length === 0 ? 'trap' : known;
    const pick = (wanted: (access: OpAccess) => boolean): string[] => [
      ...new Set(
        registers
          .filter((r) => RegisterExt.isGPR(r.register) && wanted(r.access))
          .map((r) => nameOf(RegisterExt.fullRegister(r.register))),
      ),
    ];
    const result: Disassembled = {
      rip,
      bytes: code.slice(0, instruction.length),
      text: this.#withSymbols(this.#formatter.format(instruction)),
      flow,
      target: near ? instruction.nearBranchTarget : null,
      memory: memory.map((m) => ({
        segment: m.segment === Register.FS ? 'fs' : m.segment === Register.GS ? 'gs' : null,
        base: m.base === Register.None ? null : nameOf(RegisterExt.fullRegister(m.base)),
        index: m.index === Register.None ? null : nameOf(RegisterExt.fullRegister(m.index)),
        scale: m.scale,
        displacement: m.displacement,
        bytes: MemorySizeExt.size(m.memorySize),
        reads: reads(m.access),
        writes: writes(m.access),
      })),
      registersRead: pick(reads),
      registersWritten: pick(writes),
      privileged: instruction.isPrivileged,
    };
    for (const part of [...memory, ...registers, information]) part.free();
    return result;
  }

  /** Replaces the numbers that are addresses of known symbols; a negative displacement is an address of the upper half. */
  #withSymbols(text: string): string {
    return text.replace(/([+-]?)0x([0-9a-f]{5,16})/g, (whole, sign: string, digits: string) => {
      const value = BigInt(`0x${digits}`);
      const name = symbolText(this.#symbols, sign === '-' ? u64(-value) : value);
      return name === null ? whole : `${sign === '' ? '' : '+'}${name}`;
    });
  }
}

/** The linear address a reference names, given the registers (`fs_base` and `gs_base` for segments). */
export function addressOf(reference: MemoryReference, register: (name: string) => bigint | null): VirtAddr {
  const value = (name: string | null): bigint => (name === null ? 0n : (register(name) ?? 0n));
  const segment = reference.segment === null ? 0n : value(`${reference.segment}_base`);
  return u64(
    segment + value(reference.base) + value(reference.index) * BigInt(reference.scale) + reference.displacement,
  );
}

/** Bytes as the manual prints them: `48 89 04 cd`. */
export const bytesText = (bytes: Uint8Array): string =>
  Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join(' ');

const nameOf = (register: Register): string => (Register[register] ?? '').toLowerCase();
const reads = (access: OpAccess): boolean =>
  access === OpAccess.Read ||
  access === OpAccess.CondRead ||
  access === OpAccess.ReadWrite ||
  access === OpAccess.ReadCondWrite;
const writes = (access: OpAccess): boolean =>
  access === OpAccess.Write ||
  access === OpAccess.CondWrite ||
  access === OpAccess.ReadWrite ||
  access === OpAccess.ReadCondWrite;
