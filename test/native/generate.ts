/**
 * Random cases of a template: state that makes the instruction do its work (operands in the data page, counts and flags at
 * their edges) most of the time, and lets it fault now and then. Everything derives from the seeded generator passed in.
 *
 * Rules that keep outcomes a function of the case: no memory access reaches the kernel's half, the code page's contents or
 * unknown mappings; REP counts stay small; transfers go to canonical user addresses or to non-canonical ones.
 */
import type { SplitMix64 } from './random.ts';
import {
  CASE_FP,
  CASE_OFFSETS,
  CASE_SIZE,
  CASE_STEP,
  type CaseRecord,
  CODE_BASE,
  DATA_BASE,
  FX,
  isSegmented,
  MODE_64,
  MODE_PROT16,
  PAGE,
  RO_BASE,
} from './records.ts';
import {
  CODE_INDICES,
  CODE16_INDICES,
  codeBase,
  DATA_INDICES,
  DATA16_INDICES,
  FLAT_SEGMENT,
  loadedSegment,
  NULL_SEGMENT,
  STACK_INDICES,
  segmentBase,
} from './segments.ts';
import type { MemoryUse, Template } from './templates.ts';
import { ELEMENT_SIZE, type ElementKind, element, integer } from './values.ts';

const RAX = 0;
const RCX = 1;
const RDX = 2;
const RBX = 3;
const RSP = 4;
const RBP = 5;
const CS = 1;
const SS = 2;
const FS = 4;
/** Bit 17 of MXCSR is reserved at Intel and a feature at AMD. */
const MISALIGNED_SSE = 0x20000;
const POKE_MAX = 32;
/** No operand has more bytes. */
const WIDEST = 1024n;
const C = CASE_OFFSETS;

/** Counts around the widths of operands (SDM vol. 2 "SAL/SAR/SHL/SHR": masked to 5 or 6 bits). */
const COUNTS = [0, 1, 1, 1, 2, 3, 7, 8, 9, 10, 15, 16, 17, 18, 24, 30, 31, 32, 33, 34, 63, 64, 65, 255];
const mask = (bits: number, value: bigint): bigint => BigInt.asUintN(bits, value);
const BASE = BigInt(DATA_BASE);

/** Effective linear address of `use` in the state of `record`. */
function linearAddress(record: CaseRecord, use: MemoryUse, absolute: bigint | null): bigint {
  let offset = absolute ?? use.displacement;
  if (absolute === null) {
    if (use.base >= 0) offset += record.gpr(use.base);
    if (use.index >= 0) offset += mask(use.indexBytes * 8, record.gpr(use.index)) * BigInt(use.scale);
    offset = mask(use.addressBits, offset);
  }
  return mask(record.mode !== MODE_64 ? 32 : 64, segmentBase(record, use.segment) + offset);
}

/** A linear address for an access of `size` bytes; where it lies decides between working and each kind of fault. */
function target(random: SplitMix64, size: number, mode: number): bigint {
  // Most 16-byte operands must be aligned.
  const way = random.below(size >= 16 && random.chance(70) ? 130 : 200);
  const span = size > 1 ? size : 16;
  if (way < 130) return BASE + 16n * BigInt(random.below((PAGE - 640) / 16));
  if (way < 166) return BASE + BigInt(random.below(PAGE - 640));
  if (way < 176) return BASE + BigInt(PAGE - 1 - random.below(span));
  if (way < 182) return BigInt(RO_BASE + random.below(PAGE - 600));
  if (way < 187) return BigInt(RO_BASE + PAGE - 1 - random.below(span));
  if (way < 192) return BASE - 1n - BigInt(random.below(span));
  if (way < 196 || mode !== MODE_64) return random.pick([0x10n, 0x2fff_fffdn, 0x3000_0001n, 0x7fff_f000n]);
  return random.pick([0x8000_0000_0000n, 0xffff_7fff_ffff_0000n, 0x1234_5678_0000_0000n, 0x7fff_ffff_fffd_0000n]);
}

/** Sets the low `bytes` of a register. */
function setLow(record: CaseRecord, register: number, bits: number, value: bigint): void {
  record.setGpr(register, (record.gpr(register) & ~mask(bits, -1n)) | mask(bits, value));
}

