/**
 * LZ4 in the legacy frame that the kernel's build uses: a magic, then blocks of at most 8 MiB behind their packed size.
 *
 * Source: `lz4_Frame_format.md` (section "Legacy frame") and `lz4_Block_format.md` of LZ4.
 */

import { corrupt } from './limits.ts';

const MAGIC = 0x184c2102;
const BLOCK = 8 << 20;

const fail = corrupt('lz4');

/** Whether `bytes` starts with the magic of a legacy LZ4 frame. */
export const isLz4Legacy = (bytes: Uint8Array): boolean =>
  [0x02, 0x21, 0x4c, 0x18].every((byte, i) => bytes[i] === byte);

/** Unpacks a legacy frame to exactly `size` bytes; E_IMAGE when it is corrupt or of another size. */
export function unpackLz4Legacy(bytes: Uint8Array, size: number): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const out = new Uint8Array(size);
  let [at, written] = [4, 0];
  while (written < size) {
    if (at + 4 > bytes.length) fail(`it ends at byte ${bytes.length} with ${written} of ${size} bytes unpacked`);
    const packed = view.getUint32(at, true);
    at += 4;
    if (packed === MAGIC) continue;
    if (at + packed > bytes.length) fail(`the block of ${packed} bytes at byte ${at} passes its end`);
    const end = Math.min(written + BLOCK, size);
    const block = unpackBlock(bytes.subarray(at, at + packed), out, written);
    if (block !== end) fail(`the block at byte ${at} unpacks to ${block - written} bytes instead of ${end - written}`);
    written = block;
    at += packed;
  }
  return out;
}

/** Unpacks one block into `out` from `start`; returns the position behind the last byte written. */
function unpackBlock(block: Uint8Array, out: Uint8Array, start: number): number {
  let [at, to] = [0, start];
  const more = (length: number): number => {
    for (let byte = 255; byte === 255; length += byte) {
      if (at >= block.length) fail('a length passes the end of its block');
      byte = block[at++]!;
    }
    return length;
  };
  while (at < block.length) {
    const token = block[at++]!;
    const literals = token >> 4 === 15 ? more(15) : token >> 4;
    if (at + literals > block.length || to + literals > out.length) fail(`${literals} literals do not fit`);
    out.set(block.subarray(at, at + literals), to);
    at += literals;
    to += literals;
    if (at === block.length) return to;
    if (at + 2 > block.length) fail('a match has no offset');
    const offset = block[at]! | (block[at + 1]! << 8);
    at += 2;
    const length = ((token & 15) === 15 ? more(15) : token & 15) + 4;
    if (offset === 0 || offset > to) fail(`a match reaches ${offset} bytes back from byte ${to}`);
    if (to + length > out.length) fail(`a match of ${length} bytes at byte ${to} does not fit`);
    for (let from = to - offset, end = to + length; to < end; ) out[to++] = out[from++]!;
  }
  return to;
}
