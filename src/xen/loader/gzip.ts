/**
 * gzip as Xen's builder reads it: the first member of a file, whose last four bytes say how much room it gets.
 *
 * Invariants: nothing is allocated beyond the limit the caller names; length and CRC-32 of the member's own trailer are
 * verified whoever inflates it.
 *
 * Source: RFC 1952; xc_dom_check_gzip and xc_dom_do_gunzip in tools/libs/guest/xg_dom_core.c of Xen.
 */

import { EmulatorError } from '../../core/errors.ts';
import type { Inflate } from '../../core/inflate.ts';
import { crc32 } from './crc32.ts';
import { inflate } from './inflate.ts';
import { corrupt, requireSize } from './limits.ts';

const HEADER = 10;
const TRAILER = 8;
const HEADER_CRC = 2;
const EXTRA = 4;
const NAME = 8;
const COMMENT = 16;
/** What Xen's builder gives a member beyond the size its file ends with. */
export const GZIP_SLACK = 16;

const fail = corrupt('gzip');

const inflateHere: Inflate = (bytes, start, most) => {
  const out = new Uint8Array(most);
  const { end, written } = inflate(bytes, start, out);
  return { content: out.subarray(0, written), end };
};

/** Whether `bytes` starts with the magic of gzip. */
export const isGzip = (bytes: Uint8Array): boolean => bytes[0] === 0x1f && bytes[1] === 0x8b;

const u32 = (bytes: Uint8Array, at: number): number =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(at, true);

/** The size that a gzip file of at least four bytes ends with, in bytes. */
export const statedSize = (bytes: Uint8Array): number => u32(bytes, bytes.length - 4);

/** Where the deflated data of a member starts. */
function dataStart(bytes: Uint8Array): number {
  if (bytes.length < HEADER + TRAILER) fail(`it ends at byte ${bytes.length}, before its trailer`);
  const flags = bytes[3]!;
  if (bytes[2] !== 8 || (flags & 0xe0) !== 0) fail('its header asks for what RFC 1952 does not know');
  let at = HEADER;
  if (flags & EXTRA) at += 2 + (bytes[at]! | (bytes[at + 1]! << 8));
  for (const text of [NAME, COMMENT]) {
    if ((flags & text) === 0) continue;
    const nul = bytes.indexOf(0, at);
    if (nul < 0) fail('its header does not end');
    at = nul + 1;
  }
  if (flags & HEADER_CRC) at += 2;
  return at;
}

/**
 * Unpacks the first member of a gzip file, of any further ones it only takes the size at the end; E_IMAGE when the member is
 * corrupt, when that size is above `limit` or the member does not fit it.
 */
export function unpackGzip(bytes: Uint8Array, limit: number, inflater: Inflate = inflateHere): Uint8Array {
  const start = dataStart(bytes);
  const size = statedSize(bytes);
  requireSize('gzip', size, limit);
  let read: ReturnType<Inflate>;
  try {
    read = inflater(bytes, start, size + GZIP_SLACK);
  } catch (cause) {
    if (cause instanceof EmulatorError) throw cause;
    return fail((cause as Error).message, cause);
  }
  const { content, end } = read;
  if (end + TRAILER > bytes.length) fail(`it ends at byte ${bytes.length}, before its trailer`);
  if (content.length !== u32(bytes, end + 4))
    fail(`it unpacks to ${content.length} bytes instead of ${u32(bytes, end + 4)}`);
  if (crc32(content) !== u32(bytes, end)) fail('it fails its CRC-32');
  return content;
}
