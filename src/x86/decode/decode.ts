/**
 * The decoder: bytes to one {@link Insn}.
 *
 * Where vendors differ the tables have rows of either. Reads never pass `available` or the 15-byte limit, and an instruction that cannot exist is reported as soon
 * as the bytes read so far say so.
 */
import { joinWords } from '../../core/words.ts';
import { POLICIES } from '../features.ts';
import type { CodeMode, CpuPolicy, DecodeFailure, Insn } from '../form.ts';
import { ATTR } from '../record.ts';
import { STATE } from '../state.ts';
import { type CompiledRow, cellAt, IMMEDIATE, KIND, MAP, MEMORY } from '../tables/compile.ts';
import { makeForm } from './forms.ts';

const MAX_LENGTH = 15;
/** Bytes of the stack pointer where SS agrees with the code mode. */
const STACK_SIZE = [2, 4, 8] as const;
/** Forms by index end below. */
const OTHER_STACK = 48 * 9;
const PREFIX = { none: 0, segment: 1, operand: 2, address: 3, lock: 4, repne: 5, rep: 6, rex: 7 } as const;
const prefixTable = (is64: boolean): Uint8Array => {
  const table = new Uint8Array(256);
  for (const byte of [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65]) table[byte] = PREFIX.segment;
  table[0x66] = PREFIX.operand;
  table[0x67] = PREFIX.address;
  table[0xf0] = PREFIX.lock;
  table[0xf2] = PREFIX.repne;
  table[0xf3] = PREFIX.rep;
  if (is64) table.fill(PREFIX.rex, 0x40, 0x50);
  return table;
};
const PREFIXES = [prefixTable(false), prefixTable(true)] as const;

const SEGMENT_OF: Record<number, number> = { 38: 0, 46: 1, 54: 2, 62: 3, 100: 4, 101: 5 };
const SS = 2;
const DS = 3;
const FS = 4;
const GPR_AT = STATE.gpr.offset;
const ZERO_AT = STATE.zero.offset;
const SELECTOR_AT = STATE.selector.offset;
const RSP_AT = GPR_AT + 4 * 8;
const RBP_AT = GPR_AT + 5 * 8;
const gprAt = (n: number): number => GPR_AT + n * 8;
const segmentBaseAt = (n: number): number => STATE.segmentBase.offset + n * 8;
/** Base and index of 16-bit addressing by ModRM.rm (SDM vol. 2 table 2-1). */
const BASE_16 = [3, 3, 5, 5, 6, 7, 5, 3].map(gprAt);
const INDEX_16 = [gprAt(6), gprAt(7), gprAt(6), gprAt(7), ZERO_AT, ZERO_AT, ZERO_AT, ZERO_AT];

const SMALL_FROM = -1024;
const SMALL = Array.from({ length: 8192 - SMALL_FROM }, (_, i) => BigInt(i + SMALL_FROM));
// a negative index would be looked up as a name
const big = (n: number): bigint =>
  n >= SMALL_FROM && n < SMALL_FROM + SMALL.length ? SMALL[n - SMALL_FROM]! : BigInt(n);

/** State offset (or number: control, debug, x87) of register `n` of a file under a REX prefix; -1 when there is none. */
function fieldOf(kind: number, n: number): number {
  switch (kind) {
    case KIND.byte:
    case KIND.gpr:
      return GPR_AT + n * 8;
    case KIND.xmm:
      return STATE.xmm.offset + n * 16;
    case KIND.mmx:
      return STATE.fpr.offset + (n & 7) * 16;
    case KIND.x87:
      return n & 7;
    case KIND.segment:
      return (n & 7) < 6 ? SELECTOR_AT + (n & 7) * 2 : -1;
    case KIND.control:
      return n === 0 || n === 2 || n === 3 || n === 4 || n === 8 ? n : -1;
    case KIND.debug:
      return n < 8 ? n : -1;
    default:
      return ZERO_AT;
  }
}
/** The same by kind * 16 + number, without a branch for each kind: V8 would compile the decoder anew for each that comes up. */
const FIELDS = Int32Array.from({ length: Object.keys(KIND).length * 16 }, (_, i) => fieldOf(i >> 4, i & 15));
/** The same where a byte register without REX may be the second byte of one. */
const registerField = (kind: number, n: number, rex: number): number =>
  kind === KIND.byte && rex === 0 && n >= 4 ? GPR_AT + (n - 4) * 8 + 1 : FIELDS[kind * 16 + n]!;

