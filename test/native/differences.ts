/**
 * How two outcomes of a case differ, and what went into it, readable.
 *
 * Not compared: FOP, FIP and FDP of the x87 (deprecated selectors, vendors differ), RF, and what undefined.ts lists.
 */
import { Decoder, DecoderOptions, Formatter, FormatterSyntax, type Instruction } from 'iced-x86';
import {
  bitsOf,
  CASE_FP,
  type CaseRecord,
  CODE_BASE,
  FX,
  isSegmented,
  MODE_64,
  type OutcomeRecord,
  VECTOR_NONE,
} from './records.ts';
import { codeBase, loadedSegment } from './segments.ts';
import { agree, isNearest, registerPattern } from './transcendental.ts';
import type { Ignored } from './undefined.ts';

const GPRS = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi'];
const gprName = (i: number): string => GPRS[i] ?? `r${i}`;
const FLAG_NAMES: Array<[number, string]> = [
  [0x1, 'CF'],
  [0x4, 'PF'],
  [0x10, 'AF'],
  [0x40, 'ZF'],
  [0x80, 'SF'],
  [0x100, 'TF'],
  [0x200, 'IF'],
  [0x400, 'DF'],
  [0x800, 'OF'],
  [0x4000, 'NT'],
  [0x40000, 'AC'],
  [0x200000, 'ID'],
];
const flags = (value: number): string =>
  FLAG_NAMES.filter(([bit]) => value & bit)
    .map(([, name]) => name)
    .join(' ') || 'none';
const hex = (value: bigint | number): string => `0x${value.toString(16)}`;
const hexBytes = (bytes: Uint8Array): string =>
  [...bytes]
    .reverse()
    .map((b) => b.toString(16).padStart(2, '0'))
    .join('');
const RF = 0x10000;
const VECTOR_NAMES: Record<number, string> = {
  0: '#DE',
  1: '#DB',
  3: '#BP',
  4: '#OF',
  5: '#BR',
  6: '#UD',
  12: '#SS',
  13: '#GP',
  14: '#PF',
  16: '#MF',
  17: '#AC',
  19: '#XM',
  [VECTOR_NONE]: 'none',
};
const vectorName = (vector: number): string => VECTOR_NAMES[vector] ?? `#${vector}`;

/** Two approximations of one value: each off by 1.5 * 2^-12 at most, so that they differ by twice that. */
function nearby(a: number, b: number): boolean {
  if (Object.is(a, b)) return true;
  return Number.isFinite(a) && Number.isFinite(b) && b !== 0 && Math.abs(a - b) <= Math.abs(b) * 3 * 2 ** -12;
}

