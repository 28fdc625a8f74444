/**
 * The xz container with the filters a Linux kernel is packed with: LZMA2, optionally behind the x86 branch filter.
 *
 * Invariants: nothing is allocated before the index, which is verified, promises the size that the caller expects; a block's
 * check, its index record and the stream footer are verified before anything is returned.
 * Source: `xz-file-format.txt` (The .xz File Format) of XZ Utils; `scripts/xz_wrap.sh` of Linux for the filters.
 */

import { crc32 } from './crc32.ts';
import { corrupt, MOST_XZ_BLOCKS, UNPACK_LIMIT_SYMBOLS } from './limits.ts';
import { unpackLzma2 } from './lzma2.ts';

const FILTER_X86 = 4n;
const FILTER_LZMA2 = 0x21n;
const CHECK_NONE = 0;
const CHECK_CRC32 = 1;

const fail = corrupt('xz');

/** Whether `bytes` starts with the xz magic. */
export const isXz = (bytes: Uint8Array): boolean =>
  [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0].every((byte, i) => bytes[i] === byte);

/** A multibyte integer of the format, at `position.at`, which it advances. */
function varint(bytes: Uint8Array, position: { at: number }): bigint {
  let value = 0n;
  for (let shift = 0n; shift < 63n; shift += 7n) {
    const byte = bytes[position.at++];
    if (byte === undefined) return fail(`it ends at byte ${bytes.length} inside an integer`);
    value |= BigInt(byte & 127) << shift;
    if (byte < 128) return value;
  }
  return fail(`an integer at byte ${position.at - 9} is too long`);
}

interface BlockHeader {
  /** Input position of the compressed data. */
  readonly dataStart: number;
  readonly x86: boolean;
  readonly x86Start: number;
}

function readBlockHeader(bytes: Uint8Array, start: number, u32: (at: number) => number): BlockHeader {
  const size = ((bytes[start] ?? 0) + 1) * 4;
  if (start + size > bytes.length) fail(`it ends inside the block header at byte ${start}`);
  if (crc32(bytes.subarray(start, start + size - 4)) !== u32(start + size - 4))
    fail(`the block header at byte ${start} fails its CRC-32`);
  const flags = bytes[start + 1]!;
  const position = { at: start + 2 };
  if (flags & 0x40) varint(bytes, position);
  if (flags & 0x80) varint(bytes, position);
  const filters = Array.from({ length: (flags & 3) + 1 }, () => {
    const id = varint(bytes, position);
    const length = Number(varint(bytes, position));
    const properties = bytes.subarray(position.at, position.at + length);
    position.at += length;
    return { id, properties };
  });
  const last = filters.at(-1)!;
  const before = filters.slice(0, -1);
  if (last.id !== FILTER_LZMA2 || before.length > 1 || before.some((filter) => filter.id !== FILTER_X86))
    fail(`its filters (${filters.map((filter) => `0x${filter.id.toString(16)}`).join(', ')}) are not a kernel's`);
  const offset = before[0]?.properties;
  const x86Start = offset?.length === 4 ? new DataView(offset.buffer, offset.byteOffset).getUint32(0, true) : 0;
  return { dataStart: start + size, x86: before.length === 1, x86Start };
}

/** Sizes of all blocks, from the index of the stream that ends at `end`. */
function readIndex(bytes: Uint8Array, end: number, u32: (at: number) => number): { unpadded: number; size: number }[] {
  if (bytes[end - 2] !== 0x59 || bytes[end - 1] !== 0x5a) fail(`the stream footer before byte ${end} is missing`);
  if (crc32(bytes.subarray(end - 8, end - 2)) !== u32(end - 12)) fail('the stream footer fails its CRC-32');
  const indexSize = (u32(end - 8) + 1) * 4;
  const start = end - 12 - indexSize;
  if (start < 12 || bytes[start] !== 0) return fail(`the index at byte ${start} is missing`);
  if (crc32(bytes.subarray(start, end - 16)) !== u32(end - 16)) fail('the index fails its CRC-32');
  const position = { at: start + 1 };
  const count = Number(varint(bytes, position));
  if (count > Math.min(indexSize, MOST_XZ_BLOCKS)) fail(`the index at byte ${start} claims ${count} blocks`);
  return Array.from({ length: count }, () => ({
    unpadded: Number(varint(bytes, position)),
    size: Number(varint(bytes, position)),
  }));
}

/**
 * Unpacks the one xz stream in `bytes` to exactly `size` bytes; E_IMAGE when it is corrupt, has filters other than LZMA2 and
 * x86 BCJ, or is of another size.
 */
