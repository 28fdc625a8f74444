/** Single encodings whose decoding the manual states: prefixes, lengths, addressing, the record. */
import { expect, test } from 'vitest';
import { decode } from '../../src/x86/decode/decode.ts';
import { enumerateForms } from '../../src/x86/decode/enumerate.ts';
import { writeRecord } from '../../src/x86/decode/record-io.ts';
import type { CodeMode, CpuPolicy, DecodeFailure, Form, Insn } from '../../src/x86/form.ts';
import { ATTR, RECORD, RECORD_BYTES } from '../../src/x86/record.ts';
import { GPR, STATE } from '../../src/x86/state.ts';

const parse = (hex: string): Uint8Array => Uint8Array.from(hex.split(' '), (x) => Number.parseInt(x, 16));
function any(hex: string, mode: CodeMode = 2, pageOffset = 0, policy: CpuPolicy = 'x86-64-v1'): Insn | DecodeFailure {
  const bytes = parse(hex);
  return decode(bytes, 0, bytes.length, pageOffset, mode, policy);
}
function one(hex: string, mode: CodeMode = 2, pageOffset = 0): Insn {
  const insn = any(hex, mode, pageOffset);
  if (typeof insn === 'string') throw new Error(`${hex}: ${insn}`);
  return insn;
}
const gpr = (n: number): number => STATE.gpr.offset + n * 8;

test('REX counts only right before the opcode', () => {
  expect(one('48 66 01 c8').form.size).toBe(2);
  expect(one('66 48 01 c8').form.size).toBe(8);
});

test('high-byte registers exist without REX only', () => {
  expect(one('88 e3').r).toBe(gpr(GPR.rax) + 1);
  expect(one('40 88 e3').r).toBe(gpr(GPR.rsp));
});

test('bytes that end early are short, more than 15 are long', () => {
  expect(any('48 8b 84 24 00 00 00')).toBe('short');
  expect(any('66')).toBe('short');
  expect(any('66 66 66 66 66 66 66 66 66 66 66 66 66 66 66 90')).toBe('long');
  expect(one('66 66 66 66 66 66 66 66 66 66 66 66 66 66 90').length).toBe(15);
  expect(any('66 66 66 66 66 66 66 66 66 66 66 66 66 66 05 00 00')).toBe('long');
});

test('an undefined opcode is invalid though the bytes end there', () => {
  expect(any('0f 04')).toBe('invalid');
});

test('LOCK is only for a memory destination of a lockable instruction', () => {
  expect(one('f0 01 08').attr & ATTR.lock).toBe(ATTR.lock);
  expect(any('f0 01 c8')).toBe('invalid');
  expect(any('f0 03 08')).toBe('invalid');
  expect(any('f0 38 08')).toBe('invalid');
  expect(any('f0 8b 08')).toBe('invalid');
});

test('a RIP-relative operand counts from the end of the instruction, immediate included', () => {
  const insn = one('48 81 05 10 00 00 00 01 00 00 00', 2, 0x123);
  expect(insn.base).toBe(STATE.pageBase.offset);
  expect(insn.disp).toBe(0x10n + 0x123n + 11n);
});

test('a relative branch holds its target within the page', () => {
  expect(one('eb fe', 2, 0x80).imm).toBe(0x80n);
  expect(one('e8 00 f0 ff ff', 2, 0).imm).toBe(5n - 0x1000n);
  // SDM vol. 2A "Jcc": near branches have 64-bit operand size in 64-bit mode; AMD's obey the prefix (APM vol. 3, 1.2.2)
  expect((any('66 e9 00 00 00 00', 2, 0, 'x86-64-v1-intel') as Insn).length).toBe(6);
  expect(one('66 e9 00 00').length).toBe(4);
  expect(one('66 e9 00 00', 1).length).toBe(4);
});

test('16-bit addressing', () => {
  const insn = one('67 8b 42 fe', 1);
  expect([insn.base, insn.index, insn.disp]).toEqual([gpr(GPR.rbp), gpr(GPR.rsi), -2n]);
  expect(insn.attr & ATTR.addressMask).toBe(2);
  expect(insn.seg).toBe(STATE.segmentBase.offset + 2 * 8);
  const absolute = one('67 8b 06 34 12', 1);
  expect([absolute.base, absolute.index, absolute.disp]).toEqual([STATE.zero.offset, STATE.zero.offset, 0x1234n]);
});

test('segments: flat in 64-bit mode but for FS and GS, the stack by base register', () => {
  expect(one('8b 45 00').seg).toBe(STATE.zero.offset);
  expect(one('8b 45 00').attr & ATTR.stack).toBe(ATTR.stack);
  expect(one('64 8b 45 00').attr & ATTR.stack).toBe(0);
  expect(one('65 8b 00').seg).toBe(STATE.segmentBase.offset + 5 * 8);
  expect(one('2e 8b 00').seg).toBe(STATE.zero.offset);
  expect(one('2e 8b 00', 1).seg).toBe(STATE.segmentBase.offset + 1 * 8);
  expect(one('8b 00', 1).attr & ATTR.linear32).toBe(ATTR.linear32);
});

test('immediates are extended as the instruction uses them', () => {
  expect(one('48 83 c0 ff').imm).toBe(-1n);
  expect(one('48 b8 00 00 00 00 00 00 00 80').imm).toBe(-(1n << 63n));
  expect(one('6a 80').imm).toBe(-128n);
  expect(one('c1 e0 ff').imm).toBe(255n);
  const enter = one('c8 10 20 03');
  expect([enter.imm, enter.imm2]).toEqual([0x2010n, 3]);
  const far = one('9a 78 56 34 12 08 00', 1);
  expect([far.imm, far.imm2]).toEqual([0x12345678n, 8]);
});

