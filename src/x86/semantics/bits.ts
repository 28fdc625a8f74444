/** Single bits and bit scans (SDM vol. 2: BT, BTS, BTR, BTC, BSF, BSR, BSWAP, POPCNT, CRC32). */
import type { Value, Width } from '../../ir/program.ts';
import type { Context, ReadModifyWrite, SemanticsTable } from './context.ts';
import { setBitScan, setCarry, setTested } from './flags.ts';

/** The new unit from the old one and the mask of the bit. */
type Change = (unit: Value, bit: Value) => Value;

/** A register offset reaches outside a memory operand: the signed bit offset selects the operand-sized unit to access. */
function unitAddress(c: Context): Value {
  const index = c.op('shr_s', c.signExtend(c.read(1)), Math.log2(c.size * 8));
  return c.b.linear(c.op('mul', index, c.size));
}

function readUnit(c: Context): Value {
  if (!c.isMemory(0) || c.operand(1).place === 'imm') return c.read(0);
  return c.b.load(unitAddress(c), c.size as Width);
}

function modifyUnit(c: Context): ReadModifyWrite {
  if (!c.isMemory(0) || c.operand(1).place === 'imm') return c.modify(0);
  const width = c.size as Width;
  const token = c.b.probe(unitAddress(c), width);
  return { old: c.b.peek(token, width), write: (value) => c.b.storeAt(token, width, value) };
}

const offsetInUnit = (c: Context): Value => c.op('and', c.read(1), c.size * 8 - 1);

function testAndChange(c: Context, change: Change): void {
  const { old, write } = modifyUnit(c);
  const offset = offsetInUnit(c);
  write(change(old, c.op('shl', c.b.i64(1), offset)));
  setCarry(c, c.bit(c.op('shr_u', old, offset), 0));
}

/** A zero source leaves all 64 bits of the destination as they are. */
function scan(c: Context, indexOf: (source: Value) => Value): void {
  const source = c.read(1);
  const found = c.op('ne', source, 0);
  const index = indexOf(source);
  if (c.size === 2) c.write(0, c.b.select(found, index, c.read(0)));
  else c.writeWhole(0, c.b.select(found, index, c.readWhole(0)));
  setBitScan(c, source, c.b.select(found, index, c.b.i64(0)));
}

/** Exchanges neighbouring groups of `bits` bits, of which `mask` selects the lower ones. */
function swapGroups(c: Context, value: Value, bits: number, mask: bigint): Value {
  const up = c.op('shl', c.op('and', value, mask), bits);
  return c.op('or', up, c.op('and', c.op('shr_u', value, bits), mask));
}

export const BITS: SemanticsTable = {
  bt: (c) => setCarry(c, c.bit(c.op('shr_u', readUnit(c), offsetInUnit(c)), 0)),
  bts: (c) => testAndChange(c, (old, bit) => c.op('or', old, bit)),
  btr: (c) => testAndChange(c, (old, bit) => c.op('and', old, c.not(bit))),
  btc: (c) => testAndChange(c, (old, bit) => c.op('xor', old, bit)),
  bsf: (c) => scan(c, (source) => c.b.unary('i64.ctz', source)),
  bsr: (c) => scan(c, (source) => c.op('sub', c.b.i64(63), c.b.unary('i64.clz', source))),
  popcnt(c) {
    const source = c.read(1);
    c.write(0, c.b.unary('i64.popcnt', source));
    setTested(c, { zf: c.isZero(source), cf: c.b.i32(0) });
  },
  /** Accumulates the operand into a CRC-32C; a 64-bit destination is cleared above bit 31. */
  crc32(c) {
    const crc = c.b.call('crc32c', 'i32', c.low(c.read(0)), c.read(1), c.b.i32(c.operand(1).width));
    c.write(0, c.widen(crc));
  },
  /** A 16-bit operand is undefined; silicon clears it. */
  bswap(c) {
    if (c.size === 2) {
      c.write(0, c.b.i64(0));
      return;
    }
    const value = c.readWhole(0);
    const bytes = swapGroups(c, value, 8, 0x00ff_00ff_00ff_00ffn);
    const words = swapGroups(c, bytes, 16, 0x0000_ffff_0000_ffffn);
    c.write(0, c.size === 8 ? c.op('rotl', words, 32) : words);
  },
};
