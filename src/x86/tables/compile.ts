/**
 * Compiles the rows into what the decoder indexes: a cell for every opcode of each map, with one column for each mandatory
 * prefix and, where ModRM selects the instruction, 256 entries a column.
 *
 * Invariant: a row with a prefix column wins over one without; two rows of equal standing never claim the same entry. A cell
 * is made when an instruction first needs it: a boot uses a third of them, and making all takes a fifth of a second.
 */
import { assert } from '../../core/assert.ts';
import { type Feature, type Level, levelOf, type Vendor } from '../features.ts';
import type { Form } from '../form.ts';
import { ONE_BYTE } from './one-byte.ts';
import type { Flag, Row } from './row.ts';
import { SSE } from './sse.ts';
import { THREE_BYTE } from './three-byte.ts';
import { TWO_BYTE } from './two-byte.ts';
import { X87 } from './x87.ts';

/** What a record field holds: nothing, or a register of some file. */
export const KIND = {
  none: 0,
  byte: 1,
  gpr: 2,
  xmm: 3,
  mmx: 4,
  segment: 5,
  control: 6,
  debug: 7,
  x87: 8,
  /** A segment register named by the opcode. */
  fixedSegment: 9,
} as const;
/** How the memory operand is encoded. */
export const MEMORY = { none: 0, modrm: 1, moffs: 2, source: 3, destination: 4, rdi: 5, rbx: 6 } as const;
/** How the immediate is encoded. */
export const IMMEDIATE = {
  none: 0,
  unsigned8: 1,
  signed8: 2,
  unsigned16: 3,
  /** 2 bytes, or 4; sign-extended. */
  z: 4,
  /** 2, 4 or 8 bytes. */
  v: 5,
  far: 6,
  /** ENTER: a word and a byte. */
  enter: 7,
} as const;

/** One operand of a row as written. */
export interface OperandSpec {
  /** The letter, or the whole name of a fixed operand. */
  readonly kind: string;
  readonly width: string;
  /** Width when the operand lies in memory, where it differs (`Rv/Mw`). */
  readonly memoryWidth: string;
}

/** A row as the decoder uses it. */
export interface CompiledRow {
  readonly name: string;
  readonly operands: readonly OperandSpec[];
  readonly variant: number;
  readonly hasCondition: boolean;
  readonly modrm: boolean;
  /** ModRM bytes of this row: what its opcode column says, cut by memory-only and register-only operands. */
  readonly accepts: readonly number[];
  readonly r: number;
  readonly fixedSegment: number;
  readonly m: number;
  /** `m` is named by the low three bits of the opcode. */
  readonly inOpcode: boolean;
  readonly memory: number;
  readonly immediate: number;
  /** The immediate is relative to the next instruction. */
  readonly relative: boolean;
  readonly lock: boolean;
  readonly d64: boolean;
  readonly f64: boolean;
  readonly noRexW: boolean;
  readonly system: boolean;
  readonly quiet: boolean;
  readonly contained: boolean;
  readonly newTf: boolean;
  readonly call: boolean;
  readonly ret: boolean;
  readonly sized: boolean;
  readonly usesAddressSize: boolean;
  readonly usesStack: boolean;
  readonly rep: boolean;
  readonly repcc: boolean;
  readonly hint: boolean;
  readonly feature: Feature | null;
  /** The level of x86-64 that has it. */
  readonly level: Level;
  /** Row that replaces this one when a REX bit of `alternateMask` is set. */
  alternate: CompiledRow | null;
  alternateMask: number;
  /** Forms already made from this row; the decoder owns the index. */
  readonly forms: Array<Form | undefined>;
}

/** One opcode in one mode: by mandatory prefix (none, 66, F3, F2), then by ModRM where `byModrm` is not null. */
interface Cell {
  readonly plain: Array<CompiledRow | null>;
  readonly byModrm: Array<Array<CompiledRow | null> | null>;
}

const SEGMENTS = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS'];
const FIXED = ['AL', 'AX', 'rAX', 'zAX', 'yAX', 'CL', 'DX', 'yDX', '1', 'ST0', 'STi', ...SEGMENTS];
const R_FIELD: Record<string, number> = {
  G: KIND.gpr,
  S: KIND.segment,
  C: KIND.control,
  D: KIND.debug,
  P: KIND.mmx,
  V: KIND.xmm,
};
const M_FIELD: Record<string, number> = {
  E: KIND.gpr,
  R: KIND.gpr,
  Z: KIND.gpr,
  Q: KIND.mmx,
  N: KIND.mmx,
  W: KIND.xmm,
  U: KIND.xmm,
};
const MEMORY_OF: Record<string, number> = {
  E: MEMORY.modrm,
  M: MEMORY.modrm,
  Q: MEMORY.modrm,
  W: MEMORY.modrm,
  O: MEMORY.moffs,
  X: MEMORY.source,
  Y: MEMORY.destination,
  '(rDI)': MEMORY.rdi,
  '(rBX)': MEMORY.rbx,
};
const IMMEDIATE_OF: Record<string, number> = {
  Ib: IMMEDIATE.unsigned8,
  Ibs: IMMEDIATE.signed8,
  Iw: IMMEDIATE.unsigned16,
  Iz: IMMEDIATE.z,
  Iv: IMMEDIATE.v,
  Ap: IMMEDIATE.far,
  Jb: IMMEDIATE.signed8,
  Jz: IMMEDIATE.z,
};