export function unpackXz(bytes: Uint8Array, size: number): Uint8Array {
  if (!isXz(bytes) || bytes.length < 32) fail('the stream header is missing');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const u32 = (at: number): number => view.getUint32(at, true);
  if (crc32(bytes.subarray(6, 8)) !== u32(8)) fail('the stream header fails its CRC-32');
  const check = bytes[7]! & 15;
  if (check !== CHECK_NONE && check !== CHECK_CRC32) fail(`its check type ${check} is not a kernel's (CRC-32)`);
  const checkSize = check === CHECK_CRC32 ? 4 : 0;
  // The kernel's build appends the unpacked size; a stream is a multiple of 4 long either way.
  const end = bytes[bytes.length - 2] === 0x59 && bytes[bytes.length - 1] === 0x5a ? bytes.length : bytes.length - 4;
  if (bytes[6] !== bytes[end - 4] || bytes[7] !== bytes[end - 3]) fail('the stream header and footer differ');
  const blocks = readIndex(bytes, end, u32);
  const total = blocks.reduce((sum, block) => sum + block.size, 0);
  if (total !== size) fail(`its index promises ${total} bytes instead of ${size}`);
  const out = new Uint8Array(size);
  const budget = { symbols: UNPACK_LIMIT_SYMBOLS };
  let at = 12;
  let written = 0;
  for (const block of blocks) {
    const header = readBlockHeader(bytes, at, u32);
    const target = out.subarray(written, written + block.size);
    const { end: dataEnd, written: got } = unpackLzma2(bytes.subarray(0, end), header.dataStart, target, budget);
    if (got !== block.size) fail(`a block unpacks to ${got} bytes instead of ${block.size}`);
    if (header.x86) undoX86Branches(target, header.x86Start);
    const checkAt = Math.ceil(dataEnd / 4) * 4;
    if (bytes.subarray(dataEnd, checkAt).some((byte) => byte !== 0)) fail(`the padding at byte ${dataEnd} is not zero`);
    if (dataEnd - at + checkSize !== block.unpadded)
      fail(`the block at byte ${at} has another size than its index record`);
    if (checkAt + checkSize > end) fail(`it ends inside the block at byte ${at}`);
    if (check === CHECK_CRC32 && crc32(target) !== u32(checkAt)) fail(`the block at byte ${at} fails its CRC-32`);
    at = checkAt + checkSize;
    written += block.size;
  }
  return out;
}

/**
 * Turns the absolute targets of E8/E9 (CALL, JMP) back into relative ones, in place. Only operands whose top byte is 00 or
 * FF were converted; `mask` remembers which of the last bytes looked like an opcode, since those were treated
 * differently. Source: the x86 BCJ filter of the LZMA SDK and XZ Utils.
 */
function undoX86Branches(bytes: Uint8Array, start: number): void {
  const MASK_ALLOWED = [true, true, true, false, true, false, false, false];
  const MASK_BIT = [0, 1, 2, 2, 3, 3, 3, 3];
  const isTop = (byte: number): boolean => byte === 0 || byte === 0xff;
  let mask = 0;
  let last = -1;
  for (let i = 0; i + 4 < bytes.length; i++) {
    if ((bytes[i]! & 0xfe) !== 0xe8) continue;
    const gap = i - last;
    last = i;
    if (gap > 3) mask = 0;
    else {
      mask = (mask << (gap - 1)) & 7;
      if (mask !== 0 && (!MASK_ALLOWED[mask] || isTop(bytes[i + 4 - MASK_BIT[mask]!]!))) {
        mask = (mask << 1) | 1;
        continue;
      }
    }
    if (!isTop(bytes[i + 4]!)) {
      mask = (mask << 1) | 1;
      continue;
    }
    let source = bytes[i + 1]! | (bytes[i + 2]! << 8) | (bytes[i + 3]! << 16) | (bytes[i + 4]! << 24);
    let target: number;
    for (;;) {
      target = (source - (start + i + 5)) | 0;
      if (mask === 0) break;
      const shift = MASK_BIT[mask]! * 8;
      if (!isTop((target >>> (24 - shift)) & 255)) break;
      source = target ^ (2 ** (32 - shift) - 1);
    }
    bytes[i + 1] = target;
    bytes[i + 2] = target >> 8;
    bytes[i + 3] = target >> 16;
    bytes[i + 4] = (target >> 24) & 1 ? 0xff : 0;
    i += 4;
  }
}
