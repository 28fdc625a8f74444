/**
 * Encodings of a form. A template is one complete instruction (prefixes, ModRM, SIB, displacement) with what the case
 * generator and the comparison must know of it, as iced-x86 describes it. Cases vary immediates and the state.
 */
import {
  type Code,
  CodeExt,
  Decoder,
  DecoderOptions,
  FlowControl,
  Instruction,
  InstructionInfoFactory,
  MemorySize,
  MemorySizeExt,
  OpAccess,
  OpKind,
  Register,
  RegisterExt,
} from 'iced-x86';
import { type Form, isNearBranch } from './enumerate.ts';
import type { SplitMix64 } from './random.ts';
import { bitsOf, CODE_BASE, MODE_64, MODE_COMPAT } from './records.ts';
import type { ElementKind } from './values.ts';

/** A memory operand, explicit or implicit. Registers are numbers 0..15 or -1. */
export interface MemoryUse {
  base: number;
  index: number;
  /** Bytes of the index register that count (1 for XLAT's AL). */
  indexBytes: number;
  scale: number;
  displacement: bigint;
  addressBits: number;
  /** Number of the segment register. */
  segment: number;
  /** Bytes accessed; 0 when iced does not say. */
  size: number;
  element: ElementKind;
  reads: boolean;
}

/** One encoding of a form. */
export interface Template {
  form: Form;
  code: Uint8Array;
  memory: MemoryUse[];
  /** Position and size of a displacement that alone makes the address, or size 0; `ripRelative`: from the next RIP. */
  absolute: { offset: number; size: number; ripRelative: boolean; bits: number };
  immediates: Array<{ offset: number; size: number }>;
  /** Register operands 0..15 of general purpose, by operand; -1 otherwise. */
  gprOperands: number[];
  /** XMM registers the instruction names. */
  xmm: number[];
  /** x87 registers ST(i) and MMX registers the instruction names. */
  st: number[];
  mm: number[];
  /** General-purpose registers the instruction reads or writes, explicitly or not. */
  gprs: number[];
  /** Needs CASE_STEP: a control transfer. */
  step: boolean;
  /** Touches x87, MMX or SSE state. */
  fp: boolean;
  string: boolean;
  repeated: boolean;
  /** Bits of RFLAGS the manual leaves undefined, whatever the operands. */
  undefinedRflags: number;
  /** C0..C3 bits of the x87 status word that the manual leaves undefined. */
  undefinedFsw: number;
}

/** Address size with the prefix 67. */
const OTHER_BITS = { 64: 32, 32: 16, 16: 32 } as const;
const STRING = /^(Movs|Cmps|Stos|Lods|Scas)([bwdq])_(m\d|AL|AX|EAX|RAX)/;
const STRING_SIZE: Record<string, number> = { b: 1, w: 2, d: 4, q: 8 };
const RFLAGS_BITS: Array<[number, number]> = [
  [1, 0x800], // OF
  [2, 0x80], // SF
  [4, 0x40], // ZF
  [8, 0x10], // AF
  [16, 1], // CF
  [32, 4], // PF
];
const FSW_BITS: Array<[number, number]> = [
  [1024, 0x100],
  [2048, 0x200],
  [4096, 0x400],
  [8192, 0x4000],
];
const translate = (bits: number, table: Array<[number, number]>): number =>
  table.reduce((sum, [from, to]) => sum | (bits & from ? to : 0), 0);

const gprNumber = (register: Register): number =>
  RegisterExt.isGPR(register) ? RegisterExt.number(RegisterExt.fullRegister(register)) : -1;

function elementOf(size: MemorySize): ElementKind {
  const type = MemorySizeExt.elementType(size);
  if (type === MemorySize.Float32) return 'f32';
  if (type === MemorySize.Float64) return 'f64';
  if (type === MemorySize.Float80) return 'f80';
  if (type === MemorySize.Bcd) return 'bcd';
  const bytes = MemorySizeExt.elementSize(size);
  return bytes === 1 ? 'i8' : bytes === 2 ? 'i16' : bytes === 4 ? 'i32' : 'i64';
}

