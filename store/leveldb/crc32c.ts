/** CRC-32C (Castagnoli, RFC 3720) as LevelDB stores it: masked, since what it covers may contain checksums itself. */

const POLYNOMIAL = 0x82f63b78;
const MASK_DELTA = 0xa282ead8;

const TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ POLYNOMIAL : value >>> 1;
  return value;
});

/** The CRC-32C of `bytes`, masked (leveldb/util/crc32c.h). */
export function maskedCrc32c(bytes: Uint8Array): number {
  let crc = -1;
  for (let i = 0; i < bytes.length; i++) crc = TABLE[(crc ^ bytes[i]!) & 255]! ^ (crc >>> 8);
  const whole = ~crc;
  return (((whole >>> 15) | (whole << 17)) + MASK_DELTA) >>> 0;
}
