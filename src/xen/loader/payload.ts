/**
 * From the file a user names to the ELF image inside it: a plain ELF, a gzipped ELF, or a Linux bzImage whose payload is
 * packed in one of the ways that the kernel's build knows. Also what Xen's builder does to a gzipped ramdisk.
 *
 * Invariants: pure, synchronous functions of the bytes; whatever they return was complete (length and, where the
 * format has one, checksum verified); a declared size is held against its limit before anything is allocated, and no
 * decoder writes a byte beyond it.
 *
 * Source: Documentation/x86/boot.rst of Linux (boot protocol 2.08), tools/libs/guest/xg_dom_bzimageloader.c and
 * xg_dom_core.c of Xen. See docs/decisions/0010-decompression.md for the choice of libraries.
 */

import { EmulatorError } from '../../core/errors.ts';
import type { Inflate } from '../../core/inflate.ts';
import { hex } from '../../core/units.ts';
import { isElf, latin1 } from '../../elf/elf.ts';
import { isBzip2, unpackBzip2 } from './bzip2.ts';
import { GZIP_SLACK, isGzip, statedSize, unpackGzip } from './gzip.ts';
import { RAMDISK_LIMIT_BYTES, requireSize, UNPACK_LIMIT_BYTES } from './limits.ts';
import { isLz4Legacy, unpackLz4Legacy } from './lz4.ts';
import { isLzmaAlone, unpackLzmaAlone } from './lzma-alone.ts';
import { isXz, unpackXz } from './xz.ts';
import { isZstd, unpackZstd } from './zstd.ts';

/** How an image was packed. */
export type Packing = 'none' | 'gzip' | 'xz' | 'zstd' | 'lz4' | 'lzma' | 'bzip2';

/** The ELF image of a kernel file and how it was found. */
export interface UnpackedKernel {
  readonly elf: Uint8Array;
  readonly container: 'elf' | 'bzImage' | 'file';
  readonly packing: Packing;
}

const fail = (message: string): never => {
  throw new EmulatorError('E_IMAGE', message);
};

const u32 = (bytes: Uint8Array, at: number): number =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(at, true);

/** A format whose payload ends with the unpacked size, which the result must have. */
interface SizedFormat {
  readonly packing: Packing;
  readonly matches: (payload: Uint8Array) => boolean;
  readonly unpack: (body: Uint8Array, size: number) => Uint8Array;
}

/** In the order in which Xen's builder asks. */
const SIZED_FORMATS: readonly SizedFormat[] = [
  { packing: 'bzip2', matches: isBzip2, unpack: unpackBzip2 },
  { packing: 'xz', matches: isXz, unpack: unpackXz },
  { packing: 'zstd', matches: isZstd, unpack: unpackZstd },
  { packing: 'lzma', matches: isLzmaAlone, unpack: unpackLzmaAlone },
  { packing: 'lz4', matches: isLz4Legacy, unpack: unpackLz4Legacy },
];

/** Whether `bytes` starts with the magic of lzop, the one packing of kernels that is not supported. */
const isLzo = (bytes: Uint8Array): boolean => [0x89, 0x4c, 0x5a, 0x4f].every((byte, i) => bytes[i] === byte);

/** Unpacks a bzImage payload. */
function unpackPayload(payload: Uint8Array, inflate?: Inflate): { elf: Uint8Array; packing: Packing } {
  if (isElf(payload)) return { elf: payload, packing: 'none' };
  if (isGzip(payload)) return { elf: unpackGzip(payload, UNPACK_LIMIT_BYTES, inflate), packing: 'gzip' };
  if (payload.length < 8) return fail(`the payload has only ${payload.length} bytes`);
  if (isLzo(payload)) return fail('the payload is packed with lzo, which is not supported');
  const format = SIZED_FORMATS.find(({ matches }) => matches(payload));
  if (format === undefined)
    return fail(`the payload starts with ${[...payload.subarray(0, 4)].map(hex).join(' ')}, an unknown compression`);
  const { packing, unpack } = format;
  const size = u32(payload, payload.length - 4);
  requireSize(packing, size, UNPACK_LIMIT_BYTES);
  return { elf: unpack(payload.subarray(0, payload.length - 4), size), packing };
}

