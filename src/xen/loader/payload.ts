/**
 * From the file a user names to the ELF image inside it: a plain ELF, a gzipped ELF, or a Linux bzImage whose payload is
 * packed with gzip, xz, zstd or lz4. Also what Xen's builder does to a gzipped ramdisk.
 *
 * Invariants: pure, synchronous functions of the bytes; whatever they return was complete (length and, where the
 * format has one, checksum verified); a lying length never allocates more than {@link UNPACK_LIMIT_BYTES}.
 *
 * Source: Documentation/x86/boot.rst of Linux (boot protocol 2.08), tools/libs/guest/xg_dom_bzimageloader.c and
 * xg_dom_core.c of Xen, RFC 1952. See docs/decisions/0010-decompression.md for the choice of libraries.
 */

import { gunzipSync } from 'fflate';
import { EmulatorError } from '../../core/errors.ts';
import { hex } from '../../core/units.ts';
import { crc32 } from './crc32.ts';
import { isElf, latin1 } from './elf.ts';
import { isLz4Legacy, unpackLz4Legacy } from './lz4.ts';
import { isXz, unpackXz } from './xz.ts';
import { isZstd, unpackZstd } from './zstd.ts';

/** No payload unpacks to more than this, as in Xen's builder (XC_DOM_DECOMPRESS_MAX). */
export const UNPACK_LIMIT_BYTES = 1 << 30;

/** How an image was packed. */
export type Packing = 'none' | 'gzip' | 'xz' | 'zstd' | 'lz4';

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

const isGzip = (bytes: Uint8Array): boolean => bytes[0] === 0x1f && bytes[1] === 0x8b;

/** Unpacks one gzip member of `size` bytes, or throws. */
export type Gunzip = (bytes: Uint8Array, size: number) => Uint8Array;
const gunzipByLibrary: Gunzip = (bytes, size) => gunzipSync(bytes, { out: new Uint8Array(size) });

/** Unpacks one gzip member; E_IMAGE when it is corrupt, of a wrong CRC-32 or larger than the limit. */
export function unpackGzip(bytes: Uint8Array, gunzip: Gunzip = gunzipByLibrary): Uint8Array {
  if (bytes.length < 18) return fail(`the gzip payload ends at byte ${bytes.length}, before its trailer`);
  const size = u32(bytes, bytes.length - 4);
  if (size > UNPACK_LIMIT_BYTES) fail(`the gzip payload promises ${size} bytes, the limit is ${UNPACK_LIMIT_BYTES}`);
  let out: Uint8Array;
  try {
    out = gunzip(bytes, size);
  } catch (cause) {
    throw new EmulatorError('E_IMAGE', `the gzip payload is corrupt: ${(cause as Error).message}`, { cause });
  }
  if (out.length !== size) fail(`the gzip payload unpacks to ${out.length} bytes instead of ${size}`);
  if (crc32(out) !== u32(bytes, bytes.length - 8)) fail('the gzip payload fails its CRC-32');
  return out;
}

/** Unpacks a bzImage payload; all formats but gzip end with the unpacked size, which the result must have. */
function unpackPayload(payload: Uint8Array, gunzip?: Gunzip): { elf: Uint8Array; packing: Packing } {
  if (isElf(payload)) return { elf: payload, packing: 'none' };
  if (isGzip(payload)) return { elf: unpackGzip(payload, gunzip), packing: 'gzip' };
  if (payload.length < 8) return fail(`the payload has only ${payload.length} bytes`);
  const size = u32(payload, payload.length - 4);
  const body = payload.subarray(0, payload.length - 4);
  const packing = isXz(payload) ? 'xz' : isZstd(payload) ? 'zstd' : isLz4Legacy(payload) ? 'lz4' : null;
  if (packing === null)
    return fail(`the payload starts with ${[...payload.subarray(0, 4)].map(hex).join(' ')}, an unknown compression`);
  if (size > UNPACK_LIMIT_BYTES)
    fail(`the ${packing} payload promises ${size} bytes, the limit is ${UNPACK_LIMIT_BYTES}`);
  const elf =
    packing === 'xz'
      ? unpackXz(body, UNPACK_LIMIT_BYTES)
      : packing === 'lz4'
        ? unpackLz4Legacy(body, size)
        : unpackZstd(body, size);
  if (elf.length !== size) fail(`the ${packing} payload unpacks to ${elf.length} bytes instead of ${size}`);
  return { elf, packing };
}

/** Whether `file` is a Linux bzImage: `HdrS` at 0x202 of the boot sector. */
export const isBzImage = (file: Uint8Array): boolean =>
  file.length >= 0x206 && latin1(file.subarray(0x202, 0x206)) === 'HdrS';

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
export function unpackKernel(file: Uint8Array, gunzip?: Gunzip): UnpackedKernel {
  if (isElf(file)) return { elf: file, container: 'elf', packing: 'none' };
  if (isGzip(file)) {
    const inner = unpackGzip(file, gunzip);
    if (isElf(inner)) return { elf: inner, container: 'file', packing: 'gzip' };
    if (!isBzImage(inner)) return fail('the gzip file contains neither an ELF image nor a bzImage');
    return unpackKernel(inner, gunzip);
  }
  if (!isBzImage(file)) return fail('not a kernel: neither an ELF file, a gzip file nor a bzImage');
  const { elf, packing } = unpackPayload(bzImagePayload(file), gunzip);
  if (!isElf(elf)) fail(`the bzImage's ${packing} payload is not an ELF file`);
  return { elf, container: 'bzImage', packing };
}

/** A ramdisk as the guest sees it: `content` followed by zeroes up to `length` bytes. */
export interface UnpackedModule {
  readonly content: Uint8Array;
  readonly length: number;
}

/**
 * What Xen's builder makes of a ramdisk file: a gzip file is handed over unpacked with 16 bytes of slack, unless it
 * does not unpack; anything else is handed over as it is (xg_dom_core.c, xc_dom_build_module).
 */
export function unpackModule(file: Uint8Array, gunzip?: Gunzip): UnpackedModule {
  if (file.length < 18 || !isGzip(file)) return { content: file, length: file.length };
  const size = u32(file, file.length - 4);
  try {
    const content = unpackGzip(file, gunzip);
    return { content, length: Math.max(content.length + 16, file.length) };
  } catch (error) {
    if (!(error instanceof EmulatorError)) throw error;
    return { content: file, length: Math.max(file.length, size > UNPACK_LIMIT_BYTES ? 0 : size + 16) };
  }
}
