/**
 * Decoding of .xz files that use the x86 branch filter, as a kernel's payload does. The library `xz-decompress` decodes
 * LZMA2 but refuses that filter (id 4), so each block is handed over as a stream of its own with LZMA2 alone, and the
 * filter is undone here. Source: "The .xz File Format" 1.2.1. No Node API.
 */
import xz from 'xz-decompress';

const FILTER_X86 = 0x04;
const FILTER_LZMA2 = 0x21;
const CHECK_NONE = 0;
const CHECK_CRC32 = 1;
/** Size in bytes of the check behind each block, by check id (section 2.1.1.2). */
const CHECK_BYTES = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64];
const HEADER_MAGIC = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00];

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** CRC-32 (IEEE 802.3) of the bytes, as an unsigned number. */
export function crc32(bytes: Uint8Array): number {
  let crc = ~0;
  for (let i = 0; i < bytes.length; i++) crc = CRC_TABLE[(crc ^ bytes[i]!) & 255]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

const le32 = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
const bytesOf32 = (value: number): number[] => [value & 255, (value >> 8) & 255, (value >> 16) & 255, value >>> 24];

/** A variable-length integer (section 1.2) at `at.offset`, which moves behind it. */
function readVli(bytes: Uint8Array, at: { offset: number }): number {
  let value = 0;
  for (let scale = 1; scale <= 2 ** 49; scale *= 128) {
    const byte = bytes[at.offset++];
    if (byte === undefined) break;
    value += (byte & 127) * scale;
    if (byte < 128) return value;
  }
  throw new Error('xz: bad variable-length integer');
}

function vli(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value & 127) | 128);
  return [...bytes, value];
}

interface Block {
  /** LZMA2 data without header, padding and check. */
  packed: Uint8Array;
  /** The LZMA2 filter's property byte. */
  dictionary: number;
  x86: boolean;
  check: Uint8Array;
  unpackedBytes: number;
}

interface IndexRecord {
  unpaddedBytes: number;
  unpackedBytes: number;
}

function readIndex(file: Uint8Array): IndexRecord[] {
  const footer = file.length - 12;
  if (footer < 12 || HEADER_MAGIC.some((byte, i) => file[i] !== byte)) throw new Error('xz: not an xz stream');
  if (
    file[footer + 10] !== 0x59 ||
    file[footer + 11] !== 0x5a ||
    crc32(file.subarray(footer + 4, footer + 10)) !== le32(file, footer)
  )
    throw new Error('xz: the stream has no valid footer (truncated?)');
  const start = footer - (le32(file, footer + 4) + 1) * 4;
  if (start < 12 || file[start] !== 0 || crc32(file.subarray(start, footer - 4)) !== le32(file, footer - 4))
    throw new Error('xz: corrupt index');
  const at = { offset: start + 1 };
  const count = readVli(file, at);
  return Array.from({ length: count }, () => ({ unpaddedBytes: readVli(file, at), unpackedBytes: readVli(file, at) }));
}

function readBlock(file: Uint8Array, start: number, record: IndexRecord, checkBytes: number): Block {
  const headerBytes = (file[start]! + 1) * 4;
  if (crc32(file.subarray(start, start + headerBytes - 4)) !== le32(file, start + headerBytes - 4))
    throw new Error('xz: corrupt block header');
  const flags = file[start + 1]!;
  const at = { offset: start + 2 };
  if (flags & 0x40) readVli(file, at);
  if (flags & 0x80) readVli(file, at);
  const filters = Array.from({ length: (flags & 3) + 1 }, () => {
    const id = readVli(file, at);
    const lengthBytes = readVli(file, at);
    const properties = file.subarray(at.offset, at.offset + lengthBytes);
    at.offset += lengthBytes;
    return { id, properties };
  });
  const last = filters.pop()!;
  const x86 = filters.length === 1 && filters[0]!.id === FILTER_X86 && filters[0]!.properties.length === 0;
  if (last.id !== FILTER_LZMA2 || (filters.length > 0 && !x86)) throw new Error('xz: unsupported filter chain');
  const packedBytes = record.unpaddedBytes - headerBytes - checkBytes;
  const data = start + headerBytes;
  const check = data + packedBytes + (-packedBytes & 3);
  return {
    packed: file.subarray(data, data + packedBytes),
    dictionary: last.properties[0]!,
    x86,
    check: file.subarray(check, check + checkBytes),
    unpackedBytes: record.unpackedBytes,
  };
}

