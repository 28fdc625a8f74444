/** The decoder against iced-x86 on random bytes: same validity, length, name, operands, addresses and immediates. */
import { expect, test } from 'vitest';
import { decode } from '../../src/x86/decode/decode.ts';
import type { CodeMode, CpuPolicy, Insn } from '../../src/x86/form.ts';
import { ATTR } from '../../src/x86/record.ts';
import { SEG, STATE } from '../../src/x86/state.ts';
import { expectedName, Iced, type IcedView, memoryBytes, OpKind, Register, registerAt, registerBytes } from './iced.ts';

const CASES = Number(process.env.DECODE_CASES ?? 100_000);

/** xorshift32, so that every run sees the same bytes. */
function random(seed: number): () => number {
  let x = seed;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}
const LEGACY = [0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];
/** Slots of 16 bytes: random prefixes, one of the four maps, random rest. */
function randomSlots(count: number, is64: boolean, seed: number): Uint8Array {
  const next = random(seed);
  const out = new Uint8Array(count * 16 + 16);
  for (let i = 0; i < count; i++) {
    let p = i * 16;
    for (let k = 0; k < 16; k++) out[p + k] = next() >>> 24;
    for (let k = (next() >>> 16) % 7; k > 3; k--) out[p++] = LEGACY[(next() >>> 8) % LEGACY.length]!;
    if (is64 && next() & 0x1000) out[p++] = 0x40 | ((next() >>> 10) & 15);
    const map = (next() >>> 12) % 6;
    if (map > 0) out[p++] = 0x0f;
    if (map > 3) out[p++] = map === 4 ? 0x38 : 0x3a;
  }
  return out;
}

const addressBits = (insn: Insn): number => [64, 32, 16][insn.attr & ATTR.addressMask]!;

/** What is wrong with `insn` in iced's eyes, or null. */
function difference(insn: Insn, view: IcedView, is64: boolean): string | null {
  const i = view.instruction;
  if (insn.length !== view.length) return `length ${insn.length}, iced ${view.length}`;
  const { name, variant } = expectedName(view);
  if (insn.form.name !== name || insn.form.variant !== variant) return `name ${insn.form.name}, iced ${name}`;
  const locked = (insn.attr & ATTR.lock) !== 0;
  if (locked !== i.hasLockPrefix) return 'lock';
  const operands = insn.form.operands;
  let nextImmediate = 0;
  for (let k = 0; k < i.opCount; k++) {
    const kind = i.opKind(k);
    const operand = operands[Math.min(k, operands.length - 1)];
    if (kind === OpKind.Register) {
      if (name === 'nop' || name.startsWith('ud') || name === 'ins' || name === 'outs') continue;
      // string instructions and XLAT keep segment bases in the register fields; their register operands are fixed
      const at = registerAt(i.opRegister(k));
      const spec = operands[k];
      if (!spec) return `operand ${k} missing`;
      // iced names the whole register where only its low word is read or the rest is written with zeros
      const whole = /m16|^(Pmovmskb|Pextrw|Movmsk)/.test(view.code);
      if (spec.file === 'gpr' && !whole && spec.width !== registerBytes(i.opRegister(k)))
        return `operand ${k}: width ${spec.width}`;
      const place = spec.place;
      const ours =
        place === 'r'
          ? insn.r
          : place === 'm'
            ? insn.m
            : typeof place === 'object' && 'fixed' in place
              ? spec.file === 'x87'
                ? place.fixed
                : STATE.gpr.offset + place.fixed * 8
              : -1;
      if (ours !== at) return `operand ${k}: register at ${ours}, iced ${at}`;
      continue;
    }
    if (kind === OpKind.Memory) {
      const scale = 2 ** insn.scale;
      const base = registerAt(i.memoryBase);
      const index = registerAt(i.memoryIndex);
      if (insn.base !== base) return `base ${insn.base}, iced ${base}`;
      if (insn.index !== index && name !== 'xlat') return `index ${insn.index}, iced ${index}`;
      if (index !== STATE.zero.offset && scale !== i.memoryIndexScale) return `scale ${scale}`;
      const bits = addressBits(insn);
      if (BigInt.asUintN(bits, insn.disp) !== BigInt.asUintN(bits, i.memoryDisplacementU64))
        return `disp ${insn.disp}, iced ${i.memoryDisplacementU64}`;
      const problem = segmentDifference(insn, i.memorySegment, is64);
      if (problem) return problem;
      // iced leaves out the ST(0) of x87 arithmetic
      const spec = operands[k + (operands[0]?.file === 'x87' ? 1 : 0)];
      if (name !== 'nop' && !name.startsWith('ud') && spec?.place !== 'mem') return `operand ${k} not memory`;
      if (spec && spec.width > 0 && spec.width !== memoryBytes(view))
        return `width ${spec.width}, iced ${memoryBytes(view)}`;
      continue;
    }
    if (kind >= OpKind.MemorySegSI && kind <= OpKind.MemoryESRDI) {
      const source = kind <= OpKind.MemorySegRDI;
      if (source) {
        const problem = segmentDifference(insn, i.memorySegment, is64);
        if (problem) return problem;
      }
      continue;
    }
    if (kind === OpKind.NearBranch16 || kind === OpKind.NearBranch32 || kind === OpKind.NearBranch64) {
      const bits = kind === OpKind.NearBranch16 ? 16 : kind === OpKind.NearBranch32 ? 32 : 64;
      if (BigInt.asUintN(bits, insn.imm) !== i.nearBranchTarget) return `target ${insn.imm}`;
      if (operand && operand.width * 8 !== bits) return `branch width ${operand.width}`;
      continue;
    }
    if (kind === OpKind.FarBranch16 || kind === OpKind.FarBranch32) {
      const offset = kind === OpKind.FarBranch16 ? i.farBranch16 : i.farBranch32;
      if (insn.imm !== BigInt(offset) || insn.imm2 !== i.farBranchSelector) return 'far pointer';
      continue;
    }
    // an immediate: the constant 1 of a shift is one for iced
    const spec = operands[k];
    if (spec && typeof spec.place === 'object' && 'constant' in spec.place) continue;
    const value = nextImmediate++ === 0 ? insn.imm : BigInt(insn.imm2);
    const bits = (spec?.width ?? 1) * 8;
    if (BigInt.asUintN(bits, value) !== BigInt.asUintN(bits, i.immediate(k)))
      return `imm ${value}, iced ${i.immediate(k)}`;
  }
  return null;
}