function sameBytes(a: Uint8Array, b: Uint8Array, from: number, count: number): boolean {
  for (let i = from; i < from + count; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Differences of the FXSAVE images, as lines. */
function floatingDifferences(record: CaseRecord, host: OutcomeRecord, cpu: OutcomeRecord, ignored: Ignored): string[] {
  const { mode } = record;
  const lines: string[] = [];
  const h = host.fxsave;
  const c = cpu.fxsave;
  const hv = new DataView(h.buffer, h.byteOffset, 512);
  const cv = new DataView(c.buffer, c.byteOffset, 512);
  const report = (what: string, silicon: number, ours: number): void => {
    if (silicon !== ours) lines.push(`${what} silicon ${hex(silicon)} cpu ${hex(ours)}`);
  };
  const withinBound = (i: number): boolean => {
    if (ignored.transcendental === null) return false;
    const nearest = isNearest(hv.getUint16(FX.fcw, true));
    const [silicon, ours] = [registerPattern(h, i), registerPattern(c, i)];
    return agree(ignored.transcendental, registerPattern(record.fxsave, 0), nearest, ours, silicon);
  };
  report('fcw', hv.getUint16(FX.fcw, true), cv.getUint16(FX.fcw, true));
  report('fsw', hv.getUint16(FX.fsw, true) & ~ignored.fsw, cv.getUint16(FX.fsw, true) & ~ignored.fsw);
  if (!ignored.ftw) report('ftw', h[FX.ftw]!, c[FX.ftw]!);
  report('mxcsr', hv.getUint32(FX.mxcsr, true), cv.getUint32(FX.mxcsr, true));
  for (let i = 0; i < 8; i++) {
    const at = FX.st + 16 * i;
    if (!sameBytes(h, c, at, 10) && !withinBound(i))
      lines.push(`st${i} silicon ${hexBytes(h.subarray(at, at + 10))} cpu ${hexBytes(c.subarray(at, at + 10))}`);
  }
  for (let i = 0; i < (mode !== MODE_64 ? 8 : 16); i++) {
    const at = FX.xmm + 16 * i;
    let same = sameBytes(h, c, at, 16);
    if (!same && ignored.approximate)
      same = [0, 4, 8, 12].every(
        (lane) =>
          hv.getUint32(at + lane, true) === cv.getUint32(at + lane, true) ||
          nearby(cv.getFloat32(at + lane, true), hv.getFloat32(at + lane, true)),
      );
    if (!same)
      lines.push(`xmm${i} silicon ${hexBytes(h.subarray(at, at + 16))} cpu ${hexBytes(c.subarray(at, at + 16))}`);
  }
  return lines;
}

/** The changed words of the data page, without ignored bytes. */
function changedWords(outcome: OutcomeRecord, ignored: Ignored): Map<number, bigint> {
  const words = new Map<number, bigint>();
  const [from, count] = ignored.memory ?? [0, 0];
  for (let i = 0; i < outcome.changes; i++) {
    const offset = outcome.changeOffset(i);
    let value = outcome.changeValue(i);
    for (let b = 0; b < 8; b++) if (offset + b >= from && offset + b < from + count) value &= ~(0xffn << BigInt(8 * b));
    if (count < 4096) words.set(offset, value);
  }
  return words;
}

function memoryDifferences(host: OutcomeRecord, cpu: OutcomeRecord, ignored: Ignored): string[] {
  const silicon = changedWords(host, ignored);
  const ours = changedWords(cpu, ignored);
  const lines: string[] = [];
  const [from, count] = ignored.memory ?? [0, 0];
  const mayDiffer = (offset: number): boolean =>
    ignored.memoryMayChange && offset < from + count && from < offset + 8 && silicon.has(offset) !== ours.has(offset);
  const show = (value: bigint | undefined): string => (value === undefined ? 'unchanged' : hex(value));
  for (const offset of [...new Set([...silicon.keys(), ...ours.keys()])].sort((a, b) => a - b))
    if (silicon.get(offset) !== ours.get(offset) && !mayDiffer(offset))
      lines.push(`data+${hex(offset)} silicon ${show(silicon.get(offset))} cpu ${show(ours.get(offset))}`);
  return lines;
}

/** How the CPU's outcome differs from silicon's, one line a difference; empty when it does not. */
export function differences(record: CaseRecord, host: OutcomeRecord, cpu: OutcomeRecord, ignored: Ignored): string[] {
  const lines: string[] = [];
  if (host.vector !== cpu.vector) lines.push(`vector silicon ${vectorName(host.vector)} cpu ${vectorName(cpu.vector)}`);
  else if (host.vector !== VECTOR_NONE && ((host.error ^ cpu.error) & ~ignored.error) !== 0)
    lines.push(`error code of ${vectorName(host.vector)} silicon ${hex(host.error)} cpu ${hex(cpu.error)}`);
  if (host.cr2 !== cpu.cr2 && !(ignored.cr2 && cpu.vector === host.vector))
    lines.push(`cr2 silicon ${hex(host.cr2)} cpu ${hex(cpu.cr2)}`);
  if (host.rip !== cpu.rip) lines.push(`rip silicon ${hex(host.rip)} cpu ${hex(cpu.rip)}`);
  const flagMask = ~(ignored.rflags | RF);
  if (((host.rflags ^ cpu.rflags) & flagMask) !== 0)
    lines.push(`rflags silicon ${flags(host.rflags & flagMask)} cpu ${flags(cpu.rflags & flagMask)}`);
  for (let i = 0; i < (record.mode !== MODE_64 ? 8 : 16); i++) {
    if ((ignored.gprs >> i) & 1) continue;
    const bits = (ignored.gprsHigh >> i) & 1 ? 32 : 64;
    const silicon = BigInt.asUintN(bits, host.gpr(i));
    const ours = BigInt.asUintN(bits, cpu.gpr(i));
    if (silicon !== ours) lines.push(`${gprName(i)} silicon ${hex(silicon)} cpu ${hex(ours)}`);
  }
  lines.push(...memoryDifferences(host, cpu, ignored));
  if (record.flags & CASE_FP) lines.push(...floatingDifferences(record, host, cpu, ignored));
  return lines;
}

const segmentsText = (record: CaseRecord): string =>
  ['es', 'cs', 'ss', 'ds', 'fs', 'gs']
    .map((name, n) => {
      const { base, limit, attributes } = loadedSegment(record.segmentIndex(n), n === 1);
      return `${name}=${hex(base)}/${hex(limit)}/${hex(attributes)}`;
    })
    .join(' ');

/** The state that goes into a case, readable. */
export function describeCase(record: CaseRecord): string {
  const decoder = new Decoder(bitsOf(record.mode), record.code, DecoderOptions.None);
  decoder.ip = BigInt(CODE_BASE + record.codeOffset - codeBase(record));
  const instruction: Instruction = decoder.decode();
  const formatter = new Formatter(FormatterSyntax.Nasm);
  const text = formatter.format(instruction);
  for (const owned of [decoder, instruction, formatter]) owned.free();
  const bytes = [...record.code].map((b) => b.toString(16).padStart(2, '0')).join(' ');
  const registers = Array.from(
    { length: record.mode !== MODE_64 ? 8 : 16 },
    (_, i) => `${gprName(i)}=${hex(record.gpr(i))}`,
  );
  const lines = [
    `${text}  [${bytes}] at +${hex(record.codeOffset)}, flags ${flags(record.rflags)}`,
    registers.join(' '),
    isSegmented(record.mode) ? segmentsText(record) : `fs=${hex(record.fsBase)} gs=${hex(record.gsBase)}`,
    `seed=${hex(record.memorySeed)} poke +${hex(record.pokeOffset)}: ${hexBytes(record.poke)}`,
  ];
  if (record.flags & CASE_FP) {
    const fx = record.fxsave;
    const view = new DataView(fx.buffer, fx.byteOffset, 512);
    lines.push(
      `fcw=${hex(view.getUint16(0, true))} fsw=${hex(view.getUint16(2, true))} ftw=${hex(fx[4]!)} mxcsr=${hex(view.getUint32(24, true))}`,
    );
  }
  return lines.join('\n    ');
}
