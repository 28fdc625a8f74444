/** Gets the ELF kernel out of a bzImage (Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length). */
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { decodeXz } from './xz.ts';

const BOOT_SIGNATURE = 0x53726448; // "HdrS" at 0x202

/** The payload's ELF file; throws when the file is no bzImage or the payload is neither xz, gzip nor zstd. */
export async function extractVmlinux(bzImage: Buffer): Promise<Uint8Array> {
  if (bzImage.length < 0x260 || bzImage.readUInt32LE(0x202) !== BOOT_SIGNATURE || bzImage.readUInt16LE(0x206) < 0x208)
    throw new Error('not a bzImage of boot protocol 2.08 or later');
  const setupSectors = bzImage[0x1f1] || 4;
  const start = (setupSectors + 1) * 512 + bzImage.readUInt32LE(0x248);
  // The kernel's build appends the unpacked size to every kind of payload but gzip, which ends with it anyway.
  const payload = bzImage.subarray(start, start + bzImage.readUInt32LE(0x24c));
  const vmlinux = await unpack(payload);
  if (Buffer.from(vmlinux.subarray(0, 4)).toString('latin1') !== '\x7fELF')
    throw new Error('the payload is not an ELF file');
  return vmlinux;
}

async function unpack(payload: Buffer): Promise<Uint8Array> {
  switch (payload.readUInt16BE(0)) {
    case 0xfd37:
      return decodeXz(payload.subarray(0, -4));
    case 0x1f8b:
      return gunzipSync(payload);
    case 0x28b5:
      return zstdDecompressSync(payload.subarray(0, -4));
    default:
      throw new Error(`unknown payload magic ${payload.toString('hex', 0, 4)}`);
  }
}
