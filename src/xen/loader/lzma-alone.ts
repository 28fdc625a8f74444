/**
 * The `.lzma` format that the kernel's build makes with `lzma -9`: a header of 13 bytes, then one LZMA stream.
 *
 * Source: `lzma-file-format.txt` of XZ Utils; its magic as in xg_dom_bzimageloader.c of Xen.
 */

import { corrupt, UNPACK_LIMIT_SYMBOLS } from './limits.ts';
import { LzmaDecoder } from './lzma.ts';

const HEADER = 13;
const UNKNOWN_SIZE = (1n << 64n) - 1n;

const fail = corrupt('lzma');

/** Whether `bytes` starts as a kernel's .lzma payload does: lc 3, lp 0, pb 2, a dictionary of whole pages. */
export const isLzmaAlone = (bytes: Uint8Array): boolean => bytes[0] === 0x5d && bytes[1] === 0;

/** Unpacks a stream to exactly `size` bytes; E_IMAGE when it is corrupt or of another size. */
export function unpackLzmaAlone(bytes: Uint8Array, size: number): Uint8Array {
  if (bytes.length < HEADER + 5) fail(`it has only ${bytes.length} bytes`);
  const stated = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(5, true);
  if (stated !== UNKNOWN_SIZE && stated !== BigInt(size))
    fail(`its header promises ${stated} bytes instead of ${size}`);
  const lzma = new LzmaDecoder('lzma', bytes, HEADER, new Uint8Array(size), { symbols: UNPACK_LIMIT_SYMBOLS });
  lzma.setProperties(bytes[0]!);
  lzma.decode(size, bytes.length - HEADER, stated === UNKNOWN_SIZE ? 'marker' : 'open');
  if (lzma.outPos !== size) fail(`it unpacks to ${lzma.outPos} bytes instead of ${size}`);
  return lzma.output;
}