/** Whether `file` is a Linux bzImage: `HdrS` at 0x202 of the boot sector. */
const isBzImage = (file: Uint8Array): boolean => file.length >= 0x206 && latin1(file.subarray(0x202, 0x206)) === 'HdrS';

/** The packed payload of a bzImage (boot protocol 2.08 and later); E_IMAGE when the header points outside the file. */
export function bzImagePayload(file: Uint8Array): Uint8Array {
  if (file.length < 0x250) return fail(`the bzImage ends at ${hex(file.length)}, inside its setup header`);
  const version = file[0x206]! | (file[0x207]! << 8);
  if (version < 0x208) fail(`the bzImage has boot protocol ${hex(version)}, older than 0x208 and without a payload`);
  const offset = (file[0x1f1]! + 1) * 512 + u32(file, 0x248);
  const length = u32(file, 0x24c);
  if (offset + length > file.length)
    fail(`the bzImage payload is ${length} bytes at ${hex(offset)}, the file ends at ${hex(file.length)}`);
  return file.subarray(offset, offset + length);
}

/** Finds and unpacks the ELF image in a kernel file; E_IMAGE says what is wrong with a file that has none. */
export function unpackKernel(file: Uint8Array, inflate?: Inflate): UnpackedKernel {
  if (isElf(file)) return { elf: file, container: 'elf', packing: 'none' };
  if (isGzip(file)) {
    const inner = unpackGzip(file, UNPACK_LIMIT_BYTES, inflate);
    if (isElf(inner)) return { elf: inner, container: 'file', packing: 'gzip' };
    if (!isBzImage(inner)) return fail('the gzip file contains neither an ELF image nor a bzImage');
    return unpackKernel(inner, inflate);
  }
  if (!isBzImage(file)) return fail('not a kernel: neither an ELF file, a gzip file nor a bzImage');
  const { elf, packing } = unpackPayload(bzImagePayload(file), inflate);
  if (!isElf(elf)) fail(`the bzImage's ${packing} payload is not an ELF file`);
  return { elf, container: 'bzImage', packing };
}

/** What Xen's builder unpacks at most (XC_DOM_DECOMPRESS_MAX). */
const XEN_LIMIT_BYTES = 1 << 30;

/** Bytes that Xen's builder reserves for what a gzipped ramdisk unpacks to; 0 for one that it hands over as it is. */
function roomToUnpack(file: Uint8Array): number {
  const room = file.length >= 6 && isGzip(file) ? statedSize(file) + GZIP_SLACK : 0;
  return room > XEN_LIMIT_BYTES ? 0 : room;
}

/**
 * How long a ramdisk file is for the guest, in bytes, whether it unpacks or not (xg_dom_core.c, xc_dom_build_module); E_IMAGE above
 * {@link RAMDISK_LIMIT_BYTES}.
 */
export function moduleLength(file: Uint8Array): number {
  const room = roomToUnpack(file);
  if (room > RAMDISK_LIMIT_BYTES) fail(`the ramdisk unpacks to ${room} bytes, the limit is ${RAMDISK_LIMIT_BYTES}`);
  return Math.max(room, file.length);
}

/**
 * What Xen's builder makes of a ramdisk file, without the zeroes up to {@link moduleLength}: a gzip file's first member is handed
 * over unpacked, unless it does not unpack to the size the file ends with; anything else is handed over as it is.
 */
export function unpackModule(file: Uint8Array, inflate?: Inflate): Uint8Array {
  if (roomToUnpack(file) === 0) return file;
  try {
    return unpackGzip(file, RAMDISK_LIMIT_BYTES, inflate);
  } catch (error) {
    if (!(error instanceof EmulatorError)) throw error;
    return file;
  }
}