/** Makes `use` address `wanted` by choosing its base or index register; without registers the displacement stands. */
function aim(record: CaseRecord, use: MemoryUse, wanted: bigint): void {
  const segment = segmentBase(record, use.segment);
  const bits = use.addressBits;
  const rest = mask(bits, wanted - segment - use.displacement);
  const { base, index } = use;
  if (base >= 0 && base === index && use.indexBytes * 8 === bits)
    setLow(record, base, bits, rest / BigInt(use.scale + 1));
  else if (base >= 0) {
    const scaled = index >= 0 ? mask(use.indexBytes * 8, record.gpr(index)) * BigInt(use.scale) : 0n;
    setLow(record, base, bits, rest - scaled);
  } else if (index >= 0) setLow(record, index, bits, rest / BigInt(use.scale));
}

/** Linear address of every memory operand of the case. */
export function operandAddresses(template: Template, record: CaseRecord): bigint[] {
  const { absolute } = template;
  let offset: bigint | null = null;
  if (absolute.size > 0) {
    const code = record.code;
    const view = new DataView(code.buffer, code.byteOffset, code.length);
    offset = absolute.size === 8 ? view.getBigUint64(absolute.offset, true) : 0n;
    if (absolute.size === 4) offset = BigInt(view.getInt32(absolute.offset, true));
    if (absolute.size === 2) offset = BigInt(view.getUint16(absolute.offset, true));
    if (absolute.ripRelative) offset += BigInt(CODE_BASE + record.codeOffset + code.length);
    offset = mask(absolute.bits, offset);
  }
  return template.memory.map((use) =>
    linearAddress(record, use, use.base < 0 && use.index < 0 ? (offset ?? use.displacement) : null),
  );
}

/** Which element kinds a vector register of the form may hold. */
function vectorKinds(template: Template): ElementKind[] {
  const m = template.form.mnemonic;
  if (/^p|dqa|dqu|^maskmov/.test(m)) return ['i8', 'i16', 'i32', 'i64'];
  const kinds: ElementKind[] = [];
  if (/[ps]s(2|$)/.test(m)) kinds.push('f32', 'f32', 'f32');
  if (/[ps]d(2|$)/.test(m) && !/^movd$/.test(m)) kinds.push('f64', 'f64', 'f64');
  if (/dq|[ps]i/.test(m)) kinds.push('i32');
  return kinds.length > 0 ? kinds : ['f32', 'f64', 'i32', 'i64'];
}

const STRING_COMPARISON = /^pcmp[ei]str[im]$/;
/** Sixteen bytes of a small alphabet, so that strings match in part, end early or not at all. */
function textOver(random: SplitMix64, view: DataView, at: number): void {
  const alphabet = random.pick([
    [0x61, 0x62],
    [0x61, 0x62, 0x63, 0x64, 0],
    [0, 1, 0x7f, 0x80, 0xff],
  ]);
  const words = random.chance(30);
  for (let i = 0; i < 16; i++) view.setUint8(at + i, words && i & 1 ? 0 : random.pick(alphabet));
  if (random.chance(40)) view.setUint16(at + random.below(15), 0, true);
}