const rd16 = (b: Uint8Array, p: number): number => b[p]! | (b[p + 1]! << 8);
const rd32 = (b: Uint8Array, p: number): number => b[p]! | (b[p + 1]! << 8) | (b[p + 2]! << 16) | (b[p + 3]! << 24);
const rd64 = (b: Uint8Array, p: number): bigint => BigInt.asIntN(64, joinWords(rd32(b, p), rd32(b, p + 4)));
const sign8 = (x: number): number => (x << 24) >> 24;
const sign16 = (x: number): number => (x << 16) >> 16;

/** Bytes that an immediate takes in the instruction. */
function immediateBytes(immediate: number, size: number): number {
  switch (immediate) {
    case IMMEDIATE.unsigned8:
    case IMMEDIATE.signed8:
      return 1;
    case IMMEDIATE.unsigned16:
      return 2;
    case IMMEDIATE.enter:
      return 3;
    case IMMEDIATE.v:
      return size;
    case IMMEDIATE.far:
      return size === 2 ? 4 : 6;
    default:
      return size === 2 ? 2 : 4;
  }
}

/**
 * Decodes the instruction at `bytes[at]`, of which `available` bytes may be read. `pageOffset` is its offset in its page; it goes into
 * RIP-relative displacements and branch targets. `stackSize` is the width of the stack pointer in bytes, which SS decides
 * outside 64-bit mode.
 */
