/**
 * zstd frames: a library decodes them, under a frame header of our own.
 *
 * The library allocates what the header promises; where the header names the content size it is fast, but does not notice
 * that less came out; where it does not, a whole window moves for every block, 128 MiB in a kernel's payload. The
 * kernel's build appends the size and lets zstd add a checksum: with a checksum the frame is decoded under a
 * header that names this size, and the checksum is verified; without one, under a header without a size and with the
 * smallest window that holds all (a window larger than the content changes nothing), and the result is measured.
 *
 * Source: RFC 8878, section 3.1.1.
 */

import { decompress } from 'fzstd';
import { EmulatorError } from '../../core/errors.ts';
import { xxh64 } from './xxh64.ts';

const MAGIC = [0x28, 0xb5, 0x2f, 0xfd];
const CHECKSUM_FLAG = 4;
/** Frame_Header_Descriptor: Single_Segment_flag and a content size of 4 bytes. */
const SIZE_IN_4_BYTES = 0xa0;
/** Exponent field of a window of 128 KiB, the largest block: no smaller window is of use. */
const SMALLEST_EXPONENT = 7;

const fail = (message: string, cause?: unknown): never => {
  throw new EmulatorError('E_IMAGE', `the zstd payload is corrupt: ${message}`, { cause });
};

/** Whether `bytes` starts with the magic of a zstd frame. */
export const isZstd = (bytes: Uint8Array): boolean => MAGIC.every((byte, i) => bytes[i] === byte);

/** The Window_Descriptor of the smallest window of at least `size` bytes. */
function windowFor(size: number): number {
  for (let exponent = SMALLEST_EXPONENT; ; exponent++) {
    const base = 2 ** (10 + exponent);
    const mantissa = Math.max(0, Math.ceil((size - base) / (base / 8)));
    if (mantissa < 8) return (exponent << 3) | mantissa;
  }
}

/** Unpacks one frame to exactly `size` bytes; E_IMAGE when it is corrupt or holds another size. */
export function unpackZstd(bytes: Uint8Array, size: number): Uint8Array {
  if (bytes.length < 18) fail(`it has only ${bytes.length} bytes`);
  const descriptor = bytes[4]!;
  if ((descriptor & 0x0b) !== 0) fail('it needs a dictionary or an unknown feature');
  const singleSegment = (descriptor & 0x20) !== 0;
  const sizeField = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6]!;
  const blocks = bytes.subarray((singleSegment ? 5 : 6) + sizeField);
  const checked = (descriptor & CHECKSUM_FLAG) !== 0;
  const header = checked
    ? [...MAGIC, CHECKSUM_FLAG | SIZE_IN_4_BYTES, ...new Uint8Array(Uint32Array.of(size).buffer)]
    : [...MAGIC, 0, windowFor(size)];
  const frame = new Uint8Array(header.length + blocks.length);
  frame.set(header);
  frame.set(blocks, header.length);
  let out: Uint8Array;
  try {
    out = decompress(frame);
  } catch (error) {
    return fail((error as Error).message, error);
  }
  if (out.length !== size) fail(`it unpacks to ${out.length} bytes instead of ${size}`);
  if (checked) {
    const stored = new DataView(bytes.buffer, bytes.byteOffset + bytes.length - 4).getUint32(0, true);
    if (Number(xxh64(out) & 0xffffffffn) !== stored) fail('it fails its checksum');
  }
  return out;
}