/** x87 control, status and tag, MXCSR, and the registers the instruction uses. */
function floatingState(template: Template, record: CaseRecord, random: SplitMix64): void {
  const { view, base } = record;
  const at = base + C.fxsave;
  const x87 = /^(f|wait)/.test(template.form.mnemonic);
  let fcw = 0x37f;
  let fsw = random.below(8) << 11;
  if (random.chance(70)) fcw = (fcw & ~0xf00) | (random.below(4) << 10) | (random.pick([0, 2, 3, 3]) << 8);
  if (random.chance(40)) fsw |= random.below(128) | (random.below(2) << 14) | (random.below(8) << 8);
  const mmx = /_mm|^Emms/.test(template.form.name);
  if ((x87 || mmx) && random.chance(22)) fcw = (fcw & ~0x3f) | random.below(64);
  const pending = fsw & ~fcw & 0x3f;
  if (pending !== 0 && random.chance(15)) fsw |= 0x8080;
  else fsw &= ~pending;
  view.setUint16(at + FX.fcw, fcw, true);
  view.setUint16(at + FX.fsw, fsw, true);
  const way = random.below(100);
  view.setUint8(at + FX.ftw, way < 70 ? 0xff : way < 90 ? random.below(256) : 0);
  let mxcsr = 0x1f80;
  if (random.chance(70)) mxcsr |= random.below(4) << 13;
  if (random.chance(20)) mxcsr |= 0x40;
  if (random.chance(20)) mxcsr |= 0x8000;
  if (random.chance(30)) mxcsr |= random.below(64);
  if (random.chance(25)) mxcsr &= ~(random.below(64) << 7);
  view.setUint32(at + FX.mxcsr, mxcsr, true);
  view.setUint32(at + FX.mxcsr + 4, 0xffff, true);
  if (x87 || /mm/.test(template.form.name)) {
    for (let i = 0; i < 8; i++) {
      const register = at + FX.st + 16 * i;
      if (x87) element(random, 'f80', view, register);
      else {
        const kind = random.pick(vectorKinds(template));
        for (let b = 0; b < 8; b += ELEMENT_SIZE[kind]) element(random, kind, view, register + b);
        view.setUint16(register + 8, 0xffff, true);
      }
    }
    if (x87 && random.chance(10)) view.setBigUint64(at + FX.st, view.getBigUint64(at + FX.st + 16, true), true);
  }
  for (let b = FX.xmm; b < FX.xmm + 256; b += 8) {
    random.next();
    view.setUint32(at + b, random.lo, true);
    view.setUint32(at + b + 4, random.hi, true);
  }
  const kinds = vectorKinds(template);
  for (const register of template.xmm) {
    const kind = random.pick(kinds);
    for (let b = 0; b < 16; b += ELEMENT_SIZE[kind]) element(random, kind, view, at + FX.xmm + 16 * register + b);
  }
  if (STRING_COMPARISON.test(template.form.mnemonic))
    for (const register of template.xmm) textOver(random, view, at + FX.xmm + 16 * register);
  // PSxx mm, mm/m64 and the like: counts near the width.
  if (/^ps(ll|rl|ra)/.test(template.form.mnemonic) && random.chance(70))
    for (const start of [FX.st, FX.xmm])
      for (let r = 0; r < (start === FX.st ? 8 : 16); r++)
        if (random.chance(50)) view.setBigUint64(at + start + 16 * r, BigInt(random.pick(COUNTS)), true);
}

/** Lays interesting bytes over the data page at `address`; what the operand reads. */
function poke(template: Template, record: CaseRecord, random: SplitMix64, use: MemoryUse, address: bigint): void {
  const offset = Number(address - BASE);
  if (address < BASE || offset >= PAGE) return;
  const length = Math.min(POKE_MAX, PAGE - offset);
  record.bytes[record.base + C.poke_length] = length;
  record.view.setUint16(record.base + C.poke_offset, offset, true);
  const bytes = new Uint8Array(POKE_MAX);
  const view = new DataView(bytes.buffer);
  const { mnemonic } = template.form;
  if (template.fp && use.size <= 16) {
    const kind =
      /^f/.test(mnemonic) || use.size < 8 ? use.element : random.pick([use.element, ...vectorKinds(template)]);
    const step = ELEMENT_SIZE[kind];
    for (let b = 0; b + step <= POKE_MAX; b += step) element(random, kind, view, b);
    if (STRING_COMPARISON.test(mnemonic) && random.chance(80)) textOver(random, view, 0);
    if (mnemonic === 'ptest' && random.chance(40)) {
      const xmm = record.base + C.fxsave + FX.xmm + 16 * template.xmm[0]!;
      const turned = random.chance(50) ? 0xff : 0;
      for (let b = 0; b < 16; b++) bytes[b] = (record.bytes[xmm + b]! ^ turned) & random.below(256);
    }
  } else {
    const size = [1, 2, 4, 8].includes(use.size) ? use.size : 8;
    const kind = ({ 1: 'i8', 2: 'i16', 4: 'i32', 8: 'i64' } as const)[size as 1 | 2 | 4 | 8];
    for (let b = 0; b < POKE_MAX; b += size) element(random, kind, view, b);
    if (/^(cmps|scas)/.test(mnemonic) && random.chance(75)) {
      for (let b = size; b < POKE_MAX; b++) bytes[b] = bytes[b - size]!;
      if (mnemonic.startsWith('scas')) record.setGpr(RAX, view.getBigUint64(0, true));
      if (random.chance(60)) bytes[random.below(POKE_MAX)] = random.below(256);
    }
    if (mnemonic === 'cmpxchg' && random.chance(50)) view.setBigUint64(0, record.gpr(RAX), true);
    if (mnemonic === 'cmpxchg8b' && random.chance(50)) {
      view.setUint32(0, Number(record.gpr(RAX) & 0xffffffffn), true);
      view.setUint32(4, Number(record.gpr(RDX) & 0xffffffffn), true);
    }
    if (mnemonic === 'cmpxchg16b' && random.chance(50)) {
      view.setBigUint64(0, record.gpr(RAX), true);
      view.setBigUint64(8, record.gpr(RDX), true);
    }
    if (/^(fldenv|frstor|fxrstor)/.test(mnemonic)) {
      view.setUint16(0, 0x340 | random.below(64) | (random.below(4) << 10), true);
      if (random.chance(80)) bytes[0] = 0x7f;
    }
    if (mnemonic.startsWith('fxrstor'))
      view.setUint32(24, random.chance(90) ? random.below(0x10000) : random.lo & ~MISALIGNED_SSE, true);
    if (/^(call|jmp|ret)/.test(mnemonic)) view.setBigUint64(0, branchTarget(random, record), true);
    if (mnemonic === 'bound') {
      view.setInt32(0, -random.below(0x10000), true);
      view.setInt32(4, random.below(0x7fffffff), true);
    }
  }
  if (mnemonic === 'ldmxcsr')
    view.setUint32(0, random.chance(90) ? random.below(0x10000) : random.lo & ~MISALIGNED_SSE, true);
  if (mnemonic === 'fldcw' && random.chance(80)) view.setUint16(0, 0x37f & ~random.below(64), true);
  record.bytes.set(bytes.subarray(0, length), record.base + C.poke);
}