function parseOperand(text: string): OperandSpec {
  if (FIXED.includes(text)) return { kind: text, width: '', memoryWidth: '' };
  const both = /^R(\w)\/M(\w)$/.exec(text);
  if (both) return { kind: 'E', width: both[1]!, memoryWidth: both[2]! };
  const parts = /^([A-Z]|\(r\w\w\))([a-z]*)$/.exec(text);
  assert(parts, `operand ${text}`);
  return { kind: parts[1]!, width: parts[2]!, memoryWidth: parts[2]! };
}

/** Opcode maps: none, 0F, 0F 38 and 0F 3A before the opcode. */
export const MAP = { oneByte: 0, twoByte: 1, threeByte38: 2, threeByte3A: 3 } as const;
const THREE_BYTE_MAPS: Readonly<Record<string, number>> = { '38': MAP.threeByte38, '3A': MAP.threeByte3A };

interface Place {
  readonly prefix: string;
  readonly map: number;
  readonly opcodes: readonly number[];
  readonly perOpcode: 'r' | 'cc' | null;
  /** What the opcode column says of ModRM: `/digit`, a byte, the first of eight as `C0+i`; null for nothing. */
  readonly modrm: string | null;
}

/** The ModRM bytes that {@link Place.modrm} allows. */
function modrmBytes(modrm: string | null): number[] {
  if (modrm !== null && !/^\/|\+i$/.test(modrm)) return [Number.parseInt(modrm, 16)];
  const all = Array.from({ length: 256 }, (_, i) => i);
  if (modrm === null) return all;
  if (modrm.startsWith('/')) return all.filter((x) => ((x >> 3) & 7) === Number(modrm[1]));
  return all.filter((x) => x >> 3 === Number.parseInt(modrm.slice(0, 2), 16) >> 3);
}

function parsePlace(text: string): Place {
  const tokens = text.split(' ');
  const prefix = /^(NP|66|F3|F2|REX\.[WB])$/.test(tokens[0]!) && tokens.length > 1 ? tokens.shift()! : '';
  let map: number = MAP.oneByte;
  if (tokens[0] === '0F') {
    tokens.shift();
    map = tokens.length === 1 ? MAP.twoByte : (THREE_BYTE_MAPS[tokens[0]!] ?? MAP.twoByte);
    if (map !== MAP.twoByte) tokens.shift();
  }
  const parts = /^([0-9A-F]{2})(?:\+(r|cc))?$/.exec(tokens.shift()!);
  assert(parts, `opcode ${text}`);
  const first = Number.parseInt(parts[1]!, 16);
  const perOpcode = (parts[2] ?? null) as 'r' | 'cc' | null;
  const count = perOpcode === 'r' ? 8 : perOpcode === 'cc' ? 16 : 1;
  const opcodes = Array.from({ length: count }, (_, i) => first + i);
  return { prefix, map, opcodes, perOpcode, modrm: tokens.shift() ?? null };
}