test('x86-64-v1: newer encodings are invalid or keep their old meaning', () => {
  expect(any('f3 0f b8 c0')).toBe('invalid'); // POPCNT
  expect(one('f3 0f bc c1').form.name).toBe('bsf'); // TZCNT
  expect(any('66 0f 38 00 c1')).toBe('invalid'); // SSSE3
  expect(any('0f 3a 0f c1 08')).toBe('invalid');
  expect(any('f2 0f f0 00')).toBe('invalid'); // SSE3
  expect(any('db 08')).toBe('invalid'); // FISTTP
  expect(any('9f')).toBe('invalid'); // LAHF in 64-bit mode
  expect(one('9f', 1).form.feature).toBeNull();
  expect(any('c5 f8 77')).toBe('invalid'); // VEX
  expect(any('0f 01 d0')).toBe('invalid'); // XGETBV
  expect(one('f3 0f 1e fa').form.name).toBe('nop'); // ENDBR64
  expect(any('48 0f c7 08')).toBe('invalid'); // CMPXCHG16B
});

test('x86-64-v2: a form knows its feature; MOVBE, TZCNT, LZCNT, MONITOR and AES are not among them', () => {
  const two = (hex: string): Insn | DecodeFailure => any(hex, 2, 0, 'x86-64-v2');
  const features = [
    ['48 0f c7 08', 'cmpxchg16b', 'cx16'],
    ['f3 0f b8 c0', 'popcnt', 'popcnt'],
    ['f2 0f f0 00', 'lddqu', 'sse3'],
    ['db 08', 'fisttp', 'sse3'],
    ['66 0f 38 00 c1', 'pshufb', 'ssse3'],
    ['0f 3a 0f c1 08', 'palignr', 'ssse3'],
    ['66 0f 3a 14 c0 01', 'pextrb', 'sse4.1'],
    ['66 f2 0f 38 f1 c1', 'crc32', 'sse4.2'],
    ['9f', 'lahf', 'lahf'],
    ['f3 0f bc c1', 'bsf', null],
    ['f3 0f bd c1', 'bsr', null],
  ] as const;
  for (const [hex, name, feature] of features) {
    const insn = two(hex) as Insn;
    expect([insn.form.name, insn.form.feature], hex).toEqual([name, feature]);
  }
  for (const hex of ['0f 38 f0 00', '0f 01 c8', '66 0f 38 dc c1', '66 0f 3a 44 c1 00'])
    expect(two(hex), hex).toBe('invalid');
});

test('a three-byte opcode that ends early is short', () => {
  expect(any('66 0f 38', 2, 0, 'x86-64-v2')).toBe('short');
  expect(any('66 0f 3a 0f c1', 2, 0, 'x86-64-v2')).toBe('short');
});

test('90 is XCHG only with REX.B, PAUSE with F3', () => {
  expect(one('90').form.name).toBe('nop');
  expect(one('f3 90').form.name).toBe('pause');
  expect(one('41 90').form.key).toBe('xchg.4.m,a');
});

test('string instructions name their segment bases', () => {
  const insn = one('64 f3 a5', 1);
  expect(insn.form.key).toBe('movs.4.mem/a4/rep');
  expect(insn.base).toBe(gpr(GPR.rsi));
  expect(insn.m).toBe(STATE.segmentBase.offset + 4 * 8);
  expect(insn.r).toBe(STATE.segmentBase.offset);
  expect(one('f2 a6').form.rep).toBe(2);
  expect(one('f2 a4').form.rep).toBe(1);
});

/** The instruction of the record at byte `at`, whose form the caller knows from the handler. */
function readRecord(view: DataView, at: number, form: Form, mode: CodeMode): Insn {
  return {
    form,
    mode,
    pageOffset: view.getUint16(at + RECORD.place, true),
    length: view.getUint8(at + RECORD.place + 2),
    r: view.getInt32(at + RECORD.r, true),
    m: view.getInt32(at + RECORD.m, true),
    base: view.getInt32(at + RECORD.base, true),
    index: view.getInt32(at + RECORD.index, true),
    scale: view.getInt32(at + RECORD.scale, true),
    seg: view.getInt32(at + RECORD.seg, true),
    disp: view.getBigInt64(at + RECORD.disp, true),
    imm: view.getBigInt64(at + RECORD.imm, true),
    imm2: view.getInt32(at + RECORD.imm2, true),
    attr: view.getInt32(at + RECORD.attr, true),
  };
}

test('a record gives back the instruction', () => {
  const view = new DataView(new ArrayBuffer(RECORD_BYTES * 2));
  for (const mode of [1, 2] as const) {
    for (const bytes of enumerateForms(mode, 'x86-64-v2').values()) {
      const insn = decode(bytes, 0, bytes.length, 0xff8, mode, 'x86-64-v2');
      if (typeof insn === 'string') throw new Error(insn);
      writeRecord(view, RECORD_BYTES, insn, 77);
      expect(readRecord(view, RECORD_BYTES, insn.form, mode)).toEqual(insn);
      expect(view.getInt32(RECORD_BYTES + RECORD.next, true)).toBe(0xff8 + bytes.length);
    }
  }
});