function branchTarget(random: SplitMix64, record: CaseRecord): bigint {
  const { mode } = record;
  if (isSegmented(mode) && random.chance(60))
    return mask(32, BigInt(CODE_BASE - codeBase(record) + random.below(PAGE)));
  if (mode !== MODE_64) return BigInt(random.next());
  const way = random.below(20);
  if (way < 10) return BigInt(CODE_BASE + random.below(PAGE));
  if (way < 18) return random.bits64() & 0x7fff_ffff_ffffn;
  return random.pick([0x8000_0000_0000n, 0x0123_4567_89ab_cdefn]);
}

/** Registers that the mnemonic reads in a way of its own; runs after memory operands are aimed. */
function implicitRegisters(template: Template, record: CaseRecord, random: SplitMix64): void {
  const { mnemonic } = template.form;
  const operand = template.gprOperands[0] ?? -1;
  const memory = template.memory[0];
  const addresses = (register: number): boolean =>
    template.memory.some((m) => m.base === register || m.index === register);
  if (template.repeated) {
    const bits = memory!.addressBits;
    setLow(record, RCX, bits, BigInt(random.below(9)));
  }
  if (/^(sh[lr]d?|sa[lr]|ro[lr]|rc[lr])$/.test(mnemonic) && /_CL/.test(template.form.name) && !addresses(RCX))
    setLow(record, RCX, 8, BigInt(random.pick(COUNTS)));
  if (/^(loop|jcxz|jecxz|jrcxz)/.test(mnemonic)) {
    const value = random.pick([0n, 1n, 2n, 0x10000n, 0x1_0000_0000n, 0x1_0000_0001n]);
    record.setGpr(RCX, record.mode !== MODE_64 ? mask(32, value) : value);
  }
  if (/^i?div$/.test(mnemonic) && random.chance(75)) {
    const wide = !/rm8/.test(template.form.name);
    const negative = mnemonic === 'idiv' && ((record.gpr(RAX) >> 31n) & 1n) === 1n;
    const high = random.chance(50) ? BigInt(random.below(3)) : negative ? -1n : 0n;
    if (wide && !addresses(RDX) && operand !== RDX) setLow(record, RDX, record.mode !== MODE_64 ? 32 : 64, high);
    if (!wide && !addresses(RAX) && operand !== RAX) setLow(record, RAX, 16, BigInt(random.below(2048)));
  }
  if (/^bt[csr]?$/.test(mnemonic) && template.form.kind === 'mem') {
    const offset = template.gprOperands[1] ?? -1;
    if (offset >= 0 && !addresses(offset)) setLow(record, offset, 64, BigInt(random.below(8192) - 4096));
    if (offset >= 0 && record.mode !== MODE_64) setLow(record, offset, 64, mask(32, record.gpr(offset)));
  }
  if (mnemonic === 'cmpxchg' && operand >= 0 && random.chance(50)) record.setGpr(operand, record.gpr(RAX));
  if (/^(call|jmp)$/.test(mnemonic) && operand >= 0) record.setGpr(operand, branchTarget(random, record));
  if (/^pcmpestr/.test(mnemonic))
    for (const register of [RAX, RDX])
      if (!addresses(register) && random.chance(70)) {
        const length = BigInt(random.below(36) - 18);
        setLow(record, register, record.mode === MODE_64 ? 64 : 32, length);
        if (record.mode === MODE_64 && random.chance(20)) setLow(record, register, 64, (length << 32n) | 5n);
      }
  if (mnemonic === 'enter' || mnemonic === 'leave')
    record.setGpr(
      RBP,
      mask(record.mode === MODE_64 ? 64 : 32, BASE - segmentBase(record, SS) + 8n * BigInt(64 + random.below(380))),
    );
  if (mnemonic === 'xlatb' && random.chance(50)) setLow(record, RBX, 1, 0n);
}

