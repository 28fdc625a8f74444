/**
 * zstd frames: a library decodes them; what the frame header promises is checked first, since the library believes it.
 *
 * Source: RFC 8878, section 3.1.1.
 */

import { decompress } from 'fzstd';
import { EmulatorError } from '../../core/errors.ts';

/** The kernel's build uses windows of up to 128 MiB (2^27). */
const LARGEST_WINDOW_LOG = 27;

const fail = (message: string, cause?: unknown): never => {
  throw new EmulatorError('E_IMAGE', `the zstd payload is corrupt: ${message}`, { cause });
};

/** Whether `bytes` starts with the magic of a zstd frame. */
export const isZstd = (bytes: Uint8Array): boolean => [0x28, 0xb5, 0x2f, 0xfd].every((byte, i) => bytes[i] === byte);

/** Unpacks one frame to exactly `size` bytes; E_IMAGE when it is corrupt or promises another size. */
export function unpackZstd(bytes: Uint8Array, size: number): Uint8Array {
  if (bytes.length < 18) fail(`it has only ${bytes.length} bytes`);
  const descriptor = bytes[4]!;
  const singleSegment = (descriptor & 0x20) !== 0;
  if (!singleSegment && 10 + (bytes[5]! >> 3) > LARGEST_WINDOW_LOG) fail('its window is larger than 128 MiB');
  const at = (singleSegment ? 5 : 6) + [0, 1, 2, 4][descriptor & 3]!;
  const length = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6]!;
  if (length > 0) {
    const field = bytes.subarray(at, at + length);
    const promised = field.reduceRight((sum, byte) => sum * 256 + byte, 0) + (length === 2 ? 256 : 0);
    if (promised !== size) fail(`its header promises ${promised} bytes instead of ${size}`);
  }
  let out: Uint8Array;
  try {
    out = decompress(bytes);
  } catch (error) {
    return fail((error as Error).message, error);
  }
  if (out.length !== size) fail(`it unpacks to ${out.length} bytes instead of ${size}`);
  return out;
}
