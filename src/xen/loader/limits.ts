/**
 * What an image may ask of the loader. Images are hostile: everything they declare is held against these numbers before memory
 * or time is spent on it, and none of them is near what a real kernel has.
 */

import { EmulatorError } from '../../core/errors.ts';

/** No kernel unpacks to more bytes than this; Xen's builder takes 1 GiB (XC_DOM_DECOMPRESS_MAX), Debian's has 63 MiB. */
export const UNPACK_LIMIT_BYTES = 256 << 20;

/**
 * No kernel is packed in more symbols than this: a literal is one, a match or sequence three. Debian's has 14 million; it is
 * they that take the time, 0.1 us each, and a bomb can make every byte one.
 */
export const UNPACK_LIMIT_SYMBOLS = 32_000_000;

/**
 * No bzip2 stream holds more symbols before its runs are expanded than this. Each takes a load from anywhere in 3.6 MB, 40 to
 * 140 ns; Debian's kernel has 27 million.
 */
export const BZIP2_LIMIT_SYMBOLS = 40_000_000;

/** No ramdisk unpacks to more bytes than this, however much memory the domain has; Xen's builder takes 1 GiB. */
export const RAMDISK_LIMIT_BYTES = 512 << 20;

/** Notes of owner "Xen" that an image may have; there are 19 types. */
export const MOST_XEN_NOTES = 1024;

/** Blocks that an xz stream may have; a kernel's has one. */
export const MOST_XZ_BLOCKS = 4096;

/** What throws E_IMAGE for a payload of `format` that is not what it should be. */
export const corrupt =
  (format: string) =>
  (message: string, cause?: unknown): never => {
    throw new EmulatorError('E_IMAGE', `the ${format} payload is corrupt: ${message}`, { cause });
  };

/** Throws E_IMAGE when a payload of `format` promises more than `limit` bytes. */
export function requireSize(format: string, size: number, limit: number): void {
  if (size > limit)
    throw new EmulatorError('E_IMAGE', `the ${format} payload promises ${size} bytes, the limit is ${limit}`);
}