/** Random immediates in the code bytes. */
function immediates(template: Template, record: CaseRecord, random: SplitMix64): void {
  const { mnemonic } = template.form;
  const { view } = record;
  template.immediates.forEach(({ offset, size }, which) => {
    const at = record.base + C.code + offset;
    let value = integer(random);
    if (/^(sh[lr]d?|sa[lr]|ro[lr]|rc[lr]|bt[csr]?|ps[lr].*)$/.test(mnemonic)) value = BigInt(random.pick(COUNTS));
    else if (mnemonic === 'enter')
      value = BigInt(which === 0 ? random.below(512) : random.pick([0, 0, 1, 2, 3, 31, 33]));
    else if (/^(aam|aad)$/.test(mnemonic) && random.chance(60)) value = 10n;
    else if (/^(j|call|loop)/.test(mnemonic) && size >= 4) value &= 0x6fff_ffffn;
    if (size === 1) view.setUint8(at, Number(value & 0xffn));
    else if (size === 2) view.setUint16(at, Number(value & 0xffffn), true);
    else if (size === 4) view.setUint32(at, Number(value & 0xffffffffn), true);
    else view.setBigUint64(at, value, true);
  });
}

/** Puts the whole address into the displacement of an operand without registers. */
function absoluteAddress(template: Template, record: CaseRecord, wanted: bigint, segment: bigint): void {
  const { absolute } = template;
  const at = record.base + C.code + absolute.offset;
  let value = wanted - segment;
  if (absolute.ripRelative) value -= BigInt(CODE_BASE + record.codeOffset + template.code.length);
  if (absolute.size === 8) record.view.setBigUint64(at, mask(64, value), true);
  else if (absolute.size === 4) record.view.setUint32(at, Number(mask(32, value)), true);
  else if (absolute.size === 2) record.view.setUint16(at, Number(mask(16, value)), true);
}

const SEGMENTS_ES_SS_DS_FS_GS = [0, 2, 3, 4, 5];
/** Chooses segments: flat ones, open ones, and ones that end where the operands are. */
function segments(record: CaseRecord, random: SplitMix64): void {
  for (let i = 0; i < 8; i++) record.setSegmentIndex(i, 0);
  const narrow = record.mode === MODE_PROT16;
  const flat = !narrow && random.chance(15);
  for (const n of SEGMENTS_ES_SS_DS_FS_GS) {
    const way = flat ? 0 : random.below(20);
    if (way < (narrow ? 1 : 3)) record.setSegmentIndex(n, FLAT_SEGMENT);
    else if (way === 3 && n !== SS) record.setSegmentIndex(n, NULL_SEGMENT);
    else record.setSegmentIndex(n, random.pick(n === SS ? STACK_INDICES : narrow ? DATA16_INDICES : DATA_INDICES));
  }
  if (narrow) record.setSegmentIndex(CS, random.pick(CODE16_INDICES));
  else record.setSegmentIndex(CS, flat || random.chance(30) ? FLAT_SEGMENT : random.pick(CODE_INDICES));
}
/** Puts the code near the end of CS now and then; it begins inside. */
function placeCode(record: CaseRecord, random: SplitMix64, length: number): void {
  const { base, limit } = loadedSegment(record.segmentIndex(CS), true);
  const last = base + limit - CODE_BASE;
  let offset = record.codeOffset;
  if (last < PAGE && random.chance(20)) offset = last + 1 - random.below(length + 2);
  offset = Math.max(0, Math.min(offset, last, PAGE - 1));
  record.view.setUint16(record.base + C.code_offset, offset, true);
}
/** Makes rSP an offset in SS. */
function placeStack(record: CaseRecord, random: SplitMix64): void {
  const { base, attributes } = loadedSegment(record.segmentIndex(SS), false);
  const offset = mask(32, record.gpr(RSP) - BigInt(base));
  const high = BigInt(random.below(0x10000)) << 16n;
  record.setGpr(RSP, attributes & 0x4000 ? offset : high | (offset & 0xffffn));
}

