/** CRC-32 of IEEE 802.3 (polynomial edb88320 reflected), the check of gzip (RFC 1952) and xz. */

/** Four tables of 256: the remainder of a byte followed by 0, 1, 2 or 3 zero bytes. */
const TABLE = (() => {
  const table = new Uint32Array(1024);
  for (let i = 0; i < 256; i++) {
    let value = i;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    table[i] = value;
  }
  for (let i = 256; i < 1024; i++) table[i] = (table[i - 256]! >>> 8) ^ table[table[i - 256]! & 255]!;
  return table;
})();

/** The CRC-32 of `bytes`, 0..2^32-1. */
export function crc32(bytes: Uint8Array): number {
  let crc = -1;
  let i = 0;
  const whole = bytes.length - 3;
  while (i < whole) {
    crc ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    crc =
      TABLE[768 + (crc & 255)]! ^
      TABLE[512 + ((crc >>> 8) & 255)]! ^
      TABLE[256 + ((crc >>> 16) & 255)]! ^
      TABLE[crc >>> 24]!;
    i += 4;
  }
  for (; i < bytes.length; i++) crc = (crc >>> 8) ^ TABLE[(crc ^ bytes[i]!) & 255]!;
  return ~crc >>> 0;
}