function compileRow(row: Row, place: Place, opcode: number): CompiledRow {
  const operands = row.operands === '' ? [] : row.operands.split(',').map(parseOperand);
  const has = (flag: Flag): boolean => row.flags.includes(flag);
  let r: number = KIND.none;
  let m: number = KIND.none;
  let memory: number = MEMORY.none;
  let immediate: number = IMMEDIATE.none;
  let fixedSegment = 0;
  for (const { kind, width } of operands) {
    const byte = width === 'b';
    if (kind in R_FIELD) r = byte && kind === 'G' ? KIND.byte : R_FIELD[kind]!;
    if (kind in M_FIELD) m = byte ? KIND.byte : M_FIELD[kind]!;
    if (kind in MEMORY_OF) memory = MEMORY_OF[kind]!;
    if (kind === 'STi') m = KIND.x87;
    if (SEGMENTS.includes(kind)) {
      r = KIND.fixedSegment;
      fixedSegment = SEGMENTS.indexOf(kind);
    }
    const encoded = IMMEDIATE_OF[kind + width];
    if (encoded !== undefined) immediate = immediate === IMMEDIATE.unsigned16 ? IMMEDIATE.enter : encoded;
  }
  const letters = operands.map((x) => x.kind);
  const registerOnly = !has('anymod') && letters.some((x) => ['R', 'N', 'U'].includes(x));
  const inOpcode = letters.includes('Z');
  return {
    name: row.name,
    operands: has('hint') ? [] : operands,
    variant: place.perOpcode === 'cc' ? opcode & 15 : 0,
    hasCondition: place.perOpcode === 'cc',
    modrm: place.modrm !== null || letters.some((x) => /^[EGMRSCDPQNVWU]$/.test(x)),
    accepts: modrmBytes(place.modrm).filter((x) =>
      letters.includes('M') ? x < 0xc0 : registerOnly ? x >= 0xc0 : true,
    ),
    r,
    fixedSegment,
    m,
    inOpcode,
    memory,
    immediate,
    relative: letters.includes('J'),
    lock: has('lock'),
    d64: has('d64'),
    f64: has('f64'),
    noRexW: has('now'),
    system: has('sys'),
    quiet: has('quiet'),
    contained: has('contained'),
    newTf: has('newtf'),
    call: has('call'),
    ret: has('ret'),
    sized: has('v') || operands.some((x) => /^([vzpa]|bs)$/.test(x.width) || ['rAX', 'zAX', 'J'].includes(x.kind)),
    usesAddressSize: has('asz') || has('rep'),
    usesStack: has('stk'),
    rep: has('rep'),
    repcc: has('repcc'),
    hint: has('hint'),
    feature: row.feature,
    level: row.feature === null ? 1 : levelOf(row.feature),
    alternate: null,
    alternateMask: 0,
    forms: [],
  };
}

interface Claim {
  readonly row: Row;
  readonly place: Place;
}

/** The rows of every opcode, by `map << 8 | opcode`. */
const CLAIMS: readonly Claim[][] = Array.from({ length: 4 << 8 }, () => []);
for (const row of [...ONE_BYTE, ...TWO_BYTE, ...THREE_BYTE, ...X87, ...SSE]) {
  const place = parsePlace(row.opcode);
  for (const opcode of place.opcodes) CLAIMS[(place.map << 8) | opcode]!.push({ row, place });
}

/** A column's places: ModRM bytes, behind one for the opcode alone. */
const MODRM_PLACES = 257;
const PASSES = ['', 'prefix', 'rex'] as const;
const passOf = ({ prefix }: Place): (typeof PASSES)[number] =>
  prefix.startsWith('REX') ? 'rex' : prefix === '' ? '' : 'prefix';

function compileCell(vendor: Vendor, is64: boolean, index: number): Cell {
  const cell: Cell = { plain: [null, null, null, null], byModrm: [null, null, null, null] };
  const absent: readonly Flag[] = [vendor === 'amd' ? 'intel' : 'amd', is64 ? 'i64' : 'o64'];
  const claims = CLAIMS[index]!.filter(({ row }) => !row.flags.some((flag) => absent.includes(flag)));
  for (const pass of PASSES) {
    const claimed = new Uint8Array(4 * MODRM_PLACES);
    for (const { row, place } of claims) {
      if (passOf(place) !== pass) continue;
      const columns = pass === 'prefix' ? [['NP', '66', 'F3', 'F2'].indexOf(place.prefix)] : [0, 1, 2, 3];
      const compiled = compileRow(row, place, index & 0xff);
      for (const column of columns) {
        for (const modrm of compiled.modrm ? compiled.accepts : [-1]) {
          const key = column * MODRM_PLACES + modrm + 1;
          if (claimed[key] !== 0) assert(false, `two rows claim ${row.opcode}`);
          claimed[key] = 1;
          const list =
            modrm < 0 ? cell.plain : (cell.byModrm[column] ??= new Array<CompiledRow | null>(256).fill(null));
          const at = modrm < 0 ? column : modrm;
          if (pass !== 'rex') list[at] = compiled;
          else {
            const usual = list[at];
            assert(usual, 'a row for REX has one to stand in for');
            usual.alternate = compiled;
            usual.alternateMask = place.prefix === 'REX.W' ? 8 : 1;
          }
        }
      }
    }
  }
  return cell;
}

/** Cells of one vendor outside and inside 64-bit mode. */
type Cells = readonly [Array<Cell | undefined>, Array<Cell | undefined>];
const CELLS: Readonly<Record<Vendor, Cells>> = { amd: [[], []], intel: [[], []] };

/** The cell of `index` = `map << 8 | opcode` outside or inside 64-bit mode. */
export function cellAt(vendor: Vendor, is64: boolean, index: number): Cell {
  const cells = CELLS[vendor][is64 ? 1 : 0];
  return (cells[index] ??= compileCell(vendor, is64, index));
}