/** Writes a random case of `template` into `record`, tagged `tag`; `leader`: a case whose code it has at the same place. */
export function generateCase(
  template: Template,
  record: CaseRecord,
  random: SplitMix64,
  tag: number,
  leader: CaseRecord | null = null,
): void {
  const { bytes, view, base } = record;
  const { mode } = template.form;
  bytes.fill(0, base, base + CASE_SIZE);
  const registers = mode !== MODE_64 ? 8 : 16;
  for (let i = 0; i < registers; i++) record.setGpr(i, mode !== MODE_64 ? mask(32, integer(random)) : integer(random));
  view.setUint32(base + C.rflags, (random.next() & 0x8d5) | 2, true);
  if (random.chance(5)) bytes[base + C.rflags + 2]! |= 4; // AC
  if (template.string ? random.chance(50) : random.chance(6)) bytes[base + C.rflags + 1]! |= 4;
  view.setBigUint64(base + C.memory_seed, random.bits64(), true);
  const userBase = (): bigint =>
    random.chance(90) ? BASE - BigInt(random.below(0x8000)) : BASE + BigInt(random.below(PAGE));
  view.setBigUint64(base + C.fs_base, userBase(), true);
  view.setBigUint64(base + C.gs_base, userBase(), true);
  bytes[base + C.mode] = mode;
  if (isSegmented(mode)) segments(record, random);
  bytes[base + C.flags] = (template.step ? CASE_STEP : 0) | (template.fp ? CASE_FP : 0);
  bytes[base + C.code_length] = template.code.length;
  // One fetch in a hundred runs over the end of the code page.
  const over = random.chance(1) ? random.below(template.code.length) : 0;
  const edge = over > 0 ? PAGE - over : 16 * random.below(PAGE / 16 - 2);
  view.setUint16(base + C.code_offset, leader === null ? edge : leader.codeOffset, true);
  if (isSegmented(mode)) {
    if (leader === null) placeCode(record, random, template.code.length);
    else record.setSegmentIndex(CS, leader.segmentIndex(CS));
  }
  view.setUint32(base + C.tag, tag, true);
  bytes.set(leader === null ? template.code : leader.code, base + C.code);
  if (leader === null) immediates(template, record, random);
  if (template.fp) floatingState(template, record, random);

  const stackEdge = random.chance(6);
  record.setGpr(RSP, stackEdge ? target(random, 8, mode) : BASE + 8n * BigInt(64 + random.below(380)));
  if (stackEdge && random.chance(50)) record.setGpr(RSP, BASE + BigInt(random.below(24)));
  if (stackEdge && mode !== MODE_64 && random.chance(20))
    record.setGpr(RSP, mask(32, segmentBase(record, SS) + BigInt(random.below(12) - 6)));
  if (isSegmented(mode)) placeStack(record, random);
  for (const use of template.memory) {
    let wanted = target(random, use.size, mode);
    const segment = segmentBase(record, use.segment);
    // FS and GS that begin inside a page wrap at 4 GiB (src/x86/checks.ts): there offsets stay above 0
    const wraps = use.segment >= FS && (segment & 0xfffn) !== 0n;
    if (mode !== MODE_64 && random.chance(3)) wanted = mask(32, segment - BigInt(random.below(use.size + 2)));
    const below = segment - wanted;
    if (mode !== MODE_64 && wraps && below > -64n && below < WIDEST) wanted = segment + 64n + (wanted & 63n);
    if (use.base < 0 && use.index < 0) {
      if (leader === null) absoluteAddress(template, record, wanted, segment);
    } else if (use.base !== RSP || template.form.kind === 'mem') aim(record, use, wanted);
  }
  implicitRegisters(template, record, random);
  const addresses = operandAddresses(template, record);
  const reads = template.memory.findIndex((use) => use.reads);
  if (reads >= 0 && random.chance(85)) poke(template, record, random, template.memory[reads]!, addresses[reads]!);
  if (template.string && /^cmps/.test(template.form.mnemonic) && random.chance(60)) {
    const down = (record.rflags & 0x400) !== 0;
    const last = down ? BigInt(POKE_MAX - 8) : 0n;
    aim(record, template.memory[0]!, addresses[reads]! + last);
    if (random.chance(50)) aim(record, template.memory[1]!, addresses[reads]! + last);
  }
}