const PREFIXES = new Set([0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65]);
/** True when `byte` is among the legacy prefixes of the instruction. */
function hasPrefix(code: Uint8Array, byte: number): boolean {
  for (let i = 0; PREFIXES.has(code[i]!); i++) if (code[i] === byte) return true;
  return false;
}

/** Bytes of one candidate encoding of `form`: a seed with random prefixes, REX bits and tail. */
function candidate(form: Form, random: SplitMix64, lockable: boolean): number[] {
  const seed = [...random.pick(form.seeds)];
  const legacy: number[] = [];
  while ([0x66, 0x67, 0xf2, 0xf3].includes(seed[0]!)) legacy.push(seed.shift()!);
  let rex = 0;
  if (form.mode === MODE_64) {
    if ((seed[0]! & 0xf0) === 0x40) rex = seed.shift()!;
    if (random.chance(50)) rex |= 0x40 | random.below(8);
  }
  if (random.chance(15)) legacy.unshift(random.pick([0x64, 0x65, 0x64, 0x65, 0x2e, 0x36, 0x3e, 0x26]));
  if (random.chance(5) && !legacy.includes(0x67)) legacy.push(0x67);
  if (lockable && random.chance(20)) legacy.push(0xf0);
  const twoElements = /^(cmps|scas)/.test(form.mnemonic);
  if (STRING.test(form.name) && !legacy.includes(0xf3) && !legacy.includes(0xf2) && random.chance(65))
    legacy.push(twoElements && random.chance(50) ? 0xf2 : 0xf3);
  // With 16-bit addresses only a segment base reaches the data page.
  if (form.mode === MODE_COMPAT && legacy.includes(0x67) && random.chance(80))
    legacy.unshift(random.pick([0x64, 0x65]));
  const at = random.below(legacy.length + 1);
  const rotated = [...legacy.slice(at), ...legacy.slice(0, at)];
  const tail = Array.from({ length: 12 }, () => random.below(256));
  return [...rotated, ...(rex ? [rex] : []), ...seed, ...tail];
}

/** Decodes candidates and describes them; owns iced objects until {@link free}. */
export class TemplateBuilder {
  #instruction = new Instruction();
  #factory = new InstructionInfoFactory();

  free(): void {
    this.#instruction.free();
    this.#factory.free();
  }

  /** Up to `count` templates of `form`; fewer when its encodings are few. */
  build(form: Form, random: SplitMix64, count: number): Template[] {
    const info = CodeExt.opCode(form.code);
    const lockable = form.kind === 'mem' && info.canUseLockPrefix;
    info.free();
    const templates: Template[] = [];
    for (let tries = 0; tries < count * 12 && templates.length < count; tries++) {
      const template = this.#describe(form, Uint8Array.from(candidate(form, random, lockable)), random);
      if (template !== null) templates.push(template);
    }
    return templates;
  }

  /** The template of these very bytes, or null when they are not `form`. */
  describe(form: Form, code: Uint8Array): Template | null {
    return this.#describe(form, code, null);
  }