function segmentDifference(insn: Insn, segment: Register, is64: boolean): string | null {
  // in 64-bit mode an ES, CS, SS or DS override does nothing, though iced reports it
  if (is64 && segment < Register.FS) return insn.seg === STATE.zero.offset ? null : 'segment not flat';
  const name = Register[segment]!.toLowerCase() as keyof typeof SEG;
  const number = (insn.attr >> ATTR.segmentShift) & 7;
  if (SEG[name] !== number) return `segment ${number}, iced ${name}`;
  const at = STATE.segmentBase.offset + SEG[name] * 8;
  if (insn.seg !== at) return `segment base at ${insn.seg}, iced ${name}`;
  return null;
}

for (const [bits, mode, policy] of [
  [64, 2, 'x86-64-v1'],
  [32, 1, 'x86-64-v1'],
  [16, 0, 'x86-64-v1'],
  [64, 2, 'x86-64-v2'],
  [32, 1, 'x86-64-v2'],
  [64, 2, 'x86-64-v2-intel'],
  [32, 1, 'x86-64-v1-intel'],
] as ReadonlyArray<readonly [16 | 32 | 64, CodeMode, CpuPolicy]>) {
  test(`decoding agrees with iced-x86 on ${CASES} random ${bits}-bit instructions of ${policy}`, () => {
    const slots = randomSlots(CASES, bits === 64, 0x1234567 + bits);
    const iced = new Iced(bits, slots, policy);
    const wrong = new Map<string, string>();
    let valid = 0;
    for (let n = 0; n < CASES; n++) {
      const view = iced.at(n);
      const ours = decode(slots, n * 16, 16, 0, mode, policy);
      const kind = typeof ours === 'string' ? ours : 'valid';
      let problem: string | null = null;
      if (view.valid !== (kind === 'valid')) problem = `${kind}, iced ${view.text}`;
      else if (typeof ours !== 'string') {
        valid++;
        problem = difference(ours, view, bits === 64);
      }
      if (problem) {
        const bytes = Array.from(slots.slice(n * 16, n * 16 + 15), (x) => x.toString(16).padStart(2, '0')).join(' ');
        const key =
          problem.startsWith('invalid') || problem.startsWith('valid')
            ? problem
            : `${view.code} ${problem.replace(/-?\d+/g, '#')}`;
        if (!wrong.has(key)) wrong.set(key, `${bytes}: ${problem} (${view.text})`);
      }
    }
    expect([...wrong.values()].slice(0, 300)).toEqual([]);
    expect(valid).toBeGreaterThan(CASES / 4);
  });
}