/** A whole stream of one block with the LZMA2 filter alone and no check. */
function streamOf(block: Block): Blob {
  const flags = [0, CHECK_NONE];
  const sealed = (bytes: number[]): Uint8Array<ArrayBuffer> =>
    Uint8Array.from([...bytes, ...bytesOf32(crc32(Uint8Array.from(bytes)))]);
  const padded = (bytes: number[]): number[] => [...bytes, ...new Array<number>(-bytes.length & 3).fill(0)];
  const header = sealed(padded([2, 0, FILTER_LZMA2, 1, block.dictionary]));
  const index = sealed(padded([0, 1, ...vli(header.length + block.packed.length), ...vli(block.unpackedBytes)]));
  const footer = [...bytesOf32(index.length / 4 - 1), ...flags];
  return new Blob([
    Uint8Array.from(HEADER_MAGIC),
    sealed(flags),
    header,
    block.packed.slice(),
    new Uint8Array(-block.packed.length & 3),
    index,
    Uint8Array.from([...bytesOf32(crc32(Uint8Array.from(footer))), ...footer, 0x59, 0x5a]),
  ]);
}

/** For each pattern of E8/E9 bytes among the three before a candidate: may it be a branch at all? */
const MAY_BRANCH = [true, true, true, false, true, false, false, false];
/** For each pattern: how many bytes back the nearest such byte's operand overlaps. */
const OVERLAP_BYTES = [0, 1, 2, 2, 3, 3, 3, 3];

const isSignByte = (byte: number): boolean => byte === 0 || byte === 0xff;

/**
 * Turns the absolute targets of CALL and JMP rel32 (E8, E9) back into relative ones, in place. The filter takes a
 * candidate only when its operand's top byte is a sign extension and bytes E8/E9 shortly before it leave no doubt.
 */
export function undoX86Filter(bytes: Uint8Array): void {
  let lastCandidate = -1;
  let pattern = 0;
  for (let at = 0; at < bytes.length - 4; at++) {
    if ((bytes[at]! & 0xfe) !== 0xe8) continue;
    const distance = at - lastCandidate;
    lastCandidate = at;
    pattern = distance > 3 ? 0 : (pattern << (distance - 1)) & 7;
    const doubtful = pattern !== 0 && (!MAY_BRANCH[pattern] || isSignByte(bytes[at + 4 - OVERLAP_BYTES[pattern]!]!));
    if (doubtful || !isSignByte(bytes[at + 4]!)) {
      pattern = (pattern << 1) | 1;
      continue;
    }
    let target = le32(bytes, at + 1);
    const overlapBits = OVERLAP_BYTES[pattern]! * 8;
    let relative = (target - (at + 5)) >>> 0;
    // With an overlap the encoder complemented the low bits for as long as the result looked like a branch again.
    while (pattern !== 0 && isSignByte((relative >>> (24 - overlapBits)) & 255)) {
      target = (relative ^ (2 ** (32 - overlapBits) - 1)) >>> 0;
      relative = (target - (at + 5)) >>> 0;
    }
    const signed = (relative << 7) >> 7; // 25 bits, sign-extended
    bytes.set(bytesOf32(signed), at + 1);
    at += 4;
  }
}

/**
 * The decoded content of one .xz stream; filter chains: LZMA2 alone, or x86 before it. Throws on anything corrupt or
 * unsupported; a CRC32 check is verified, other kinds of check are not.
 */
export async function decodeXz(file: Uint8Array): Promise<Uint8Array> {
  const records = readIndex(file);
  const checkKind = file[7]! & 15;
  const output = new Uint8Array(records.reduce((sum, record) => sum + record.unpackedBytes, 0));
  let packedAt = 12;
  let unpackedAt = 0;
  for (const record of records) {
    const block = readBlock(file, packedAt, record, CHECK_BYTES[checkKind]!);
    const content = new Uint8Array(await new Response(new xz.XzReadableStream(streamOf(block).stream())).arrayBuffer());
    if (content.length !== record.unpackedBytes) throw new Error('xz: block has another length than the index says');
    if (block.x86) undoX86Filter(content);
    if (checkKind === CHECK_CRC32 && crc32(content) !== le32(block.check, 0))
      throw new Error('xz: block fails its check');
    output.set(content, unpackedAt);
    unpackedAt += content.length;
    packedAt += record.unpaddedBytes + (-record.unpaddedBytes & 3);
  }
  return output;
}