export function decode(
  bytes: Uint8Array,
  at: number,
  available: number,
  pageOffset: number,
  mode: CodeMode,
  policy: CpuPolicy,
  stackSize: 2 | 4 | 8 = STACK_SIZE[mode],
): Insn | DecodeFailure {
  const end = at + Math.min(available, MAX_LENGTH);
  const outOfBytes: DecodeFailure = available < MAX_LENGTH ? 'short' : 'long';
  const { vendor, level } = POLICIES[policy];
  const is64 = mode === 2;
  const prefixes = PREFIXES[is64 ? 1 : 0];
  let p = at;
  let rex = 0;
  let operand16 = false;
  let address = false;
  let lock = false;
  let rep = 0;
  let segment = -1;
  let opcode = 0;

  // ---- prefixes -------------------------------------------------------------------------------------------------------
  for (;;) {
    if (p >= end) return outOfBytes;
    opcode = bytes[p++]!;
    const prefix = prefixes[opcode]!;
    if (prefix === PREFIX.none) break;
    if (prefix === PREFIX.rex) {
      rex = opcode;
      continue;
    }
    rex = 0; // REX counts only right before the opcode
    if (prefix === PREFIX.operand) operand16 = true;
    else if (prefix === PREFIX.segment) {
      // ES, CS, SS and DS overrides do nothing in 64-bit mode and do not cancel an earlier FS or GS
      if (!is64 || opcode >= 0x64) segment = SEGMENT_OF[opcode]!;
    } else if (prefix === PREFIX.rep) rep = 1;
    else if (prefix === PREFIX.repne) rep = 2;
    else if (prefix === PREFIX.lock) lock = true;
    else address = true;
  }

  // ---- opcode ---------------------------------------------------------------------------------------------------------
  let index = opcode;
  if (opcode === 0x0f) {
    if (p >= end) return outOfBytes;
    opcode = bytes[p++]!;
    index = (MAP.twoByte << 8) | opcode;
    if (opcode === 0x38 || opcode === 0x3a) {
      if (level < 2) return 'invalid'; // nothing there is older than SSSE3
      if (p >= end) return outOfBytes;
      index = (opcode === 0x38 ? MAP.threeByte38 : MAP.threeByte3A) << 8;
      opcode = bytes[p++]!;
      index |= opcode;
    }
  }
  const cell = cellAt(vendor, is64, index);
  const column = rep === 1 ? 2 : rep === 2 ? 3 : operand16 ? 1 : 0;
  let row: CompiledRow | null = cell.plain[column]!;
  let modrm = 0;
  if (row === null) {
    const group = cell.byModrm[column]!;
    if (group === null) return 'invalid';
    if (p >= end) return outOfBytes;
    modrm = bytes[p++]!;
    row = group[modrm]!;
    if (row === null) return 'invalid';
  }
  if (row.alternate !== null && (rex & row.alternateMask) !== 0) row = row.alternate;
  if (row.level > level) return 'invalid';

  // ---- sizes ----------------------------------------------------------------------------------------------------------
  const rexW = (rex & 8) !== 0;
  let size: number;
  if (!is64) size = (mode === 1) === operand16 ? 2 : 4;
  else if (row.f64) size = 8;
  else if (rexW) size = row.noRexW ? 4 : 8;
  else if (operand16) size = 2;
  else size = row.d64 ? 8 : 4;
  // 0 = 64 bits, 1 = 32 bits, 2 = 16 bits, as in ATTR
  const addressCode = is64 ? (address ? 1 : 0) : (mode === 1) === address ? 2 : 1;

  // ---- memory operand -------------------------------------------------------------------------------------------------
  let r = ZERO_AT;
  let m = ZERO_AT;
  let base = ZERO_AT;
  let indexAt = ZERO_AT;
  let scale = 0;
  let disp = 0;
  let bigDisp: bigint | null = null;
  let memory = row.memory;
  let defaultSegment = DS;
  let ripRelative = false;
  if (memory === MEMORY.modrm && modrm < 0xc0) {
    const mod = modrm >> 6;
    const rm = modrm & 7;
    let dispBytes = mod === 1 ? 1 : 0;
    if (addressCode === 2) {
      base = BASE_16[rm]!;
      indexAt = INDEX_16[rm]!;
      if (mod === 2) dispBytes = 2;
      else if (mod === 0 && rm === 6) {
        base = ZERO_AT;
        dispBytes = 2;
      }
      if (base === RBP_AT) defaultSegment = SS;
    } else {
      if (mod === 2) dispBytes = 4;
      if (rm === 4) {
        if (p >= end) return outOfBytes;
        const sib = bytes[p++]!;
        scale = sib >> 6;
        const indexNumber = ((sib >> 3) & 7) | ((rex & 2) << 2);
        if (indexNumber !== 4) indexAt = gprAt(indexNumber);
        else scale = 0;
        if ((sib & 7) === 5 && mod === 0) dispBytes = 4;
        else {
          base = gprAt((sib & 7) | ((rex & 1) << 3));
          if (base === RSP_AT || base === RBP_AT) defaultSegment = SS;
        }
      } else if (rm === 5 && mod === 0) {
        dispBytes = 4;
        ripRelative = is64;
      } else {
        base = gprAt(rm | ((rex & 1) << 3));
        if (base === RBP_AT) defaultSegment = SS;
      }
    }
    if (p + dispBytes > end) return outOfBytes;
    if (dispBytes === 1) disp = sign8(bytes[p]!);
    else if (dispBytes === 2) disp = sign16(rd16(bytes, p));
    else if (dispBytes === 4) disp = rd32(bytes, p);
    p += dispBytes;
  } else if (memory === MEMORY.modrm) {
    memory = MEMORY.none;
  } else if (memory === MEMORY.moffs) {
    const count = addressCode === 0 ? 8 : addressCode === 1 ? 4 : 2;
    if (p + count > end) return outOfBytes;
    if (count === 8) bigDisp = rd64(bytes, p);
    else disp = count === 4 ? rd32(bytes, p) : rd16(bytes, p);
    p += count;
  } else if (memory !== MEMORY.none) {
    base = gprAt(memory === MEMORY.source ? 6 : memory === MEMORY.rbx ? 3 : 7);
  }

  // ---- register operands ----------------------------------------------------------------------------------------------
  if (row.r !== KIND.none) {
    if (row.r === KIND.fixedSegment) r = SELECTOR_AT + row.fixedSegment * 2;
    else r = registerField(row.r, ((modrm >> 3) & 7) | ((rex & 4) << 1), rex);
    if (r < 0) return 'invalid';
  }
  if (row.m !== KIND.none && memory !== MEMORY.modrm) {
    const low = row.inOpcode ? opcode & 7 : modrm & 7;
    m = registerField(row.m, low | ((rex & 1) << 3), rex);
  }
  if (lock && !(row.lock && memory !== MEMORY.none)) return 'invalid';
  if (row.r === KIND.segment && r === SELECTOR_AT + 2 && row.system) return 'invalid'; // MOV CS

  // ---- immediate ------------------------------------------------------------------------------------------------------
  let imm = 0;
  let bigImm: bigint | null = null;
  let imm2 = 0;
  if (row.immediate !== IMMEDIATE.none) {
    const count = immediateBytes(row.immediate, size);
    if (p + count > end) return outOfBytes;
    switch (row.immediate) {
      case IMMEDIATE.unsigned8:
        imm = bytes[p]!;
        break;
      case IMMEDIATE.signed8:
        imm = sign8(bytes[p]!);
        break;
      case IMMEDIATE.unsigned16:
        imm = rd16(bytes, p);
        break;
      case IMMEDIATE.enter:
        imm = rd16(bytes, p);
        imm2 = bytes[p + 2]!;
        break;
      case IMMEDIATE.far:
        imm = count === 4 ? rd16(bytes, p) : rd32(bytes, p) >>> 0;
        imm2 = rd16(bytes, p + count - 2);
        break;
      default:
        if (count === 8) bigImm = rd64(bytes, p);
        else imm = count === 2 ? sign16(rd16(bytes, p)) : rd32(bytes, p);
    }
    p += count;
  }
  const length = p - at;
  if (ripRelative) {
    base = STATE.pageBase.offset;
    disp += pageOffset + length;
  }
  if (row.relative) imm += pageOffset + length;

  // ---- segment and attributes -----------------------------------------------------------------------------------------
  let seg = ZERO_AT;
  let attr = is64 ? addressCode : addressCode | ATTR.linear32;
  if (memory !== MEMORY.none) {
    const used = memory === MEMORY.destination ? 0 : segment >= 0 ? segment : defaultSegment;
    if (!is64 || used >= FS) seg = segmentBaseAt(used);
    if (used === SS) attr |= ATTR.stack;
    attr |= used << ATTR.segmentShift;
    if (row.rep || memory === MEMORY.rbx) {
      m = seg;
      r = is64 ? ZERO_AT : segmentBaseAt(0);
    }
  }
  if (lock) attr |= ATTR.lock;
  let formRep: 0 | 1 | 2 = 0;
  if (row.rep && rep !== 0) {
    formRep = row.repcc && rep === 2 ? 2 : 1;
    attr |= formRep === 1 ? ATTR.rep : ATTR.repne;
  }

  // ---- form -----------------------------------------------------------------------------------------------------------
  const inMemory = memory !== MEMORY.none;
  let formIndex = (mode << 4) | (size & 12) | (inMemory ? 2 : 0) | (rexW ? 1 : 0);
  if (row.usesAddressSize) formIndex += 48 * (formRep * 3 + addressCode);
  if (stackSize !== STACK_SIZE[mode]) formIndex += OTHER_STACK;
  let form = row.forms[formIndex];
  if (form === undefined) {
    const addressSize = 8 >> addressCode;
    form = makeForm(row, { mode, size, memory: inMemory, rexW, rep: formRep, addressSize, stackSize });
    row.forms[formIndex] = form;
  }
  return {
    form,
    mode,
    pageOffset,
    length,
    r,
    m,
    base,
    index: indexAt,
    scale,
    seg,
    disp: bigDisp ?? big(disp),
    imm: bigImm ?? big(imm),
    imm2,
    attr,
  };
}