  #decode(form: Form, bytes: Uint8Array): Decoder | null {
    const i = this.#instruction;
    const decoder = new Decoder(bitsOf(form.mode), bytes, DecoderOptions.None);
    decoder.ip = BigInt(CODE_BASE);
    decoder.decodeOut(i);
    let memory = false;
    for (let op = i.opCount - 1; op >= 0; op--) memory ||= i.opKind(op) === OpKind.Memory;
    if (i.code === (form.code as Code) && memory === (form.kind === 'mem')) return decoder;
    decoder.free();
    return null;
  }

  #describe(form: Form, bytes: Uint8Array, random: SplitMix64 | null): Template | null {
    let decoder = this.#decode(form, bytes);
    if (decoder === null) return null;
    const i = this.#instruction;
    const offsets = decoder.getConstantOffsets(i);
    const displacement = { offset: offsets.displacementOffset, size: offsets.displacementSize };
    const immediates = [];
    if (offsets.hasImmediate) immediates.push({ offset: offsets.immediateOffset, size: offsets.immediateSize });
    if (offsets.hasImmediate2) immediates.push({ offset: offsets.immediateOffset2, size: offsets.immediateSize2 });
    offsets.free();
    if (random !== null && displacement.size === 4 && random.chance(70)) {
      const small = random.below(0x1000) - 0x800;
      new DataView(bytes.buffer).setInt32(displacement.offset, small, true);
    }
    decoder.free();
    decoder = this.#decode(form, bytes.slice(0, i.length));
    if (decoder === null || i.length > 15) return null;
    decoder.free();
    const code = bytes.slice(0, i.length);
    if (form.mode === MODE_64 && isNearBranch(form.code) && hasPrefix(code, 0x66)) return null;
    const info = this.#factory.info(i);
    const memory: MemoryUse[] = [];
    for (const use of info.usedMemory()) {
      memory.push(this.#memoryUse(use, form));
      use.free();
    }
    const [xmm, st, mm, gprs]: [number[], number[], number[], number[]] = [[], [], [], []];
    for (const used of info.usedRegisters()) {
      const number = RegisterExt.number(used.register);
      if (RegisterExt.isXMM(used.register)) xmm.push(number);
      else if (RegisterExt.isST(used.register)) st.push(number);
      else if (RegisterExt.isMM(used.register)) mm.push(number);
      else if (RegisterExt.isGPR(used.register)) gprs.push(gprNumber(used.register));
      used.free();
    }
    info.free();
    const gprOperands = [];
    for (let op = 0; op < i.opCount; op++)
      gprOperands.push(i.opKind(op) === OpKind.Register ? gprNumber(i.opRegister(op)) : -1);
    const bare = i.isIpRelMemoryOperand || (i.memoryIndex === Register.None && i.memoryBase === Register.None);
    const flow = i.flowControl;
    return {
      form,
      code,
      memory,
      absolute: {
        offset: displacement.offset,
        size: form.kind === 'mem' && bare ? displacement.size : 0,
        ripRelative: i.isIpRelMemoryOperand,
        bits: hasPrefix(code, 0x67) ? OTHER_BITS[bitsOf(form.mode)] : bitsOf(form.mode),
      },
      immediates,
      gprOperands,
      xmm,
      st,
      mm,
      gprs,
      step: ![FlowControl.Next, FlowControl.Interrupt, FlowControl.Exception].includes(flow),
      fp: /^(f|wait|emms)|mxcsr/.test(form.mnemonic) || /_(mm|xmm|xmmm|mmm)|maskmov/i.test(form.name),
      string: STRING.test(form.name),
      repeated: STRING.test(form.name) && (i.hasRepPrefix || i.hasRepnePrefix),
      undefinedRflags: translate(i.rflagsUndefined, RFLAGS_BITS),
      undefinedFsw: translate(i.rflagsUndefined, FSW_BITS),
    };
  }

  #memoryUse(
    use: {
      base: Register;
      index: Register;
      scale: number;
      displacement: bigint;
      segment: Register;
      memorySize: MemorySize;
      access: OpAccess;
    },
    form: Form,
  ): MemoryUse {
    const addressed = use.base !== Register.None ? use.base : use.index;
    const rip = addressed === Register.RIP || addressed === Register.EIP;
    const bytes = addressed === Register.None || rip ? 0 : RegisterExt.size(addressed);
    return {
      base: rip ? -1 : gprNumber(use.base),
      index: gprNumber(use.index),
      indexBytes: use.index === Register.None ? 0 : RegisterExt.size(use.index),
      scale: use.scale,
      displacement: use.displacement,
      addressBits: bytes !== 0 ? bytes * 8 : bitsOf(form.mode),
      segment: RegisterExt.number(use.segment),
      size: STRING_SIZE[STRING.exec(form.name)?.[2] ?? ''] ?? MemorySizeExt.size(use.memorySize),
      element: elementOf(use.memorySize),
      reads: use.access !== OpAccess.Write && use.access !== OpAccess.CondWrite,
    };
  }
}
